import { cp, mkdir, readFile, realpath, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import {
  conformanceFixture,
  crossrankInTurn as crossrank,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const repository = fileURLToPath(new URL("../../..", import.meta.url));
const model = conformanceFixture("xlm-roberta-logit");

/** A format of its own: a folder `model.toy` with the graph and a word, which can be set. */
const writer = `
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createOnnxWriter } from "@crossrank/convert";

const graphs = createOnnxWriter({ target: "plain" });
const writerWith = ({ word = "hello", copies = 1 }) => ({
  format: "toy",
  dtypes: ["fp32"],
  path: () => "toy/model.toy",
  check: graphs.check,
  settings: () => ({ word, copies }),
  async write(request) {
    await mkdir(request.path, { recursive: true });
    const [graph] = await graphs.write({ ...request, path: join(request.path, "graph.onnx") });
    const said = join(request.path, "word.txt");
    await writeFile(said, word.repeat(copies));
    return [graph, said];
  },
});
const options = {
  word: { help: "what word.txt says (default: hello)", value: "text" },
  copies: { help: "how often (default: 1)", value: "count" },
};
export const writers = [{ format: "toy", dtypes: ["fp32"], options, create: writerWith }];
`;

/** The toy backend, which loads that format; the writer may be beside it, or alone. */
beforeAll(async () => {
  const root = folder.path("outsider");
  await mkdir(root, { recursive: true });
  const backend = (await readFile(join(repository, "examples/toy-backend/toy.mjs"), "utf8"))
    .replace('"onnx/model.onnx"', '"toy/model.toy/graph.onnx"')
    .replaceAll('format: "onnx"', 'format: "toy"');
  const wrong = backend.replace("data: result.data,", "data: result.data.map((logit) => logit + 1),");
  expect(wrong).not.toBe(backend);
  await writeFile(join(root, "both.mjs"), `${backend}${writer}`);
  await writeFile(join(root, "wrong.mjs"), `${wrong}${writer}`);
  await writeFile(join(root, "alone.mjs"), writer);
  await writeFile(join(root, "damaged.mjs"), "export const writers = [{ format: 'toy' }];\n");
  const modules = join(root, "node_modules");
  const installed = {
    "@crossrank/core": join(repository, "packages/core"),
    "@crossrank/convert": join(repository, "packages/convert"),
    "onnxruntime-node": join(repository, "packages/backend-onnx/node_modules/onnxruntime-node"),
  };
  for (const [name, from] of Object.entries(installed)) {
    await mkdir(dirname(join(modules, name)), { recursive: true });
    await symlink(await realpath(from), join(modules, name), "dir");
  }
  await mkdir(join(modules, "toy-runtime"));
  await cp(join(root, "both.mjs"), join(modules, "toy-runtime", "both.mjs"));
  await writeFile(
    join(modules, "toy-runtime", "package.json"),
    JSON.stringify({ name: "toy-runtime", type: "module", exports: "./both.mjs" }),
  );
});

function convert(...args: readonly string[]): Promise<Outcome> {
  return crossrank(["convert", model, ...args], { folder: folder.path("outsider") });
}

describe("a format that is not of this repository", () => {
  it.each(["./both.mjs", "toy-runtime"])("is written and judged by %s", async (name) => {
    const output = folder.path(`out-${name.replace(/\W/g, "")}`);
    const args = ["--to", "toy", "--backend", name, "--set", "word=bye", "--set", "copies=2"];
    const outcome = await convert(...args, "--output", output, "--format", "json");
    expect(outcome).toMatchObject({ code: 0 });
    const [artifact] = JSON.parse(outcome.stdout).artifacts;
    expect(artifact).toMatchObject({
      format: "toy",
      dtype: "fp32",
      options: { word: "bye", copies: 2 },
      verified: true,
    });
    expect(artifact.verifications[0]).toMatchObject({ passed: true, backend: { name: "toy" } });
    expect(artifact.files.map(({ path }: { path: string }) => path)).toEqual([
      "toy/model.toy/graph.onnx",
      "toy/model.toy/word.txt",
    ]);
    expect(await readFile(join(output, "toy/model.toy/word.txt"), "utf8")).toBe("byebye");

    // A folder of the format is replaced as one.
    const again = await convert("--to", "toy", "--backend", name, "--output", output);
    expect(again).toMatchObject({ code: 1 });
    expect(again.stderr).toMatch(/is there already/);
    const forced = await convert("--to", "toy", "--backend", name, "--output", output, "--force");
    expect(forced).toMatchObject({ code: 0 });
    expect(await readFile(join(output, "toy/model.toy/word.txt"), "utf8")).toBe("hello");
    const { artifacts } = JSON.parse(await readFile(join(output, "provenance.json"), "utf8"));
    expect(artifacts).toHaveLength(1);
  });

  it("is not kept where its backend gives something else", async () => {
    const output = folder.path("unfaithful");
    const outcome = await convert("--to", "toy", "--backend", "./wrong.mjs", "--output", output);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(/does not give what its weights give/);
    await expect(readFile(join(output, "provenance.json"))).rejects.toThrow(/ENOENT/);
  });

  it("needs no backend where nobody is to judge", async () => {
    const output = folder.path("unseen");
    const args = ["--to", "toy", "--backend", "./alone.mjs", "--output", output];
    const outcome = await convert(...args);
    expect(outcome).toMatchObject({ code: 2 });
    expect(outcome.stderr).toMatch(/--backend \.\/alone\.mjs has no backend, and --to is toy/);
    expect(await convert(...args, "--no-verify")).toMatchObject({ code: 0 });
  });

  it("is not known without its package, and a damaged one says what to export", async () => {
    expect((await convert("--to", "toy")).stderr).toMatch(/nothing writes the format toy.*--backend/s);
    const damaged = await convert("--to", "toy", "--backend", "./damaged.mjs");
    expect(damaged).toMatchObject({ code: 1 });
    expect(damaged.stderr).toMatch(/Export an array of descriptors/);
  });
});

it("an outsider's backend judges one of our formats", async () => {
  const output = folder.path("judged");
  const toy = join(repository, "examples/toy-backend/toy.mjs");
  await cp(toy, join(folder.path("outsider"), "toy.mjs"));
  const args = ["--to", "onnx", "--target", "plain", "--backend", "./toy.mjs", "--format", "json"];
  const outcome = await convert(...args, "--output", output);
  expect(outcome).toMatchObject({ code: 0 });
  const [artifact] = JSON.parse(outcome.stdout).artifacts;
  expect(artifact.verifications[0]).toMatchObject({ passed: true, backend: { name: "toy" } });
});
