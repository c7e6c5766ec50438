import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InvalidInputError } from "@crossrank/core";
import { describe, expect, it } from "vitest";
import {
  type CascadeReport,
  cascadeHeadline,
  cascadeRows,
  cascadeTimings,
  createRandom,
  evaluate,
  type Qrels,
  queryValues,
  renderCascadeHtml,
  renderCascadeMarkdown,
  sweepCascade,
  writeCascadeReport,
} from "../src/index.js";

type Lists = ReadonlyMap<string, { readonly documents: readonly string[]; readonly logits: Float64Array }>;

interface Scene {
  readonly qrels: Qrels;
  readonly small: Lists;
  readonly large: Lists;
}

/** Lists of a large model that follows the grades, and of a small one that follows the large one as far as noise lets. */
function scene(noise: number, queries = 12, length = 24, seed = 7): Scene {
  const random = createRandom(seed);
  const qrels = new Map<string, Map<string, number>>();
  const [small, large] = [new Map(), new Map()];
  for (let query = 0; query < queries; query += 1) {
    const documents = Array.from({ length }, (_, index) => `d${query}-${index}`);
    const grades = documents.map(() => (random.uniform() < 0.2 ? 1 + random.below(2) : 0));
    qrels.set(`q${query}`, new Map(documents.map((document, index) => [document, grades[index] ?? 0])));
    const logits = Float64Array.from(grades, (grade) => grade + random.uniform());
    large.set(`q${query}`, { documents, logits });
    small.set(`q${query}`, { documents, logits: logits.map((logit) => logit + noise * random.uniform()) });
  }
  return { qrels, small, large };
}

/** nDCG@10 of each query, from an order that is written out. */
function naive({ qrels, small, large }: Scene, keep: number): ReadonlyMap<string, number> {
  const run = new Map<string, Map<string, number>>();
  for (const [query, { documents, logits }] of large) {
    const by = (keys: Float64Array) => (a: number, b: number) => (keys[b] as number) - (keys[a] as number);
    const first = [...documents.keys()].sort(by((small.get(query) as { logits: Float64Array }).logits));
    const order = [...first.slice(0, keep).sort(by(logits)), ...first.slice(keep)];
    run.set(query, new Map(order.map((index, place) => [documents[index] as string, -place])));
  }
  const { results } = evaluate(qrels, run, ["ndcg@10"]);
  return queryValues(results[0] as (typeof results)[number]);
}

const meanOf = (values: ReadonlyMap<string, number>): number =>
  [...values.values()].reduce((sum, value) => sum + value, 0) / values.size;

function report(given: Partial<Parameters<typeof sweepCascade>[0]> = {}): CascadeReport {
  return {
    ...{
      task: "a <task>",
      systems: { small: "nano | on onnx", large: "large on onnx" },
      seed: 1,
      timedQueries: 3,
      timings: [],
    },
    ...sweepCascade({ ...scene(2), margin: 0.01, milliseconds: { small: 1, large: 10 }, ...given }),
  };
}

describe("a sweep", () => {
  it.each([0, 0.5, 2, 8])("measures the order that a cascade gives, at noise %d", (noise) => {
    const given = scene(noise);
    const { rows, small, large } = sweepCascade({ ...given, margin: 0.01 });
    for (const { keep, value } of rows) expect(value).toBeCloseTo(meanOf(naive(given, keep)), 12);
    expect(large.value).toBeCloseTo(meanOf(naive(given, 24)), 12);
    expect(small.value).toBeCloseTo(meanOf(naive(given, 0)), 12);
    expect(rows.at(-1)).toMatchObject({ keep: 24, change: { mean: 0 }, passed: true });
    expect(rows.map(({ keep }) => keep)).toEqual(rows.map(({ keep }) => keep).toSorted((a, b) => a - b));
  });

  it("finds the smallest keep that passes with every larger one", () => {
    const { rows, smallestSafe } = sweepCascade({ ...scene(3, 30), margin: 0.02 });
    const at = rows.findIndex(({ keep }) => keep === smallestSafe);
    expect(rows.slice(at).every(({ passed, lowerBound }) => passed && lowerBound > -0.02)).toBe(true);
    expect(at).toBeGreaterThan(0);
    expect(rows[at - 1]?.passed).toBe(false);
    // Nothing is lost by a small model that orders as the large one does.
    expect(sweepCascade({ ...scene(0), margin: 0.001 }).smallestSafe).toBe(1);
    // And a loss of nothing is passed by what changes nothing alone: its bound is 0.
    expect(sweepCascade({ ...scene(50, 30), margin: 0 }).smallestSafe).toBe(24);
  });

  it("adds up what documents cost", () => {
    const { rows, small, large } = sweepCascade({
      ...scene(1),
      ...{ margin: 0.01, keeps: [6, 24, 100], milliseconds: { small: 1, large: 10 } },
    });
    expect(small.milliseconds).toBe(24);
    expect(large.milliseconds).toBe(240);
    // The small model is left out where it leaves nothing out.
    expect(rows.map((row) => [row.keep, row.milliseconds, row.documents.small, row.documents.large])).toEqual(
      [
        [6, 84, 24, 6],
        [24, 240, 0, 24],
      ],
    );
    expect(rows[0]?.speedup).toBeCloseTo(240 / 84, 12);
    expect(sweepCascade({ ...scene(1), margin: 0.01 }).rows[0]).toMatchObject({
      milliseconds: null,
      speedup: null,
    });
  });

  it("takes lists of different lengths, each by itself", () => {
    const given = scene(1, 6);
    const cut = (lists: Lists): Lists =>
      new Map(
        [...lists].map(([query, { documents, logits }], index) => {
          const length = 4 + 4 * index;
          return [query, { documents: documents.slice(0, length), logits: logits.slice(0, length) }];
        }),
      );
    const short = { qrels: given.qrels, small: cut(given.small), large: cut(given.large) };
    for (const { keep, value } of sweepCascade({ ...short, margin: 0.01, keeps: [4, 9, 30] }).rows)
      expect(value).toBeCloseTo(meanOf(naive(short, keep)), 12);
  });

  it("counts ties with their expected value, and never over two models", () => {
    const given = scene(1, 4);
    const flat: Lists = new Map(
      [...given.large].map(([query, list]) => [query, { ...list, logits: list.logits.map(() => 3) }]),
    );
    // All alike to the large model: with the best 10 of the small one kept, these are one tie, before all others.
    const { rows } = sweepCascade({ ...given, large: flat, margin: 1, keeps: [10] });
    const { results } = evaluate(
      given.qrels,
      new Map(
        [...given.small].map(([query, { documents, logits }]) => {
          const bar = [...logits].sort((a, b) => b - a)[9] as number;
          return [
            query,
            new Map(documents.map((document, index) => [document, (logits[index] as number) >= bar ? 1 : 0])),
          ];
        }),
      ),
      ["ndcg@10"],
    );
    expect(rows[0]?.value).toBeCloseTo(results[0]?.mean.expected as number, 12);
  });

  it("puts what the large model has no logit of among the small one's", () => {
    const given = scene(1, 4);
    const holes: Lists = new Map(
      [...given.large].map(([query, list]) => [
        query,
        { ...list, logits: list.logits.map(() => Number.NaN) },
      ]),
    );
    const { rows, small } = sweepCascade({ ...given, large: holes, margin: 1, keeps: [10] });
    expect(rows[0]?.value).toBeCloseTo(small.value, 12);
  });

  it("is held against another reference where one is given", () => {
    const given = scene(2);
    const { rows, large } = sweepCascade({ ...given, margin: 0.01, reference: given.small });
    expect(large.value).toBeCloseTo(meanOf(naive(given, 24)), 12);
    expect(rows.at(-1)?.change.mean).toBeCloseTo(meanOf(naive(given, 24)) - meanOf(naive(given, 0)), 12);
  });

  it.each([
    ["keeps[0]", { keeps: [0] }],
    ["keeps[1]", { keeps: [3, 2.5] }],
    ["margin", { margin: -1 }],
    ["small", { small: new Map() }],
    ["small", { small: scene(1, 12, 23).small }],
    ["qrels", scene(1, 1)],
  ])("refuses what means nothing: %s", (path, given) => {
    try {
      sweepCascade({ ...scene(1), margin: 0.01, ...given });
    } catch (error) {
      expect(InvalidInputError.isInstance(error) && error.path).toBe(path);
      return;
    }
    throw new Error("expected a refusal");
  });
});

describe("its report", () => {
  it("has a row of each keep between the models alone", () => {
    const given = report();
    const { heading, rows } = cascadeRows(given);
    expect(rows).toHaveLength(given.rows.length + 1);
    expect(rows.every((row) => row.length === heading.length)).toBe(true);
    expect(rows[0]?.[0]).toContain("alone");
    expect(rows.filter((row) => row.at(-1) === "smallest safe")).toHaveLength(
      given.smallestSafe === 24 ? 0 : 1,
    );
    expect(cascadeHeadline(given)).toContain(`keep ${given.smallestSafe}`);
    expect(cascadeHeadline(report({ milliseconds: { small: 10, large: 10 } }))).toContain("No cascade");
    expect(cascadeHeadline(report({ ...scene(50, 30), margin: 0 }))).toContain("large on onnx alone");
  });

  it("tells whole calls beside what documents cost, and prefers them", () => {
    const measured = {
      ...{
        keep: report().smallestSafe,
        calls: 8,
        milliseconds: { wall: 90, processor: 80 },
        calculated: 2.5,
      },
      wall: { value: 1.9, lower: 1.5, upper: 2.4 },
      processor: { value: 2.1, lower: 1.9, upper: 2.3 },
    };
    const given = { ...report(), timings: [measured] };
    expect(cascadeTimings(given)).toEqual([
      expect.stringMatching(
        /2\.1 \(1\.9 to 2\.3\) in processor time .*1\.9 \(1\.5 to 2\.4\) by the clock.*; 2\.5 from/,
      ),
    ]);
    expect(cascadeHeadline(given)).toContain("2.1 (1.9 to 2.3) times as fast");
    expect(renderCascadeMarkdown(given)).toContain("2.1 (1.9 to 2.3)");
    expect(renderCascadeHtml(given)).toContain("2.1 (1.9 to 2.3)");
    const untold = { ...given, timings: [{ ...measured, processor: null, calculated: null }] };
    expect(cascadeTimings(untold)[0]).toContain("cannot be told");
  });

  it("escapes names, plots quality against time, and needs no network", () => {
    const page = renderCascadeHtml(report());
    expect(page).toContain("a &lt;task&gt;");
    expect(page).not.toContain("<task>");
    expect(page).toContain("documents a second");
    expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
    const untimed = renderCascadeHtml(report({ milliseconds: undefined }));
    expect(untimed).toContain("<svg");
    expect(untimed).not.toContain("documents a second");
    const cells = renderCascadeMarkdown(report())
      .split("\n")
      .filter((line) => line.startsWith("|"))
      .map((line) => line.replace(/\\\|/g, "").split("|").length);
    expect(new Set(cells).size).toBe(1);
  });

  it("is written in three files", async () => {
    const folder = await mkdtemp(join(tmpdir(), "cascade-report-"));
    try {
      const given = report();
      await writeCascadeReport(folder, given);
      expect(JSON.parse(await readFile(join(folder, "cascade.json"), "utf8"))).toEqual(given);
      for (const name of ["cascade.md", "cascade.html"])
        expect((await readFile(join(folder, name), "utf8")).length).toBeGreaterThan(100);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
