import { createHash, type Hash } from "node:crypto";
import { ScoreJobError } from "./errors.js";
import { indexName, type ScoreManifest } from "./manifest.js";
import type { InputFile, OutputFolder } from "./storage.js";

// Where each shard of a JSONL file lies, 32 bytes a shard: its first byte and the number of its first line, as unsigned
// 64-bit little-endian, and the first half of the sha256 of its bytes. Behind the last one stands where it ends.
const recordBytes = 32;
const digestBytes = 16;

const newline = 0x0a;
const byteOrderMark = [0xef, 0xbb, 0xbf];

/** Where the bytes of a shard lie. */
export interface ShardRange {
  readonly start: number;
  readonly end: number;
  /** Number of the line at `start`, from 1. */
  readonly line: number;
  readonly digest: string;
}

/** What a scan found out. */
export interface IndexFacts {
  rows: number;
  sha256: string;
  /** sha256 of the index. */
  index: string;
}

/**
 * Reads a JSONL file once, in little memory whatever the length of its lines, and gives the index in pieces. A line of
 * white space alone is no row.
 *
 * @param facts are filled in when all was read.
 */
export async function* indexOf(
  input: InputFile,
  shardPairs: number,
  facts: IndexFacts,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onRead?: ((bytes: number) => void) | undefined;
  },
): AsyncGenerator<Uint8Array> {
  const whole = createHash("sha256");
  const indexHash = createHash("sha256");
  let shardHash = createHash("sha256");
  let shard = { start: 0, line: 1, rows: 0 };
  let rows = 0;
  let line = 1;
  let hasContent = false;
  let position = 0;
  const record = (start: number, lineNumber: number, digest?: Hash): Uint8Array => {
    const bytes = Buffer.alloc(recordBytes);
    bytes.writeBigUInt64LE(BigInt(start), 0);
    bytes.writeBigUInt64LE(BigInt(lineNumber), 8);
    digest?.digest().copy(bytes, 16, 0, digestBytes);
    indexHash.update(bytes);
    return bytes;
  };
  for await (const piece of input.read(0, input.size, options.signal)) {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    whole.update(bytes);
    let hashed = 0;
    let at = 0;
    while (at < bytes.length) {
      const found = bytes.indexOf(newline, at);
      const end = found < 0 ? bytes.length : found;
      hasContent ||= isAnyContent(bytes, at, end, position);
      at = end + 1;
      if (found < 0) break;
      line += 1;
      if (!hasContent) continue;
      hasContent = false;
      rows += 1;
      shard.rows += 1;
      if (shard.rows < shardPairs) continue;
      shardHash.update(bytes.subarray(hashed, at));
      hashed = at;
      yield record(shard.start, shard.line, shardHash);
      shardHash = createHash("sha256");
      shard = { start: position + at, line, rows: 0 };
    }
    shardHash.update(bytes.subarray(hashed));
    position += bytes.length;
    options.onRead?.(position);
  }
  // The last line may have no end.
  if (hasContent) {
    rows += 1;
    shard.rows += 1;
  }
  let end = shard.start;
  if (shard.rows > 0) {
    yield record(shard.start, shard.line, shardHash);
    end = position;
  }
  yield record(end, line);
  if (position !== input.size) {
    throw new ScoreJobError("input", input.place, "changed while it was read. Run it again");
  }
  facts.rows = rows;
  facts.sha256 = whole.digest("hex");
  facts.index = indexHash.digest("hex");
}

function isAnyContent(bytes: Uint8Array, from: number, to: number, position: number): boolean {
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at] as number;
    const isBlank = byte === 0x20 || byte === 0x09 || byte === 0x0d || byte === byteOrderMark[position + at];
    if (!isBlank) return true;
  }
  return false;
}

/** The ranges of a job's shards, of which few are in memory as objects. */
export interface ShardIndex {
  /** @throws {RangeError} where there is no such shard. */
  range(shard: number): ShardRange;
}

/** @throws {ScoreJobError} where the index is not the one that the manifest is of. */
export async function readIndex(output: OutputFolder, manifest: ScoreManifest): Promise<ShardIndex> {
  const size = (manifest.shards + 1) * recordBytes;
  const path = `${output.place}/${indexName}`;
  const read = await output.read(indexName, size);
  const bytes = read === undefined ? undefined : Buffer.from(read.buffer, read.byteOffset, read.byteLength);
  if (bytes?.length !== size || createHash("sha256").update(bytes).digest("hex") !== manifest.index) {
    throw new ScoreJobError(
      "output",
      path,
      `is ${bytes === undefined ? "missing" : "damaged"}. Remove ${output.place}, and run it again`,
    );
  }
  return {
    range(shard) {
      const at = shard * recordBytes;
      return {
        start: Number(bytes.readBigUInt64LE(at)),
        end: Number(bytes.readBigUInt64LE(at + recordBytes)),
        line: Number(bytes.readBigUInt64LE(at + 8)),
        digest: bytes.toString("hex", at + 16, at + 16 + digestBytes),
      };
    },
  };
}

/** As the index has it, of a shard's bytes. */
export function shardDigest(digest: Hash): string {
  return digest.digest().toString("hex", 0, digestBytes);
}
