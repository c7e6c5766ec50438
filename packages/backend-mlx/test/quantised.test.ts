import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mlx } from "@crossrank/backend-mlx";
import { openFixtureFolder } from "@crossrank/conformance";
import { ModelFileNotFoundError, ModelLoadError } from "@crossrank/core";
import { expect, test } from "vitest";
import { openQuantisedFolder } from "../src/weights/quantised-folder.js";
import { describeNative, fixtureFolder, load, rejection, rowOf } from "./fixtures.js";

interface Goldens {
  readonly answers: readonly number[];
  readonly cases: readonly { readonly name: string; readonly ids: number[]; readonly logits: number[] }[];
}

const folders = [
  ["qwen3-4bit", "q4"],
  ["qwen3-8bit", "q8"],
  ["qwen3-mixed", "q4"],
] as const;

const backend = mlx({ isolation: "thread" });
const answers = { kinds: ["token-logits"], tokens: [383, 357] } as const;

function readConfig(folder: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
}

describeNative("a folder that mlx-lm has quantised", () => {
  test.each(folders)("%s gives what mlx-lm gives", async (name, dtype) => {
    const folder = fixtureFolder("qwen3-yes-no", name);
    const goldens = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Goldens;
    const session = await load(backend, folder, { kinds: ["token-logits"], tokens: goldens.answers });
    expect(session.artifact).toMatchObject({ format: "safetensors", dtype });
    expect(goldens.cases.length).toBe(6);
    for (const { ids, logits } of goldens.cases) {
      const { data, shape } = await session.run(rowOf(ids));
      expect(shape).toEqual([1, 2]);
      for (const [index, logit] of logits.entries())
        expect(Math.abs((data[index] ?? Number.NaN) - logit)).toBeLessThan(3e-5);
    }
    await session.dispose();
  });

  test("in shards gives the same", async () => {
    const folder = fixtureFolder("qwen3-yes-no", "qwen3-4bit");
    const whole = await load(backend, folder, answers);
    const expected = [...(await whole.run(rowOf([5, 6, 7, 8]))).data];
    await whole.dispose();
    splitInTwo(folder);
    const session = await load(backend, folder, answers);
    expect([...(await session.run(rowOf([5, 6, 7, 8]))).data]).toEqual(expected);
    expect(session.artifact.files.map(({ path }) => path)).toEqual([
      "model.safetensors.index.json",
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
    ]);
    await session.dispose();
  });

  test("has one precision", async () => {
    const folder = fixtureFolder("qwen3-yes-no", "qwen3-4bit");
    const error = await rejection(load(backend, folder, { ...answers, dtype: "bf16" }));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toMatch(/dtype bf16.*q4 .*Pass dtype q4/);
  });

  test.each<[string, (config: Record<string, Record<string, unknown>>) => void, RegExp]>([
    [
      "another number of bits",
      ({ quantization }) => Object.assign(quantization ?? {}, { bits: 8 }),
      /are not of one matrix/,
    ],
    [
      "other groups",
      ({ quantization }) => Object.assign(quantization ?? {}, { group_size: 64 }),
      /are not of one matrix/,
    ],
    [
      "bits that there are not",
      ({ quantization }) => Object.assign(quantization ?? {}, { bits: 7 }),
      /to 7 bits/,
    ],
    [
      "bits that are none",
      ({ quantization }) => Object.assign(quantization ?? {}, { bits: "4" }),
      /to "4" bits/,
    ],
    [
      "groups of nothing",
      ({ quantization }) => Object.assign(quantization ?? {}, { group_size: 0 }),
      /in groups of 0/,
    ],
    [
      "another mode",
      ({ quantization }) => Object.assign(quantization ?? {}, { mode: "mxfp4" }),
      /mode "mxfp4"/,
    ],
    [
      "a layer of another mode",
      ({ quantization }) =>
        Object.assign(quantization ?? {}, { "model.layers.0.mlp.up_proj": { mode: "nvfp4" } }),
      /mode "nvfp4"/,
    ],
    ["another size than its tensors", (config) => Object.assign(config, { hidden_size: 64 }), /has shape/],
  ])("is refused with %s", async (_, change, message) => {
    const folder = fixtureFolder("qwen3-yes-no", "qwen3-4bit");
    const config = readConfig(folder) as Record<string, Record<string, unknown>>;
    change(config);
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    const error = await rejection(load(backend, folder, answers));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(message);
  });

  test("is refused without its scales", async () => {
    const folder = fixtureFolder("qwen3-yes-no", "qwen3-4bit");
    const path = join(folder, "model.safetensors");
    const bytes = readFileSync(path).toString("latin1");
    writeFileSync(
      path,
      Buffer.from(
        bytes.replace("norm.weight", "norm.veight").replace("q_proj.scales", "q_proj.scalez"),
        "latin1",
      ),
    );
    const error = await rejection(load(backend, folder, answers));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(/there is no tensor model\.layers\.\d\.self_attn\.q_proj\.scales/);
  });
});

test("its numbers are nowhere as floats", async () => {
  const { files } = openFixtureFolder(fixtureFolder("qwen3-yes-no", "qwen3-4bit"));
  const config = JSON.parse(await files.readText("config.json")) as Record<string, unknown>;
  const folder = await openQuantisedFolder(files, config, {});
  const { openSafetensors } = await import("@crossrank/core/files");
  const seen = await openSafetensors(folder.files, "model.safetensors");
  expect(seen.names.some((name) => /scales|biases/.test(name))).toBe(false);
  expect(seen.dtype("model.embed_tokens.weight")).toBe("F32");
  expect(seen.shape("model.embed_tokens.weight")).toEqual([1312, 32]);
  await expect(seen.rows("model.embed_tokens.weight", 0, 1)).rejects.toThrow(
    /packed numbers where floats are read/,
  );
  expect((await seen.rows("model.norm.weight", 0, 32)).length).toBe(32);
});

/** The same tensors in two files, every other one in each. */
function splitInTwo(folder: string): void {
  const bytes = readFileSync(join(folder, "model.safetensors"));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  delete header["__metadata__"];
  const map: Record<string, string> = {};
  const entries = Object.entries(header);
  for (const part of [0, 1]) {
    const file = `model-0000${part + 1}-of-00002.safetensors`;
    const own: typeof header = {};
    const data: Buffer[] = [];
    let at = 0;
    for (const [index, [name, { dtype, shape, data_offsets }]] of entries.entries()) {
      if (index % 2 !== part) continue;
      const [start, end] = data_offsets;
      own[name] = { dtype, shape, data_offsets: [at, at + end - start] };
      data.push(bytes.subarray(8 + length + start, 8 + length + end));
      at += end - start;
      map[name] = file;
    }
    const json = Buffer.from(JSON.stringify(own));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(json.length));
    writeFileSync(join(folder, file), Buffer.concat([size, json, ...data]));
  }
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  // It would be taken before the index.
  rmSync(join(folder, "model.safetensors"));
}
