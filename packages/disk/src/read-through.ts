import { createHash } from "node:crypto";
import { open } from "node:fs/promises";

/** Bytes that are read at once. */
const pieceBytes = 1 << 20;

/**
 * Reads a file piece by piece into the same memory, where a stream takes new memory for each piece, and half as much
 * processor time again.
 *
 * @param take is given each piece, which the next one overwrites.
 * @param options.end bytes that are read at most; without it, all.
 * @throws the system's error where it cannot be read, and the signal's reason.
 */
export async function readThrough(
  path: string,
  take: (piece: Buffer) => void,
  {
    end = Number.POSITIVE_INFINITY,
    signal,
  }: { readonly end?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  signal?.throwIfAborted();
  const file = await open(path);
  try {
    const memory = Buffer.allocUnsafeSlow(pieceBytes);
    for (let read = 0; read < end; ) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(memory, 0, Math.min(pieceBytes, end - read));
      if (bytesRead === 0) return;
      take(memory.subarray(0, bytesRead));
      read += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/**
 * @param options.onRead is told the bytes read so far, after each MB at most.
 * @returns sha256 of a file's content, in lower-case hex.
 * @throws the system's error where it cannot be read, and the signal's reason.
 */
export async function hashFile(
  path: string,
  { signal, onRead }: { readonly signal?: AbortSignal | undefined; onRead?(bytes: number): void } = {},
): Promise<string> {
  const hash = createHash("sha256");
  let read = 0;
  const take = (piece: Buffer): void => {
    hash.update(piece);
    read += piece.length;
    onRead?.(read);
  };
  await readThrough(path, take, { signal });
  return hash.digest("hex");
}
