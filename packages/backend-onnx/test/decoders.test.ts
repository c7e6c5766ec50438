import { ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { type OnnxOptions, onnx } from "@crossrank/backend-onnx";
import {
  type BackendSession,
  IncompatibleModelError,
  InvalidInputError,
  type RawOutput,
} from "@crossrank/core";
import { Tensor } from "onnxruntime-node";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { gather } from "../src/gather.js";
import { fixture, type Golden, load, makeBatch, rejection } from "./fixtures.js";

const goldens = JSON.parse(await readFile(`${fixture("decoder")}/goldens.json`, "utf8")) as {
  tokens: number[];
  markers: number[];
  sequences: Golden[];
};
const { sequences } = goldens;
const width = 32;

async function loadGraph(
  name: string,
  request: Parameters<typeof load>[2] = {},
  options: OnnxOptions = {},
): Promise<BackendSession> {
  const backend = onnx({
    file: `onnx/${name}.onnx`,
    // What is computed; a process gives the same numbers, as the conformance suite finds.
    ...{ workers: 1, threads: 1, isolation: "thread" },
    ...options,
  });
  const session = await load(backend, fixture("decoder"), {
    kinds: ["token-logits"],
    tokens: goldens.tokens,
    ...request,
  });
  onTestFinished(() => session.dispose());
  return session;
}

function expectLogits(output: RawOutput, rows: readonly Golden[], tolerance: number): void {
  expect(output.kind).toBe("token-logits");
  expect(output.shape[1]).toBe(goldens.tokens.length);
  // All that crossed the thread boundary.
  expect(output.data.buffer.byteLength).toBe((output.shape[0] ?? 0) * goldens.tokens.length * 4);
  for (const [row, { tokenLogits = [] }] of rows.entries()) {
    for (const [index, expected] of tokenLogits.entries()) {
      const actual = output.data[row * goldens.tokens.length + index] ?? Number.NaN;
      expect(Math.abs(actual - expected), `row ${row}, token ${index}: ${actual}`).toBeLessThan(tolerance);
    }
  }
}

describe("logits of the answer tokens equal numpy's", () => {
  test.each([
    ["model", "with position ids and an empty cache", 1e-4],
    ["model_fp16", "with an empty cache in half precision", 2e-2],
    ["fused", "with GroupQueryAttention", 1e-4],
    ["merged", "of a merged decoder, without its cache", 1e-4],
    ["keep", "that computes them for some columns", 1e-4],
    ["last", "that gives the last column, without a dimension for it", 1e-4],
    ["one", "that gives the last column", 1e-4],
  ])("%s: a graph %s", async (name, _, tolerance) => {
    const session = await loadGraph(name);
    expect(session.capabilities.output).toBe("token-logits");
    for (const sequence of sequences) {
      expectLogits(await session.run(makeBatch([sequence])), [sequence], tolerance);
    }
    // In one padded batch, in any order, beside a padding row.
    for (const order of [sequences, sequences.toReversed()]) {
      const output = await session.run(makeBatch(order, { rows: order.length + 1, columns: 20 }));
      expect(output.shape).toEqual([order.length + 1, 2]);
      expectLogits(output, order, tolerance);
    }
    const [same] = sequences as [Golden];
    expectLogits(await session.run(makeBatch([same, same, same])), [same, same, same], tolerance);
  });

  test("of one token, or of many, in the order asked for", async () => {
    const [golden] = sequences as [Golden];
    const [first = 0, second = 0] = goldens.tokens;
    const [one = 0, two = 0] = golden.tokenLogits ?? [];
    const session = await loadGraph("model", { tokens: [second] });
    const alone = await session.run(makeBatch([golden]));
    expect(alone.shape).toEqual([1, 1]);
    expect(alone.data[0]).toBeCloseTo(two, 4);
    const many = await loadGraph("model", { tokens: [second, first, second] });
    const output = await many.run(makeBatch([golden]));
    expect(output.shape).toEqual([1, 3]);
    [two, one, two].forEach((expected, index) => {
      expect(output.data[index]).toBeCloseTo(expected, 4);
    });
  });

  test("in a fixed shape, whose padding rows are zeros", async () => {
    const session = await loadGraph("fixed");
    expect(session.capabilities).toMatchObject({ batchSize: { exactly: 3 }, sequenceLengths: [16] });
    const rows = sequences.slice(1, 3);
    const output = await session.run(makeBatch(rows, { rows: 3, columns: 16 }));
    expectLogits(output, rows, 1e-4);
    expect([...output.data.slice(4)]).toEqual([0, 0]);
  });

  test.each([true, false])(
    "for 64 rows: what leaves the process does not grow with length or vocabulary (sharePrefix: %s)",
    async (sharePrefix) => {
      const rows = Array.from({ length: 64 }, (_, index) => sequences[index % sequences.length] as Golden);
      const session = await loadGraph("model", {}, { sharePrefix, isolation: "process" });
      const spy = vi.spyOn(ChildProcess.prototype, "emit");
      onTestFinished(() => spy.mockRestore());
      expectLogits(await session.run(makeBatch(rows)), rows, 1e-4);
      const events = spy.mock.calls as unknown as (readonly [event: string, message: unknown])[];
      const bytes = events
        .filter(([event]) => event === "message")
        .map(([, message]) => (message as { result: { data: Float32Array } }).result.data.byteLength);
      expect(bytes.length > 1).toBe(sharePrefix);
      expect(bytes.reduce((sum, size) => sum + size, 0)).toBe(64 * goldens.tokens.length * 4);
    },
  );
});

describe("batches", () => {
  test.each([
    ["model", { rows: 8, tokens: 65_536, padding: 1 }],
    ["merged", { rows: 8, tokens: 256, padding: 0.05 }],
    ["keep", { rows: 8, tokens: 256, padding: 0.05 }],
    ["last", { rows: 8, tokens: 256, padding: 0 }],
    ["one", { rows: 8, tokens: 256, padding: 0 }],
  ])("%s: %j", async (name, preference) => {
    expect((await loadGraph(name)).capabilities.batchPreference).toEqual(preference);
  });

  test("of a decoder come out alike, however they are cut", async () => {
    const session = await loadGraph("fused");
    const together = await session.run(makeBatch(sequences));
    for (const [row, sequence] of sequences.entries()) {
      const alone = await session.run(makeBatch([sequence]));
      for (const index of goldens.tokens.keys()) {
        const other = together.data[row * goldens.tokens.length + index] ?? Number.NaN;
        expect(Math.abs((alone.data[index] ?? Number.NaN) - other)).toBeLessThan(1e-5);
      }
    }
  });
});

describe("states at markers", () => {
  function expectMarks(output: RawOutput, rows: readonly Golden[]): void {
    expect(output.kind).toBe("marked-states");
    const most = Math.max(...rows.map(({ markedStates = [] }) => markedStates.length));
    expect(output.shape.slice(1)).toEqual([most, width]);
    expect(output.data.buffer.byteLength).toBe((output.shape[0] ?? 0) * most * width * 4);
    for (const [row, { markedStates = [] }] of rows.entries()) {
      for (let mark = 0; mark < most; mark += 1) {
        const start = (row * most + mark) * width;
        const states = output.data.subarray(start, start + width);
        const expected = markedStates[mark] ?? new Array<number>(width).fill(0);
        const difference = Math.max(
          ...expected.map((value, index) => Math.abs(value - (states[index] as number))),
        );
        expect(difference, `row ${row}, mark ${mark}`).toBeLessThan(1e-4);
      }
    }
  }

  const request = { kinds: ["marked-states"] as const, tokens: goldens.markers };

  test("equal numpy's, zero-filled to the row with most", async () => {
    const session = await loadGraph("states", request);
    expect(sequences.map(({ markedStates = [] }) => markedStates.length)).toEqual([0, 1, 2, 3, 4, 4]);
    for (const sequence of sequences.slice(1)) {
      expectMarks(await session.run(makeBatch([sequence])), [sequence]);
    }
    expectMarks(await session.run(makeBatch(sequences, { rows: 8, columns: 20 })), sequences);
  });

  test("are none where there is no marker", async () => {
    const session = await loadGraph("states", request);
    const output = await session.run(makeBatch(sequences.slice(0, 1)));
    expect(output.shape).toEqual([1, 0, width]);
    expect(output.data).toHaveLength(0);
  });

  test("of padding are left out, whatever the padding id", async () => {
    const session = await loadGraph("states", request);
    const batch = makeBatch(sequences.slice(1, 2), { columns: 12 });
    batch.inputIds.fill(goldens.markers[0] ?? 0, batch.lengths[0]);
    expectMarks(await session.run(batch), sequences.slice(1, 2));
  });

  test("of one marker only", async () => {
    const session = await loadGraph("states", { ...request, tokens: goldens.markers.slice(1) });
    const [sequence] = sequences.slice(3, 4) as [Golden];
    const second = sequence.inputIds
      .filter((id) => goldens.markers.includes(id))
      .indexOf(goldens.markers[1] ?? 0);
    const output = await session.run(makeBatch([sequence]));
    expect(output.shape).toEqual([1, 1, width]);
    sequence.markedStates?.[second]?.forEach((value, index) => {
      expect(output.data[index]).toBeCloseTo(value, 4);
    });
  });

  test("are refused from a graph that gives logits only", async () => {
    expect(await rejection(loadGraph("model", request))).toBeInstanceOf(IncompatibleModelError);
  });
});

describe("refused", () => {
  test("tokens beyond the graph's vocabulary", async () => {
    const error = await rejection(loadGraph("model", { tokens: [5, 9693] }));
    expect(error).toMatchObject({ code: "model-load", file: "onnx/model.onnx" });
    expect(error.message).toMatch(/"logits" has 96 logits a token, and the answer tokens are 5, 9693/);
  });

  test.each<[readonly number[]]>([[[]], [[-1]], [[1.5]]])("tokens %j", async (tokens) => {
    expect(await rejection(loadGraph("model", { tokens }))).toBeInstanceOf(InvalidInputError);
  });

  test("class logits from a language model", async () => {
    const error = await rejection(loadGraph("model", { kinds: ["class-logits"] }));
    expect(error).toBeInstanceOf(IncompatibleModelError);
    expect(error.message).toContain("logits float32[batch_size, sequence_length, 96]");
  });

  test("an output that holds fewer columns than it declares, where rows end before them", () => {
    const output = new Tensor("float32", Float32Array.from({ length: 4 }), [1, 1, 4]);
    const plan = { name: "logits", kind: "token-logits", tokens: [2], unpadded: false } as const;
    const argument = (columns: number, lengths: number[]) => ({
      plan: { inputs: [], output: plan, rows: undefined, columns: undefined },
      rows: lengths.length,
      columns,
      arrays: { inputIds: new Int32Array(columns), attentionMask: new Int32Array(columns) },
      lengths: Int32Array.from(lengths),
    });
    expect(gather(output, plan, argument(5, [5]), undefined).shape).toEqual([1, 1]);
    expect(() => gather(output, plan, argument(5, [4]), undefined)).toThrow(
      /has the last 1 of 5 columns, and row 0 ends before them/,
    );
    // Neither every column nor what was asked for.
    for (const wrong of [
      new Tensor("float32", new Float32Array(12), [1, 3, 4]),
      new Tensor("float32", new Float32Array(40), [2, 5, 4]),
      new Tensor("float32", new Float32Array(4), [4]),
    ]) {
      expect(() => gather(wrong, plan, argument(5, [5]), 2)).toThrow(
        /has shape \[.*\] for 1 rows of 5 tokens/,
      );
    }
    const small = new Tensor("float32", new Float32Array(10), [1, 5, 2]);
    expect(() => gather(small, plan, argument(5, [5]), undefined)).toThrow(
      /2 logits a token; there is none for 2/,
    );
  });
});
