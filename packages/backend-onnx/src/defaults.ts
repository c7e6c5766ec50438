import { availableParallelism } from "node:os";
import type { BatchPreference } from "@crossrank/core";
import { quantisesPerBatch } from "./dtype.js";
import type { GraphPlan } from "./graph-plan.js";
import type { OnnxOptions } from "./options.js";

/** Above this many bytes of artifact, a second copy of the weights costs more memory than it gains in speed. */
const severalCopiesBelow = 300e6;
const mostWorkers = 4;

/** How many threads run a model, and how they are split. */
export interface Placement {
  readonly workers: number;
  readonly threads: number;
}

/** Measured: docs/decisions/0002-onnx-batching.md. */
export function choosePlacement(
  options: Pick<OnnxOptions, "workers" | "threads" | "executionProviders">,
  bytes: number,
  cores: number = availableParallelism(),
): Placement {
  const onProcessor = (options.executionProviders ?? ["cpu"]).every(
    (provider) => (typeof provider === "string" ? provider : provider.name) === "cpu",
  );
  const room = Math.floor(cores / (options.threads ?? 1));
  const several = onProcessor && bytes < severalCopiesBelow ? Math.min(mostWorkers, room) : 1;
  const workers = options.workers ?? Math.max(1, several);
  return { workers, threads: options.threads ?? Math.max(1, Math.floor(cores / workers)) };
}

/** Measured: docs/decisions/0002-onnx-batching.md. A graph of fixed shape decides for itself. */
export function chooseBatchPreference(
  wanted: OnnxOptions["batch"],
  dtype: string,
  plan: Pick<GraphPlan, "rows">,
): BatchPreference {
  const measured: BatchPreference = { rows: quantisesPerBatch(dtype) ? 1 : 8, tokens: 512, padding: 0.1 };
  return {
    rows: plan.rows ?? wanted?.rows ?? measured.rows,
    tokens: wanted?.tokens ?? measured.tokens,
    padding: wanted?.padding ?? measured.padding,
  };
}
