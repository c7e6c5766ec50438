import type { ArtifactWriter } from "./artifact-writer.js";

/**
 * A format that models can be written in, with what can be set about it. It is what a registry holds and what a package
 * of somebody else exports in `writers`. Describing it loads nothing of the writer.
 */
export interface WriterDescriptor {
  /** By which it is asked for: `convert({ to })`, `crossrank convert --to`. */
  readonly format: string;
  /** Precisions where nothing is set, most precise first. A writer with its options set has its own. */
  readonly dtypes: readonly string[];
  /** For the command's help: which models in which precisions, a line each. */
  readonly help?: readonly string[] | undefined;
  /** What can be set, by name. Default: nothing. */
  readonly options?: Readonly<Record<string, WriterOption>> | undefined;
  /**
   * Names of the backends that judge an artifact; each has to agree. Default: the backend of the same package.
   * @param dtype the artifact's.
   */
  judges?(dtype: string): readonly string[];
  /**
   * @param options those of `options` that are set, each of its kind.
   * @throws {InvalidInputError} naming an option with a value that it cannot have.
   */
  create(options: Readonly<Record<string, unknown>>): ArtifactWriter | Promise<ArtifactWriter>;
}

/** One thing that can be set about a format. */
export interface WriterOption {
  /** For the command's help, with the default. */
  readonly help: string;
  /** What the command reads: any text, one of several words, a whole number above 0, or several with commas. */
  readonly value: "text" | "count" | "counts" | readonly string[];
}
