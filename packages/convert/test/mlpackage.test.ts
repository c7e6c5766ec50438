import { InvalidInputError } from "@crossrank/core";
import { toHalves } from "@crossrank/formats";
import { afterAll, describe, expect, it } from "vitest";
import { type ArtifactContract, validateContract } from "../../crossrank/src/artifact-contract/validate.js";
import { UnsupportedConversionError } from "../src/errors.js";
import { createMlpackageWriter, type MlpackageWriterOptions } from "../src/mlpackage/write-mlpackage.js";
import { describeModel } from "../src/source/describe-model.js";
import type { Weight } from "../src/source/weight.js";
import { blobsOf, hashesOf, packageFixtures, readPackage, writePackage } from "./mlpackage-files.js";
import { type Described, describeFixture, temporaryFolder } from "./onnx-files.js";
import { floatTensor, numbersOf, readFixture, type StoredTensors, withTensors } from "./source-files.js";

const { path: folder, close } = await temporaryFolder();
afterAll(close);

/** Of all fixtures of this file. */
const hidden = 32;
const layers = 2;
const heads = 4;

/** The seed's contract with a fixture's sizes. */
function contractOf(name: string, batch: number, lengths: readonly number[]): ArtifactContract {
  const shapes = lengths.map((length) => [batch, 1, 1, length]);
  const inputs = ["input_ids", "attention_mask", ...(name.startsWith("bert") ? ["token_type_ids"] : [])];
  const output = name.includes("cosine")
    ? { name: "pooled_output", element: "float32" as const, shapes: [[batch, hidden]] }
    : { name: "logit", element: "float32" as const, shapes: [[batch, name === "bert-two-class" ? 2 : 1]] };
  return {
    kind: "mlProgram",
    specificationVersion: { minimum: 9, maximum: 9 },
    inputs: inputs.map((input) => ({ name: input, element: "int32", shapes })),
    outputs: [output],
    weights: ["fp16"],
  };
}

describe.each(packageFixtures)("%s as a package for macOS 15", async (name) => {
  const path = `${folder}/${name}.mlpackage`;
  const written = await writePackage(path, name, { lengths: [64, 16, 32] });
  const made = await readPackage(path);
  const { report, operations } = made;

  it("keeps to the seed's contract with its own sizes", () => {
    expect(validateContract(report, contractOf(name, 20, [16, 32, 64]))).toEqual([]);
    // That the contract can be broken.
    expect(validateContract(report, contractOf(name, 20, [16, 32]))).not.toEqual([]);
    expect(report.opsets).toEqual(["CoreML8"]);
    expect(written.map((file) => file.slice(path.length + 1))).toEqual([
      "Data/com.apple.CoreML/model.mlmodel",
      "Data/com.apple.CoreML/weights/weight.bin",
      "Manifest.json",
    ]);
  });

  it("is in the layout of the Neural Engine", () => {
    const head = name.includes("cosine") ? 0 : 2;
    expect(report.operations).toMatchObject({
      conv: 6 * layers + head,
      layer_norm: 2 * layers + 1,
      einsum: 2 * heads * layers,
      softmax: heads * layers,
      gelu: layers,
    });
    for (const absent of ["matmul", "linear", "reshape", "cumsum", "select"]) {
      expect(report.operations).not.toHaveProperty(absent);
    }
    for (const { type, outputs } of operations) {
      for (const output of outputs) {
        if (output.type.kind !== "tensor") expect.fail(`${output.name} is no tensor`);
        expect(output.type.dimensions.length).toBeLessThanOrEqual(4);
        if (["conv", "layer_norm", "gelu"].includes(type)) {
          expect(output.type.element).toBe("fp16");
          expect(output.type.dimensions[2]).toBe(1);
        }
      }
    }
  });

  it("adds masks that half precision can hold, and divides by no zero", () => {
    const numbers = operations.flatMap(({ type, attributes }) => {
      const value = attributes["val"];
      const float = value?.type.kind === "tensor" && ["fp16", "fp32"].includes(value.type.element);
      return type === "const" && float && value.content.kind === "immediate"
        ? (value.content.values as readonly number[])
        : [];
    });
    expect(Math.min(...numbers)).toBe(-10_000);
    expect(numbers.filter((number) => number === 0 || !Number.isFinite(number))).toEqual([]);
  });

  it("holds the source's weights, rounded to half precision and nothing else", async () => {
    const { tensors } = await readFixture(name);
    const expected = new Map(
      [...tensors].map(([tensor, stored]) => [halvesOf(numbersOf(stored)), tensor] as const),
    );
    const blobs = await blobsOf(made);
    const found = new Set<string>();
    for (const blob of blobs.values()) {
      const bytes = Buffer.from(await blob.read(0, blob.byteLength)).toString("hex");
      found.add(expected.get(bytes) ?? expect.fail("a weight that is no tensor of the source"));
    }
    expect(found.size).toBe(blobs.size);
    // A bi-encoder's pooler is not read.
    const missing = [...tensors.keys()].filter((tensor) => !found.has(tensor));
    expect(missing.every((tensor) => /^pooler\./.test(tensor) && name.includes("cosine"))).toBe(true);
  });

  it("says where it came from", () => {
    expect(report.metadata.userDefined).toMatchObject({
      source: expect.stringContaining(name),
      sha256: "0".repeat(64),
      "crossrank.dtype": "fp16",
      "crossrank.deployment": "macos15",
      "crossrank.lengths": "16,32,64",
      ...(name.includes("cosine") ? { "crossrank.pooling": name.slice("bert-cosine-".length) } : {}),
    });
  });

  it("is the same, byte for byte, when it is written again", async () => {
    const again = `${folder}/${name}-again.mlpackage`;
    await writePackage(again, name, { lengths: [16, 32, 64] });
    const hashes = await hashesOf(path);
    expect(hashes.size).toBe(3);
    expect(await hashesOf(again)).toEqual(hashes);
  });
});

function halvesOf(numbers: Float32Array): string {
  return Buffer.from(toHalves(numbers)?.buffer ?? new ArrayBuffer(0)).toString("hex");
}

describe("position ids", () => {
  it("count as RoBERTa's own code does, from the whole table", async () => {
    const path = `${folder}/positions.mlpackage`;
    await writePackage(path, "xlm-roberta-logit", { lengths: [16, 32] });
    const { operations } = await readPackage(path);
    const steps = operations.filter(
      ({ type, outputs }) => type !== "const" && /^positions|^places/.test(outputs[0]?.name ?? ""),
    );
    expect(steps.map(({ type }) => type)).toEqual(["range_1d", "add", "mul", "sub", "mul", "add"]);
    const table = operations.find(({ outputs }) => outputs[0]?.name === "embeddings_position_weight");
    expect(table?.outputs[0]?.type).toMatchObject({ dimensions: [66, hidden] });
  });
});

describe("packages for macOS 13", async () => {
  const path = `${folder}/old.mlpackage`;
  const written = await writePackage(path, "xlm-roberta-logit", {
    deployment: "macos13",
    lengths: [16, 64],
    batch: 4,
  });

  it("are one a length, each with its shape alone", async () => {
    const packages = [16, 64].map((length) => `${folder}/old_${length}.mlpackage`);
    expect([...new Set(written.map((file) => file.replace(/(\.mlpackage).*/, "$1")))]).toEqual(packages);
    expect(written[0]).toMatch(/old_16\.mlpackage.*\.mlmodel$/);
    for (const [index, length] of [16, 64].entries()) {
      const { report, operations } = await readPackage(packages[index] as string);
      expect(
        validateContract(report, {
          ...contractOf("xlm-roberta-logit", 4, [length]),
          specificationVersion: { minimum: 7, maximum: 7 },
        }),
      ).toEqual([]);
      expect(report.opsets).toEqual(["CoreML6"]);
      // Nothing is left to the data, and nothing is asked of an operation set that came later.
      expect(report.operations).not.toHaveProperty("shape");
      expect(report.operations).not.toHaveProperty("range_1d");
      expect(operations.some(({ inputs }) => "validate_indices" in inputs)).toBe(false);
      const open = operations
        .flatMap(({ outputs }) => outputs)
        .filter(({ type }) => type.kind === "tensor" && type.dimensions.includes(undefined));
      expect(open).toEqual([]);
    }
  });
});

describe("lengths", () => {
  it("are those of the seed, as far as the model reaches", async () => {
    const { files, description, profile } = await describeFixture("bert-logit");
    // Only the length of the table is asked for.
    const long = (rows: number): Described => ({
      files,
      profile,
      description: {
        ...description,
        maxPositions: rows,
        embeddings: { ...description.embeddings, position: zeroWeight([rows, hidden]) },
      },
    });
    for (const [rows, lengths] of [
      [64, [64]],
      [130, [128]],
      [512, [128, 256, 512]],
      [8192, [128, 256, 512]],
    ] as const) {
      const path = `${folder}/lengths-${rows}.mlpackage`;
      await writePackage(path, long(rows));
      const { report } = await readPackage(path);
      expect(validateContract(report, contractOf("bert-logit", 20, lengths))).toEqual([]);
    }
  });
});

describe("precision", () => {
  it("fp32 is float32 throughout", async () => {
    const path = `${folder}/fp32.mlpackage`;
    await writePackage(path, "bert-logit", {}, "fp32");
    const { report, operations } = await readPackage(path);
    expect(report.weights.map(({ element }) => element)).toEqual(["fp32"]);
    const halves = operations
      .flatMap(({ outputs }) => outputs)
      .filter(({ type }) => type.kind === "tensor" && type.element === "fp16");
    expect(halves).toEqual([]);
  });

  it("refuses a number that half precision cannot hold, and keeps it in float32", async () => {
    const path = `${folder}/range.mlpackage`;
    const model = await described("bert-logit", (tensors) => {
      tensors.set("classifier.bias", floatTensor([1], [1e5]));
    });
    const error = await failure(writePackage(path, model));
    expect(error).toBeInstanceOf(UnsupportedConversionError);
    expect((error as Error).message).toMatch(/classifier\.bias holds a number beyond 65504.*fp32/);
    await writePackage(path, model, {}, "fp32");
    const bias = (await blobsOf(await readPackage(path))).get("head_1_bias");
    expect(new Float32Array((await bias?.read(0, 4))?.buffer as ArrayBuffer)).toEqual(Float32Array.of(1e5));
  });
});

describe("memory", () => {
  it("holds some rows of a weight at a time", async () => {
    const { files, description, profile } = await describeFixture("bert-logit");
    const vocabulary = 100_000;
    let most = 0;
    const word = zeroWeight([vocabulary, hidden], (rows) => {
      most = Math.max(most, rows);
    });
    const embeddings = { ...description.embeddings, word };
    const path = `${folder}/large.mlpackage`;
    await writePackage(path, { files, profile, description: { ...description, embeddings } });
    expect(most).toBeGreaterThan(0);
    expect(most * hidden).toBeLessThanOrEqual(1 << 20);
    const { report } = await readPackage(path);
    expect(report.weights[0]?.bytes).toBeGreaterThan(2 * vocabulary * hidden);
  });
});

describe("what cannot be written", () => {
  it.each([
    ["modernbert-cls", /rotary positions/],
    ["modernbert-chain", /rotary positions/],
    ["deberta-v2-logit", /disentangled positions/],
    ["qwen3-cosine-last", /see earlier ones alone/],
    ["qwen3-yes-no", /is a language model/],
    ["qwen3-listwise", /many documents in one sequence/],
  ])("%s, and why", async (name, problem) => {
    const { description, profile } = await describeFixture(name);
    const writer = createMlpackageWriter();
    expect(() => writer.check(description, profile)).toThrow(UnsupportedConversionError);
    expect(() => writer.check(description, profile)).toThrow(problem);
  });

  it("a vector of the last token, whose place moves", async () => {
    const { description, profile } = await describeFixture("bert-cosine-cls");
    const last = { ...profile, head: { kind: "cosine", pooling: "last-token" } } as const;
    expect(() => createMlpackageWriter().check(description, last)).toThrow(/the last token's/);
  });

  it("a length that the model does not reach", async () => {
    const { description, profile } = await describeFixture("roberta-logit");
    const writer = createMlpackageWriter({ lengths: [64, 65] });
    expect(() => writer.check(description, profile)).toThrow(/reads 64 tokens at most.*length 65/);
  });

  it.each<[string, MlpackageWriterOptions, string]>([
    ["no length", { lengths: [] }, "lengths"],
    ["a length of nothing", { lengths: [128, 0] }, "lengths"],
    ["a part of a length", { lengths: [12.5] }, "lengths"],
    ["an empty batch", { batch: 0 }, "batch"],
    ["a part of a row", { batch: 1.5 }, "batch"],
    ["an unknown system", { deployment: "macos12" as never }, "deployment"],
  ])("%s", (_, options, path) => {
    const error = failureOf(() => createMlpackageWriter(options));
    expect(InvalidInputError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ path });
  });

  it("a dtype that there is not", async () => {
    const error = await failure(writePackage(`${folder}/none.mlpackage`, "bert-logit", {}, "int8"));
    expect(error).toBeInstanceOf(UnsupportedConversionError);
    expect((error as Error).message).toMatch(/no dtype "int8".*fp32, fp16/);
  });
});

/** A fixture whose tensors are changed in place. */
async function described(name: string, change: (tensors: StoredTensors) => void): Promise<Described> {
  const { profile } = await describeFixture(name);
  const files = withTensors(await readFixture(name), change);
  return { files, profile, description: await describeModel(files, profile) };
}

function zeroWeight(shape: readonly number[], onRead?: (rows: number) => void): Weight {
  const columns = shape.slice(1).reduce((product, size) => product * size, 1);
  return {
    name: "zeros",
    shape,
    async rows(from, to) {
      onRead?.(to - from);
      return new Float32Array((to - from) * columns);
    },
  };
}

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => expect.fail("it did not fail"),
    (error: unknown) => error,
  );
}

function failureOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return expect.fail("it did not fail");
}
