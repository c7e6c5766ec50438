import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InvalidInputError } from "@crossrank/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DocumentNotScoredError, requireScore } from "../src/adapter-scores.js";
import { lazyReranker, openReranker } from "../src/index.js";
import { crossrankInTurn as crossrank, fixture } from "./run-command.js";

const query = "how is bread baked";
const texts = [
  "a cat sleeps",
  "bread is baked in an oven",
  "the bridge was built in 1932",
  "flour and water make bread",
];
const model = fixture("cross-encoder");
const task = fileURLToPath(new URL("../../../examples/task", import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-cascade-"));
  await writeFile(join(folder, "documents.txt"), `${texts.join("\n")}\n`);
});
afterAll(() => rm(folder, { recursive: true }));

describe("openReranker with a cascade", () => {
  it("opens both models, and disposes of both", async () => {
    const both = await openReranker(model, { cascade: { model: "nano", keep: 2, workers: 1 } });
    const { results, stages, scale } = await both.rerank({ query, documents: texts });
    expect(stages.map((stage) => [stage.model.id, stage.pairs])).toEqual([
      ["nano", 4],
      [model, 2],
    ]);
    expect(results.map(({ stage }) => stage)).toEqual([1, 1, 0, 0]);
    expect(
      results
        .slice(0, 2)
        .map(({ index }) => index)
        .toSorted(),
    ).toEqual([1, 3]);
    expect(scale).toBe("logit");
    expect(() => requireScore(0, results[0] as (typeof results)[number])).not.toThrow();
    try {
      requireScore(2, results[2] as (typeof results)[number]);
    } catch (error) {
      expect(DocumentNotScoredError.isInstance(error) && error.reason).toBe("earlier-stage");
    }
    await both.dispose();
    await expect(both.rerank({ query, documents: texts })).rejects.toMatchObject({ code: "disposed" });
  });

  it.each([
    ["cascade.keep", { model: "nano", keep: 0 }],
    ["cascade.keep", { model: "nano" }],
    ["cascade.model", { keep: 3 }],
    ["cascade.backend", { model: "nano", keep: 3, backend: "" }],
    ["cascade.instruction", { model: "nano", keep: 3, instruction: "a" }],
  ])("refuses %s before anything is opened", async (path, given) => {
    const error = await openReranker("./nowhere", { cascade: given as never }).catch(
      (thrown: unknown) => thrown,
    );
    expect(InvalidInputError.isInstance(error) && error.path).toBe(path);
  });

  it("is an option of adapters, and none of a chain of variants", async () => {
    const lazy = lazyReranker(model, { cascade: { model: "nano", keep: 2, workers: 1 } });
    const { results } = await lazy.rerank({ query, documents: texts, topN: 2 });
    expect(results.every(({ score }) => score !== null)).toBe(true);
    await lazy.dispose();
    const chain = { variants: [{}], cascade: { model: "nano", keep: 2 } };
    await expect(openReranker(model, chain as never)).rejects.toMatchObject({ path: "cascade" });
  });
});

describe("--cascade", () => {
  it("ranks with two models, and says so", async () => {
    const documents = join(folder, "documents.txt");
    const args = [
      "rerank",
      "-q",
      query,
      "-d",
      documents,
      "--model",
      model,
      "--cascade",
      "nano,workers=1",
      "--keep",
      "2",
    ];
    const { code, stdout } = await crossrank([...args, "--format", "json"]);
    expect(code).toBe(0);
    const given = JSON.parse(stdout);
    expect(given.stages).toHaveLength(2);
    expect(given.results.map(({ stage }: { stage: number }) => stage)).toEqual([1, 1, 0, 0]);
  });

  it.each([
    [["rerank", "-q", "a", "-d", "-", "--cascade", "nano"], "--keep"],
    [["rerank", "-q", "a", "-d", "-", "--keep", "3"], "--cascade"],
    [["rerank", "-q", "a", "-d", "-", "--cascade", "nano", "--keep", "3", "--threshold", "0"], "--threshold"],
    [["serve", "--cascade", "nano"], "--keep"],
    [["eval", "--task", task, "--keep", "3"], "--cascade"],
    [["eval", "--task", task, "--cascade", "nano", "--gate", "rules.json"], "--gate"],
  ])("refuses %j", async (args, option) => {
    const { code, stderr } = await crossrank(args);
    expect([code, stderr.includes(option)]).toEqual([2, true]);
  });

  it("sweeps a task, keeps its scores, and fails of a keep that loses too much", async () => {
    const report = join(folder, "report");
    const args = [
      "eval",
      "--task",
      task,
      "--limit",
      "4",
      "--model",
      "nano",
      "--cascade",
      `${model},workers=1`,
    ];
    const kept = [...args, "--report", report, "--workers", "1", "--keep", "1"];
    const { code, stderr } = await crossrank([...kept, "--gate", "0.003"]);
    expect([code, stderr]).toEqual([1, expect.stringContaining("keep 1")]);
    expect((await readdir(report)).toSorted()).toEqual([
      "cascade.html",
      "cascade.json",
      "cascade.md",
      "scores",
    ]);
    const { rows, queries, documentMilliseconds, timings } = JSON.parse(
      await readFile(join(report, "cascade.json"), "utf8"),
    );
    expect([rows[0].keep, rows[0].passed, queries]).toEqual([1, false, 4]);
    expect(documentMilliseconds.small).toBeGreaterThan(0);
    expect(timings).toMatchObject([{ keep: 1, calls: 4 }]);
    const [{ processor, wall, calculated }] = timings;
    for (const one of [processor, wall]) expect(0 < one.lower && one.lower <= one.upper).toBe(true);
    expect(calculated).toBeGreaterThan(0);
    // Scores of a limited run are those of a longer one.
    const size = async () => (await readFile(join(report, "scores", `nano-on-onnx.jsonl`), "utf8")).length;
    const before = await size();
    const longer = await crossrank([...kept.map((one) => (one === "4" ? "5" : one)), "--gate", "1"]);
    expect([longer.code, (await size()) > before], longer.stderr).toEqual([0, true]);
  });
});
