import { cp } from "node:fs/promises";
import type { ComparisonReport } from "@crossrank/eval";
import { beforeAll, describe, expect, it } from "vitest";
import { tinyModel, writeTask } from "./evaluation-scene.js";
import { crossrankInTurn as crossrank, fixture, type Outcome, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const model = tinyModel(folder);
let pairs = "";
beforeAll(async () => {
  const rows = [
    {
      query: "what is tea",
      documents: ["tea is water and green", "the dog sat on the mat", "tea is water and green"],
    },
    { query: "how do dogs grow", document: "the dog sat on the mat", relevant: true },
    { query: "what is tea", document: "paris is the capital of france" },
  ];
  pairs = await folder.write("pairs.jsonl", `${rows.map((row) => JSON.stringify(row)).join("\n\n")}\n`);
});

function compare(...args: readonly string[]): Promise<Outcome> {
  // A model is given once.
  const chosen = args.includes("--model") ? [] : ["--model", model()];
  return crossrank(["compare", ...chosen, ...args]);
}

type Printed = Omit<ComparisonReport, "pairs"> & {
  readonly pairs: readonly {
    readonly query: { readonly id: string; readonly text: string };
    readonly document: { readonly id: string; readonly text: string };
    readonly logits: readonly number[];
    readonly scores: readonly number[];
  }[];
};

describe("compare", () => {
  it("puts scores side by side, with statistics and a diagnosis", async () => {
    const { code, stdout, stderr } = await compare(
      "--pairs",
      pairs,
      "--backend",
      "onnx:int8",
      "--reference",
      "onnx:fp32",
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^reference +onnx:fp32, onnx fp32 [0-9a-f]{12}, onnxruntime-node /m);
    expect(stdout).toMatch(/^candidate +onnx:int8, onnx int8 /m);
    expect(stdout).toMatch(/^onnx:fp32 logit +onnx:int8 logit +\|Δ\| +query +document$/m);
    expect(stdout).toMatch(/^ *−?\d\.\d{4} +−?\d\.\d{4} +\S+ +what is tea +paris is the capital of france$/m);
    expect(stdout).toMatch(/^pairs +4$/m);
    expect(stdout).toMatch(/^onnx:int8: \w[\w ]*\. /m);
  });

  it("gives the same numbers as rerank, as JSON", async () => {
    const { code, stdout } = await compare(
      "--pairs",
      pairs,
      "-b",
      "onnx:fp32",
      "-b",
      "onnx:fp16",
      "--gate",
      "--format",
      "json",
    );
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as Printed;
    expect(report.systems[1]?.gates).toContainEqual(expect.objectContaining({ check: "τ-b", passed: true }));
    expect(report.pairs.map(({ query, document }) => [query.text, document.text])).toEqual([
      ["what is tea", "tea is water and green"],
      ["what is tea", "the dog sat on the mat"],
      ["what is tea", "paris is the capital of france"],
      ["how do dogs grow", "the dog sat on the mat"],
    ]);
    for (const [column, dtype] of ["fp32", "fp16"].entries()) {
      const documents = await folder.write(
        "documents.txt",
        report.pairs
          .slice(0, 3)
          .map(({ document }) => document.text)
          .join("\n"),
      );
      const ranked = await crossrank([
        "rerank",
        "-q",
        "what is tea",
        "-d",
        documents,
        "--model",
        model(),
        "--dtype",
        dtype,
        "-f",
        "json",
      ]);
      const { results } = JSON.parse(ranked.stdout) as {
        results: { index: number; logit: number; score: number }[];
      };
      for (const { index, logit, score } of results) {
        expect(report.pairs[index]?.logits[column]).toBeCloseTo(logit, 5);
        expect(report.pairs[index]?.scores[column]).toBeCloseTo(score, 5);
      }
    }
  });

  it("shows the pairs that differ most first, and not more than asked for", async () => {
    const task = await writeTask(folder, "task", { queries: 12, candidates: 12, words: 10 });
    const { code, stdout } = await compare(
      "--task",
      task,
      "-b",
      "onnx:fp32",
      "-b",
      "onnx:int8",
      "--top",
      "3",
      "--depth",
      "5",
      "--limit",
      "6",
    );
    // What the gate below refuses is not judged.
    expect(code).toBe(0);
    expect(stdout).toMatch(/^the 3 that differ most, of 30 pairs$/m);
    const shown = [...stdout.matchAll(/^ *−?\d\.\d{4} +−?\d\.\d{4} +(\d\.\d{4}) /gm)].map(([, delta]) =>
      Number(delta),
    );
    expect(shown).toHaveLength(3);
    expect(shown).toEqual([...shown].sort((left, right) => right - left));
    const most = Number(/^\|Δ logit\| max +(\S+)$/m.exec(stdout)?.[1]);
    expect(shown[0]).toBe(most);
  });

  it("judges only when asked, and then by exit code", async () => {
    const args = ["--task", folder.path("task"), "-b", "onnx:fp32", "-b", "onnx:int8"];
    args.push("--depth", "5", "--limit", "6");
    const strict = await folder.write("strict.json", '{"scores": {"tau": 0.99999, "topOne": 0}}');
    const failed = await compare(...args, "--gate", strict);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/^crossrank: 1 gate failed\. onnx:int8: L2 τ-b failed: .* by /);
    expect(failed.stdout).toMatch(/^FAIL {2}onnx:int8: L2 τ-b failed/m);
    expect(failed.stdout).toMatch(/^PASS {2}onnx:int8: L2 /m);
  });

  it("takes no margin as its gate, which would judge nothing", async () => {
    const { code, stderr } = await compare(
      "--pairs",
      pairs,
      "-b",
      "onnx:fp32",
      "-b",
      "onnx:int8",
      "--gate",
      "0",
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(/^crossrank: --gate 0 is a loss of a metric, which crossrank eval judges/);
  });

  it("says what a bi-encoder finds, and how alike vectors are", async () => {
    const twin = folder.path("bi");
    await cp(fixture("bi-encoder"), twin, { recursive: true });
    await cp(`${twin}/onnx/model.onnx`, `${twin}/onnx/model_fp16.onnx`);
    const { code, stdout } = await compare(
      "--pairs",
      pairs,
      "--model",
      twin,
      "-b",
      "onnx:fp32",
      "-b",
      "onnx:fp16",
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^vectors +Recall@1 +Recall@3 +Recall@5 +Recall@10 +MRR +gold cosine +cosine to reference +5th percentile$/m,
    );
    expect(stdout).toMatch(/^onnx:fp16 +(?:\d\.\d{4} +){6}1\.000000 +1\.000000$/m);
    expect(stdout).toMatch(/^1 queries among 3 documents$/m);
  });
});

describe("compare fails in one line", () => {
  const two = ["-b", "onnx:fp32", "-b", "onnx:fp16"];
  const failing: [string, () => Promise<readonly string[]>, number, RegExp][] = [
    ["without pairs", async () => two, 2, /give the pairs to score with --pairs, or a --task/],
    [
      "for both kinds of pairs",
      async () => [...two, "--pairs", pairs, "--task", "x"],
      2,
      /cannot be used with option/,
    ],
    ["with one backend", async () => ["--pairs", pairs, "-b", "onnx:fp32"], 2, /needs two backends/],
    [
      "for no file",
      async () => [...two, "--pairs", "nowhere.jsonl"],
      1,
      /cannot read --pairs nowhere\.jsonl: there is no such file/,
    ],
    [
      "for an empty file",
      async () => [...two, "--pairs", await folder.write("empty.jsonl", "\n")],
      1,
      /holds no pairs/,
    ],
    [
      "for a line without a document",
      async () => [...two, "--pairs", await folder.write("a.jsonl", '{"query":"a"}')],
      1,
      /a\.jsonl:1: needs a "document"/,
    ],
    [
      "for a line without a query",
      async () => [...two, "--pairs", await folder.write("b.jsonl", '\n{"document":"a"}')],
      1,
      /b\.jsonl:2: needs a "query"/,
    ],
    [
      "for a line that is not JSON",
      async () => [...two, "--pairs", await folder.write("c.jsonl", "a,b")],
      1,
      /c\.jsonl:1: is not JSON/,
    ],
  ];
  it.each(failing)("%s", async (_, args, expected, message) => {
    const { code, stdout, stderr } = await compare(...(await args()));
    expect({ code, stdout }).toEqual({ code: expected, stdout: "" });
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  it("for a model that gives NaN", async () => {
    const rows = await folder.write("poison.jsonl", '{"query":"tea","document":"the poison"}\n');
    const { code, stdout, stderr } = await compare(
      "--pairs",
      rows,
      "--model",
      fixture("cross-encoder-nan"),
      "-b",
      "onnx",
      "-b",
      "onnx:fp32",
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^crossrank: onnx gave NaN for document "1" of query "1"/);
  });
});
