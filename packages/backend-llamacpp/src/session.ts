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
import type { RunArgument, RuntimeClient } from "./protocol.js";
import type { RunPlan } from "./run-plan.js";

/** A model in llama.cpp's memory. */
export class LlamaCppSession implements BackendSession {
  readonly info: BackendInfo;
  readonly artifact: ArtifactInfo;
  readonly capabilities: Capabilities;
  readonly #client: RuntimeClient;
  readonly #plan: RunPlan;
  #disposal: Promise<void> | undefined;

  constructor(facts: {
    readonly info: BackendInfo;
    readonly artifact: ArtifactInfo;
    readonly capabilities: Capabilities;
    readonly client: RuntimeClient;
    readonly plan: RunPlan;
  }) {
    this.info = facts.info;
    this.artifact = facts.artifact;
    this.capabilities = facts.capabilities;
    this.#client = facts.client;
    this.#plan = facts.plan;
  }

  async run(batch: Batch, options?: { readonly signal?: AbortSignal | undefined }): Promise<RawOutput> {
    if (this.#disposal !== undefined) throw new DisposedError("llamacpp session");
    const signal = options?.signal;
    signal?.throwIfAborted();
    const argument = this.#runArgument(batch);
    try {
      return { kind: this.#plan.output.kind, ...(await this.#client.call("run", argument, signal)) };
    } catch (cause) {
      if (signal?.aborted === true) throw signal.reason;
      throw this.#runError(cause instanceof Error ? cause.message : String(cause), cause);
    }
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#client.close();
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** The ids as llama.cpp is fed them: those of segment 1 from the second half of a doubled vocabulary. */
  #runArgument({ rows, columns, inputIds, segmentIds, lengths }: Batch): RunArgument {
    const { vocabulary, segmentVocabulary = 0, maxSequenceLength = Number.POSITIVE_INFINITY } = this.#plan;
    const fed = new Int32Array(rows * columns);
    for (let row = 0; row < rows; row += 1) {
      const length = lengths[row] ?? 0;
      if (length > columns || length > maxSequenceLength) {
        throw this.#runError(`row ${row} has ${length} tokens, more than the file has positions for`);
      }
      for (let index = row * columns; index < row * columns + length; index += 1) {
        const id = inputIds[index] ?? -1;
        // Beyond its end a doubled vocabulary has tokens too: the other segment's.
        if (id < 0 || id >= vocabulary) {
          throw this.#runError(`row ${row} has the token id ${id}, and the file ${vocabulary} tokens`);
        }
        fed[index] = id + (segmentIds[index] === 1 ? segmentVocabulary : 0);
      }
    }
    return { rows, columns, inputIds: fed, lengths };
  }

  #runError(problem: string, cause?: unknown): BackendRunError {
    return new BackendRunError({ backend: this.info.name, problem }, { cause });
  }
}
