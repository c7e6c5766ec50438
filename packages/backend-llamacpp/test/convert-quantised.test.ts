import { encodeNumbers, layouts, type TensorType } from "@crossrank/formats/gguf";
import { expect, test } from "vitest";
import { ggufWriter } from "../../convert/src/gguf/write-gguf.js";
import type { Linear, ModelDescription } from "../../convert/src/source/description.js";
import type { Weight } from "../../convert/src/source/weight.js";
import { bert, filesOf, profile as smallProfile, tokenizer } from "../../convert/test/gguf-model.js";
import { openFixture } from "./convert-fixture.js";
import { convert, createLogits, feed, loadModel, temporaryFolder } from "./convert-llama.js";

// A quantised file is held against an F32 file with the same weights, quantised and back. What is left is llama.cpp's
// own rounding of activations to eight bits; a scale or a half byte in the wrong place would show.

test.each<[TensorType, number]>([
  ["Q8_0", 0.2],
  ["Q4_0", 0.2],
])("%s: llama.cpp reads the blocks as they were meant", async (dtype, bound) => {
  const { files, profile, longest, scored } = await openFixture("bert-two-class");
  const quantised = await loadModel(await convert(files, profile, dtype));
  const rounded = await loadModel(await convert(files, profile, "F32", (d) => roundWeights(d, dtype)));
  const logitsOf = async (model: typeof quantised): Promise<number[]> => {
    const logitOf = await createLogits(model, longest);
    const logits: number[] = [];
    for (const { ids, segmentIds } of scored) logits.push(await logitOf(feed(model, ids, segmentIds)));
    return logits;
  };
  const [wanted, found] = [await logitsOf(rounded), await logitsOf(quantised)];
  expect(typical(found, wanted)).toBeLessThan(bound);
});

test("a vocabulary with empty, equal and broken spellings loads: llama.cpp would abort on two alike", async () => {
  const path = `${await temporaryFolder()}/model.gguf`;
  const files = filesOf({ "tokenizer.json": JSON.stringify(tokenizer), "config.json": "{}" });
  await ggufWriter.write({
    files,
    description: bert(),
    profile: smallProfile,
    dtype: "F32",
    path,
    metadata: {},
  });
  const model = await loadModel(path);
  expect(model.fileInfo.metadata.tokenizer?.ggml?.tokens).toHaveLength(24);
  const logitOf = await createLogits(model, 16);
  const logit = await logitOf(feed(model, [2, 4, 5, 3, 6, 7, 8, 3], [0, 0, 0, 0, 1, 1, 1, 1]));
  expect(Number.isFinite(logit)).toBe(true);
});

/** The matrices that the precision is for, through it and back. */
function roundWeights(description: ModelDescription, dtype: TensorType): ModelDescription {
  const linear = ({ weight, bias }: Linear): Linear => ({ weight: roundWeight(weight, dtype), bias });
  return {
    ...description,
    layers: description.layers.map((layer) => ({
      ...layer,
      attention: {
        ...layer.attention,
        query: linear(layer.attention.query),
        key: linear(layer.attention.key),
        value: linear(layer.attention.value),
        output: linear(layer.attention.output),
      },
      feedForward: {
        ...layer.feedForward,
        up: linear(layer.feedForward.up),
        down: linear(layer.feedForward.down),
      },
    })),
  };
}

function roundWeight(weight: Weight, dtype: TensorType): Weight {
  return {
    ...weight,
    rows: async (from, to) => decode(encodeNumbers(dtype, await weight.rows(from, to)), dtype),
  };
}

function decode(bytes: Uint8Array, dtype: TensorType): Float32Array {
  const view = new DataView(bytes.buffer);
  const numbers: number[] = [];
  for (let at = 0; at < bytes.length; at += layouts[dtype].bytes) {
    const scale = fromHalf(view.getUint16(at, true));
    for (let index = 0; index < 32; index++) {
      const byte = view.getUint8(at + 2 + (index % 16));
      const level =
        dtype === "Q8_0" ? view.getInt8(at + 2 + index) : (index < 16 ? byte & 15 : byte >> 4) - 8;
      numbers.push(scale * level);
    }
  }
  return Float32Array.from(numbers);
}

function fromHalf(half: number): number {
  const sign = half >> 15 === 1 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 0x3ff;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** The median difference. */
function typical(found: readonly number[], wanted: readonly number[]): number {
  expect(found).toHaveLength(wanted.length);
  const sorted = found
    .map((number, index) => Math.abs(number - (wanted[index] ?? Number.NaN)))
    .sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
