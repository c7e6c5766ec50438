import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CTranslate2FormatError,
  integerRows,
  readCTranslate2Header,
  readNumbers,
  VariableWriteError,
  variableOf,
  writeCTranslate2File,
} from "@crossrank/formats/ctranslate2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-formats-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const matrix = (values: readonly number[], columns: number) => ({
  shape: [values.length / columns, columns],
  rows: async (from: number, to: number) => Float32Array.from(values.slice(from * columns, to * columns)),
});

describe("a file", () => {
  test("holds what was written, in the order of names", async () => {
    const path = join(folder, "model.bin");
    await writeCTranslate2File(path, {
      spec: "TransformerEncoderSpec",
      revision: 1,
      variables: [
        { name: "b/weight", type: "int8", weight: matrix([1, -2, 0, 0, 0.5, 0.25], 2) },
        { name: "b/half", type: "float16", weight: matrix([0.1, 65_504], 2) },
        { name: "heads", type: "int16", value: -300 },
        { name: "a", type: "float32", weight: { shape: [2], rows: async () => Float32Array.of(1.5, -0.1) } },
        { name: "far", type: "int32", value: 128 },
        { name: "scale", type: "float32", value: 0.5 },
      ],
      aliases: [{ alias: "z", name: "a" }],
    });
    const header = await readCTranslate2Header(path);
    expect([...header.variables.keys()]).toEqual([
      "a",
      "b/half",
      "b/weight",
      "b/weight_scale",
      "far",
      "heads",
      "scale",
    ]);
    const numbers = async (name: string): Promise<number[]> => {
      const variable = variableOf(header, name);
      if (variable === undefined) throw new Error(`no ${name}`);
      return [...(await readNumbers(path, variable))];
    };
    expect(await numbers("z")).toEqual([1.5, Math.fround(-0.1)]);
    expect((await numbers("b/half"))[1]).toBe(65_504);
    // Halves go to the even number: 63.5 to 64. A row of zeros has a scale too.
    expect(await numbers("b/weight")).toEqual([64, -127, 0, 0, 127, 64]);
    expect(await numbers("b/weight_scale")).toEqual([63.5, 1, 254]);
    expect([await numbers("heads"), await numbers("far"), await numbers("scale")]).toEqual([
      [-300],
      [128],
      [0.5],
    ]);
  });

  test("is refused wherever it is cut, and with bytes behind it", async () => {
    const bytes = await readFile(join(folder, "model.bin"));
    const read = (content: Buffer) =>
      readCTranslate2Header({
        size: content.length,
        read: async (start, end) => content.subarray(start, end),
      });
    for (let length = 0; length < bytes.length; length += 1) {
      await expect(read(bytes.subarray(0, length)), `${length}`).rejects.toBeInstanceOf(
        CTranslate2FormatError,
      );
    }
    await expect(read(Buffer.concat([bytes, Buffer.alloc(1)]))).rejects.toThrow(/goes on behind/);
  });

  test("of a weight of 4 GiB is none, and no number is written", async () => {
    const writing = writeCTranslate2File(join(folder, "large.bin"), {
      spec: "TransformerEncoderSpec",
      revision: 1,
      variables: [
        {
          name: "w",
          type: "float32",
          weight: { shape: [2 ** 20, 1024], rows: () => Promise.reject(new Error("asked")) },
        },
      ],
    });
    await expect(writing).rejects.toBeInstanceOf(VariableWriteError);
  });
});

describe("integers", () => {
  test("have a finite scale, whatever a row holds", () => {
    for (const row of [
      [0, 0],
      [1e-45, 0],
      [3e38, -1],
      [1e-40, -1e-40],
    ]) {
      const { integers, scales } = integerRows(Float32Array.from(row), 2);
      expect(scales[0]).toBeGreaterThan(0);
      expect(Number.isFinite(scales[0])).toBe(true);
      for (const integer of integers) expect(Math.abs(integer)).toBeLessThanOrEqual(127);
    }
  });
});
