import type { ModelProfile } from "@crossrank/core";
import type { ModelDescription } from "../source/description.js";
import { addToRows, differenceOfRows, pickRows, stackRows } from "./derived-weight.js";
import {
  bool,
  commonEpsilon,
  commonLayer,
  exact,
  float32,
  type GgufPlan,
  linearTensors,
  normTensors,
  type PlannedTensor,
  refusal,
  requireGelu,
  table,
  templateOf,
  uint32,
} from "./plan.js";
import { planEncoderHead } from "./plan-head.js";

/**
 * BERT, RoBERTa and XLM-RoBERTa, which are one graph in llama.cpp (src/models/bert.cpp): learned positions from 0,
 * post-norm layers, segment 0 for every token.
 *
 * A model that reads segments gets its vocabulary twice: row V + i is embedding i plus the difference of the two
 * segments, so that the token of segment 1 is another token, and llama.cpp's own segment 0 makes the sum right.
 *
 * @throws {UnsupportedConversionError}
 */
export function planBert(description: ModelDescription, profile: ModelProfile): GgufPlan {
  const { embeddings, layers, hiddenSize } = description;
  const common = commonLayer(description, { placement: "post", causal: false });
  if (common.heads * common.headSize !== hiddenSize || common.keyValueHeads !== common.heads)
    throw refusal(description, "its attention heads do not fill the hidden size");
  if (embeddings.position === undefined || embeddings.norm?.bias === undefined)
    throw refusal(description, "it has no position table, or no norm with a bias behind its embeddings");
  if (embeddings.projection !== undefined)
    throw refusal(
      description,
      "its embeddings are projected to the hidden size, which llama.cpp's BERT does not do",
    );
  if ((embeddings.scale ?? 1) !== 1) throw refusal(description, "its embeddings are scaled");
  if (description.finalNorm !== undefined)
    throw refusal(description, "it has a norm behind its last layer, which llama.cpp's BERT has not");

  const epsilon = commonEpsilon(description, "layer-norm", [
    embeddings.norm,
    ...layers.flatMap((layer) => [layer.attentionNorm, layer.feedForwardNorm]),
  ]);
  const head = planEncoderHead(description, profile, "bert");
  const readsSecondSegment =
    embeddings.segment !== undefined &&
    (embeddings.segment.shape[0] ?? 0) > 1 &&
    profile.readsSegments &&
    templateOf(profile).some((piece) => "segment" in piece && piece.segment === 1);

  const tensors: PlannedTensor[] = [];
  if (embeddings.segment !== undefined && readsSecondSegment) {
    const difference = differenceOfRows(embeddings.segment, 1, 0);
    tensors.push(
      table("token_embd.weight", stackRows([embeddings.word, addToRows(embeddings.word, difference)])),
    );
  } else tensors.push(table("token_embd.weight", embeddings.word));
  tensors.push(exact("position_embd.weight", embeddings.position));
  // Row 0 is all that llama.cpp reads.
  if (embeddings.segment !== undefined)
    tensors.push(exact("token_types.weight", pickRows(embeddings.segment, [0])));
  tensors.push(...normTensors("token_embd_norm", embeddings.norm));

  for (const [index, layer] of layers.entries()) {
    const { attention, attentionNorm, feedForward, feedForwardNorm } = layer;
    if (attention.positions.kind !== "absolute" || attention.reach !== undefined)
      throw refusal(description, "its attention knows places by other means than the position table");
    if (attention.queryNorm !== undefined || attention.keyNorm !== undefined)
      throw refusal(description, "its attention has norms of its own");
    if (attentionNorm === undefined || feedForward.gate !== undefined)
      throw refusal(description, "its layers are not BERT's");
    if (attentionNorm.bias === undefined || feedForwardNorm.bias === undefined)
      throw refusal(description, "its norms have no bias, which llama.cpp's BERT wants");
    requireGelu(description, feedForward);
    const block = `blk.${index}`;
    tensors.push(
      ...linearTensors(`${block}.attn_q`, attention.query),
      ...linearTensors(`${block}.attn_k`, attention.key),
      ...linearTensors(`${block}.attn_v`, attention.value),
      ...linearTensors(`${block}.attn_output`, attention.output),
      ...normTensors(`${block}.attn_output_norm`, attentionNorm),
      ...linearTensors(`${block}.ffn_up`, feedForward.up),
      ...linearTensors(`${block}.ffn_down`, feedForward.down),
      ...normTensors(`${block}.layer_output_norm`, feedForwardNorm),
    );
  }
  tensors.push(...head.tensors);

  return {
    architecture: "bert",
    hyperparameters: [
      ["context_length", uint32(embeddings.position.shape[0] ?? 0)],
      ["embedding_length", uint32(hiddenSize)],
      ["block_count", uint32(layers.length)],
      ["feed_forward_length", uint32(common.feedForwardSize)],
      ["attention.head_count", uint32(common.heads)],
      ["attention.layer_norm_epsilon", float32(epsilon)],
      ["attention.causal", bool(false)],
      ["pooling_type", uint32(head.poolingType)],
    ],
    tensors,
    segmentVocabulary: readsSecondSegment ? description.vocabularySize : undefined,
    foldedTwoClass: head.foldedTwoClass,
    segmentRows: 1,
  };
}
