import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker, type RerankResult } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { describe, expect, it } from "vitest";
import {
  conformanceFixture,
  crossrankInTurn as crossrank,
  fixture,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const query = "what is the capital of france";
const texts = [
  "the cat sat on the mat",
  "paris is the capital of france.",
  "dogs grow",
  "the capital of france is paris, and the river is in paris",
  "rivers",
];

interface JsonOutput extends Omit<RerankResult<string>, "results"> {
  readonly results: readonly {
    readonly index: number;
    readonly logit: number | null;
    readonly score: number | null;
    readonly tokens: number;
    readonly truncatedTokens: number;
    readonly queryOverflow?: true;
    readonly document?: Readonly<Record<string, unknown>>;
  }[];
}

/** What was ranked before: many tests hold another command against the same plain one. */
const ranked = new Map<string, Promise<Outcome>>();

async function rankJson(args: readonly string[], input?: string): Promise<JsonOutput> {
  const key = JSON.stringify([args, input]);
  const ranking =
    ranked.get(key) ??
    crossrank(["rerank", "--format", "json", ...args], input === undefined ? {} : { input });
  ranked.set(key, ranking);
  const outcome = await ranking;
  expect(outcome).toMatchObject({ code: 0, stderr: "" });
  return JSON.parse(outcome.stdout) as JsonOutput;
}

async function rankDirectly(model: string): Promise<RerankResult<string>> {
  const reranker = await createReranker({
    model: await openModel(fixture(model)),
    backend: onnx({ isolation: "thread" }),
  });
  try {
    return await reranker.rerank({ query, documents: texts });
  } finally {
    await reranker.dispose();
  }
}

describe.each(["cross-encoder", "cross-encoder-two-class", "bi-encoder"])(
  "rerank with the %s fixture",
  (name) => {
    it("prints what core returns, as JSON", async () => {
      const direct = await rankDirectly(name);
      const output = await rankJson(
        ["--query", query, "--documents", "-", "--model", fixture(name)],
        texts.join("\n"),
      );
      expect(Object.keys(output)).toEqual([
        "model",
        "backend",
        "settings",
        "scale",
        "scoring",
        "status",
        "results",
        "warnings",
        "usage",
      ]);
      expect(output.model).toEqual({ ...direct.model, revision: null });
      expect(output.model.artifact.files[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(output.backend).toEqual(direct.backend);
      expect(output.settings).toEqual(direct.settings);
      expect(output.scale).toBe(direct.scale);
      expect(output.status).toBe("reranked");
      expect(output.warnings).toEqual([]);
      expect(output.usage).toMatchObject({ sequences: direct.usage.sequences, tokens: direct.usage.tokens });
      expect(output.results.map(({ index }) => index)).toEqual(direct.results.map(({ index }) => index));
      for (const [rank, result] of output.results.entries()) {
        const { logit, score, tokens } = direct.results[rank] as RerankResult<string>["results"][number];
        expect(result.logit).toBeCloseTo(logit as number, 5);
        expect(result.score).toBeCloseTo(score as number, 5);
        expect(result).toMatchObject({ tokens, truncatedTokens: 0 });
        expect(result).not.toHaveProperty("document");
      }
    });
  },
);

const common = ["--query", query, "--model", fixture("cross-encoder")];

describe("rerank", () => {
  it("orders by logit, best first, and does not round", async () => {
    const { results } = await rankJson([...common, "--documents", "-"], texts.join("\n"));
    const logits = results.map(({ logit }) => logit as number);
    expect(logits).toEqual([...logits].sort((a, b) => b - a));
    expect(new Set(logits).size).toBe(texts.length);
    expect(logits.every((logit) => Math.fround(logit) === logit && String(logit).length > 8)).toBe(true);
  });

  it("returns the best n of --top-n, with the same scores", async () => {
    const all = await rankJson([...common, "--documents", "-"], texts.join("\n"));
    const best = await rankJson([...common, "--documents", "-", "--top-n", "2"], texts.join("\n"));
    expect(best.results).toEqual(all.results.slice(0, 2));
    expect(best.usage.sequences).toBe(texts.length);
  });

  it("returns text lines as objects with --return-documents", async () => {
    const { results } = await rankJson(
      [...common, "--documents", "-", "--return-documents"],
      texts.join("\n"),
    );
    for (const { index, document } of results) expect(document).toEqual({ text: texts[index] });
  });

  it("prints one result a line with --format jsonl, in ranked order", async () => {
    const file = await folder.write("texts.txt", texts.join("\n"));
    const { results } = await rankJson([...common, "--documents", file, "--return-documents"]);
    const { code, stdout, stderr } = await crossrank([
      "rerank",
      ...common,
      "--documents",
      file,
      "--return-documents",
      "--format",
      "jsonl",
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.endsWith("\n")).toBe(true);
    expect(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(results);
  });

  it("ranks 3,000 documents from standard input", async () => {
    const many = Array.from({ length: 3000 }, (_, index) => `${texts[index % texts.length]} ${index % 7}`);
    const { results, usage } = await rankJson([...common, "--documents", "-"], many.join("\n"));
    expect(usage.sequences).toBe(3000);
    expect(results.map(({ index }) => index).sort((a, b) => a - b)).toEqual(many.map((_, index) => index));
    const keys = results.map(({ logit }) => logit as number);
    expect(keys.every((logit, rank) => rank === 0 || (keys[rank - 1] as number) >= logit)).toBe(true);
  });

  it("cuts the document to --max-length, and says so in the results and in a warning", async () => {
    const { results, warnings } = await rankJson(
      [...common, "--documents", "-", "--max-length", "12"],
      texts.join("\n"),
    );
    const cut = results.find(({ index }) => index === 3);
    expect(cut?.tokens).toBe(12);
    expect(cut?.truncatedTokens).toBeGreaterThan(0);
    expect(warnings).toMatchObject([{ code: "documents-truncated", maxLength: 12 }]);
  });

  it("truncates the query too with --truncation longest-first", async () => {
    const { warnings } = await rankJson(
      [...common, "--documents", "-", "--max-length", "8", "--truncation", "longest-first"],
      texts.join("\n"),
    );
    expect(warnings.map(({ code }) => code)).toContain("query-truncated");
  });

  it("marks documents that a long query leaves no room for", async () => {
    const args = [
      "--query",
      `${query} `.repeat(3),
      "--model",
      fixture("cross-encoder"),
      "--max-length",
      "16",
    ];
    const { results, warnings } = await rankJson([...args, "--documents", "-"], texts.join("\n"));
    expect(results.map(({ index }) => index)).toEqual(texts.map((_, index) => index));
    for (const result of results)
      expect(result).toMatchObject({ logit: null, score: null, queryOverflow: true });
    expect(warnings).toMatchObject([{ code: "query-overflow", count: texts.length }]);
    const table = await crossrank(["rerank", ...args, "--documents", "-"], { input: texts.join("\n") });
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(/^ *1 +0 +– +– +\[query too long\] the cat/m);
    expect(table.stderr).toMatch(/^warning: the query leaves no room within 16 tokens.*\n$/);
  });

  it("takes facts about the model from --profile", async () => {
    const profile = await folder.write("crossrank.json", '{ "activation": "sigmoid" }');
    const plain = await rankJson([...common, "--documents", "-"], texts.join("\n"));
    const output = await rankJson([...common, "--documents", "-", "--profile", profile], texts.join("\n"));
    expect([plain.scale, output.scale]).toEqual(["logit", "probability"]);
    for (const { logit, score } of output.results) expect(score).toBe(1 / (1 + Math.exp(-(logit as number))));
  });

  it("says that the scores of a listwise model hold within its list only", async () => {
    const model = conformanceFixture("qwen3-listwise");
    const output = await rankJson(["--query", query, "--documents", "-", "--model", model], texts.join("\n"));
    expect(output).toMatchObject({ scale: "cosine", scoring: "listwise" });
    const { stdout } = await crossrank(["rerank", "--query", query, "--documents", "-", "--model", model], {
      input: texts.join("\n"),
    });
    expect(stdout).toMatch(/^scale +cosine, comparable within this list only$/m);
  });

  it("passes --instruction on, and none where it is empty", async () => {
    const model = conformanceFixture("qwen2-one-zero");
    const args = ["--query", "soak beans", "--documents", "-", "--model", model];
    const rank = (...more: readonly string[]) => rankJson([...args, ...more], "beans\nlighthouse");
    const reranker = await createReranker({
      model: await openModel(model),
      backend: onnx({ isolation: "thread" }),
    });
    try {
      for (const instruction of [undefined, "", "answer the question"]) {
        const expected = await reranker.rerank({
          query: "soak beans",
          documents: ["beans", "lighthouse"],
          instruction,
        });
        const output = await rank(...(instruction === undefined ? [] : ["--instruction", instruction]));
        expect(output.results).toEqual(expected.results);
      }
    } finally {
      await reranker.dispose();
    }
    const [plain, instructed] = [await rank(), await rank("--instruction", "answer the question")];
    expect(instructed.results[0]?.tokens).toBeGreaterThan(plain.results[0]?.tokens as number);
  });

  it("refuses --instruction for a model that takes none", async () => {
    const { code, stdout, stderr } = await crossrank(
      ["rerank", ...common, "--documents", "-", "--instruction", "answer"],
      { input: "paris" },
    );
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(
      /^crossrank: --instruction was given, and the template of .* has no place for one.*\n$/,
    );
  });

  it("reads the precision from --backend as from --dtype", async () => {
    const args = [...common, "--documents", "-"];
    const named = await rankJson([...args, "--backend", "onnx:fp32"], texts.join("\n"));
    const separate = await rankJson([...args, "--backend", "onnx", "--dtype", "fp32"], texts.join("\n"));
    expect(named.model.artifact.dtype).toBe("fp32");
    expect(named.results).toEqual(separate.results);
  });

  it("passes --threads and --workers on", async () => {
    const args = [...common, "--documents", "-"];
    const plain = await rankJson(args, texts.join("\n"));
    const output = await rankJson([...args, "--threads", "1", "--workers", "2"], texts.join("\n"));
    expect(output.results.map(({ index }) => index)).toEqual(plain.results.map(({ index }) => index));
  });

  it.each(["table", "json", "jsonl"])("prints an empty ranking for no documents, as %s", async (format) => {
    const { code, stdout, stderr } = await crossrank(
      ["rerank", ...common, "--documents", "-", "--format", format],
      { input: "\n  \n" },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "note: there are no documents to rank\n" });
    if (format === "json") expect(JSON.parse(stdout)).toMatchObject({ status: "reranked", results: [] });
    if (format === "jsonl") expect(stdout).toBe("");
    if (format === "table") expect(stdout).toContain("scored 0 documents");
  });
});

describe("the embedded model", () => {
  const documents = fileURLToPath(new URL("../../../examples/documents.jsonl", import.meta.url));

  it("is the default, and finds what answers the question", async () => {
    const question = "How do vaccines teach the immune system to recognise a virus?";
    const output = await rankJson(["--query", question, "--documents", documents]);
    expect(output.model).toMatchObject({ id: "nano", revision: null });
    const best = output.results.slice(0, 2).map(({ index }) => index);
    expect(best.sort()).toEqual([0, 8]);
    const named = await rankJson(["--query", question, "--documents", documents, "--model", "nano"]);
    expect(named.results).toEqual(output.results);
  });

  it("is what inspect shows by default", async () => {
    const { code, stdout, stderr } = await crossrank(["inspect"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^nano\n {2}family +cross-encoder /);
  });
});

describe("rerank's table", () => {
  const args = ["rerank", ...common, "--documents", "-"];

  it("shows query, model, backend, scale, every document in order, and the speed", async () => {
    const { results } = await rankJson([...common, "--documents", "-"], texts.join("\n"));
    const { code, stdout, stderr } = await crossrank(args, { input: texts.join("\n") });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.split("\n");
    expect(lines[0]).toBe("query    what is the capital of france");
    expect(lines[1]).toMatch(/^model .*cross-encoder, onnx fp32$/);
    expect(lines[2]).toMatch(/^backend +onnx \(onnxruntime-node \d/);
    expect(lines[3]).toMatch(/^scale +logit$/);
    const rows = lines.filter((line) => /^ *\d+ /.test(line)).map((line) => line.trim().split(/ {2,}/));
    expect(rows).toEqual(
      results.map(({ index, score, tokens }, rank) => [
        String(rank + 1),
        String(index),
        (score as number).toFixed(4),
        String(tokens),
        expect.stringMatching(texts[index]?.slice(0, 20) ?? ""),
      ]),
    );
    expect(stdout).toMatch(/^scored 5 documents, [\d,]+ tokens, in \d+\.\d\d s \([\d,]+ documents\/s\)$/m);
  });

  it("shows logits beside probabilities, and never rounds a score up to 1", async () => {
    const profile = await folder.write("sigmoid.json", '{ "activation": "sigmoid" }');
    const { stdout } = await crossrank([...args, "--profile", profile], { input: texts.join("\n") });
    expect(stdout).toMatch(/^rank +index +score +logit +tokens +document$/m);
    expect(stdout).toMatch(/^ *1 +\d +0\.\d{4,} +-?\d+\.\d{4} +\d+ /m);
  });

  it("keeps to 80 columns in a pipe", async () => {
    const { stdout } = await crossrank(args, {
      input: `${"paris is the capital ".repeat(50)}\n${"巴黎是法国的首都".repeat(20)}`,
    });
    const rows = stdout.split("\n").filter((line) => /^ *\d+ /.test(line));
    expect(rows).toHaveLength(2);
    for (const row of rows) {
      expect(row.endsWith("…")).toBe(true);
      expect(row.length).toBeLessThanOrEqual(80);
    }
  });

  it("lets no document send control characters to the terminal", async () => {
    const hostile = "\u001b]0;owned\u0007 \u001b[2J\u001b[31mred\u0008\u0000 \u009b1m \u202edesrever tail";
    const { code, stdout, stderr } = await crossrank([...args, "--input", "jsonl"], {
      input: JSON.stringify({ text: `${hostile}\nsecond line\r\u2028third` }),
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(stdout.replaceAll("\n", "")).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u202e]/);
    expect(stdout).toContain("red");
    expect(stdout).not.toMatch(/^second line/m);
  });

  it("marks what was cut", async () => {
    const { stdout, stderr } = await crossrank([...args, "--max-length", "12"], { input: texts.join("\n") });
    expect(stdout).toMatch(/^ *\d +3 +\S+ +12\* /m);
    expect(stdout).toMatch(/^\* cut to the length that the model reads$/m);
    expect(stderr).toMatch(/^warning: \d of 5 documents were cut to fit 12 tokens\n$/);
  });
});
