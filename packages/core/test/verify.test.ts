import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type GoldenCase, type Goldens, readGoldens, verify, verifyLoaded } from "../src/entries/verify.js";
import {
  type Backend,
  type Batch,
  createReranker,
  DisposedError,
  InvalidInputError,
  loadModel,
  type ModelFiles,
} from "../src/index.js";
import { boundFor, judge, type VerifiedCase } from "../src/verify/judge.js";
import { rejection } from "./fallback-scene.js";
import { fixtures, folderFiles } from "./folder-files.js";
import { memoryFiles } from "./memory-files.js";
import { wordPiece } from "./tokenizers.js";
import { toyBackend } from "./toy-backend.js";

/**
 * A linear model: each token counts by its id and its segment. Small enough to be worked out in a test's own words,
 * and it tells every id, every segment and every length apart.
 */
const weightOf = (id: number, segment: number): number => (id % 7) / 4 - (segment === 1 ? 0.5 : 0.3);

interface Fault {
  readonly logit?: (logit: number, row: { readonly ids: readonly number[] }) => number;
  readonly dtype?: string;
  readonly maxSequenceLength?: number;
}

interface LinearBackend extends Backend {
  /** Models in memory, and how many were ever loaded. */
  readonly counts: { open: number; loads: number };
}

function linear({ logit = (value) => value, dtype = "fp32", maxSequenceLength }: Fault = {}): LinearBackend {
  const counts = { open: 0, loads: 0 };
  return {
    specificationVersion: "v1",
    name: "linear",
    families: ["cross-encoder"],
    counts,
    diagnose: async () => ({ available: true, detail: "arithmetic" }),
    load: async () => {
      counts.open += 1;
      counts.loads += 1;
      let disposed = false;
      const dispose = async (): Promise<void> => {
        if (!disposed) counts.open -= 1;
        disposed = true;
      };
      return {
        info: { name: "linear", runtime: { name: "linear", version: "1" } },
        artifact: { format: "onnx", dtype, files: [] },
        capabilities: {
          output: "class-logits",
          maxSequenceLength,
          sequenceLengths: "any",
          batchSize: { max: 8 },
          batchPreference: { rows: 4, tokens: 1024, padding: 1 },
          segmentIds: true,
          rowsAffectScores: false,
          concurrentRuns: 1,
          cancelsWithinBatch: false,
        },
        settings: {},
        run: async (batch: Batch) => ({
          kind: "class-logits",
          shape: [batch.rows, 1],
          data: Float32Array.from({ length: batch.rows }, (_, row) => {
            const start = row * batch.columns;
            const ids = [...batch.inputIds.subarray(start, start + (batch.lengths[row] as number))];
            const sum = ids.reduce(
              (total, id, at) => total + weightOf(id, batch.segmentIds[start + at] as number),
              0,
            );
            return logit(sum, { ids });
          }),
        }),
        dispose,
        [Symbol.asyncDispose]: dispose,
      };
    },
  };
}

const model = memoryFiles({
  "config.json": {
    architectures: ["BertForSequenceClassification"],
    model_type: "bert",
    id2label: { "0": "LABEL_0" },
    type_vocab_size: 2,
    max_position_embeddings: 10,
    pad_token_id: 0,
  },
  "tokenizer.json": wordPiece,
});

// the 4, cat 5, sat 6, on 7, mat 8; [CLS] 2, [SEP] 3: written out, so that nothing here comes from what is tested.
const tokens: Readonly<Record<string, number>> = { the: 4, cat: 5, sat: 6, on: 7, mat: 8 };

function golden(
  name: string,
  query: string,
  document: string,
  kept: { readonly query: number; readonly document: number },
  mode: "document-only" | "longest-first" = "document-only",
): GoldenCase {
  const ids = (text: string): number[] => text.split(" ").map((word) => tokens[word] as number);
  const first = [2, ...ids(query).slice(0, kept.query), 3];
  const second = [...ids(document).slice(0, kept.document), 3];
  const logit =
    first.reduce((sum, id) => sum + weightOf(id, 0), 0) +
    second.reduce((sum, id) => sum + weightOf(id, 1), 0);
  return {
    name,
    query,
    document,
    expected: {
      [mode]: {
        ids: [...first, ...second],
        segmentIds: [...first.map(() => 0), ...second.map(() => 1)],
        truncatedTokens: ids(document).length - kept.document,
        logit,
        score: 1 / (1 + Math.exp(-logit)),
      },
    },
  };
}

const long = "the cat sat on the mat the cat";
const cases: readonly GoldenCase[] = [
  golden("short", "cat", "the cat sat", { query: 1, document: 3 }),
  golden("other", "cat", "mat on the cat", { query: 1, document: 4 }),
  golden("cut", "cat sat", long, { query: 2, document: 5 }),
  golden("cut-both", "the cat sat on the mat", long, { query: 3, document: 4 }, "longest-first"),
  {
    name: "overflow",
    query: long,
    document: "the cat",
    expected: {
      "document-only": { ids: [], truncatedTokens: 2, queryOverflow: true, logit: null, score: null },
    },
  },
];
const goldens: Goldens = {
  specificationVersion: "1",
  reference: { name: "worked out by hand", dtype: "float64" },
  cases,
};

function changed(
  name: string,
  change: (expected: NonNullable<GoldenCase["expected"]["document-only"]>) => object,
): Goldens {
  return {
    ...goldens,
    cases: cases.map((one) => {
      const expected = one.expected["document-only"];
      return one.name === name && expected
        ? { ...one, expected: { "document-only": { ...expected, ...change(expected) } } }
        : one;
    }),
  };
}

describe("verify", () => {
  it("passes what agrees, in both truncation modes, with the model loaded once and freed", async () => {
    const backend = linear();
    const seen: number[] = [];
    const result = await verify({
      model,
      backend,
      goldens,
      onScored: ({ completed, total }) => seen.push(completed / total),
    });
    expect(result).toMatchObject({
      passed: true,
      scale: "probability",
      bound: { name: "fp32", maximum: 1e-4 },
      summary: {
        cases: 5,
        tokensCompared: 5,
        tokensDifferent: 0,
        compared: 4,
        orderAgreement: 1,
        nonFinite: 0,
      },
    });
    expect(result.summary.maximum).toBeLessThan(1e-6);
    expect(result.cases.map(({ name, truncation }) => [name, truncation])).toEqual([
      ["short", "document-only"],
      ["other", "document-only"],
      ["cut", "document-only"],
      ["overflow", "document-only"],
      ["cut-both", "longest-first"],
    ]);
    expect(result.cases.find(({ name }) => name === "overflow")).toMatchObject({
      tokens: "same",
      expected: null,
      actual: null,
      delta: null,
    });
    expect(seen.at(-1)).toBe(1);
    expect(backend.counts).toEqual({ open: 0, loads: 1 });
  });

  it("scores a pair once where both truncation modes give the same sequence, and twice where they do not", async () => {
    const both = (
      name: string,
      query: string,
      document: string,
      kept: Readonly<Record<"document-only" | "longest-first", { query: number; document: number }>>,
    ): GoldenCase => {
      const [whole, cut] = (["document-only", "longest-first"] as const).map((mode) =>
        golden(name, query, document, kept[mode], mode),
      ) as [GoldenCase, GoldenCase];
      return { ...whole, expected: { ...whole.expected, ...cut.expected } };
    };
    const all = { query: 1, document: 3 };
    let scored = 0;
    const count = (logit: number): number => {
      scored += 1;
      return logit;
    };
    const { passed, reason, summary } = await verify({
      model,
      backend: linear({ logit: count }),
      goldens: {
        ...goldens,
        cases: [
          both("whole", "cat", "the cat sat", { "document-only": all, "longest-first": all }),
          both("cut", "the cat sat on the", long, {
            "document-only": { query: 5, document: 2 },
            "longest-first": { query: 3, document: 4 },
          }),
        ],
      },
    });
    expect(passed, reason).toBe(true);
    expect(summary).toMatchObject({ compared: 4, tokensCompared: 4, tokensDifferent: 0 });
    expect(scored).toBe(3);
  });

  it.each([
    ["an id", "short", { ids: [2, 5, 3, 4, 6, 6, 3] }, { what: "ids", position: 4, expected: 6, actual: 5 }],
    [
      "a missing separator",
      "short",
      { ids: [2, 5, 3, 4, 5, 6], segmentIds: [0, 0, 0, 1, 1, 1] },
      { what: "ids", position: 6, expected: undefined, actual: 3 },
    ],
    [
      "segments",
      "short",
      { segmentIds: undefined },
      { what: "segmentIds", position: 3, expected: 0, actual: 1 },
    ],
    ["a truncated count", "cut", { truncatedTokens: 2 }, { what: "truncatedTokens", expected: 2, actual: 3 }],
    [
      "an overflow that is none",
      "cut",
      { queryOverflow: true, logit: null, score: null },
      { what: "queryOverflow", expected: true, actual: false },
    ],
    [
      "an overflow that was missed",
      "overflow",
      { queryOverflow: false, ids: [2, 4, 3], logit: 1 },
      { what: "queryOverflow", expected: false, actual: true },
    ],
  ])("fails on %s that differs, and says where", async (_, name, change, difference) => {
    const result = await verify({ model, backend: linear(), goldens: changed(name, () => change) });
    expect(result.passed).toBe(false);
    expect(result.cases.find((one) => one.name === name)).toMatchObject({ tokens: "different", difference });
    expect(result.reason).toContain(
      `1 of 5 token sequences differ, the first in ${name}: ${difference.what}`,
    );
  });

  it("fails on numbers beyond the precision's bound, unless a wider one is given", async () => {
    const backend = linear({ logit: (value) => value + 0.01 });
    const strict = await verify({ model, backend, goldens });
    expect(strict.passed).toBe(false);
    expect(strict.summary.maximum).toBeCloseTo(0.01, 5);
    expect(strict.reason).toMatch(
      /^4 of 4 logits are further off than the 0\.0001 of fp32, the worst by 0\.01 /,
    );
    const wide = await verify({ model, backend, goldens, tolerance: 0.02 });
    expect(wide).toMatchObject({ passed: true, bound: { maximum: 0.02 } });
    const own = await verify({ model, backend, goldens: { ...goldens, tolerance: 0.02 } });
    expect(own).toMatchObject({ passed: true, bound: { name: "fp32", maximum: 0.02 } });
    const half = await verify({
      model,
      backend: linear({ logit: (value) => value + 0.01, dtype: "fp16" }),
      goldens,
    });
    expect(half).toMatchObject({ passed: true, bound: { name: "fp16", maximum: 0.02 } });
  });

  it("finds the very cases that are not finite, and fails", async () => {
    const backend = linear({ logit: (value, { ids }) => (ids.includes(8) ? Number.NaN : value) });
    const result = await verify({ model, backend, goldens });
    expect(result.passed).toBe(false);
    const bad = result.cases.filter(({ actual }) => Number.isNaN(actual)).map(({ name }) => name);
    expect(bad).toEqual(["other"]);
    expect(result.summary).toMatchObject({ nonFinite: 1, compared: 3 });
    expect(result.reason).toContain("1 of 5 numbers are not finite, the first of other");
  });

  it("finds an activation that is not the reference's although logits agree", async () => {
    const result = await verify({ model, backend: linear(), goldens, profile: { activation: "identity" } });
    expect(result.passed).toBe(false);
    expect(result.reason).toContain("the activation is not the reference's");
    expect(result.summary.maximum).toBeLessThan(1e-6);
  });

  it("compares scores where the source gives scores alone, without tokens", async () => {
    const scores: Goldens = {
      ...goldens,
      tolerance: 1e-3,
      cases: cases.slice(0, 3).map(({ expected, ...one }) => ({
        ...one,
        expected: { "document-only": { score: expected["document-only"]?.score ?? null } },
      })),
    };
    const result = await verify({ model, backend: linear(), goldens: scores });
    expect(result).toMatchObject({ passed: true, summary: { tokensCompared: 0, compared: 3 } });
    expect(result.cases[0]).toMatchObject({ tokens: "unknown", measure: "score" });
    expect(result.reason).toContain("the source gives no tokens to compare");
    const squashed = linear({ logit: (value) => 1 / (1 + Math.exp(-value)) });
    expect((await verify({ model, backend: squashed, goldens: scores })).passed).toBe(false);
  });

  it("says so where the artifact is shorter than the model", async () => {
    const { passed, reason, cases } = await verify({
      model,
      backend: linear({ maxSequenceLength: 9 }),
      goldens,
    });
    expect(passed).toBe(false);
    expect(cases.filter(({ tokens }) => tokens === "different").map(({ name }) => name)).toEqual([
      "cut",
      "cut-both",
    ]);
    expect(reason).toMatch(/; the artifact takes 9 tokens where the model takes 10$/);
  });

  it("compares tokens but no number where the query is empty", async () => {
    const empty: GoldenCase = {
      name: "empty",
      query: "",
      document: "the cat",
      expected: {
        "document-only": {
          ids: [2, 3, 4, 5, 3],
          segmentIds: [0, 0, 1, 1, 1],
          truncatedTokens: 0,
          logit: 7,
          score: 0.999,
        },
      },
    };
    const result = await verify({
      model,
      backend: linear(),
      goldens: { ...goldens, cases: [...cases, empty] },
    });
    expect(result).toMatchObject({ passed: true, summary: { refused: 1, compared: 4, tokensCompared: 6 } });
  });

  it("fails when there is nothing to compare", async () => {
    const result = await verify({
      model,
      backend: linear(),
      goldens: { ...goldens, cases: [cases[4] as GoldenCase] },
    });
    expect(result).toMatchObject({ passed: false, reason: "there is no number to compare" });
  });

  it("refuses goldens of another family, and a tolerance that is none", async () => {
    const lists = { ...goldens, cases: [], lists: [] };
    await expect(verify({ model, backend: linear(), goldens: lists })).rejects.toThrow(InvalidInputError);
    await expect(verify({ model, backend: linear(), goldens, tolerance: 0 })).rejects.toThrow(
      /tolerance must/,
    );
    const backend = linear();
    await verify({ model, backend, goldens: lists }).catch(() => undefined);
    expect(backend.counts.open).toBe(0);
  });

  it("rejects with the signal's reason, and frees the model", async () => {
    const backend = linear();
    const controller = new AbortController();
    const reason = new Error("enough");
    const attempt = verify({
      model,
      backend,
      goldens,
      signal: controller.signal,
      onScored: () => controller.abort(reason),
    });
    await expect(attempt).rejects.toBe(reason);
    expect(backend.counts.open).toBe(0);
  });
});

/** The same files, with what is read of each path counted. */
function countingReads(files: ModelFiles): { files: ModelFiles; reads: Record<string, number> } {
  const reads: Record<string, number> = {};
  const count = (path: string): void => {
    reads[path] = (reads[path] ?? 0) + 1;
  };
  return {
    reads,
    files: {
      ...files,
      readText: (path, options) => {
        count(path);
        return files.readText(path, options);
      },
      readBytes: (path, range, options) => {
        count(path);
        return files.readBytes(path, range, options);
      },
      localPath: (path, options) => {
        count(path);
        return files.localPath(path, options);
      },
    },
  };
}

describe("a loaded model", () => {
  it("is read once by verify, with all its checks: two truncation modes, an overflow, a pair that is not finite", async () => {
    const { files, reads } = countingReads(model);
    const backend = linear({ logit: (logit, { ids }) => (ids.length === 7 ? Number.NaN : logit) });
    const { passed, summary } = await verify({ model: files, backend, goldens });
    expect([passed, summary.cases, summary.nonFinite > 0]).toEqual([false, 5, true]);
    expect(reads).toEqual({ "config.json": 1, "tokenizer.json": 1 });
    expect(backend.counts).toEqual({ open: 0, loads: 1 });
  });

  it("is read once by verify, of a listwise model", async () => {
    const { files, reads } = countingReads(folderFiles(join(fixtures, "qwen3-listwise")));
    const found = await readGoldens(folderFiles(join(fixtures, "qwen3-listwise")));
    const backend = toyBackend();
    const { summary } = await verify({ model: files, backend, goldens: found as Goldens });
    expect([summary.tokensDifferent, summary.tokensCompared > 5]).toEqual([0, true]);
    expect([backend.counts.loads, backend.counts.open, reads["tokenizer.json"]]).toEqual([1, 0, 1]);
  });

  it("is read once by createReranker, the cache key included", async () => {
    const { files, reads } = countingReads(model);
    const reranker = await createReranker({ model: files, backend: linear(), probe: false });
    expect(await reranker.cacheKey()).toMatch(/^crossrank:2:[0-9a-f]{64}$/);
    expect(reads["tokenizer.json"]).toBe(1);
    await reranker.dispose();
  });

  it("serves several goldens, batches and rerankers with one session", async () => {
    const backend = linear();
    const { files, reads } = countingReads(model);
    const loaded = await loadModel({ model: files, backend });
    const first = await verifyLoaded(loaded, { goldens });
    const rows = { rows: 1, tokens: 16, padding: 0 };
    const second = await verifyLoaded(loaded, {
      goldens: { ...goldens, cases: cases.slice(0, 2) },
      batches: rows,
    });
    expect([first.passed, second.passed]).toEqual([true, true]);
    const cut = await loaded.createReranker({ truncation: "longest-first", maxLength: 6, probe: false });
    const plain = await loaded.createReranker({ probe: false });
    expect([cut.profile.truncation, cut.sources.truncation, cut.profile.maxLength]).toEqual([
      "longest-first",
      "given by the caller",
      6,
    ]);
    await cut.dispose();
    expect(DisposedError.isInstance(await rejection(cut.score([])))).toBe(true);
    expect((await plain.score([{ query: "cat", document: "the cat" }])).scores).toHaveLength(1);
    expect(backend.counts).toEqual({ open: 1, loads: 1 });
    await loaded.dispose();
    await loaded.dispose();
    expect(backend.counts).toEqual({ open: 0, loads: 1 });
    for (const late of [plain.score([]), loaded.createReranker(), verifyLoaded(loaded, { goldens })]) {
      expect(DisposedError.isInstance(await rejection(late))).toBe(true);
    }
    expect(reads["tokenizer.json"]).toBe(1);
  });

  it("refuses options of a reranker that mean nothing, and stays loaded", async () => {
    const backend = linear();
    const loaded = await loadModel({ model, backend });
    for (const [options, path] of [
      [{ truncation: "shortest-first" }, "truncation"],
      [{ instruction: "find cats" }, "instruction"],
      [{ instruction: 7 }, "instruction"],
      [{ maxLength: 2 }, "maxLength"],
      [{ maxLength: 11 }, "maxLength"],
      [{ maxLength: Number.NaN }, "maxLength"],
    ] as const) {
      const error = await rejection(loaded.createReranker({ ...options, probe: false } as never));
      expect(InvalidInputError.isInstance(error) && error.path).toBe(path);
    }
    expect(backend.counts.open).toBe(1);
    await loaded.dispose();
  });

  it("that another package made is refused", async () => {
    const error = await rejection(verifyLoaded({} as never, { goldens }));
    expect(InvalidInputError.isInstance(error) && error.path).toBe("model");
  });

  it("loads again after a load that failed", async () => {
    const real = linear();
    const backend: Backend = { ...real, load: () => Promise.reject(new Error("no memory")) };
    await expect(verify({ model, backend, goldens })).rejects.toThrow("no memory");
    expect((await verify({ model, backend: real, goldens })).passed).toBe(true);
    expect(real.counts).toEqual({ open: 0, loads: 1 });
  });
});

/** 0 to 1, the same for a seed. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

function measured(expected: readonly number[], actual: readonly number[]): VerifiedCase[] {
  return expected.map((value, index) => ({
    name: `case-${index}`,
    truncation: "document-only",
    tokens: "same",
    measure: "logit",
    expected: value,
    actual: actual[index] as number,
    delta: Math.abs((actual[index] as number) - value),
  }));
}

describe("the judgement", () => {
  const bound = (dtype: string, scale: "logit" | "cosine" | "probability" = "logit") =>
    boundFor({ dtype, scale, measure: "logit", reference: undefined });

  it.each([
    [["fp32", "F32", "float32"], { maximum: 1e-4 }],
    [["fp16", "F16", "bf16", "BF16"], { maximum: 2e-2 }],
    [
      ["int8", "uint8", "q8", "Q8_0", "quantized", "w8"],
      { median: 0.15, signMargin: 0.5, order: { apart: 0.15, least: 0.75 } },
    ],
    [
      ["q4", "q4f16", "int4", "uint4", "bnb4", "Q4_K_M", "IQ2_XXS", "MXFP4", "q2", "4-bit"],
      { median: 3, order: { apart: 0.5, least: 0.7 } },
    ],
    [["Q5_K_M", "q5", "Q5_0"], { median: 2, order: { apart: 0.5, least: 0.8 } }],
    [["Q6_K", "q6", "int7"], { median: 0.6, order: { apart: 0.5, least: 0.9 } }],
  ])("knows %j", (dtypes, expected) => {
    for (const dtype of dtypes) {
      const { name, ...rest } = bound(dtype);
      expect([name, rest]).toEqual([dtype, expected]);
    }
  });

  it("holds a precision that it does not know to float32's bound", () => {
    expect(bound("int16")).toEqual({
      name: "int16 (not a known precision, so held to fp32's)",
      maximum: 1e-4,
    });
    expect(bound("q40")).toMatchObject({ maximum: 1e-4 });
  });

  it("gives a session the room that it declares for its runtime's arithmetic", () => {
    const own = { logit: 3e-2, cosine: 1e-2, reason: "half floats" };
    const facts = { scale: "logit", measure: "logit", reference: undefined, own } as const;
    expect(boundFor({ ...facts, dtype: "F32" })).toEqual({ name: "F32", maximum: 3e-2 });
    expect(boundFor({ ...facts, dtype: "F32", scale: "cosine" }).maximum).toBe(1e-2);
    // Never tighter than the precision's own.
    expect(boundFor({ ...facts, dtype: "F16", own: { ...own, logit: 1e-3 } }).maximum).toBe(2e-2);
    // Below 16 bits medians are judged, or nothing.
    expect(boundFor({ ...facts, dtype: "Q8_0" })).toEqual(bound("Q8_0"));
    expect(boundFor({ ...facts, dtype: "Q8_0", scale: "cosine" })).toEqual(bound("Q8_0", "cosine"));
    expect(boundFor({ ...facts, dtype: "Q4_K_M" })).toEqual(bound("Q4_K_M"));
  });

  it("is never tighter than the reference, and counts probabilities at their steepest slope", () => {
    const facts = { dtype: "fp16", scale: "probability", measure: "score" } as const;
    expect(boundFor({ ...facts, reference: undefined }).maximum).toBeCloseTo(0.005, 12);
    expect(boundFor({ ...facts, reference: 0.01 }).maximum).toBe(0.01);
    expect(bound("int8", "cosine")).toEqual({
      name: "int8",
      median: 0.03,
      order: { apart: 0.03, least: 0.75 },
    });
  });

  it("judges 8 bits by the median and by signs", () => {
    const expected = [-3, -1, 0.2, 1, 2];
    const fine = judge(measured(expected, [-2.9, -1.1, -0.05, 1.1, 3]), bound("int8"), "logit");
    expect(fine).toMatchObject({ passed: true, summary: { maximum: 1 } });
    expect(fine.summary.median).toBeCloseTo(0.1, 12);
    const off = judge(measured(expected, [-2.8, -0.8, 0.4, 1.2, 2.2]), bound("int8"), "logit");
    expect(off.reason).toMatch(/^the median difference of the logits is 0\.2, above the 0\.15 of int8$/);
    const flipped = judge(measured(expected, [-3, -1, 0.2, -0.1, 2]), bound("int8"), "logit");
    expect(flipped.reason).toMatch(
      /^1 number lies on the other side of zero, the first case-3: -0\.1 instead of 1$/,
    );
  });

  describe("below 8 bits", () => {
    const expected = [-3, -1, 0.2, 1, 2];
    const spread = Array.from({ length: 60 }, (_, index) => ((index * 37) % 60) / 5 - 6);

    it("lets what rounding costs pass, whatever single numbers do", () => {
      const rough = judge(measured(expected, [-1, -0.9, -0.4, 1.3, 1.1]), bound("q4"), "logit");
      expect(rough).toMatchObject({ passed: true, summary: { orderAgreement: 0.9, orderedPairs: 10 } });
      expect(rough.reason).toContain("90.0 % of 10 pairs are ordered alike");
      const noisy = spread.map((value, index) => value + Math.sin(index * 7) * 1.8);
      expect(judge(measured(spread, noisy), bound("Q4_0"), "logit").passed).toBe(true);
    });

    it.each([
      ["one number for all", expected, [1, 1, 1, 1, 1], "no better than chance"],
      ["the other way round", expected, expected.map((value) => -value), "no better than chance"],
      ["other cases' numbers", spread, spread.toSorted((a, b) => a - b), "ordered alike"],
      [
        "a shrunken order of others",
        spread.map((value) => value / 6),
        spread.map((_, i) => Math.sin(i * 9)),
        "alike",
      ],
      ["in order, and far away", spread, spread.map((value) => value + 3.1), "the median difference"],
      ["in order, and far too small", spread, spread.map((value) => value / 50 + 3), "the median difference"],
      ["in order, and doubled", spread, spread.map((value) => value * 2.1), "the median difference"],
    ])("fails %s", (_, wanted, given, reason) => {
      const judged = judge(measured(wanted, given), bound("Q4_K_M"), "logit");
      expect(judged.passed).toBe(false);
      expect(judged.reason).toContain(reason);
    });

    it("fails a random order of eleven cases nearly always, of fifty always", () => {
      const random = createRandom(7);
      const passes = (count: number): number => {
        let passed = 0;
        for (let run = 0; run < 300; run += 1) {
          const wanted = Array.from({ length: count }, () => random() * 4);
          const given = wanted.map(() => random() * 4);
          if (judge(measured(wanted, given), bound("Q4_K_M"), "logit").passed) passed += 1;
        }
        return passed;
      };
      expect(passes(11)).toBeLessThan(30);
      expect(passes(50)).toBe(0);
    });
  });

  it("counts a pair for order only where the reference tells its cases apart", () => {
    const { summary } = judge(measured([0, 0.00005, 1, 2], [0.00005, 0, 2, 1]), bound("fp32"), "logit");
    // Six pairs less the one within the bound; one of the others is turned round.
    expect(summary).toMatchObject({ orderedPairs: 5, orderAgreement: 0.8 });
  });
});
