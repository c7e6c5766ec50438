import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { mnn } from "@crossrank/backend-mnn";
import { convert } from "@crossrank/convert";
import { readCardBase } from "@crossrank/core/files";
import { openModel } from "@crossrank/hub";
import { beforeAll, describe, expect, it } from "vitest";
import { type OpenRerankerOptions, openReranker } from "../src/index.js";
import { conformanceFixture, crossrankInTurn as crossrank, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const query = "capital of France";
const documents = ["the cat sat", "paris is a city", "a river"];
const commit = "0123456789abcdef0123456789abcdef01234567";

const hasMnn = (await mnn().diagnose()).available || process.env["CROSSRANK_REQUIRE_MNN"] === "1";
const python = process.env["PYTHON"] || "python3";
const hasConverter =
  spawnSync(python, ["-c", "import _tools; _tools.mnnconvert"]).status === 0 ||
  process.env["CROSSRANK_REQUIRE_MNN_CONVERTER"] === "1";

async function results(model: string, options: OpenRerankerOptions = {}) {
  await using reranker = await openReranker(model, options);
  const result = await reranker.rerank({ query, documents });
  const logits = [...result.results].sort((a, b) => a.index - b.index).map(({ logit }) => logit as number);
  return { logits, result };
}

/** Files of a repository that was downloaded, and the options to open it. */
async function repository(id: string, source: string): Promise<OpenRerankerOptions> {
  const place = folder.path(`cache/models--${id.replace("/", "--")}`);
  await mkdir(join(place, "refs"), { recursive: true });
  await writeFile(join(place, "refs/main"), commit);
  await cp(source, join(place, "snapshots", commit), { recursive: true });
  return { cacheFolder: folder.path("cache"), offline: true };
}

const fixture = conformanceFixture("bert-logit");

/** An artifact and a model card. */
async function artifactAlone(name: string, card?: string): Promise<string> {
  const target = folder.path(name);
  await cp(join(fixture, "onnx"), join(target, "onnx"), { recursive: true });
  if (card !== undefined) await writeFile(join(target, "README.md"), card);
  return target;
}

describe("what a model card names as its base", () => {
  it.each([
    ["base_model: owner/name", ["owner/name"], undefined],
    ["license: mit\nbase_model: 'owner/name' # the source\ntags: [x]", ["owner/name"], undefined],
    ["base_model:\n- owner/name\n", ["owner/name"], undefined],
    [
      'base_model:\n  - "owner/name"\n  - owner/name\nbase_model_relation: quantized',
      ["owner/name"],
      "quantized",
    ],
    ["base_model: [owner/name]", ["owner/name"], undefined],
    ["base_model: [a/b, c/d]\nbase_model_relation: merge", ["a/b", "c/d"], "merge"],
    ["base_model:\n- a/b\n\n# two\n- c/d\nlicense: mit", ["a/b", "c/d"], undefined],
    ["base_model:\nlicense: mit", [], undefined],
    ["base_model: ../../etc/passwd", [], undefined],
    ["base_model: /absolute/model", [], undefined],
    ["base_model: null", [], undefined],
    ["license: mit", [], undefined],
  ])("%j", (front, models, relation) => {
    expect(readCardBase(`---\n${front}\n---\n# A model\nbase_model: x/y\n`)).toEqual({ models, relation });
    expect(readCardBase(`\ufeff---\r\n${front.replaceAll("\n", "\r\n")}\r\n---\r\n`)).toEqual({
      models,
      relation,
    });
    expect(readCardBase(front)).toEqual({ models: [], relation: undefined });
  });
});

describe("an artifact without configuration and tokenizer", () => {
  let options: OpenRerankerOptions = {};
  let wanted: readonly number[] = [];
  beforeAll(async () => {
    options = await repository("acme/source", fixture);
    wanted = (await results(fixture)).logits;
  });
  const sha256 = async (path: string): Promise<string> =>
    createHash("sha256")
      .update(await readFile(join(fixture, path)))
      .digest("hex");

  it("takes those of the base of its card, and says so", async () => {
    const model = await artifactAlone("card", "---\nbase_model: acme/source\n---\n");
    const notices: string[] = [];
    const { logits, result } = await results(model, {
      ...options,
      onNotice: (notice) => void notices.push(notice),
    });
    expect(logits).toEqual(wanted);
    expect(notices).toEqual([
      expect.stringMatching(
        /config\.json.* taken from acme\/source at 0123456789ab, the base_model of its card/,
      ),
    ]);
    expect(result.model).toMatchObject({
      id: model,
      base: { id: "acme/source", revision: commit, from: "model card" },
    });
    expect(Reflect.get(result.model, "base")).toMatchObject({
      files: expect.arrayContaining([
        { path: "config.json", sha256: await sha256("config.json") },
        { path: "tokenizer.json", sha256: await sha256("tokenizer.json") },
      ]),
    });
  });

  it("takes those of the option before those of its card", async () => {
    const model = await artifactAlone("option", "---\nbase_model: acme/unknown\n---\n");
    const { logits, result } = await results(model, { ...options, base: fixture });
    expect(logits).toEqual(wanted);
    expect(result.model).toMatchObject({ base: { id: fixture, from: "option" } });
  });

  it.each([
    ["hidden_size", 64, /32 numbers a token, and config\.json has hidden_size 64/],
    ["vocab_size", 30_522, /1400 rows, and config\.json has vocab_size 30522/],
  ])("refuses a base whose %s is another's", async (name, value, message) => {
    const model = await artifactAlone(`other-${name}`, "");
    const base = folder.path(`base-${name}`);
    await cp(fixture, base, { recursive: true });
    const config = JSON.parse(await readFile(join(base, "config.json"), "utf8")) as object;
    await writeFile(join(base, "config.json"), JSON.stringify({ ...config, [name]: value }));
    await expect(results(model, { base })).rejects.toThrow(message);
    await expect(results(model, { base: fixture })).resolves.toMatchObject({ logits: wanted });
  });

  it("says with the command which base was taken", async () => {
    const model = await artifactAlone("command");
    const args = ["rerank", "-q", query, "-d", "-", "--model", model, "--base", fixture, "--format", "json"];
    const { code, stdout, stderr } = await crossrank(args, { input: documents.join("\n") });
    expect(code).toBe(0);
    expect(stderr).toMatch(/^note: .*command has no config\.json, .* taken from .*bert-logit\n$/);
    expect(JSON.parse(stdout)).toMatchObject({
      model: { base: { id: fixture, revision: null, from: "option" } },
    });
  });

  it.each([
    ["several", "base_model:\n- acme/source\n- acme/other", /names 2 models \(acme\/source, acme\/other\)/],
    [
      "fine-tuned",
      "base_model: acme/source\nbase_model_relation: finetune",
      /is a finetune of its base_model/,
    ],
    ["unnamed", "license: mit", /has no tokenizer\.json/],
  ])("is refused where its card names no one: %s", async (name, front, message) => {
    const model = await artifactAlone(name, `---\n${front}\n---\n`);
    await expect(openReranker(model, options)).rejects.toThrow(message);
  });

  it("is refused offline where the base is not in the cache", async () => {
    const model = await artifactAlone("offline", "---\nbase_model: acme/elsewhere\n---\n");
    await expect(openReranker(model, options)).rejects.toMatchObject({ code: "offline-missing" });
  });

  it("asks no card of a model that has its own", async () => {
    const model = folder.path("own");
    await cp(fixture, model, { recursive: true });
    await writeFile(join(model, "README.md"), "---\nbase_model: acme/elsewhere\n---\n");
    const { logits, result } = await results(model, options);
    expect(logits).toEqual(wanted);
    expect(result.model).not.toHaveProperty("base");
  });
});

describe("a folder of a repository", () => {
  let options: OpenRerankerOptions = {};
  let wanted: readonly number[] = [];
  beforeAll(async () => {
    const several = folder.path("several-models");
    await cp(fixture, join(several, "rerankers/bert"), { recursive: true });
    await cp(fixture, join(several, "whole"), { recursive: true });
    options = await repository("acme/models", several);
    await repository("acme/one", fixture);
    wanted = (await results(fixture)).logits;
  });

  it.each([
    "acme/models/rerankers/bert",
    "acme/models/whole",
    "acme/models/whole@main",
    "https://huggingface.co/acme/models/tree/main/rerankers/bert",
    "hf.co/acme/models/blob/main/whole/onnx/model.onnx",
    "https://huggingface.co/acme/models/resolve/main/whole/config.json?download=true",
    "acme/one/onnx",
    "acme/one/onnx/model.onnx",
    "https://huggingface.co/acme/one/blob/main/onnx/model.onnx",
    "acme/one:fp32",
  ])("%s", async (model) => {
    expect((await results(model, options)).logits).toEqual(wanted);
  });

  it.each([
    ["acme/models/rerankers/none", /which has the folders .*rerankers\/bert.*whole/],
    ["acme/one/onnx/model_q4.onnx", /asks for model_q4\.onnx, and acme\/one\/onnx has model\.onnx/],
    ["acme/one/../two", /names no folder/],
    ["https://huggingface.co/datasets/acme/one", /no address of a model/],
    ["https://huggingface.co/acme/one/discussions/3", /no address of a model/],
    ["https://huggingface.co/acme", /no address of a model/],
  ])("that is none is refused: %s", async (model, message) => {
    await expect(openReranker(model, options)).rejects.toThrow(message);
    await expect(openReranker(model, options)).rejects.toMatchObject({ code: "invalid-input" });
  });

  it("of a file on this machine is that around it", async () => {
    expect((await results(join(fixture, "onnx/model.onnx"))).logits).toEqual(wanted);
  });

  it("with one file of a name that says nothing takes it", async () => {
    const odd = folder.path("odd");
    await cp(fixture, odd, { recursive: true });
    await cp(join(odd, "onnx/model.onnx"), join(odd, "reranker.onnx"));
    await rm(join(odd, "onnx"), { recursive: true });
    expect((await results(odd)).logits).toEqual(wanted);
  });
});

describe("layouts of the seeds", () => {
  it("model.mlpackage at the root, its tokenizer in tokenizer/, no config.json", async () => {
    const source = conformanceFixture("xlm-roberta-logit");
    const made = folder.path("seed-000-made");
    await convert({
      model: await openModel(source),
      to: "mlpackage",
      dtype: "fp16",
      output: made,
      verify: false,
    });
    const model = folder.path("seed-000");
    await cp(join(made, "mlpackage/model.mlpackage"), join(model, "model.mlpackage"), { recursive: true });
    await mkdir(join(model, "tokenizer"));
    for (const file of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]) {
      await cp(join(source, file), join(model, "tokenizer", file));
    }
    await writeFile(join(model, "provenance.json"), '{"torch":"2.5.1","coremltools":"8.1"}');
    await expect(openReranker(model, { backend: "coreml:reference" })).rejects.toThrow(/config\.json/);

    await writeFile(join(model, "README.md"), "---\nbase_model: acme/xlm-roberta\n---\n");
    const options = await repository("acme/xlm-roberta", source);
    const { logits, result } = await results(model, { ...options, backend: "coreml:reference" });
    const wanted = (await results(source)).logits;
    for (const [index, logit] of logits.entries()) expect(logit).toBeCloseTo(wanted[index] as number, 1);
    // The tokenizer is its own.
    expect(Reflect.get(result.model, "base")).toMatchObject({ files: [{ path: "config.json" }] });
    // A package by itself is a model as well.
    const byName = await results(join(model, "model.mlpackage"), { ...options, backend: "coreml:reference" });
    expect(byName.logits).toEqual(logits);
  });

  it.runIf(hasMnn && hasConverter)("encoder.mnn and tokenizer files, no config.json", async () => {
    const source = conformanceFixture("bert-cosine-cls");
    const made = folder.path("seed-003-made");
    await convert({
      ...{ model: await openModel(source), to: "mnn", dtype: "fp16", output: made, verify: false },
      python,
    });
    const model = folder.path("seed-003");
    await mkdir(model);
    await cp(join(made, "mnn/model_fp16.mnn"), join(model, "encoder.mnn"));
    for (const file of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]) {
      await cp(join(source, file), join(model, file)).catch(() => undefined);
    }
    await expect(openReranker(model)).rejects.toThrow(/config\.json/);
    const { logits, result } = await results(model, { base: source });
    expect(result).toMatchObject({ backend: { name: "mnn" }, model: { base: { id: source } } });
    const wanted = await results(source);
    expect(logits).toHaveLength(wanted.logits.length);
    for (const { index, score } of result.results) {
      const other = wanted.result.results.find((one) => one.index === index);
      expect(score).toBeCloseTo(other?.score as number, 2);
    }
  });
});

describe("files that are not where the model is", () => {
  it("are marked with what they were read from", async () => {
    const alone = folder.path("gguf-alone");
    await mkdir(alone, { recursive: true });
    const source = folder.path("gguf-source");
    await cp(conformanceFixture("xlm-roberta-logit"), source, { recursive: true });
    const converted = await crossrank(["convert", source, "--to", "gguf", "--dtype", "F16", "--no-verify"]);
    expect(converted.code).toBe(0);
    await cp(join(source, "gguf/model-F16.gguf"), join(alone, "any.gguf"));
    const { code, stdout } = await crossrank(["inspect", alone]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/crossrank\.json .* read from any\.gguf/);
    expect(stdout).toMatch(/tokenizer\.json .* read from any\.gguf/);
    expect(stdout).toMatch(/F16 +any\.gguf .*default/);
    const refused = await crossrank(
      ["rerank", "--model", alone, "--backend", "onnx", "--query", query, "--documents", "-"],
      { input: documents.join("\n") },
    );
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("Choose the backend llamacpp");
    expect(refused.stderr).not.toContain("Write it from");
  });
});
