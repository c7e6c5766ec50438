import type { ModelProfile } from "@crossrank/core";
import type { MetadataValue } from "@crossrank/formats/gguf";
import type { Layer, ModelDescription, Norm } from "../source/description.js";
import { stackRows } from "./derived-weight.js";
import {
  bool,
  commonEpsilon,
  commonLayer,
  float32,
  type GgufPlan,
  matrix,
  nearly,
  normTensors,
  type PlannedTensor,
  refusal,
  requireGelu,
  table,
  text,
  uint32,
} from "./plan.js";
import { planEncoderHead } from "./plan-head.js";

/**
 * ModernBERT (llama.cpp's src/models/modern-bert.cpp): rotary positions, pre-norm layers without biases, a gated
 * feed-forward, some layers that see a window. Its rank pooling always takes the mean.
 *
 * @throws {UnsupportedConversionError} for `classifier_pooling: cls`, among others.
 */
export function planModernBert(description: ModelDescription, profile: ModelProfile): GgufPlan {
  const { embeddings, layers, hiddenSize, finalNorm } = description;
  const common = commonLayer(description, { placement: "pre", causal: false });
  if (common.heads * common.headSize !== hiddenSize || common.keyValueHeads !== common.heads)
    throw refusal(description, "its attention heads do not fill the hidden size");
  if (embeddings.norm === undefined || finalNorm === undefined)
    throw refusal(description, "it has no norm behind its embeddings, or none behind its last layer");
  if (embeddings.position !== undefined || embeddings.segment !== undefined || (embeddings.scale ?? 1) !== 1)
    throw refusal(description, "its embeddings are not ModernBERT's");
  const head = planEncoderHead(description, profile, "modern-bert");
  const headNorms =
    description.head.kind === "classifier" && head.tensors.length > 0
      ? description.head.steps.flatMap((step) => (step.kind === "norm" ? [step.norm] : []))
      : [];
  const norms = [
    embeddings.norm,
    ...layers.flatMap((layer) => [layer.attentionNorm, layer.feedForwardNorm]),
    finalNorm,
    ...headNorms,
  ];
  const epsilon = commonEpsilon(description, "layer-norm", norms);
  requireNoBias(description, layers, norms);

  const tensors: PlannedTensor[] = [
    table("token_embd.weight", embeddings.word),
    ...normTensors("token_embd_norm", embeddings.norm),
  ];
  for (const [index, { attention, attentionNorm, feedForward, feedForwardNorm }] of layers.entries()) {
    if (feedForward.gate === undefined) throw refusal(description, "its feed-forward has no gate");
    if (attention.queryNorm !== undefined || attention.keyNorm !== undefined)
      throw refusal(description, "its attention has norms of its own");
    if (attentionNorm === undefined && index > 0)
      throw refusal(description, `layer ${index} has no norm before its attention`);
    requireGelu(description, feedForward);
    const block = `blk.${index}`;
    if (attentionNorm !== undefined) tensors.push(...normTensors(`${block}.attn_norm`, attentionNorm));
    tensors.push(
      matrix(
        `${block}.attn_qkv.weight`,
        stackRows([attention.query.weight, attention.key.weight, attention.value.weight]),
      ),
      matrix(`${block}.attn_output.weight`, attention.output.weight),
      ...normTensors(`${block}.ffn_norm`, feedForwardNorm),
      // The half that goes through the activation first (ggml_geglu).
      matrix(`${block}.ffn_up.weight`, stackRows([feedForward.gate.weight, feedForward.up.weight])),
      matrix(`${block}.ffn_down.weight`, feedForward.down.weight),
    );
  }
  tensors.push(...normTensors("output_norm", finalNorm), ...head.tensors);

  return {
    architecture: "modern-bert",
    hyperparameters: [
      ["context_length", uint32(description.maxPositions)],
      ["embedding_length", uint32(hiddenSize)],
      ["block_count", uint32(layers.length)],
      ["feed_forward_length", uint32(common.feedForwardSize)],
      ["attention.head_count", uint32(common.heads)],
      ["attention.layer_norm_epsilon", float32(epsilon)],
      ["attention.causal", bool(false)],
      ["rope.scaling.type", text("none")],
      ["hidden_activation", text("gelu")],
      ...slidingWindow(description),
      ["pooling_type", uint32(head.poolingType)],
    ],
    tensors,
    foldedTwoClass: head.foldedTwoClass,
  };
}

function requireNoBias(
  description: ModelDescription,
  layers: readonly Layer[],
  norms: readonly (Norm | undefined)[],
): void {
  const linears = layers.flatMap(({ attention, feedForward }) => [
    attention.query,
    attention.key,
    attention.value,
    attention.output,
    feedForward.up,
    feedForward.gate,
    feedForward.down,
  ]);
  if ([...linears, ...norms].some((part) => part?.bias !== undefined))
    throw refusal(description, "it has biases, which llama.cpp's ModernBERT has not");
}

/** One window and one rotary base for the layers that see a window, one base for the others. */
function slidingWindow(description: ModelDescription): (readonly [string, MetadataValue])[] {
  const { layers } = description;
  const windowed = layers.map(({ attention }) => attention.reach !== undefined);
  const base = (sees: boolean): number | undefined => {
    let found: number | undefined;
    for (const [index, { attention }] of layers.entries()) {
      if (windowed[index] !== sees) continue;
      if (attention.positions.kind !== "rotary") throw refusal(description, "its positions are not rotary");
      found ??= attention.positions.theta;
      if (!nearly(found, attention.positions.theta))
        throw refusal(description, "its layers have several rotary bases");
    }
    return found;
  };
  const full = base(false);
  const window = base(true);
  const entries: [string, MetadataValue][] = [["rope.freq_base", float32(full ?? window ?? 10000)]];
  if (window === undefined) return entries;

  const reaches = new Set(layers.flatMap(({ attention }) => attention.reach ?? []));
  const [reach, ...others] = reaches;
  if (reach === undefined || others.length > 0)
    throw refusal(description, "its layers have windows of several sizes");
  // llama.cpp halves it again: a token sees half of the window to each side.
  entries.push(["attention.sliding_window", uint32(2 * reach)], ["rope.freq_base_swa", float32(window)]);
  const period = layers.findIndex((_, index) => index > 0 && windowed[index] === false);
  const every = period < 0 ? layers.length : period;
  const regular = windowed.every((sees, index) => sees === (index % every !== 0));
  entries.push([
    "attention.sliding_window_pattern",
    regular ? uint32(every) : { type: "bool[]", value: windowed },
  ]);
  return entries;
}
