import { createHash, type Hash } from "node:crypto";
import { readThrough } from "@crossrank/disk";
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
export async function feedFile(
  hash: { update(chunk: Buffer): unknown },
  path: string,
  options: { readonly end?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  await readThrough(path, (piece) => hash.update(piece), options);
}
