import { type FileRequestOptions, type ModelFile, type ModelFiles, untilAborted } from "@crossrank/core";
import { hashFile } from "@crossrank/disk";
import { isFile, type RepositoryCache, sizeOf } from "./cache.js";
import type { Connection } from "./connection.js";
import { feedFile, startDigest } from "./digest.js";
import { downloadBlob } from "./download.js";
import { CacheError, HashMismatchError, OfflineMissingError } from "./errors.js";
import { FileRanges } from "./file-ranges.js";
import { type ByteRange, fileNotFound, listFolder, readRange, readWholeText } from "./folder.js";
import { KeyedQueue } from "./keyed-queue.js";
import { digestOf, type ListedFile, type Listing } from "./listed-file.js";
import { fetchListing, readCachedListing, writeCachedListing } from "./listing.js";
import { checkPin, type LockFile } from "./lock-file.js";
import { checkRelativePath } from "./safe-path.js";

export interface HubFilesFacts {
  readonly cache: RepositoryCache;
  /** Undefined when offline. */
  readonly connection: Connection | undefined;
  /** Branch, tag or commit as asked for. */
  readonly requested: string;
  /** The commit it stands for. */
  readonly commit: string;
  /** Whether the hub said so just now: only then is the cache's note of it brought up to date. */
  readonly resolved: boolean;
  readonly lock: LockFile | undefined;
  /** The sha256 that the lock file pins for this model, by path. */
  readonly pins: ReadonlyMap<string, string>;
}

/** One download of a blob at a time in this process, whichever model object asks for it. */
const downloads = new KeyedQueue();

/** A commit on the hub, seen through the cache. Nothing is requested before it is asked for, and nothing twice. */
export class HubFiles implements ModelFiles {
  readonly id: string;
  readonly revision: string;
  readonly #facts: HubFilesFacts;
  #listing: Listing | undefined;
  /** Files that need no further check of their content in this object's life. */
  readonly #ready = new Set<string>();
  /** Files of which parts were read. */
  readonly #ranges = new Map<string, FileRanges>();

  constructor(facts: HubFilesFacts) {
    this.id = facts.cache.model;
    this.revision = facts.commit;
    this.#facts = facts;
  }

  /**
   * The commit's files. Offline the same, where the listing was cached by an earlier run; otherwise those that are
   * in the cache.
   */
  async list(options: FileRequestOptions = {}): Promise<readonly ModelFile[]> {
    const { cache, commit, connection } = this.#facts;
    const listing = await this.#list(options.signal);
    if (listing !== undefined) {
      return [...listing.values()].map(({ path, size, sha256 }) => ({ path, size, sha256 }));
    }
    try {
      return await listFolder(cache.snapshotFolder(commit), options.signal);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (connection !== undefined) throw error;
      throw await this.#missing(`snapshots/${commit}`);
    }
  }

  async readText(path: string, options: FileRequestOptions = {}): Promise<string> {
    return readWholeText(this.id, path, await this.localPath(path, options));
  }

  async readBytes(path: string, range: ByteRange, options: FileRequestOptions = {}): Promise<Uint8Array> {
    const part = await this.#readPart(path, range, options.signal);
    return part ?? readRange(await this.localPath(path, options), range);
  }

  /**
   * Part of a file that is not here, where that does. A lock file holds files by their hashes, which only a whole one
   * has.
   */
  async #readPart(
    path: string,
    range: ByteRange,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | undefined> {
    const { cache, commit, connection, lock } = this.#facts;
    signal?.throwIfAborted();
    checkRelativePath(this.id, path);
    if (lock !== undefined || (await isFile(cache.snapshotPath(commit, path)))) return undefined;
    const file = (await this.#list(signal))?.get(path);
    if (file === undefined || (await isFile(cache.blobPath(digestOf(file).hex)))) return undefined;
    const ranges = this.#ranges.get(path) ?? new FileRanges(cache, file);
    this.#ranges.set(path, ranges);
    const key = `${cache.blobPath(digestOf(file).hex)} in parts`;
    const part = await downloads.run(key, signal, () => ranges.read(range, connection, commit, signal));
    if (part !== undefined && this.#facts.resolved)
      await ignoringCacheErrors(cache.writeRef(this.#facts.requested, commit));
    return part;
  }

  async localPath(path: string, options: FileRequestOptions = {}): Promise<string> {
    const { signal } = options;
    const { cache, commit } = this.#facts;
    signal?.throwIfAborted();
    checkRelativePath(this.id, path);
    const local = cache.snapshotPath(commit, path);
    await this.#removeIfCut(path, local);
    // A complete file has its place in the snapshot, whoever put it there.
    if (!(await isFile(local))) {
      this.#ready.delete(path);
      await this.#fetch(path, options);
    }
    if (this.#ready.has(path)) return local;
    await this.#pin(path, local, signal);
    if (this.#facts.resolved) await ignoringCacheErrors(cache.writeRef(this.#facts.requested, commit));
    this.#ready.add(path);
    return local;
  }

  /** The commit's listing: from memory, the cache, or the hub; undefined when offline without one. */
  async #list(signal: AbortSignal | undefined): Promise<Listing | undefined> {
    signal?.throwIfAborted();
    if (this.#listing !== undefined) return this.#listing;
    const { cache, commit, connection } = this.#facts;
    let listing = await readCachedListing(cache, commit);
    if (listing === undefined && connection !== undefined) {
      listing = await fetchListing(connection, commit, signal);
      await ignoringCacheErrors(writeCachedListing(cache, commit, listing));
    }
    this.#listing = listing;
    return listing;
  }

  async #fetch(path: string, options: FileRequestOptions): Promise<void> {
    const { cache, commit, connection, requested, lock, pins } = this.#facts;
    const listing = await this.#list(options.signal);
    const file = listing?.get(path);
    if ((listing !== undefined && file === undefined) || (await cache.isKnownAbsent(commit, path))) {
      const there = [...(listing?.keys() ?? [])];
      throw fileNotFound(this.id, path, there, `Check the path, or pass a revision other than ${requested}.`);
    }
    if (connection === undefined) throw await this.#missing(path);
    if (file === undefined) throw new TypeError("online without a listing");
    const pinned = pins.get(path);
    // Before a large download rather than after it.
    if (lock !== undefined && pinned !== undefined && file.sha256 !== undefined) {
      checkPin(this.id, lock.path, path, pinned, file.sha256);
    }
    await this.#download(connection, file, options);
  }

  async #download(connection: Connection, file: ListedFile, options: FileRequestOptions): Promise<void> {
    const { cache, commit } = this.#facts;
    const { signal, onProgress } = options;
    const blobName = digestOf(file).hex;
    const blob = cache.blobPath(blobName);
    const local = cache.snapshotPath(commit, file.path);
    const hasBlob = async (): Promise<boolean> => (await sizeOf(blob)) === file.size;
    const isThere = async (): Promise<boolean> => (await hasBlob()) || (await isFile(local));
    await downloads.run(blob, signal, async () => {
      const fresh = !(await isThere());
      if (fresh) await downloadBlob({ connection, cache, commit, file, isThere, signal, onProgress });
      if (!(await isFile(local))) await cache.link(blobName, commit, file.path, fresh);
    });
  }

  /** A file of another size than a listing in the cache says was cut, e.g. by a full disk under a copy. */
  async #removeIfCut(path: string, local: string): Promise<void> {
    const { cache, commit, connection } = this.#facts;
    const size = await sizeOf(local);
    if (size === undefined) return;
    this.#listing ??= await readCachedListing(cache, commit);
    const expected = this.#listing?.get(path)?.size;
    if (expected === undefined || expected === size) return;
    if (connection === undefined) throw await this.#missing(path);
    await cache.remove(commit, path);
  }

  /** Holds a file against the lock file, or enters it there. */
  async #pin(path: string, local: string, signal: AbortSignal | undefined): Promise<void> {
    const { cache, commit, requested, lock, pins } = this.#facts;
    if (lock === undefined) return;
    const sha256 = await untilAborted(hashFile(local, { signal }), signal);
    const pinned = pins.get(path);
    if (pinned === sha256) return;
    await this.#checkIntact(path, local, sha256, signal);
    if (pinned !== undefined) checkPin(this.id, lock.path, path, pinned, sha256);
    await lock.add(cache.model, { requested, revision: commit, path, sha256 }, cache.kind);
  }

  /** Tells a damaged cache from a lock file that pins something else. */
  async #checkIntact(
    path: string,
    local: string,
    sha256: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { cache, commit } = this.#facts;
    const file = (await this.#list(signal))?.get(path);
    if (file === undefined) return;
    const { algorithm, hex: expected } = digestOf(file);
    let found = sha256;
    if (algorithm === "git-sha1") {
      const hash = startDigest(algorithm, (await sizeOf(local)) ?? 0);
      await feedFile(hash, local, { signal });
      found = hash.digest("hex");
    }
    if (found === expected) return;
    await cache.remove(commit, path);
    throw new HashMismatchError({ model: this.id, path, algorithm, expected, found });
  }

  /** Names also what else the lock file lists and the cache lacks, so that one look tells all there is to copy. */
  async #missing(what: string): Promise<OfflineMissingError> {
    const { cache, commit, requested, pins } = this.#facts;
    const missing = new Set(pins.size > 0 && what.startsWith("snapshots/") ? [] : [what]);
    for (const path of pins.keys()) {
      checkRelativePath(this.id, path);
      if (!(await isFile(cache.snapshotPath(commit, path)))) missing.add(path);
    }
    const { cacheFolder } = cache;
    return new OfflineMissingError({
      model: this.id,
      revision: requested,
      cacheFolder,
      missing: [...missing],
    });
  }
}

/** For what only saves a request next time: a read-only cache is a cache too. */
async function ignoringCacheErrors(task: Promise<void>): Promise<void> {
  try {
    await task;
  } catch (error) {
    if (!(error instanceof CacheError)) throw error;
  }
}
