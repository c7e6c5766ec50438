import type { Digest } from "./digest.js";

/** One file of a commit, as the hub lists it. */
export interface ListedFile {
  readonly path: string;
  /** Bytes of the content. */
  readonly size: number;
  /** Git's id of the blob; of the pointer for an LFS file. */
  readonly oid: string;
  /** Lower-case hex, for LFS files. */
  readonly sha256: string | undefined;
  /** The file's name in Xet storage. Not used here, kept for Python. */
  readonly xetHash: string | undefined;
}

export type Listing = ReadonlyMap<string, ListedFile>;

export function digestOf(file: ListedFile): Digest {
  return file.sha256 === undefined
    ? { algorithm: "git-sha1", hex: file.oid }
    : { algorithm: "sha256", hex: file.sha256 };
}
