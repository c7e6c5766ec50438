import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ModelProfileError, readProfile } from "../src/index.js";
import { fixtures, folderFiles } from "./folder-files.js";
import { memoryFiles } from "./memory-files.js";

type Json = Record<string, unknown>;

/** A fixture whose files of these names are changed; one that is not there is made. */
async function changed(name: string, edits: Readonly<Record<string, (json: Json) => Json>>) {
  const folder = join(fixtures, name);
  const content: Record<string, unknown> = {};
  for (const { path } of await folderFiles(folder, name).list()) {
    if (!/\.(json|jinja|txt)$/.test(path) || path === "golden.json") continue;
    content[path] = await readFile(join(folder, path), "utf8");
  }
  for (const [path, edit] of Object.entries(edits))
    content[path] = JSON.stringify(edit(JSON.parse((content[path] as string | undefined) ?? "{}") as Json));
  return memoryFiles(content);
}

const left = { direction: "Left", max_length: 16, strategy: "LongestFirst", stride: 0 };
const ofTokenizer = { "tokenizer.json": (json: Json) => ({ ...json, truncation: left }) };
const ofConfig = (side: unknown) => ({
  "tokenizer_config.json": (json: Json) => ({ ...json, truncation_side: side }),
});
const pairsAndTexts = ["bert-logit", "xlm-roberta-logit", "modernbert-mean", "bert-cosine-mean"];

// Cut at the left, a long document would be read by its end: that is not computed, and is not computed otherwise in silence.
test.each(pairsAndTexts)(
  "%s of a tokenizer that cuts at the left is refused, naming where it says so",
  async (name) => {
    const tries = [
      [ofConfig("left"), /tokenizer_config.json: truncation_side is "left".*lose their beginning/],
      [{ ...ofTokenizer, ...ofConfig(undefined) }, /tokenizer.json: truncation.direction is "Left"/],
      [{ ...ofTokenizer, ...ofConfig(null) }, /tokenizer.json: truncation.direction is "Left"/],
    ] as const;
    for (const [edits, reason] of tries) {
      const reading = readProfile(await changed(name, edits));
      await expect(reading).rejects.toThrow(ModelProfileError);
      await expect(reading).rejects.toThrow(reason);
    }
  },
);

test.each(pairsAndTexts)(
  "%s is read where the word of tokenizer_config.json, or the caller's, stands over it",
  async (name) => {
    const plain = (await readProfile(await changed(name, {}))).profile;
    const given = { "crossrank.json": (json: Json) => ({ ...json, truncation: "document-only" }) };
    for (const edits of [
      { ...ofTokenizer, ...ofConfig("right") },
      { ...ofConfig("left"), ...given },
    ])
      expect((await readProfile(await changed(name, edits))).profile).toEqual({
        ...plain,
        truncation: "document-only",
      });
  },
);

test("a prompt is put together by its own rule, whatever its tokenizer cuts", async () => {
  const name = "qwen3-yes-no";
  const plain = (await readProfile(await changed(name, {}))).profile;
  expect((await readProfile(await changed(name, ofConfig("left")))).profile).toEqual(plain);
});
