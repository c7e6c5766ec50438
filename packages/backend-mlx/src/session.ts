import { type RuntimeClient, RuntimeSession, type SessionFacts } from "@crossrank/backend-kit";
import type { Batch, RawOutput } from "@crossrank/core";
import type { AddonBatch } from "./native.js";
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
    this.#check(batch);
    const places = this.#places(batch);
    const argument = this.#batchOf(batch, places);
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

  /** The interpreter refuses the same; here it is an error that says what to do, before anything is sent. */
  #check(batch: Batch): void {
    const { rows, columns, inputIds, attentionMask, segmentIds, lengths, extents = lengths } = batch;
    const { longest, vocabularySize, segments, reach } = this.#plan;
    const isCount = (value: number): boolean => Number.isInteger(value) && value >= 1;
    if (!isCount(rows) || !isCount(columns)) throw this.runError(`a batch of ${rows} × ${columns}`);
    if (columns > longest) {
      throw this.runError(`sequences of ${columns} tokens, and the model has positions for ${longest}`);
    }
    for (const array of [inputIds, attentionMask, segmentIds]) this.requireFilled(array, batch);
    if (lengths.length !== rows || extents.length !== rows) {
      throw this.runError(`${lengths.length} lengths for ${rows} rows`);
    }
    for (let row = 0; row < rows; row += 1) {
      const [length, extent] = [lengths[row] as number, extents[row] as number];
      if (!(length >= 0 && length <= extent && extent <= columns)) {
        throw this.runError(`a row of ${length} and ${extent} tokens in ${columns} columns`);
      }
      const mask = attentionMask.subarray(row * columns, (row + 1) * columns);
      if (mask.some((attended, column) => attended !== (column < length ? 1 : 0)))
        throw this.runError(
          "an attention mask that is not the row's first tokens, by whose number MLX masks",
        );
      if (extent > length && reach !== undefined && extent - length > reach) {
        throw this.runError(
          `a token that is not attended sees ${reach} places to either side, and no attended token is there`,
        );
      }
    }
    const unknown = inputIds.find((id) => !(id >= 0 && id < vocabularySize));
    if (unknown !== undefined) {
      throw this.runError(`token ${unknown}, and the model has a vocabulary of ${vocabularySize}`);
    }
    if (segments > 1) {
      const segment = segmentIds.find((one) => !(one >= 0 && one < segments));
      if (segment !== undefined) throw this.runError(`segment ${segment}, and the model has ${segments}`);
    }
  }

  /** Of each row the places of its tokens that are read. */
  #places({ rows, columns, inputIds, lengths }: Batch): readonly (readonly number[])[] {
    const { reads, passedOver, tokens, output } = this.#plan;
    const marks = new Set(tokens);
    return Array.from({ length: rows }, (_, row) => {
      const ids = inputIds.subarray(row * columns, row * columns + (lengths[row] as number));
      if (reads === "marks") return [...ids.keys()].filter((place) => marks.has(ids[place] as number));
      if (reads !== "last") return [0];
      const skipped = output === "class-logits" ? passedOver : undefined;
      return [
        Math.max(
          0,
          ids.findLastIndex((id) => id !== skipped),
        ),
      ];
    });
  }

  #batchOf(batch: Batch, places: readonly (readonly number[])[]): AddonBatch {
    const { rows, columns, inputIds, segmentIds, lengths, extents = lengths } = batch;
    const picked = Math.max(1, ...places.map(({ length }) => length));
    const flat = new Int32Array(rows * picked);
    for (const [row, of] of places.entries()) flat.set(of, row * picked);
    return {
      rows,
      columns,
      picked,
      ids: inputIds,
      // A table of one row is added to every token, whatever its segment.
      segments: this.#plan.segments > 1 ? segmentIds : new Int32Array(rows * columns),
      lengths,
      extents,
      places: flat,
    };
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
