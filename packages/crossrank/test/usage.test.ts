import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command, Option } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import { exitCodeTable } from "../src/exit-codes.js";
import { createProgram } from "../src/program.js";
import {
  conformanceFixture,
  crossrankInTurn as crossrank,
  crossrank as crossrankAlone,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const context = { signal: new AbortController().signal, log: () => undefined, endWithin: () => undefined };

/** The commands for people. */
const program = await createProgram(["--help"], context);
const commands = program.commands.filter((command) => !command.name().endsWith("-process"));

/** A command that parses and then does nothing. */
async function parse(
  argv: readonly string[],
): Promise<{ readonly error: string; readonly command: Command }> {
  const fresh = await createProgram(argv, context);
  let error = "";
  const [command = fresh] = fresh.commands;
  command.exitOverride().action(() => undefined);
  command.configureOutput({
    writeErr: () => undefined,
    outputError: (message) => {
      error = message;
    },
  });
  for (const option of command.options) option.makeOptionMandatory(false);
  try {
    await fresh.parseAsync([...argv], { from: "user" });
  } catch (problem) {
    error ||= (problem as Error).message;
  }
  return { error, command };
}

function valueFor(option: Option): string {
  const { argChoices, long = "" } = option;
  if (argChoices !== undefined) return argChoices[0] as string;
  if (long === "--backend" || long === "--reference") return "onnx";
  if (long === "--long-documents") return "chunk";
  if (long === "--max-loss") return "0.1";
  return "1";
}

const valued = commands.flatMap((command) =>
  command.options
    .filter((option) => (option.required || option.optional) && !option.negate)
    .map((option) => [command.name(), option.long ?? option.flags, option] as const),
);

/** Those that are meant to be given several times. */
const collecting = [
  "card --bench",
  "card --eval",
  "card --verify",
  "publish --bench",
  "publish --eval",
  "publish --verify",
  "bench --backend",
  "bench --long-documents",
  "compare --backend",
  "compare --long-documents",
  "convert --dtype",
  "convert --set",
  "doctor --backend",
  "eval --backend",
  "eval --keep",
  "eval --long-documents",
  "eval --metric",
  "mine --corpus",
  "mine --queries",
  "serve --api-key",
  "serve --backend",
  "serve --model",
  "serve --origin",
  "inspect --document",
  "pick --backend",
  "train --data",
  "train --to",
  "worker --files",
];

describe("an option that is given twice", () => {
  it("is tried for every option of every command", () => {
    expect(commands.length).toBe(22);
    expect(valued.length).toBeGreaterThan(80);
  });

  it.each(valued)("%s %s is refused, or both count", async (name, flag, option) => {
    const value = valueFor(option);
    const once = await parse([name, flag, value]);
    const twice = await parse([name, flag, value, flag, value]);
    expect(once.error).not.toContain("is given");
    if (collecting.includes(`${name} ${flag}`)) {
      expect(twice.error).not.toContain("is given 2 times; give it once");
      expect(twice.command.getOptionValue(option.attributeName())).toHaveLength(2);
    } else {
      expect(twice.error).toContain(`'${option.flags}' is given 2 times; give it once`);
    }
  });

  it("is refused in each spelling, also with other options between", async () => {
    for (const argv of [
      ["rerank", "-q", "a", "--query", "b"],
      ["rerank", "--query=a", "-qb"],
      ["rerank", "-d", "a", "-q", "x", "-d", "a"],
      ["rerank", "-n", "3", "--top-n", "3"],
      ["convert", "--lengths", "128", "--lengths", "128,256"],
      ["ci", "--update-baseline", "--update-baseline"],
      ["compare", "--gate", "--gate", "x.json"],
    ]) {
      expect((await parse(argv)).error, argv.join(" ")).toContain("is given 2 times");
    }
  });

  it("may be a flag, which says the same twice", async () => {
    expect((await parse(["rerank", "--offline", "--offline", "-q", "x", "-d", "y"])).error).toBe("");
  });

  it("ends the command with 2", async () => {
    const outcome = await crossrank(["rerank", "-q", "a", "-d", "x", "-d", "y"]);
    expect(outcome).toEqual({
      code: 2,
      stdout: "",
      stderr:
        "crossrank: option '-d, --documents <file>' is given 2 times; give it once. See: crossrank rerank --help\n",
    });
  });
});

const query = ["--query", "x", "--documents", "-"];
const task = fileURLToPath(new URL("../../../examples/task", import.meta.url));

/** Each command that takes a model, with what else it needs. */
const withModel: readonly (readonly [name: string, rest: readonly string[]])[] = [
  ["rerank", query],
  ["inspect", []],
  ["verify", []],
  ["convert", ["--to", "onnx"]],
  ["serve", ["--port", "0"]],
  ["eval", ["--task", task]],
  ["compare", ["--task", task, "--backend", "onnx", "--backend", "onnx:fp32"]],
  ["bench", []],
  ["pick", ["--task", task]],
  ["consumer", ["--to", "python", "--output", "not-written"]],
  ["train", ["--data", "none.jsonl", "--output", "not-written"]],
  ["calibrate", ["--task", task]],
  ["pull", []],
  ["score", ["--pairs", join(task, "corpus.jsonl"), "--output", "not-written"]],
  ["worker", ["--queue", "redis://127.0.0.1:1"]],
];

describe("the model", () => {
  it("is taken by every command that has one", () => {
    const names = commands.filter((command) => command.options.some(({ long }) => long === "--model"));
    expect(names.map((command) => command.name()).sort()).toEqual(withModel.map(([name]) => name).sort());
  });

  it.each(withModel)("of %s is an argument or --model, and not two", async (name, rest) => {
    const missing = folder.path("no-such-model");
    const spellings = [[missing], ["--model", missing], ["-m", missing], [missing, "--model", missing]];
    const run = (model: readonly string[]) => crossrank([name, ...model, ...rest], { input: "the cat" });
    for (const outcome of await Promise.all(spellings.map(run))) {
      expect(outcome).toMatchObject({ code: 1, stdout: "" });
      expect(outcome.stderr).toContain("no-such-model, which does not exist");
    }
    const two = await run(["one", "--model", "other"]);
    expect(two).toMatchObject({ code: 2, stdout: "" });
    expect(two.stderr).toContain("the model is given twice, as one and as --model other; give one of them");
    const more = await run(["one", "two"]);
    expect(more).toMatchObject({ code: 2, stdout: "" });
    expect(more.stderr).toContain("too many arguments");
  });
});

describe("exit codes", () => {
  it("have one table, in --help and in README.md", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const help = await crossrank(["--help"]);
    for (const [code, meaning] of exitCodeTable) {
      expect(help.stdout).toContain(`  ${String(code).padEnd(5)}${meaning}`);
      expect(readme).toMatch(
        new RegExp(`^\\| ${code} +\\| ${meaning.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`, "m"),
      );
    }
  });

  const model = conformanceFixture("bert-logit");
  const none = "/no/such/place";
  // Of each command: what is wrong usage, and what names something that is not there.
  const cases: readonly (readonly [code: number, args: readonly string[]])[] = [
    [2, ["rerank", "--top-n", "many", ...query]],
    [2, ["train", model, "--output", "not-written"]],
    [2, ["train", model, "--data", "x", "--output", "not-written", "--gate", "2"]],
    [1, ["train", model, "--data", `${none}.jsonl`, "--output", "not-written"]],
    [1, ["train", "--config", none]],
    [2, ["mine", "--queries", "x", "--output", "not-written", "--no-teacher", "--form", "lists"]],
    [1, ["mine", "--queries", `${none}.jsonl`, "--output", "not-written"]],
    [2, ["rerank", "--workers", "1000000", ...query]],
    [1, ["rerank", "--model", none, ...query]],
    [1, ["rerank", "--query", "x", "--documents", none]],
    [1, ["rerank", "--profile", none, ...query]],
    [1, ["rerank", "--backend", "./none.mjs", ...query]],
    [2, ["inspect", "--nonsense"]],
    [1, ["inspect", none]],
    [1, ["inspect", "/no/such.mlpackage"]],
    [1, ["inspect", model, "--profile", none]],
    [2, ["verify", "--tolerance", "-1"]],
    [1, ["verify", none]],
    [1, ["verify", model, "--goldens", none]],
    [2, ["convert", model, "--to", "papyrus"]],
    [2, ["convert"]],
    [1, ["convert", none, "--to", "onnx"]],
    [2, ["eval"]],
    [1, ["eval", "--task", none]],
    [1, ["eval", "--task", task, "--model", none]],
    [2, ["compare"]],
    [1, ["compare", "--task", none, "--backend", "onnx", "--backend", "onnx:fp32"]],
    [1, ["compare", "--pairs", none, "--backend", "onnx", "--backend", "onnx:fp32"]],
    [2, ["ci", "--format", "xml"]],
    [2, ["ci", "--config", none]],
    [2, ["serve", "--port", "70000"]],
    [2, ["serve", "--host", "0.0.0.0"]],
    [2, ["serve", "--model", "a=nano", "--model", "a=nano,backend=onnx:int8"]],
    [2, ["serve", "--model", "a=nano,threads=many"]],
    [2, ["serve", "--api-key", "two words"]],
    [1, ["serve", none, "--port", "0"]],
    [1, ["serve", "--host", "203.0.113.1", "--api-key", "k", "--port", "0"]],
    [2, ["residency", "report.json"]],
    [1, ["residency", none, "--baseline", none]],
    [2, ["doctor", "--format", "xml"]],
    [2, ["doctor", "--backend", "abacus"]],
    [0, ["doctor", "--help"]],
    [0, ["--version"]],
    [2, ["nonsense"]],
    [2, []],
  ];

  it.each(cases)("%i: %j", async (code, args) => {
    const outcome = await crossrank(args, { input: "the cat" });
    expect(outcome.code, outcome.stderr).toBe(code);
    if (code === 0 || args.length === 0) return;
    expect(outcome.stderr).toMatch(/^crossrank: [^\n]+\n$/);
    expect(outcome.stderr).not.toContain("not expected");
  });
});

describe("errors of a library", () => {
  it("name the flag that set the argument, and only in the command", async () => {
    const { code, stderr } = await crossrank(["rerank", "--workers", "1000000", ...query], { input: "a" });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^crossrank: --workers must be .*, not 1000000\. See: crossrank rerank --help\n$/);
  });
});

describe("start", () => {
  let log = "";
  afterAll(async () => {
    if (log !== "") await rm(log, { recursive: true });
  });

  /** Packages of this repository whose code is loaded by a command line. */
  async function loaded(args: readonly string[]): Promise<string[]> {
    log ||= await mkdtemp(join(tmpdir(), "crossrank-loaded-"));
    const hook = new URL("loaded-modules.mjs", import.meta.url);
    const file = join(log, `${args.join(" ").replace(/\W+/g, "-")}.log`);
    await mkdir(log, { recursive: true });
    // A process of its own: what one has loaded is what counts.
    const outcome = await crossrankAlone(args, {
      input: "the cat",
      environment: { NODE_OPTIONS: `--import=${hook.href}`, CROSSRANK_TEST_LOG: file },
    });
    expect(outcome.code, outcome.stderr).toBe(0);
    const urls = (await readFile(file, "utf8")).split("\n");
    const names = urls.flatMap((url) => /\/packages\/([\w-]+)\/dist\//.exec(url)?.[1] ?? []);
    return [...new Set(names)].filter((name) => name !== "crossrank").sort();
  }

  it("loads no other package for --version and for the help of most commands", async () => {
    for (const args of [
      ["--version"],
      ...["rerank", "inspect", "verify", "compare", "eval", "ci", "residency", "doctor"].map((name) => [
        name,
        "--help",
      ]),
    ]) {
      expect(await loaded(args), args.join(" ")).toEqual([]);
    }
  });

  it("loads no backend for any help, nor another backend than the one that runs", async () => {
    const backends = async (args: readonly string[]): Promise<string[]> =>
      (await loaded(args)).filter((name) => /^backend-(?!kit)/.test(name));
    expect(await backends(["--help"])).toEqual([]);
    expect(await backends(["verify", "--help"])).toEqual([]);
    expect(await backends(["convert", "--help"])).toEqual([]);
    expect(await backends(["rerank", "nano", ...query])).toEqual(["backend-onnx"]);
  });
});
