import { open } from "node:fs/promises";

/** A file that is read in parts, wherever it is. */
export interface ByteSource {
  /** Bytes. */
  readonly size: number;
  /** Bytes from `start` to `end` (not included), both within the file; fewer where it became shorter. */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** Opens a file of this machine for the time of `use`. */
export async function withLocalFile<Result>(
  path: string,
  use: (source: ByteSource) => Promise<Result>,
): Promise<Result> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    return await use({
      size,
      read: async (start, end) => {
        const length = Math.max(end - start, 0);
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, start);
        return buffer.subarray(0, bytesRead);
      },
    });
  } finally {
    await handle.close();
  }
}
