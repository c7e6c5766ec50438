import type { ModelProfile } from "@crossrank/core";
import type { ModelDescription } from "./source/description.js";

/** What every writer is asked for. It writes into a folder of its own; nothing else sees it before it is whole. */
export interface WriteRequest {
  readonly description: ModelDescription;
  readonly profile: ModelProfile;
  /** One of the writer's `dtypes`. */
  readonly dtype: string;
  /** Absolute path of the artifact's main file; its folder exists. Further files go beside it. */
  readonly path: string;
  /** Free text for the artifact's own metadata, e.g. the source's id, revision and sha256. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: WriteProgress) => void) | undefined;
}

/** Bytes of the artifact. */
export interface WriteProgress {
  readonly written: number;
  readonly total: number;
}

/** One output format. */
export interface ArtifactWriter {
  readonly format: "onnx" | "gguf";
  /** Most precise first. */
  readonly dtypes: readonly string[];
  /**
   * Judges before anything is written.
   * @throws {UnsupportedConversionError} with the reason.
   */
  check(description: ModelDescription, profile: ModelProfile): void;
  /**
   * Writes the files. At no time are more than a few rows of a large tensor in memory.
   * @returns absolute paths, the main file first.
   * @throws {UnsupportedConversionError} as `check`.
   * @throws the signal's reason, once aborted.
   */
  write(request: WriteRequest): Promise<readonly string[]>;
}
