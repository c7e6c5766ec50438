import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { type ShardIndex, shardDigest } from "./index-file.js";
import { changed, type PairFile, type PairFileOptions } from "./pair-file.js";
import { failedRow, mostRowBytes, type PairRow, readPair } from "./pair-row.js";
import type { InputFile } from "./storage.js";

/** Pairs of a JSONL file whose shards an index has found. */
export function jsonlPairs(input: InputFile, index: ShardIndex, options: PairFileOptions): PairFile {
  return {
    async *rows(shard, signal) {
      const { start, end, line, digest } = index.range(shard);
      const hash = createHash("sha256");
      const place = { row: shard * options.shardPairs, line };
      let pending: Uint8Array[] = [];
      let length = 0;
      const take = (): PairRow | undefined => {
        const row = length > mostRowBytes ? tooLong(place) : rowOf(Buffer.concat(pending), place, options);
        pending = [];
        length = 0;
        place.line += 1;
        if (row !== undefined) place.row += 1;
        return row;
      };
      for await (const piece of input.read(start, end, signal)) {
        const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
        hash.update(bytes);
        for (let at = 0; at < bytes.length; ) {
          const found = bytes.indexOf(0x0a, at);
          const part = bytes.subarray(at, found < 0 ? bytes.length : found);
          length += part.length;
          // Of a line that is too long the beginning alone is held.
          if (length <= mostRowBytes) pending.push(part);
          else pending = [];
          if (found < 0) break;
          at = found + 1;
          const row = take();
          if (row !== undefined) yield row;
        }
      }
      if (length > 0) {
        const row = take();
        if (row !== undefined) yield row;
      }
      if (shardDigest(hash) !== digest) throw changed(input);
    },
  };
}

function tooLong(place: Pick<PairRow, "row" | "line">): PairRow {
  return failedRow(place, `has more than ${mostRowBytes} bytes`);
}

/** Undefined for white space alone. */
function rowOf(
  bytes: Buffer,
  place: Pick<PairRow, "row" | "line">,
  options: PairFileOptions,
): PairRow | undefined {
  const hasMark = place.line === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const content = hasMark ? bytes.subarray(3) : bytes;
  if (isBlank(content)) return undefined;
  if (!isUtf8(content)) return failedRow(place, "is not UTF-8");
  let value: unknown;
  try {
    value = JSON.parse(content.toString("utf8"));
  } catch {
    // What the engine says of it is another with another Node.
    return failedRow(place, "is not JSON");
  }
  return readPair(value, place, options);
}

/** As the index counts rows. */
function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
