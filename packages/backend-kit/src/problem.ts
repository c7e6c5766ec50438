/** Why an artifact cannot be run as it is, and what to do: a clause each, as `ModelLoadError` takes them. */
export interface Problem {
  readonly problem: string;
  readonly fix: string;
}
