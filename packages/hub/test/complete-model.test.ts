import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ModelProfileError, readProfile } from "@crossrank/core";
import { completeModel, openFolder } from "@crossrank/hub";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const fixtures = fileURLToPath(new URL("../../conformance/fixtures/", import.meta.url));
const formats = fileURLToPath(new URL("../../formats/test/fixtures/", import.meta.url));

let root = "";
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "crossrank-parts-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function folderOf(files: Readonly<Record<string, string>>): Promise<string> {
  count += 1;
  const folder = join(root, String(count));
  for (const [path, source] of Object.entries(files)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await cp(source, join(folder, path), { recursive: true });
  }
  return folder;
}

const fixture = (name: string): Promise<string> => folderOf({ ".": join(fixtures, name) });

async function profileOf(folder: string, options: Parameters<typeof completeModel>[1] = {}) {
  const files = await completeModel(await openFolder(folder), { folder: join(root, "made"), ...options });
  return readProfile(files);
}

describe("a model whose files lie elsewhere", () => {
  it("is left as it is where nothing is missing", async () => {
    const files = await openFolder(await fixture("bert-logit"));
    expect(await completeModel(files)).toBe(files);
  });

  it.each(["bert-logit", "xlm-roberta-logit", "qwen3-yes-no", "modernbert-mean"])(
    "has its tokenizer in a folder of that name: %s",
    async (name) => {
      const folder = await fixture(name);
      const whole = await profileOf(folder);
      await mkdir(join(folder, "tokenizer"));
      for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
        await rename(join(folder, file), join(folder, "tokenizer", file));
      }
      expect(await profileOf(folder)).toEqual(whole);
    },
  );

  it("is named as what it is where that is read by nobody, and not its tokenizer blamed", async () => {
    const folder = await folderOf({ "config.json": join(fixtures, "bert-logit", "config.json") });
    await writeFile(join(folder, "spiece.model"), "none");
    await expect(profileOf(folder)).rejects.toThrow(/spiece\.model/);
    const config = {
      architectures: ["T5ForConditionalGeneration"],
      model_type: "t5",
      is_encoder_decoder: true,
    };
    await writeFile(join(folder, "config.json"), JSON.stringify(config));
    const refusal = profileOf(folder);
    await expect(refusal).rejects.toThrow(ModelProfileError);
    await expect(refusal).rejects.toThrow(/config\.json: it is an encoder-decoder/);
  });

  it("takes tokenizer and configuration of a base", async () => {
    const base = await fixture("bert-logit");
    const whole = await profileOf(base);
    const folder = await folderOf({ "encoder.mnn": join(base, "config.json") });
    const { profile } = await profileOf(folder, { base: await openFolder(base) });
    expect(profile).toEqual(whole.profile);
  });

  it("keeps what it has, and takes of a base what it lacks", async () => {
    const base = await openFolder(await fixture("bert-logit"));
    const folder = await fixture("xlm-roberta-logit");
    const whole = await profileOf(folder);
    expect((await profileOf(folder, { base })).profile).toEqual(whole.profile);
    await rm(join(folder, "tokenizer.json"));
    const files = await completeModel(await openFolder(folder), { base });
    expect(await files.readText("tokenizer.json")).toBe(await base.readText("tokenizer.json"));
    expect(JSON.parse(await files.readText("config.json"))).toMatchObject({ model_type: "xlm-roberta" });
  });

  it("takes how it ranks of a base, where its own config.json tells of a language model alone", async () => {
    const base = await openFolder(await fixture("qwen3-yes-no"));
    const whole = await readProfile(base);
    const folder = await fixture("qwen3-yes-no");
    for (const path of ["modules.json", "1_LogitScore", "chat_template.jinja", "sentence_bert_config.json"])
      await rm(join(folder, path), { recursive: true, force: true });
    await rm(join(folder, "config_sentence_transformers.json"), { force: true });
    await expect(profileOf(folder)).rejects.toThrow(ModelProfileError);
    expect((await profileOf(folder, { base })).profile).toEqual(whole.profile);
    // One that says itself how it ranks, or is no language model, keeps to that.
    const other = await openFolder(await fixture("gemma-yes"));
    const own = await fixture("qwen3-yes-no");
    expect((await profileOf(own, { base: other })).profile).toEqual(whole.profile);
    await writeFile(join(folder, "config.json"), "{");
    await expect(profileOf(folder, { base })).rejects.toThrow(/config\.json/);
  });

  it("names the base, and has its card", async () => {
    const from = await fixture("bert-logit");
    await writeFile(join(from, "README.md"), "# the base");
    const base = await openFolder(from);
    const folder = await fixture("bert-logit");
    const files = await completeModel(await openFolder(folder), { base });
    expect(files.base).toBe(base.id);
    expect(await files.readText("README.md")).toBe("# the base");
    await writeFile(join(folder, "README.md"), "# its own");
    const own = await completeModel(await openFolder(folder), { base });
    expect(await own.readText("README.md")).toBe("# its own");
  });
});

describe("a model with the older files of its tokenizer", () => {
  it.each(["vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"])(
    "has a word for one that was not fetched: %s",
    async (path) => {
      const folder = await folderOf({ "config.json": join(fixtures, "roberta-logit", "config.json") });
      await writeFile(join(folder, "vocab.json"), "{}");
      await writeFile(join(folder, "merges.txt"), "");
      if (/model$/.test(path)) {
        await rm(join(folder, "vocab.json"));
        await rm(join(folder, "merges.txt"));
      }
      const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"a".repeat(64)}\nsize 12345\n`;
      await writeFile(join(folder, path), pointer);
      const refusal = profileOf(folder);
      await expect(refusal).rejects.toThrow(ModelProfileError);
      await expect(refusal).rejects.toThrow(
        `${path}: is a Git LFS pointer, not the file itself. Run git lfs pull`,
      );
    },
  );

  it.each([
    ["bert-logit", { "vocab.txt": "words.txt" }, "WordPiece"],
    ["xlm-roberta-logit", { "sentencepiece.bpe.model": "unigram.model" }, "Unigram"],
    ["roberta-logit", { "vocab.json": "bytes-vocab.json", "merges.txt": "bytes-merges.txt" }, "BPE"],
  ])("has a tokenizer.json made of them: %s", async (name, sources, type) => {
    const folder = await folderOf({
      "config.json": join(fixtures, name, "config.json"),
      ...Object.fromEntries(
        Object.entries(sources).map(([path, source]) => [
          path,
          join(formats, "slow-tokenizers/sources", source),
        ]),
      ),
    });
    const { profile, tokenizerJson } = await profileOf(folder);
    expect(tokenizerJson).toMatchObject({ model: { type } });
    expect(profile.pairTemplate.filter((piece) => "text" in piece)).toHaveLength(2);
    // Somebody who asks for the file gets one, with what was read.
    const files = await completeModel(await openFolder(folder), { folder: join(root, "made") });
    const local = await files.localPath("tokenizer.json");
    expect(await readFile(local, "utf8")).toBe(await files.readText("tokenizer.json"));
    expect(await files.localPath("tokenizer.json")).toBe(local);
  });

  it("is refused where no version of transformers would say which ids", async () => {
    const folder = await folderOf({
      "config.json": join(fixtures, "deberta-v2-logit/config.json"),
      "spm.model": join(formats, "slow-tokenizers/sources/deberta.model"),
    });
    const error = await profileOf(folder).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ModelProfileError);
    expect((error as Error).message).toMatch(/spm\.model: .*DebertaV2Tokenizer.*save_pretrained/s);
  });

  it("is refused with its path where a file is damaged", async () => {
    const folder = await folderOf({ "config.json": join(fixtures, "roberta-logit/config.json") });
    await writeFile(join(folder, "vocab.json"), "{");
    await writeFile(join(folder, "merges.txt"), "");
    await expect(profileOf(folder)).rejects.toThrow(/vocab\.json: it is no JSON/);
  });
});

describe("a GGUF alone", () => {
  const gguf = (name: string): Promise<string> =>
    folderOf({ "model-Q8_0.gguf": join(formats, `gguf-tokenizers/${name}.gguf`) });

  it.each([
    ["xlm-roberta-logit", "cross-encoder", "xlm-roberta"],
    ["roberta-logit", "cross-encoder", "roberta"],
    ["qwen3-yes-no", "causal-lm", "qwen3"],
  ])("says what it is: %s", async (name, family, architecture) => {
    const { profile } = await profileOf(await gguf(name));
    const { profile: whole } = await profileOf(join(fixtures, name));
    expect(profile).toMatchObject({ family, architecture, head: whole.head });
    const shape = ({ pairTemplate }: typeof profile): (string | number)[] =>
      pairTemplate.flatMap((piece): (string | number)[] =>
        "token" in piece
          ? [piece.id]
          : "text" in piece
            ? [piece.text]
            : "literal" in piece
              ? [piece.literal]
              : [],
      );
    if (family === "cross-encoder") expect(shape(profile)).toEqual(shape(whole));
    else expect(shape(profile).filter((piece) => piece === "query" || piece === "document")).toHaveLength(2);
  });

  it.each([
    ["bert-cosine-mean", /prompts/],
    ["gemma-yes", /chat_template\.rerank/],
  ])("is refused, naming what its metadata do not hold: %s", async (name, reason) => {
    const error = await profileOf(await gguf(name)).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(ModelProfileError);
    expect((error as Error).message).toMatch(reason);
    expect((error as Error).message).toMatch(/option `base`/);
  });

  it("is refused where it is none", async () => {
    const folder = await folderOf({ "model.gguf": join(fixtures, "bert-logit/config.json") });
    await expect(profileOf(folder)).rejects.toThrow(/model\.gguf: .*no GGUF file/);
  });
});
