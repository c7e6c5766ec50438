import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline, type Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { TrainingDataError } from "./errors.js";

/** Bytes of one line, at most: a query with a thousand documents of ten thousand letters fits. */
export const mostLineBytes: number = 16 * 2 ** 20;

export type Line =
  | { readonly line: number; readonly text: string }
  | { readonly line: number; readonly fault: "malformed" | "too-large"; readonly problem: string };

/**
 * The lines of a text file, or of one that gzip has packed, which its first bytes tell. Blank ones are left out. A line
 * that cannot be read is a fault of its own; memory holds one piece of the file and one line.
 *
 * @throws {TrainingDataError} for a file that is no text: parquet, UTF-16, one JSON array, a damaged archive.
 */
export async function* readLines(path: string, signal?: AbortSignal): AsyncGenerator<Line> {
  const gzip = await isGzip(path);
  const source = createReadStream(path, { highWaterMark: 2 ** 18 });
  const stream: Readable = gzip ? pipeline(source, createGunzip(), () => undefined) : source;
  let kept: Buffer[] = [];
  let bytes = 0;
  let line = 0;
  let seen = false;
  const end = (): Line | undefined => {
    line += 1;
    const length = bytes;
    const content = Buffer.concat(kept);
    kept = [];
    bytes = 0;
    if (length > mostLineBytes) {
      const problem = `has ${length} bytes, and a line may have ${mostLineBytes}`;
      return { line, fault: "too-large", problem };
    }
    if (!isUtf8(content)) return { line, fault: "malformed", problem: "is not UTF-8" };
    const text = content.toString("utf8").replace(/^\ufeff/, "");
    if (text.trim() === "") return undefined;
    if (!seen) refuseArray(path, text);
    seen = true;
    return { line, text };
  };
  const keep = (piece: Buffer): void => {
    bytes += piece.length;
    if (bytes <= mostLineBytes) kept.push(piece);
    else kept = [];
  };
  try {
    for await (const piece of stream) {
      signal?.throwIfAborted();
      const chunk = piece as Buffer;
      let at = 0;
      for (let next = chunk.indexOf(0x0a); next >= 0; next = chunk.indexOf(0x0a, at)) {
        keep(chunk.subarray(at, next));
        at = next + 1;
        const found = end();
        if (found !== undefined) yield found;
      }
      // Copied: the stream may use the piece's memory again.
      if (at < chunk.length) keep(Buffer.from(chunk.subarray(at)));
    }
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    if (!code.startsWith("Z_")) throw cause;
    throw new TrainingDataError(
      { problem: `${path} cannot be unpacked (${(cause as Error).message})`, fix: "Get the file anew." },
      { cause },
    );
  } finally {
    source.destroy();
  }
  if (bytes > 0) {
    const last = end();
    if (last !== undefined) yield last;
  }
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    const first = buffer.subarray(0, bytesRead);
    const kind = first.equals(Buffer.from("PAR1"))
      ? "a parquet file"
      : (first[0] === 0xff && first[1] === 0xfe) || (first[0] === 0xfe && first[1] === 0xff)
        ? "text in UTF-16"
        : first[0] === 0x50 && first[1] === 0x4b
          ? "a zip archive"
          : undefined;
    if (kind !== undefined) {
      throw new TrainingDataError({
        problem: `${path} is ${kind}`,
        fix: "Write it as JSONL in UTF-8, one object a line.",
      });
    }
    return first[0] === 0x1f && first[1] === 0x8b;
  } finally {
    await file.close();
  }
}

function refuseArray(path: string, text: string): void {
  if (!text.trimStart().startsWith("[")) return;
  throw new TrainingDataError({
    problem: `${path} begins with a JSON array`,
    fix: "Write one object a line, e.g. with: jq -c '.[]'",
  });
}
