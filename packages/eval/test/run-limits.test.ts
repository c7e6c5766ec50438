import { describe, expect, it } from "vitest";
import { type EvaluationReport, runEvaluation, type SystemSource } from "../src/index.js";
import { environment, fixture, manyQueries, source, useModels } from "./run-data/scene.js";
import { useFolders } from "./task-data/scene.js";

const models = useModels();
const folders = useFolders();

const limits =
  process.env["CROSSRANK_LONG"] === undefined
    ? [3, 20, 25, undefined]
    : [1, 3, 19, 20, 21, 25, 33, undefined];
/** Each after each one, itself too, once: a sequence of de Bruijn's. */
const orders = [
  ...limits.flatMap((first, index) => [
    first,
    ...limits.slice(index + 1).flatMap((second) => [first, second]),
  ]),
  limits[0],
];

/** What a report says of the work that was done, but for the time that it took. */
function covered(report: EvaluationReport): unknown {
  const { speed, warnings } = report.systems.at(-1) ?? {};
  const { documents, tokens, perQuery } = speed ?? {};
  return { documents, tokens, queries: perQuery?.queries, warnings };
}

describe.each([
  // So short that documents are cut, in different numbers for each query.
  ["a cross-encoder", (): SystemSource => source("one", models.tiny, { dtype: "fp32", maxLength: 19 })],
  ["a bi-encoder", (): SystemSource => source("one", fixture("bi-encoder"), { maxLength: 12 })],
])("what a report says of %s", (_, system) => {
  it("is of its own rows, whatever else the folder holds", { timeout: 1_200_000 }, async () => {
    const task = await folders.open(manyQueries());
    let count = 0;
    const run = (folder: string, limit: number | undefined): Promise<EvaluationReport> =>
      runEvaluation({ task, systems: [system()], folder, limit, environment, metrics: ["ndcg@10"] });
    const fresh = new Map<number | undefined, unknown>();
    for (const limit of limits) {
      count += 1;
      const report = await run(models.folder(`fresh-${count}`), limit);
      fresh.set(limit, covered(report));
      expect(report.systems.at(-1)?.speed?.documents).toBeLessThanOrEqual(report.task.counts.pairs);
    }
    expect(JSON.stringify(fresh.get(undefined))).toContain("documents-truncated");
    // One folder for all orders: what an earlier limit left must not matter either.
    const shared = models.folder(`shared-${count}`);
    for (const limit of orders) {
      const { documents, tokens, queries, warnings } = covered(await run(shared, limit)) as Record<
        string,
        unknown
      >;
      expect({ documents, tokens, queries, warnings }, `limit ${limit}`).toEqual(fresh.get(limit));
    }
  });
});
