import { type RuntimeClient, RuntimeSession, type SessionFacts } from "@crossrank/backend-kit";
import type { Batch, RawOutput } from "@crossrank/core";
import { addonBatch, batchProblem, placesRead } from "./batch.js";
import type { ModelPlan } from "./prepare.js";
import type { Calls, RunResult } from "./protocol.js";

/** A model in MLX's memory. */
export class MlxSession extends RuntimeSession {
  readonly #client: RuntimeClient<Calls>;
  readonly #plan: ModelPlan;

  constructor(facts: SessionFacts & { readonly client: RuntimeClient<Calls>; readonly plan: ModelPlan }) {
    super(facts);
    this.#client = facts.client;
    this.#plan = facts.plan;
  }

  protected override async compute(batch: Batch, signal: AbortSignal | undefined): Promise<RawOutput> {
    // What is no number of rows is told as that.
    if (
      batch.rows >= 1 &&
      batch.columns >= 1 &&
      Number.isInteger(batch.rows) &&
      Number.isInteger(batch.columns)
    ) {
      for (const array of [batch.inputIds, batch.attentionMask, batch.segmentIds])
        this.requireFilled(array, batch);
    }
    const problem = batchProblem(batch, this.#plan);
    if (problem !== undefined) throw this.runError(problem);
    const places = placesRead(batch, this.#plan);
    const argument = addonBatch(batch, this.#plan, places);
    let result: RunResult;
    try {
      result = await this.#client.call("run", argument, { signal });
    } catch (cause) {
      // The batch is computed to its end, but nobody waits for it.
      if (signal?.aborted === true) throw signal.reason;
      throw this.runFailure(cause);
    }
    return this.#output(batch, places, result);
  }

  protected override close(): Promise<void> {
    return this.#client.close();
  }

  #output(
    { rows, columns, lengths, extents = lengths }: Batch,
    places: readonly (readonly number[])[],
    { data, shape }: RunResult,
  ): RawOutput {
    const { output: kind } = this.#plan;
    const [given = 0, count = 0, width = 0] = shape;
    const wanted =
      kind === "hidden-states"
        ? columns
        : kind === "marked-states"
          ? Math.max(1, ...places.map(({ length }) => length))
          : 1;
    if (shape.length !== 3 || given !== rows || count !== wanted || data.length !== rows * count * width) {
      throw this.runError(`MLX gave [${shape.join(", ")}] for ${rows} rows of ${columns} tokens`);
    }
    if (kind === "class-logits" || kind === "token-logits") return { kind, data, shape: [rows, width] };
    const most = kind === "marked-states" ? Math.max(0, ...places.map(({ length }) => length)) : columns;
    if (most === 0) return { kind, data: new Float32Array(0), shape: [rows, 0, width] };
    // What a row has not.
    for (let row = 0; row < rows; row += 1) {
      const own = kind === "marked-states" ? (places[row]?.length ?? 0) : (extents[row] as number);
      data.fill(0, (row * count + own) * width, (row + 1) * count * width);
    }
    return { kind, data, shape: [rows, count, width] };
  }
}
