import { type FileHandle, open } from "node:fs/promises";
import type { WriteProgress } from "./progress.js";

/** What a file is made of, in order: bytes, or a tensor that is made while it is written. */
export type Part = Uint8Array | StreamedPart;

export interface StreamedPart {
  readonly name: string;
  readonly length: number;
  chunks(): AsyncIterable<Uint8Array>;
}

export interface PartsRequest {
  readonly path: string;
  readonly parts: readonly Part[];
  /** Bytes of the artifact that were written before, to other files. */
  readonly before: number;
  /** Bytes of the whole artifact. */
  readonly total: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: WriteProgress) => void) | undefined;
}

/** Writes one file, a chunk at a time. @throws the signal's reason, once aborted. */
export async function writeParts(request: PartsRequest): Promise<void> {
  const { path, parts, before, total, signal, onProgress } = request;
  signal?.throwIfAborted();
  const handle = await open(path, "w");
  try {
    let written = before;
    const write = async (bytes: Uint8Array): Promise<void> => {
      signal?.throwIfAborted();
      await writeAll(handle, bytes);
      written += bytes.length;
      onProgress?.({ written, total });
    };
    for (const part of parts) {
      if (part instanceof Uint8Array) {
        await write(part);
        continue;
      }
      const end = written + part.length;
      for await (const chunk of part.chunks()) await write(chunk);
      // Everything behind it would be read from the wrong place.
      if (written !== end)
        throw new Error(`${part.name} gave ${part.length + written - end} bytes instead of ${part.length}`);
    }
  } finally {
    await handle.close();
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length; ) {
    offset += (await handle.write(bytes, offset, bytes.length - offset)).bytesWritten;
  }
}
