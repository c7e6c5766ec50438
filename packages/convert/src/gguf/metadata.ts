import { createHash } from "node:crypto";
import type { ModelProfile } from "@crossrank/core";
import type { MetadataValue } from "@crossrank/formats/gguf";

/**
 * The keys of our own. Other programs pass them over; crossrank's llama.cpp backend feeds a file by them.
 *
 * - `crossrank.version` (uint32): 1.
 * - `crossrank.profile` (string): the model profile as JSON.
 * - `crossrank.segment_vocabulary` (uint32): V, only where the vocabulary is doubled. Token i of segment 1 is fed as
 *   V + i, the tokens of segment 0 as they are. The `bos`, `eos` and `seperator` ids of the tokenizer are those of the
 *   sequence's real ends, so `eos` is [SEP] + V.
 * - `crossrank.folded_two_class` (uint32): p, 0 or 1, only where a head of two classes was folded to one output,
 *   logit[p] − logit[1 − p]. That is the number the profile's `two-class` head wants: as class logits of two columns
 *   it is the output in column p and 0 in the other.
 * - `crossrank.ranked_classes` (uint32): n, only of a decoder's classifier: the classes that it gives. The rank head has
 *   their rows, and one class a row of zeros behind it, so that llama.cpp's softmax loses nothing: ln of what it gives
 *   are the class logits, but for what is common to all; one class is ln p[0] − ln p[1].
 * - `crossrank.tokenizer_sha256` (string): lower-case hex of the source's tokenizer.json.
 * - `crossrank.source` (string): what the caller of the conversion says about the source, as JSON.
 * - `crossrank.dtype` (string): the precision asked for, as in `WriteRequest`.
 * - `crossrank.kept_tensors` (string array): tensors that were to be quantised and are F16 for their row length, which
 *   is no multiple of 32. Absent where there is none.
 *
 * What llama.cpp gives for each head, by `<architecture>.pooling_type`:
 * - 4 (rank): `logit` and `two-class` heads, one raw logit. Architecture qwen3 with a rank head gives shares instead: of
 *   the classes where `crossrank.ranked_classes` says so, else P(yes):
 *   llama.cpp's own softmax over the rows [yes, no] of `cls.output.weight`. Token logits work on the same file.
 * - 1 (mean), 2 (cls), 3 (last): `pooled-chain` and `cosine` heads, the pooled vector before the profile's modules.
 * - none: a causal model, scored by the logits of its answer tokens.
 *
 * A runtime that wants the source's own numbers turns flash attention off and has keys and values in float32
 * (node-llama-cpp: `defaultContextFlashAttention: false`, `experimentalDefaultContextKvCacheKeyType: "F32"`, likewise
 * for values). F32 files are then within 1e-5 of the source, but for llama.cpp's GELU, which it reads from a
 * half-precision table; with the defaults, keys and values in half precision add up to 2e-2.
 */
export const metadataKeys = {
  version: "crossrank.version",
  profile: "crossrank.profile",
  segmentVocabulary: "crossrank.segment_vocabulary",
  foldedTwoClass: "crossrank.folded_two_class",
  rankedClasses: "crossrank.ranked_classes",
  tokenizerSha256: "crossrank.tokenizer_sha256",
  source: "crossrank.source",
  dtype: "crossrank.dtype",
  keptTensors: "crossrank.kept_tensors",
} as const;

/** The entries of {@link metadataKeys}. */
export function ownMetadata(facts: {
  readonly profile: ModelProfile;
  /** V, where the vocabulary is doubled. */
  readonly segmentVocabulary: number | undefined;
  readonly foldedTwoClass: 0 | 1 | undefined;
  /** Of a decoder's classifier. */
  readonly rankedClasses: number | undefined;
  /** The bytes of tokenizer.json. */
  readonly tokenizer: Uint8Array;
  readonly source: Readonly<Record<string, string>>;
  readonly dtype: string;
  readonly keptTensors: readonly string[];
}): [string, MetadataValue][] {
  const text = (value: string): MetadataValue => ({ type: "string", value });
  const entries: [string, MetadataValue][] = [
    [metadataKeys.version, { type: "uint32", value: 1 }],
    [metadataKeys.profile, text(JSON.stringify(facts.profile))],
    [metadataKeys.tokenizerSha256, text(createHash("sha256").update(facts.tokenizer).digest("hex"))],
    [metadataKeys.source, text(JSON.stringify(facts.source))],
    [metadataKeys.dtype, text(facts.dtype)],
  ];
  if (facts.segmentVocabulary !== undefined)
    entries.push([metadataKeys.segmentVocabulary, { type: "uint32", value: facts.segmentVocabulary }]);
  if (facts.foldedTwoClass !== undefined)
    entries.push([metadataKeys.foldedTwoClass, { type: "uint32", value: facts.foldedTwoClass }]);
  if (facts.rankedClasses !== undefined)
    entries.push([metadataKeys.rankedClasses, { type: "uint32", value: facts.rankedClasses }]);
  if (facts.keptTensors.length > 0)
    entries.push([metadataKeys.keptTensors, { type: "string[]", value: facts.keptTensors }]);
  return entries;
}
