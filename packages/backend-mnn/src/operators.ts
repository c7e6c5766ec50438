import { open } from "node:fs/promises";
import { Tables, UnreadableTables } from "./tables.js";

/** What a normalisation or a softmax of a .mnn file says of itself. */
export interface StatedDefault {
  readonly kind: "layer-norm" | "softmax";
  /** As MNN reads it: 0 where the file leaves it out. */
  readonly value: number;
  readonly stated: boolean;
}

/** An operator, with the tensors that it reads and writes by their places. */
export interface MnnOperator {
  /** A number of `enum OpType`. */
  readonly kind: number;
  /** Which operation, of operators that are several: a number of its own enumeration. */
  readonly operation: number;
  /** Of ReLU6. */
  readonly bounds?: readonly [number, number] | undefined;
  /** Lengths of a constant's dimensions. */
  readonly dimensions?: readonly number[] | undefined;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** What a .mnn file holds besides its weights. */
export interface MnnGraph {
  readonly defaults: readonly StatedDefault[];
  /** Of the graph itself. */
  readonly operators: readonly MnnOperator[];
  /** By the tensors' places. */
  readonly tensors: readonly string[];
}

/** Numbers of `enum OpType` (FlatBuffers, MNN 3.6.1's schema/current/MNN_generated.h). */
export const kinds = {
  binary: 7,
  cast: 9,
  concat: 10,
  constant: 11,
  flatten: 28,
  gather: 31,
  permute: 46,
  reduction: 68,
  relu6: 70,
  reshape: 73,
  sigmoid: 81,
  slice: 83,
  sliceTf: 84,
  softmax: 85,
  squeeze: 90,
  stridedSlice: 91,
  tanh: 95,
  unary: 101,
  unsqueeze: 107,
  broadcast: 120,
  convert: 129,
  select: 257,
  identity: 262,
  layerNorm: 603,
} as const;

/** Places in the file's tables, and numbers of `union OpParameter`. */
const net = { operators: 10, tensors: 18, subgraphs: 24 };
const subgraph = { nodes: 12 };
const operator = { inputs: 4, parameterKind: 6, parameter: 8, outputs: 12, kind: 14 };
const parameters = { axis: 4, binary: 6, blob: 7, reduction: 50, relu6: 52, unary: 70, layerNorm: 88 };
/** The first field of each. */
const first = 4;
const layerNorm = { epsilon: 6 };
const relu6 = { least: 4, most: 6 };
const usualMost = 6;

/** The parameter that says which operation it is, by the operator's kind. */
const operations: ReadonlyMap<number, number> = new Map([
  [kinds.binary, parameters.binary],
  [kinds.reduction, parameters.reduction],
  [kinds.unary, parameters.unary],
]);

const mostOperators = 1 << 18;

/**
 * Reads the operators of a .mnn file, without MNN and without trust, and steps over its weights.
 *
 * @returns none where the file cannot be followed: MNN itself then says what is wrong with it.
 */
export async function readGraph(path: string): Promise<MnnGraph> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    const tables = new Tables(size, async (start, end) => {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(end - start), 0, end - start, start);
      return buffer.subarray(0, bytesRead);
    });
    return await graphOf(tables);
  } catch (error) {
    if (error instanceof UnreadableTables) return { defaults: [], operators: [], tensors: [] };
    throw error;
  } finally {
    await handle.close();
  }
}

async function graphOf(tables: Tables): Promise<MnnGraph> {
  const root = await tables.follow(0);
  const own = await tables.tablesAt(root, net.operators);
  const places = [...own];
  for (const place of await tables.tablesAt(root, net.subgraphs)) {
    places.push(...(await tables.tablesAt(place, subgraph.nodes)));
    if (places.length > mostOperators) throw new UnreadableTables();
  }
  const defaults: StatedDefault[] = [];
  for (const place of places) {
    const found = await defaultOf(tables, place);
    if (found !== undefined) defaults.push(found);
  }
  const operators: MnnOperator[] = [];
  for (const place of own) operators.push(await operatorOf(tables, place));
  return { defaults, operators, tensors: await tables.textsAt(root, net.tensors) };
}

async function defaultOf(tables: Tables, place: number): Promise<StatedDefault | undefined> {
  const kind = await tables.int32(place, operator.kind);
  const isNorm = kind === kinds.layerNorm;
  if (!isNorm && kind !== kinds.softmax) return undefined;
  const parameter = await parameterOf(tables, place, isNorm ? parameters.layerNorm : parameters.axis);
  if (parameter === undefined) return undefined;
  const number = isNorm
    ? await tables.float32(parameter, layerNorm.epsilon)
    : await tables.int32(parameter, first);
  return { kind: isNorm ? "layer-norm" : "softmax", value: number ?? 0, stated: number !== undefined };
}

async function operatorOf(tables: Tables, place: number): Promise<MnnOperator> {
  const kind = (await tables.int32(place, operator.kind)) ?? 0;
  const wanted = operations.get(kind);
  const parameter = wanted === undefined ? undefined : await parameterOf(tables, place, wanted);
  return {
    kind,
    operation: parameter === undefined ? 0 : ((await numberAt(tables, parameter, kind)) ?? 0),
    bounds: kind === kinds.relu6 ? await boundsOf(tables, place) : undefined,
    dimensions: kind === kinds.constant ? await dimensionsOf(tables, place) : undefined,
    inputs: await tables.int32s(place, operator.inputs),
    outputs: await tables.int32s(place, operator.outputs),
  };
}

/** A reduction's is one byte. */
async function numberAt(tables: Tables, parameter: number, kind: number): Promise<number | undefined> {
  return kind === kinds.reduction ? tables.uint8(parameter, first) : tables.int32(parameter, first);
}

async function dimensionsOf(tables: Tables, place: number): Promise<readonly number[] | undefined> {
  const parameter = await parameterOf(tables, place, parameters.blob);
  return parameter === undefined ? undefined : tables.int32s(parameter, first);
}

async function boundsOf(tables: Tables, place: number): Promise<readonly [number, number] | undefined> {
  const parameter = await parameterOf(tables, place, parameters.relu6);
  if (parameter === undefined) return undefined;
  const least = (await tables.float32(parameter, relu6.least)) ?? 0;
  return [least, (await tables.float32(parameter, relu6.most)) ?? usualMost];
}

/** Where an operator's parameter lies, if it is of the wanted kind. */
async function parameterOf(tables: Tables, place: number, wanted: number): Promise<number | undefined> {
  const field = await tables.field(place, operator.parameter);
  if (field === undefined || (await tables.uint8(place, operator.parameterKind)) !== wanted) return undefined;
  return tables.follow(field);
}
