import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { writeInWhole } from "@crossrank/disk";
import { bytesOf } from "../adapters/safetensors.js";
import { TrainingCheckpointError } from "../errors.js";

/** Bytes of the facts in front. */
const largestFacts = 1 << 20;
const digestBytes = 32;
const mark = "crossrank-checkpoint-1\n";

/**
 * A file of facts and arrays of float32: a mark, the length of the facts (8 bytes), the facts as JSON, the arrays one
 * behind the other, and the SHA-256 of all that. Written in whole or not at all.
 *
 * @throws {FileWriteError}
 */
export async function writeNumberFile(
  path: string,
  facts: unknown,
  arrays: AsyncIterable<Float32Array>,
): Promise<void> {
  const hash = createHash("sha256");
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    const text = Buffer.from(JSON.stringify(facts));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    for (const piece of [Buffer.from(mark), length, text]) {
      hash.update(piece);
      yield piece;
    }
    for await (const array of arrays) {
      const bytes = bytesOf(array);
      hash.update(bytes);
      yield bytes;
    }
    yield hash.digest();
  };
  await writeInWhole(path, pieces());
}

/**
 * @param each called with the facts first: the numbers of each array, in order, which together fill the file.
 * @param take called with each array.
 * @returns undefined where there is no such file.
 * @throws {TrainingCheckpointError} when the file is damaged, and what `sizes` and `take` throw.
 */
export async function readNumberFile(
  path: string,
  sizes: (facts: unknown) => readonly number[],
  take: (place: number, data: Float32Array) => Promise<void> | void,
): Promise<unknown> {
  const file = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  const damaged = (cause?: unknown): TrainingCheckpointError =>
    new TrainingCheckpointError(
      { path, problem: "is damaged", fix: "Delete it and begin anew, or restore it from a backup" },
      { cause },
    );
  try {
    const { size } = await file.stat();
    const hash = createHash("sha256");
    let at = 0;
    const read = async (length: number): Promise<Buffer> => {
      if (at + length > size) throw damaged();
      const bytes = Buffer.alloc(length);
      for (let done = 0; done < length; ) {
        const { bytesRead } = await file.read(bytes, done, length - done, at + done);
        if (bytesRead === 0) throw damaged();
        done += bytesRead;
      }
      at += length;
      return bytes;
    };
    const hashed = async (length: number): Promise<Buffer> => {
      const bytes = await read(length);
      hash.update(bytes);
      return bytes;
    };
    if ((await hashed(mark.length)).toString("latin1") !== mark) throw damaged();
    const length = Number((await hashed(8)).readBigUInt64LE());
    if (length > largestFacts) throw damaged();
    const text = (await hashed(length)).toString("utf8");
    let facts: unknown;
    try {
      facts = JSON.parse(text);
    } catch (cause) {
      throw damaged(cause);
    }
    const counts = sizes(facts);
    const bytes = counts.reduce((sum, count) => sum + 4 * count, 0);
    if (at + bytes + digestBytes !== size) throw damaged();
    // Nothing is taken before all of it is known to be whole.
    const begin = at;
    for (let left = bytes; left > 0; left -= Math.min(left, 1 << 24)) await hashed(Math.min(left, 1 << 24));
    if (!(await read(digestBytes)).equals(hash.digest())) throw damaged();
    at = begin;
    for (const [place, count] of counts.entries()) {
      const array = await read(4 * count);
      await take(place, new Float32Array(array.buffer, array.byteOffset, count));
    }
    return facts;
  } finally {
    await file.close();
  }
}
