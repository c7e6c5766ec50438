import {
  type ByteSource,
  CTranslate2FormatError,
  type CTranslate2Variable,
  numberBytes,
  readCTranslate2Header,
} from "@crossrank/formats/ctranslate2";

/** Bytes that are looked at in one go, some milliseconds of work. */
const chunkBytes = 4 * 2 ** 20;

/**
 * Reads through all numbers of a model.bin that are floats. One that is none gives no score that is none: tanh and the
 * integers of int8 make a sound number of an infinite one, which looks like a score.
 *
 * @throws {CTranslate2FormatError} naming the variable.
 */
export async function requireFinite(source: ByteSource, signal: AbortSignal | undefined): Promise<void> {
  const { variables } = await readCTranslate2Header(source);
  for (const [name, variable] of variables) {
    if (!Object.hasOwn(exponents, variable.type)) continue;
    await requireFiniteVariable(source, name, variable, signal);
  }
}

/** Bits of a number that are all set where it is infinite or none. */
const exponents: Readonly<Record<string, number>> = {
  float32: 0x7f80_0000,
  float16: 0x7c00,
  bfloat16: 0x7f80,
};

async function requireFiniteVariable(
  source: ByteSource,
  name: string,
  { type, offset, byteLength }: CTranslate2Variable,
  signal: AbortSignal | undefined,
): Promise<void> {
  const exponent = exponents[type] as number;
  const end = offset + byteLength;
  for (let start = offset; start < end; start += chunkBytes) {
    signal?.throwIfAborted();
    const length = Math.min(chunkBytes, end - start);
    const bytes = await source.read(start, start + length);
    if (bytes.length !== length) throw new CTranslate2FormatError("it ends before its variables do");
    const place = infinitePlace(wordsOf(bytes, numberBytes[type]), exponent);
    if (place >= 0) {
      const index = (start - offset) / numberBytes[type] + place;
      throw new CTranslate2FormatError(`${name} has a number that is not finite, at ${index}`);
    }
  }
}

function wordsOf(bytes: Uint8Array, width: number): Uint32Array | Uint16Array {
  const aligned = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
  const length = aligned.length / width;
  return width === 4
    ? new Uint32Array(aligned.buffer, aligned.byteOffset, length)
    : new Uint16Array(aligned.buffer, aligned.byteOffset, length);
}

/** A loop of its own: it goes through gigabytes. @returns -1 where there is none. */
function infinitePlace(words: Uint32Array | Uint16Array, exponent: number): number {
  for (let index = 0; index < words.length; index += 1) {
    if (((words[index] as number) & exponent) === exponent) return index;
  }
  return -1;
}
