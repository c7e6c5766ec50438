import type { Weight } from "./weight.js";

/**
 * What a transformer computes, as data: the one description that every writer works from. It says what the model's
 * own code does (order of operations, constants), with names of the field, and nothing about any output format.
 */
export interface ModelDescription {
  /** Model id or folder, for messages. */
  readonly model: string;
  /** `model_type` of config.json. */
  readonly architecture: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** Longest sequence in tokens. */
  readonly maxPositions: number;
  readonly paddingId: number;
  readonly embeddings: Embeddings;
  readonly layers: readonly Layer[];
  /** After the last layer; undefined where layers end in their own norm. */
  readonly finalNorm?: Norm | undefined;
  readonly head: OutputHead;
}

/** Sum of the tables' rows, times `scale`, then the norm, then the projection. Tables are as wide as the hidden size, or as the projection takes. */
export interface Embeddings {
  /** (vocabulary, hidden). */
  readonly word: Weight;
  /** (positions, hidden): row i belongs to the i-th token. The rows that RoBERTa skips are already taken off. */
  readonly position?: Weight | undefined;
  /**
   * RoBERTa, for graphs whose position ids count as its own code does: the table with the skipped rows, and the row of
   * padding, pad_token_id. The i-th token's is row `padding` + 1 + i. Real tokens get what `position` gives them.
   */
  readonly paddedPositions?: { readonly table: Weight; readonly padding: number } | undefined;
  /** (segments, hidden). With one row it is a constant that is added to every token. */
  readonly segment?: Weight | undefined;
  readonly norm?: Norm | undefined;
  /** ELECTRA whose tables are narrower than its layers: (hidden, the tables' width). */
  readonly projection?: Linear | undefined;
  /** Gemma: √hidden in float32, as torch computes it when weights are loaded in float32. Default 1. */
  readonly scale?: number | undefined;
  /** DeBERTa: embeddings of padding are set to zero behind the norm. Without consequence for real tokens. */
  readonly zeroPadding?: boolean | undefined;
}

/** y = W x + b. */
export interface Linear {
  /** (outputs, inputs). */
  readonly weight: Weight;
  /** (outputs). */
  readonly bias?: Weight | undefined;
}

/** Over the last dimension. `rms-norm` has no mean and no bias. */
export interface Norm {
  readonly kind: "layer-norm" | "rms-norm";
  /** Ready to multiply: Gemma's 1 is already added. */
  readonly weight: Weight;
  readonly bias?: Weight | undefined;
  readonly epsilon: number;
}

/** `gelu` is the exact one (erf), `gelu-tanh` its approximation. */
export type Activation = "identity" | "gelu" | "gelu-tanh" | "silu" | "relu" | "tanh";

/**
 * `post`: x = norm(x + f(x)), as BERT. `pre`: x = x + f(norm(x)), as ModernBERT and the decoders; without
 * `attentionNorm` the first layer's attention takes x itself. `around`: x = x + after(f(norm(x))), as Gemma 2 and 3,
 * and all four norms are there.
 */
export interface Layer {
  readonly placement: "pre" | "post" | "around";
  readonly attention: Attention;
  readonly attentionNorm?: Norm | undefined;
  /** Of `around` alone: over what attention gives, before it is added. */
  readonly attentionAfter?: Norm | undefined;
  readonly feedForward: FeedForward;
  readonly feedForwardNorm: Norm;
  /** Of `around` alone: over what the feed-forward gives. */
  readonly feedForwardAfter?: Norm | undefined;
}

/** softmax(capped(q kᵀ · scale + positions) + mask) v, then `output`. */
export interface Attention {
  readonly heads: number;
  /** Fewer than `heads` where several query heads share one (grouped-query attention). */
  readonly keyValueHeads: number;
  readonly headSize: number;
  /** Outputs: heads × headSize. */
  readonly query: Linear;
  /** Outputs: keyValueHeads × headSize. */
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  /** Over each head's vector, before positions (Qwen3). */
  readonly queryNorm?: Norm | undefined;
  readonly keyNorm?: Norm | undefined;
  /** 1/√headSize, or DeBERTa's 1/√(3 · headSize). */
  readonly scale: number;
  /** Gemma 2: scores become cap · tanh(scores / cap) before the mask. Undefined: they stay. */
  readonly cap?: number | undefined;
  readonly positions: AttentionPositions;
  /** A token sees itself and earlier ones alone. */
  readonly causal: boolean;
  /** A token sees those at most this many places away (each side). Undefined: all. */
  readonly reach?: number | undefined;
}

/** How attention knows places. `absolute`: from the embeddings alone. */
export type AttentionPositions =
  | { readonly kind: "absolute" }
  /** Rotary, in halves: (x1, x2) → (x1 cos − x2 sin, x2 cos + x1 sin), angle = place / theta^(2i/headSize). */
  | { readonly kind: "rotary"; readonly theta: number }
  /** The same with angles that no base gives: place · frequencies[i], headSize / 2 float32 numbers. */
  | { readonly kind: "scaled-rotary"; readonly frequencies: readonly number[] }
  /**
   * DeBERTa's disentangled attention (He et al. 2021; transformers `models/deberta_v2/modeling_deberta_v2.py`). The
   * two products with relative positions are scaled as the content's is.
   */
  | {
      readonly kind: "disentangled";
      /** (2 · span, hidden), shared by all layers. */
      readonly relative: Weight;
      readonly relativeNorm?: Norm | undefined;
      readonly span: number;
      /** Logarithmic buckets beyond half of this distance; undefined: none. */
      readonly buckets: number | undefined;
      readonly maxRelativePositions: number;
      /** c2p: projects relative positions to keys. */
      readonly key?: Linear | undefined;
      /** p2c: projects relative positions to queries. */
      readonly query?: Linear | undefined;
    }
  /** MPNet: a number a head, by the bucket of the distance (`relativeBucket`), is added to the scaled products. */
  | {
      readonly kind: "bucketed";
      /** (at least `buckets`, heads), shared by all layers. */
      readonly bias: Weight;
      readonly buckets: number;
      readonly maxDistance: number;
    };

/** `down(activation(gate(x)) · up(x))`, or without a gate `down(activation(up(x)))`. */
export interface FeedForward {
  readonly up: Linear;
  readonly gate?: Linear | undefined;
  readonly down: Linear;
  readonly activation: Activation;
}

/** What the model's own code does with the last hidden states. */
export type OutputHead =
  /** Hidden states are the output: bi-encoders, listwise models, and encoders whose modules core computes. */
  | { readonly kind: "none" }
  /** One token's or the mean vector, through `steps`, to class logits. */
  | {
      readonly kind: "classifier";
      readonly pooling: "cls" | "mean" | "last";
      /**
       * Of `last`: the last token that is not this one is read, which transformers takes for padding, also where a
       * sequence ends with it; the first token where there is no other. Undefined: the last token, whatever it is.
       */
      readonly passedOver?: number | undefined;
      readonly steps: readonly HeadStep[];
      readonly classes: number;
    }
  /** Causal language model: (vocabulary, hidden), the embedding table itself where they are tied. */
  | {
      readonly kind: "vocabulary";
      readonly projection: Weight;
      readonly tied: boolean;
      /** Gemma 2: logits are cap · tanh(logits / cap). Undefined: they stay. */
      readonly cap?: number | undefined;
    };

export type HeadStep =
  | { readonly kind: "linear"; readonly linear: Linear; readonly activation: Activation }
  | { readonly kind: "norm"; readonly norm: Norm };
