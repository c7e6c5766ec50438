import { cp, mkdir, readFile, realpath, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import {
  binary,
  crossrankInTurn as crossrank,
  fixture,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();

/** Ranks one document, so that whatever fails is not the input. */
function rerank(...args: readonly string[]): Promise<Outcome> {
  return crossrank(["rerank", "--query", "paris", "--documents", "-", ...args], { input: "the cat" });
}

describe("wrong usage", () => {
  it.each([
    ["an unknown option", ["doctor", "--nonsense"], "unknown option '--nonsense'"],
    [
      "a misspelt option",
      ["rerank", "--query", "x", "--documents", "-", "--modle", "x"],
      "Did you mean --model?",
    ],
    ["an unknown command", ["rank"], "unknown command 'rank'"],
    ["no query", ["rerank", "--documents", "-"], "--query"],
    ["no documents", ["rerank", "--query", "x"], "--documents"],
    ["an empty query", ["rerank", "--query", "  ", "--documents", "-"], "--query is empty"],
    [
      "a number that is none",
      ["rerank", "--query", "x", "--documents", "-", "--top-n", "many"],
      "whole number",
    ],
    ["a number below 1", ["rerank", "--query", "x", "--documents", "-", "--threads", "0"], "whole number"],
    [
      "an unknown format",
      ["rerank", "--query", "x", "--documents", "-", "--format", "xml"],
      "table, json, jsonl",
    ],
    [
      "an unknown backend",
      ["rerank", "--query", "x", "--documents", "-", "--backend", "abacus"],
      "Known backends: onnx",
    ],
    ["an option without its value", ["rerank", "--query"], "argument missing"],
    [
      "two precisions",
      ["rerank", "--query", "x", "--documents", "-", "--backend", "onnx:int8", "--dtype", "fp32"],
      "int8",
    ],
    ["a superfluous argument", ["inspect", "a", "b"], "too many arguments"],
    [
      "a revision of the embedded model",
      ["inspect", "nano", "--revision", "v1"],
      "--revision does not apply",
    ],
    [
      "a lock file for a folder",
      ["inspect", fixture("cross-encoder"), "--lock", "x.json"],
      "--lock does not apply",
    ],
  ])("exits with 2 and one line that points to --help: %s", async (_, args, problem) => {
    const { code, stdout, stderr } = await crossrank(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^crossrank: [^\n]+ See: crossrank (rerank |inspect |verify |doctor )?--help\n$/);
    expect(stderr).toContain(problem);
  });

  it("names the option when the model does not allow its value", async () => {
    const { code, stderr } = await rerank("--model", fixture("cross-encoder"), "--max-length", "5000");
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^crossrank: --max-length must be a whole number from \d+ to 128, not 5000\. See: .*\n$/,
    );
  });

  it("without a command shows the help, and fails", async () => {
    const { code, stdout, stderr } = await crossrank([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("Usage: crossrank");
  });
});

describe("help", () => {
  it.each([
    [["--help"]],
    [["rerank", "--help"]],
    [["inspect", "--help"]],
    [["doctor", "--help"]],
    [["convert", "--help"]],
  ])("%j has examples", async (args) => {
    const { code, stdout, stderr } = await crossrank(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("Usage: crossrank");
    expect(stdout).toMatch(/^ {2}\$ crossrank /m);
  });

  it("--version prints the package's version", async () => {
    const manifest = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    expect(await crossrank(["--version"])).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: "" });
  });
});

describe("a model that does not work", () => {
  async function copyFixture(name: string): Promise<string> {
    const copy = folder.path(name);
    await cp(fixture("cross-encoder"), copy, { recursive: true });
    return copy;
  }

  /** One line on standard error, nothing on standard output, exit code 1. */
  function expectFailure({ code, stdout, stderr }: Outcome, problem: RegExp): void {
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^crossrank: [^\n]+\n$/);
    expect(stderr).toMatch(problem);
    expect(stderr).not.toContain("not expected");
  }

  it.each([
    ["a folder that is not there", () => folder.path("no-model"), /no-model, which does not exist/],
    ["a name that is no repository", () => "no-model", /neither an existing folder nor a repository id/],
    ["a file", () => fileURLToPath(import.meta.url), /folder that holds the model/],
  ])("exits with 1: %s", async (_, model, problem) => {
    expectFailure(await rerank("--model", model()), problem);
  });

  it("exits with 1: a corrupt ONNX file", async () => {
    const model = await copyFixture("corrupt");
    await truncate(join(model, "onnx", "model.onnx"), 5000);
    expectFailure(await rerank("--model", model), /onnx\/model\.onnx/);
  });

  it("exits with 1: no ONNX file", async () => {
    const model = await copyFixture("weightless");
    await rm(join(model, "onnx"), { recursive: true });
    expectFailure(await rerank("--model", model), /no onnx\/model/);
  });

  it("exits with 1: no tokenizer", async () => {
    const model = await copyFixture("tokenless");
    await rm(join(model, "tokenizer.json"));
    expectFailure(await rerank("--model", model), /tokenizer\.json/);
  });

  it("exits with 1: a precision that it does not have", async () => {
    expectFailure(await rerank("--model", fixture("cross-encoder"), "--dtype", "int8"), /onnx\/model\.onnx/);
  });

  it("exits with 1: a repository that is not in the cache, offline", async () => {
    const outcome = await crossrank(
      ["rerank", "--query", "paris", "--documents", "-", "--model", "nobody/nothing", "--offline"],
      { input: "the cat", environment: { HF_HOME: folder.path("cache") } },
    );
    expectFailure(outcome, /nobody\/nothing/);
  });

  it.each([
    ["is not there", undefined, /no such file/],
    ["is not JSON", "{", /not JSON/],
  ])("exits with 1: a --profile file that %s", async (_, content, problem) => {
    const file =
      content === undefined ? folder.path("none.json") : await folder.write("bad-profile.json", content);
    expectFailure(await rerank("--model", fixture("cross-encoder"), "--profile", file), problem);
  });

  it("shows stack and causes with --verbose", async () => {
    const model = await copyFixture("corrupt-verbose");
    await truncate(join(model, "onnx", "model.onnx"), 5000);
    const { code, stderr } = await rerank("--model", model, "--verbose");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^crossrank: onnx cannot load onnx\/model\.onnx/m);
    expect(stderr).toMatch(/ModelLoadError/);
    expect(stderr).toMatch(/^ +at /m);
  });
});

describe("a backend that is not installed", () => {
  it("says what to install, and doctor finds nothing that works", async () => {
    const root = folder.path("without-backend");
    const packageFolder = fileURLToPath(new URL("..", import.meta.url));
    for (const name of ["bin", "dist", "package.json"]) {
      await cp(join(packageFolder, name), join(root, name), { recursive: true });
    }
    await mkdir(join(root, "node_modules", "@crossrank"), { recursive: true });
    for (const name of [
      "commander",
      "@crossrank/backend-kit",
      "@crossrank/core",
      "@crossrank/disk",
      "@crossrank/hub",
    ]) {
      await symlink(
        await realpath(join(packageFolder, "node_modules", name)),
        join(root, "node_modules", name),
        "dir",
      );
    }
    const run = (args: readonly string[]): Promise<Outcome> =>
      crossrank([binary.replace(packageFolder, `${root}/`), ...args], {
        command: process.execPath,
        input: "the cat",
      });

    const ranking = await run([
      "rerank",
      "--query",
      "paris",
      "--documents",
      "-",
      "--model",
      fixture("cross-encoder"),
    ]);
    expect(ranking).toMatchObject({ code: 1, stdout: "" });
    expect(ranking.stderr).toBe(
      "crossrank: backend onnx is not installed. Install it: npm install @crossrank/backend-onnx\n",
    );
    const diagnosis = await run(["doctor", "--format", "json"]);
    expect(diagnosis.code).toBe(1);
    expect(diagnosis.stderr).toMatch(/^crossrank: no backend works on this machine.*\n$/);
    expect(JSON.parse(diagnosis.stdout)).toMatchObject({
      backends: [
        { name: "onnx", available: false, runtime: null, detail: expect.stringContaining("npm install") },
        {
          name: "llamacpp",
          available: false,
          detail: expect.stringContaining("npm install @crossrank/backend-llamacpp node-llama-cpp"),
        },
        {
          name: "mnn",
          available: false,
          detail: expect.stringContaining("npm install @crossrank/backend-mnn"),
        },
        {
          name: "coreml",
          available: false,
          // Its modes are known to the package alone.
          detail: expect.stringMatching(/npm install @crossrank\/backend-coreml$/),
        },
        {
          name: "mlx",
          available: false,
          detail: expect.stringContaining("npm install @crossrank/backend-mlx"),
        },
        {
          name: "ctranslate2",
          available: false,
          detail: expect.stringContaining("npm install @crossrank/backend-ctranslate2"),
        },
      ],
    });

    // A folder that holds nothing but GGUF is the other backend's, also where that is missing.
    const gguf = folder.path("gguf-only");
    await cp(fixture("cross-encoder"), gguf, { recursive: true });
    await rm(join(gguf, "onnx"), { recursive: true });
    await mkdir(join(gguf, "gguf"));
    await writeFile(join(gguf, "gguf", "model-Q8_0.gguf"), "GGUF");
    const missing = await run(["rerank", "--query", "x", "--documents", "-", "--model", gguf]);
    expect(missing).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "crossrank: backend llamacpp is not installed. Install it: npm install @crossrank/backend-llamacpp node-llama-cpp\n",
    });
    const inspected = await run(["inspect", gguf]);
    expect(inspected.stdout).toMatch(/^ {2}\? +gguf\/model-Q8_0\.gguf +4 B/m);
  });
});
