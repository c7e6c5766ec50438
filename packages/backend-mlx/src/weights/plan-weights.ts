import type { Weight } from "@crossrank/convert";
import type { ProgramWeight } from "../graph/emit.js";
import type { AddonTensor, AddonWeight, Compute, FilePart } from "../native.js";
import type { Quantisation, QuantisedFolder, QuantisedMatrix } from "./quantised-folder.js";

export interface WeightPlan {
  /** Relative to the model, in the order in which parts name them. */
  readonly paths: readonly string[];
  readonly weights: readonly AddonWeight[];
}

/**
 * How the addon reads each weight of a program.
 *
 * @param options.quantisation for matrices that are floats; undefined leaves them.
 * @param options.folder where MLX has quantised the model.
 */
export function planWeights(
  weights: readonly ProgramWeight[],
  options: {
    readonly compute: Compute;
    readonly quantisation: Quantisation | undefined;
    readonly folder: QuantisedFolder | undefined;
  },
): WeightPlan {
  const paths: string[] = [];
  const planner = new Planner(paths, options.folder);
  return {
    paths,
    weights: weights.map((weight): AddonWeight => {
      const isHead = weight.kind === "rows" || (weight.kind === "model" && weight.use === "head");
      const target = isHead ? "float32" : options.compute;
      const usual = { target, plus: 0, bits: 0, group: 0, unfold: false } as const;
      if (weight.kind === "constant") {
        const { name, data } = weight;
        const type = data instanceof Float32Array ? "F32" : "I32";
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        const tensor: AddonTensor = { type, shape: [data.length], parts: [], data: bytes };
        return { ...usual, name, tensors: [tensor], target: "stored" };
      }
      const { weight: source } = weight;
      const rows = weight.kind === "rows" ? weight.rows : undefined;
      const { tensors, packed, plus } = planner.read(source, rows);
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
  };
}

class Planner {
  readonly #paths: string[];
  readonly #folder: QuantisedFolder | undefined;

  constructor(paths: string[], folder: QuantisedFolder | undefined) {
    this.#paths = paths;
    this.#folder = folder;
  }

  /** @param rows of the weight, in their order; undefined: all of it. */
  read(
    weight: Weight,
    rows: readonly number[] | undefined,
  ): {
    readonly tensors: readonly AddonTensor[];
    readonly packed: QuantisedMatrix | undefined;
    readonly plus: number;
  } {
    const stored = weight.stored?.();
    if (stored === undefined) throw new TypeError(`${weight.name} is in no file`);
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
    const known = this.#paths.indexOf(path);
    const file = known >= 0 ? known : this.#paths.push(path) - 1;
    return { file, start: start + from * row, end: start + to * row };
  }
}
