import { crc32 } from "node:zlib";
import type { CachedScore } from "@crossrank/core";

/** Bytes of a record: two doubles, two counts, the flags, and a checksum. */
const length = 29;

/** Greatest count that a record holds. */
const mostTokens = 2 ** 32 - 1;

/**
 * A score as it lies in the file, with a checksum over it and its key: SQLite does not notice a bit that the disk has
 * turned, and a wrong score is worse than none.
 *
 * @returns undefined for a score that a record cannot hold.
 */
export function toRecord(key: string, score: CachedScore): Buffer | undefined {
  const { tokens, truncatedTokens, flags } = score;
  if (tokens > mostTokens || truncatedTokens > mostTokens || flags > 255) return undefined;
  const record = Buffer.alloc(length);
  record.writeDoubleLE(score.logit, 0);
  record.writeDoubleLE(score.score, 8);
  record.writeUInt32LE(tokens, 16);
  record.writeUInt32LE(truncatedTokens, 20);
  record.writeUInt8(flags, 24);
  record.writeUInt32LE(checksum(key, record), 25);
  return record;
}

/** @returns undefined for a record that is damaged, or another key's. */
export function fromRecord(key: string, record: unknown): CachedScore | undefined {
  if (!(record instanceof Uint8Array) || record.byteLength !== length) return undefined;
  const bytes = Buffer.from(record.buffer, record.byteOffset, length);
  if (bytes.readUInt32LE(25) !== checksum(key, bytes)) return undefined;
  return {
    logit: bytes.readDoubleLE(0),
    score: bytes.readDoubleLE(8),
    tokens: bytes.readUInt32LE(16),
    truncatedTokens: bytes.readUInt32LE(20),
    flags: bytes.readUInt8(24),
  };
}

function checksum(key: string, record: Buffer): number {
  return crc32(record.subarray(0, length - 4), crc32(key));
}
