import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "./fixtures.js";

/**
 * ONNX files made by hand, so that they can say what no exporter would. Field numbers: onnx/onnx.proto of the ONNX
 * project (Apache-2.0), as of its release 1.17.
 */
export type Dimension = number | bigint | string;

export interface Attribute {
  readonly name: string;
  readonly value: bigint | readonly bigint[] | number | string | Uint8Array;
}

export interface Node {
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: readonly Attribute[];
  /** "" is ONNX's own. */
  readonly domain?: string;
}

export interface Graph {
  readonly inputs: readonly {
    readonly name: string;
    readonly shape: readonly Dimension[];
    /** As ONNX numbers types; int64 by default. */
    readonly type?: bigint;
  }[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly { readonly name: string; readonly shape: readonly Dimension[] }[];
  /** int64 tensors. */
  readonly constants?: readonly {
    readonly name: string;
    readonly dims: readonly bigint[];
    readonly values: readonly bigint[];
    /** The file that holds the values, at its beginning; without it they lie in the graph. */
    readonly location?: string;
  }[];
  readonly opset?: bigint;
}

const float = 1n;
const int64 = 7n;

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
    const last = rest < 0x80n;
    bytes.push(Number(rest & 0x7fn) | (last ? 0 : 0x80));
    if (last) return Buffer.from(bytes);
  }
}

const integer = (field: number, value: bigint): Buffer =>
  Buffer.concat([varint(BigInt(field << 3)), varint(value)]);

function bytes(field: number, content: Uint8Array | string): Buffer {
  const body = typeof content === "string" ? Buffer.from(content) : content;
  return Buffer.concat([varint(BigInt((field << 3) | 2)), varint(BigInt(body.length)), body]);
}

function single(field: number, value: number): Buffer {
  const body = Buffer.alloc(4);
  body.writeFloatLE(value);
  return Buffer.concat([varint(BigInt((field << 3) | 5)), body]);
}

function value(name: string, type: bigint, shape: readonly Dimension[]): Buffer {
  const dimensions = shape.map((size) =>
    bytes(1, typeof size === "string" ? bytes(2, size) : integer(1, BigInt(size))),
  );
  const tensor = Buffer.concat([integer(1, type), bytes(2, Buffer.concat(dimensions))]);
  return Buffer.concat([bytes(1, name), bytes(2, bytes(1, tensor))]);
}

function attribute({ name, value: given }: Attribute): Buffer {
  const head = bytes(1, name);
  if (typeof given === "bigint") return Buffer.concat([head, integer(3, given), integer(20, 2n)]);
  if (typeof given === "number") return Buffer.concat([head, single(2, given), integer(20, 1n)]);
  if (typeof given === "string") return Buffer.concat([head, bytes(4, given), integer(20, 3n)]);
  // A graph, encoded already.
  if (given instanceof Uint8Array) return Buffer.concat([head, bytes(6, given), integer(20, 5n)]);
  return Buffer.concat([head, ...given.map((number) => integer(8, number)), integer(20, 7n)]);
}

export function encodeGraph({ inputs, nodes, outputs, constants = [] }: Graph): Buffer {
  return Buffer.concat([
    ...nodes.map((node) =>
      bytes(
        1,
        Buffer.concat([
          ...node.inputs.map((name) => bytes(1, name)),
          ...node.outputs.map((name) => bytes(2, name)),
          bytes(4, node.operator),
          ...(node.attributes ?? []).map((one) => bytes(5, attribute(one))),
          ...(node.domain === undefined ? [] : [bytes(7, node.domain)]),
        ]),
      ),
    ),
    bytes(2, "graph"),
    ...constants.map(({ name, dims, values, location }) =>
      bytes(
        5,
        Buffer.concat([
          ...dims.map((size) => integer(1, size)),
          integer(2, int64),
          bytes(8, name),
          ...(location === undefined
            ? [bytes(9, new Uint8Array(BigInt64Array.from(values).buffer))]
            : [
                bytes(13, Buffer.concat([bytes(1, "location"), bytes(2, location)])),
                bytes(13, Buffer.concat([bytes(1, "length"), bytes(2, String(8 * values.length))])),
                integer(14, 1n),
              ]),
        ]),
      ),
    ),
    ...inputs.map(({ name, shape, type = int64 }) => bytes(11, value(name, type, shape))),
    ...outputs.map(({ name, shape }) => bytes(12, value(name, float, shape))),
  ]);
}

export function encodeModel(graph: Graph): Buffer {
  const opsets = [["", graph.opset ?? 17n] as const, ["com.microsoft", 1n] as const].map(
    ([domain, version]) => bytes(8, Buffer.concat([bytes(1, domain), integer(2, version)])),
  );
  return Buffer.concat([integer(1, 8n), bytes(7, encodeGraph(graph)), ...opsets]);
}

const shape: readonly Dimension[] = ["batch", "sequence"];

/**
 * The smallest cross-encoder: the mean of the ids that are no padding. `between` stands between the ids as floats, `x`,
 * and `y`, which is summed up.
 */
export function crossEncoder(
  facts: {
    readonly inputShapes?: Readonly<Record<string, readonly Dimension[]>>;
    readonly extraInputs?: Graph["inputs"];
    readonly outputShape?: readonly Dimension[];
    readonly between?: readonly Node[];
    readonly constants?: Graph["constants"];
    readonly opset?: bigint;
  } = {},
): Graph {
  const { inputShapes = {}, between = [{ operator: "Identity", inputs: ["x"], outputs: ["y"] }] } = facts;
  return {
    inputs: [
      ...["input_ids", "attention_mask"].map((name) => ({ name, shape: inputShapes[name] ?? shape })),
      ...(facts.extraInputs ?? []),
    ],
    nodes: [
      { operator: "Mul", inputs: ["input_ids", "attention_mask"], outputs: ["masked"] },
      { operator: "Cast", inputs: ["masked"], outputs: ["x"], attributes: [{ name: "to", value: 1n }] },
      ...between,
      {
        operator: "ReduceMean",
        inputs: ["y"],
        outputs: ["logits"],
        attributes: [
          { name: "axes", value: [1n] },
          { name: "keepdims", value: 1n },
        ],
      },
    ],
    outputs: [{ name: "logits", shape: facts.outputShape ?? ["batch", 1] }],
    ...(facts.constants === undefined ? {} : { constants: facts.constants }),
    ...(facts.opset === undefined ? {} : { opset: facts.opset }),
  };
}

/** A folder with the graph as its onnx/model.onnx. */
export async function folderOf(model: Graph | Uint8Array): Promise<string> {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "onnx"));
  const content = model instanceof Uint8Array ? model : encodeModel(model);
  await writeFile(join(folder, "onnx/model.onnx"), content);
  return folder;
}
