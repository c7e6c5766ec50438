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
import type { GraphPlan, InputSource } from "./graph-plan.js";
import type { RunArgument, RuntimeClient } from "./protocol.js";

/** What a graph's tables have rows for; undefined where none was recognised. */
export interface TableSizes {
  /** One an input of the plan. */
  readonly below: readonly (number | undefined)[];
  readonly longest: number | undefined;
}

/** A model in MNN's memory. */
export class MnnSession implements BackendSession {
  readonly info: BackendInfo;
  readonly artifact: ArtifactInfo;
  readonly capabilities: Capabilities;
  readonly #client: RuntimeClient;
  readonly #plan: GraphPlan;
  readonly #sizes: TableSizes;
  #disposal: Promise<void> | undefined;

  constructor(facts: {
    readonly info: BackendInfo;
    readonly artifact: ArtifactInfo;
    readonly capabilities: Capabilities;
    readonly client: RuntimeClient;
    readonly plan: GraphPlan;
    readonly sizes: TableSizes;
  }) {
    this.info = facts.info;
    this.artifact = facts.artifact;
    this.capabilities = facts.capabilities;
    this.#client = facts.client;
    this.#plan = facts.plan;
    this.#sizes = facts.sizes;
  }

  async run(batch: Batch, options?: { readonly signal?: AbortSignal | undefined }): Promise<RawOutput> {
    if (this.#disposal !== undefined) throw new DisposedError("mnn session");
    options?.signal?.throwIfAborted();
    const argument = this.#runArgument(batch);
    try {
      return { kind: this.#plan.output.kind, ...(await this.#client.call("run", argument)) };
    } catch (cause) {
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

  /** MNN itself looks a number beyond a table up at another place of it, without a word. */
  #runArgument(batch: Batch): RunArgument {
    const { rows, columns } = batch;
    const { below, longest = Number.POSITIVE_INFINITY } = this.#sizes;
    if (columns > longest) {
      throw this.#runError(`sequences of ${columns} tokens, and the file has positions for ${longest}`);
    }
    const inputs = this.#plan.inputs.map((source, index) => {
      const array = arrayFor(source, batch);
      if (array.length !== rows * columns) {
        const problem = `an array of ${array.length} numbers for ${rows} rows of ${columns} tokens; a batch can be run once`;
        throw this.#runError(problem);
      }
      const end = below[index] ?? Number.POSITIVE_INFINITY;
      const wrong = array.find((number) => number < 0 || number >= end);
      if (wrong !== undefined) {
        throw this.#runError(`${source} has ${wrong}, and the file's table has rows for 0 to ${end - 1}`);
      }
      return array;
    });
    return { plan: this.#plan, rows, columns, inputs };
  }

  #runError(problem: string, cause?: unknown): BackendRunError {
    return new BackendRunError({ backend: this.info.name, problem }, { cause });
  }
}

function arrayFor(source: InputSource, { rows, columns, ...arrays }: Batch): Int32Array {
  if (source !== "positions") return arrays[source];
  return Int32Array.from({ length: rows * columns }, (_, place) => place % columns);
}
