import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backends, type MlxOptions, mlx } from "@crossrank/backend-mlx";
import { openFixtureFolder } from "@crossrank/conformance";
import {
  BackendRunError,
  CrossrankError,
  IncompatibleModelError,
  InvalidInputError,
  ModelFileNotFoundError,
  ModelLoadError,
} from "@crossrank/core";
import { describe, expect, test } from "vitest";
import { isLong } from "../../../test/sample.js";
import { batchOf, describeNative, fixtureFolder, load, rejection, temporaryFolder } from "./fixtures.js";

const here = { isolation: "thread" } as const;

function weightsOf(folder: string): Buffer {
  return readFileSync(join(folder, "model.safetensors"));
}

/** A folder whose weights are other bytes. */
function folderWith(change: (bytes: Buffer) => Uint8Array, name = "bert-logit"): string {
  const folder = fixtureFolder(name);
  writeFileSync(join(folder, "model.safetensors"), change(weightsOf(folder)));
  return folder;
}

/** The first byte of a tensor. */
function placeOf(bytes: Buffer, tensor: string): number {
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  return 8 + length + (header[tensor]?.data_offsets[0] ?? Number.NaN);
}

describe("options", () => {
  test.each<[object, RegExp]>([
    [{ file: 5 }, /^file must be a string/],
    [{ threads: 0 }, /^threads must be a whole number/],
    [{ threads: 1.5 }, /^threads must be/],
    [{ threads: 100_000 }, /^threads must be/],
    [{ group: 16 }, /^group must be 32, 64 or 128/],
    [{ group: "64" }, /^group must be 32, 64 or 128/],
    [{ compute: "float64" }, /^compute must be one of/],
    [{ isolation: "none" }, /^isolation must be one of/],
    [{ batch: { padding: 2 } }, /^batch\.padding must be from 0 to 1/],
    [{ deadlines: { load: -1 } }, /^deadlines\.load must be/],
    [{ sessions: 2 }, /sessions is not an option of mlx\(\)/],
    [{ device: "gpu" }, /device is not an option of mlx\(\)/],
  ])("%j", (options, message) => {
    expect(() => mlx(options as MlxOptions)).toThrow(InvalidInputError);
    expect(() => mlx(options as MlxOptions)).toThrow(message);
  });
});

describe("which weights", () => {
  const [descriptor] = backends;
  const paths = (found: ReturnType<NonNullable<typeof descriptor>["artifacts"]>): string[] => [
    ...new Set(found.map(({ path }) => path)),
  ];
  test.each([
    [["config.json"], []],
    [["onnx/model.onnx", "1_Dense/model.safetensors"], []],
    [["model.safetensors", "model.fp16.safetensors", "model.safetensors.index.json"], ["model.safetensors"]],
    [["model-00001-of-00002.safetensors", "model.safetensors.index.json"], ["model.safetensors.index.json"]],
    [["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], []],
    [["weights.safetensors", "adapter_model.safetensors"], ["weights.safetensors"]],
    [["a.safetensors", "b.safetensors"], []],
  ])("of %j", (given, expected) => {
    const found = descriptor?.artifacts(given) ?? [];
    expect(paths(found)).toEqual(expected);
    if (expected.length > 0)
      expect(found.map(({ dtype }) => dtype)).toEqual(["fp32", "bf16", "fp16", "q8", "q4"]);
  });
});

describeNative("loading", () => {
  test("says what it loaded, and how", async () => {
    const session = await load(mlx(here), fixtureFolder("bert-logit"), { dtype: "q4" });
    expect(session).toMatchObject({
      info: { name: "mlx", runtime: { name: "MLX", version: "0.32.4" } },
      artifact: { format: "safetensors", dtype: "q4", files: [{ path: "model.safetensors" }] },
      capabilities: {
        output: "class-logits",
        maxSequenceLength: 64,
        segmentIds: true,
        rowsAffectScores: false,
      },
      settings: { compute: "float32", group: "64", device: expect.stringMatching(/^[cg]pu$/) },
    });
    await session.dispose();
  });

  test.each([
    ["bf16", "bfloat16", 0.5],
    ["fp16", "float16", 0.06],
    ["fp32", "float32", undefined],
  ] as const)("%s declares its bounds", async (dtype, compute, logit) => {
    const session = await load(mlx(here), fixtureFolder("bert-logit"), { dtype });
    expect(session.settings["compute"]).toBe(compute);
    expect(session.bounds?.logit).toBe(logit);
    await session.dispose();
  });

  test("another group of columns gives other numbers, and one that divides no matrix the same as float32", async () => {
    const numbers: number[] = [];
    for (const options of [{ group: 32 }, { group: 64 }, { group: 128 }] as const) {
      const session = await load(mlx({ ...here, ...options }), fixtureFolder("bert-logit"), { dtype: "q4" });
      numbers.push((await session.run(batchOf(1, 9))).data[0] as number);
      await session.dispose();
    }
    const session = await load(mlx(here), fixtureFolder("bert-logit"), { dtype: "fp32" });
    numbers.push((await session.run(batchOf(1, 9))).data[0] as number);
    await session.dispose();
    expect(new Set(numbers).size).toBeGreaterThan(2);
    expect(numbers.every(Number.isFinite)).toBe(true);
  });

  test("a file of another name, where there are several", async () => {
    const folder = fixtureFolder("bert-logit");
    renameSync(join(folder, "model.safetensors"), join(folder, "first.safetensors"));
    writeFileSync(join(folder, "second.safetensors"), "");
    const error = await rejection(load(mlx(here), folder));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toMatch(/first\.safetensors.*Name/s);
    const session = await load(mlx({ ...here, file: "first.safetensors" }), folder);
    expect(session.artifact.files.map(({ path }) => path)).toEqual(["first.safetensors"]);
    expect((await session.run(batchOf(1, 9))).data).toHaveLength(1);
    await session.dispose();
  });

  test("what is not there, and precisions that there are not", async () => {
    const folder = fixtureFolder("bert-logit");
    expect(await rejection(load(mlx(here), folder, { dtype: "int8" }))).toBeInstanceOf(InvalidInputError);
    expect(await rejection(load(mlx({ ...here, file: "x.safetensors" }), folder))).toBeInstanceOf(
      ModelFileNotFoundError,
    );
    rmSync(join(folder, "model.safetensors"));
    expect(await rejection(load(mlx(here), folder))).toBeInstanceOf(ModelFileNotFoundError);
  });

  test("an output that the model does not give", async () => {
    const error = await rejection(
      load(mlx(here), fixtureFolder("bert-logit"), { kinds: ["token-logits"], tokens: [5] }),
    );
    expect(error).toBeInstanceOf(IncompatibleModelError);
    const tokens = load(mlx(here), fixtureFolder("qwen3-yes-no"), {
      kinds: ["token-logits"],
      tokens: [5, 9999],
    });
    expect((await rejection(tokens)).message).toMatch(/has 1312 tokens, and 9999 is asked for/);
  });

  test("an architecture that is not known", async () => {
    const folder = fixtureFolder("bert-logit");
    const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as object;
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, hidden_act: "laplace" }));
    const error = await rejection(load(mlx(here), folder));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(/hidden_act "laplace".*Use the model with another backend/);
  });
});

describeNative("weights that cannot be loaded give one line with the fix", () => {
  test.each<[string, (bytes: Buffer) => Uint8Array, RegExp]>([
    ["empty", () => new Uint8Array(0), /model\.safetensors: is not a safetensors file\. Download it again/],
    ["a Git LFS pointer", () => Buffer.from("version https://git-lfs.example/spec/v1\n"), /Git LFS/],
    ["cut short", (bytes) => bytes.subarray(0, -1000), /ends before/],
    ["too long", (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]), /goes on behind/],
    ["without a header", () => Buffer.from("<html>Not found</html>  "), /is not a safetensors file/],
    [
      "of a header beyond the file",
      (bytes) => {
        bytes.writeBigUInt64LE(2n ** 40n, 0);
        return bytes;
      },
      /is not a safetensors file/,
    ],
    [
      "with a number that is none",
      (bytes) => {
        bytes.writeFloatLE(Number.NaN, placeOf(bytes, "bert.encoder.layer.1.output.dense.weight") + 400);
        return bytes;
      },
      /output\.dense\.weight: a tensor holds something that is no finite number\. Check where/,
    ],
    [
      "with an infinity in a norm",
      (bytes) => {
        bytes.writeFloatLE(
          Number.NEGATIVE_INFINITY,
          placeOf(bytes, "bert.encoder.layer.0.output.LayerNorm.weight"),
        );
        return bytes;
      },
      /LayerNorm\.weight: a tensor holds something that is no finite number/,
    ],
  ])("%s", async (_, change, message) => {
    const error = await rejection(load(mlx(here), folderWith(change)));
    expect(error).toBeInstanceOf(CrossrankError);
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain("\n");
  });

  test("a weight that half precision cannot hold, in the dtype that asks for it", async () => {
    const folder = folderWith((bytes) => {
      bytes.writeFloatLE(70_000, placeOf(bytes, "bert.encoder.layer.1.output.dense.weight") + 400);
      return bytes;
    });
    expect((await rejection(load(mlx(here), folder, { dtype: "fp16" }))).message).toMatch(
      /beyond half precision/,
    );
    await (await load(mlx(here), folder, { dtype: "bf16" })).dispose();
  });

  // Of a header every kind of damage is refused or harmless: this process lives, and what it gives is finite.
  const count = isLong ? 600 : 60;
  test(`${count} damaged headers`, async () => {
    const folder = fixtureFolder("bert-logit");
    const good = weightsOf(folder);
    const length = Number(good.readBigUInt64LE(0));
    let state = 7;
    const random = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    let refused = 0;
    for (let round = 0; round < count; round += 1) {
      const bytes = Buffer.from(good);
      for (let change = 0; change <= random(3); change += 1) bytes[random(8 + length)] = random(256);
      writeFileSync(join(folder, "model.safetensors"), bytes);
      try {
        const session = await load(mlx(here), folder);
        const { data } = await session.run(batchOf(2, 7));
        expect(data.every(Number.isFinite)).toBe(true);
        await session.dispose();
      } catch (error) {
        expect(error).toBeInstanceOf(CrossrankError);
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(count / 2);
  });
});

describeNative("a batch that the model does not have", () => {
  test.each<[string, (batch: ReturnType<typeof batchOf>) => object, RegExp]>([
    [
      "a far id",
      () => ({ inputIds: Int32Array.of(5, 2 ** 31 - 1, 5) }),
      /token 2147483647, and the model has a vocabulary of 1400/,
    ],
    ["the vocabulary's size", () => ({ inputIds: Int32Array.of(5, 1400, 5) }), /token 1400/],
    ["a negative id", () => ({ inputIds: Int32Array.of(5, -1, 5) }), /token -1/],
    ["a segment", () => ({ segmentIds: Int32Array.of(0, 2, 0) }), /segment 2, and the model has 2/],
    [
      "an array too short",
      () => ({ inputIds: Int32Array.of(5, 6) }),
      /an array of 2 numbers for 1 rows of 3/,
    ],
    ["a length", () => ({ lengths: Int32Array.of(4) }), /a row of 4 and 4 tokens in 3 columns/],
    ["a negative length", () => ({ lengths: Int32Array.of(-1) }), /a row of -1/],
    ["no lengths", () => ({ lengths: new Int32Array(0) }), /0 lengths for 1 rows/],
    ["too many columns", () => batchOf(1, 65), /sequences of 65 tokens, and the model has positions for 64/],
    ["no columns", () => ({ columns: 0 }), /a batch of 1 × 0/],
    ["half a row", () => ({ rows: 0.5 }), /a batch of 0\.5 × 3/],
  ])("%s", async (_, change, message) => {
    const session = await load(mlx(here), fixtureFolder("bert-logit"));
    const batch = batchOf(1, 3);
    const error = await rejection(session.run({ ...batch, ...change(batch) }));
    expect(error).toBeInstanceOf(BackendRunError);
    expect(error.message).toMatch(message);
    expect((await session.run(batchOf(1, 3))).shape).toEqual([1, 1]);
    await session.dispose();
  });

  test("rows of no tokens stand beside others, and change nothing", async () => {
    for (const name of ["bert-logit", "modernbert-mean", "deberta-v2-logit"]) {
      const session = await load(mlx(here), fixtureFolder(name));
      const alone = (await session.run(batchOf(1, 12))).data[0] as number;
      const both = batchOf(2, 12);
      both.inputIds.fill(0, 12);
      both.attentionMask.fill(0, 12);
      both.lengths[1] = 0;
      const { data } = await session.run(both);
      expect(data[0]).toBeCloseTo(alone, 4);
      expect(Number.isFinite(data[1])).toBe(true);
      await session.dispose();
    }
  });
});

describe("what weights are stored in is read from their headers", () => {
  const described = async (folder: string, path = "model.safetensors") => {
    const [descriptor] = backends;
    if (descriptor?.describe === undefined) throw new Error("no description");
    return descriptor.describe(openFixtureFolder(folder).files, path);
  };

  test.each([
    ["bert-logit", undefined, "fp32"],
    ["qwen3-yes-no", "qwen3-4bit", "q4"],
    ["qwen3-yes-no", "qwen3-8bit", "q8"],
    ["qwen3-yes-no", "qwen3-mixed", "q4"],
  ])("%s, %s: %s", async (name, quantised, dtype) => {
    const description = await described(fixtureFolder(name, quantised));
    expect(description.dtype).toBe(dtype);
    expect(description.quantisation !== undefined).toBe(quantised !== undefined);
  });

  test.each([
    ["F16", "fp16"],
    ["BF16", "bf16"],
    ["I8", undefined],
  ])("most numbers of type %s: %s", async (type, dtype) => {
    const folder = temporaryFolder();
    const [bytes, more] = type === "I8" ? [64, 16] : [128, 16];
    const header = JSON.stringify({
      a: { dtype: type, shape: [64], data_offsets: [0, bytes] },
      b: { dtype: "F32", shape: [4], data_offsets: [bytes, bytes + more] },
    });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const file = Buffer.concat([length, Buffer.from(header), Buffer.alloc(bytes + more)]);
    for (const name of ["one.safetensors", "two.safetensors"]) writeFileSync(join(folder, name), file);
    const index = "model.safetensors.index.json";
    writeFileSync(
      join(folder, index),
      JSON.stringify({ weight_map: { a: "one.safetensors", b: "two.safetensors" } }),
    );
    expect(await described(folder, "one.safetensors")).toMatchObject({ dtype, facts: { parameters: "68" } });
    expect(await described(folder, index)).toMatchObject({
      dtype,
      facts: { parameters: "136" },
      files: ["one.safetensors", "two.safetensors"],
    });
  });

  test.each<[string, string, RegExp]>([
    ["{", "model.safetensors.index.json", /names no files that are all there/],
    ["null", "model.safetensors.index.json", /names no files/],
    ['{"weight_map":{}}', "model.safetensors.index.json", /names no files/],
    ['{"weight_map":{"a":5}}', "model.safetensors.index.json", /names no files/],
    ['{"weight_map":{"a":"../x.safetensors"}}', "model.safetensors.index.json", /names no files/],
    ["{}", "other.safetensors", /other\.safetensors/],
  ])("%s as an index, %s", async (text, path, message) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "model.safetensors.index.json"), text);
    const error = await rejection(described(folder, path));
    expect(error).toBeInstanceOf(CrossrankError);
    expect(error.message).toMatch(message);
  });
});

describeNative("an attention mask that lengths do not say is refused, and not passed over", () => {
  test.each([[[1, 0, 1, 1]], [[0, 1, 1, 1]], [[1, 1, 1, 0]], [[1, 1, 1, 2]], [[0, 0, 0, 0]]])(
    "%j",
    async (mask) => {
      const session = await load(mlx(here), fixtureFolder("bert-logit"));
      const batch = batchOf(1, 4);
      const error = await rejection(session.run({ ...batch, attentionMask: Int32Array.from(mask) }));
      expect(error).toBeInstanceOf(BackendRunError);
      expect(error.message).toMatch(/attention mask/);
      expect((await session.run(batch)).data).toHaveLength(1);
      await session.dispose();
    },
  );
});
