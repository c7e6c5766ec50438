import { onnx } from "@crossrank/backend-onnx";
import { defineConformanceSuite, openFixtures, referenceBackend } from "@crossrank/conformance";
import {
  type Backend,
  BackendRunError,
  createReranker,
  loadModel,
  type ModelFiles,
  ModelProfileError,
  readProfile,
} from "@crossrank/core";
import { readGoldens, verify } from "@crossrank/core/verify";
import { describe, expect, test } from "vitest";
import { isLong, sampledCases, sampledRunner } from "../../conformance/test/sampled-runner.js";
import { erf } from "../src/reference/activations.js";
import { relativeRow } from "../src/reference/attention.js";
import { forward } from "../src/reference/forward.js";
import { project, vectors } from "../src/reference/matrix.js";
import { Pace } from "../src/reference/pace.js";
import { sourceBackend } from "../src/reference/source-backend.js";
import { defaultPairs, sourceGoldens } from "../src/reference/source-goldens.js";
import { describeModel } from "../src/source/describe-model.js";
import type { Weight } from "../src/source/weight.js";
import { floatTensor, numbersOf, readFixture, type StoredTensor, withTensors } from "./source-files.js";

/**
 * Goldens are torch's in float32, which lie up to 1.3e-5 from torch's own float64 on these fixtures (gemma-yes;
 * bert-logit 1.0e-5), the source backend at most 7e-7 for encoders and 7e-6 for decoders, whose norms and softmax torch
 * computes in float32 even then.
 */
const tolerance = 2e-5;

await defineConformanceSuite({
  runner: sampledRunner({
    name: "",
    every: 21,
    whole: ["bert-logit"],
  }),
  backend: () => sourceBackend(),
  fixtures: openFixtures().map((one) => sampledCases(one)),
  tolerance,
  // A sequence is computed by itself: its company and padding change no bit.
  batchTolerance: 1e-12,
});

function filesOf(name: string): ModelFiles {
  const [fixture] = openFixtures([name]);
  if (fixture === undefined) throw new Error(`no fixture ${name}`);
  return fixture.files;
}

/** A second, independent implementation in float64, of the conformance package: only float32 outputs lie between. */
test.each([
  ...["bert-logit", "bert-cosine-mean", "xlm-roberta-logit"],
  ...(isLong ? ["bert-two-class", "roberta-logit"] : []),
])("%s is what the reference in plain loops gives, to 1e-6", async (name) => {
  const files = filesOf(name);
  const goldens = await readGoldens(files);
  const pairs = (goldens?.cases ?? [])
    .map(({ query, document }) => ({ query, document }))
    .filter(({ query }) => query.trim() !== "");
  const logits = async (backend: Backend): Promise<(number | null)[]> => {
    const reranker = await createReranker({ model: files, backend });
    try {
      return (await reranker.score(pairs)).scores.map(({ logit }) => logit);
    } finally {
      await reranker.dispose();
    }
  };
  const [ours, theirs] = [await logits(sourceBackend()), await logits(referenceBackend())];
  expect(ours.length).toBeGreaterThan(40);
  const worst = Math.max(
    ...ours.map((logit, index) =>
      logit === null || theirs[index] === null
        ? Number(logit !== theirs[index])
        : Math.abs(logit - (theirs[index] as number)),
    ),
  );
  expect(worst).toBeLessThan(1e-6);
});

test("erf is that of the tables, and smooth between the points of its own", () => {
  // NIST Digital Library of Mathematical Functions, 7.23; 17 digits by mpmath.
  for (const [x, value] of [
    [0, 0],
    [0.01, 0.011283415555849618],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [3.3, 0.9999969422902036],
    [5, 0.9999999999984626],
    [7, 1],
  ] as const) {
    expect(Math.abs(erf(x) - value)).toBeLessThan(1e-15);
    expect(erf(-x)).toBe(-erf(x));
  }
  // Both sides of a point halfway between two of the table's come from different series.
  for (let k = 0; k < 380; k += 1) {
    const halfway = (k + 0.5) / 64;
    const [below, above] = [erf(halfway - 1e-9), erf(halfway + 1e-9)];
    const slope = (2 / Math.sqrt(Math.PI)) * Math.exp(-halfway * halfway);
    expect(Math.abs(above - below - slope * 2e-9)).toBeLessThan(2e-15);
  }
});

test("a product of any size is the sum of its products", async () => {
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  for (const [count, inputs, outputs] of [
    [1, 1, 1],
    [2, 3, 4],
    [3, 511, 5],
    [5, 513, 7],
    [4, 1030, 9],
    [0, 8, 3],
  ] as const) {
    const matrix = Float32Array.from({ length: outputs * inputs }, random);
    const offset = Float32Array.from({ length: outputs }, random);
    const stored = (data: Float32Array, shape: number[]): Weight => ({
      name: "w",
      shape,
      rows: async (from, to) => data.slice((from * data.length) / outputs, (to * data.length) / outputs),
    });
    const x = vectors(count, inputs);
    x.data.forEach((_, index) => {
      x.data[index] = random();
    });
    const linear = { weight: stored(matrix, [outputs, inputs]), bias: stored(offset, [outputs]) };
    const y = await project(x, linear, new Pace(undefined));
    expect(y.data.length).toBe(count * outputs);
    for (let i = 0; i < count; i += 1) {
      for (let j = 0; j < outputs; j += 1) {
        let sum = offset[j] as number;
        for (let k = 0; k < inputs; k += 1)
          sum += (x.data[i * inputs + k] as number) * (matrix[j * inputs + k] as number);
        expect(Math.abs((y.data[i * outputs + j] as number) - sum)).toBeLessThan(1e-12);
      }
    }
    await expect(
      project(x, { weight: stored(matrix, [outputs, inputs + 1]) }, new Pace(undefined)),
    ).rejects.toThrow(RangeError);
  }
});

test("DeBERTa's buckets are the reference's", () => {
  // transformers 5.23.0, make_log_bucket_position with 256 buckets and 512 positions, then clamped into the table.
  const rules = { span: 256, buckets: 256, maxRelativePositions: 512 };
  const rows = [0, 1, 127, 128, 129, 130, 200, 300, 400, 510, 511, 512, 600].map((distance) => [
    distance,
    relativeRow(distance, rules) - 256,
    relativeRow(-distance, rules) - 256,
  ]);
  expect(rows).toEqual(buckets);
  // Without buckets a distance is its own row, as far as the table goes.
  const plain = { span: 64, buckets: undefined, maxRelativePositions: 64 };
  expect([-70, -64, -3, 0, 5, 63, 64].map((distance) => relativeRow(distance, plain))).toEqual([
    0, 0, 61, 64, 69, 127, 127,
  ]);
});

const buckets = [
  [0, 0, 0],
  [1, 1, -1],
  [127, 127, -127],
  [128, 128, -128],
  [129, 129, -129],
  [130, 130, -130],
  [200, 169, -169],
  [300, 207, -207],
  [400, 233, -233],
  [510, 255, -255],
  [511, 255, -255],
  [512, 255, -256],
  [600, 255, -256],
];

describe("a run", () => {
  const damaged = "bert.encoder.layer.1.output.dense.weight";
  const broken = async (): Promise<ModelFiles> =>
    withTensors(await readFixture("bert-logit"), (tensors) => {
      const tensor = tensors.get(damaged) as StoredTensor;
      const numbers = numbersOf(tensor);
      numbers[7] = Number.NaN;
      tensors.set(damaged, floatTensor(tensor.shape, numbers));
    });

  test("with a weight that is not finite fails, and names it", async () => {
    const reranker = await createReranker({ model: await broken(), backend: sourceBackend(), probe: false });
    const failure = await reranker
      .score([{ query: "tea", document: "leaves" }])
      .catch((error: unknown) => error);
    expect(BackendRunError.isInstance(failure)).toBe(true);
    expect((failure as Error).message).toContain(`tensor ${damaged} holds NaN at 7`);
    expect(ModelProfileError.isInstance((failure as Error).cause)).toBe(true);
  });

  test.each([
    ["a token", [5, 1400], [0, 0], /token 1400, and the model has a vocabulary of 1400/],
    ["a segment", [5, 6], [0, 2], /segment 2, and the model has 2/],
    ["a length", Array(65).fill(5), Array(65).fill(0), /a sequence of 65 tokens, and the model takes 64/],
  ])("of %s that there is not is refused", async (_, ids, segments, message) => {
    const files = filesOf("bert-logit");
    const description = await describeModel(files, (await readProfile(files)).profile);
    await expect(
      forward(description, [{ ids: Int32Array.from(ids), segments: Int32Array.from(segments) }]),
    ).rejects.toThrow(message);
  });

  test("ends within a layer when aborted", async () => {
    const files = filesOf("qwen3-yes-no");
    const description = await describeModel(files, (await readProfile(files)).profile);
    const sequence = { ids: new Int32Array(1000).fill(9), segments: new Int32Array(1000) };
    const [reason, controller] = [new Error("enough"), new AbortController()];
    const started = performance.now();
    const running = forward(description, [sequence, sequence], { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 30);
    await expect(running).rejects.toBe(reason);
    const aborted = performance.now() - started;
    await forward(description, [sequence, sequence]);
    expect(aborted).toBeLessThan((performance.now() - started - aborted) / 2);
  });
});

describe("goldens of the source", () => {
  test.each([
    ...["bert-logit", "deberta-v2-logit", "qwen3-yes-no"],
    ...(isLong ? ["bert-cosine-mean", "modernbert-chain", "qwen3-listwise"] : []),
  ])("%s: the exported graph agrees with them", async (name) => {
    const files = filesOf(name);
    const { profile } = await readProfile(files);
    const progress: number[] = [];
    const goldens = await sourceGoldens(files, profile, undefined, {
      onProgress: ({ completed, total }) => progress.push(completed / total),
    });
    expect(progress.at(-1)).toBe(1);
    const { passed, reason, summary } = await verify({
      model: files,
      backend: onnx({ isolation: "thread", workers: 1, threads: 1 }),
      goldens,
      tolerance,
    });
    expect(reason).toMatch(/all 11 logits are within/);
    expect(passed).toBe(true);
    expect(summary.tokensCompared).toBe(11);
  });

  test("another model's weights do not agree", async () => {
    const files = filesOf("bert-logit");
    const { profile } = await readProfile(files);
    const name = "bert.pooler.dense.bias";
    const other = withTensors(await readFixture("bert-logit"), (tensors) => {
      const tensor = tensors.get(name) as StoredTensor;
      tensors.set(
        name,
        floatTensor(
          tensor.shape,
          numbersOf(tensor).map((value) => value + 0.01),
        ),
      );
    });
    const goldens = await sourceGoldens(other, profile);
    const { passed } = await verify({
      model: files,
      backend: onnx({ isolation: "thread", workers: 1, threads: 1 }),
      goldens,
    });
    expect(passed).toBe(false);
  });

  test("one pair fills a short model, and none a long one", async () => {
    const files = filesOf("bert-logit");
    const { profile } = await readProfile(files);
    const { cases } = await sourceGoldens(files, profile);
    expect(cases.at(-1)?.expected["document-only"]?.truncatedTokens).toBeGreaterThan(20);
    expect(cases.at(-1)?.expected["document-only"]?.ids?.length).toBe(profile.maxLength);
    expect(new Set(defaultPairs(512).map(({ name }) => name)).size).toBe(11);
    const [long, short] = [
      defaultPairs(8192).at(-1)?.document ?? "",
      defaultPairs(512).at(-1)?.document ?? "",
    ];
    expect(long.split(" ").length).toBeLessThan(150);
    expect(short.split(" ").length).toBeGreaterThan(512);
  });

  test("of a listwise model are lists, and only lists", async () => {
    const files = filesOf("qwen3-listwise");
    const { profile } = await readProfile(files);
    const goldens = await sourceGoldens(files, profile, [
      { name: "a", query: "tea", document: "A pot of green tea." },
      { name: "b", query: "tea", document: "The moon is far." },
      { name: "c", query: "moon", document: "The moon is far." },
    ]);
    expect(goldens.cases).toEqual([]);
    expect(goldens.lists?.map(({ name, documents }) => [name, documents.length])).toEqual([
      ["a", 2],
      ["c", 1],
    ]);
    expect(goldens.lists?.flatMap(({ logits }) => logits).every((logit) => typeof logit === "number")).toBe(
      true,
    );
  });

  test("own pairs, and an abort", async () => {
    const files = filesOf("bert-logit");
    const { profile } = await readProfile(files);
    const pairs = [{ name: "mine", query: "tea", document: "A pot of green tea." }];
    const goldens = await sourceGoldens(files, profile, pairs);
    expect(goldens.cases.map(({ name }) => name)).toEqual(["mine"]);
    expect(goldens.reference).toMatchObject({ dtype: "float64" });
    const reason = new Error("enough");
    await expect(sourceGoldens(files, profile, pairs, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
  });
});

test("a session can be shared", async () => {
  const loaded = await loadModel({ model: filesOf("bert-logit"), backend: sourceBackend() });
  const [first, second] = [
    await loaded.createReranker(),
    await loaded.createReranker({ truncation: "longest-first" }),
  ];
  const pair = { query: "tea", document: "leaves" };
  const [a, b] = [await first.score([pair]), await second.score([pair])];
  expect(a.scores[0]?.logit).toBe(b.scores[0]?.logit);
  await loaded.dispose();
});
