import { describe, expect, it } from "vitest";
import {
  createScorer,
  type EvaluationReport,
  EvaluationSetupError,
  renderMarkdown,
  runEvaluation,
  ScoreIdentityError,
  type SystemSource,
  type Task,
} from "../src/index.js";
import { environment, fixture, load, source, useModels } from "./run-data/scene.js";
import { jsonl, lines, useFolders } from "./task-data/scene.js";

const models = useModels();
const folders = useFolders();

const filler = "the old train and the city with bread and tea in the snow ".repeat(12);
/** What is asked for stands at the end, where a short model never comes. */
const files = {
  "corpus.jsonl": jsonl(
    { _id: "d0", text: `${filler} money in the bank` },
    { _id: "d1", text: `${filler} the dog and the river` },
    { _id: "d2", text: "coffee with bread" },
  ),
  "queries.jsonl": jsonl({ _id: "q0", text: "money bank" }, { _id: "q1", text: "dog river" }),
  "qrels/test.tsv": lines("q0\td0\t1", "q1\td1\t1"),
  "candidates.trec": lines(
    ...["q0", "q1"].flatMap((query) => [0, 1, 2].map((at) => `${query} Q0 d${at} ${at + 1} ${3 - at} x`)),
  ),
};

function run(task: Task, systems: readonly SystemSource[], folder: string): Promise<EvaluationReport> {
  return runEvaluation({ task, systems, folder: models.folder(folder), environment });
}

describe("documents that are longer than the model", () => {
  it("are cut or scored by passages, each as core does it, and the report says which", async () => {
    const task = await folders.open(files);
    const cut = source("cut", models.tiny, { dtype: "fp32", maxLength: 32 });
    const passages = source("passages", models.tiny, {
      dtype: "fp32",
      maxLength: 32,
      longDocuments: { aggregate: "mean-of-top", top: 2, overlapTokens: 4 },
    });
    const report = await run(task, [cut, passages], "long");
    const systems = report.systems.filter(({ model }) => model !== null);
    expect(systems.map(({ model }) => model?.longDocuments)).toEqual([
      undefined,
      { aggregate: "mean-of-top", top: 2, overlapTokens: 4, maxPassages: 256 },
    ]);
    expect(systems.map(({ warnings }) => warnings.some(({ message }) => message.includes("cut")))).toEqual([
      true,
      false,
    ]);
    expect(renderMarkdown(report)).toContain(
      "32 tokens, longer documents in passages that share 4, mean-of-top 2",
    );

    const [, reranker] = await load(models.tiny, { dtype: "fp32", maxLength: 32 });
    try {
      const texts = await task.documents.texts(["d0", "d1", "d2"]);
      const pairs = texts.map((document) => ({ query: "money bank", document }));
      const whole = await reranker.score(pairs, {
        longDocuments: { aggregate: "mean-of-top", top: 2, overlapTokens: 4 },
      });
      const difference = systems[1]?.scores?.delta?.maximum ?? 0;
      expect(difference).toBeGreaterThan(0);
      const plain = await reranker.score(pairs);
      expect(whole.scores[0]?.logit).not.toBe(plain.scores[0]?.logit);
      expect(whole.scores[2]?.logit).toBe(plain.scores[2]?.logit);
      const ownScorer = await createScorer((await load(models.tiny, { dtype: "fp32" }))[0], reranker, 1, {
        aggregate: "mean-of-top",
        top: 2,
        overlapTokens: 4,
      });
      const own = await ownScorer.score(pairs, {});
      expect(own.scores.map(({ logit }) => logit)).toEqual(whole.scores.map(({ logit }) => logit));
    } finally {
      await reranker.dispose();
    }
  });

  it("scored another way are another run", async () => {
    const task = await folders.open(files);
    const options = { dtype: "fp32", maxLength: 32 } as const;
    await run(task, [source("onnx", models.tiny, options)], "other");
    const error = await run(
      task,
      [source("onnx", models.tiny, { ...options, longDocuments: "chunk" })],
      "other",
    ).catch((cause: unknown) => cause);
    expect(ScoreIdentityError.isInstance(error)).toBe(true);
    expect((error as ScoreIdentityError).differences.map(({ what }) => what)).toEqual(["long documents"]);
  });

  it("are not for a bi-encoder, whose texts are embedded whole", async () => {
    const task = await folders.open(files);
    const system = source("onnx", fixture("bi-encoder"), { longDocuments: "chunk" });
    await expect(run(task, [system], "bi")).rejects.toBeInstanceOf(EvaluationSetupError);
  });
});
