import { sliceRows } from "./derived-weight.js";
import type {
  Activation,
  AttentionPositions,
  Embeddings,
  Layer,
  Linear,
  ModelDescription,
  OutputHead,
} from "./description.js";
import { classifierLinear, findPrefix, headSizeOf, layerNorm, linear } from "./parts.js";
import { encoderHead, requireSetting, type Source } from "./source.js";

/** What the encoders of BERT's build call their tensors; behind a prefix, and those of a layer behind the layer's name. */
export interface EncoderNames {
  /** What stands before the encoder's names in a model with a head; an encoder saved alone has nothing. */
  readonly within: string;
  /** Before a layer's number. */
  readonly layers: string;
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly output: string;
  readonly attentionNorm: string;
  readonly up: string;
  readonly down: string;
  readonly feedForwardNorm: string;
}

/** BERT's own names, but for what stands before them. */
export const namesOfBert: Omit<EncoderNames, "within"> = {
  layers: "encoder.layer",
  query: "attention.self.query",
  key: "attention.self.key",
  value: "attention.self.value",
  output: "attention.output.dense",
  attentionNorm: "attention.output.LayerNorm",
  up: "intermediate.dense",
  down: "output.dense",
  feedForwardNorm: "output.LayerNorm",
};

/** The sizes and constants of an encoder, whatever its config.json calls them. */
export interface EncoderShape {
  readonly vocabulary: number;
  readonly hidden: number;
  /** Columns of the tables, where they are not `hidden`. */
  readonly width?: number | undefined;
  readonly layers: number;
  readonly heads: number;
  readonly inner: number;
  /** Rows of the position table. */
  readonly places: number;
  /** Rows at the table's start that no token uses. Default none. */
  readonly skipped?: number | undefined;
  /** Rows of the segments' table; undefined: there is none. */
  readonly segments?: number | undefined;
  readonly epsilon: number;
  readonly activation: Activation;
}

/** What such encoders have in common. */
export interface EncoderParts {
  /** What stands before the encoder's names: `bert.`, or nothing in an encoder saved alone. */
  readonly prefix: string;
  readonly embeddings: Embeddings;
  readonly layers: readonly Layer[];
}

/**
 * The embeddings and the post-norm layers of an encoder of BERT's build.
 *
 * @param positionsOf how attention knows places; told the prefix. Default: from the embeddings alone.
 * @throws {ModelProfileError} a tensor is missing or has another shape than the settings say.
 */
export function encoderParts(
  source: Source,
  names: EncoderNames,
  shape: EncoderShape,
  positionsOf: (prefix: string) => AttentionPositions = () => ({ kind: "absolute" }),
): EncoderParts {
  const { weights } = source;
  const prefix = findPrefix(source, names.within, "embeddings.word_embeddings.weight");
  const { places, segments, skipped = 0, width = shape.hidden } = shape;
  requireSetting(
    source,
    skipped < places,
    `has max_position_embeddings ${places}, and its tokens' places begin at ${skipped}`,
  );
  const at = `${prefix}embeddings`;
  const table = weights.take(`${at}.position_embeddings.weight`, [places, width]);
  const positions = positionsOf(prefix);
  return {
    prefix,
    embeddings: {
      word: weights.take(`${at}.word_embeddings.weight`, [shape.vocabulary, width]),
      ...(skipped === 0
        ? { position: table }
        : {
            position: sliceRows(table, skipped, places),
            paddedPositions: { table, padding: skipped - 1 },
          }),
      ...(segments === undefined
        ? {}
        : { segment: weights.take(`${at}.token_type_embeddings.weight`, [segments, width]) }),
      norm: layerNorm(source, `${at}.LayerNorm`, width, shape.epsilon),
    },
    layers: Array.from({ length: shape.layers }, (_, index) =>
      layerOf(source, names, shape, positions, `${prefix}${names.layers}.${index}`),
    ),
  };
}

function layerOf(
  source: Source,
  names: EncoderNames,
  { hidden, heads, inner, epsilon, activation }: EncoderShape,
  positions: AttentionPositions,
  name: string,
): Layer {
  const headSize = headSizeOf(source, hidden, heads);
  const projection = (part: string): Linear => linear(source, `${name}.${part}`, hidden, hidden);
  return {
    placement: "post",
    attention: {
      heads,
      keyValueHeads: heads,
      headSize,
      query: projection(names.query),
      key: projection(names.key),
      value: projection(names.value),
      output: projection(names.output),
      scale: 1 / Math.sqrt(headSize),
      positions,
      causal: false,
    },
    attentionNorm: layerNorm(source, `${name}.${names.attentionNorm}`, hidden, epsilon),
    feedForward: {
      up: linear(source, `${name}.${names.up}`, inner, hidden),
      down: linear(source, `${name}.${names.down}`, hidden, inner),
      activation,
    },
    feedForwardNorm: layerNorm(source, `${name}.${names.feedForwardNorm}`, hidden, epsilon),
  };
}

/** The description of an encoder of BERT's build, whose head is {@link firstTokenHead}'s. */
export function describeEncoder(
  source: Source,
  { embeddings, layers }: Pick<EncoderParts, "embeddings" | "layers">,
  shape: EncoderShape,
  head: FirstTokenHead,
): ModelDescription {
  return {
    model: source.model,
    architecture: source.profile.architecture,
    vocabularySize: shape.vocabulary,
    hiddenSize: shape.hidden,
    maxPositions: shape.places - (shape.skipped ?? 0),
    paddingId: source.profile.paddingId,
    embeddings,
    layers,
    head: firstTokenHead(source, head, shape.hidden),
  };
}

/** Names of a classifier's two layers on the first token, and what is between them. */
export interface FirstTokenHead {
  readonly dense: string;
  readonly activation: Activation;
  readonly output: string;
}

/** @throws {ModelProfileError} where the profile's head reads a classifier, and there is none or another. */
export function firstTokenHead(
  source: Source,
  { dense, activation, output }: FirstTokenHead,
  hidden: number,
): OutputHead {
  return encoderHead(
    source,
    (classes): OutputHead => ({
      kind: "classifier",
      pooling: "cls",
      classes,
      steps: [
        { kind: "linear", linear: linear(source, dense, hidden, hidden), activation },
        {
          kind: "linear",
          linear: classifierLinear(source, output, classes, hidden),
          activation: "identity",
        },
      ],
    }),
  );
}
