import type { FileProgress, ModelFiles } from "./model-files.js";
import type { Family, ModelProfile } from "./model-profile.js";

/**
 * What core wants back for every sequence of a batch. Chosen by core from the profile's head, before loading.
 *
 * - `class-logits`: raw classifier outputs, no activation. Shape (rows, classes).
 * - `hidden-states`: last hidden state of every token. Shape (rows, columns, hidden). With `unattendedStates` also at the
 *   columns that are in a row's `extents` and not in its attention mask.
 * - `pooled`: one vector a sequence, pooled by the runtime as the profile's head says, before the head's modules and
 *   not normalised. Shape (rows, hidden).
 * - `token-logits`: logits of `tokens`, in that order, after the last real token. Shape (rows, tokens.length).
 * - `marked-states`: last hidden state at every real token whose id is one of `tokens`, from left to right. Shape
 *   (rows, marks, hidden), where marks is the most that a row has; what a row has less is filled with zeros.
 */
export type OutputKind = "class-logits" | "hidden-states" | "pooled" | "token-logits" | "marked-states";

export interface OutputRequest {
  /** Acceptable kinds, best first; the backend takes the first that it can give. */
  readonly kinds: readonly OutputKind[];
  /** Ids of the answer tokens (`token-logits`) or of the markers (`marked-states`). Undefined for other kinds. */
  readonly tokens?: readonly number[];
}

/**
 * Token ids on their way to a runtime. Row-major (rows, columns), right-padded. The arrays belong to the
 * backend from `run` on: it may transfer them to another thread.
 */
export interface Batch {
  readonly rows: number;
  readonly columns: number;
  /** (rows, columns), padding id where there is no token. */
  readonly inputIds: Int32Array;
  /**
   * (rows, columns), 1 for a real token, 0 for padding. A padding row is all zeros. 0 also for the tokens between a row's
   * length and its extent.
   */
  readonly attentionMask: Int32Array;
  /** (rows, columns), 0 or 1, 0 on padding. Always given; a backend whose model takes none ignores it. */
  readonly segmentIds: Int32Array;
  /** Real tokens of each row; 0 for a padding row. For runtimes that take one unpadded sequence at a time. */
  readonly lengths: Int32Array;
  /**
   * Tokens of each row that have hidden states. Those behind its length read the real ones, and no token reads them: a
   * query's expansion that is not attended. Undefined where each is the row's length, as always without
   * `unattendedStates`.
   */
  readonly extents?: Int32Array | undefined;
}

/** Raw numbers of one batch, float32, row-major. Padding rows are included; core drops them. */
export interface RawOutput {
  readonly kind: OutputKind;
  readonly data: Float32Array;
  /** As listed at {@link OutputKind}; `shape[0]` is the batch's `rows`. */
  readonly shape: readonly number[];
}

/** How the scheduler should cut batches for speed. A recommendation of the backend, from measurement. */
export interface BatchPreference {
  /** Most rows. 1 makes a score independent of its neighbours, also where activations are quantised per batch. */
  readonly rows: number;
  /** Most rows × columns; a longer single sequence still runs, alone. */
  readonly tokens: number;
  /** Largest share of padding among the tokens of a batch, 0 to 1. 0 batches equal lengths only. */
  readonly padding: number;
}

/** What a loaded session can do, as data. Core decides from it and never from the backend's name. */
export interface Capabilities {
  /** What `run` returns. */
  readonly output: OutputKind;
  /** Longest sequence the artifact accepts, in tokens; undefined when it sets no limit of its own. */
  readonly maxSequenceLength: number | undefined;
  /** `"any"`, or the only lengths accepted, ascending (e.g. 128, 256, 512): core pads columns up to the next. */
  readonly sequenceLengths: "any" | readonly number[];
  /** Rows accepted: any number up to `max`, or always exactly `exactly`: core pads rows and drops their outputs. */
  readonly batchSize: { readonly max: number } | { readonly exactly: number };
  readonly batchPreference: BatchPreference;
  /** Whether the artifact reads segment ids. False while the template has segment 1 is a warning, not an error. */
  readonly segmentIds: boolean;
  /**
   * Whether a row's numbers depend on the other rows of its batch beyond the rounding of float32, as with activations
   * that are quantised for the batch as a whole. Core then measures at loading by how much, and says it in a warning
   * where `batchPreference` or `batchSize` puts several rows together; conformance does not hold batches to one by one.
   */
  readonly rowsAffectScores: boolean;
  /**
   * Whether `hidden-states` has what the model computes at columns that the attention mask hides from others, as a graph
   * does that computes every column. Undefined means no, and late-interaction models that need it are then refused.
   */
  readonly unattendedStates?: boolean | undefined;
  /** How many `run` calls core may have under way at once; at least 1. */
  readonly concurrentRuns: number;
  /** Whether `run` stops within a batch when its signal aborts. Otherwise core stops between batches. */
  readonly cancelsWithinBatch: boolean;
}

/** Which exported form of the model a session runs. */
export interface ArtifactInfo {
  /** The file format's usual name, in lower case: the ending of its files, without the dot, where it has one. */
  readonly format: string;
  /** The field's usual name: fp32, fp16, int8, uint8, q8, q4, Q8_0 … */
  readonly dtype: string;
  /** Files relative to the model, the main one first, each with its lower-case hex sha256. */
  readonly files: readonly { readonly path: string; readonly sha256: string }[];
}

export interface BackendInfo {
  /** The backend's own name, as `Backend.name`. */
  readonly name: string;
  /** The library that computes: its package's name, and the version that is installed. */
  readonly runtime: { readonly name: string; readonly version: string };
}

/**
 * Everything that a session was told, or chose itself, that can change a number: name → value, e.g.
 * `{ flashAttention: "true", batch: "1 row" }`. What cannot change a number (threads, folders) is left out. Part of the
 * cache key, of every result's provenance, and of what `eval` takes for one system.
 */
export type Settings = Readonly<Record<string, string>>;

/**
 * How far a runtime's numbers may lie from those of a float32 reference, where that is more than the artifact's
 * precision explains. Largest |Δ logit| and |Δ cosine|.
 */
export interface NumericBounds {
  readonly logit: number;
  readonly cosine: number;
  /** What in the runtime's arithmetic makes it so, as a clause: `"GELU is looked up in a table of half floats"`. */
  readonly reason: string;
}

export interface LoadRequest {
  readonly files: ModelFiles;
  readonly profile: ModelProfile;
  readonly output: OutputRequest;
  /**
   * Precision wanted; undefined takes the profile's default, else the most precise that is there, or the one that the
   * runtime is made for. Never silently another.
   */
  readonly dtype?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: FileProgress) => void) | undefined;
}

/** A model in a runtime's memory. */
export interface BackendSession extends AsyncDisposable {
  readonly info: BackendInfo;
  readonly artifact: ArtifactInfo;
  readonly capabilities: Capabilities;
  /** `{}` where nothing can be set that changes a number. */
  readonly settings: Settings;
  /** Undefined where the runtime computes as the artifact's precision says. Measured, not wished. */
  readonly bounds?: NumericBounds | undefined;
  /**
   * What somebody should know who runs this artifact on this machine, as sentences without their period: stands in a
   * warning of every result.
   */
  readonly notes?: readonly string[] | undefined;
  /**
   * Runs one batch that keeps to `capabilities`.
   * @throws {BackendRunError} when the runtime fails.
   * @throws {DisposedError} after `dispose`.
   * @throws the signal's reason once it is aborted.
   */
  run(batch: Batch, options?: { readonly signal?: AbortSignal | undefined }): Promise<RawOutput>;
  /** Frees the runtime's memory. Waits for a batch under way; safe to call twice. */
  dispose(): Promise<void>;
}

/** Versions of this contract that this core understands. */
export const supportedSpecificationVersions: readonly string[] = ["v1"];

/** What can be known about a loaded session, without the means to run or to dispose it. */
export type SessionFacts = Pick<
  BackendSession,
  "info" | "artifact" | "capabilities" | "settings" | "bounds" | "notes"
>;

/** What an artifact gives, by its own declaration. */
export interface DeclaredClasses {
  /** Relative to the model. */
  readonly path: string;
  /** Class logits of a sequence. */
  readonly classes: number;
}

/** A runtime that can load models. Made by a factory of its package, which takes the runtime's options. */
export interface Backend {
  /**
   * Lets a second version of this contract live beside the first. `createReranker` refuses any other than those in
   * `supportedSpecificationVersions`, with an {@link UnsupportedSpecificationError}.
   */
  readonly specificationVersion: "v1";
  readonly name: string;
  readonly families: readonly Family[];
  /**
   * @throws {ModelFileNotFoundError} when there is no artifact of that precision.
   * @throws {ModelLoadError} when the runtime refuses it.
   * @throws {IncompatibleModelError} when it cannot give one of the outputs asked for.
   */
  load(request: LoadRequest): Promise<BackendSession>;
  /**
   * How many class logits the artifact gives that `load` would take, read from the file without loading it: for models
   * whose configuration does not say what they are. Undefined where the artifact gives none, or does not say.
   *
   * @throws {ModelFileNotFoundError} when there is no artifact of that precision.
   */
  declaredClasses?(
    request: Pick<LoadRequest, "files" | "dtype" | "signal" | "onProgress">,
  ): Promise<DeclaredClasses | undefined>;
  /** Whether this runtime works on this machine, without loading a model. For `crossrank doctor`; never throws. */
  diagnose(): Promise<BackendDiagnosis>;
}

export interface BackendDiagnosis {
  readonly available: boolean;
  readonly runtime?: { readonly name: string; readonly version: string };
  /** One line: what was found (providers, threads), or why it does not load and how to mend it. */
  readonly detail: string;
}
