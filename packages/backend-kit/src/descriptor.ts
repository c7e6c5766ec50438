import type { Backend, Family, ModelFiles } from "@crossrank/core";

/** What a user may tell any backend, by the same names in every command. */
export interface CommonBackendOptions {
  /** Threads of each copy of the model, at least 1. */
  readonly threads?: number | undefined;
  /** Copies of the model that run at once, at least 1. */
  readonly workers?: number | undefined;
  /** The artifact to run, relative to the model. Overrides the precision. */
  readonly file?: string | undefined;
}

/** A precision of a format, found among a model's files. */
export interface FoundArtifact {
  /** As the format names it; `"?"` where only the file itself says it. */
  readonly dtype: string;
  /** A file, or a folder that is one artifact; relative to the model. */
  readonly path: string;
  /** Further names by which it may be asked for in place of a precision: a publisher's own, `"qint8_avx512_vnni"`. */
  readonly aliases?: readonly string[] | undefined;
  /** Why it is taken only where it is named itself, as what is said of it: `"is made for arm64, and this is x64"`. */
  readonly onlyByName?: string | undefined;
}

/** An input or output of an artifact. */
export interface ArtifactPort {
  readonly name: string;
  /** The element type as the format names it; undefined for what is no tensor. */
  readonly type: string | undefined;
  /** A number where a dimension is fixed, else its name, `""` where it has none; undefined where none is declared. */
  readonly shape: readonly (number | string)[] | undefined;
}

/** What an artifact is, read from its content. */
export interface ArtifactDescription {
  /** The precision that it computes in; undefined where the file cannot be followed. */
  readonly dtype: string | undefined;
  /** How it is quantised, as a clause for people; undefined where it is not. */
  readonly quantisation: string | undefined;
  /** The processor that its name says it is made for; undefined where the name says none. */
  readonly processor: string | undefined;
  readonly inputs: readonly ArtifactPort[];
  readonly outputs: readonly ArtifactPort[];
  /** Further facts, name → value, in the order in which to show them. */
  readonly facts: Readonly<Record<string, string>>;
  /** Files of the model that belong to it besides, relative to the model. */
  readonly files: readonly string[];
  /** What somebody should know who runs it here, as sentences. */
  readonly notes: readonly string[];
}

/**
 * What a backend is, as data, without loading its runtime. A package (or a file, for `--backend ./mine.mjs`) exports
 * descriptors by name: `export const backends: readonly BackendDescriptor[]`. The first is the package's own backend;
 * others are modes of it, whose names begin with its name and a colon.
 */
export interface BackendDescriptor {
  /** E.g. `"onnx"`, `"coreml:reference"`. */
  readonly name: string;
  /** The format's usual name, e.g. `"onnx"`, `"gguf"`. */
  readonly format: string;
  readonly families: readonly Family[];
  /** Precisions of the format, the one to try first at the front. */
  readonly dtypes: readonly string[];
  /** Artifacts of the format among a model's files, the one to take first at the front. */
  readonly artifacts: (paths: readonly string[]) => readonly FoundArtifact[];
  /** Every path that is of this format whatever its name says, for messages. */
  readonly candidates: (paths: readonly string[]) => readonly string[];
  /**
   * What an artifact is, from its content and without loading a runtime. Reads parts of the file through
   * `files.readBytes`.
   *
   * @param path one of `candidates`.
   * @throws {ModelFileNotFoundError} when there is no such file.
   */
  readonly describe?:
    | ((
        files: ModelFiles,
        path: string,
        options?: { readonly signal?: AbortSignal | undefined },
      ) => Promise<ArtifactDescription>)
    | undefined;
  /** npm packages to install for it to work, its own first. */
  readonly install: readonly string[];
  /** Packages of ours besides its own whose versions its scores depend on. */
  readonly alsoUses?: readonly string[] | undefined;
  /** The only system where it runs, and what to say on the others. */
  readonly only?: { readonly platform: string; readonly elsewhere: string } | undefined;
  /**
   * Why it is taken only where it is named itself, as what is said of its artifacts: `"is the weights of which every format
   * is made"`.
   */
  readonly onlyByName?: string | undefined;
  /** Computes the artifacts of another backend, to judge them: taken only where it is asked for by name. */
  readonly isReference?: boolean | undefined;
  /** Makes the backend. Loads no runtime before `load` or `diagnose`. */
  readonly create: (options: CommonBackendOptions) => Backend | Promise<Backend>;
}
