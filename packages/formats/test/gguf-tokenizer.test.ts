import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createTextTokenizer } from "@crossrank/core/encoding";
import { describe, expect, it } from "vitest";
import { type GgufValue, readGgufHeader } from "../src/gguf/index.js";
import { TokenizerFormatError, tokenizerOfGguf } from "../src/tokenizer/index.js";

const folder = new URL("./fixtures/gguf-tokenizers/", import.meta.url);
const models = new URL("../../conformance/fixtures/", import.meta.url);
const slow = new URL("./fixtures/slow-tokenizers/", import.meta.url);
const { texts } = JSON.parse(readFileSync(new URL("cases.json", slow), "utf8")) as {
  readonly texts: readonly string[];
};
const fixtureText = readFileSync(
  new URL("../../../lab/fixtures/sentences.txt", import.meta.url),
  "utf8",
).split("\n");
const all = [...texts, ...fixtureText.slice(0, 200), "<s> a </s> [SEP] <mask> [UNK] <pad> <bos>", ""];

async function metadataOf(name: string): Promise<Map<string, GgufValue>> {
  const { metadata } = await readGgufHeader(fileURLToPath(new URL(`${name}.gguf`, folder)));
  return new Map(metadata);
}

/** The ids of the tokenizer that the file was converted with. */
function ownIds(name: string): readonly (readonly number[])[] {
  // Of Gemma, transformers' own.
  if (name.startsWith("gemma"))
    return JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8")) as number[][];
  const json: unknown = JSON.parse(readFileSync(new URL(`${name}/tokenizer.json`, models), "utf8"));
  const tokenizer = createTextTokenizer(json, name);
  return all.map((text) => tokenizer.encode(text, 10_000).ids);
}

describe("a tokenizer.json made of a GGUF's metadata", () => {
  it.each(
    readdirSync(folder)
      .filter((file) => file.endsWith(".gguf"))
      .map((file) => [file.replace(/\.gguf$/, "")]),
  )("gives the ids of the tokenizer that llama.cpp's converter read: %s", async (name) => {
    const rebuilt = tokenizerOfGguf(await metadataOf(name));
    const tokenizer = createTextTokenizer(rebuilt, name);
    const differing = ownIds(name).flatMap((ids, index) =>
      tokenizer.encode(all[index] as string, 10_000).ids.join() === ids.join() ? [] : [all[index]],
    );
    expect(differing).toEqual([]);
  });

  it.each<[string, string, (metadata: Map<string, GgufValue>) => void, RegExp]>([
    [
      "no tokenizer",
      "bert-logit",
      (metadata) => metadata.delete("tokenizer.ggml.model"),
      /tokenizer\.ggml\.model/,
    ],
    [
      "no tokens",
      "bert-logit",
      (metadata) => metadata.delete("tokenizer.ggml.tokens"),
      /tokenizer\.ggml\.tokens/,
    ],
    ["no types", "bert-logit", (metadata) => metadata.delete("tokenizer.ggml.token_type"), /token_type/],
    ["an unknown kind", "bert-logit", (metadata) => metadata.set("tokenizer.ggml.model", "rwkv"), /"rwkv"/],
    [
      "no character map",
      "xlm-roberta-logit",
      (metadata) => metadata.delete("tokenizer.ggml.precompiled_charsmap"),
      /precompiled_charsmap/,
    ],
    ["no scores", "xlm-roberta-logit", (metadata) => metadata.delete("tokenizer.ggml.scores"), /scores/],
    ["no merges", "qwen3-yes-no", (metadata) => metadata.delete("tokenizer.ggml.merges"), /merges/],
    ["no name for the cuts", "qwen3-yes-no", (metadata) => metadata.delete("tokenizer.ggml.pre"), /pre/],
    [
      "cuts of another name",
      "qwen3-yes-no",
      (metadata) => metadata.set("tokenizer.ggml.pre", "constructor"),
      /constructor/,
    ],
    [
      "a special id beyond the vocabulary",
      "bert-logit",
      (metadata) => metadata.set("tokenizer.ggml.mask_token_id", 2 ** 31),
      /mask_token_id/,
    ],
    [
      "a space that nothing places",
      "gemma-yes",
      (metadata) => metadata.delete("tokenizer.ggml.add_space_prefix"),
      /legacy/,
    ],
  ])("is refused, naming what is missing: %s", async (_, name, change, reason) => {
    const metadata = await metadataOf(name);
    change(metadata);
    expect(() => tokenizerOfGguf(metadata)).toThrow(TokenizerFormatError);
    expect(() => tokenizerOfGguf(metadata)).toThrow(reason);
  });
});
