import type { Weight } from "@crossrank/convert";
import type { ProgramWeight } from "../graph/emit.js";
import type { AddonTensor, AddonWeight, Compute, FilePart } from "../native.js";
import type { Quantisation, QuantisedFolder, QuantisedMatrix } from "./quantised-folder.js";

export interface WeightPlan {
  /** Relative to the model, in the order in which parts name them. */
  readonly paths: readonly string[];
  readonly weights: readonly AddonWeight[];
}

/** Numbers that are made here travel with the plan: those of a head, never a table's. */
const mostMade = 1 << 24;

/**
 * How the addon reads each weight of a program.
 *
 * @param options.quantisation for matrices that are floats; undefined leaves them.
 * @param options.folder where MLX has quantised the model.
 * @throws {ModelProfileError} when a weight that no file holds as it is cannot be read.
 * @throws {RangeError} when such a weight is too large to be made here.
 */
export async function planWeights(
  weights: readonly ProgramWeight[],
  options: {
    readonly compute: Compute;
    readonly quantisation: Quantisation | undefined;
    readonly folder: QuantisedFolder | undefined;
  },
): Promise<WeightPlan> {
  const paths: string[] = [];
  const planner = new Planner(paths, options.folder);
  const planned = await Promise.all(
    weights.map(async (weight): Promise<AddonWeight> => {
      const isHead =
        weight.kind === "rows" || (weight.kind !== "constant" && "use" in weight && weight.use === "head");
      const target = isHead ? "float32" : options.compute;
      const usual = { target, plus: 0, bits: 0, group: 0, unfold: false } as const;
      if (weight.kind === "constant") {
        const { name, data } = weight;
        return { ...usual, name, tensors: [tensorOf(data, [data.length])], target: "stored" };
      }
      if (weight.kind === "made") {
        const { name, shape, read } = weight.weight;
        return { ...usual, name, tensors: [tensorOf(await read(), shape)] };
      }
      const { weight: source } = weight;
      const rows = weight.kind === "rows" ? weight.rows : undefined;
      const { tensors, packed, plus } = await planner.read(source, rows);
      const { quantisation } = options;
      if (packed !== undefined) {
        const { bits, group } = packed;
        const isMatrix = weight.kind === "model" && weight.use === "matrix";
        return { ...usual, name: source.name, tensors, bits, group, unfold: !isMatrix };
      }
      const isQuantised =
        quantisation !== undefined &&
        weight.kind === "model" &&
        weight.use === "matrix" &&
        source.shape.length === 2 &&
        (source.shape[1] as number) % quantisation.group === 0;
      return { ...usual, name: source.name, tensors, plus, ...(isQuantised ? quantisation : {}) };
    }),
  );
  return { paths, weights: planned };
}

function tensorOf(data: Float32Array | Int32Array, shape: readonly number[]): AddonTensor {
  const type = data instanceof Float32Array ? "F32" : "I32";
  return { type, shape, parts: [], data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** A weight that follows from what files hold, as float32: rows of it, or all. */
async function madeFrom(weight: Weight, rows: readonly number[] | undefined): Promise<AddonTensor> {
  const [count = 1, ...rest] = weight.shape;
  const shape = [rows?.length ?? count, ...rest];
  const length = shape.reduce((product, size) => product * size, 1);
  if (length > mostMade)
    throw new RangeError(
      `${weight.name} is in no file, and has ${length} numbers, which are too many to make`,
    );
  if (rows === undefined) return tensorOf(await weight.rows(0, count), shape);
  const data = new Float32Array(length);
  for (const [place, row] of rows.entries())
    data.set(await weight.rows(row, row + 1), (place * length) / rows.length);
  return tensorOf(data, shape);
}

class Planner {
  readonly #paths: string[];
  readonly #folder: QuantisedFolder | undefined;

  constructor(paths: string[], folder: QuantisedFolder | undefined) {
    this.#paths = paths;
    this.#folder = folder;
  }

  /** @param rows of the weight, in their order; undefined: all of it. */
  async read(
    weight: Weight,
    rows: readonly number[] | undefined,
  ): Promise<{
    readonly tensors: readonly AddonTensor[];
    readonly packed: QuantisedMatrix | undefined;
    readonly plus: number;
  }> {
    const stored = weight.stored?.();
    if (stored === undefined) {
      // What it is made of is part of what is loaded.
      const source = weight.madeOf?.stored?.();
      if (source !== undefined) this.#file(source.path);
      return { tensors: [await madeFrom(weight, rows)], packed: undefined, plus: 0 };
    }
    const { path, dtype, start, end, plus } = stored;
    const [count = 1, ...rest] = weight.shape;
    const taken = rows ?? [undefined];
    const shape = [rows?.length ?? count, ...rest];
    const found = this.#folder?.matrixAt(path, start);
    if (found === undefined) {
      const width = (end - start) / count;
      const first = this.#folder?.placeOf(path, start) ?? start;
      const parts = taken.map((row) =>
        this.#part(path, first, width, row === undefined ? [0, count] : [row, row + 1]),
      );
      return { tensors: [{ type: dtype as AddonTensor["type"], shape, parts }], packed: undefined, plus };
    }
    const tensors = found.matrix.tensors.map((part): AddonTensor => {
      const from = found.row;
      const parts = taken.map((row) =>
        this.#part(
          part.path,
          part.start,
          part.row,
          row === undefined ? [from, from + count] : [from + row, from + row + 1],
        ),
      );
      return { type: part.dtype as AddonTensor["type"], shape: [shape[0] as number, part.columns], parts };
    });
    return { tensors, packed: found.matrix, plus: 0 };
  }

  #part(path: string, start: number, row: number, [from, to]: readonly [number, number]): FilePart {
    return { file: this.#file(path), start: start + from * row, end: start + to * row };
  }

  #file(path: string): number {
    const known = this.#paths.indexOf(path);
    return known >= 0 ? known : this.#paths.push(path) - 1;
  }
}
