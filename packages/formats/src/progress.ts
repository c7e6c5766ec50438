/** Bytes of an artifact. */
export interface WriteProgress {
  readonly written: number;
  readonly total: number;
}
