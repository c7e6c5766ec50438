import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  gitFile,
  type HubServer,
  lfsFile,
  type RepositoryFile,
  startHub,
} from "../../hub/test/hub-server.js";
import {
  conformanceFixture,
  crossrankInTurn,
  fixture,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const commit = "0123456789abcdef0123456789abcdef01234567";

async function filesOf(root: string): Promise<Record<string, RepositoryFile>> {
  const entries = (await readdir(root, { recursive: true, withFileTypes: true })).filter((one) =>
    one.isFile(),
  );
  const files: Record<string, RepositoryFile> = {};
  for (const entry of entries) {
    const local = join(entry.parentPath, entry.name);
    const path = local.slice(root.length + 1).replaceAll("\\", "/");
    const content = await readFile(local);
    files[path] = /\.(onnx|onnx_data|safetensors|gguf)$/.test(path) ? lfsFile(content) : gitFile(content);
  }
  return files;
}

/** The same model in a second precision. */
async function otherPrecisions(): Promise<Record<string, RepositoryFile>> {
  const content = await readFile(join(fixture("cross-encoder-fp16"), "onnx", "model.onnx"));
  return { "onnx/model_fp16.onnx": lfsFile(content) };
}

interface PulledJson {
  readonly model: { readonly revision: string; readonly family: string };
  readonly backend: string;
  readonly dtype: string;
  readonly weightsOnly: boolean;
  readonly converted: boolean;
  readonly files: readonly {
    readonly path: string;
    readonly size: number;
    readonly localPath: string;
    readonly downloaded: boolean;
  }[];
}

/** Models of several kinds, each in a hub of its own. */
const kinds: readonly { readonly name: string; readonly root: string; readonly without?: RegExp }[] = [
  { name: "cross-encoder", root: fixture("cross-encoder") },
  { name: "external-data", root: fixture("cross-encoder-external") },
  { name: "bi-encoder", root: conformanceFixture("bert-cosine-cls"), without: /safetensors$/ },
  { name: "head-modules", root: conformanceFixture("modernbert-chain"), without: /^model\.safetensors$/ },
];

const hubs = new Map<string, HubServer>();

beforeAll(async () => {
  const weights = { name: "weights", root: conformanceFixture("bert-logit"), without: /^onnx\// };
  for (const { name, root, without } of [...kinds, weights]) {
    const own = { ...(await filesOf(root)), ...(name === "cross-encoder" ? await otherPrecisions() : {}) };
    const files = Object.fromEntries(Object.entries(own).filter(([path]) => without?.test(path) !== true));
    hubs.set(name, await startHub({ id: `tests/${name}`, commit, revisions: ["main"], files }));
  }
});

afterAll(async () => {
  for (const hub of hubs.values()) await hub[Symbol.asyncDispose]();
});

const environment = (name: string, cache: string): Record<string, string> => ({
  HF_ENDPOINT: hubs.get(name)?.endpoint ?? "",
  HF_HOME: folder.path(cache),
  HF_HUB_CACHE: "",
  HF_HUB_OFFLINE: "",
  HF_TOKEN: "",
});

const run = (name: string, cache: string, args: readonly string[], input = ""): Promise<Outcome> =>
  crossrankInTurn(args, { input, environment: environment(name, cache) });

describe.each(kinds)("pull of a $name", ({ name }) => {
  test("brings what a run needs offline, and says what and where", async () => {
    const cache = `whole-${name}`;
    const pulled = await run(name, cache, ["pull", `tests/${name}`, "--json"]);
    expect(pulled).toMatchObject({ code: 0, stderr: "" });
    const json = JSON.parse(pulled.stdout) as PulledJson;
    expect(json).toMatchObject({ model: { id: `tests/${name}`, revision: commit }, weightsOnly: false });
    expect(json.files.map(({ path }) => path)).toEqual(
      expect.arrayContaining(["config.json", "tokenizer.json"]),
    );
    for (const { localPath, size, downloaded } of json.files) {
      expect((await readFile(localPath)).length).toBe(size);
      expect(downloaded).toBe(true);
    }
    const ranked = await run(
      name,
      cache,
      ["rerank", "-q", "paris", "-d", "-", "-m", `tests/${name}`, "--offline", "-f", "json"],
      "paris\nthe cat",
    );
    expect(ranked).toMatchObject({ code: 0, stderr: "" });
    const { model, backend } = JSON.parse(ranked.stdout) as {
      readonly model: { readonly artifact: { readonly dtype: string; readonly files: { path: string }[] } };
      readonly backend: { readonly name: string };
    };
    expect(backend.name).toBe(json.backend);
    // No more precisions than the one that is run.
    const artifacts = json.files.map(({ path }) => path).filter((path) => /\.onnx$/.test(path));
    expect(artifacts).toEqual(
      model.artifact.files.map(({ path }) => path).filter((path) => /\.onnx$/.test(path)),
    );

    const again = await run(name, cache, ["pull", `tests/${name}`, "--json"]);
    expect((JSON.parse(again.stdout) as PulledJson).files.every(({ downloaded }) => !downloaded)).toBe(true);
  });
});

describe("a model that has weights alone", () => {
  const rank = ["rerank", "-q", "paris", "-d", "-", "-m", "tests/weights", "--offline", "-f", "json"];

  test("is converted, and runs offline then", async () => {
    const pulled = await run("weights", "weights", ["pull", "tests/weights", "--json"]);
    expect(pulled.code).toBe(0);
    expect(pulled.stderr).toMatch(/converted to onnx fp32/);
    expect(JSON.parse(pulled.stdout)).toMatchObject({ weightsOnly: true, converted: true, dtype: "fp32" });
    const ranked = await run("weights", "weights", rank, "paris\nthe cat");
    expect(ranked.code).toBe(0);
    expect(ranked.stderr).toMatch(/made of its weights earlier/);
  });

  test("is left as it is with --no-convert", async () => {
    const pulled = await run("weights", "unconverted", ["pull", "tests/weights", "--no-convert", "--json"]);
    expect(pulled).toMatchObject({ code: 0, stderr: "" });
    const json = JSON.parse(pulled.stdout) as PulledJson;
    expect(json).toMatchObject({ weightsOnly: true, converted: false });
    expect(json.files.map(({ path }) => path)).toContain("model.safetensors");
    expect((await run("weights", "unconverted", rank, "paris")).code).toBe(1);
  });
});

describe("what is pulled", () => {
  test("is the precision that is asked for", async () => {
    const first = await run("cross-encoder", "dtype", [
      "pull",
      "tests/cross-encoder",
      "--json",
      "--dtype",
      "fp16",
    ]);
    expect(first).toMatchObject({ code: 0, stderr: "" });
    const json = JSON.parse(first.stdout) as PulledJson;
    expect(json.dtype).toBe("fp16");
    expect(json.files.filter(({ path }) => path.endsWith(".onnx")).map(({ path }) => path)).toEqual([
      expect.stringContaining("fp16"),
    ]);
  });

  test("is told in a table too", async () => {
    const { stdout, stderr, code } = await run("cross-encoder", "table", ["pull", "tests/cross-encoder"]);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout).toMatch(
      /^model +tests\/cross-encoder at 0123456789ab, cross-encoder\nruns on +onnx, fp32\n/,
    );
    expect(stdout).toMatch(/\ntokenizer\.json +[\d.]+ k?B +downloaded +\S+tokenizer\.json\n/);
    expect(stdout).toMatch(/\n\d+ files, [\d.]+ k?B\n$/);
  });

  test.each([
    [["--dtype", "q1"], 1, /q1/],
    [["--file", "onnx/none.onnx"], 1, /none\.onnx/],
    [["--backend", "onnx:int8", "--dtype", "fp32"], 2, /give one of them/],
    [["--revision", "none"], 1, /none/],
  ])("%j fails with a reason", async (args, code, reason) => {
    const outcome = await run("cross-encoder", "wrong", ["pull", "tests/cross-encoder", ...args]);
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).toMatch(reason);
    expect(outcome.stdout).toBe("");
  });

  test("of a folder is what is there already", async () => {
    const { stdout, code } = await crossrankInTurn(["pull", fixture("cross-encoder"), "--json"]);
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as PulledJson).files.every(({ downloaded }) => !downloaded)).toBe(true);
  });
});
