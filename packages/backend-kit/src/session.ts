import {
  type ArtifactInfo,
  type BackendInfo,
  BackendRunError,
  type BackendSession,
  type Batch,
  type Capabilities,
  DisposedError,
  type RawOutput,
} from "@crossrank/core";
import { messageOf } from "./failure-text.js";

/** What a session is made from. `settings` is `{}` where nothing can be set that changes a number. */
export type SessionFacts = Pick<
  BackendSession,
  "info" | "artifact" | "capabilities" | "settings" | "bounds" | "notes"
>;

/** What the sessions of all runtimes have in common: they are closed once, and refuse batches from then on. */
export abstract class RuntimeSession implements BackendSession {
  readonly info: BackendInfo;
  readonly artifact: ArtifactInfo;
  readonly capabilities: Capabilities;
  readonly settings: BackendSession["settings"];
  readonly bounds: BackendSession["bounds"];
  readonly notes: BackendSession["notes"];
  #disposal: Promise<void> | undefined;

  constructor({ info, artifact, capabilities, settings, bounds, notes }: SessionFacts) {
    this.info = info;
    this.artifact = artifact;
    this.capabilities = capabilities;
    this.settings = settings;
    this.bounds = bounds;
    this.notes = notes;
  }

  /**
   * @throws {DisposedError} once `dispose` was called.
   * @throws {BackendRunError} when the batch does not fit the artifact, or the runtime fails.
   */
  async run(batch: Batch, options?: { readonly signal?: AbortSignal | undefined }): Promise<RawOutput> {
    if (this.#disposal !== undefined) throw new DisposedError(`${this.info.name} session`);
    options?.signal?.throwIfAborted();
    return this.compute(batch, options?.signal);
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.close();
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** The signal is not aborted yet. */
  protected abstract compute(batch: Batch, signal: AbortSignal | undefined): Promise<RawOutput>;

  /** Called once: waits for the batches under way, and frees the memory. */
  protected abstract close(): Promise<void>;

  /** @throws {BackendRunError} unless the array, one of the batch's, has a number for each of its places. */
  protected requireFilled(array: Int32Array, { rows, columns }: Batch): void {
    if (array.length !== rows * columns) {
      throw this.runError(
        `an array of ${array.length} numbers for ${rows} rows of ${columns} tokens; a batch can be run once`,
      );
    }
  }

  protected runError(problem: string, cause?: unknown): BackendRunError {
    return new BackendRunError({ backend: this.info.name, problem }, { cause });
  }

  /** What the runtime threw, as the contract's error. */
  protected runFailure(cause: unknown): BackendRunError {
    return this.runError(messageOf(cause), cause);
  }
}
