import { execFile } from "node:child_process";
import { appendFile, cp, mkdir, readFile, realpath, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { findBackend, makeBackend } from "../src/registry.js";
import {
  type Commands,
  commandEnvironment,
  conformanceFixture,
  crossrank,
  type Outcome,
  openCommands,
  temporaryFolder,
} from "./run-command.js";

const isLong = process.env["CROSSRANK_LONG"] !== undefined;
const folder = temporaryFolder();
const repository = fileURLToPath(new URL("../../..", import.meta.url));
const example = join(repository, "examples", "toy-backend");
const model = conformanceFixture("xlm-roberta-logit");
const toy = (): string => join(folder.path("outsider"), "toy.mjs");

/** The example as its author has it: a folder of its own, with what it needs installed. */
beforeAll(async () => {
  const root = folder.path("outsider");
  await cp(example, root, { recursive: true });
  const modules = join(root, "node_modules");
  const installed = {
    "@crossrank/core": join(repository, "packages/core"),
    "@crossrank/conformance": join(repository, "packages/conformance"),
    "onnxruntime-node": join(repository, "packages/backend-onnx/node_modules/onnxruntime-node"),
  };
  for (const [name, from] of Object.entries(installed)) {
    await mkdir(dirname(join(modules, name)), { recursive: true });
    await symlink(await realpath(from), join(modules, name), "dir");
  }
  // The same as a package.
  await mkdir(join(modules, "toy-runtime"));
  await cp(toy(), join(modules, "toy-runtime", "toy.mjs"));
  await writeFile(
    join(modules, "toy-runtime", "package.json"),
    JSON.stringify({ name: "toy-runtime", type: "module", exports: { ".": { import: "./toy.mjs" } } }),
  );
  await writeFile(join(root, "empty.mjs"), "export const backends = [{}];\n");
  await writeFile(join(root, "documents.txt"), "the cat sat\nparis is a city\n");
});

let commands: Commands | undefined;
afterAll(() => commands?.close());

function run(args: readonly string[]): Promise<Outcome> {
  commands ??= openCommands({ cwd: folder.path("outsider"), env: commandEnvironment });
  return commands.run(args);
}

function rerank(backend: string): Promise<Outcome> {
  const task = ["--query", "paris", "--documents", "documents.txt", "--model", model, "--format", "json"];
  return run(["rerank", ...task, "--backend", backend]);
}

describe("the example of a backend", () => {
  it("is short", async () => {
    const lines = async (name: string): Promise<number> =>
      (await readFile(join(example, name), "utf8")).trimEnd().split("\n").length;
    expect(await lines("toy.mjs")).toBeLessThanOrEqual(60);
    expect(await lines("conformance.test.mjs")).toBeLessThanOrEqual(12);
  });

  it("passes the conformance suite", async () => {
    // As it stands there with CROSSRANK_LONG, and otherwise with two of its many fixtures.
    const suite = join(folder.path("outsider"), "conformance.test.mjs");
    const whole = await readFile(suite, "utf8");
    const families = "families: toy().families";
    expect(whole).toContain(families);
    const names = isLong ? "" : ', names: ["bert-logit", "xlm-roberta-logit"]';
    await writeFile(suite, whole.replace(families, `${families}${names}`));
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--test", "--test-reporter=tap", "conformance.test.mjs"],
      {
        cwd: folder.path("outsider"),
        maxBuffer: 2 ** 26,
        env: { ...process.env, NODE_TEST_CONTEXT: undefined },
      },
    );
    expect(stdout).toMatch(/^# fail 0$/m);
    expect(Number(/^# pass (\d+)$/m.exec(stdout)?.[1])).toBeGreaterThan(isLong ? 100 : 40);
  });
});

describe("a backend that is not of this repository", () => {
  let ours: Promise<Outcome> | undefined;

  it.each(
    sampleOf(["./toy.mjs", "./toy.mjs:fp32", "toy-runtime", "toy-runtime:fp32"], { name: "toys", every: 2 }),
  )("runs as %s", async (backend) => {
    ours ??= rerank("onnx:fp32");
    const [own, theirs] = [await rerank(backend), await ours];
    expect(own).toMatchObject({ code: 0, stderr: "" });
    const [result, expected] = [own, theirs].map(({ stdout }) => JSON.parse(stdout));
    expect(result).toMatchObject({ backend: { name: "toy" }, settings: {} });
    expect(result.results.map(({ index }: { index: number }) => index)).toEqual(
      expected.results.map(({ index }: { index: number }) => index),
    );
    for (const [place, { logit }] of expected.results.entries()) {
      expect(result.results[place].logit).toBeCloseTo(logit, 4);
    }
  });

  it("is verified, evaluated and examined", async () => {
    const verified = await run(["verify", model, "--backend", "./toy.mjs"]);
    expect(verified).toMatchObject({ code: 0, stderr: "" });
    expect(verified.stdout).toMatch(/^PASS:/m);
    const task = ["--task", join(repository, "examples", "task"), "--limit", "2", "--model", model];
    const evaluated = await run(["eval", ...task, "--backend", "onnx:fp32", "--backend", "./toy.mjs"]);
    expect(evaluated.code, evaluated.stderr).toBe(0);
    expect(evaluated.stdout).toMatch(/^\.\/toy\.mjs: same\./m);
    const examined = await run(["doctor", "--backend", "./toy.mjs", "--format", "json"]);
    expect(JSON.parse(examined.stdout).backends).toContainEqual(
      expect.objectContaining({ name: "./toy.mjs", available: true, detail: "in this process" }),
    );
  });

  it("is compared, and run by ci, by its path and as a package", async () => {
    await writeFile(
      join(folder.path("outsider"), "pairs.jsonl"),
      ["the cat sat", "paris is a city"]
        .map((document) => `${JSON.stringify({ query: "paris", document })}\n`)
        .join(""),
    );
    const pair = ["--reference", "onnx:fp32", "--backend", "./toy.mjs", "--backend", "toy-runtime:fp32"];
    const compared = await run(["compare", "--pairs", "pairs.jsonl", "--model", model, ...pair]);
    expect(compared.code, compared.stderr).toBe(0);
    expect(compared.stdout).toMatch(/^\.\/toy\.mjs: same\./m);
    expect(compared.stdout).toMatch(/^toy-runtime:fp32: same\./m);
    // A folder below: paths are the configuration's.
    const config = join(folder.path("outsider"), "matrix", "crossrank.config.json");
    await mkdir(dirname(config));
    await writeFile(
      config,
      JSON.stringify({
        models: [model],
        backends: ["onnx:fp32", "../toy.mjs", "toy-runtime"],
        tasks: [{ task: join(repository, "examples", "task"), limit: 2 }],
        gates: { margin: 1, quality: false, systems: { "../toy.mjs": { precision: "fp32" } } },
      }),
    );
    const matrix = await run(["ci", "--config", config, "--format", "json"]);
    expect(matrix.code, matrix.stderr).toBe(0);
    const overview = JSON.parse(matrix.stdout);
    expect(overview.cells[0].systems.map(({ name }: { name: string }) => name)).toEqual([
      "onnx:fp32",
      "./toy.mjs",
      "toy-runtime",
    ]);
  });

  it("is another system once its file is another", async () => {
    await cp(toy(), join(dirname(toy()), "edited.mjs"));
    const task = ["--task", join(repository, "examples", "task"), "--limit", "2", "--model", model];
    // Each a process of its own: one has loaded the file as it was.
    const evaluate = (): Promise<Outcome> =>
      crossrank(["eval", ...task, "--backend", "./edited.mjs", "--report", "edited-report"], {
        folder: folder.path("outsider"),
      });
    expect((await evaluate()).code).toBe(0);
    expect((await evaluate()).code).toBe(0);
    await appendFile(join(dirname(toy()), "edited.mjs"), "// other arithmetic\n");
    const refused = await evaluate();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("edited.mjs");
  });

  it.each([
    ["./none.mjs", 1, /^crossrank: \.\/none\.mjs is no backend: there is no such file/],
    ["./empty.mjs", 1, /^crossrank: \.\/empty\.mjs is no backend: it exports no descriptor/],
    ["@crossrank/core", 1, /^crossrank: @crossrank\/core is no backend: it exports no descriptor/],
    ["toy-runtime:int8", 1, /has no int8 file\. Ask for fp32/],
    ["onnxx", 2, /'onnxx' is invalid\. Known backends: onnx, /],
    ["not-installed", 2, /'not-installed' is invalid\. Known backends: onnx, /],
  ])("is refused with its cause: %s", async (backend, code, message) => {
    const outcome = await rerank(backend);
    expect(outcome).toMatchObject({ code, stdout: "" });
    expect(outcome.stderr).toMatch(message);
  });

  it("is found from a program, by path and by file URL", async () => {
    for (const name of [toy(), new URL(`file://${toy()}`).href]) {
      const { backend, dtype } = await findBackend(`${name}:fp32`);
      expect({ dtype, packages: backend.packages }).toEqual({ dtype: "fp32", packages: [] });
      expect(await makeBackend(backend)).toMatchObject({ name: "toy", families: ["cross-encoder"] });
    }
  });
});
