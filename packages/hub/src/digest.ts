import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { DigestAlgorithm } from "./errors.js";

/** The hash by which the hub knows a file: sha256 for LFS files, git's blob id for the others. */
export interface Digest {
  readonly algorithm: DigestAlgorithm;
  /** Lower-case hex; also the blob's name in the cache. */
  readonly hex: string;
}

/** `size` in bytes is part of what git hashes. */
export function startDigest(algorithm: DigestAlgorithm, size: number): Hash {
  return algorithm === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

/** Feeds the first `end` bytes of a file (all without it) into `hash`. */
export async function hashFile(
  hash: { update(chunk: Buffer): unknown },
  path: string,
  options: { readonly end?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  if (options.end === 0) return;
  const stream = createReadStream(path, {
    highWaterMark: 1 << 20,
    ...(options.end === undefined ? {} : { end: options.end - 1 }),
  });
  for await (const chunk of stream) {
    options.signal?.throwIfAborted();
    hash.update(chunk as Buffer);
  }
}

/** Lower-case hex sha256 of a file's content. */
export async function sha256OfFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  await hashFile(hash, path, { signal });
  return hash.digest("hex");
}
