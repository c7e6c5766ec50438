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
import type { PlannedInput, PlannedOutput } from "./feature-plan.js";
import type { Predictor, PredictorInput, PredictorOutput } from "./predictor.js";

/** A package that is open, and the lengths that it takes. */
export interface OpenPackage {
  readonly predictor: Predictor;
  readonly lengths: readonly number[];
}

/** A model in Core ML's memory, or in that of the reference execution. */
export class CoreMlSession implements BackendSession {
  readonly info: BackendInfo;
  readonly artifact: ArtifactInfo;
  readonly capabilities: Capabilities;
  readonly #packages: readonly OpenPackage[];
  readonly #inputs: readonly PlannedInput[];
  readonly #output: PlannedOutput;
  readonly #rows: number;
  readonly #underWay = new Set<Promise<unknown>>();
  #disposal: Promise<void> | undefined;

  constructor(facts: {
    readonly info: BackendInfo;
    readonly artifact: ArtifactInfo;
    readonly capabilities: Capabilities;
    readonly packages: readonly OpenPackage[];
    readonly inputs: readonly PlannedInput[];
    readonly output: PlannedOutput;
    readonly rows: number;
  }) {
    this.info = facts.info;
    this.artifact = facts.artifact;
    this.capabilities = facts.capabilities;
    this.#packages = facts.packages;
    this.#inputs = facts.inputs;
    this.#output = facts.output;
    this.#rows = facts.rows;
  }

  async run(batch: Batch, options?: { readonly signal?: AbortSignal | undefined }): Promise<RawOutput> {
    if (this.#disposal !== undefined) throw new DisposedError(`${this.info.name} session`);
    options?.signal?.throwIfAborted();
    const { rows, columns } = batch;
    const open = this.#packages.find(({ lengths }) => lengths.includes(columns));
    if (open === undefined || rows !== this.#rows) {
      const { sequenceLengths } = this.capabilities;
      throw this.#runError(
        `a batch of ${rows} rows of ${columns} tokens, and the package takes ${this.#rows} rows of ${sequenceLengths}`,
      );
    }
    const running = open.predictor.predict(this.#feed(batch), this.#output.name).catch((cause: unknown) => {
      throw this.#runError(cause instanceof Error ? cause.message : String(cause), cause);
    });
    this.#underWay.add(running);
    try {
      return this.#read(await running);
    } finally {
      this.#underWay.delete(running);
    }
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#close();
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await closeAll(this.#packages);
  }

  #feed({ rows, columns, ...arrays }: Batch): readonly PredictorInput[] {
    return this.#inputs.map(({ name, source, rank }) => {
      const data = arrays[source];
      if (data.length !== rows * columns) {
        throw this.#runError(
          `an array of ${data.length} numbers for ${rows} rows of ${columns} tokens; a batch can be run once`,
        );
      }
      return { name, shape: rank === 4 ? [rows, 1, 1, columns] : [rows, columns], data };
    });
  }

  #read({ shape, data }: PredictorOutput): RawOutput {
    const [rows, width, ...others] = shape;
    if (rows !== this.#rows || width === undefined || others.length > 0 || data.length !== rows * width) {
      throw this.#runError(
        `output "${this.#output.name}" came as (${shape.join(", ")}) with ${data.length} numbers, not as ` +
          `(${this.#rows}, numbers of a row)`,
      );
    }
    return { kind: this.#output.kind, data, shape };
  }

  #runError(problem: string, cause?: unknown): BackendRunError {
    return new BackendRunError({ backend: this.info.name, problem }, { cause });
  }
}

/** Closes every package, also where closing one fails; then fails as the first did. */
export async function closeAll(packages: readonly OpenPackage[]): Promise<void> {
  const closed = await Promise.allSettled(packages.map(({ predictor }) => predictor.close()));
  const failure = closed.find((one) => one.status === "rejected");
  if (failure !== undefined) throw failure.reason;
}
