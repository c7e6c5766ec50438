import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { CrossrankError, createReranker } from "@crossrank/core";
import { expect, test } from "vitest";
import {
  Counts,
  hostileNumbers,
  isLong,
  mutate,
  outcomeOf,
  type Random,
  randomOf,
} from "../../backend-kit/test/mutations.js";
import { fixture, load, makeBatch, readGoldens, temporaryFolder } from "./fixtures.js";
import { folderFiles } from "./folder-files.js";
import { type Attribute, crossEncoder, encodeModel, folderOf, type Graph, type Node } from "./graphs.js";

const goldens = await readGoldens("cross-encoder");
const whole = await readFile(join(fixture("cross-encoder"), "onnx/model.onnx"));
const folder = await folderOf(whole);

const deadlines = { load: 15_000, run: 5000, close: 2000 };

/** Loads the file and runs a batch of it, twice. */
async function attempt(bytes: Buffer, what: string): Promise<string> {
  await writeFile(join(folder, "onnx/model.onnx"), bytes);
  const backend = onnx({ workers: 1, threads: 1, deadlines });
  return outcomeOf(
    async () => {
      const session = await load(backend, folder);
      try {
        const { rows, columns } = {
          rows: "exactly" in session.capabilities.batchSize ? session.capabilities.batchSize.exactly : 2,
          columns: session.capabilities.maxSequenceLength ?? 32,
        };
        const short = goldens.slice(0, Math.min(2, rows)).map(({ inputIds, segmentIds }) => ({
          inputIds: inputIds.slice(0, columns),
          segmentIds: segmentIds.slice(0, columns),
        }));
        for (let round = 0; round < 2; round += 1) {
          const { data, shape } = await session.run(makeBatch(short, { rows, columns }));
          expect(shape.reduce((product, size) => product * size, 1)).toBe(data.length);
          expect(shape[0]).toBe(rows);
        }
        return "ran";
      } finally {
        await session.dispose();
      }
    },
    { what, isTyped: (error) => CrossrankError.isInstance(error) },
  );
}

/** Operators with the names of their integer attributes. */
const operators: readonly (readonly [
  operator: string,
  attributes: readonly string[],
  inputs: number,
  domain?: string,
])[] = [
  ["DFT", ["axis", "onesided", "inverse"], 2],
  ["OneHot", ["axis"], 3],
  ["Gather", ["axis"], 2],
  ["GatherElements", ["axis"], 2],
  ["GatherND", ["batch_dims"], 2],
  ["ScatterND", [], 3],
  ["ScatterElements", ["axis"], 3],
  ["Concat", ["axis"], 2],
  ["Split", ["axis"], 2],
  ["Squeeze", [], 2],
  ["Unsqueeze", [], 2],
  ["Reshape", ["allowzero"], 2],
  ["Expand", [], 2],
  ["Tile", [], 2],
  ["Slice", [], 5],
  ["Pad", [], 2],
  ["Range", [], 3],
  ["ConstantOfShape", [], 1],
  ["TopK", ["axis", "largest", "sorted"], 2],
  ["CumSum", ["exclusive", "reverse"], 2],
  ["Softmax", ["axis"], 1],
  ["LogSoftmax", ["axis"], 1],
  ["ArgMax", ["axis", "keepdims", "select_last_index"], 1],
  ["Flatten", ["axis"], 1],
  ["LayerNormalization", ["axis", "stash_type"], 2],
  ["ReduceSum", ["keepdims", "noop_with_empty_axes"], 2],
  ["EyeLike", ["k", "dtype"], 1],
  ["Trilu", ["upper"], 2],
  ["Unique", ["axis", "sorted"], 1],
  ["Hardmax", ["axis"], 1],
  ["SplitToSequence", ["axis", "keepdims"], 2],
  ["ReverseSequence", ["batch_axis", "time_axis"], 2],
  ["SpaceToDepth", ["blocksize"], 1],
  ["DepthToSpace", ["blocksize"], 1],
  ["MaxPool", ["ceil_mode", "storage_order"], 1],
  ["LSTM", ["hidden_size", "layout"], 3],
  ["GRU", ["hidden_size", "linear_before_reset"], 3],
  ["RandomUniformLike", ["dtype"], 1],
  ["Shrink", [], 1],
  ["LRN", ["size"], 1],
  ["BlackmanWindow", ["output_datatype", "periodic"], 1],
  ["MelWeightMatrix", ["output_datatype"], 5],
  ["STFT", ["onesided"], 4],
  ["Attention", ["num_heads", "unidirectional"], 3, "com.microsoft"],
  ["EmbedLayerNormalization", ["mask_index_type"], 5, "com.microsoft"],
  ["SkipLayerNormalization", [], 3, "com.microsoft"],
  ["GroupQueryAttention", ["num_heads", "kv_num_heads", "local_window_size"], 5, "com.microsoft"],
  ["MultiHeadAttention", ["num_heads"], 3, "com.microsoft"],
  ["QLinearSoftmax", ["axis", "opset"], 3, "com.microsoft"],
  ["MatMulNBits", ["K", "N", "bits", "block_size", "accuracy_level"], 3, "com.microsoft"],
  ["NGramRepeatBlock", ["ngram_size"], 2, "com.microsoft"],
  ["Irfft", ["signal_ndim", "normalized", "onesided"], 1, "com.microsoft"],
  ["Rfft", ["signal_ndim", "normalized", "onesided"], 1, "com.microsoft"],
  ["ExpandDims", [], 2, "com.microsoft"],
  ["CropAndResize", ["extrapolation_value"], 4, "com.microsoft"],
];

/** A sound graph with one operator in its midst that is told what it cannot be told. */
function hostileGraph(random: Random): { readonly graph: Graph; readonly what: string } {
  const [operator, names, inputs, domain] = random.pick(operators);
  const constants = Array.from({ length: inputs }, (_, index) => {
    const values = Array.from({ length: 1 + random.below(3) }, () => random.pick(hostileNumbers));
    const isScalar = values.length === 1 && random.below(2) === 0;
    return { name: `constant ${index}`, dims: isScalar ? [] : [BigInt(values.length)], values };
  });
  const attributes: Attribute[] = names
    .filter(() => random.below(3) > 0)
    .map((name) => ({
      name,
      value: random.below(8) === 0 ? [random.pick(hostileNumbers)] : random.pick(hostileNumbers),
    }));
  const sources = ["x", "x", "masked", "input_ids"];
  const node: Node = {
    operator,
    inputs: constants.map(({ name }, index) =>
      index === 0 || random.below(3) === 0 ? random.pick(sources) : name,
    ),
    outputs: ["raw"],
    attributes,
    ...(domain === undefined ? {} : { domain }),
  };
  const cast: Node = {
    operator: "Cast",
    inputs: ["raw"],
    outputs: ["y"],
    attributes: [{ name: "to", value: 1n }],
  };
  const opset = random.pick([11n, 13n, 17n]);
  const what = `${operator} ${attributes.map(({ name, value }) => `${name} ${value}`).join(" ")}, opset ${opset}`;
  return { graph: crossEncoder({ between: [node, cast], constants, opset }), what };
}

const tries = isLong
  ? { mutated: 1000, operators: 1000, weights: 500 }
  : { mutated: 8, operators: 10, weights: 6 };

test("the file itself runs", async () => {
  expect(await attempt(whole, "the file itself")).toBe("ran");
  expect(await attempt(encodeModel(crossEncoder()), "the smallest graph")).toBe("ran");
});

test("mutated files end in a result or a typed error, and in time", { timeout: 7_200_000 }, async () => {
  const counts = new Counts();
  for (let seed = 0; seed < tries.mutated; seed += 1) {
    // The graph stands behind most of its weights: half of the changes are made there.
    const random = randomOf(seed);
    const { bytes, what } = mutate(whole, { random, head: seed % 2 === 0 ? 4000 : whole.length });
    counts.add(await attempt(bytes, `mutation ${seed} (${what})`));
  }
  console.log(`mutated .onnx files, ${counts}`);
  expect(counts.total).toBe(tries.mutated);
});

test("operators with hostile numbers end in a result or a typed error, and in time", {
  timeout: 7_200_000,
}, async () => {
  const counts = new Counts();
  for (let seed = 0; seed < tries.operators; seed += 1) {
    const { graph, what } = hostileGraph(randomOf(0x0b0e + seed));
    counts.add(await attempt(encodeModel(graph), `operator ${seed} (${what})`));
  }
  console.log(`operators with hostile numbers, ${counts}`);
  expect(counts.total).toBe(tries.operators);
});

test("mutated weights of a pooling's modules end in a ranking or a typed error", {
  timeout: 7_200_000,
}, async () => {
  const chain = fileURLToPath(new URL("../../conformance/fixtures/modernbert-chain", import.meta.url));
  const copy = await temporaryFolder();
  await cp(chain, copy, { recursive: true });
  const parts = ["2_Dense", "3_LayerNorm", "4_Dense"].map((module) => `${module}/model.safetensors`);
  const wholes = new Map(
    await Promise.all(parts.map(async (part) => [part, await readFile(join(chain, part))] as const)),
  );
  const backend = onnx({ workers: 1, threads: 1, isolation: "thread" });
  const counts = new Counts();
  for (let seed = -1; seed < tries.weights; seed += 1) {
    const random = randomOf(0x5afe + seed);
    const part = random.pick(parts);
    const sound = wholes.get(part) as Buffer;
    // Its head is JSON behind eight bytes of length.
    const { bytes, what } = seed < 0 ? { bytes: sound, what: "none" } : mutate(sound, { random, head: 300 });
    await writeFile(join(copy, part), bytes);
    const work = async (): Promise<string> => {
      const reranker = await createReranker({ model: folderFiles(copy), backend });
      try {
        const { results } = await reranker.rerank({ query: "tea", documents: ["a cup", "a car"] });
        expect(results.every(({ score }) => Number.isFinite(score))).toBe(true);
        return "ran";
      } finally {
        await reranker.dispose();
      }
    };
    const isTyped = (error: unknown): error is CrossrankError => CrossrankError.isInstance(error);
    const outcome = await outcomeOf(work, { what: `${part}, mutation ${seed} (${what})`, isTyped });
    if (seed < 0) expect(outcome).toBe("ran");
    else counts.add(outcome);
    await writeFile(join(copy, part), sound);
  }
  console.log(`mutated .safetensors files, ${counts}`);
  expect(counts.total).toBe(tries.weights);
});
