import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ModelFiles } from "@crossrank/core";
import { beforeAll, describe, expect, it } from "vitest";
import { type OpenRerankerOptions, openReranker } from "../src/index.js";
import { parseReference, withOneArtifact } from "../src/reference.js";
import { conformanceFixture, crossrankInTurn as crossrank, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const query = "capital of France";
const documents = ["the cat sat", "paris is a city", "a river"];

async function logits(model: string, options: OpenRerankerOptions = {}): Promise<number[]> {
  await using reranker = await openReranker(model, options);
  const { results } = await reranker.rerank({ query, documents });
  return [...results].sort((a, b) => a.index - b.index).map(({ logit }) => logit as number);
}

function expectClose(found: readonly number[], wanted: readonly number[], digits = 2): void {
  for (const [index, logit] of found.entries()) expect(logit).toBeCloseTo(wanted[index] as number, digits);
}

/** GGUF files alone, as most repositories of them are. */
async function ggufOnly(name: string, dtypes: string): Promise<string> {
  const source = folder.path(`${name}-source`);
  await cp(conformanceFixture(name), source, { recursive: true });
  const { code, stderr } = await crossrank([
    "convert",
    source,
    "--to",
    "gguf",
    "--dtype",
    dtypes,
    "--no-verify",
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const target = folder.path(`${name}-gguf`);
  await mkdir(target);
  for (const file of await readdir(join(source, "gguf"))) {
    await cp(join(source, "gguf", file), join(target, file));
  }
  return target;
}

describe("a reference to a model", () => {
  it.each([
    ["owner/name", "owner/name", undefined, undefined],
    ["owner/name:Q8_0", "owner/name", undefined, { dtype: "Q8_0" }],
    ["owner/name:FP16", "owner/name", undefined, { dtype: "FP16" }],
    ["https://huggingface.co/owner/name", "owner/name", undefined, undefined],
    ["huggingface.co/owner/name/", "owner/name", undefined, undefined],
    ["hf.co/owner/name:Q4_K_M", "owner/name", undefined, { dtype: "Q4_K_M" }],
    ["https://huggingface.co/owner/name/tree/main", "owner/name", "main", undefined],
    ["https://www.huggingface.co/owner/name?library=x#files", "owner/name", undefined, undefined],
    ["hf://owner/name", "owner/name", undefined, undefined],
    ["owner/name@main", "owner/name@main", undefined, undefined],
    ["owner/name@v1:Q8_0", "owner/name@v1", undefined, { dtype: "Q8_0" }],
    ["https://hf.co/owner/name/tree/refs%2Fpr%2F3", "owner/name", "refs/pr/3", undefined],
    ["hf.co/owner/name/tree/refs/pr/3", "owner/name", "refs/pr/3", undefined],
    ["hf.co/owner/name/blob/main/m-Q8_0.gguf", "owner/name", "main", { file: "m-Q8_0.gguf" }],
    ["./no/such/folder", "./no/such/folder", undefined, undefined],
  ])("%s", async (model, source, revision, artifact) => {
    expect(await parseReference(model)).toEqual({ source, revision, artifact });
  });
});

describe("a reference to a folder of a repository", () => {
  it.each([
    ["owner/name/sub", "owner/name", undefined, "sub", undefined],
    ["owner/name/sub/deeper@v1", "owner/name@v1", undefined, "sub/deeper", undefined],
    ["owner/name/sub:Q8_0", "owner/name", undefined, "sub", { dtype: "Q8_0" }],
    ["owner/name/gguf/m.gguf", "owner/name", undefined, "gguf", { file: "m.gguf" }],
    ["hf.co/owner/name/tree/v1/a b", "owner/name", "v1", "a b", undefined],
    ["hf.co/owner/name/tree/v1/a%20b/", "owner/name", "v1", "a b", undefined],
    ["hf.co/owner/name/blob/v1/onnx/model.onnx", "owner/name", "v1", "onnx", { file: "model.onnx" }],
    ["hf.co/owner/name/tree/v1/m.mlpackage", "owner/name", "v1", undefined, { file: "m.mlpackage" }],
    ["owner/name/ct/m.ctranslate2", "owner/name", undefined, "ct", { file: "m.ctranslate2/model.bin" }],
    ["hf.co/owner/name/blob/v1/sub/README.md", "owner/name", "v1", "sub", undefined],
  ])("%s", async (model, source, revision, place, artifact) => {
    expect(await parseReference(model)).toEqual({ source, revision, folder: place, artifact });
  });
});

describe("a repository of GGUF files alone", () => {
  let model = "";
  let wanted: readonly number[] = [];
  beforeAll(async () => {
    model = await ggufOnly("xlm-roberta-logit", "F32,F16,Q8_0");
    wanted = await logits(conformanceFixture("xlm-roberta-logit"));
  });

  it("is ranked with, by what its own metadata say", async () => {
    expectClose(await logits(model), wanted);
  });

  it("is ranked with by the name of one file", async () => {
    await using reranker = await openReranker(join(model, "model-Q8_0.gguf"));
    expect(reranker.session.artifact).toMatchObject({ format: "gguf", dtype: "Q8_0" });
  });

  it("is ranked with by a precision behind the repository's name", async () => {
    const commit = "0123456789abcdef0123456789abcdef01234567";
    const repository = folder.path("cache/models--owner--name");
    await mkdir(join(repository, "refs"), { recursive: true });
    await writeFile(join(repository, "refs/main"), commit);
    await cp(model, join(repository, "snapshots", commit), { recursive: true });
    const options = { cacheFolder: folder.path("cache"), offline: true };
    for (const [asked, dtype] of [
      ["Q8_0", "Q8_0"],
      ["fp16", "F16"],
      ["F32", "F32"],
    ]) {
      await using reranker = await openReranker(`owner/name:${asked}`, options);
      expect(reranker.session.artifact).toMatchObject({ format: "gguf", dtype });
    }
    await expect(openReranker("owner/name:Q2_K", options)).rejects.toThrow(
      /asks for Q2_K, .* has F32, F16, Q8_0/,
    );
  });

  it("of a language model has prompt and answers in it", async () => {
    const decoder = await ggufOnly("qwen3-yes-no", "F32");
    expectClose(await logits(decoder), await logits(conformanceFixture("qwen3-yes-no")));
  });

  it.each(["bert-logit", "bert-two-class"])(
    "that crossrank wrote holds the whole profile: %s",
    async (name) => {
      expectClose(await logits(await ggufOnly(name, "F32")), await logits(conformanceFixture(name)), 1);
    },
  );

  it("works with the command", async () => {
    const args = ["rerank", "-q", query, "-d", "-", "--model", model, "--format", "json"];
    const { code, stdout } = await crossrank(args, { input: documents.join("\n") });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ backend: { name: "llamacpp" } });
  });
});

describe("a model without tokenizer.json at its place", () => {
  const copy = async (name: string, as: string): Promise<string> => {
    const target = folder.path(as);
    await cp(conformanceFixture(name), target, { recursive: true });
    return target;
  };

  it("takes that of the folder tokenizer", async () => {
    const model = await copy("bert-logit", "in-folder");
    await mkdir(join(model, "tokenizer"));
    for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
      await rename(join(model, file), join(model, "tokenizer", file));
    }
    expect(await logits(model)).toEqual(await logits(conformanceFixture("bert-logit")));
  });

  it("takes vocab.txt", async () => {
    const model = await copy("bert-logit", "vocab-txt");
    const { model: words } = JSON.parse(await readFile(join(model, "tokenizer.json"), "utf8")) as {
      readonly model: { readonly vocab: Readonly<Record<string, number>> };
    };
    const lines: string[] = [];
    for (const [token, id] of Object.entries(words.vocab)) lines[id] = token;
    await writeFile(join(model, "vocab.txt"), `${lines.join("\n")}\n`);
    await rm(join(model, "tokenizer.json"));
    expect(await logits(model)).toEqual(await logits(conformanceFixture("bert-logit")));
  });

  it("takes configuration and tokenizer of a base", async () => {
    const model = await copy("bert-logit", "artifact-alone");
    for (const file of await readdir(model))
      if (file !== "onnx") await rm(join(model, file), { recursive: true });
    await expect(openReranker(model)).rejects.toThrow(/tokenizer\.json/);
    const base = conformanceFixture("bert-logit");
    expect(await logits(model, { base })).toEqual(await logits(base));
  });
});

describe("one artifact of all", () => {
  const paths = [
    "config.json",
    "m-BF16-00001-of-00002.gguf",
    "m-BF16-00002-of-00002.gguf",
    "m-UD-Q4_K_XL.gguf",
    "m-Q4_K_M.gguf",
    "m.i1-Q3_K_M.gguf",
    "onnx/model_fp16.onnx",
    "onnx/model_qint8_avx2.onnx",
  ];
  const files = {
    id: "owner/name",
    revision: undefined,
    list: () => Promise.resolve(paths.map((path) => ({ path, size: 1 }))),
  };
  const chosenBy = async (artifact: { file: string } | { dtype: string }): Promise<readonly string[]> => {
    const one = await withOneArtifact(files as unknown as ModelFiles, artifact, undefined);
    return (await one.list({})).map(({ path }) => path).filter((path) => path !== "config.json");
  };
  const parts = ["m-BF16-00001-of-00002.gguf", "m-BF16-00002-of-00002.gguf"];

  it.each([
    ["BF16", parts],
    ["Q4_K", ["m-Q4_K_M.gguf"]],
    ["q4_k_m", ["m-Q4_K_M.gguf"]],
    ["UD-Q4_K_XL", ["m-UD-Q4_K_XL.gguf"]],
    ["i1-Q3_K_M", ["m.i1-Q3_K_M.gguf"]],
    ["Q3_K", ["m.i1-Q3_K_M.gguf"]],
    ["fp16", ["onnx/model_fp16.onnx"]],
    ["qint8_avx2", ["onnx/model_qint8_avx2.onnx"]],
  ])("by the precision %s", async (dtype, wanted) => {
    expect(await chosenBy({ dtype })).toEqual(wanted);
  });

  it("by a file is the file, and the other parts of it", async () => {
    expect(await chosenBy({ file: parts[0] as string })).toEqual(parts);
    expect(await chosenBy({ file: "m-Q4_K_M.gguf" })).toEqual(["m-Q4_K_M.gguf"]);
  });

  it("of a precision that there is none of is refused, with those that there are", async () => {
    await expect(chosenBy({ dtype: "Q9_Z" })).rejects.toThrow(/asks for Q9_Z, and owner\/name has .*BF16/);
  });
});
