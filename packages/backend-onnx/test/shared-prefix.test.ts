import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type OnnxOptions, onnx } from "@crossrank/backend-onnx";
import { type BackendSession, ModelLoadError, type RawOutput } from "@crossrank/core";
import { type GoldenScore, readGoldens } from "@crossrank/core/verify";
import * as ort from "onnxruntime-node";
import { describe, expect, onTestFinished, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import type { GraphPlan, Sharing } from "../src/graph-plan.js";
import { KeptPasts } from "../src/kept-pasts.js";
import { runBatch } from "../src/run-batch.js";
import { argumentFor, shareRows } from "../src/shared-rows.js";
import { fixture, type Golden, load, makeBatch, rejection, temporaryFolder } from "./fixtures.js";
import { folderFiles } from "./folder-files.js";
import { type Dimension, folderOf, type Graph, type Node } from "./graphs.js";

const exports = fixture("decoder-exports");
const source = fileURLToPath(new URL("../../conformance/fixtures/qwen3-yes-no", import.meta.url));

/** "yes" and "no" of the conformance fixture. */
async function answersOf(): Promise<[number, number]> {
  const text = await readFile(join(source, "1_LogitScore/config.json"), "utf8");
  const { true_token_id: yes, false_token_id: no } = JSON.parse(text);
  return [yes, no];
}

const answers = await answersOf();
const every = ((await readGoldens(folderFiles(source)))?.cases ?? [])
  .flatMap(({ expected }) => Object.values(expected))
  .filter((score): score is Required<GoldenScore> => typeof score?.logit === "number");
const golden = sampleOf(every, { name: "shared prefix", every: 4 });
const pairs: readonly Golden[] = golden.map(({ ids }) => ({
  inputIds: ids ?? [],
  segmentIds: (ids ?? []).map(() => 0),
}));

async function open(
  folder: string,
  file: string,
  options: OnnxOptions & { tokens?: readonly number[] } = {},
): Promise<BackendSession> {
  const { tokens = answers, ...others } = options;
  const backend = onnx({ file, workers: 1, threads: 1, isolation: "thread", ...others });
  const session = await load(backend, folder, { kinds: ["token-logits"], tokens });
  onTestFinished(() => session.dispose());
  return session;
}

/** yes − no of each pair, in batches of so many. */
async function logitsOf(session: BackendSession, rows: readonly Golden[], size: number): Promise<number[]> {
  const logits: number[] = [];
  for (let start = 0; start < rows.length; start += size) {
    const part = rows.slice(start, start + size);
    // A padding row beside them.
    const { data } = await session.run(makeBatch(part, { rows: part.length + 1 }));
    for (const row of part.keys())
      logits.push((data[2 * row] ?? Number.NaN) - (data[2 * row + 1] ?? Number.NaN));
  }
  return logits;
}

function farthest(one: readonly number[], other: readonly number[]): number {
  expect(one).toHaveLength(other.length);
  return Math.max(...one.map((logit, index) => Math.abs(logit - (other[index] ?? Number.NaN))));
}

describe("exports of the world's tools, on the conformance fixture's golden pairs", () => {
  test.each([
    ["optimum", 1e-4, 1e-4],
    ["builder", 1e-4, 1e-4],
    ["builder_int4", 1e-4, Number.POSITIVE_INFINITY],
    // Halves of logits near 10 lie 8e-3 apart, and the answer is a difference of two.
    ["builder_fp16", 4e-2, 4e-2],
  ])("%s: shared and whole are alike", async (name, toWhole, toGolden) => {
    const file = `onnx/${name}.onnx`;
    const shared = await open(exports, file);
    const whole = await open(exports, file, { sharePrefix: false });
    expect(shared.settings["sharePrefix"]).toBe("true");
    expect(whole.settings["sharePrefix"]).toBeUndefined();
    expect(pairs.length).toBeGreaterThan(20);
    const expected = await logitsOf(whole, pairs, 8);
    for (const size of [8, 3]) {
      const logits = await logitsOf(shared, pairs, size);
      expect(farthest(logits, expected), `to the whole, by ${size}`).toBeLessThan(toWhole);
      expect(
        farthest(
          logits,
          golden.map(({ logit }) => logit ?? Number.NaN),
        ),
        "to transformers",
      ).toBeLessThan(toGolden);
    }
  });

  test("activations that are quantised together: whole, unless it is asked for", async () => {
    const file = "onnx/optimum_int8.onnx";
    const usual = await open(exports, file);
    expect(usual.settings["sharePrefix"]).toBeUndefined();
    expect(usual.capabilities.batchPreference.rows).toBe(1);
    const asked = await open(exports, file, { sharePrefix: true });
    expect(asked.settings["sharePrefix"]).toBe("true");
    const few = pairs.slice(0, 8);
    const moved = farthest(await logitsOf(asked, few, 8), await logitsOf(usual, few, 8));
    // Another range of numbers is rounded: no fault, and no rounding of float32.
    expect(moved).toBeGreaterThan(1e-4);
    expect(moved).toBeLessThan(1);
  });

  test("a key's size that is in config.json alone", async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "onnx"));
    await copyFile(join(exports, "onnx/builder.onnx"), join(folder, "onnx/builder.onnx"));
    const refused = await rejection(open(folder, "onnx/builder.onnx"));
    expect(refused).toMatchObject({ code: "model-load" });
    expect(refused.message).toMatch(/does not declare how large it is.*head_dim/s);
    for (const head_dim of [-4, 1e300, "16"]) {
      await writeFile(join(folder, "config.json"), JSON.stringify({ head_dim }));
      expect(await rejection(open(folder, "onnx/builder.onnx"))).toBeInstanceOf(ModelLoadError);
    }
    // Another one than the graph's: ONNX Runtime says so, in the trial or when it runs.
    await writeFile(join(folder, "config.json"), JSON.stringify({ head_dim: 32 }));
    const session = await open(folder, "onnx/builder.onnx");
    expect(session.settings["sharePrefix"]).toBeUndefined();
    expect(await rejection(session.run(makeBatch(pairs.slice(0, 1))))).toMatchObject({ code: "backend-run" });
  });

  test("rotations that depend on the length are computed whole", async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "onnx"));
    await copyFile(join(exports, "onnx/optimum.onnx"), join(folder, "onnx/optimum.onnx"));
    for (const config of [
      { rope_scaling: { type: "longrope" } },
      { rope_parameters: { full_attention: { rope_type: "dynamic" } } },
    ]) {
      await writeFile(join(folder, "config.json"), JSON.stringify(config));
      expect((await open(folder, "onnx/optimum.onnx")).settings["sharePrefix"]).toBeUndefined();
      const error = await rejection(open(folder, "onnx/optimum.onnx", { sharePrefix: true }));
      expect(error).toBeInstanceOf(ModelLoadError);
      expect(error.message).toMatch(/depend on how long/);
    }
  });

  test("an abort is heard between the parts of a batch", async () => {
    const session = await open(exports, "onnx/builder.onnx");
    expect(session.capabilities.cancelsWithinBatch).toBe(true);
    const stop = new AbortController();
    const run = session.run(makeBatch(pairs.slice(0, 40)), { signal: stop.signal });
    stop.abort(new Error("enough"));
    expect((await rejection(run)).message).toBe("enough");
    expect((await session.run(makeBatch(pairs.slice(0, 2)))).shape).toEqual([2, 2]);
  });
});

test.each(["model", "fused", "model_fp16"])("%s: what is computed, and how often", async (name) => {
  const session = await ort.InferenceSession.create(join(fixture("decoder"), `onnx/${name}.onnx`));
  const ran: number[][] = [];
  const counting: Pick<ort.InferenceSession, "run"> = {
    run: ((feeds: ort.InferenceSession.FeedsType, outputs: string[]) => {
      ran.push([...(feeds["input_ids"] as ort.Tensor).dims]);
      return session.run(feeds, outputs);
    }) as ort.InferenceSession["run"],
  };
  const plan = planOf(session);
  const shared = Array.from({ length: 12 }, (_, index) => 3 + index);
  const rows = [[1], [2, 9], [40, 41, 42]].map((rest) => ({
    inputIds: [...shared, ...rest],
    segmentIds: [],
  }));
  const batch = makeBatch(rows);
  const pasts = new KeptPasts();
  const found: number[] = [];
  for (const row of rows.keys()) {
    const argument = argumentFor({ rows: [row], shared: 12 }, batch, plan);
    found.push(...(await runBatch(ort, counting, argument, pasts)).data);
  }
  expect(ran).toEqual([
    [1, 12],
    [1, 1],
    [1, 2],
    [1, 3],
  ]);
  const whole = await runBatch(ort, session, argumentFor({ rows: [0, 1, 2], shared: 0 }, batch, plan));
  expect(farthest(found, [...whole.data])).toBeLessThan(name === "model_fp16" ? 2e-2 : 1e-5);
  await session.release();
});

/** As loading plans it, of a graph whose names and sizes are known. */
function planOf(session: ort.InferenceSession): GraphPlan {
  const inputs = session.inputMetadata.map(({ name, ...tensor }) => {
    if (name.startsWith("past_key_values.")) {
      const { type, shape } = tensor as { type: "float32" | "float16"; shape: readonly number[] };
      return { name, source: "past", type, heads: shape[1] as number, size: shape[3] as number } as const;
    }
    const sources = {
      input_ids: "inputIds",
      attention_mask: "attentionMask",
      position_ids: "positions",
    } as const;
    return { name, source: sources[name as keyof typeof sources], type: "int64" } as const;
  });
  const pasts = inputs.filter(({ source: kind }) => kind === "past").map(({ name }) => name);
  const presents = Object.fromEntries(
    pasts.map((name) => [name, name.replace("past_key_values", "present")]),
  );
  return {
    inputs,
    output: { name: "logits", kind: "token-logits", tokens: [17, 5], unpadded: false },
    rows: undefined,
    columns: undefined,
    sharing: { ...room, presents },
  };
}

const room: Sharing = {
  presents: {},
  tokenBytes: 1000,
  mostTokens: 100,
  mostRests: 8,
  together: { rows: 8, tokens: 256, padding: 0.05 },
};

describe("what rows share", () => {
  const share = (rows: readonly (readonly number[])[], sharing: Partial<Sharing> = {}) =>
    shareRows(makeBatch(rows.map((inputIds) => ({ inputIds, segmentIds: [] }))), { ...room, ...sharing });
  const prompt = Array.from({ length: 20 }, (_, index) => index + 100);
  const other = Array.from({ length: 20 }, (_, index) => index + 200);

  test("is all that they have in common, less one token of the shortest", () => {
    expect(
      share([
        [...prompt, 1],
        [...prompt, 2],
      ]),
    ).toEqual([{ rows: [0, 1], shared: 20 }]);
    expect(share([prompt, prompt])).toEqual([{ rows: [0, 1], shared: 19 }]);
    // An empty document, whose row is the beginning of the others.
    expect(share([[...prompt, 1, 2], prompt])).toEqual([
      { rows: [0], shared: 19 },
      { rows: [1], shared: 19 },
    ]);
    expect(
      share(
        [
          [...prompt, 1],
          [...prompt, 2],
        ],
        { mostTokens: 16 },
      ),
    ).toEqual([{ rows: [0, 1], shared: 16 }]);
    expect(
      share(
        [
          [...prompt, 1],
          [...prompt, 2],
        ],
        { mostRests: 1 },
      ),
    ).toHaveLength(2);
    // Copies of the beginning for each row of a run are bounded, too.
    expect(
      share(
        [
          [...prompt, 1],
          [...prompt, 2],
        ],
        { tokenBytes: 256e6 / 30 },
      ),
    ).toHaveLength(2);
  });

  test("is nothing of one row, of rows that begin differently, or of too few tokens", () => {
    expect(share([prompt])).toEqual([{ rows: [0], shared: 0 }]);
    expect(share([[], prompt, []])).toEqual([{ rows: [1], shared: 0 }]);
    expect(share([[], []])).toEqual([]);
    expect(share([prompt, other])).toEqual([{ rows: [0, 1], shared: 0 }]);
    expect(
      share([
        [...prompt.slice(0, 7), 1],
        [...prompt.slice(0, 7), 2],
      ]),
    ).toEqual([{ rows: [0, 1], shared: 0 }]);
    expect(share([[7], [7], [8]])).toEqual([{ rows: [0, 1, 2], shared: 0 }]);
  });

  test("goes by queries where a batch has several", () => {
    const rows = [1, 2, 3].flatMap((document) => [
      [...prompt, ...other, document],
      [...prompt, 9, ...other, document],
    ]);
    const parts = share([...rows, other]);
    expect(parts).toEqual([
      { rows: [1, 3, 5], shared: 41 },
      { rows: [0, 2, 4], shared: 40 },
      { rows: [6], shared: 0 },
    ]);
  });

  test("is the same tokens in each row of a part, and every row is in one", () => {
    let state = 7;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let round = 0; round < 200; round += 1) {
      const rows = Array.from({ length: 1 + random(24) }, () => [
        ...prompt.slice(0, random(21)),
        ...other.slice(0, random(21)),
        ...Array.from({ length: random(5) }, () => random(2)),
      ]);
      const parts = share(rows, { mostTokens: 8 + random(40), mostRests: 1 + random(8) });
      const filled = [...rows.keys()].filter((row) => (rows[row]?.length ?? 0) > 0);
      expect(parts.flatMap((part) => part.rows).sort((a, b) => a - b)).toEqual(filled);
      for (const part of parts) {
        const beginnings = new Set(part.rows.map((row) => rows[row]?.slice(0, part.shared).join(" ")));
        expect(beginnings.size).toBe(1);
        for (const row of part.rows) expect(part.shared).toBeLessThan(rows[row]?.length ?? 0);
      }
    }
  });

  test("ends with thousands of rows that each share one token more", () => {
    const stairs = Array.from({ length: 3000 }, (_, row) => [
      ...new Array<number>(row % 300).fill(1),
      2,
      row,
    ]);
    expect(share(stairs).flatMap(({ rows }) => rows)).toHaveLength(3000);
  });
});

/**
 * A decoder that sums up the ids that it sees: its cache holds ids.
 *
 * @param present nodes that make `present.0.key` of `all`, the keys so far.
 * @param summed what is summed up: all keys, or those of this run alone.
 */
function summing(
  present: readonly Node[] = [{ operator: "Identity", inputs: ["all"], outputs: ["present.0.key"] }],
  summed: "all" | "key" = "all",
): Graph {
  const tensor = (part: string): { name: string; shape: readonly Dimension[]; type: bigint } => ({
    name: `past_key_values.0.${part}`,
    shape: ["batch", 1, "past", 1],
    type: 1n,
  });
  const to = (
    operator: string,
    inputs: readonly string[],
    output: string,
    attributes: Node["attributes"] = [],
  ): Node => ({
    operator,
    inputs,
    outputs: [output],
    attributes,
  });
  const float = [{ name: "to", value: 1n }];
  return {
    inputs: [
      { name: "input_ids", shape: ["batch", "sequence"] },
      { name: "attention_mask", shape: ["batch", "total"] },
      tensor("key"),
      tensor("value"),
    ],
    constants: [
      { name: "outer", dims: [2n], values: [1n, 3n] },
      { name: "one", dims: [1n], values: [1n] },
      { name: "two", dims: [1n], values: [2n] },
      { name: "vocabulary", dims: [64n], values: Array.from({ length: 64 }, (_, token) => BigInt(token)) },
      { name: "minus eight", dims: [1n], values: [-8n] },
      { name: "end", dims: [1n], values: [1n << 40n] },
    ],
    nodes: [
      to("Cast", ["input_ids"], "ids", float),
      to("Cast", ["attention_mask"], "mask", float),
      to("Cast", ["vocabulary"], "factors", float),
      to("Unsqueeze", ["ids", "outer"], "key"),
      to("Concat", ["past_key_values.0.key", "key"], "all", [{ name: "axis", value: 2n }]),
      to("Concat", ["past_key_values.0.value", "key"], "present.0.value", [{ name: "axis", value: 2n }]),
      ...present,
      to("Squeeze", [summed, "outer"], "flat"),
      to("ReduceSum", ["mask", "one"], "count", [{ name: "keepdims", value: 1n }]),
      to("ReduceSum", ["flat", "one"], "sum", [{ name: "keepdims", value: 1n }]),
      to("Div", ["sum", "count"], "mean"),
      to("Sub", ["ids", "ids"], "zeros"),
      to("Add", ["mean", "zeros"], "means"),
      to("Unsqueeze", ["means", "two"], "column"),
      to("Mul", ["column", "factors"], "logits"),
    ],
    outputs: [
      { name: "logits", shape: ["batch", "sequence", 64] },
      { name: "present.0.key", shape: ["batch", 1, "kept", 1] },
      { name: "present.0.value", shape: ["batch", 1, "total", 1] },
    ],
  };
}

const cropped: readonly Node[] = [
  { operator: "Slice", inputs: ["all", "minus eight", "end", "two"], outputs: ["present.0.key"] },
];

describe("graphs that declare a cache", () => {
  const rows = [1, 2].map((last) => ({
    inputIds: [...Array.from({ length: 12 }, (_, index) => index), last],
    segmentIds: [],
  }));
  const means = (output: RawOutput): number[] => [0, 1].map((row) => output.data[row] ?? Number.NaN);
  const expected = [67 / 13, 68 / 13];

  test("and keep a window of it: a longer beginning is computed with each row", async () => {
    for (const present of [undefined, cropped]) {
      const session = await open(await folderOf(summing(present)), "onnx/model.onnx", { tokens: [1] });
      expect(session.settings["sharePrefix"]).toBe("true");
      const found = means(await session.run(makeBatch(rows)));
      for (const [row, mean] of expected.entries()) expect(found[row]).toBeCloseTo(mean, 4);
    }
  });

  const wrong: [string, Graph][] = [
    ["and do not read it", summing(undefined, "key")],
    ["and give another", summing([{ operator: "Neg", inputs: ["all"], outputs: ["present.0.key"] }])],
    [
      "and give none",
      { ...summing(), outputs: summing().outputs.filter(({ name }) => name !== "present.0.key") },
    ],
    [
      "and give one of another form",
      {
        ...summing(),
        outputs: summing().outputs.map((one) =>
          one.name === "present.0.key" ? { ...one, shape: ["batch", 1, 3, 1] } : one,
        ),
      },
    ],
  ];
  test.each(wrong)("%s: each sequence is computed whole, or the option refused", async (_, graph) => {
    const folder = await folderOf(graph);
    const session = await open(folder, "onnx/model.onnx", { tokens: [1] });
    expect(session.settings["sharePrefix"]).toBeUndefined();
    const found = means(await session.run(makeBatch(rows)));
    for (const [row, mean] of expected.entries()) expect(found[row]).toBeCloseTo(mean, 4);
    const error = await rejection(open(folder, "onnx/model.onnx", { tokens: [1], sharePrefix: true }));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(/cannot share their beginning/);
    expect(error.message.length).toBeLessThan(1500);
  });

  test.each(["merged", "keep", "fixed", "states"])(
    "%s of the fixtures has none that is used",
    async (name) => {
      const kinds = name === "states" ? (["marked-states"] as const) : (["token-logits"] as const);
      const backend = onnx({ file: `onnx/${name}.onnx`, workers: 1, isolation: "thread", sharePrefix: true });
      const error = await rejection(load(backend, fixture("decoder"), { kinds, tokens: [17, 5] }));
      expect(error).toBeInstanceOf(ModelLoadError);
      expect(error.message).toMatch(/cannot share their beginning/);
    },
  );
});
