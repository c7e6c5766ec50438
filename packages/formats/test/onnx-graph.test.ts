import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import {
  type ByteSource,
  floatTensor,
  Graph,
  precisionOf,
  readGraph,
  withLocalFile,
  writeModelFile,
} from "../src/onnx/index.js";

const folder = await mkdtemp(join(tmpdir(), "crossrank-onnx-graph-"));
afterAll(() => rm(folder, { recursive: true }));

const fixtures = fileURLToPath(new URL("../../conformance/fixtures", import.meta.url));

/** A file in memory, and how much of it was read. */
function inMemory(bytes: Uint8Array): ByteSource & { readonly read: ByteSource["read"]; bytesRead: number } {
  const source = {
    size: bytes.length,
    bytesRead: 0,
    read: async (start: number, end: number): Promise<Uint8Array> => {
      source.bytesRead += end - start;
      return bytes.subarray(start, end);
    },
  };
  return source;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push(rest < 128 ? rest : (rest % 128) | 128);
    if (rest < 128) return Buffer.from(bytes);
  }
}

/** A length-delimited field. */
function field(number: number, content: Uint8Array | string): Buffer {
  const body = Buffer.from(content);
  return Buffer.concat([varint(number * 8 + 2), varint(body.length), body]);
}

const integer = (number: number, value: number): Buffer => Buffer.concat([varint(number * 8), varint(value)]);

test("a branch reads what is around it, and is written and read with its operators", async () => {
  const graph = new Graph();
  graph.inputs.push(
    { name: "whether", type: "float32", shape: [] },
    { name: "x", type: "float32", shape: [2] },
  );
  graph.tensor(floatTensor("weight", [1, 2], [2]));
  graph.node("Greater", ["whether", graph.tensor(floatTensor("zero", [0], []))], "flag");
  const branch = (kind: string, domain: string): { graph: Graph } => {
    const inner = new Graph();
    inner.node(kind, ["x", "weight"], `of${kind}`, { domain });
    inner.outputs.push({ name: `of${kind}`, type: "float32", shape: [2] });
    return { graph: inner };
  };
  const attributes = { then_branch: branch("Mul", ""), else_branch: branch("BiasGelu", "com.microsoft") };
  graph.node("If", ["flag"], "y", { attributes });
  graph.outputs.push({ name: "y", type: "float32", shape: [2] });
  expect(graph.domains).toEqual(["", "com.microsoft"]);
  const path = join(folder, "branches.onnx");
  const request = { path, graph, name: "branches", opset: 18, metadata: {}, externalFrom: 1e6 };
  await writeModelFile({ ...request, signal: undefined, onProgress: undefined });
  const summary = await withLocalFile(path, readGraph);
  expect(Object.fromEntries(summary?.operators ?? [])).toEqual({
    Greater: 1,
    If: 1,
    Mul: 1,
    "com.microsoft.BiasGelu": 1,
  });
  expect(summary?.outputs.map(({ name }) => name)).toEqual(["y"]);
});

test("what the writer writes is read: ports, opset, metadata, weights inside and outside", async () => {
  const graph = new Graph();
  graph.inputs.push({ name: "input_ids", type: "int64", shape: ["batch", 128] });
  graph.outputs.push({ name: "logits", type: "float32", shape: ["batch", 1] });
  const numbers = Float32Array.from({ length: 4096 }, (_, index) => index / 7);
  graph.tensor(floatTensor("weight", numbers, [64, 64]));
  graph.tensor(floatTensor("scale", [1], []));
  graph.node("MatMul", ["x", "weight"], "y");
  graph.node("BiasGelu", ["y", "scale"], "logits", { domain: "com.microsoft" });
  for (const externalFrom of [1e6, 1]) {
    const path = join(folder, `written-${externalFrom}.onnx`);
    const facts = { name: "test", opset: 18, metadata: { "crossrank.graph": "final" } };
    await writeModelFile({ path, graph, ...facts, externalFrom, signal: undefined, onProgress: undefined });
    const read = await withLocalFile(path, readGraph);
    expect(read).toMatchObject({
      irVersion: 8,
      producer: "crossrank",
      inputs: [{ name: "input_ids", type: "int64", shape: ["batch", 128] }],
      outputs: [{ name: "logits", type: "float32", shape: ["batch", 1] }],
    });
    expect([...(read?.opsets ?? [])]).toEqual([
      ["", 18],
      ["com.microsoft", 1],
    ]);
    expect(read?.metadata.get("crossrank.graph")).toBe("final");
    expect([...(read?.operators ?? [])]).toEqual([
      ["MatMul", 1],
      ["com.microsoft.BiasGelu", 1],
    ]);
    const weight = read?.tensors.get("weight");
    expect(weight).toMatchObject({ type: "float32", dimensions: [64, 64], bytes: 16_384 });
    const { location, start, end } = weight?.place ?? {};
    expect(location).toBe(externalFrom === 1 ? "written-1.onnx_data" : undefined);
    const file = await readFile(location === undefined ? path : join(folder, location));
    expect(file.subarray(start, end).equals(Buffer.from(numbers.buffer))).toBe(true);
    expect(read?.external).toEqual(
      externalFrom === 1 ? [{ location: `written-1.onnx_data`, bytes: 16_384 }] : [],
    );
  }
});

test("a file of gigabytes is stepped over, not read", async () => {
  // Ten weights of 200 MB each, of which nothing but their heads is on the disk.
  const path = join(folder, "large.onnx");
  const weight = 200e6;
  const heads = Array.from({ length: 10 }, (_, index) => {
    const head = Buffer.concat([
      integer(1, weight / 4),
      integer(2, 1),
      field(8, `weight ${index}`),
      varint(9 * 8 + 2),
      varint(weight),
    ]);
    return Buffer.concat([varint(5 * 8 + 2), varint(head.length + weight), head]);
  });
  const output = field(12, Buffer.concat([field(1, "logits"), field(2, field(1, integer(1, 1)))]));
  const length = heads.reduce((sum, head) => sum + head.length + weight, output.length);
  const handle = await open(path, "w");
  let place = 0;
  const put = async (bytes: Buffer): Promise<void> => {
    await handle.write(bytes, 0, bytes.length, place);
    place += bytes.length;
  };
  await put(Buffer.concat([varint(7 * 8 + 2), varint(length)]));
  for (const head of heads) {
    await put(head);
    place += weight;
  }
  await put(output);
  await handle.close();
  let bytesRead = 0;
  const read = await withLocalFile(path, (source) =>
    readGraph({
      size: source.size,
      read: (start, end) => {
        bytesRead += end - start;
        return source.read(start, end);
      },
    }),
  );
  expect(read?.tensors.size).toBe(10);
  expect(read?.outputs).toEqual([{ name: "logits", type: "float32", shape: undefined }]);
  expect(bytesRead).toBeLessThan(2e6);
});

describe("a file that somebody made", () => {
  const graphOf = (...parts: readonly Buffer[]): Buffer => field(7, Buffer.concat(parts));
  const tensor = (...parts: readonly Buffer[]): Buffer => field(5, Buffer.concat(parts));
  const external = (key: string, value: string): Buffer =>
    field(13, Buffer.concat([field(1, key), field(2, value)]));
  const nested = (depth: number): Buffer => {
    let inner: Buffer = Buffer.alloc(0);
    for (let level = 0; level < depth; level += 1) {
      inner = field(1, field(5, Buffer.concat([field(1, "body"), field(6, inner)])));
    }
    return inner;
  };
  test.each([
    ["nothing", Buffer.alloc(0)],
    ["a text", Buffer.from("<html>not found</html>")],
    ["no graph", field(2, "pytorch")],
    ["a graph that is cut", graphOf(tensor(integer(1, 4))).subarray(0, 3)],
    ["a length behind its end", Buffer.concat([varint(7 * 8 + 2), varint(2 ** 40)])],
    ["a number without an end", Buffer.alloc(40, 0xff)],
    ["a field of number 0", Buffer.concat([graphOf(), Buffer.of(0x02, 0)])],
    ["a group", Buffer.of(7 * 8 + 3, 1, 2)],
    ["graphs too deep in each other", graphOf(nested(200))],
    [
      "dimensions whose product is no number",
      graphOf(tensor(...Array.from({ length: 60 }, () => integer(1, 2 ** 50)), integer(2, 1))),
    ],
    ["too many dimensions", graphOf(tensor(...Array.from({ length: 500 }, () => integer(1, 1))))],
    [
      "an offset that is no number",
      graphOf(tensor(external("location", "a"), external("offset", "-1"), integer(14, 1))),
    ],
    [
      "a length that is no number",
      graphOf(tensor(external("location", "a"), external("length", "1e9"), integer(14, 1))),
    ],
    [
      "a length beyond 2^53",
      graphOf(tensor(external("location", "a"), external("length", "9".repeat(16)), integer(14, 1))),
    ],
    ["an operator's name of a megabyte", graphOf(field(1, field(4, "x".repeat(1 << 20))))],
  ])("that is %s is not followed", async (_, bytes) => {
    expect(await readGraph(inMemory(bytes))).toBeUndefined();
  });

  test("may have metadata of megabytes, which are not kept", async () => {
    const metadata = field(14, Buffer.concat([field(1, "program"), field(2, "x".repeat(4 << 20))]));
    const source = inMemory(Buffer.concat([graphOf(), metadata]));
    expect((await readGraph(source))?.metadata.get("program")).toBe("");
    expect(source.bytesRead).toBeLessThan(1e6);
  });

  test("may have millions of fields, of which the reading ends", async () => {
    const source = inMemory(graphOf(Buffer.alloc(10_000_000, Buffer.of(13 * 8, 1))));
    expect(await readGraph(source)).toBeUndefined();
  });

  test("may be cut anywhere: it is read, or not followed", async () => {
    const whole = await readFile(join(fixtures, "bert-logit/onnx/model.onnx"));
    let followed = 0;
    for (let length = 0; length < whole.length; length += 997) {
      const read = await readGraph(inMemory(whole.subarray(0, length)));
      if (read !== undefined) followed += 1;
    }
    // Its graph is no whole message before the end.
    expect(followed).toBe(0);
    const read = await readGraph(inMemory(whole));
    expect(read && precisionOf(read)).toMatchObject({ dtype: "fp32", scheme: "none" });
  });
});
