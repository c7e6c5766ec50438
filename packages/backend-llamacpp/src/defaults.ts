import { choosePlacement as shareProcessor } from "@crossrank/backend-kit";
import type { BatchPreference, NumericBounds } from "@crossrank/core";
import type { GgufHeader } from "@crossrank/formats/gguf";
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

/**
 * Several contexts of one thread each score faster than one of several threads (README.md, "Speed").
 *
 * @param bytes of the weights' files, and {@link estimateContextBytes}.
 * @param machine what there is; default: this machine's.
 */
export function choosePlacement(
  options: Pick<LlamaCppOptions, "contexts" | "threads" | "gpu">,
  bytes: { readonly weights: number; readonly context: number },
  machine: { readonly cores?: number; readonly freeBytes?: number } = {},
): Placement {
  const mostCopies = (options.gpu ?? false) === false ? mostContexts : 1;
  const { contexts: asked, threads } = options;
  // The weights are mapped once, and their pages stay in memory as long as they are read.
  const memory = { first: bytes.weights + bytes.context, further: bytes.context, free: machine.freeBytes };
  const { copies, ...share } = shareProcessor(
    { copies: asked, threads },
    { mostCopies, cores: machine.cores, memory },
  );
  return { contexts: copies, ...share };
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

/**
 * llama.cpp computes in half precision also where the weights are float32: it looks GELU up in a table over half
 * floats, and beside weights of half precision rounds activations as well. Measured on the conformance fixtures, whose
 * logits reach ±9: at most 7.4e-3 (F32) and 3.8e-2 (F16), 8.7e-4 and 3.8e-3 of a cosine; with llama.cpp's own GELU as
 * the reference, F32 is within 5e-5 (test/convert-fixtures.test.ts). Flash attention's intermediates are half floats
 * whatever the weights are: at most 3e-2 in F32 (README.md, "Exactness").
 *
 * @returns undefined for precisions whose own error is larger than this.
 */
export function boundsFor(dtype: string, flashAttention: boolean): NumericBounds | undefined {
  if (dtype === "F32" && !flashAttention) {
    return { logit: 1e-2, cosine: 2e-3, reason: "GELU is looked up in a table of half floats" };
  }
  if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") return undefined;
  const reason = flashAttention
    ? "GELU is looked up in a table of half floats, and flash attention's intermediates are half floats"
    : "GELU is looked up in a table of half floats, and activations are rounded beside weights of half precision";
  return { logit: 4e-2, cosine: 1e-2, reason };
}

/**
 * Rows run one by one. What a decoder's rows share at their beginning is computed once, though, and with flash
 * attention a prefix that is computed before its rest is not quite what it is together with it: measured, up to 0.02
 * of a logit.
 */
export function rowsAffectScores({ causal }: RunPlan, flashAttention: boolean): boolean {
  return causal && flashAttention;
}
