import type { ModelProfile } from "@crossrank/core";
import type { Layer, ModelDescription } from "../source/description.js";
import type { EncoderOutput } from "./encoder.js";

/** What the program is to give; undefined for a pooling that it does not compute. */
export function outputOf({ head }: ModelDescription, profile: ModelProfile): EncoderOutput | undefined {
  if (head.kind === "classifier") return head;
  const pooling = "pooling" in profile.head ? profile.head.pooling : undefined;
  return pooling === undefined || pooling === "last-token" ? undefined : { kind: "pooled", pooling };
}

/**
 * Whatever is not a BERT's or a RoBERTa's, as a clause: absolute positions, post-norm layers, full attention, a
 * classifier on the first token.
 */
export function unsupportedPart(
  { embeddings, layers, finalNorm, head }: ModelDescription,
  profile: ModelProfile,
): string | undefined {
  if (profile.head.kind === "max-sim")
    return "it is a late interaction model, which wants the vectors of all tokens, and the program gives one a text";
  if (profile.family === "listwise") return "it reads many documents in one sequence";
  if (profile.family === "causal-lm" || head.kind === "vocabulary") return "it is a language model";
  const problem = layers.map(unsupportedLayer).find((found) => found !== undefined);
  if (problem !== undefined) return problem;
  if (embeddings.position === undefined) return "its embeddings know no places";
  if ((embeddings.scale ?? 1) !== 1) return "its embeddings are scaled";
  if (embeddings.zeroPadding === true) return "its embeddings of padding are set to zero";
  if (finalNorm !== undefined) return "it has a norm behind its last layer";
  if (embeddings.norm !== undefined && embeddings.norm.kind !== "layer-norm") return "its norms have no mean";
  if (head.kind === "classifier" && head.pooling !== "cls")
    return `its classifier reads the ${head.pooling === "last" ? "last token" : "mean of all tokens"}`;
  return undefined;
}

function unsupportedLayer({
  placement,
  attention,
  attentionNorm,
  feedForward,
  feedForwardNorm,
}: Layer): string | undefined {
  if (attention.causal) return "its tokens see earlier ones alone";
  if (attention.positions.kind !== "absolute")
    return `its attention has ${attention.positions.kind} positions`;
  if (placement !== "post" || attentionNorm === undefined) return "its layers begin with their norm";
  if (attention.reach !== undefined) return "its tokens see their neighbours alone";
  if (attention.keyValueHeads !== attention.heads) return "its heads share keys and values";
  if (attention.queryNorm !== undefined || attention.keyNorm !== undefined)
    return "its queries and keys have norms of their own";
  if (feedForward.gate !== undefined) return "its feed-forward layers are gated";
  if (attentionNorm.kind !== "layer-norm" || feedForwardNorm.kind !== "layer-norm")
    return "its norms have no mean";
  return undefined;
}
