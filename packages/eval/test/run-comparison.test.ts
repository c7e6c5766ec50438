import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import {
  type ComparisonReport,
  NonFiniteSystemScoreError,
  type RunComparisonOptions,
  runComparison,
} from "../src/index.js";
import { environment, fixture, load, source, useModels } from "./run-data/scene.js";

const models = useModels();

const queries = new Map([
  ["q1", "what is tea"],
  ["q2", "how do dogs grow"],
]);
const documents = new Map([
  ["d1", "tea is water and green"],
  ["d2", "the dog sat on the mat"],
  ["d3", "paris is the capital of france"],
]);
const pairs = new Map([
  ["q1", ["d1", "d2", "d3"]],
  ["q2", ["d2", "d1"]],
]);

function compare(
  options: Pick<RunComparisonOptions, "systems"> & Partial<RunComparisonOptions>,
): Promise<ComparisonReport> {
  return runComparison({ queries, documents, pairs, environment, ...options });
}

describe("a comparison of cross-encoders", () => {
  let report: ComparisonReport;
  beforeAll(async () => {
    report = await compare({
      systems: [
        source("int8", models.tiny, { dtype: "int8" }),
        source("fp32", models.tiny, { dtype: "fp32" }),
        source("fp16", models.tiny, { dtype: "fp16" }),
      ],
      reference: "fp32",
    });
  });

  it("lists logits and scores of every pair as core gives them, the reference first", async () => {
    expect(report.systems.map(({ role, name }) => [role, name])).toEqual([
      ["reference", "fp32"],
      ["candidate", "int8"],
      ["candidate", "fp16"],
    ]);
    expect(report.pairs.map(({ query, document }) => [query, document])).toEqual([
      ["q1", "d1"],
      ["q1", "d2"],
      ["q1", "d3"],
      ["q2", "d2"],
      ["q2", "d1"],
    ]);
    for (const [column, dtype] of ["fp32", "int8", "fp16"].entries()) {
      const [, reranker] = await load(models.tiny, { dtype });
      const { scores } = await reranker.score(
        report.pairs.map(({ query, document }) => ({
          query: queries.get(query) ?? "",
          document: documents.get(document) ?? "",
        })),
      );
      await reranker.dispose();
      scores.forEach(({ logit, score }, index) => {
        expect(report.pairs[index]?.logits[column]).toBeCloseTo(logit ?? Number.NaN, 5);
        expect(report.pairs[index]?.scores[column]).toBeCloseTo(score ?? Number.NaN, 5);
      });
    }
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it("says how alike they are", () => {
    const [reference, int8, fp16] = report.systems;
    expect(reference?.scores).toBeNull();
    expect(fp16?.scores?.diagnosis).toMatchObject({ kind: "same", fewPairs: true });
    const largest = Math.max(
      ...report.pairs.map(({ logits }) => Math.abs((logits[1] ?? 0) - (logits[0] ?? 0))),
    );
    expect(int8?.scores?.delta?.maximum).toBe(largest);
    expect(report.passed).toBeNull();
  });

  it("gates scores alone", async () => {
    const systems = () => [
      source("fp32", models.tiny, { dtype: "fp32" }),
      source("fp16", models.tiny, { dtype: "fp16" }),
      source("other", fixture("cross-encoder-two-class")),
    ];
    const judged = await compare({ systems: systems(), gates: {} });
    expect(judged.systems.map(({ gates }) => gates.some(({ passed }) => !passed))).toEqual([
      false,
      false,
      true,
    ]);
    expect(judged.systems[1]?.gates.map(({ level }) => level)).toEqual(["L2", "L2", "L2"]);
    expect(judged.passed).toBe(false);
  });

  it("makes nothing of NaN", async () => {
    const systems = ["a", "b"].map((name) => source(name, fixture("cross-encoder-nan")));
    const poisoned = new Map([...documents, ["d3", "the poison"]]);
    const error = await compare({ systems, documents: poisoned }).catch((caught: unknown) => caught);
    expect(NonFiniteSystemScoreError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ system: "a", query: "q1", document: "d3", value: "NaN" });
    expect(systems[0]?.asked.closed).toBe(1);
  });

  it("needs two systems of different names", async () => {
    const one = source("one", models.tiny, { dtype: "fp32" });
    await expect(compare({ systems: [one] })).rejects.toThrow("two systems");
    await expect(compare({ systems: [one, one] })).rejects.toThrow("named once");
    await expect(compare({ systems: [one, { ...one, name: "two" }], reference: "three" })).rejects.toThrow(
      "none of the systems",
    );
    expect(one.asked.opened).toBe(0);
  });
});

it("of bi-encoders has vectors and what they find", async () => {
  const systems = [source("a", fixture("bi-encoder")), source("b", fixture("bi-encoder"))];
  const relevant = new Map([["q1", ["d1"]]]);
  const report = await compare({ systems, relevant });
  const [, reranker] = await load(fixture("bi-encoder"));
  const { results } = await reranker.rerank({ query: "what is tea", documents: [...documents.values()] });
  await reranker.dispose();
  const place = results.findIndex(({ index }) => index === 0) + 1;
  const [first, second] = report.systems;
  expect(first?.retrieval).toMatchObject({ mrr: 1 / place, queries: 1, documents: 3 });
  expect(first?.retrieval?.recall).toEqual({ 1: place <= 1 ? 1 : 0, 3: 1, 5: 1, 10: 1 });
  expect(first?.retrieval?.meanGoldCosine).toBeCloseTo(results[place - 1]?.logit ?? Number.NaN, 6);
  expect(first?.vectors).toMatchObject({ dimensions: 32, texts: 5, agreement: null });
  expect(second?.vectors?.agreement?.mean).toBeCloseTo(1, 12);
  expect(report.pairs[0]?.logits[0]).toBeCloseTo(results[place - 1]?.logit ?? Number.NaN, 6);
});

it("of listwise models scores each query's list by itself", async () => {
  const listwise = fileURLToPath(new URL("../../conformance/fixtures/qwen3-listwise", import.meta.url));
  const report = await compare({ systems: [source("a", listwise), source("b", listwise)] });
  const [, reranker] = await load(listwise);
  for (const [query, ids] of pairs) {
    const texts = ids.map((id) => documents.get(id) ?? "");
    const { results } = await reranker.rerank({ query: queries.get(query) ?? "", documents: texts });
    for (const { index, logit } of results) {
      const pair = report.pairs.find((one) => one.query === query && one.document === ids[index]);
      expect(pair?.logits[0]).toBeCloseTo(logit ?? Number.NaN, 6);
    }
  }
  await reranker.dispose();
  expect(report.systems[0]?.model.scoring).toBe("listwise");
});
