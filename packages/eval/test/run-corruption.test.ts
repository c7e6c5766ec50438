import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isLong, sampleOf } from "../../../test/sample.js";
import {
  createRandom,
  createScorer,
  type EvaluationReport,
  runEvaluation,
  ScoreIdentityError,
  type Scorer,
  ScoreStoreError,
  type SystemSource,
  type Task,
} from "../src/index.js";
import { corruptions } from "./run-data/corruptions.js";
import { environment, fixture, load, manyQueries, useModels } from "./run-data/scene.js";
import { useFolders } from "./task-data/scene.js";

/** Each kind with one of the files, and once. CROSSRANK_LONG tries it with every file, and many times. */
const times = isLong ? 50 : 1;

const models = useModels();
const folders = useFolders();
/** Loaded once for all evaluations of a file: a scorer's `close` would free it. */
async function kept(
  name: string,
  model: string,
): Promise<SystemSource & { calls: number; end(): Promise<void> }> {
  const [files, reranker] = await load(model, name === "fp16" ? { dtype: "fp16" } : {});
  const scorer = await createScorer(files, reranker, 1);
  const counted = {
    name,
    calls: 0,
    open: async (): Promise<Scorer> => ({
      ...scorer,
      score: (pairs, options) => {
        counted.calls += 1;
        return scorer.score(pairs, options);
      },
      embed: (texts, options) => {
        counted.calls += 1;
        return scorer.embed(texts, options);
      },
      close: async () => undefined,
    }),
    end: () => scorer.close(),
  };
  return counted;
}

describe.each([
  ["scores", () => models.tiny, ["jsonl"]],
  [
    "vectors",
    () => fixture("bi-encoder"),
    ["queries.jsonl", "documents.jsonl", "queries.f32", "documents.f32"],
  ],
] as const)("stored %s that were changed on the disk", (_, model, files) => {
  let task: Task;
  let system: Awaited<ReturnType<typeof kept>>;
  let folder = "";
  let other = "";
  let expected: unknown;

  const run = (path: string): Promise<EvaluationReport> =>
    runEvaluation({ task, systems: [system], folder: path, environment, metrics: ["ndcg@10"] });
  const resultOf = async (report: EvaluationReport, path: string): Promise<unknown> => [
    report.systems.map(({ metrics, mteb, vectors }) => [metrics, mteb, vectors]),
    await readFile(join(path, "runs", "one.trec"), "utf8"),
  ];

  beforeAll(async () => {
    system = await kept("one", model());
    folder = models.folder(`whole-${files.length}`);
    other = models.folder(`other-${files.length}`);
  });
  afterAll(() => system.end());

  it("never change a result in silence", { timeout: 600_000 * times }, async () => {
    task = await folders.open(manyQueries());
    expected = await resultOf(await run(folder), folder);
    // The same texts under another name, by another precision or model: what its lines say is wrong here.
    const second = await kept(files.length === 1 ? "fp16" : "two", model());
    await runEvaluation({ task, systems: [second], folder: other, environment });
    await second.end();
    const counts = { tried: 0, changedNothing: 0, scoredAgain: 0, refused: 0 };
    const silent: string[] = [];
    const unsaid: string[] = [];
    const tried = Object.entries(corruptions).flatMap(([kind, corrupt]) =>
      sampleOf(files, { name: kind, every: files.length }).map((file) => [file, kind, corrupt] as const),
    );
    for (const [file, kind, corrupt] of tried) {
      for (let seed = 1; seed <= times; seed += 1) {
        const copy = models.folder("copy");
        await rm(copy, { recursive: true, force: true });
        await cp(folder, copy, { recursive: true });
        const path = join(copy, "scores", `one.${file}`);
        const before = await readFile(path);
        const foreign = await readFile(join(other, "scores", `${second.name}.${file}`));
        const after = corrupt(before, createRandom(seed), foreign);
        if (Buffer.compare(before, after) === 0) continue;
        await writeFile(path, after);
        counts.tried += 1;
        system.calls = 0;
        let report: EvaluationReport;
        try {
          report = await run(copy);
        } catch (error) {
          expect(
            ScoreStoreError.isInstance(error) || ScoreIdentityError.isInstance(error),
            `${kind} ${seed}: ${error}`,
          ).toBe(true);
          counts.refused += 1;
          continue;
        }
        const place = `${kind}, ${file}, seed ${seed}`;
        if (JSON.stringify(await resultOf(report, copy)) !== JSON.stringify(expected)) silent.push(place);
        if (system.calls === 0) {
          counts.changedNothing += 1;
          continue;
        }
        counts.scoredAgain += 1;
        // What is missing at the end, or as a whole, is what a run leaves that was stopped.
        const isTorn = file.endsWith("jsonl") && after.at(-1) !== 10;
        const isGone = isTorn || /cut|less|nothing|the end/.test(kind);
        const note = report.systems
          .flatMap(({ warnings }) => warnings)
          .find(({ code }) => code === "damaged-scores");
        if (note === undefined && !isGone) unsaid.push(place);
        // Said once: the damage is gone from the disk.
        if (seed > 1) continue;
        system.calls = 0;
        const again = await run(copy);
        expect(await resultOf(again, copy), place).toEqual(expected);
        expect(system.calls, place).toBe(0);
        expect(again.systems.flatMap(({ warnings }) => warnings).map(({ code }) => code)).not.toContain(
          "damaged-scores",
        );
      }
    }
    console.log(JSON.stringify({ ...counts, silent: silent.length }));
    expect(silent).toEqual([]);
    expect(unsaid).toEqual([]);
    expect(counts.tried).toBeGreaterThan((tried.length * times) / 2);
  });
});
