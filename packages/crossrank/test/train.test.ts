import { spawnSync } from "node:child_process";
import { cp, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mlx } from "@crossrank/backend-mlx";
import { beforeAll, describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { createBackend } from "../src/backends.js";
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
  readonly result: { readonly bestStep: number; readonly steps: number };
}

const read = async (path: string): Promise<Report> => JSON.parse(await readFile(path, "utf8"));

const weightsOf = (output: string): Promise<Buffer> => readFile(join(output, "model", "model.safetensors"));

/** A model folder's files in each format, and the backend that judges it. */
const formats: readonly (readonly [to: string, backend: string, file: string])[] = [
  ["onnx", "onnx", "onnx/model.onnx"],
  ["gguf", "llamacpp", "gguf/model-F32.gguf"],
  ["mlpackage", "coreml:reference", "mlpackage/model.mlpackage/Manifest.json"],
  ["ctranslate2", "ctranslate2", "ctranslate2/model.ctranslate2/model.bin"],
  ["mnn", "mnn", "mnn/model.mnn"],
];

/** MNN's converter is a package of Python. */
const canWriteMnn = (): boolean =>
  process.env["CROSSRANK_REQUIRE_MNN_CONVERTER"] === "1" ||
  spawnSync(process.env["PYTHON"] || "python3", ["-c", "import _tools; _tools.mnnconvert"]).status === 0;

/** Those that can be judged here. @param name of the sample: ONNX and another one; in `.ci/long` all. */
async function formatsHere(name: string): Promise<readonly (typeof formats)[number][]> {
  const others = sampleOf(formats.slice(1), { name, every: formats.length - 1 });
  const here: (typeof formats)[number][] = [];
  for (const one of [...formats.slice(0, 1), ...others]) {
    const [to, backend] = one;
    const isRequired = process.env[`CROSSRANK_REQUIRE_${to.toUpperCase()}`] === "1";
    const runs = isRequired || (await (await createBackend(backend)).diagnose()).available;
    if (runs && (to !== "mnn" || canWriteMnn())) here.push(one);
    else console.warn(`SKIPPED: training to ${to}, which ${backend} does not judge here`);
  }
  return here;
}

/** What the first test trains: the others hold theirs against it, or go on from it. */
let whole: string;
let data: string;

beforeAll(async () => {
  whole = folder.path("whole");
  data = await folder.write("judged.jsonl", jsonl(rows));
});

(available ? describe : describe.skip)("train", () => {
  test("a model that learns passes the gate of every format", async () => {
    const dry = folder.path("dry");
    const shown = await train(["--data", data, "--output", dry, "--dry-run"]);
    expect(shown).toMatchObject({ code: 0 });
    expect(shown.stdout).toMatch(/data +360 pairs of 60 queries/);
    expect(shown.stdout).toMatch(/validation +6 queries/);

    const wanted = await formatsHere("formats of a training");
    const to = wanted.map(([format]) => format).join();
    const { code, stdout, stderr } = await train(["--data", data, "--output", whole, "--to", to]);
    expect({ code, stderr: stderr.match(/crossrank: .*/)?.[0] }).toEqual({ code: 0, stderr: undefined });
    expect(stderr).toMatch(/^step 0: nDCG@10 0\.\d{4} \(0\.\d{4} to/m);
    for (const format of to.split(",")) expect(stdout).toMatch(new RegExp(`PASS +${format}: nDCG@10`));
    expect((await readdir(whole)).sort()).toEqual(["model", "report.html", "report.json", "report.md"]);
    for (const [, , file] of wanted)
      expect((await readFile(join(whole, "model", file))).length).toBeGreaterThan(0);
    const report = await read(join(whole, "report.json"));
    expect(report.passed).toBe(true);
    expect(report.gates.map(({ artifact }) => artifact)).toEqual(to.split(","));
    expect(report.result.bestStep).toBeGreaterThan(0);
    expect(await readFile(join(whole, "report.html"), "utf8")).toMatch(/<svg .*Held-out nDCG@10/);
    await expect(readdir(`${whole}.training`)).rejects.toThrow("ENOENT");
    const again = await train(["--data", data, "--output", whole]);
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toContain("is there already");
  });

  test("what a kill stops goes on to the same curve and weights", async () => {
    const killed = folder.path("killed");
    const args = ["--data", data, "--output", killed];
    await crossrank(["train", conformanceFixture("bert-logit"), ...quick, ...args], {
      onStandardError: (text, child) => {
        if (/^step \d\d? of/m.test(text)) child.kill("SIGKILL");
      },
    });
    await expect(readdir(killed)).rejects.toThrow("ENOENT");
    expect(await train(args)).toMatchObject({ code: 0 });
    expect((await read(join(killed, "report.json"))).curve).toEqual(
      (await read(join(whole, "report.json"))).curve,
    );
    expect((await weightsOf(killed)).equals(await weightsOf(whole))).toBe(true);
  });

  test("a worse model fails the gate of every format, and nothing is left that looks finished", async () => {
    // It learns the opposite, from a base that knows better.
    await cp(join(whole, "model"), folder.path("base"), { recursive: true });
    const opposite = rows.map(({ query, positive, negatives }) => ({
      query,
      positive: negatives[0],
      negatives: [positive],
    }));
    const wrong = await folder.write("wrong.jsonl", jsonl(opposite));
    const task = await writeTask();
    const output = folder.path("worse");
    const wanted = (await formatsHere("formats of a worse model")).map(([format]) => format);
    const args = [
      ...["train", folder.path("base"), ...quick, "--data", wrong, "--output", output],
      ...["--gate-task", task, "--keep", "last", "--format", "json"],
    ];
    const { code, stdout, stderr } = await crossrankInTurn([...args, "--to", wanted.join()]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(new RegExp(`${wanted.length} gates? failed\\. onnx: nDCG@10`));
    await expect(readdir(output)).rejects.toThrow("ENOENT");
    const left = await readdir(`${output}.training`);
    expect(left).toContain("report.html");
    expect(left).not.toContain("merged");
    const report = await read(join(`${output}.training`, "report.json"));
    expect(report).toMatchObject({ passed: false, gates: wanted.map(() => ({ passed: false })) });

    // With a gate that asks for less the same command goes on, and trains nothing again.
    const again = await crossrankInTurn([...args, "--gate", "1", "--to", "onnx"]);
    expect(again).toMatchObject({ code: 0 });
    expect(again.stderr).not.toMatch(/^step/m);
    expect((await read(join(output, "report.json"))).curve).toEqual(report.curve);
  });

  test.each([
    [
      "a format that does not know the model",
      ["--to", "onnx,ctranslate2"],
      "modernbert-mean",
      /--to ctranslate2: .*cannot be converted/,
    ],
    ["a precision that there is not", ["--to", "onnx:int9"], "bert-logit", /the precisions of onnx are/],
  ] as const)("%s is named before anything is trained", async (_, args, name, message) => {
    const given = [
      "train",
      conformanceFixture(name),
      "--data",
      data,
      "--output",
      folder.path("none"),
      ...args,
    ];
    const { code, stderr } = await crossrankInTurn(given);
    expect(code).toBe(name === "bert-logit" ? 2 : 1);
    expect(stderr).toMatch(message);
    await expect(readdir(`${folder.path("none")}.training`)).rejects.toThrow("ENOENT");
  });

  test("a row that cannot be used is named before anything is trained", async () => {
    const bad = await folder.write("bad.jsonl", `${jsonl(rows)}{"query": "q", "positive": ""}\n`);
    const { code, stdout, stderr } = await train(["--data", bad, "--output", folder.path("bad")]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("bad.jsonl:61");
  });
});

/** Other questions of the same kind, as a BEIR folder. */
async function writeTask(): Promise<string> {
  const held = Array.from({ length: 12 }, (_, index) => ({
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
  const task = fileURLToPath(new URL("../../../examples/task", import.meta.url));
  const mine = (output: string, ...args: readonly string[]): Promise<Outcome> =>
    crossrankInTurn([
      ...["mine", "--queries", task, "--split", "test", "--corpus", task, "--depth", "5", "--output", output],
      ...args,
    ]);
  const minedOf = async (
    output: string,
  ): Promise<{ readonly positive: string; readonly negative: string }[]> =>
    (await readFile(output, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));

  test("nano is the teacher: hard negatives of a task, without its positives", async () => {
    const output = folder.path("mined.jsonl");
    const { code, stdout } = await mine(output, "--format", "json");
    expect(code).toBe(0);
    const result = JSON.parse(stdout) as { readonly rows: number; readonly notes: readonly string[] };
    // That its queries have positives alone is what is mined for.
    expect(result.notes).toEqual([]);
    const mined = await minedOf(output);
    expect(mined.length).toBe(result.rows);
    for (const { positive, negative } of mined) expect(negative).not.toBe(positive);
    const first = await readFile(output, "utf8");
    expect(await mine(output)).toMatchObject({ code: 0 });
    expect(await readFile(output, "utf8")).toBe(first);
  });

  test("a bi-encoder is the teacher: what comes within a margin of cosines is dropped", async () => {
    const teacher = conformanceFixture("bert-cosine-mean");
    const mined = new Map<string, number>();
    for (const margin of ["0", "0.05", "2"]) {
      const given = ["--teacher", teacher, ...(margin === "0.05" ? [] : ["--margin", margin])];
      const { code, stdout } = await mine(folder.path(`bi-${margin}.jsonl`), ...given, "--format", "json");
      expect(code).toBe(0);
      mined.set(margin, (JSON.parse(stdout) as { readonly rows: number }).rows);
    }
    // No two cosines are further apart than 2, so that every candidate may be relevant.
    expect(mined.get("2")).toBe(0);
    expect(mined.get("0")).toBeGreaterThan(0);
    expect(mined.get("0.05")).toBeLessThanOrEqual(mined.get("0") as number);
  });

  test("a bi-encoder's cosines are nothing to distil", async () => {
    const teacher = ["--teacher", conformanceFixture("bert-cosine-mean")];
    const lists = await mine(folder.path("lists.jsonl"), ...teacher, "--form", "lists");
    expect(lists.code).toBe(1);
    expect(lists.stderr).toMatch(/--form lists distils a teacher's logits, and .* is a bi-encoder/);
  });
});
