import type { ModelProfile, TemplatePiece } from "@crossrank/core";
import type { MetadataValue } from "@crossrank/formats/gguf";
import { UnsupportedConversionError } from "../errors.js";
import type { FeedForward, Layer, ModelDescription, Norm } from "../source/description.js";
import type { Weight } from "../source/weight.js";

/**
 * How a tensor may be held.
 * - `exact`: always F32: vectors, positions, segments and heads, which llama.cpp wants so, or which are small and
 *   decide the score alone.
 * - `matrix`: in the precision asked for.
 * - `table`: as a matrix, but no coarser than Q8_0: the token embeddings, and a vocabulary's projection.
 */
export type TensorRole = "exact" | "matrix" | "table";

export interface PlannedTensor {
  readonly name: string;
  readonly role: TensorRole;
  readonly weight: Weight;
}

/** llama.cpp's names of the decoders that are written. */
export type DecoderArchitecture = "qwen2" | "qwen3" | "gemma" | "gemma2" | "gemma3";

/** What a GGUF of the model holds, apart from its vocabulary. */
export interface GgufPlan {
  /** llama.cpp's name: it decides the graph. */
  readonly architecture: "bert" | "modern-bert" | DecoderArchitecture;
  /** Keys without the architecture's prefix. */
  readonly hyperparameters: readonly (readonly [string, MetadataValue])[];
  readonly tensors: readonly PlannedTensor[];
  /** V, where the vocabulary is doubled for segments. */
  readonly segmentVocabulary?: number | undefined;
  readonly foldedTwoClass?: 0 | 1 | undefined;
  /** Classes of a decoder's classifier. */
  readonly rankedClasses?: number | undefined;
  /** Whether the file ranks by itself from a prompt (`tokenizer.chat_template.rerank`). */
  readonly ranksPrompts?: boolean | undefined;
  /** Tables of segments as `tokenizer.ggml.token_type_count` counts them; llama.cpp's BERT wants at least 1. */
  readonly segmentRows?: number | undefined;
}

/** llama.cpp's `llama_pooling_type`. */
export const poolingTypes = { mean: 1, cls: 2, "last-token": 3, rank: 4 } as const;

const anotherBackend = "Use the ONNX backend for this model";

export function refusal(
  description: ModelDescription,
  problem: string,
  fix: string = anotherBackend,
): UnsupportedConversionError {
  return new UnsupportedConversionError({ model: description.model, format: "gguf", problem, fix });
}

export const uint32 = (value: number): MetadataValue => ({ type: "uint32", value });
export const float32 = (value: number): MetadataValue => ({ type: "float32", value });
export const bool = (value: boolean): MetadataValue => ({ type: "bool", value });
export const text = (value: string): MetadataValue => ({ type: "string", value });

/** The pieces of the sequences that the model sees. */
export function templateOf(profile: ModelProfile): readonly TemplatePiece[] {
  return profile.family === "bi-encoder" ? profile.singleTemplate : profile.pairTemplate;
}

export function exact(name: string, weight: Weight): PlannedTensor {
  return { name, role: "exact", weight };
}

export function matrix(name: string, weight: Weight): PlannedTensor {
  return { name, role: "matrix", weight };
}

export function table(name: string, weight: Weight): PlannedTensor {
  return { name, role: "table", weight };
}

/** `<name>.weight` and, where there is one, `<name>.bias`. */
export function linearTensors(
  name: string,
  linear: { readonly weight: Weight; readonly bias?: Weight | undefined },
): PlannedTensor[] {
  const weight = matrix(`${name}.weight`, linear.weight);
  return linear.bias === undefined ? [weight] : [weight, exact(`${name}.bias`, linear.bias)];
}

export function normTensors(name: string, norm: Norm): PlannedTensor[] {
  const weight = exact(`${name}.weight`, norm.weight);
  return norm.bias === undefined ? [weight] : [weight, exact(`${name}.bias`, norm.bias)];
}

/** What all layers must share, for the file says it once. */
export interface CommonLayer {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly feedForwardSize: number;
}

/**
 * What holds of every graph of llama.cpp that is written here: equal layers, attention scaled by 1/√headSize, or as the
 * architecture's own graph does.
 * @throws {UnsupportedConversionError}
 */
export function commonLayer(
  description: ModelDescription,
  expected: {
    readonly placement: Layer["placement"];
    readonly causal: boolean;
    /** Default: the size of a head. */
    readonly scaledBy?: (layer: CommonLayer) => number;
    /** The graph caps attention's scores. Default false. */
    readonly caps?: boolean;
  },
): CommonLayer {
  const { scaledBy = ({ headSize }) => headSize, caps = false } = expected;
  const [first] = description.layers;
  if (first === undefined) throw refusal(description, "it has no layers");
  const common = (layer: Layer): CommonLayer => ({
    heads: layer.attention.heads,
    keyValueHeads: layer.attention.keyValueHeads,
    headSize: layer.attention.headSize,
    feedForwardSize: layer.feedForward.up.weight.shape[0] ?? 0,
  });
  const result = common(first);
  for (const [index, layer] of description.layers.entries()) {
    const differs = (what: string): UnsupportedConversionError =>
      refusal(
        description,
        `layer ${index} has ${what}, which llama.cpp's graph of this architecture has not`,
      );
    if (JSON.stringify(common(layer)) !== JSON.stringify(result))
      throw differs("other sizes than the first layer");
    if (layer.placement !== expected.placement) throw differs(`its norms in ${layer.placement} placement`);
    if (layer.attention.causal !== expected.causal)
      throw differs(expected.causal ? "attention to both sides" : "causal attention");
    if ((layer.attention.cap !== undefined) !== caps)
      throw differs(caps ? "scores of attention without a cap" : "capped scores of attention");
    if (!nearly(layer.attention.scale, 1 / Math.sqrt(scaledBy(result))))
      throw differs(`attention scaled by ${layer.attention.scale}`);
    if (layer.attention.positions.kind === "disentangled") throw differs("disentangled attention (DeBERTa)");
  }
  return result;
}

/**
 * The one epsilon of the model's norms.
 * @throws {UnsupportedConversionError} where there are several, or norms of another kind.
 */
export function commonEpsilon(
  description: ModelDescription,
  kind: Norm["kind"],
  norms: readonly (Norm | undefined)[],
): number {
  const given = norms.filter((norm) => norm !== undefined);
  const [first] = given;
  if (first === undefined) throw refusal(description, "it has no norms");
  for (const norm of given) {
    if (norm.kind !== kind) throw refusal(description, `it has a ${norm.kind} where llama.cpp has a ${kind}`);
    if (!nearly(norm.epsilon, first.epsilon))
      throw refusal(
        description,
        `its norms have several epsilons (${first.epsilon}, ${norm.epsilon}), and the file has place for one`,
      );
  }
  return first.epsilon;
}

/** llama.cpp's GELU is the tanh approximation, read from a half-precision table: below 1e-3 from either form. */
export function requireGelu(description: ModelDescription, feedForward: FeedForward): void {
  if (feedForward.activation !== "gelu" && feedForward.activation !== "gelu-tanh")
    throw refusal(
      description,
      `its feed-forward activation is ${feedForward.activation}, and llama.cpp's graph has GELU there`,
    );
}

/** Equal but for the rounding of float32. */
export function nearly(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-6 * Math.max(Math.abs(a), Math.abs(b));
}
