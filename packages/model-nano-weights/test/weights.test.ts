import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { modelFolder } from "@crossrank/model-nano";
import { weightsFolder } from "@crossrank/model-nano-weights";
import { expect, it } from "vitest";

it("is of the embedded model: the same tokenizer, configuration and goldens", async () => {
  for (const file of ["config.json", "tokenizer.json", "tokenizer_config.json", "golden.json"]) {
    const [own, embedded] = await Promise.all(
      [weightsFolder, modelFolder].map((folder) => readFile(join(folder, file), "utf8")),
    );
    expect(own, file).toBe(embedded);
  }
});

it("holds every weight in float16, and nothing else", async () => {
  await using file = await open(join(weightsFolder, "model.safetensors"));
  const { size } = await file.stat();
  const length = Number((await file.read(Buffer.alloc(8), 0, 8, 0)).buffer.readBigUInt64LE());
  const header: Record<string, { dtype: string; shape: number[] }> = JSON.parse(
    (await file.read(Buffer.alloc(length), 0, length, 8)).buffer.toString(),
  );
  const { __metadata__: _, ...tensors } = header;
  const values = Object.values(tensors).map(({ shape }) => shape.reduce((count, one) => count * one, 1));
  expect(new Set(Object.values(tensors).map(({ dtype }) => dtype))).toEqual(new Set(["F16"]));
  expect(size).toBe(8 + length + 2 * values.reduce((sum, one) => sum + one, 0));
  const { vocab_size, hidden_size } = JSON.parse(await readFile(join(weightsFolder, "config.json"), "utf8"));
  expect(tensors["bert.embeddings.word_embeddings.weight"]?.shape).toEqual([vocab_size, hidden_size]);
});
