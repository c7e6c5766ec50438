import { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sourceBackend } from "@crossrank/convert";
import { openModel } from "@crossrank/hub";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { gitFile, type HubServer, lfsFile, startHub } from "../../hub/test/hub-server.js";
import { type AutoConversionProgress, type OpenRerankerOptions, openReranker } from "../src/index.js";
import { conformanceFixture, crossrank, crossrankInTurn, temporaryFolder } from "./run-command.js";
import { bfloat16, shards } from "./weights.js";

const folder = temporaryFolder();
const query = "capital of France";
const documents = ["the cat sat", "paris is a city", "a river"];
const fixture = conformanceFixture("bert-logit");

/** Weights and what describes them, and nothing that a backend runs. */
async function weightsAlone(name: string, source = fixture): Promise<string> {
  const target = folder.path(name);
  await cp(source, target, { recursive: true });
  await rm(join(target, "onnx"), { recursive: true, force: true });
  await rm(join(target, "golden.json"), { force: true });
  return target;
}

async function logits(model: string, options: OpenRerankerOptions = {}): Promise<number[]> {
  await using reranker = await openReranker(model, options);
  const { results } = await reranker.rerank({ query, documents });
  return [...results].sort((a, b) => a.index - b.index).map(({ logit }) => logit as number);
}

/** A cache of its own, and what a conversion told. */
function watched(name: string): {
  readonly options: OpenRerankerOptions;
  readonly steps: AutoConversionProgress[];
  readonly converted: () => Promise<string[]>;
} {
  const steps: AutoConversionProgress[] = [];
  return {
    options: {
      // The folder is there once the tests run.
      get cacheFolder() {
        return folder.path(`${name}/hub`);
      },
      onConversion: (step) => void steps.push(step),
    },
    steps,
    converted: async () =>
      (await readdir(folder.path(`${name}/crossrank/converted`)).catch(() => [])).filter(
        (entry) => entry !== "hashes",
      ),
  };
}

function lastOf(steps: readonly AutoConversionProgress[]): AutoConversionProgress | undefined {
  return steps.at(-1);
}

/** Words of a command as a shell reads them. */
function words(command: string): string[] {
  return [...command.matchAll(/'((?:[^']|'\\'')*)'|(\S+)/g)].map(
    ([, quoted, plain]) => plain ?? (quoted as string).replaceAll("'\\''", "'"),
  );
}

describe("the command that a refusal to convert gives", () => {
  const commit = "0123456789abcdef0123456789abcdef01234567";
  const hub = (): Record<string, string> => ({ HF_HUB_CACHE: folder.path("by-hand/hub") });
  const texts = ["--query", query, "--documents", "-", "--format", "json"];

  beforeAll(async () => {
    const repository = folder.path("by-hand/hub/models--acme--weights");
    await mkdir(join(repository, "refs"), { recursive: true });
    await writeFile(join(repository, "refs/main"), commit);
    await writeFile(join(repository, "refs/v1"), commit);
    await cp(await weightsAlone("by-hand/source"), join(repository, "snapshots", commit), {
      recursive: true,
    });
    await writeFile(folder.path("by-hand/a profile.json"), JSON.stringify({ maxLength: 24 }));
    await rm(join(await weightsAlone("by-hand/bare"), "tokenizer.json"));
  });

  const followed = [
    ["source", ["--no-convert"], []],
    ["source", ["--no-convert", "--profile", "a profile.json"], ["--profile", "a profile.json"]],
    ["source", ["--offline", "--dtype", "fp16", "--profile", "a profile.json"], ["--dtype", "fp16"]],
    [
      "source",
      ["--no-convert", "--backend", "llamacpp", "--dtype", "f16"],
      ["--to", "gguf", "--dtype", "F16"],
    ],
    ["bare", ["--no-convert", "--base", "./source"], ["--base", "./source"]],
    ["acme/weights", ["--offline", "--revision", "v1"], ["--revision", "v1", "--offline"]],
    ["acme/weights:fp16", ["--offline"], ["--dtype", "fp16"]],
    ["acme/weights@v1", ["--offline", "--no-convert", "--profile", "a profile.json"], ["--offline"]],
  ] as const;
  it.each(sampleOf(followed, { name: "followed", every: 3 }))(
    "%s %j: is followed, and what it wrote runs",
    async (name, options, repeated) => {
      const work = folder.path(
        `by-hand/work-${name}-${options.join("-")}`.replaceAll(/[ :]|\.\/|(?<=work-.*)\//g, "_"),
      );
      await mkdir(work, { recursive: true });
      const source = folder.path("by-hand");
      await cp(join(source, "a profile.json"), join(work, "a profile.json"));
      for (const own of ["source", "bare"]) await cp(join(source, own), join(work, own), { recursive: true });
      const place = { folder: work, environment: hub(), input: documents.join("\n") };
      const model = name.startsWith("acme") ? name : `./${name}`;
      const refused = await crossrankInTurn(["rerank", "--model", model, ...options, ...texts], place);
      expect(refused.code).toBe(1);
      const [, command = ""] = /Run: (crossrank convert .*)$/m.exec(refused.stderr) ?? [];
      const [, ...args] = words(command);
      expect(args).toEqual(expect.arrayContaining([...repeated]));
      const converted = await crossrankInTurn(args, place);
      expect({ code: converted.code, stderr: converted.stderr }).toMatchObject({ code: 0 });
      const written = name.startsWith("acme") ? "./weights" : model;
      if (written !== model) expect(refused.stderr).toContain(`It writes a folder, ${written}:`);
      // What names the repository says nothing of the folder.
      const kept = options.flatMap((option, at) =>
        option === "--revision" || options[at - 1] === "--revision" ? [] : [option],
      );
      const ranked = await crossrankInTurn(["rerank", "--model", written, ...kept, ...texts], place);
      expect({ code: ranked.code, stderr: ranked.stderr }).toMatchObject({ code: 0 });
      expect((JSON.parse(ranked.stdout) as { results: unknown[] }).results).toHaveLength(documents.length);
    },
  );

  it("of a precision that nothing writes is no command: what was typed is named, with one code", async () => {
    for (const typed of [
      ["--model", "acme/weights:q4"],
      ["--model", "acme/weights:q4", "--backend", "onnx"],
    ]) {
      const { code, stderr } = await crossrankInTurn(["rerank", ...typed, "--offline", ...texts], {
        environment: hub(),
        input: documents.join("\n"),
      });
      expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining("acme/weights:q4") });
      expect(stderr).not.toContain("--dtype");
    }
  });

  it("says what a program's profile and folder become", async () => {
    const refusal = openReranker("acme/weights", {
      cacheFolder: folder.path("by-hand/hub"),
      offline: true,
      profile: { maxLength: 24 },
    });
    await expect(refusal).rejects.toMatchObject({
      code: "not-converted",
      command: "crossrank convert acme/weights --to onnx --profile profile.json --offline",
      message: expect.stringMatching(/Write the profile .* profile\.json\. Set HF_HUB_CACHE to .*by-hand/),
    });
  });
});

describe("weights beside an artifact of another precision", () => {
  it("are converted to a precision that no artifact has, and to no other", async () => {
    const model = await weightsAlone("beside");
    await cp(join(fixture, "onnx/model.onnx"), join(model, "onnx/model_int8.onnx"), { recursive: true });
    const watch = watched("beside-cache");
    const wanted = await logits(fixture);
    for (const asked of [{ dtype: "fp32" }, { backend: "onnx:fp32" }]) {
      const found = await logits(model, { ...watch.options, ...asked });
      for (const [index, logit] of found.entries()) expect(logit).toBeCloseTo(wanted[index] as number, 3);
      expect(lastOf(watch.steps)).toMatchObject({ step: "converted", format: "onnx", dtype: "fp32" });
    }
    watch.steps.length = 0;
    for (const asked of [{}, { dtype: "int8" }, { file: "onnx/model_int8.onnx" }]) {
      expect(await logits(model, { ...watch.options, ...asked })).toHaveLength(3);
    }
    expect(watch.steps).toEqual([]);
    await expect(openReranker(model, { ...watch.options, dtype: "q4f16" })).rejects.toThrow(/int8/);
    await expect(
      openReranker(model, { ...watch.options, convert: false, dtype: "fp16" }),
    ).rejects.toMatchObject({
      code: "not-converted",
      message: expect.stringContaining("no onnx file of fp16"),
    });
  });
});

describe("a model with weights alone", () => {
  let model = "";
  const { options, steps, converted } = watched("first");
  let wanted: readonly number[] = [];
  beforeAll(async () => {
    model = await weightsAlone("weights");
    wanted = await logits(fixture);
  });

  it("is refused where nothing may be converted, with the command that does it", async () => {
    await expect(openReranker(model, { ...options, convert: false })).rejects.toMatchObject({
      code: "not-converted",
      command: `crossrank convert ${model} --to onnx`,
    });
    await expect(openReranker(model, { ...options, offline: true, dtype: "int8" })).rejects.toMatchObject({
      code: "not-converted",
      command: `crossrank convert ${model} --to onnx --dtype int8 --offline`,
    });
    expect(await converted()).toEqual([]);
  });

  it("is converted once, verified, and its folder left alone", async () => {
    const before = (await readdir(model, { recursive: true })).sort();
    const found = await logits(model, options);
    for (const [index, logit] of found.entries()) expect(logit).toBeCloseTo(wanted[index] as number, 3);
    expect(new Set(steps.map(({ step }) => step))).toEqual(
      new Set(["reading", "reference", "writing", "hashing", "verifying", "converted"]),
    );
    expect(lastOf(steps)).toMatchObject({ format: "onnx", dtype: "fp32", reused: false, model });
    expect((await readdir(model, { recursive: true })).sort()).toEqual(before);
    expect(await converted()).toHaveLength(1);
  });

  it("runs as what was made, also where nothing may be converted", async () => {
    for (const more of [{}, { convert: false }, { offline: true }]) {
      steps.length = 0;
      expect(await logits(model, { ...options, ...more })).toHaveLength(3);
      expect(steps.filter(({ step }) => step !== "hashing")).toMatchObject([
        { step: "converted", reused: true },
      ]);
    }
  });

  it("is made anew where the file in the cache is damaged", async () => {
    const [key = ""] = await converted();
    await truncate(folder.path(`first/crossrank/converted/${key}/onnx/model.onnx`), 100);
    const started = vi.spyOn(ChildProcess.prototype, "unref");
    expect(await logits(model, options)).toHaveLength(3);
    // One that verifies and one that runs: that the backend works here is known by now.
    expect(new Set(started.mock.contexts).size).toBe(2);
    started.mockRestore();
    expect(lastOf(steps)).toMatchObject({ reused: false });
    expect(await converted()).toEqual([key]);
  });

  it("is made anew of other weights, in another precision, and for another backend", async () => {
    expect(await logits(model, { ...options, dtype: "fp16" })).toHaveLength(3);
    expect(lastOf(steps)).toMatchObject({ format: "onnx", dtype: "fp16", reused: false });
    expect(await logits(model, { ...options, backend: "llamacpp:F16" })).toHaveLength(3);
    expect(lastOf(steps)).toMatchObject({ format: "gguf", dtype: "F16", reused: false });
    const config = join(model, "config.json");
    await writeFile(config, `${await readFile(config, "utf8")}\n`);
    expect(await logits(model, options)).toHaveLength(3);
    expect(lastOf(steps)).toMatchObject({ format: "onnx", dtype: "fp32", reused: false });
    expect(await converted()).toHaveLength(4);
  });

  it("is refused in a precision that nothing writes", async () => {
    await expect(openReranker(model, { ...options, dtype: "q4f16" })).rejects.toThrow(/weights alone/);
    await expect(openReranker(model, { ...options, backend: "onnx:q4f16" })).rejects.toThrow(
      /fp32, fp16, int8/,
    );
  });

  it("takes the goldens of its weights to verify", async () => {
    const { code, stdout, stderr } = await crossrankInTurn(["verify", model], {
      environment: { HF_HUB_CACHE: folder.path("verify/hub") },
    });
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining("were converted") });
    expect(stdout).toContain("PASS");
  });

  it("of another system's file beside its weights runs as its weights", async () => {
    const other = await weightsAlone("elsewhere");
    await mkdir(join(other, "model.mlpackage"));
    await writeFile(join(other, "model.mlpackage/Manifest.json"), "{}");
    if (process.platform === "darwin") return;
    const watch = watched("elsewhere-cache");
    expect(await logits(other, watch.options)).toHaveLength(3);
    expect(lastOf(watch.steps)).toMatchObject({ format: "onnx", dtype: "fp32" });
  });

  it.each([
    ["pytorch_model.bin", undefined, /pickle/i],
    ["model.safetensors", { quantization_config: { quant_method: "gptq", bits: 4 } }, /gptq/i],
    ["model.safetensors", { quantization: { bits: 4, group_size: 64 } }, /MLX/],
  ])("that cannot be converted is refused by name: %s %j", async (file, more, message) => {
    const broken = await weightsAlone(`broken-${String(message).replaceAll(/\W/g, "")}`);
    if (file !== "model.safetensors") {
      await rm(join(broken, "model.safetensors"));
      await writeFile(join(broken, file), "\x80\x02}q\x00.");
    }
    const config = join(broken, "config.json");
    await writeFile(
      config,
      JSON.stringify({ ...(JSON.parse(await readFile(config, "utf8")) as object), ...more }),
    );
    const watch = watched("broken");
    await expect(openReranker(broken, watch.options)).rejects.toThrow(message);
    expect(await watch.converted()).toEqual([]);
  });

  it("is converted by one of two processes at once", async () => {
    const environment = { HF_HUB_CACHE: folder.path("two/hub") };
    const args = ["rerank", "-q", query, "-d", "-", "--model", model, "--format", "jsonl"];
    const both = await Promise.all(
      [0, 1].map(() => crossrank(args, { environment, input: documents.join("\n") })),
    );
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both[0]?.stdout).toBe(both[1]?.stdout);
    expect(both.map(({ stderr }) => /were converted/.test(stderr)).sort()).toEqual([false, true]);
    expect(await readdir(folder.path("two/crossrank/converted"))).toHaveLength(1);
  });

  it("is whole after a kill in the middle", async () => {
    const environment = { HF_HUB_CACHE: folder.path("killed/hub") };
    const args = ["rerank", "-q", query, "-d", "-", "--model", model, "--format", "jsonl"];
    const place = folder.path("killed/crossrank/converted");
    const first = crossrank(args, {
      environment,
      input: documents.join("\n"),
      onStart: (child) => {
        void (async () => {
          const ended = once(child, "exit");
          const isOver = ended.then(() => true);
          // As soon as something is written, and before it is whole.
          while ((await readdir(place).catch(() => [])).every((name) => !name.startsWith("."))) {
            if (await Promise.race([isOver, sleep(2, false)])) return;
          }
          child.kill("SIGKILL");
        })();
      },
    });
    expect((await first).code).toBe(null);
    expect((await readdir(place)).filter((name) => !name.startsWith("."))).toEqual([]);
    const { code, stderr } = await crossrank(args, { environment, input: documents.join("\n") });
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining("were converted") });
    // What the killed one left is gone.
    expect(await readdir(place)).toHaveLength(1);
  });
});

describe("a repository with sharded bf16 weights alone", () => {
  const commit = "0123456789abcdef0123456789abcdef01234567";
  let hub: HubServer;
  let rounded = "";
  beforeAll(async () => {
    const weights = bfloat16(await readFile(join(fixture, "model.safetensors")));
    const files = Object.fromEntries(
      await Promise.all(
        ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"].map(
          async (path) => [path, gitFile(await readFile(join(fixture, path)))] as const,
        ),
      ),
    );
    rounded = await weightsAlone("rounded");
    await writeFile(join(rounded, "model.safetensors"), weights);
    const parts = shards(weights, 3);
    hub = await startHub({
      id: "tests/sharded",
      commit,
      revisions: ["main"],
      files: {
        ...files,
        ...Object.fromEntries(
          Object.entries(parts).map(([path, content]) => [
            path,
            path.endsWith(".json") ? gitFile(content) : lfsFile(content),
          ]),
        ),
      },
    });
  });
  afterAll(() => hub[Symbol.asyncDispose]());

  const rank = (model: string, ...more: readonly string[]) =>
    crossrank(["rerank", "-q", query, "-d", "-", "--model", model, "--format", "json", ...more], {
      environment: {
        ...{ HF_ENDPOINT: hub.endpoint, HF_HOME: folder.path("hub-home"), HF_TOKEN: "" },
        ...{ HF_HUB_CACHE: "", HF_HUB_OFFLINE: "" },
      },
      input: documents.join("\n"),
    });

  it("is ranked with, by the command, and offline from then on", async () => {
    const refused = await rank("tests/sharded", "--no-convert");
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Run: crossrank convert tests/sharded --to onnx"),
    });
    const { code, stdout, stderr } = await rank("tests/sharded");
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("tests/sharded has weights and no onnx file"),
    });
    const result = JSON.parse(stdout) as {
      readonly model: unknown;
      readonly results: readonly { readonly index: number; readonly logit: number }[];
    };
    expect(result.model).toMatchObject({
      id: "tests/sharded",
      revision: commit,
      artifact: { format: "onnx", dtype: "fp32" },
    });
    // Computed from the weights themselves, in float64.
    await using reference = await openReranker(await openModel(rounded), { backend: sourceBackend() });
    for (const { index, logit } of (await reference.rerank({ query, documents })).results) {
      const found = result.results.find((one) => one.index === index);
      expect(found?.logit).toBeCloseTo(logit as number, 3);
    }
    const again = await rank("tests/sharded", "--offline");
    expect(again).toMatchObject({ code: 0, stderr: expect.stringContaining("made of its weights earlier") });
    expect(JSON.parse(again.stdout)).toMatchObject({ results: result.results });
  });

  it("is ranked with in a precision behind its name", async () => {
    const named = await rank("tests/sharded:fp16");
    expect(named.code).toBe(0);
    expect(JSON.parse(named.stdout)).toMatchObject({
      model: { artifact: { format: "onnx", dtype: "fp16" } },
    });
  });
});
