import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
  type MiningOptions,
  MiningStateError,
  mineNegatives,
  readCorpus,
  readTrainingData,
  type ScorePairs,
} from "../src/index.js";

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-mine-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** How many words of the query a document has: a model that can be read. */
const overlap: ScorePairs = async (pairs) =>
  Float64Array.from(pairs, ({ query, document }) => {
    const words = new Set(document.split(" "));
    return query.split(" ").filter((word) => words.has(word)).length;
  });

const animals = ["cat", "dog", "owl", "fox", "bee", "ant", "elk", "eel"];
const queries = animals.map((animal, index) => ({
  query: `where does the ${animal} sleep`,
  positive: `the ${animal} does sleep in place ${index}`,
}));
const documents = [
  ...queries.map(({ positive }) => positive),
  // As the positive in other letters, and longer than it: neither is a negative.
  ...queries.map(({ positive }) => positive.toUpperCase()),
  ...animals.flatMap((animal) => [
    `the ${animal} eats nothing`,
    `where does the ${animal} sleep they asked`,
    `${animal} and the rest`,
  ]),
  "nobody knows",
];

async function prepare(): Promise<Omit<MiningOptions, "teacher">> {
  count += 1;
  const path = join(folder, `${count}.jsonl`);
  const corpusPath = join(folder, `${count}-corpus.jsonl`);
  await writeFile(path, queries.map((row) => `${JSON.stringify(row)}\n`).join(""));
  await writeFile(corpusPath, documents.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  const data = await readTrainingData([path]);
  const corpus = await readCorpus([corpusPath]);
  onTestFinished(async () => {
    await data[Symbol.asyncDispose]();
    await corpus[Symbol.asyncDispose]();
  });
  return { data, corpus, output: join(folder, `${count}-out.jsonl`), margin: 0 };
}

const teacher = { identity: "overlap", score: overlap };

async function rowsOf(path: string): Promise<{ query: string; positive: string; negative: string }[]> {
  return (await readFile(path, "utf8"))
    .split("\n")
    .flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
}

test("negatives are near, and neither relevant nor likely so", async () => {
  const options = await prepare();
  const result = await mineNegatives({ ...options, teacher });
  const rows = await rowsOf(options.output);
  expect(result).toMatchObject({ queries: 8, rows: rows.length, without: 0, resumed: 0, relevant: 16 });
  expect(result.likelyRelevant).toBeGreaterThanOrEqual(8);
  for (const { query, positive, negative } of rows) {
    expect(negative.toLowerCase()).not.toBe(positive);
    // It has all the query's words, so that it may well answer it.
    expect(negative).not.toMatch(/they asked$/);
    const [score] = await overlap([{ query, document: negative }]);
    const [best] = await overlap([{ query, document: positive }]);
    expect(score).toBeLessThan(best as number);
  }
  expect(await readdir(folder)).not.toContain(`${options.output}.part`);
});

test("without a teacher the order is BM25's", async () => {
  const options = await prepare();
  await mineNegatives({ ...options, teacher: undefined, negatives: 1 });
  const rows = await rowsOf(options.output);
  expect(rows).toHaveLength(8);
  for (const { negative } of rows) expect(negative).toMatch(/they asked$/);
});

test("lists hold the teacher's scores", async () => {
  const options = await prepare();
  await mineNegatives({ ...options, teacher, form: "lists" });
  const [first] = (await readFile(options.output, "utf8")).split("\n");
  const { documents: listed } = JSON.parse(first ?? "");
  expect(listed[0]).toEqual({ text: queries[0]?.positive, label: 1, teacher: 4 });
  expect(listed.length).toBe(5);
  const data = await readTrainingData([options.output]);
  onTestFinished(() => data[Symbol.asyncDispose]());
  expect(data.groups[0]?.documents[1]).toMatchObject({ label: 0 });
});

test.each(["hardest", "random"] as const)("the same inputs and seed give the same file: %s", async (pick) => {
  const texts: string[] = [];
  for (const seed of [3, 3, 4]) {
    const options = await prepare();
    await mineNegatives({ ...options, teacher, pick, seed, negatives: 2 });
    texts.push(await readFile(options.output, "utf8"));
  }
  expect(texts[1]).toBe(texts[0]);
  if (pick === "random") expect(texts[2]).not.toBe(texts[0]);
});

describe("what was stopped", () => {
  test.each([1, 2, 5, 8])("goes on after %i queries, to the same file", async (after) => {
    const whole = await prepare();
    await mineNegatives({ ...whole, teacher });
    const options = { ...(await prepare()), teacher };
    const stop = new AbortController();
    const reason = new Error("stopped");
    const onProgress: MiningOptions["onProgress"] = ({ phase, done }) => {
      if (phase === "scoring" && done === after) stop.abort(reason);
    };
    if (after < 8) {
      await expect(mineNegatives({ ...options, signal: stop.signal, onProgress })).rejects.toBe(reason);
      // A killed process leaves a line that is cut.
      const part = `${options.output}.part`;
      if (after > 1) await truncate(part, (await readFile(part)).length - 5);
    }
    const result = await mineNegatives(options);
    expect(result.resumed).toBe(after === 8 ? 0 : after === 1 ? 1 : after - 1);
    expect(await readFile(options.output, "utf8")).toBe(await readFile(whole.output, "utf8"));
  });

  test.each([
    ["another seed", { seed: 9 }],
    ["another margin", { margin: 2 }],
    ["another teacher", { teacher: { ...teacher, identity: "other" } }],
  ])("is not mixed with %s", async (_, changed) => {
    const options = { ...(await prepare()), teacher };
    const stop = new AbortController();
    const onProgress = (): void => stop.abort();
    await expect(mineNegatives({ ...options, signal: stop.signal, onProgress })).rejects.toThrow();
    await expect(mineNegatives({ ...options, ...changed })).rejects.toThrow(MiningStateError);
  });

  test("a damaged line is an error with a name", async () => {
    const options = { ...(await prepare()), teacher };
    const stop = new AbortController();
    const onProgress: MiningOptions["onProgress"] = ({ done }) => {
      if (done === 3) stop.abort();
    };
    await expect(mineNegatives({ ...options, signal: stop.signal, onProgress })).rejects.toThrow();
    const part = `${options.output}.part`;
    const kept = (await readFile(part, "utf8")).split("\n");
    await writeFile(part, [kept[0], "{", ...kept.slice(2)].join("\n"));
    await expect(mineNegatives(options)).rejects.toMatchObject({ code: "mining-state", reason: "damaged" });
    await expect(readFile(options.output)).rejects.toThrow("ENOENT");
  });

  test("two at once: one says that the other is at work", async () => {
    const options = { ...(await prepare()), teacher };
    const results = await Promise.allSettled([mineNegatives(options), mineNegatives(options)]);
    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(results.find(({ status }) => status === "rejected")).toMatchObject({
      reason: { reason: "locked" },
    });
  });
});

test.each([
  { negatives: 0 },
  { negatives: 1.5 },
  { depth: 0 },
  { margin: -1 },
  { margin: Number.NaN },
  { seed: -1 },
  { skipTop: -1 },
  { form: "lists" as const, teacher: undefined },
])("an option out of its range is refused: %o", async (changed) => {
  const options = { ...(await prepare()), teacher };
  await expect(mineNegatives({ ...options, ...changed })).rejects.toMatchObject({ code: "invalid-input" });
});

test("what a teacher cannot score has no negatives, and an infinite score is none", async () => {
  const options = await prepare();
  const fill =
    (value: number): ScorePairs =>
    async (pairs) =>
      new Float64Array(pairs.length).fill(value);
  const result = await mineNegatives({ ...options, teacher: { identity: "nan", score: fill(Number.NaN) } });
  expect(result).toMatchObject({ rows: 0, unscored: 8, without: 8, likelyRelevant: 0 });
  const endless = { identity: "infinite", score: fill(Number.POSITIVE_INFINITY) };
  await expect(mineNegatives({ ...(await prepare()), teacher: endless })).rejects.toMatchObject({
    code: "invalid-input",
  });
});
