import { readFileSync, writeFileSync } from "node:fs";

// Safetensors files taken apart and put together again: 8 bytes of the header's length, a JSON header, the tensors.

export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export type Tensors = ReadonlyMap<string, StoredTensor>;

export function readTensors(path: string): Map<string, StoredTensor> {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const start = 8 + length;
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== "__metadata__")
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [from, to],
          },
        ]) => [name, { dtype, shape, data: bytes.subarray(start + from, start + to) }],
      ),
  );
}

export function writeTensors(path: string, tensors: Tensors): void {
  let at = 0;
  const header = Object.fromEntries(
    [...tensors].map(([name, { dtype, shape, data }]) => {
      at += data.length;
      return [name, { dtype, shape, data_offsets: [at - data.length, at] }];
    }),
  );
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([length, text, ...[...tensors.values()].map(({ data }) => data)]));
}

export function floats({ dtype, data }: StoredTensor): Float32Array {
  if (dtype !== "F32") throw new Error(`a tensor of ${dtype}, where a fixture has F32`);
  return new Float32Array(Uint8Array.from(data).buffer);
}

export function tensorOf(numbers: Float32Array, shape: readonly number[]): StoredTensor {
  return { dtype: "F32", shape, data: new Uint8Array(numbers.slice().buffer) };
}

/** The upper half of each number's bits, rounded to nearest, ties to even. */
export function toBf16(tensor: StoredTensor): StoredTensor {
  const bits = new Uint32Array(floats(tensor).buffer);
  const halves = Uint16Array.from(bits, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
  return { dtype: "BF16", shape: tensor.shape, data: new Uint8Array(halves.buffer) };
}

/** About as the normal distribution, the same for the same seed. */
export function normals(seed: number, count: number, deviation: number): Float32Array {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => {
    let sum = -6;
    for (let summand = 0; summand < 12; summand += 1) sum += uniform();
    return sum * deviation;
  });
}

/** Bytes that mean nothing, the same for the same seed. */
export function filler(seed: number, count: number): Uint8Array {
  return Uint8Array.from(normals(seed, count, 40), (number) => Math.round(number) & 0xff);
}
