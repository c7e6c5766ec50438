import { cp, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mlx } from "@crossrank/backend-mlx";
import { describe, expect, test } from "vitest";
import {
  conformanceFixture,
  crossrank,
  crossrankInTurn,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const { available, detail } = await mlx().diagnose();
if (!available) {
  if (process.env["CROSSRANK_REQUIRE_MLX"] === "1") throw new Error(detail);
  console.warn(`SKIPPED: training by the command, which needs MLX. ${detail}`);
}

const folder = temporaryFolder();
const subjects = ["cat", "vaccine", "planet", "river", "bread", "engine", "violin", "tax", "whale", "bridge"];

/** Questions with their answer and sentences about something else. */
const rows = Array.from({ length: 60 }, (_, index) => {
  const [subject, ...others] = [0, 1, 2, 3].map((step) => subjects[(index + step) % subjects.length]);
  const about = (name: string | undefined, place: number): string =>
    `A ${name} is explained here, ${index} and ${place}.`;
  const query = `what is a ${subject} number ${index}?`;
  return {
    query,
    positive: about(subject, 0),
    negatives: others.map((name, place) => about(name, place + 1)),
  };
});

const jsonl = (list: readonly object[]): string => list.map((row) => `${JSON.stringify(row)}\n`).join("");

/** All weights of a tiny model, with a rate at which it learns in seconds. */
const quick = [
  "--method",
  "full",
  "--learning-rate",
  "0.01",
  "--epochs",
  "2",
  "--depth",
  "6",
  "--threads",
  "1",
];

const train = (args: readonly string[]): Promise<Outcome> =>
  crossrankInTurn(["train", conformanceFixture("bert-logit"), ...quick, ...args]);

interface Report {
  readonly passed: boolean;
  readonly curve: readonly { readonly kind: string; readonly step: number; readonly mean?: number }[];
  readonly gates: readonly { readonly artifact: string; readonly passed: boolean }[];
  readonly result: { readonly bestStep: number };
}

const read = async (path: string): Promise<Report> => JSON.parse(await readFile(path, "utf8"));

(available ? describe : describe.skip)("train", () => {
  test("a model that learns passes its gate, and what a kill stops goes on to the same curve", async () => {
    const data = await folder.write("judged.jsonl", jsonl(rows));
    const dry = folder.path("dry");
    const shown = await train(["--data", data, "--output", dry, "--dry-run"]);
    expect(shown).toMatchObject({ code: 0 });
    expect(shown.stdout).toMatch(/data +360 pairs of 60 queries/);
    expect(shown.stdout).toMatch(/validation +6 queries/);

    const whole = folder.path("whole");
    const { code, stdout, stderr } = await train(["--data", data, "--output", whole, "--to", "onnx"]);
    expect({ code, stderr: stderr.match(/crossrank: .*/)?.[0] }).toEqual({ code: 0, stderr: undefined });
    expect(stderr).toMatch(/^step 0: nDCG@10 0\.\d{4} \(0\.\d{4} to/m);
    expect(stdout).toMatch(/PASS +onnx: nDCG@10/);
    expect((await readdir(whole)).sort()).toEqual(["model", "report.html", "report.json", "report.md"]);
    expect(await readdir(join(whole, "model", "onnx"))).toContain("model.onnx");
    const report = await read(join(whole, "report.json"));
    expect(report.passed).toBe(true);
    expect(report.result.bestStep).toBeGreaterThan(0);
    expect(await readFile(join(whole, "report.html"), "utf8")).toMatch(/<svg .*Held-out nDCG@10/);
    await expect(readdir(`${whole}.training`)).rejects.toThrow("ENOENT");
    const again = await train(["--data", data, "--output", whole]);
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toContain("is there already");

    const killed = folder.path("killed");
    const args = ["--data", data, "--output", killed, "--to", "onnx"];
    await crossrank(["train", conformanceFixture("bert-logit"), ...quick, ...args], {
      onStandardError: (text, child) => {
        if (/^step \d\d? of/m.test(text)) child.kill("SIGKILL");
      },
    });
    await expect(readdir(killed)).rejects.toThrow("ENOENT");
    expect(await train(args)).toMatchObject({ code: 0 });
    expect((await read(join(killed, "report.json"))).curve).toEqual(report.curve);
    const weights = (name: string): Promise<Buffer> => readFile(join(name, "model", "model.safetensors"));
    expect((await weights(killed)).equals(await weights(whole))).toBe(true);
  });

  test("a worse model fails its gate, and nothing is left that looks finished", async () => {
    // It learns the opposite, from a base that knows better.
    const good = folder.path("good");
    const data = await folder.write("good.jsonl", jsonl(rows));
    expect(await train(["--data", data, "--output", good, "--to", "onnx"])).toMatchObject({ code: 0 });
    await cp(join(good, "model"), folder.path("base"), { recursive: true });
    const opposite = rows.map(({ query, positive, negatives }) => ({
      query,
      positive: negatives[0],
      negatives: [positive],
    }));
    const wrong = await folder.write("wrong.jsonl", jsonl(opposite));
    const task = await writeTask();
    const output = folder.path("worse");
    const { code, stdout, stderr } = await crossrankInTurn([
      ...["train", folder.path("base"), ...quick, "--data", wrong, "--output", output],
      ...["--gate-task", task, "--keep", "last", "--to", "onnx", "--format", "json"],
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/1 gate failed\. onnx: nDCG@10/);
    await expect(readdir(output)).rejects.toThrow("ENOENT");
    const left = await readdir(`${output}.training`);
    expect(left).toContain("report.html");
    expect(left).not.toContain("merged");
    expect(await read(join(`${output}.training`, "report.json"))).toMatchObject({
      passed: false,
      gates: [{ passed: false }],
    });
    await rm(output, { recursive: true, force: true });
  });

  test("a row that cannot be used is named before anything is trained", async () => {
    const data = await folder.write("bad.jsonl", `${jsonl(rows)}{"query": "q", "positive": ""}\n`);
    const { code, stdout, stderr } = await train(["--data", data, "--output", folder.path("bad")]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("bad.jsonl:61");
  });
});

/** Other questions of the same kind, as a BEIR folder. */
async function writeTask(): Promise<string> {
  const held = Array.from({ length: 30 }, (_, index) => ({
    query: `tell me of the ${subjects[index % 10]} ${index}`,
    answer: `A ${subjects[index % 10]} is explained here, ${index}.`,
  }));
  await mkdir(folder.path("task/qrels"), { recursive: true });
  await folder.write(
    "task/queries.jsonl",
    jsonl(held.map(({ query }, id) => ({ _id: `q${id}`, text: query }))),
  );
  await folder.write(
    "task/corpus.jsonl",
    jsonl(held.map(({ answer }, id) => ({ _id: `d${id}`, text: answer }))),
  );
  const judged = held.map((_, id) => `q${id}\td${id}\t1\n`).join("");
  await folder.write("task/qrels/test.tsv", `query-id\tcorpus-id\tscore\n${judged}`);
  return folder.path("task");
}

describe("mine", () => {
  test("nano is the teacher: hard negatives of a task, without its positives", async () => {
    const task = fileURLToPath(new URL("../../../examples/task", import.meta.url));
    const output = folder.path("mined.jsonl");
    const args = [
      "mine",
      "--queries",
      task,
      "--split",
      "test",
      "--corpus",
      task,
      "--depth",
      "5",
      "--output",
      output,
    ];
    const { code, stdout } = await crossrankInTurn([...args, "--format", "json"]);
    expect(code).toBe(0);
    const result = JSON.parse(stdout) as { readonly queries: number; readonly rows: number };
    const mined = (await readFile(output, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(mined.length).toBe(result.rows);
    for (const { positive, negative } of mined) expect(negative).not.toBe(positive);
    const first = await readFile(output, "utf8");
    expect(await crossrankInTurn(args)).toMatchObject({ code: 0 });
    expect(await readFile(output, "utf8")).toBe(first);
  });
});
