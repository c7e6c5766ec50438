import type { ModelFiles, ModelProfile } from "@crossrank/core";
import type { Linear, ModelDescription, Norm } from "../src/source/description.js";
import type { Weight } from "../src/source/weight.js";

/** Small numbers that differ from place to place, so that a wrong row or column shows. */
export function weight(name: string, ...shape: number[]): Weight {
  const [rows = 1, ...rest] = shape;
  const width = rest.reduce((a, b) => a * b, 1);
  const seed = [...name].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
  return {
    name,
    shape,
    async rows(from, to) {
      if (from < 0 || to > rows || from > to)
        throw new RangeError(`${name}: rows ${from} to ${to} of ${rows}`);
      return Float32Array.from({ length: (to - from) * width }, (_, index) =>
        Math.sin(seed + 0.7 * (from * width + index)),
      );
    },
  };
}

function linear(name: string, outputs: number, inputs: number): Linear {
  return { weight: weight(`${name}.weight`, outputs, inputs), bias: weight(`${name}.bias`, outputs) };
}

function norm(name: string, size: number): Norm {
  return {
    kind: "layer-norm",
    weight: weight(`${name}.weight`, size),
    bias: weight(`${name}.bias`, size),
    epsilon: 1e-12,
  };
}

/** A BERT classifier whose feed-forward is `intermediate` wide. */
export function bert(intermediate = 80, hidden = 64): ModelDescription {
  return {
    model: "somebody/bert",
    architecture: "bert",
    vocabularySize: 12,
    hiddenSize: hidden,
    maxPositions: 16,
    paddingId: 0,
    embeddings: {
      word: weight("word", 12, hidden),
      position: weight("position", 16, hidden),
      segment: weight("segment", 2, hidden),
      norm: norm("embeddings", hidden),
    },
    layers: [0].map((index) => ({
      placement: "post",
      attention: {
        heads: 4,
        keyValueHeads: 4,
        headSize: hidden / 4,
        query: linear(`${index}.query`, hidden, hidden),
        key: linear(`${index}.key`, hidden, hidden),
        value: linear(`${index}.value`, hidden, hidden),
        output: linear(`${index}.output`, hidden, hidden),
        scale: 1 / Math.sqrt(hidden / 4),
        positions: { kind: "absolute" },
        causal: false,
      },
      attentionNorm: norm(`${index}.attention`, hidden),
      feedForward: {
        up: linear(`${index}.up`, intermediate, hidden),
        down: linear(`${index}.down`, hidden, intermediate),
        activation: "gelu",
      },
      feedForwardNorm: norm(`${index}.feedForward`, hidden),
    })),
    head: {
      kind: "classifier",
      pooling: "cls",
      classes: 1,
      steps: [
        { kind: "linear", linear: linear("pooler", hidden, hidden), activation: "tanh" },
        { kind: "linear", linear: linear("classifier", 1, hidden), activation: "identity" },
      ],
    },
  };
}

/** `[CLS] query [SEP] document [SEP]`, the document and the last [SEP] of segment 1. */
export const profile: ModelProfile = {
  specificationVersion: "1",
  family: "cross-encoder",
  architecture: "bert",
  pairTemplate: [
    { token: "[CLS]", id: 2, segment: 0 },
    { text: "query", segment: 0 },
    { token: "[SEP]", id: 3, segment: 0 },
    { text: "document", segment: 1 },
    { token: "[SEP]", id: 3, segment: 1 },
  ],
  singleTemplate: [],
  readsSegments: true,
  maxLength: 16,
  truncation: "document-only",
  paddingId: 0,
  head: { kind: "logit" },
  activation: "sigmoid",
  queryPrefix: "",
  documentPrefix: "",
};

/** Only these files, with these texts. */
export function filesOf(texts: Readonly<Record<string, string>>): ModelFiles {
  const bytesOf = (path: string): Uint8Array => new TextEncoder().encode(texts[path] ?? "");
  return {
    id: "somebody/bert",
    revision: undefined,
    list: async () => Object.keys(texts).map((path) => ({ path, size: bytesOf(path).length })),
    readText: async (path) => texts[path] ?? "",
    readBytes: async (path, { start, end }) => bytesOf(path).slice(start, end),
    localPath: async () => {
      throw new Error("only in memory");
    },
  };
}

/** A tokenizer.json of twelve tokens, special ones first; its spellings collide as llama.cpp spells them. */
export const tokenizer: {
  readonly model: { readonly vocab: Readonly<Record<string, number>> } & Readonly<Record<string, unknown>>;
} & Readonly<Record<string, unknown>> = {
  added_tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map((content, id) => ({ id, content, special: true })),
  normalizer: { type: "BertNormalizer", lowercase: true, strip_accents: null },
  pre_tokenizer: { type: "BertPreTokenizer" },
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    vocab: {
      "[PAD]": 0,
      "[UNK]": 1,
      "[CLS]": 2,
      "[SEP]": 3,
      word: 4,
      "##▁word": 5,
      "##": 6,
      "##a\u0000b": 7,
      "##a": 8,
      "##[segment 1: 4]": 9,
    },
  },
};
