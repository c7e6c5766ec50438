import { availableParallelism, totalmem } from "node:os";
import type { BatchPreference } from "@crossrank/core";
import type { GgufHeader } from "./gguf-header.js";
import { Metadata } from "./metadata.js";
import type { LlamaCppOptions } from "./options.js";
import type { RunPlan } from "./run-plan.js";

const mostContexts = 8;
/** Contexts begin at this many tokens, and most sequences of rerankers are shorter. */
const usualLength = 512;

/** How many sequences run at once, and with how many threads each. */
export interface Placement {
  readonly contexts: number;
  readonly threads: number;
}

/** Several contexts of one thread each score faster than one of several threads (README.md, "Speed"). */
export function choosePlacement(
  options: Pick<LlamaCppOptions, "contexts" | "threads" | "gpu">,
  contextBytes: number,
  machine: { readonly cores: number; readonly freeBytes: number } = {
    cores: availableParallelism(),
    freeBytes: freeMemory(),
  },
): Placement {
  const room = Math.floor(machine.cores / (options.threads ?? 1));
  const byMemory = Math.floor(machine.freeBytes / 2 / Math.max(1, contextBytes));
  const onProcessor = (options.gpu ?? false) === false;
  const several = onProcessor ? Math.max(1, Math.min(mostContexts, room, byMemory)) : 1;
  const contexts = options.contexts ?? several;
  return { contexts, threads: options.threads ?? Math.max(1, Math.floor(machine.cores / contexts)) };
}

/** Bytes that may be taken. macOS counts as free only what it uses for nothing at all, hence the quarter. */
function freeMemory(): number {
  const available = process.availableMemory();
  return process.platform === "darwin" ? Math.max(available, totalmem() / 4) : available;
}

/**
 * About what a context of 512 tokens allocates, in bytes, beside the weights that all share: the float32 cache of a
 * decoder and its logits, or an encoder's attention, and in both a layer's activations.
 */
export function estimateContextBytes(
  { metadata }: GgufHeader,
  { architecture, vocabulary, causal }: RunPlan,
): number {
  const numbers = new Metadata(metadata);
  const count = (key: string, fallback = 0): number => numbers.count(`${architecture}.${key}`) ?? fallback;
  const hidden = count("embedding_length");
  const heads = count("attention.head_count", 1);
  const headSize = count("attention.key_length", hidden / heads);
  const keyValueHeads = count("attention.head_count_kv", heads);
  const cache = causal ? 2 * count("block_count") * keyValueHeads * headSize * usualLength : 0;
  const logits = causal ? vocabulary * usualLength : 0;
  const attention = heads * usualLength * usualLength;
  const activations = (4 * hidden + 2 * count("feed_forward_length")) * usualLength;
  return 4 * (cache + logits + attention + activations);
}

/** Half precision inside of attention, where the file itself has no more than that. README.md, "Exactness". */
export function choosesFlashAttention(
  { flashAttention }: Pick<LlamaCppOptions, "flashAttention">,
  dtype: string,
  { causal }: RunPlan,
): boolean {
  return flashAttention ?? (!causal && dtype !== "F32");
}

/**
 * Rows run one after the other and without padding, so a batch costs nothing and gains nothing, but for decoders: what
 * its rows share at their beginning is computed once.
 */
export function batchPreferenceFor({ causal }: RunPlan): BatchPreference {
  return { rows: causal ? 8 : 4, tokens: 1 << 16, padding: 1 };
}
