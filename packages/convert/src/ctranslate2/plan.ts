import type { ModelProfile } from "@crossrank/core";
import type { CTranslate2Alias, CTranslate2Scalar } from "@crossrank/formats/ctranslate2";
import { UnsupportedConversionError } from "../errors.js";
import { stackRows } from "../gguf/derived-weight.js";
import { lateInteractionFix } from "../source/architecture-names.js";
import { sliceRows } from "../source/derived-weight.js";
import type {
  Activation,
  Attention,
  FeedForward,
  Layer,
  Linear,
  ModelDescription,
  Norm,
} from "../source/description.js";
import type { Weight } from "../source/weight.js";

/** Numbers of the file. `table`: in 8 bits where the precision is int8; the others stay floats. */
export interface PlannedWeight {
  readonly name: string;
  readonly role: "table" | "exact";
  readonly weight: Weight;
}

/** What the files of a model hold, apart from its vocabulary. */
export interface CTranslate2Plan {
  readonly scalars: readonly CTranslate2Scalar[];
  readonly weights: readonly PlannedWeight[];
  readonly aliases: readonly CTranslate2Alias[];
  /** Of all norms. */
  readonly epsilon: number;
  /** What makes class logits of the pooler's vector, or of the first token's: no part of CTranslate2's encoder. */
  readonly classifier: Linear | undefined;
}

/** `ActivationType` in CTranslate2's ops/activation.h. */
const activations: Readonly<Partial<Record<Activation, number>>> = {
  relu: 0,
  "gelu-tanh": 1,
  silu: 2,
  gelu: 3,
  tanh: 5,
};

export function refusal(
  description: ModelDescription,
  problem: string,
  fix: string = "Use the ONNX backend for this model",
): UnsupportedConversionError {
  return new UnsupportedConversionError({ model: description.model, format: "ctranslate2", problem, fix });
}

/**
 * The variables of `TransformerEncoderSpec`, as CTranslate2's own converter names them
 * (python/ctranslate2/specs/transformer_spec.py), for what its `TransformerEncoder` computes: post-norm layers without
 * gates, learnt positions or MPNet's buckets.
 *
 * @throws {UnsupportedConversionError} for what it would compute otherwise, or not at all.
 */
export function planCTranslate2(description: ModelDescription, profile: ModelProfile): CTranslate2Plan {
  if (profile.head.kind === "max-sim") {
    throw refusal(
      description,
      "late interaction wants its projections of all tokens, and CTranslate2's encoder ends before them",
      lateInteractionFix,
    );
  }
  if (profile.family !== "cross-encoder" && profile.family !== "bi-encoder") {
    throw refusal(
      description,
      `its family is ${profile.family}, and CTranslate2's encoder gives no such output`,
    );
  }
  const refuse = (problem: string) => refusal(description, problem);
  const { embeddings, layers, finalNorm } = description;
  const [first] = layers;
  if (first === undefined) throw refuse("it has no layers");
  if (finalNorm !== undefined) throw refuse("it has a norm behind its layers");
  if (embeddings.projection !== undefined) {
    throw refuse("its embeddings are projected to the layers' width, and CTranslate2 has no place for that");
  }
  if (embeddings.scale !== undefined) throw refuse("its embeddings are scaled");
  for (const [index, layer] of layers.entries()) {
    const problem = problemOf(layer, first);
    if (problem !== undefined) throw refuse(`layer ${index} ${problem}, and CTranslate2's encoder has not`);
  }
  const norms = [embeddings.norm, ...layers.flatMap((layer) => [layer.attentionNorm, layer.feedForwardNorm])];
  const head = planHead(description, profile);
  const positions = planPositions(description, first.attention);
  return {
    epsilon: epsilonOf(description, norms),
    scalars: [
      flag("encoder/activation", codeOf(description, first.feedForward.activation)),
      flag("encoder/embeddings_merge", 1),
      flag("encoder/multi_query_attention", 0),
      { name: "encoder/num_heads", type: "int16", value: first.attention.heads },
      flag("encoder/pre_norm", 0),
      flag("encoder/scale_embeddings", 0),
      ...head.scalars,
      ...positions.scalars,
    ],
    weights: [
      table("encoder/embeddings_0/weight", embeddings.word),
      ...positions.weights,
      ...normWeights("encoder/layernorm_embedding", embeddings.norm),
      ...layers.flatMap(layerWeights),
      ...head.weights,
    ],
    aliases: positions.aliases,
    classifier: head.classifier,
  };
}

function problemOf(layer: Layer, first: Layer): string | undefined {
  const { attention, feedForward } = layer;
  const { heads, headSize } = attention;
  if (layer.placement !== "post") return "has its norms in front of attention and feed-forward";
  if (attention.causal) return "sees earlier tokens alone";
  if (attention.reach !== undefined) return "sees near tokens alone";
  if (attention.queryNorm !== undefined || attention.keyNorm !== undefined) return "has norms of its queries";
  if (attention.keyValueHeads !== heads) return "shares keys among heads";
  if (!["absolute", "bucketed"].includes(attention.positions.kind)) {
    return `has ${attention.positions.kind} positions`;
  }
  if (Math.abs(attention.scale * Math.sqrt(headSize) - 1) > 1e-6)
    return `has attention scaled by ${attention.scale}`;
  if (heads !== first.attention.heads || headSize !== first.attention.headSize) {
    return "has another number of heads than the first";
  }
  const biases = [attention.query, attention.key, attention.value].filter(({ bias }) => bias !== undefined);
  if (biases.length % 3 !== 0) return "has biases of some of its queries, keys and values";
  if (feedForward.gate !== undefined) return "has a gate in its feed-forward part";
  if (feedForward.activation !== first.feedForward.activation) return "has another activation than the first";
  if (layer.attentionNorm === undefined) return "has no norm behind its attention";
  return undefined;
}

/** The file has one for all. */
function epsilonOf(description: ModelDescription, norms: readonly (Norm | undefined)[]): number {
  const given = norms.filter((norm) => norm !== undefined);
  const [first] = given;
  for (const { kind, bias, epsilon } of given) {
    // One without a bias is taken for an RMSNorm.
    if (kind !== "layer-norm" || bias === undefined) {
      throw refusal(description, "it has norms without a mean or without a bias");
    }
    if (epsilon !== first?.epsilon) {
      throw refusal(description, `its norms have several epsilons (${first?.epsilon}, ${epsilon})`);
    }
  }
  // Every layer has norms.
  return first?.epsilon as number;
}

interface PositionsPlan {
  readonly scalars: readonly CTranslate2Scalar[];
  readonly weights: readonly PlannedWeight[];
  readonly aliases: readonly CTranslate2Alias[];
}

/** Segments and places. */
function planPositions(
  { embeddings, layers, ...description }: ModelDescription,
  first: Attention,
): PositionsPlan {
  const { position, segment } = embeddings;
  const whole = { embeddings, layers, ...description };
  if (position === undefined) throw refusal(whole, "it has no table of positions");
  const { positions } = first;
  if (positions.kind !== "bucketed") {
    const segments = segment === undefined ? [] : [table("encoder/embeddings_1/weight", segment)];
    return {
      scalars: [],
      weights: [...segments, exact("encoder/position_encodings/encodings", position)],
      aliases: [],
    };
  }
  if (segment !== undefined) throw refusal(whole, "it has segments and relative positions");
  // With relative positions CTranslate2 reads no table of places. As a second table of embeddings it does, by the
  // numbers that it is sent. All layers share the bias, which the aliases say.
  const scope = (layer: number): string => `encoder/layer_${layer}/self_attention`;
  return {
    scalars: layers.map((_, index) => ({
      name: `${scope(index)}/relative_attention_max_distance`,
      type: "int32",
      value: positions.maxDistance,
    })),
    weights: [
      table("encoder/embeddings_1/weight", position),
      exact(`${scope(0)}/relative_attention_bias`, sliceRows(positions.bias, 0, positions.buckets)),
    ],
    aliases: layers.slice(1).map((_, index) => ({
      alias: `${scope(index + 1)}/relative_attention_bias`,
      name: `${scope(0)}/relative_attention_bias`,
    })),
  };
}

function layerWeights(
  { attention, attentionNorm, feedForward, feedForwardNorm }: Layer,
  index: number,
): PlannedWeight[] {
  const scope = `encoder/layer_${index}`;
  return [
    ...linearWeights(`${scope}/self_attention/linear_0`, together(attention)),
    ...linearWeights(`${scope}/self_attention/linear_1`, attention.output),
    ...normWeights(`${scope}/self_attention/layer_norm`, attentionNorm),
    ...feedForwardWeights(`${scope}/ffn`, feedForward),
    ...normWeights(`${scope}/ffn/layer_norm`, feedForwardNorm),
  ];
}

function feedForwardWeights(scope: string, { up, down }: FeedForward): PlannedWeight[] {
  return [...linearWeights(`${scope}/linear_0`, up), ...linearWeights(`${scope}/linear_1`, down)];
}

/** One product for the three. */
function together({ query, key, value }: Attention): Linear {
  const parts = [query, key, value];
  const biases = parts.flatMap(({ bias }) => bias ?? []);
  return {
    weight: stackRows(parts.map(({ weight }) => weight)),
    ...(biases.length === 0 ? {} : { bias: stackRows(biases) }),
  };
}

interface HeadPlan {
  readonly scalars: readonly CTranslate2Scalar[];
  readonly weights: readonly PlannedWeight[];
  readonly classifier: Linear | undefined;
}

function planHead(description: ModelDescription, { head }: ModelProfile): HeadPlan {
  if (head.kind === "cosine" || head.kind === "pooled-chain") {
    return { scalars: [], weights: [], classifier: undefined };
  }
  const { head: own } = description;
  if (own.kind !== "classifier")
    throw refusal(description, `its head is ${head.kind}, and it has no classifier`);
  if (own.pooling !== "cls")
    throw refusal(description, "its classifier takes another vector than the first token's");
  const [dense, last, ...others] = own.steps.length === 1 ? [undefined, ...own.steps] : own.steps;
  const isPlain = last?.kind === "linear" && last.activation === "identity" && others.length === 0;
  if (!isPlain || dense?.kind === "norm")
    throw refusal(description, "its classifier is not dense, activation, dense");
  const { hiddenSize } = description;
  if (last.linear.weight.shape[1] !== hiddenSize)
    throw refusal(description, "its classifier has another width");
  if (dense === undefined) return { scalars: [], weights: [], classifier: last.linear };
  return {
    scalars: [flag("pooler_activation", codeOf(description, dense.activation))],
    weights: linearWeights("pooler_dense", dense.linear),
    classifier: last.linear,
  };
}

function codeOf(description: ModelDescription, activation: Activation): number {
  const code = activations[activation];
  if (code !== undefined) return code;
  throw refusal(description, `it has the activation ${activation}`);
}

function flag(name: string, value: number): CTranslate2Scalar {
  return { name, type: "int8", value };
}

function table(name: string, weight: Weight): PlannedWeight {
  return { name, role: "table", weight };
}

function exact(name: string, weight: Weight): PlannedWeight {
  return { name, role: "exact", weight };
}

function linearWeights(name: string, { weight, bias }: Linear): PlannedWeight[] {
  const matrix = table(`${name}/weight`, weight);
  return bias === undefined ? [matrix] : [matrix, exact(`${name}/bias`, bias)];
}

function normWeights(name: string, norm: Norm | undefined): PlannedWeight[] {
  if (norm?.bias === undefined) return [];
  return [exact(`${name}/gamma`, norm.weight), exact(`${name}/beta`, norm.bias)];
}
