import { largestHalf, toHalf } from "../half.js";
import { type GgmlType, ggmlTypes } from "./ggml-types.js";

/** How a tensor's numbers are held in the file: ggml's types of these names. */
export type TensorType = "F32" | "F16" | "Q8_0" | "Q4_0";

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

/** Division as C's float does it: ggml's reference quantisers round after each step, and so must we. */
const single = Math.fround;

/** @throws {RangeError} where half precision has no such number. */
function writeHalf(to: DataView, offset: number, number: number): void {
  const half = toHalf(number);
  if (half === undefined)
    throw new RangeError(`${number} is beyond half precision, which ends at ${largestHalf}`);
  to.setUint16(offset, half, true);
}

/**
 * The types that are written. The quantisers are `quantize_row_q8_0_ref` and `quantize_row_q4_0_ref` of ggml's
 * ggml-quants.c, byte for byte.
 */
export const layouts: Readonly<Record<TensorType, Layout>> = {
  F32: layout("F32", (numbers, to) => {
    for (let i = 0; i < numbers.length; i++) to.setFloat32(i * 4, numbers[i] ?? 0, true);
  }),
  F16: layout("F16", (numbers, to) => {
    for (let i = 0; i < numbers.length; i++) writeHalf(to, i * 2, numbers[i] ?? 0);
  }),
  Q8_0: layout("Q8_0", (numbers, to) => {
    for (let first = 0, at = 0; first < numbers.length; first += 32, at += 34) {
      let largest = 0;
      for (let i = first; i < first + 32; i++) largest = Math.max(largest, Math.abs(numbers[i] ?? 0));
      const scale = single(largest / 127);
      const inverse = inverted(scale);
      writeHalf(to, at, scale);
      for (let i = 0; i < 32; i++) {
        const scaled = single((numbers[first + i] ?? 0) * inverse);
        // C's roundf: halves away from zero. float32 + 0.5 is exact in JavaScript's double.
        to.setInt8(at + 2 + i, Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5));
      }
    }
  }),
  Q4_0: layout("Q4_0", (numbers, to) => {
    for (let first = 0, at = 0; first < numbers.length; first += 32, at += 18) {
      // The number of the largest magnitude, with its sign, becomes −8.
      let extreme = 0;
      for (let i = first; i < first + 32; i++) {
        const number = numbers[i] ?? 0;
        if (Math.abs(number) > Math.abs(extreme)) extreme = number;
      }
      const scale = single(extreme / -8);
      const inverse = inverted(scale);
      const nibble = (index: number): number =>
        Math.min(15, Math.trunc(single(single((numbers[index] ?? 0) * inverse) + 8.5)));
      writeHalf(to, at, scale);
      for (let i = 0; i < 16; i++) to.setUint8(at + 2 + i, nibble(first + i) | (nibble(first + 16 + i) << 4));
    }
  }),
};

/** Zero for a scale that has no inverse in float32: such a block is as good as zero. */
function inverted(scale: number): number {
  const inverse = single(1 / scale);
  return Number.isFinite(inverse) ? inverse : 0;
}

/** Bytes of a tensor. */
export function byteLength(type: TensorType, numbers: number): number {
  return (numbers / layouts[type].block) * layouts[type].bytes;
}

/**
 * Numbers, whole rows of them, as the file holds them.
 * @throws {RangeError} where a number, or the scale of a block, is beyond half precision.
 */
export function encodeNumbers(type: TensorType, numbers: Float32Array): Uint8Array {
  const bytes = new Uint8Array(byteLength(type, numbers.length));
  layouts[type].encode(numbers, new DataView(bytes.buffer));
  return bytes;
}
