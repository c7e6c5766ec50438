import type { ModelProfile, TemplatePiece } from "@crossrank/core";
import type { MetadataValue } from "@crossrank/formats/gguf";
import type { Layer, ModelDescription, Norm } from "../source/description.js";
import { pickRows, scaleBy, stackRows } from "./derived-weight.js";
import {
  type CommonLayer,
  commonEpsilon,
  commonLayer,
  type DecoderArchitecture,
  exact,
  float32,
  type GgufPlan,
  linearTensors,
  nearly,
  normTensors,
  type PlannedTensor,
  poolingTypes,
  refusal,
  requireGelu,
  table,
  templateOf,
  uint32,
} from "./plan.js";

/** In what llama.cpp's graphs of the decoders differ from one another. */
interface DecoderGraph {
  /** Norms over each head's query and key. */
  readonly headNorms: boolean;
  /** Norms behind attention and feed-forward, too. */
  readonly isAround: boolean;
  /** The embeddings' table is the vocabulary's projection, its rows are scaled, and the activation is GELU. */
  readonly isGemma: boolean;
  /** Scores and logits are capped. */
  readonly caps: boolean;
  /** Some layers see a window. */
  readonly windows: boolean;
  /** Layers of the model whose attention is scaled by hidden size over heads, and not by the size of a head. */
  readonly scaledByWidth?: number;
}

const plainGraph: DecoderGraph = {
  headNorms: false,
  isAround: false,
  isGemma: false,
  caps: false,
  windows: false,
};

const graphs: Readonly<Record<DecoderArchitecture, DecoderGraph>> = {
  qwen2: plainGraph,
  qwen3: { ...plainGraph, headNorms: true },
  gemma: { ...plainGraph, isGemma: true },
  gemma2: { ...plainGraph, isAround: true, isGemma: true, caps: true, windows: true, scaledByWidth: 46 },
  gemma3: { ...plainGraph, headNorms: true, isAround: true, isGemma: true, windows: true, scaledByWidth: 62 },
};

/**
 * Qwen2, Qwen3 and Gemma 1 to 3 (llama.cpp's src/models/{qwen2,qwen3,gemma,gemma2,gemma3}.cpp): causal rerankers by the logits of their
 * answer tokens, and embeddings by pooling. A Qwen3 reranker also gets the rank head of llama.cpp's own converter:
 * the rows of the positive and the negative token, in this order, behind which llama.cpp puts a softmax.
 *
 * @throws {UnsupportedConversionError}
 */
export function planDecoder(
  description: ModelDescription,
  profile: ModelProfile,
  architecture: DecoderArchitecture,
): GgufPlan {
  const { layers, hiddenSize, finalNorm } = description;
  const graph = graphs[architecture];
  const isWide = layers.length === graph.scaledByWidth;
  const common = commonLayer(description, {
    placement: graph.isAround ? "around" : "pre",
    causal: true,
    caps: graph.caps,
    ...(isWide ? { scaledBy: ({ heads }: CommonLayer) => Math.floor(hiddenSize / heads) } : {}),
  });
  if (architecture === "qwen2" && common.heads * common.headSize !== hiddenSize)
    throw refusal(description, "its attention heads do not fill the hidden size, as llama.cpp's Qwen2 wants");
  if (finalNorm === undefined) throw refusal(description, "it has no norm behind its last layer");
  const norms = [
    ...layers.flatMap(({ attentionNorm, attentionAfter, feedForwardNorm, feedForwardAfter, attention }) => [
      attentionNorm,
      attentionAfter,
      feedForwardNorm,
      feedForwardAfter,
      attention.queryNorm,
      attention.keyNorm,
    ]),
    finalNorm,
  ];
  const epsilon = commonEpsilon(description, "rms-norm", norms);
  const positions = graph.windows ? windowKeys(description) : plainPositions(description);
  const { embedding, outputNorm } = planEmbeddings(description, finalNorm, architecture);

  const tensors: PlannedTensor[] = [embedding];
  for (const [index, layer] of layers.entries()) {
    const { attention, attentionNorm, attentionAfter, feedForward, feedForwardNorm, feedForwardAfter } =
      layer;
    const block = `blk.${index}`;
    if (attentionNorm === undefined || feedForward.gate === undefined)
      throw refusal(description, "its layers are not a decoder's of this architecture");
    const unwanted = [attention.output, feedForward.up, feedForward.gate, feedForward.down];
    if (unwanted.some(({ bias }) => bias !== undefined))
      throw refusal(description, "it has biases that llama.cpp's graph has not");
    const { queryNorm, keyNorm } = attention;
    if (
      (queryNorm === undefined) !== (keyNorm === undefined) ||
      (queryNorm !== undefined) !== graph.headNorms
    )
      throw refusal(description, `its attention's norms are not ${architecture}'s`);
    if (graph.isGemma) requireGelu(description, feedForward);
    else if (feedForward.activation !== "silu")
      throw refusal(description, `its feed-forward activation is ${feedForward.activation}, not SiLU`);
    tensors.push(
      ...normTensors(`${block}.attn_norm`, attentionNorm),
      ...linearTensors(`${block}.attn_q`, attention.query),
      ...linearTensors(`${block}.attn_k`, attention.key),
      ...linearTensors(`${block}.attn_v`, attention.value),
      ...linearTensors(`${block}.attn_output`, attention.output),
      ...(queryNorm === undefined ? [] : normTensors(`${block}.attn_q_norm`, queryNorm)),
      ...(keyNorm === undefined ? [] : normTensors(`${block}.attn_k_norm`, keyNorm)),
      ...(attentionAfter === undefined ? [] : normTensors(`${block}.post_attention_norm`, attentionAfter)),
      ...normTensors(`${block}.ffn_norm`, feedForwardNorm),
      ...linearTensors(`${block}.ffn_gate`, feedForward.gate),
      ...linearTensors(`${block}.ffn_up`, feedForward.up),
      ...linearTensors(`${block}.ffn_down`, feedForward.down),
      ...(feedForwardAfter === undefined ? [] : normTensors(`${block}.post_ffw_norm`, feedForwardAfter)),
    );
  }
  tensors.push(...normTensors("output_norm", outputNorm));
  const head = planHead(description, profile, architecture);
  tensors.push(...head.tensors);

  return {
    architecture,
    hyperparameters: [
      ["context_length", uint32(description.maxPositions)],
      ["embedding_length", uint32(hiddenSize)],
      ["block_count", uint32(layers.length)],
      ["feed_forward_length", uint32(common.feedForwardSize)],
      ["attention.head_count", uint32(common.heads)],
      ["attention.head_count_kv", uint32(common.keyValueHeads)],
      ["attention.key_length", uint32(common.headSize)],
      ["attention.value_length", uint32(common.headSize)],
      ["attention.layer_norm_rms_epsilon", float32(epsilon)],
      ...positions,
      ...(graph.caps ? capKeys(description) : []),
      ...head.hyperparameters,
    ],
    tensors,
    ranksPrompts: head.ranksPrompts,
    rankedClasses: head.rankedClasses,
  };
}

type Hyperparameters = readonly (readonly [string, MetadataValue])[];

function plainPositions(description: ModelDescription): Hyperparameters {
  for (const { attention } of description.layers)
    if (attention.reach !== undefined) throw refusal(description, "its attention sees a window");
  return [["rope.freq_base", float32(rotaryBase(description, description.layers) ?? 10000)]];
}

/** The one rotary base of these layers; undefined for none of them. */
function rotaryBase(
  description: ModelDescription,
  layers: readonly Pick<Layer, "attention">[],
): number | undefined {
  let theta: number | undefined;
  for (const { attention } of layers) {
    if (attention.positions.kind !== "rotary")
      throw refusal(description, `its positions are ${attention.positions.kind}, and not plainly rotary`);
    theta ??= attention.positions.theta;
    if (!nearly(theta, attention.positions.theta))
      throw refusal(description, "its layers have several rotary bases");
  }
  return theta;
}

/**
 * Layers with a window, by a period: all but the last of each. A window that reaches all places is as long as the
 * context; llama.cpp ends the process over a file of these architectures in which no layer has one.
 */
function windowKeys(description: ModelDescription): Hyperparameters {
  const { layers, maxPositions } = description;
  const reaches = layers.map(({ attention }) => attention.reach);
  const found = new Set(reaches.filter((reach) => reach !== undefined));
  if (found.size > 1) throw refusal(description, "its layers have windows of several sizes");
  const [reach] = found;
  const bases = layers.map(({ attention }) => rotaryBase(description, [{ attention }]) ?? 0);
  // A window beyond all places is none here, and its layers keep their own base: they are told by that. Where there is
  // one base, a window that reaches everything in all layers is the same.
  const guesses: readonly (readonly boolean[])[] =
    reach === undefined
      ? [...new Set(bases)].map((base) => bases.map((one) => one === base))
      : [reaches.map((one) => one !== undefined)];
  for (const isWindowed of guesses) {
    const full = new Set(bases.filter((_, index) => isWindowed[index] === false));
    const windowed = new Set(bases.filter((_, index) => isWindowed[index] === true));
    const period = periodOf(isWindowed);
    if (full.size > 1 || windowed.size > 1 || period === undefined) continue;
    const [[base], [baseOfWindows]] = [full, windowed];
    return [
      ["rope.freq_base", float32(base ?? baseOfWindows ?? 10000)],
      ["rope.freq_base_swa", float32(baseOfWindows ?? base ?? 10000)],
      ["attention.sliding_window", uint32(reach === undefined ? maxPositions : reach + 1)],
      ["attention.sliding_window_pattern", uint32(period)],
    ];
  }
  throw refusal(
    description,
    "its layers with a window follow no period, or have several rotary bases, and the file has place for one",
  );
}

/** llama.cpp's rule: layer i has a window where i % period < period - 1. */
function periodOf(isWindowed: readonly boolean[]): number | undefined {
  // One more than the layers: a window in all of them.
  for (let period = 1; period <= isWindowed.length + 1; period += 1)
    if (isWindowed.every((windowed, index) => windowed === index % period < period - 1)) return period;
  return undefined;
}

/** Both caps: without a key llama.cpp's own would count. */
function capKeys(description: ModelDescription): Hyperparameters {
  const { layers, head } = description;
  const caps = new Set(layers.map(({ attention }) => attention.cap));
  const [cap] = caps;
  if (cap === undefined || caps.size > 1) throw refusal(description, "its layers cap scores differently");
  const logits = head.kind === "vocabulary" ? head.cap : undefined;
  if (head.kind === "vocabulary" && logits === undefined)
    throw refusal(description, "its logits have no cap, as llama.cpp's graph of it has");
  return [
    ["attn_logit_softcapping", float32(cap)],
    ...(logits === undefined ? [] : [["final_logit_softcapping", float32(logits)] as const]),
  ];
}

/**
 * llama.cpp scales Gemma's embeddings by √hidden in float32, the model's own code by that number rounded to its
 * weights' precision (45.25 for 45.2548). The rest of the factor goes into the table; and, since the same table
 * makes the logits, its inverse into the final norm.
 */
function planEmbeddings(
  description: ModelDescription,
  finalNorm: Norm,
  architecture: DecoderArchitecture,
): { readonly embedding: PlannedTensor; readonly outputNorm: Norm } {
  const { embeddings, hiddenSize } = description;
  if (embeddings.position !== undefined || embeddings.segment !== undefined || embeddings.norm !== undefined)
    throw refusal(
      description,
      "its embeddings have positions, segments or a norm, and a decoder's have none",
    );
  const factor = (embeddings.scale ?? 1) / (graphs[architecture].isGemma ? Math.sqrt(hiddenSize) : 1);
  if (nearly(factor, 1))
    return { embedding: table("token_embd.weight", embeddings.word), outputNorm: finalNorm };
  if (!graphs[architecture].isGemma)
    throw refusal(description, `its embeddings are scaled by ${embeddings.scale}`);
  return {
    embedding: table("token_embd.weight", scaleBy(embeddings.word, factor)),
    outputNorm: { ...finalNorm, weight: scaleBy(finalNorm.weight, 1 / factor) },
  };
}

function planHead(
  description: ModelDescription,
  profile: ModelProfile,
  architecture: DecoderArchitecture,
): {
  readonly tensors: readonly PlannedTensor[];
  readonly hyperparameters: readonly (readonly [string, MetadataValue])[];
  readonly ranksPrompts: boolean;
  readonly rankedClasses?: number;
} {
  const { head } = profile;
  if (description.head.kind === "classifier")
    return planClasses(description, description.head, profile, architecture);
  if (head.kind === "cosine" || head.kind === "pooled-chain") {
    if (
      graphs[architecture].isGemma &&
      !nearly((description.embeddings.scale ?? 1) ** 2, description.hiddenSize)
    )
      throw refusal(description, "its embeddings are scaled by a rounded number, which pooling would show");
    const hyperparameters: [string, MetadataValue][] = [["pooling_type", uint32(poolingTypes[head.pooling])]];
    return { tensors: [], hyperparameters, ranksPrompts: false };
  }
  if (head.kind !== "answer-tokens" || description.head.kind !== "vocabulary")
    throw refusal(
      description,
      head.kind === "marker-cosine"
        ? "a listwise model wants the vectors of several tokens, and llama.cpp's bindings give one"
        : `llama.cpp has no head of kind ${head.kind} for a causal model`,
    );
  const { projection, tied, cap } = description.head;
  if (cap !== undefined && !graphs[architecture].caps)
    throw refusal(description, "its logits are capped, and llama.cpp's graph of it caps none");
  if (!tied && graphs[architecture].isGemma)
    throw refusal(
      description,
      "its vocabulary's projection is not its embedding table, as in llama.cpp's Gemma",
    );
  const tensors = tied ? [] : [table("output.weight", projection)];
  // Without a negative token, or with a temperature, the softmax of llama.cpp would be another score.
  if (architecture !== "qwen3" || head.negative === undefined || (head.temperature ?? 1) !== 1)
    return { tensors, hyperparameters: [], ranksPrompts: false };
  tensors.push(exact("cls.output.weight", pickRows(projection, [head.positive, head.negative])));
  return {
    tensors,
    hyperparameters: [
      ["pooling_type", uint32(poolingTypes.rank)],
      ["classifier.output_labels", { type: "string[]", value: ["yes", "no"] }],
    ],
    ranksPrompts: true,
  };
}

/**
 * The rows of a classifier on the last token, as the rank head of Qwen3. llama.cpp puts its softmax behind it; one class
 * has a row of zeros behind it, against which nothing is lost (`metadataKeys.rankedClasses`). Of every other decoder
 * llama.cpp reads the rank head on the first token (llama-graph.cpp, llm_graph_input_cls).
 */
function planClasses(
  description: ModelDescription,
  head: Extract<ModelDescription["head"], { kind: "classifier" }>,
  profile: ModelProfile,
  architecture: DecoderArchitecture,
): ReturnType<typeof planHead> {
  if (architecture !== "qwen3")
    throw refusal(
      description,
      `its classifier reads the last token, and llama.cpp's rank head of ${architecture} the first`,
    );
  const [step, ...others] = head.steps;
  if (step?.kind !== "linear" || step.linear.bias !== undefined || others.length > 0)
    throw refusal(description, "its classifier is more than one layer without a bias");
  requireLastToken(description, head.passedOver, templateOf(profile));
  const { weight } = step.linear;
  const rows = head.classes === 1 ? stackRows([weight, scaleBy(weight, 0)]) : weight;
  const labels = Array.from({ length: Math.max(2, head.classes) }, (_, index) => `LABEL_${index}`);
  return {
    tensors: [exact("cls.output.weight", rows)],
    hyperparameters: [
      ["pooling_type", uint32(poolingTypes.rank)],
      ["classifier.output_labels", { type: "string[]", value: labels }],
    ],
    ranksPrompts: true,
    rankedClasses: head.classes,
  };
}

/**
 * llama.cpp reads the last token, whatever it is. What ends a sequence must not be what transformers takes for padding
 * there: a token of the template, or wording and texts, which give no padding where that is the tokenizer's own.
 */
function requireLastToken(
  description: ModelDescription,
  passedOver: number | undefined,
  template: readonly TemplatePiece[],
): void {
  const last = template.findLast((piece) => !("split" in piece));
  const isSafe =
    passedOver === undefined ||
    (last !== undefined && "id" in last ? last.id !== passedOver : passedOver === description.paddingId);
  if (isSafe) return;
  throw refusal(
    description,
    `its sequences may end with token ${passedOver}, which its classifier passes over as padding and llama.cpp does not`,
  );
}
