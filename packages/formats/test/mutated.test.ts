import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CrossrankError, type ModelFiles } from "@crossrank/core";
import { openSafetensors } from "@crossrank/core/files";
import { afterAll, expect, test } from "vitest";
import {
  Counts,
  hostileNumbers,
  isLong,
  mutate,
  outcomeOf,
  randomOf,
} from "../../backend-kit/test/mutations.js";
import {
  type FileTensor,
  GgufFormatError,
  type Metadata,
  readGgufHeader,
  writeGgufFile,
} from "../src/gguf/index.js";
import { describeModelPackage, openModelPackage } from "../src/mlpackage/index.js";
import { precisionOf, readGraph, withLocalFile } from "../src/onnx/index.js";
import { copyOf } from "./fixtures.js";

// Files that were damaged, by reader: each is read, or refused with an error of this package; nothing else, in time, and
// without memory for what a file only claims. Through the runtimes: the backends' tests of the same name.

const folder = await mkdtemp(join(tmpdir(), "crossrank-mutated-"));
afterAll(() => rm(folder, { recursive: true }));

const fixtures = fileURLToPath(new URL("../../conformance/fixtures", import.meta.url));

/** Milliseconds for one file; a busy machine takes less than a tenth. */
const patience = 20_000;
/** Bytes by which this process may grow, over all tries of a reader. */
const mostMemory = 1e9;

/** Reads one file again and again, each time damaged in another way. */
async function tryAll(
  reader: string,
  tries: number,
  path: string,
  head: number,
  read: () => Promise<string>,
): Promise<void> {
  const whole = await readFile(path);
  expect(await read()).toBe("read");
  const before = process.resourceUsage().maxRSS;
  const counts = new Counts();
  let slowest = 0;
  const isTyped = (error: unknown): error is { code: string } =>
    CrossrankError.isInstance(error) || error instanceof GgufFormatError;
  for (let seed = 0; seed < tries; seed += 1) {
    const { bytes, what } = mutate(whole, { random: randomOf(seed), head });
    await writeFile(path, bytes);
    const start = performance.now();
    const outcome = await outcomeOf(read, { what: `mutation ${seed} (${what})`, isTyped });
    counts.add(outcome === "read" ? "read" : "refused");
    slowest = Math.max(slowest, performance.now() - start);
  }
  await writeFile(path, whole);
  const grown = (process.resourceUsage().maxRSS - before) * 1024;
  console.log(
    `${reader}: ${counts}; slowest ${Math.ceil(slowest)} ms, grown by ${Math.ceil(grown / 1e6)} MB`,
  );
  expect(counts.total).toBe(tries);
  expect(slowest).toBeLessThan(patience);
  expect(grown).toBeLessThan(mostMemory);
}

const few = isLong ? 5000 : 200;

/** A small file with one of each kind of value that we write. */
async function smallGguf(path: string): Promise<void> {
  const metadata: Metadata = new Map([
    ["general.architecture", { type: "string", value: "bert" }],
    ["general.file_type", { type: "uint32", value: 0 }],
    ["bert.attention.layer_norm_epsilon", { type: "float32", value: 1e-12 }],
    ["bert.attention.causal", { type: "bool", value: false }],
    [
      "tokenizer.ggml.tokens",
      { type: "string[]", value: Array.from({ length: 200 }, (_, index) => `▁t${index}`) },
    ],
    [
      "tokenizer.ggml.scores",
      { type: "float32[]", value: Array.from({ length: 200 }, (_, index) => -index) },
    ],
    ["tokenizer.ggml.token_type", { type: "int32[]", value: Array.from({ length: 200 }, () => 1) }],
    ["tokenizer.ggml.precompiled", { type: "uint8[]", value: Uint8Array.of(1, 2, 3) }],
    ["crossrank.version", { type: "string", value: "1" }],
  ]);
  const tensors = (["F32", "F16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_0"] as const).map(
    (type): FileTensor => ({
      name: `blk.0.${type}.weight`,
      type,
      weight: { shape: [2, 256], rows: async (from, to) => new Float32Array((to - from) * 256).fill(0.5) },
    }),
  );
  await writeGgufFile(path, metadata, tensors);
}

test("GGUF's head", { timeout: 3_600_000 }, async () => {
  const path = join(folder, "model.gguf");
  await smallGguf(path);
  const head = (await readGgufHeader(path)).dataOffset;
  await tryAll("GGUF", few, path, head, async () => {
    const { metadata, tensors } = await readGgufHeader(path);
    for (const value of metadata.values()) if (typeof value === "object") value.strings();
    const { size } = { size: (await readFile(path)).length };
    // What the head says lies within the file.
    for (const { offset, byteLength } of tensors.values())
      expect(offset + byteLength).toBeLessThanOrEqual(size);
    return "read";
  });
});

test("GGUF's head: hostile numbers in every place", { timeout: 3_600_000 }, async () => {
  const path = join(folder, "numbers.gguf");
  await smallGguf(path);
  const whole = await readFile(path);
  const { dataOffset } = await readGgufHeader(path);
  const counts = new Counts();
  const step = isLong ? 1 : 73;
  const numbers = isLong ? hostileNumbers : hostileNumbers.filter((_, index) => index % 3 === 0);
  for (let place = 4; place + 8 <= dataOffset; place += step) {
    for (const number of numbers) {
      const bytes = Buffer.from(whole);
      bytes.writeBigInt64LE(number, place);
      await writeFile(path, bytes);
      counts.add(
        await outcomeOf(async () => (await readGgufHeader(path)) && "read", {
          what: `${number} at ${place}`,
          isTyped: (error): error is { code: string } => error instanceof GgufFormatError,
        }).then((outcome) => (outcome === "read" ? "read" : "refused")),
      );
    }
  }
  console.log(`GGUF, numbers: ${counts}`);
  expect(counts.total).toBeGreaterThan(400);
});

test("an .onnx file's metadata", { timeout: 3_600_000 }, async () => {
  const path = join(folder, "model.onnx");
  await writeFile(path, await readFile(join(fixtures, "bert-logit/onnx/model.onnx")));
  await tryAll("ONNX graph", few, path, 400, async () => {
    const graph = await withLocalFile(path, readGraph);
    if (graph === undefined) return "refused";
    expect(precisionOf(graph).dtype).toMatch(/^[a-z]+\d+/);
    return "read";
  });
});

test("safetensors", { timeout: 3_600_000 }, async () => {
  const path = join(folder, "model.safetensors");
  const whole = await readFile(join(fixtures, "bert-logit/model.safetensors"));
  await writeFile(path, whole);
  await tryAll("safetensors", few, path, 8 + Number(whole.readBigUInt64LE(0)), async () => {
    const bytes = await readFile(path);
    const files = {
      id: "mutated",
      readBytes: async (_: string, { start, end }: { readonly start: number; readonly end: number }) =>
        bytes.subarray(start, end),
    } as unknown as ModelFiles;
    const opened = await openSafetensors(files, "model.safetensors");
    for (const name of opened.names) {
      const { shape, data } = await opened.read(name);
      expect(data.length).toBe(shape.reduce((product, size) => product * size, 1));
    }
    return "read";
  });
});

test("Core ML packages", { timeout: 3_600_000 }, async () => {
  for (const name of ["enumerated.mlpackage", "types.mlpackage"]) {
    const path = await copyOf(name, folder);
    const files = (await readdir(path, { recursive: true, withFileTypes: true })).filter((entry) =>
      entry.isFile(),
    );
    for (const file of files) {
      const place = join(file.parentPath, file.name);
      const tries = Math.ceil(few / (name === "enumerated.mlpackage" ? 4 : 8));
      await tryAll(`${name} ${file.name}`, tries, place, 20_000, async () => {
        const opened = await openModelPackage(path);
        await describeModelPackage(opened);
        return "read";
      });
    }
  }
});
