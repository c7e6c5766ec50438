import { type RuntimeClient, RuntimeSession, type SessionFacts } from "@crossrank/backend-kit";
import type { Batch, RawOutput } from "@crossrank/core";
import type { Calls, RunArgument } from "./protocol.js";
import { outputKindOf, type RunPlan } from "./run-plan.js";

/** A model in llama.cpp's memory. */
export class LlamaCppSession extends RuntimeSession {
  readonly #client: RuntimeClient<Calls>;
  readonly #plan: RunPlan;

  constructor(facts: SessionFacts & { readonly client: RuntimeClient<Calls>; readonly plan: RunPlan }) {
    super(facts);
    this.#client = facts.client;
    this.#plan = facts.plan;
  }

  protected override async compute(batch: Batch, signal: AbortSignal | undefined): Promise<RawOutput> {
    const argument = this.#runArgument(batch);
    try {
      return {
        kind: outputKindOf(this.#plan.output),
        ...(await this.#client.call("run", argument, { signal })),
      };
    } catch (cause) {
      if (signal?.aborted === true) throw signal.reason;
      throw this.runFailure(cause);
    }
  }

  protected override close(): Promise<void> {
    return this.#client.close();
  }

  /** The ids as llama.cpp is fed them: those of segment 1 from the second half of a doubled vocabulary. */
  #runArgument({ rows, columns, inputIds, segmentIds, lengths }: Batch): RunArgument {
    const { vocabulary, segmentVocabulary = 0, maxSequenceLength = Number.POSITIVE_INFINITY } = this.#plan;
    const fed = new Int32Array(rows * columns);
    for (let row = 0; row < rows; row += 1) {
      const length = lengths[row] ?? 0;
      if (length > columns || length > maxSequenceLength) {
        throw this.runError(`row ${row} has ${length} tokens, more than the file has positions for`);
      }
      for (let index = row * columns; index < row * columns + length; index += 1) {
        const id = inputIds[index] ?? -1;
        // Beyond its end a doubled vocabulary has tokens too: the other segment's.
        if (id < 0 || id >= vocabulary) {
          throw this.runError(`row ${row} has the token id ${id}, and the file ${vocabulary} tokens`);
        }
        fed[index] = id + (segmentIds[index] === 1 ? segmentVocabulary : 0);
      }
    }
    return { rows, columns, inputIds: fed, lengths };
  }
}
