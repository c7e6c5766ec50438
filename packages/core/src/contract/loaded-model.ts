import type { BatchPreference, SessionFacts } from "./backend.js";
import type { ModelProfile, ProfileSources } from "./model-profile.js";
import type { CreateRerankerOptions, Reranker } from "./reranker.js";

/** Which model is loaded, and how. The options mean what they mean for `createReranker`. */
export type LoadModelOptions = Pick<
  CreateRerankerOptions,
  "model" | "backend" | "dtype" | "profile" | "signal" | "onProgress"
>;

/** How one reranker uses a loaded model. The options mean what they mean for `createReranker`. */
export interface LoadedRerankerOptions
  extends Pick<
    CreateRerankerOptions,
    "maxLength" | "truncation" | "instruction" | "longDocuments" | "scoreCache" | "probe"
  > {
  /** Batches of this form, one at a time, instead of those that the session prefers. */
  readonly batches?: BatchPreference | undefined;
  /** Stops the probe. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A model in memory: its files were read once, and one session of the runtime serves every reranker that is made of it.
 * For rerankers that differ in what they do around the model: truncation, maximum length, instruction.
 */
export interface LoadedModel extends AsyncDisposable {
  /** As the files and the overrides say; `maxLength` is what model and artifact allow. */
  readonly profile: ModelProfile;
  /** Where each field of the profile came from. */
  readonly sources: ProfileSources;
  /** What was loaded, and what it can do. */
  readonly session: SessionFacts;
  /**
   * A reranker over this model. Disposing it leaves the model in memory.
   *
   * @throws {InvalidInputError} a bad option.
   * @throws {ProbeFailedError} the model does not behave like a reranker. The model stays loaded.
   * @throws {DisposedError} after `dispose`.
   */
  createReranker(options?: LoadedRerankerOptions): Promise<Reranker>;
  /** Disposes every reranker of this model, then frees it. Safe to call twice. */
  dispose(): Promise<void>;
}
