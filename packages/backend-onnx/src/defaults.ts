import { choosePlacement as shareProcessor } from "@crossrank/backend-kit";
import type { BatchPreference } from "@crossrank/core";
import type { GraphPlan } from "./graph-plan.js";
import type { OnnxOptions } from "./options.js";
import { sharingPreference } from "./plan-sharing.js";

const mostWorkers = 4;

/**
 * What a worker takes: its weights as ONNX Runtime packs them and the tensors of a batch, by the files' bytes, and a
 * program around them. Measured: docs/decisions/0023-workers-by-memory.md.
 */
const bytesOfWorker = (fileBytes: number): number => 1.6 * fileBytes + 50e6;

/** Float32 logits of one batch. ONNX Runtime has them once, and JavaScript's copy is as large again. */
const logitBytes = 256e6;

/** For a graph that does not say its own: Gemma 3's, the largest among rerankers. */
const largestVocabulary = 262_144;

/** How many threads run a model, and how they are split. */
export interface Placement {
  readonly workers: number;
  readonly threads: number;
}

/**
 * Measured: docs/decisions/0002-onnx-batching.md.
 *
 * @param bytes of all files of the artifact.
 * @param machine what there is; default: this machine's.
 */
export function choosePlacement(
  options: Pick<OnnxOptions, "workers" | "threads" | "executionProviders">,
  bytes: number,
  machine: { readonly cores?: number; readonly freeBytes?: number } = {},
): Placement {
  const mostCopies = onProcessor(options) ? mostWorkers : 1;
  const { workers: asked, threads } = options;
  const worker = bytesOfWorker(bytes);
  const { copies, ...share } = shareProcessor(
    { copies: asked, threads },
    { mostCopies, cores: machine.cores, memory: { first: worker, further: worker, free: machine.freeBytes } },
  );
  return { workers: copies, ...share };
}

/** Whether nothing but the processor computes. */
export function onProcessor({
  executionProviders = ["cpu"],
}: Pick<OnnxOptions, "executionProviders">): boolean {
  return executionProviders.every(
    (provider) => (typeof provider === "string" ? provider : provider.name) === "cpu",
  );
}

/**
 * Measured: docs/decisions/0002-onnx-batching.md. A graph of fixed shape decides for itself; one that computes logits
 * for a whole vocabulary is given no more tokens at once than `logitBytes` hold; one that has to run without padding
 * gets equal lengths, which it would otherwise be run in anyway; one whose rows share their beginning is given several,
 * which its session cuts into such batches itself.
 */
export function chooseBatchPreference(
  wanted: OnnxOptions["batch"],
  rowsAffectScores: boolean,
  plan: Pick<GraphPlan, "rows" | "inputs" | "output" | "sharing">,
): BatchPreference {
  if (plan.sharing !== undefined) return { ...sharingPreference, ...definedOf(wanted ?? {}) };
  const rows = plan.rows ?? wanted?.rows ?? (rowsAffectScores ? 1 : 8);
  const measured: BatchPreference = { rows, tokens: 256, padding: 0.05 };
  const { tokens, padding } = { ...measured, ...preferenceOfOutput(plan, measured) };
  return { rows, tokens: wanted?.tokens ?? tokens, padding: wanted?.padding ?? padding };
}

function definedOf(wanted: Partial<BatchPreference>): Partial<BatchPreference> {
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
}

function preferenceOfOutput(
  { inputs, output }: Pick<GraphPlan, "inputs" | "output">,
  { rows, tokens, padding }: BatchPreference,
): Partial<BatchPreference> {
  if (output.unpadded) {
    return { padding: 0 };
  }
  if (output.kind !== "token-logits") {
    return {};
  }
  const positions = Math.floor(logitBytes / (4 * (output.vocabulary ?? largestVocabulary)));
  if (inputs.some(({ source }) => source === "logitsToKeep")) {
    // From the end of the shortest row on: at most the batch's whole padding, and one, for every row.
    return { padding: Math.min(padding, Math.max(0, (positions / rows - 1) / tokens)) };
  }
  return { tokens: Math.min(tokens, Math.max(1, positions)) };
}
