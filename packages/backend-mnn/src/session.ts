import { type RuntimeClient, RuntimeSession, type SessionFacts } from "@crossrank/backend-kit";
import type { Batch, RawOutput } from "@crossrank/core";
import type { GraphPlan, InputSource, TableSizes } from "./graph-plan.js";
import type { Calls, RunArgument } from "./protocol.js";
import { rehearsalOf, rehearsalProblem, rowsOfRehearsal } from "./rehearsal.js";

/** A model in MNN's memory. */
export class MnnSession extends RuntimeSession {
  readonly #client: RuntimeClient<Calls>;
  readonly #plan: GraphPlan;
  readonly #sizes: TableSizes;
  /** By the number of rows: one alone is what others are held against. */
  readonly #rehearsed: Map<number, Promise<string | undefined>> = new Map(
    [1, rowsOfRehearsal].map((rows) => [rows, Promise.resolve(undefined)]),
  );

  constructor(
    facts: SessionFacts & {
      readonly client: RuntimeClient<Calls>;
      readonly plan: GraphPlan;
      readonly sizes: TableSizes;
    },
  ) {
    super(facts);
    this.#client = facts.client;
    this.#plan = facts.plan;
    this.#sizes = facts.sizes;
  }

  protected override async compute(batch: Batch, signal: AbortSignal | undefined): Promise<RawOutput> {
    const argument = this.#runArgument(batch);
    // Both at once: what is disposed of meanwhile waits for calls that are under way.
    const [problem, result] = await Promise.all([
      this.#problemWith(batch.rows),
      this.#client.call("run", argument, { signal }),
    ]).catch((cause: unknown) => {
      // The batch is computed to its end, but nobody waits for it.
      if (signal?.aborted === true) throw signal.reason;
      throw this.runFailure(cause);
    });
    if (problem !== undefined) {
      const fix = "Take another number of rows in the option `batch`, or another backend";
      throw this.runError(`batches of ${batch.rows} rows: ${problem}. ${fix}`);
    }
    return { kind: this.#plan.output.kind, ...result };
  }

  /** What is wrong with batches of so many rows; tried once. */
  #problemWith(rows: number): Promise<string | undefined> {
    const known = this.#rehearsed.get(rows);
    if (known !== undefined) return known;
    const rehearsal = this.#client
      .call("rehearse", rehearsalOf(this.#plan, this.#sizes, rows))
      .then((found) => rehearsalProblem(found)?.problem);
    this.#rehearsed.set(rows, rehearsal);
    // A runtime that died meanwhile is started anew, and tries again.
    rehearsal.catch(() => this.#rehearsed.delete(rows));
    return rehearsal;
  }

  protected override close(): Promise<void> {
    return this.#client.close();
  }

  /** MNN itself looks a number beyond a table up at another place of it, without a word. */
  #runArgument(batch: Batch): RunArgument {
    const { rows, columns } = batch;
    const { below, longest = Number.POSITIVE_INFINITY } = this.#sizes;
    if (columns > longest) {
      throw this.runError(`sequences of ${columns} tokens, and the file has positions for ${longest}`);
    }
    const inputs = this.#plan.inputs.map((source, index) => {
      const array = arrayFor(source, batch);
      this.requireFilled(array, batch);
      const end = below[index] ?? Number.POSITIVE_INFINITY;
      const wrong = array.find((number) => number < 0 || number >= end);
      if (wrong !== undefined) {
        throw this.runError(`${source} has ${wrong}, and the file's table has rows for 0 to ${end - 1}`);
      }
      return array;
    });
    return { plan: this.#plan, rows, columns, inputs };
  }
}

function arrayFor(source: InputSource, { rows, columns, ...arrays }: Batch): Int32Array {
  if (source !== "positions") return arrays[source];
  return Int32Array.from({ length: rows * columns }, (_, place) => place % columns);
}
