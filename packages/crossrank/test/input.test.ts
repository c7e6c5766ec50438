import { describe, expect, it } from "vitest";
import {
  crossrankInTurn as crossrank,
  fixture,
  type Outcome,
  type RunOptions,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();

interface Ranked {
  readonly index: number;
  readonly logit: number;
  readonly document: Readonly<Record<string, unknown>>;
}

function run(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return crossrank(
    [
      "rerank",
      "--query",
      "what is the capital of france",
      "--model",
      fixture("cross-encoder"),
      "--format",
      "jsonl",
      "--return-documents",
      ...args,
    ],
    options,
  );
}

/** By index. */
async function rank(args: readonly string[], options: RunOptions = {}): Promise<Ranked[]> {
  const { code, stdout, stderr } = await run(args, options);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Ranked)
    .sort((a, b) => a.index - b.index);
}

function documentsOf(results: readonly Ranked[]): unknown[] {
  return results.map(({ document }) => document);
}

describe("text", () => {
  it("is one document a line: blank lines skipped, CRLF and byte order mark dropped", async () => {
    const file = await folder.write("windows.txt", "\ufeffparis\r\n\r\n  \r\nthe cat \r\nlast");
    const results = await rank(["--documents", file]);
    expect(results.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(documentsOf(results)).toEqual([{ text: "paris" }, { text: "the cat " }, { text: "last" }]);
  });

  it("scores a Windows file as a Unix file", async () => {
    const windows = await rank(["--documents", "-"], { input: "\ufeffparis\r\nthe cat\r\n" });
    const unix = await rank(["--documents", "-"], { input: "paris\nthe cat\n" });
    expect(windows).toEqual(unix);
  });

  it("must be UTF-8; the message has file and line", async () => {
    const file = await folder.write("latin1.txt", Buffer.from("good\ncaf\u00e9 au lait\n", "latin1"));
    const { code, stdout, stderr } = await run(["--documents", file]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^crossrank: .*latin1\.txt:2 is not valid UTF-8; .*UTF-8.*\n$/);
  });

  it("refuses UTF-16, which PowerShell writes", async () => {
    const file = await folder.write("utf16.txt", Buffer.from("\ufeffparis\n", "utf16le"));
    const { code, stderr } = await run(["--documents", file]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/utf16\.txt:1 is not valid UTF-8/);
  });

  it("may look like JSON Lines, with --input text", async () => {
    const line = '{"text": "paris"}';
    expect(documentsOf(await rank(["--documents", "-", "--input", "text"], { input: line }))).toEqual([
      { text: line },
    ]);
  });
});

describe("JSON Lines", () => {
  const lines = '{"id": "a", "text": "paris", "year": 1}\n\n{"_id": "b", "text": "the cat", "tags": ["x"]}\n';
  const objects = [
    { id: "a", text: "paris", year: 1 },
    { _id: "b", text: "the cat", tags: ["x"] },
  ];

  it.each(["documents.jsonl", "documents.NDJSON", "documents.txt", "documents.json"])(
    "is recognised in %s, and keeps every field",
    async (name) => {
      const results = await rank(["--documents", await folder.write(name, lines)]);
      expect(documentsOf(results)).toEqual(objects);
    },
  );

  it("is recognised on standard input, byte order mark or not", async () => {
    expect(documentsOf(await rank(["--documents", "-"], { input: lines }))).toEqual(objects);
    expect(documentsOf(await rank(["--documents", "-"], { input: `\ufeff\n${lines}` }))).toEqual(objects);
  });

  it("scores text alone as a text file does", async () => {
    const text = await rank(["--documents", "-"], { input: "paris\nthe cat" });
    const jsonl = await rank(["--documents", "-"], { input: lines });
    expect(jsonl.map(({ logit }) => logit)).toEqual(text.map(({ logit }) => logit));
  });

  it("scores a title before the text, as BEIR does, and returns both as they were", async () => {
    const [titled, plain, untitled] = await rank(["--documents", "-"], {
      input:
        '{"title": "paris", "text": "the capital"}\n{"text": "paris the capital"}\n{"title": null, "text": "the capital"}',
    });
    expect(titled?.logit).toBe(plain?.logit);
    expect(untitled?.logit).not.toBe(plain?.logit);
    expect(titled?.document).toEqual({ title: "paris", text: "the capital" });
  });

  it.each([
    ["broken JSON", '{"text": "the', "not valid JSON"],
    ["no object", '"the cat"', "not a JSON object"],
    ["an array", '["the cat"]', "not a JSON object"],
    ["no text", '{"body": "the cat"}', 'no "text"'],
    ["a text that is no string", '{"text": ["the cat"]}', '"text" is not a string'],
    ["a title that is no string", '{"text": "the cat", "title": 7}', '"title" is not a string'],
  ])("with %s on a line is refused as a whole, with file and line", async (_, line, problem) => {
    const file = await folder.write("bad.jsonl", `{"text": "paris"}\n\n${line}\n`);
    const { code, stdout, stderr } = await run(["--documents", file]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^crossrank: .*bad\.jsonl:3: .*nothing was scored.*\n$/);
    expect(stderr).toContain(problem);
  });

  it.each([
    ["an array in a .json file", "list.json", '[\n  {"text": "paris"}\n]'],
    ["a damaged first line", "lines.txt", '{"text": "paris\n{"text": "the cat"}'],
  ])("is not guessed: %s is neither scored as text nor as JSON", async (_, name, content) => {
    const { code, stdout, stderr } = await run(["--documents", await folder.write(name, content)]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^crossrank: .*nothing was scored.*--input.*\n$/);
  });
});

describe("a file that is not there", () => {
  it.each([
    ["missing", "no-such-file.txt", "there is no such file"],
    ["a folder", ".", "it is a folder"],
  ])("is one line on standard error: %s", async (_, name, problem) => {
    const { code, stdout, stderr } = await run(["--documents", folder.path(name)]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^crossrank: cannot read .*\n$/);
    expect(stderr).toContain(problem);
  });

  it("that is empty gives an empty ranking", async () => {
    const { code, stdout, stderr } = await run(["--documents", await folder.write("empty.jsonl", "")]);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: "",
      stderr: "note: there are no documents to rank\n",
    });
  });
});
