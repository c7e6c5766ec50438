import { RuntimeSession, type SessionFacts } from "@crossrank/backend-kit";
import type { Batch, RawOutput } from "@crossrank/core";
import type { PlannedInput, PlannedOutput } from "./feature-plan.js";
import type { Predictor, PredictorInput, PredictorOutput } from "./predictor.js";

/** A package that is open, and the lengths that it takes. */
export interface OpenPackage {
  readonly predictor: Predictor;
  readonly lengths: readonly number[];
}

/** A model in Core ML's memory, or in that of the reference execution. */
export class CoreMlSession extends RuntimeSession {
  readonly #packages: readonly OpenPackage[];
  readonly #inputs: readonly PlannedInput[];
  readonly #output: PlannedOutput;
  readonly #rows: number;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(
    facts: SessionFacts & {
      readonly packages: readonly OpenPackage[];
      readonly inputs: readonly PlannedInput[];
      readonly output: PlannedOutput;
      readonly rows: number;
    },
  ) {
    super(facts);
    this.#packages = facts.packages;
    this.#inputs = facts.inputs;
    this.#output = facts.output;
    this.#rows = facts.rows;
  }

  protected override async compute(batch: Batch): Promise<RawOutput> {
    const { rows, columns } = batch;
    const open = this.#packages.find(({ lengths }) => lengths.includes(columns));
    if (open === undefined || rows !== this.#rows) {
      const { sequenceLengths } = this.capabilities;
      throw this.runError(
        `a batch of ${rows} rows of ${columns} tokens, and the package takes ${this.#rows} rows of ${sequenceLengths}`,
      );
    }
    const running = open.predictor.predict(this.#feed(batch), this.#output.name).catch((cause: unknown) => {
      throw this.runFailure(cause);
    });
    this.#underWay.add(running);
    try {
      return this.#read(await running);
    } finally {
      this.#underWay.delete(running);
    }
  }

  protected override async close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await closeAll(this.#packages);
  }

  #feed(batch: Batch): readonly PredictorInput[] {
    const { rows, columns } = batch;
    return this.#inputs.map(({ name, source, rank }) => {
      const data = batch[source];
      this.requireFilled(data, batch);
      return { name, shape: rank === 4 ? [rows, 1, 1, columns] : [rows, columns], data };
    });
  }

  #read({ shape, data }: PredictorOutput): RawOutput {
    const [rows, width, ...others] = shape;
    if (rows !== this.#rows || width === undefined || others.length > 0 || data.length !== rows * width) {
      throw this.runError(
        `output "${this.#output.name}" came as (${shape.join(", ")}) with ${data.length} numbers, not as ` +
          `(${this.#rows}, numbers of a row)`,
      );
    }
    return { kind: this.#output.kind, data, shape };
  }
}

/** Closes every package, also where closing one fails; then fails as the first did. */
export async function closeAll(packages: readonly OpenPackage[]): Promise<void> {
  const closed = await Promise.allSettled(packages.map(({ predictor }) => predictor.close()));
  const failure = closed.find((one) => one.status === "rejected");
  if (failure !== undefined) throw failure.reason;
}
