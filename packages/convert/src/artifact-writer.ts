import type { ModelFiles, ModelProfile } from "@crossrank/core";
import type { WriteProgress } from "@crossrank/formats";
import type { BatchUse } from "./batch-use.js";
import type { ModelDescription } from "./source/description.js";

/** What every writer is asked for. It writes into a folder of its own; nothing else sees it before it is whole. */
export interface WriteRequest {
  /** The source: a writer that carries the vocabulary reads its tokenizer.json. */
  readonly files: ModelFiles;
  readonly description: ModelDescription;
  readonly profile: ModelProfile;
  /** One of the writer's `dtypes`. */
  readonly dtype: string;
  /** Absolute path of the artifact's main file, or of its folder; what that lies in exists. Further files go beside it. */
  readonly path: string;
  /** Free text for the artifact's own metadata, e.g. the source's id, revision and sha256. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Called for each tensor that is stored, once it is known how. For provenance.json. */
  readonly onTensor?: ((tensor: StoredTensorFacts) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: WriteProgress) => void) | undefined;
}

/** How a tensor of the artifact is stored. */
export interface StoredTensorFacts {
  /** Its name in the artifact. */
  readonly name: string;
  readonly shape: readonly number[];
  /** E.g. `fp32`, `int8`, `Q8_0`. */
  readonly dtype: string;
}

/**
 * What an artifact is written for besides its precision, defaults filled in: plain JSON, for provenance.json. Only
 * `lengths` means something to `convert`.
 */
export interface ArtifactSettings {
  /** Tokens of a sequence, ascending: all that the artifact takes. Absent where it takes any length. */
  readonly lengths?: readonly number[] | undefined;
  readonly [name: string]: unknown;
}

/** One output format, with its options set. */
export interface ArtifactWriter {
  /** E.g. `"onnx"`: as the backends that load it call it. */
  readonly format: string;
  /** Most precise first. */
  readonly dtypes: readonly string[];
  /** Where none is asked for. Default: the most precise. */
  readonly defaultDtype?: string | undefined;
  /**
   * Where the backends look for the artifact, relative to the model, with `/` between folders: its main file, or its
   * own folder. Of the folders on the way only the artifact's own has an ending (`mlpackage/model.mlpackage`).
   */
  path(dtype: string): string;
  /**
   * How a verification puts the goldens' sequences into batches, one way after the other in the same session; undefined
   * in it leaves them to the backend. Default: to the backend alone.
   */
  readonly batches?: readonly (BatchUse | undefined)[] | undefined;
  /**
   * Judges before anything is written. Without `dtype`: whether there is one at all that it could be written in.
   * @throws {UnsupportedConversionError} with the reason.
   */
  check(description: ModelDescription, profile: ModelProfile, dtype?: string): void;
  /** Those that the artifact will have in this precision. Absent where the format has none. */
  settings?(description: ModelDescription, dtype: string): ArtifactSettings;
  /**
   * Looks for programs that the writer drives, before anything is computed. Absent where it drives none.
   * @returns their versions by name, for provenance.json.
   * @throws {ExternalConverterError} when one is not there.
   * @throws the signal's reason, once aborted.
   */
  prepare?(signal: AbortSignal | undefined): Promise<Readonly<Record<string, string>>>;
  /**
   * Writes the files. At no time are more than a few rows of a large tensor in memory.
   * @returns absolute paths, the main file first.
   * @throws {UnsupportedConversionError} as `check`.
   * @throws {ExternalConverterError} when a program that it drives is not there, or failed.
   * @throws the signal's reason, once aborted.
   */
  write(request: WriteRequest): Promise<readonly string[]>;
}
