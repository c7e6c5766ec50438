import type { Backend, Family } from "@crossrank/core";

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
  /** npm packages to install for it to work, its own first. */
  readonly install: readonly string[];
  /** Packages of ours besides its own whose versions its scores depend on. */
  readonly alsoUses?: readonly string[] | undefined;
  /** The only system where it runs, and what to say on the others. */
  readonly only?: { readonly platform: string; readonly elsewhere: string } | undefined;
  /** Computes the artifacts of another backend, to judge them: taken only where it is asked for by name. */
  readonly isReference?: boolean | undefined;
  /** Makes the backend. Loads no runtime before `load` or `diagnose`. */
  readonly create: (options: CommonBackendOptions) => Backend | Promise<Backend>;
}
