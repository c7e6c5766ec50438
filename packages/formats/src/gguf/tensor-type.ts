import { type GgmlType, ggmlTypes } from "./ggml-types.js";
import { encodeQ4K, encodeQ5K, encodeQ6K } from "./k-blocks.js";
import { writeHalf } from "./single.js";
import { encodeQ4, encodeQ5, encodeQ5WithMinimum, encodeQ8 } from "./small-blocks.js";

/** How a tensor's numbers are held in the file: ggml's types of these names. */
export type TensorType = "F32" | "F16" | "Q8_0" | "Q6_K" | "Q5_K" | "Q5_1" | "Q5_0" | "Q4_K" | "Q4_0";

interface Layout {
  /** `ggml_type` in ggml's ggml.h. */
  readonly code: number;
  /** Numbers of a row that share a scale; a row is a multiple of it. */
  readonly block: number;
  /** Bytes of a block. */
  readonly bytes: number;
  encode(numbers: Float32Array, to: DataView): void;
}

function layout(type: TensorType, encode: Layout["encode"]): Layout {
  const [code, { blockNumbers, blockBytes }] = [...ggmlTypes].find(([, { name }]) => name === type) as [
    number,
    GgmlType,
  ];
  return { code, block: blockNumbers, bytes: blockBytes, encode };
}

/**
 * The types that are written, as ggml's reference quantisers write them without an importance matrix. `Q4_K`, `Q5_K` and
 * `Q6_K` are ten times the work of the others: 0.3 to 0.7 s of processor time for a million numbers.
 */
export const layouts: Readonly<Record<TensorType, Layout>> = {
  F32: layout("F32", (numbers, to) => {
    for (let i = 0; i < numbers.length; i++) to.setFloat32(i * 4, numbers[i] ?? 0, true);
  }),
  F16: layout("F16", (numbers, to) => {
    for (let i = 0; i < numbers.length; i++) writeHalf(to, i * 2, numbers[i] ?? 0);
  }),
  Q8_0: layout("Q8_0", encodeQ8),
  Q6_K: layout("Q6_K", encodeQ6K),
  Q5_K: layout("Q5_K", encodeQ5K),
  Q5_1: layout("Q5_1", encodeQ5WithMinimum),
  Q5_0: layout("Q5_0", encodeQ5),
  Q4_K: layout("Q4_K", encodeQ4K),
  Q4_0: layout("Q4_0", encodeQ4),
};

/** Bytes of a tensor. */
export function byteLength(type: TensorType, numbers: number): number {
  return (numbers / layouts[type].block) * layouts[type].bytes;
}

/**
 * Numbers, whole rows of them, as the file holds them.
 * @throws {RangeError} where a number, or the scale of a block, is beyond half precision; where one is none at all and
 * the type has no place for that.
 */
export function encodeNumbers(type: TensorType, numbers: Float32Array): Uint8Array {
  const { block, encode } = layouts[type];
  // A comparison passes over what is no number, and a block would hide it.
  const odd = block === 1 ? undefined : numbers.find((number) => !Number.isFinite(number));
  if (odd !== undefined) throw new RangeError(`${odd} is no number that a block can hold`);
  const bytes = new Uint8Array(byteLength(type, numbers.length));
  encode(numbers, new DataView(bytes.buffer));
  return bytes;
}
