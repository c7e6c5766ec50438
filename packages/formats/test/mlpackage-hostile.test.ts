import { execFileSync } from "node:child_process";
import { mkdir, open, readFile, rename, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { beforeAll, describe, expect, test } from "vitest";
import { isLong, sampleOf } from "../../../test/sample.js";
import { type Limits, ModelPackageError, openModelPackage } from "../src/mlpackage/index.js";
import { copyOf, fixture, modelFile, temporaryFolder, weightFile } from "./fixtures.js";
import { randomSource } from "./random-model.js";

let folder: string;
beforeAll(async () => {
  folder = await temporaryFolder();
});

async function refusal(path: string, limits: Partial<Limits> = {}): Promise<ModelPackageError> {
  const outcome: unknown = await openModelPackage(path, { limits }).catch((error: unknown) => error);
  if (!ModelPackageError.isInstance(outcome)) throw new Error("not refused", { cause: outcome });
  expect(outcome.message).toBe(`${outcome.path}: ${outcome.problem}. ${outcome.fix}.`);
  return outcome;
}

/** Bytes of a message of one length-delimited field. */
function field(number: number, content: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(content).finish();
}

function together(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}

const version9 = new BinaryWriter().tag(1, WireType.Varint).int32(9).finish();

/** A file whose program has `operations` bytes as the content of its block. Numbers: MIL.proto. */
async function fileOf(block: Uint8Array): Promise<string> {
  const functions = field(3, together(field(1, text("CoreML8")), field(2, block)));
  const program = field(
    2,
    together(field(1, text("main")), field(2, together(field(2, text("CoreML8")), functions))),
  );
  return fileOfModel(field(502, program));
}

async function fileOfModel(content: Uint8Array): Promise<string> {
  const path = join(folder, `model-${fileNumber++}.mlmodel`);
  await writeFile(path, together(version9, content));
  return path;
}
let fileNumber = 0;

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

/** An operation of a block, which has a value of a type and content as its attribute `val`. */
function operationWith(type: Uint8Array, content: Uint8Array): Uint8Array {
  const value = together(field(2, field(1, type)), content);
  return field(
    3,
    together(field(1, text("const")), field(5, together(field(1, text("val")), field(2, value)))),
  );
}

/** TensorType. */
function tensorType(element: number, dimensions: readonly bigint[], rank = dimensions.length): Uint8Array {
  const writer = new BinaryWriter()
    .tag(1, WireType.Varint)
    .int32(element)
    .tag(2, WireType.Varint)
    .int64(rank);
  const sizes = dimensions.map((size) =>
    field(3, field(1, new BinaryWriter().tag(1, WireType.Varint).uint64(size).finish())),
  );
  return together(writer.finish(), ...sizes);
}

describe("messages", () => {
  test("a model cut anywhere is refused", async () => {
    const bytes = await readFile(join(fixture("types.mlpackage"), modelFile));
    const path = await copyOf("types.mlpackage", folder);
    for (let length = 0; length < bytes.length; length += 37) {
      await writeFile(join(path, modelFile), bytes.subarray(0, length));
      expect((await refusal(path)).path).toBe(join(path, modelFile));
    }
  });

  test("a number that never ends", async () => {
    const endless = new Uint8Array(200).fill(0x80);
    expect((await refusal(await fileOfModel(endless))).problem).toMatch(/damaged or cut short/);
    const within = await fileOf(together(field(3, together(field(1, text("add")), endless))));
    expect((await refusal(within)).problem).toMatch(/damaged or cut short/);
  });

  test("a length beyond the end of the file, and of its message", async () => {
    const beyond = new BinaryWriter()
      .tag(502, WireType.LengthDelimited)
      .uint32(2 ** 31)
      .finish();
    expect((await refusal(await fileOfModel(beyond))).problem).toMatch(/cut short/);
    const inner = new BinaryWriter().tag(3, WireType.LengthDelimited).uint32(9).raw(text("add")).finish();
    const path = await fileOf(inner);
    // There are bytes behind it, but they are not its own.
    await writeFile(path, together(await readFile(path), field(10, new Uint8Array(100))));
    expect((await refusal(path)).problem).toMatch(/cut short/);
  });

  test("blocks within blocks, ten thousand deep", async () => {
    let block: Uint8Array = new Uint8Array();
    for (let depth = 0; depth < 10_000; depth += 1) block = field(3, field(4, block));
    const { problem, fix } = await refusal(await fileOf(block));
    expect(problem).toBe("has blocks nested more than 64 deep");
    expect(fix).toMatch(/limits\.depth/);
  });

  test("lists within lists are passed over, however deep", async () => {
    let value: Uint8Array = new Uint8Array();
    for (let depth = 0; depth < 5_000; depth += 1) value = field(3, field(3, field(1, value)));
    const path = await fileOf(operationWith(tensorType(11, []), value));
    const { model } = await openModelPackage(path);
    const block = model.program?.functions["main"]?.blocks["CoreML8"];
    expect(block?.operations[0]?.attributes["val"]?.content).toEqual({ kind: "other", as: "list" });
  });

  test("groups, which no Core ML file has", async () => {
    const group = new BinaryWriter().tag(9, WireType.StartGroup).finish();
    expect(
      (await refusal(await fileOf(together(...Array.from({ length: 1000 }, () => group))))).problem,
    ).toMatch(/protobuf group/);
    expect((await refusal(await fileOfModel(group))).problem).toMatch(/damaged/);
  });

  test("text that is no UTF-8", async () => {
    const path = await fileOf(field(3, field(1, Uint8Array.of(0xc3, 0x28))));
    expect((await refusal(path)).problem).toMatch(/no UTF-8/);
  });

  test("a field of another type than its own", async () => {
    const path = await fileOf(new BinaryWriter().tag(3, WireType.Varint).int32(1).finish());
    expect((await refusal(path)).problem).toMatch(/not of its type/);
  });

  test("unknown fields and enumerations are no error", async () => {
    const unknown = together(
      new BinaryWriter().tag(77, WireType.Varint).uint32(5).finish(),
      new BinaryWriter().tag(78, WireType.Bit32).fixed32(5).finish(),
      new BinaryWriter().tag(79, WireType.Bit64).fixed64(5).finish(),
      field(80, text("later")),
    );
    const operation = together(
      field(1, text("later_op")),
      field(3, together(field(1, text("y")), field(2, field(1, tensorType(999, [3n]))))),
      unknown,
    );
    const { model } = await openModelPackage(await fileOf(together(unknown, field(3, operation))));
    const [read] = model.program?.functions["main"]?.blocks["CoreML8"]?.operations ?? [];
    expect(read?.type).toBe("later_op");
    expect(read?.outputs).toEqual([
      { name: "y", type: { kind: "tensor", element: "unknown-999", dimensions: [3] } },
    ]);
  });

  test("dimensions whose product no number holds", async () => {
    const floats = field(3, field(1, field(1, new Uint8Array())));
    const path = await fileOf(operationWith(tensorType(11, [2n ** 40n, 2n ** 40n]), floats));
    expect((await refusal(path)).problem).toMatch(/no tensor has the shape/);
  });

  test("integers beyond 2^53", async () => {
    const path = await fileOf(operationWith(tensorType(11, [2n ** 60n]), new Uint8Array()));
    expect((await refusal(path)).problem).toMatch(/beyond 2\^53/);
  });

  test("a value that does not fill its shape, or is of another type", async () => {
    const floats = (...values: number[]): Uint8Array => {
      const writer = new BinaryWriter();
      for (const value of values) writer.float(value);
      return field(3, field(1, field(1, field(1, writer.finish()))));
    };
    const fits = await fileOf(operationWith(tensorType(11, [2n]), floats(1, 2)));
    expect((await openModelPackage(fits)).model.kind).toBe("mlProgram");
    const short = await fileOf(operationWith(tensorType(11, [3n]), floats(1, 2)));
    expect((await refusal(short)).problem).toMatch(/of shape \(3\) has 2 elements/);
    const other = await fileOf(operationWith(tensorType(10, [2n]), floats(1, 2)));
    expect((await refusal(other)).problem).toMatch(/holds fp16 in floats/);
    const rank = await fileOf(operationWith(tensorType(11, [2n], 3), floats(1, 2)));
    expect((await refusal(rank)).problem).toMatch(/rank 3 has 1 dimensions/);
    const broken = field(3, field(1, field(1, field(1, new Uint8Array(7)))));
    const half = await fileOf(operationWith(tensorType(11, [2n]), broken));
    expect((await refusal(half)).problem).toMatch(/ends within one/);
  });

  test("two models in one file, and two entries of one name", async () => {
    const path = await fileOf(new Uint8Array());
    await writeFile(path, together(await readFile(path), field(500, new Uint8Array())));
    expect((await refusal(path)).problem).toMatch(/two models/);
    const entry = field(5, together(field(1, text("name")), field(2, new Uint8Array())));
    const twice = await fileOf(field(3, together(entry, entry)));
    expect((await refusal(twice)).problem).toMatch(/two entries name/);
  });

  test("a key that objects treat on their own", async () => {
    const value = field(
      2,
      together(
        field(2, field(1, tensorType(1, []))),
        field(3, field(1, field(3, field(1, Uint8Array.of(1))))),
      ),
    );
    const path = await fileOf(field(3, field(5, together(field(1, text("__proto__")), value))));
    const { model } = await openModelPackage(path);
    const attributes = model.program?.functions["main"]?.blocks["CoreML8"]?.operations[0]?.attributes ?? {};
    expect(Object.keys(attributes)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(attributes)).toBe(Object.prototype);
  });

  test("what is no model", async () => {
    for (const bytes of [new Uint8Array(), text("hello, this is text"), new Uint8Array(5000)]) {
      const path = join(folder, "no.mlmodel");
      await writeFile(path, bytes);
      expect((await refusal(path)).problem).toMatch(/no Core ML model|no model|damaged|cut short/);
    }
  });
});

describe("limits", () => {
  const cases: readonly (readonly [keyof Limits, number, RegExp])[] = [
    ["messageBytes", 1000, /more than 1000 bytes/],
    ["manifestBytes", 100, /617 bytes, and 100 are allowed/],
    ["files", 2, /more than 2 files/],
    ["depth", 1, /nested more than 1 deep/],
    ["operations", 30, /more than 30 operations/],
    ["entries", 100, /more than 100 values/],
    ["immediateElements", 50, /more than 50 numbers and texts/],
    ["rank", 1, /more than 1 dimensions/],
    ["textBytes", 20, /a text of \d+ bytes, and 20 are allowed/],
  ];
  test.each(cases)("%s", async (name, value, problem) => {
    const error = await refusal(fixture("types.mlpackage"), { [name]: value });
    expect(error.problem).toMatch(problem);
    expect(error.fix).toContain(`limits.${name}`);
  });

  test("empty messages by the million end at a limit", async () => {
    const million = 2 ** 20;
    // 2 bytes each: an operation, an input or a nested block of a block; a dimension of a type.
    for (const tag of sampleOf([0x1a, 0x0a, 0x12], { name: "empty", every: 3 })) {
      const bytes = new Uint8Array(8 * million);
      for (let at = 0; at < bytes.length; at += 2) bytes[at] = tag;
      expect((await refusal(await fileOf(bytes))).fix).toMatch(/limits\.(operations|entries)/);
    }
    // With CROSSRANK_LONG as many as the limit by itself is, else a smaller one.
    const allowed = isLong ? 16 * million : million;
    const numbers = new Uint8Array(allowed + million / 8);
    const path = await fileOf(
      operationWith(tensorType(1, [1n]), field(3, field(1, field(3, field(1, numbers))))),
    );
    const limits = isLong ? undefined : { immediateElements: allowed };
    expect((await refusal(path, limits)).fix).toMatch(/limits\.immediateElements/);
  });

  test("a file of a terabyte is refused before it is read", async () => {
    const path = await copyOf("fixed.mlpackage", folder);
    await truncate(join(path, "Manifest.json"), 2 ** 40);
    expect((await refusal(path)).problem).toBe(`has ${2 ** 40} bytes, and ${2 ** 20} are allowed`);
  });

  test("a large model of another kind is described without its weights in memory", async () => {
    const path = join(folder, "large.mlmodel");
    const network = new BinaryWriter()
      .tag(500, WireType.LengthDelimited)
      .uint32(2 ** 30)
      .finish();
    const head = together(version9, network);
    await writeFile(path, head);
    await truncate(path, head.length + 2 ** 30);
    const { model, files } = await openModelPackage(path, { limits: { messageBytes: 10 } });
    expect(model).toMatchObject({ kind: "neuralNetwork", specificationVersion: 9 });
    expect(files).toEqual([{ path: "large.mlmodel", size: head.length + 2 ** 30 }]);
  });
});

describe("weights", () => {
  /** The first entry of the fixture's blob file begins at 64. */
  async function damaged(at: number, bytes: readonly number[]): Promise<string> {
    const path = await copyOf("fixed.mlpackage", folder);
    const handle = await open(join(path, weightFile), "r+");
    await handle.write(Uint8Array.from(bytes), 0, bytes.length, at);
    await handle.close();
    return path;
  }
  const cases: Readonly<Record<string, readonly [number, readonly number[], RegExp]>> = {
    "another version": [4, [1], /blob file of version 1, and version 2 is read/],
    "no sentinel": [64, [0], /entry at 64 does not begin as one/],
    "another type than the program's": [68, [2], /has type fp32, and the program says fp16/],
    "a type that is not known": [68, [200], /has type code 200, and the program says fp16/],
    "another size than the program's": [72, [2], /bytes, and a fp16 tensor of shape/],
    "a size beyond the file": [77, [1], /outside of the file's/],
    "data beyond the file": [86, [1], /outside of the file's/],
    "data at no multiple of 64": [80, [129], /outside of the file's/],
    "a place beyond 2^53": [80, [0, 0, 0, 0, 0, 0, 0, 255], /outside of the file's/],
  };
  test.each(Object.entries(cases))("%s", async (_, [at, bytes, problem]) => {
    const path = await damaged(at, bytes);
    const error = await refusal(path);
    expect(error.problem).toMatch(problem);
    expect(error.path).toBe(join(path, weightFile));
  });

  test("a blob file cut anywhere is refused", async () => {
    const path = await copyOf("fixed.mlpackage", folder);
    const { size } = await stat(join(path, weightFile));
    for (let length = size - 1; length >= 0; length -= 61) {
      await truncate(join(path, weightFile), length);
      expect((await refusal(path)).path).toBe(join(path, weightFile));
    }
  });

  test("a file that changed since it was opened", async () => {
    const path = await copyOf("fixed.mlpackage", folder);
    const opened = await openModelPackage(path);
    await truncate(join(path, weightFile), 100);
    const block = opened.model.program?.functions["main"]?.blocks;
    const values = Object.values(block ?? {}).flatMap(({ operations }) =>
      operations.flatMap(({ attributes }) => Object.values(attributes)),
    );
    const content = values.map((value) => value.content).find(({ kind }) => kind === "blob");
    const entry = await opened.blob(content as never);
    await expect(entry.read(0, entry.byteLength)).rejects.toThrow(/ends before byte/);
  });

  test.each([
    "weights/weight.bin",
    "@model_path/../weight.bin",
    "@model_path//etc/passwd",
    "@model_path/a\\b",
  ])("a blob file named %s", async (name) => {
    const blob = field(
      5,
      together(field(1, text(name)), new BinaryWriter().tag(2, WireType.Varint).uint64(64).finish()),
    );
    const path = await fileOf(operationWith(tensorType(10, [4n]), blob));
    expect((await refusal(path)).problem).toMatch(/does not begin with @model_path|may lie outside/);
  });
});

describe("files", () => {
  async function withManifest(change: (manifest: Record<string, unknown>) => unknown): Promise<string> {
    const path = await copyOf("fixed.mlpackage", folder);
    const manifest = JSON.parse(await readFile(join(path, "Manifest.json"), "utf8")) as Record<
      string,
      unknown
    >;
    await writeFile(join(path, "Manifest.json"), JSON.stringify(change(manifest)));
    return path;
  }
  const withPath = (given: unknown) =>
    withManifest((manifest) => ({
      ...manifest,
      itemInfoEntries: { [manifest["rootModelIdentifier"] as string]: { path: given } },
    }));

  test.each(["../fixed.mlpackage/x", "/etc/passwd", "a/../../../b", "", "a//b", "C:/x", "a\\..\\b", "a\0b"])(
    "a manifest that names %j",
    async (given) => {
      expect((await refusal(await withPath(given))).problem).toMatch(/may lie outside of the package/);
    },
  );

  test("a manifest of other things", async () => {
    expect((await refusal(await withPath(7))).problem).toMatch(/has no path/);
    expect((await refusal(await withPath("com.apple.CoreML/none.mlmodel"))).problem).toBe("is not there");
    expect((await refusal(await withManifest(() => null))).problem).toMatch(/no rootModelIdentifier/);
    const inherited = await withManifest(() => ({ rootModelIdentifier: "toString", itemInfoEntries: {} }));
    expect((await refusal(inherited)).problem).toMatch(/has no path/);
    await writeFile(join(inherited, "Manifest.json"), "{");
    expect((await refusal(inherited)).problem).toBe("is no JSON");
  });

  test("a path that is not there, and folders of another kind", async () => {
    expect((await refusal(join(folder, "none"))).problem).toBe("is not there");
    const empty = join(folder, "empty");
    await mkdir(empty);
    expect((await refusal(empty)).problem).toMatch(/no Manifest.json/);
    await writeFile(join(empty, "coremldata.bin"), "");
    expect((await refusal(empty)).fix).toMatch(/the .mlpackage that it was compiled from/);
  });

  const places = ["Manifest.json", modelFile, weightFile];

  test.each(places)("a pipe in the place of %s is not waited for", async (place) => {
    const path = await copyOf("fixed.mlpackage", folder);
    await rm(join(path, place));
    execFileSync("mkfifo", [join(path, place)]);
    expect((await refusal(path)).problem).toBe("is no regular file");
    if (place === modelFile) expect((await refusal(join(path, place))).problem).toBe("is no regular file");
  });

  test.each(places)("a folder in the place of %s", async (place) => {
    const path = await copyOf("fixed.mlpackage", folder);
    await rm(join(path, place));
    await mkdir(join(path, place));
    expect((await refusal(path)).problem).toMatch(/is no regular file|is not there/);
  });

  test.each(places)("a link out of the package in the place of %s", async (place) => {
    const path = await copyOf("fixed.mlpackage", folder);
    const outside = join(path, "..", "outside");
    await rename(join(path, place), outside);
    await symlink(outside, join(path, place));
    const error = await refusal(path);
    expect(error.problem).toBe("is a link that leads out of the package");
    expect(error.fix).toContain("cp -RL");
  });

  test("a link to a folder, even to its own", async () => {
    const path = await copyOf("fixed.mlpackage", folder);
    await symlink("..", join(path, "Data", "loop"));
    expect((await refusal(path)).problem).toMatch(/leads out|no regular file/);
  });

  test("a link within the package is followed", async () => {
    const path = await copyOf("fixed.mlpackage", folder);
    await rename(join(path, weightFile), join(path, "elsewhere.bin"));
    await symlink("../../../elsewhere.bin", join(path, weightFile));
    expect((await openModelPackage(path)).model.kind).toBe("mlProgram");
  });

  test("a snapshot in Hugging Face's cache, whose files are links to its blobs", async () => {
    const repository = join(folder, "models--someone--ranker");
    const snapshot = join(repository, "snapshots", "abc", "model.mlpackage");
    for (const place of places) {
      await mkdir(join(snapshot, place, ".."), { recursive: true });
      await mkdir(join(repository, "blobs"), { recursive: true });
      const blob = join(repository, "blobs", place.replaceAll("/", "-"));
      await writeFile(blob, await readFile(join(fixture("fixed.mlpackage"), place)));
      await symlink(blob, join(snapshot, place));
    }
    const opened = await openModelPackage(snapshot);
    expect(opened.files).toEqual((await openModelPackage(fixture("fixed.mlpackage"))).files);
    expect((await openModelPackage(join(snapshot, modelFile))).model).toEqual(opened.model);
  });
});

/** Of each of two packages. */
const mutations = isLong ? 300 : 80;

test(`${2 * mutations} mutations of real packages are read or refused, nothing else`, async () => {
  const random = randomSource(20);
  const below = (end: number): number => Math.floor(random() * end);
  const outcomes = { read: 0, refused: 0 };
  let slowest = 0;
  for (const name of ["enumerated.mlpackage", "types.mlpackage"]) {
    const path = await copyOf(name, folder);
    for (let round = 0; round < mutations; round += 1) {
      const place = [modelFile, modelFile, modelFile, weightFile, "Manifest.json"][below(5)] as string;
      const original = await readFile(join(path, place));
      await writeFile(join(path, place), mutated(original, below));
      const started = performance.now();
      const outcome: unknown = await openModelPackage(path).catch((error: unknown) => error);
      slowest = Math.max(slowest, performance.now() - started);
      if (outcome instanceof Error) {
        if (!ModelPackageError.isInstance(outcome))
          throw new Error(`round ${round} of ${name}`, { cause: outcome });
        outcomes.refused += 1;
      } else outcomes.read += 1;
      await writeFile(join(path, place), original);
    }
  }
  // Both happen often, or the mutations say nothing.
  expect(outcomes.read).toBeGreaterThan(mutations / 5);
  expect(outcomes.refused).toBeGreaterThan(mutations / 3);
  expect(slowest).toBeLessThan(5_000);
});

function mutated(original: Uint8Array, below: (end: number) => number): Uint8Array {
  let bytes = Uint8Array.from(original);
  for (let change = below(2); change >= 0; change -= 1) {
    const at = below(bytes.length + 1);
    const to = Math.min(bytes.length, at + 1 + below(16));
    const insert = Uint8Array.from(
      { length: 1 + below(8) },
      () => [0, 0x7f, 0x80, 0xff, below(256)][below(5)] as number,
    );
    const kind = below(5);
    if (kind === 0 && at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << below(8));
    else if (kind === 1) bytes.set(insert.subarray(0, bytes.length - at), at);
    else if (kind === 2) bytes = together(bytes.subarray(0, at), bytes.subarray(to));
    else if (kind === 3) bytes = together(bytes.subarray(0, to), bytes.subarray(at));
    else bytes = together(bytes.subarray(0, at), insert, bytes.subarray(at));
  }
  return bytes;
}
