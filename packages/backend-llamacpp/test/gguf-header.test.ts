import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GgufFormatError, parseGgufHeader, readGgufHeader } from "@crossrank/formats/gguf";
import { describe, expect, test } from "vitest";
import { editGguf, text } from "./edit-gguf.js";
import { convertedFolder, temporaryFolder } from "./fixtures.js";

const bytes = await readFile(join(await convertedFolder("bert-logit"), "gguf/model-F32.gguf"));

/** What is wrong with a file that is the sound one changed. */
function problemOf(change: (copy: Buffer) => Buffer | undefined): string {
  const copy = Buffer.from(bytes);
  const changed = change(copy) ?? copy;
  try {
    parseGgufHeader(changed, changed.length);
  } catch (error) {
    expect(error).toBeInstanceOf(GgufFormatError);
    return (error as Error).message;
  }
  throw new Error("the file was read");
}

/** Where a key's value begins: behind its type. */
function placeOfValue(key: string): number {
  return bytes.indexOf(key, 0, "latin1") + key.length + 4;
}

test("reads what the writer wrote", async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "model.gguf"), bytes);
  const { version, metadata, tensors, dataOffset } = await readGgufHeader(join(folder, "model.gguf"));
  expect(version).toBe(3);
  expect(metadata.get("general.architecture")).toBe("bert");
  expect(metadata.get("bert.attention.layer_norm_epsilon")).toBeCloseTo(1e-12, 18);
  expect(metadata.get("crossrank.segment_vocabulary")).toBe(1400);
  const tokens = metadata.get("tokenizer.ggml.tokens");
  expect(typeof tokens === "object" && tokens.strings().length).toBe(2800);
  expect(tensors.get("token_embd.weight")).toMatchObject({
    dimensions: [32, 2800],
    byteLength: 4 * 32 * 2800,
  });
  expect(dataOffset % 32).toBe(0);
});

test("a head longer than the first read", async () => {
  const long = "words ".repeat(500_000);
  const folder = await temporaryFolder();
  const changed = editGguf(bytes, ({ entries, tensors }) => ({
    entries: [{ key: "general.description", type: 8, value: text(long) }, ...entries],
    tensors,
  }));
  await writeFile(join(folder, "long.gguf"), changed);
  const { metadata, tensors } = await readGgufHeader(join(folder, "long.gguf"));
  expect(metadata.get("general.description")).toBe(long);
  expect(metadata.get("general.architecture")).toBe("bert");
  expect(tensors).toEqual(parseGgufHeader(bytes, bytes.length).tensors);
});

describe("refuses", () => {
  const set = (offset: number, value: bigint) => (copy: Buffer) => {
    copy.writeBigUInt64LE(value, offset);
    return undefined;
  };
  test.each<[string, (copy: Buffer) => Buffer | undefined, RegExp]>([
    ["an empty file", () => Buffer.alloc(0), /cut off/],
    ["another format", (copy) => copy.fill(0, 0, 4), /no GGUF/],
    ["a Git LFS pointer", () => Buffer.from("version https://git-lfs.github.com/spec/v1\n"), /Git LFS/],
    ["a big-endian file", (copy) => copy.fill(0, 4, 7).fill(3, 7, 8), /big-endian/],
    ["another version", (copy) => copy.fill(9, 4, 5), /version is 9/],
    ["2^63 tensors", set(8, 1n << 63n), /tensors/],
    ["a billion tensors", set(8, 1_000_000_000n), /promises 1000000000 tensors/],
    ["a billion entries", set(16, 1_000_000_000n), /promises 1000000000 metadata/],
    ["a key of 2^40 bytes", set(24, 1n << 40n), /metadata key has 1099511627776 bytes/],
    [
      "a list of 2^40 tokens",
      set(placeOfValue("tokenizer.ggml.tokens") + 4, 1n << 40n),
      /promises 1099511627776/,
    ],
    ["one byte too few", (copy) => copy.subarray(0, -1), /cut off/],
    ["a file cut in its head", (copy) => copy.subarray(0, 900), /cut off|more than it can hold/],
    [
      "an unknown value type",
      (copy) => {
        copy.writeUInt32LE(77, placeOfValue("general.architecture") - 4);
        return undefined;
      },
      /value type 77/,
    ],
    [
      "a list of lists",
      (copy) => {
        copy.writeUInt32LE(9, placeOfValue("tokenizer.ggml.tokens"));
        return undefined;
      },
      /array of arrays/,
    ],
    [
      "a key twice",
      (copy) =>
        editGguf(copy, ({ entries, tensors }) => ({
          entries: [...entries, ...entries.slice(0, 1)],
          tensors,
        })),
      /"[a-z.]+" twice/,
    ],
    [
      "a tensor twice",
      (copy) =>
        editGguf(copy, ({ entries, tensors }) => ({
          entries,
          tensors: [...tensors, ...tensors.slice(0, 1)],
        })),
      /tensor "[a-z_.]+" twice/,
    ],
    [
      "a tensor at another place",
      (copy) => {
        const name = "position_embd.weight";
        const dimensions = copy.indexOf(name, 0, "latin1") + name.length;
        copy.writeBigUInt64LE(64n, dimensions + 4 + 16 + 4);
        return undefined;
      },
      /tensor "position_embd.weight" is at byte 64/,
    ],
    [
      "a tensor of an unknown type",
      (copy) => {
        const name = "position_embd.weight";
        copy.writeUInt32LE(200, copy.indexOf(name, 0, "latin1") + name.length + 4 + 16);
        return undefined;
      },
      /type 200/,
    ],
    [
      "a tensor whose size overflows",
      (copy) => {
        const name = "position_embd.weight";
        copy.writeBigUInt64LE(1n << 52n, copy.indexOf(name, 0, "latin1") + name.length + 4);
        return undefined;
      },
      /cannot have the shape/,
    ],
  ])("%s", (_, change, message) => {
    expect(problemOf(change)).toMatch(message);
  });
});

describe("a head of millions of strings is refused before they are read", () => {
  const wide = (value: number | bigint): Buffer => {
    const eight = Buffer.alloc(8);
    eight.writeBigUInt64LE(BigInt(value));
    return eight;
  };
  const four = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  };
  const named = (name: string): Buffer => Buffer.concat([wide(name.length), Buffer.from(name)]);
  const [stringType, arrayType] = [8, 9];
  /** A file of arrays of so many strings of so many bytes each. */
  const arrays = (counts: readonly number[], each: number): Buffer =>
    Buffer.concat([
      Buffer.from("GGUF"),
      four(3),
      wide(0),
      wide(counts.length),
      ...counts.flatMap((count, index) => [
        named(`key.${index}`),
        four(arrayType),
        four(stringType),
        wide(count),
        Buffer.alloc(count * (8 + each), Buffer.concat([wide(each), Buffer.alloc(each, 0x61)])),
      ]),
    ]);

  test.each<[string, readonly number[], number]>([
    ["30 million empty ones", [30_000_000], 0],
    ["two million in one array", [2_000_000], 1],
    ["three arrays of 800,000", [800_000, 800_000, 800_000], 0],
    ["60,000 arrays of 100", new Array<number>(60_000).fill(100), 0],
  ])("%s", async (_, counts, each) => {
    const path = join(await temporaryFolder(), "strings.gguf");
    await writeFile(path, arrays(counts, each));
    const before = process.memoryUsage().rss;
    const error = await readGgufHeader(path).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(GgufFormatError);
    // Its bytes once or twice, and no object for each string.
    expect(process.memoryUsage().rss - before).toBeLessThan(600e6);
  });

  test("a million are read, and made only when they are asked for", async () => {
    const path = join(await temporaryFolder(), "strings.gguf");
    await writeFile(path, arrays([1_000_000], 3));
    const { metadata } = await readGgufHeader(path);
    const strings = metadata.get("key.0");
    expect(typeof strings === "object" && strings.length).toBe(1_000_000);
    expect(typeof strings === "object" && strings.strings().at(-1)).toBe("aaa");
  });

  test("a string that ends behind the file", () => {
    const file = arrays([3], 4);
    file.writeUInt32LE(0xffff_ffff, file.length - 12);
    expect(() => parseGgufHeader(file, file.length)).toThrow(/4294967295 bytes, more than it can have/);
    file.writeUInt32LE(1, file.length - 8);
    expect(() => parseGgufHeader(file, file.length)).toThrow(/more than it can have/);
  });
});
