import { onnx } from "@crossrank/backend-onnx";
import {
  BackendRunError,
  type BackendSession,
  type Head,
  type ModelProfile,
  type RawOutput,
} from "@crossrank/core";
import { describe, expect, onTestFinished, test } from "vitest";
import { float16ToFloat32 } from "../src/float16.js";
import { fixture, type Golden, load, makeBatch, profile, readGoldens, rejection } from "./fixtures.js";

async function loadFixture(
  name: string,
  kinds?: Parameters<typeof load>[2],
): Promise<{ session: BackendSession; goldens: readonly Golden[] }> {
  const session = await load(onnx({ isolation: "thread", workers: 1, threads: 1 }), fixture(name), kinds);
  onTestFinished(() => session.dispose());
  return { session, goldens: await readGoldens(name) };
}

function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  return Math.max(
    0,
    ...Array.from(actual, (value, index) => Math.abs(value - (expected[index] ?? Number.NaN))),
  );
}

function rowOf({ data, shape }: RawOutput, row: number): Float32Array {
  const size = data.length / (shape[0] ?? 1);
  return data.slice(row * size, (row + 1) * size);
}

describe("class logits equal Python's onnxruntime", () => {
  test.each([
    ["cross-encoder", true, 1e-4],
    ["cross-encoder-int32", false, 1e-4],
    ["cross-encoder-positions", true, 1e-4],
    ["cross-encoder-external", true, 1e-4],
    ["cross-encoder-two-class", true, 1e-4],
    // Half precision: both read the same halves, at most one unit in the last place apart.
    ["cross-encoder-fp16", true, 5e-3],
  ])("%s", async (name, segmentIds, tolerance) => {
    const { session, goldens } = await loadFixture(name);
    expect(session.capabilities.output).toBe("class-logits");
    expect(session.capabilities.segmentIds).toBe(segmentIds);
    for (const golden of goldens) {
      const output = await session.run(makeBatch([golden]));
      expect(output.kind).toBe("class-logits");
      expect(output.data).toBeInstanceOf(Float32Array);
      expect(output.shape).toEqual([1, golden.logits?.length]);
      expect(largestDifference(output.data, golden.logits ?? [])).toBeLessThan(tolerance);
    }
  });

  test("in one padded batch, beside a padding row", async () => {
    const { session, goldens } = await loadFixture("cross-encoder");
    const output = await session.run(makeBatch(goldens, { rows: goldens.length + 1, columns: 64 }));
    expect(output.shape).toEqual([goldens.length + 1, 1]);
    goldens.forEach((golden, row) => {
      expect(largestDifference(rowOf(output, row), golden.logits ?? [])).toBeLessThan(1e-4);
    });
    expect(output.data.every(Number.isFinite)).toBe(true);
  });

  test("position ids in a padded batch", async () => {
    const { session, goldens } = await loadFixture("cross-encoder-positions");
    const output = await session.run(makeBatch(goldens));
    goldens.forEach((golden, row) => {
      expect(largestDifference(rowOf(output, row), golden.logits ?? [])).toBeLessThan(1e-4);
    });
  });
});

test("a fixed shape is declared, and scored right in it", async () => {
  const { session, goldens } = await loadFixture("cross-encoder-static");
  expect(session.capabilities).toMatchObject({
    batchSize: { exactly: 4 },
    sequenceLengths: [32],
    maxSequenceLength: 32,
    batchPreference: { rows: 4 },
  });
  const output = await session.run(makeBatch(goldens.slice(0, 3), { rows: 4, columns: 32 }));
  expect(output.shape).toEqual([4, 1]);
  for (const row of [0, 1, 2]) {
    expect(largestDifference(rowOf(output, row), goldens[row]?.logits ?? [])).toBeLessThan(1e-4);
  }
});

test("a batch of another shape than the fixed one is the backend's error, and the session lives on", async () => {
  const { session, goldens } = await loadFixture("cross-encoder-static");
  await expect(session.run(makeBatch(goldens.slice(0, 1)))).rejects.toThrow(BackendRunError);
  const output = await session.run(makeBatch(goldens.slice(0, 1), { rows: 4, columns: 32 }));
  expect(output.shape).toEqual([4, 1]);
});

test("hidden states of every token", async () => {
  const { session, goldens } = await loadFixture("bi-encoder", { kinds: ["pooled", "hidden-states"] });
  expect(session.capabilities.output).toBe("hidden-states");
  for (const golden of goldens) {
    const output = await session.run(makeBatch([golden]));
    expect(output.kind).toBe("hidden-states");
    expect(output.shape).toEqual([1, golden.inputIds.length, 32]);
    expect(largestDifference(output.data, golden.hiddenStates?.flat() ?? [])).toBeLessThan(1e-4);
  }
});

test("a pooled vector where the graph pools, token vectors where they are asked for", async () => {
  const { session, goldens } = await loadFixture("bi-encoder-pooled", {
    kinds: ["pooled", "hidden-states"],
    profile: biEncoder({}),
  });
  expect(session.capabilities.output).toBe("pooled");
  const output = await session.run(makeBatch(goldens));
  expect(output.shape).toEqual([goldens.length, 32]);
  goldens.forEach((golden, row) => {
    expect(largestDifference(rowOf(output, row), golden.pooled ?? [])).toBeLessThan(1e-4);
  });
  const tokens = await loadFixture("bi-encoder-pooled", { kinds: ["hidden-states"] });
  expect((await tokens.session.run(makeBatch(goldens.slice(0, 1)))).shape).toHaveLength(3);
});

function biEncoder(facts: Partial<Extract<Head, { kind: "cosine" }>>): ModelProfile {
  return { ...profile, family: "bi-encoder", head: { kind: "cosine", pooling: "mean", ...facts } };
}

test("token vectors where modules follow the pooling: sentence_embedding is what they give", async () => {
  const modules = [
    { kind: "dense", file: "2_Dense/model.safetensors", weight: "w", activation: "tanh" },
  ] as const;
  const { session, goldens } = await loadFixture("bi-encoder-pooled", {
    kinds: ["pooled", "hidden-states"],
    profile: biEncoder({ modules }),
  });
  expect(session.capabilities.output).toBe("hidden-states");
  const output = await session.run(makeBatch(goldens.slice(0, 1)));
  expect(output.shape).toEqual([1, goldens[0]?.inputIds.length, 32]);
});

test("a vector pooled from the last token comes from a row without padding", async () => {
  // This graph takes the mean; what counts is that the rows of a padded batch come out as alone, each in its place.
  const { session, goldens } = await loadFixture("bi-encoder-pooled", {
    kinds: ["pooled"],
    profile: biEncoder({ pooling: "last-token" }),
  });
  expect(session.capabilities).toMatchObject({ output: "pooled", batchPreference: { padding: 0 } });
  const output = await session.run(makeBatch(goldens, { rows: goldens.length + 1, columns: 40 }));
  expect(output.shape).toEqual([goldens.length + 1, 32]);
  for (const [row, golden] of goldens.entries()) {
    const alone = await session.run(makeBatch([golden]));
    expect(largestDifference(rowOf(output, row), alone.data)).toBeLessThan(1e-6);
    expect(largestDifference(alone.data, golden.pooled ?? [])).toBeLessThan(1e-4);
  }
});

test("a batch that was run before is refused: its arrays are gone", async () => {
  const { session, goldens } = await loadFixture("cross-encoder");
  const batch = makeBatch(goldens);
  await session.run(batch);
  const error = await rejection(session.run(batch));
  expect(error).toBeInstanceOf(BackendRunError);
  expect(error.message).toContain("a batch can be run once");
});

test("NaN comes through, for its own row only", async () => {
  const { session, goldens } = await loadFixture("cross-encoder-nan");
  const poison = JSON.parse(
    await (await import("node:fs/promises")).readFile(
      `${fixture("cross-encoder-nan")}/tokenizer.json`,
      "utf8",
    ),
  ).model.vocab.poison as number;
  const [first, second] = goldens as [Golden, Golden];
  const poisoned = { ...second, inputIds: second.inputIds.map((id, index) => (index === 1 ? poison : id)) };
  const output = await session.run(makeBatch([first, poisoned, second]));
  expect(output.data[1]).toBeNaN();
  expect(largestDifference(rowOf(output, 0), first.logits ?? [])).toBeLessThan(1e-4);
  expect(largestDifference(rowOf(output, 2), second.logits ?? [])).toBeLessThan(1e-4);
});

test("arrays that are views of one buffer, or one array twice, are read rightly", async () => {
  const { session, goldens } = await loadFixture("cross-encoder");
  const [golden] = goldens as [Golden];
  const batch = makeBatch([golden]);
  const size = batch.columns;
  const whole = Int32Array.of(...batch.inputIds, ...batch.attentionMask, ...batch.segmentIds);
  const output = await session.run({
    ...batch,
    inputIds: whole.subarray(0, size),
    attentionMask: whole.subarray(size, 2 * size),
    segmentIds: whole.subarray(2 * size),
  });
  expect(largestDifference(output.data, golden.logits ?? [])).toBeLessThan(1e-4);
  expect(whole).toHaveLength(3 * size);

  const ones = new Int32Array(size).fill(1);
  const twice = await session.run({
    ...batch,
    inputIds: Int32Array.from(golden.inputIds),
    attentionMask: ones,
    segmentIds: ones,
  });
  const once = await session.run({
    ...makeBatch([golden]),
    segmentIds: new Int32Array(size).fill(1),
  });
  expect(twice.data).toEqual(once.data);
});

test("every kind of half becomes the float32 of the same value", () => {
  const bits = Uint16Array.of(
    0x0000,
    0x8000,
    0x3c00,
    0xc000,
    0x7bff,
    0x0001,
    0x03ff,
    0x0400,
    0x3555,
    0x7c00,
    0xfc00,
    0x7e00,
  );
  expect([...float16ToFloat32(bits)]).toEqual([
    0,
    -0,
    1,
    -2,
    65504,
    2 ** -24,
    1023 * 2 ** -24,
    2 ** -14,
    0.333251953125,
    Infinity,
    -Infinity,
    NaN,
  ]);
});
