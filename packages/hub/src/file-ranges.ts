import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeWholeFile } from "@crossrank/disk";
import type { RepositoryCache } from "./cache.js";
import type { Connection } from "./connection.js";
import { fetchRange } from "./download.js";
import type { ByteRange } from "./folder.js";
import { digestOf, type ListedFile } from "./listed-file.js";

/** Bytes. A smaller file is taken whole: it is there as fast, and can be verified. */
const leastFile = 8 << 20;
/** Bytes that are asked for and kept together. Heads of published files take one to some tens. */
const blockBytes = 256 << 10;
/** Share of a file that is read in parts before all of it is worth while, and bytes, which are held in memory. */
const largestShare = 1 / 4;
const mostBytes = 64 << 20;
/** Requests for parts of one file before all of it is worth while. */
const mostRequests = 24;

/**
 * Parts of a large file of the hub that is not in the cache: its head, to tell what it is. They are kept beside the
 * cache, so that nothing is asked for twice, and offline gives what was seen online.
 *
 * A part cannot be verified. So what is computed with is never read in parts: of a safetensors file only its header and
 * its last bytes are, and not its numbers.
 */
export class FileRanges {
  readonly #file: ListedFile;
  readonly #folder: string;
  readonly #blocks = new Map<number, Uint8Array>();
  #requests = 0;
  #fetched = 0;
  #isRangeless = false;

  constructor(cache: RepositoryCache, file: ListedFile) {
    this.#file = file;
    this.#folder = join(cache.cacheFolder, "..", "crossrank", "ranges", digestOf(file).hex);
  }

  /**
   * @param connection undefined when offline.
   * @returns undefined where the whole file is to be taken.
   * @throws as {@link fetchRange}.
   */
  async read(
    { start, end: wanted }: ByteRange,
    connection: Connection | undefined,
    commit: string,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | undefined> {
    const { size } = this.#file;
    const end = Math.min(wanted, size);
    if (size < leastFile || start < 0 || start >= end || end - start > this.#most) return undefined;
    const source = { connection, commit, signal };
    if (!(await this.#isHead({ start, end }, source))) return undefined;
    return this.#take({ start, end }, source);
  }

  get #most(): number {
    return Math.min(this.#file.size * largestShare, mostBytes);
  }

  /** Whether a range is none of a safetensors file's numbers. */
  async #isHead({ start, end }: ByteRange, source: Source): Promise<boolean> {
    const { size } = this.#file;
    const begin = await this.#take({ start: 0, end: 9 }, source);
    if (begin === undefined) return false;
    const header = Number(new DataView(begin.buffer, begin.byteOffset).getBigUint64(0, true));
    const isSafetensors = header <= size && begin[8] === "{".charCodeAt(0);
    const isEnd = start >= size - 2;
    return !isSafetensors || end <= 8 + header || isEnd;
  }

  async #take({ start, end }: ByteRange, source: Source): Promise<Uint8Array | undefined> {
    const [first, last] = [Math.floor(start / blockBytes), Math.floor((end - 1) / blockBytes)];
    for (let index = first; index <= last; index += 1) {
      if (this.#blocks.has(index)) continue;
      const kept = await this.#kept(index);
      if (kept !== undefined) {
        this.#blocks.set(index, kept);
        continue;
      }
      let until = index;
      while (until < last && !this.#blocks.has(until + 1)) until += 1;
      if (!(await this.#fetch(index, until, source))) return undefined;
    }
    const bytes = new Uint8Array(end - start);
    for (let index = first; index <= last; index += 1) {
      const block = this.#blocks.get(index) as Uint8Array;
      const at = index * blockBytes;
      const piece = block.subarray(Math.max(start - at, 0), Math.max(end - at, 0));
      bytes.set(piece, Math.max(at - start, 0));
    }
    return bytes;
  }

  /** @returns false where the whole file is to be taken. */
  async #fetch(first: number, last: number, { connection, commit, signal }: Source): Promise<boolean> {
    const { size } = this.#file;
    const [start, end] = [first * blockBytes, Math.min((last + 1) * blockBytes, size)];
    if (connection === undefined || this.#requests >= mostRequests) return false;
    if (this.#fetched + end - start > this.#most) return false;
    // One that sends the whole file each time is asked once.
    if (this.#isRangeless && start > 0) return false;
    this.#requests += 1;
    const { bytes, isPart } = await fetchRange(
      { connection, commit, file: this.#file, signal },
      { start, end },
    );
    this.#isRangeless = !isPart;
    this.#fetched += bytes.length;
    for (let index = first; index <= last; index += 1) {
      const at = index * blockBytes - start;
      const block = bytes.slice(at, at + blockBytes);
      this.#blocks.set(index, block);
      await this.#keep(index, block);
    }
    return true;
  }

  async #kept(index: number): Promise<Uint8Array | undefined> {
    const expected = Math.min(blockBytes, this.#file.size - index * blockBytes);
    const bytes = await readFile(this.#pathOf(index)).catch(() => undefined);
    return bytes?.length === expected ? new Uint8Array(bytes) : undefined;
  }

  /** For what only saves a request next time, a folder that cannot be written is no fault. */
  async #keep(index: number, block: Uint8Array): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true });
      await writeWholeFile(this.#pathOf(index), block);
    } catch {
      // It is asked for again.
    }
  }

  #pathOf(index: number): string {
    return join(this.#folder, `${index}-of-${blockBytes}`);
  }
}

interface Source {
  readonly connection: Connection | undefined;
  readonly commit: string;
  readonly signal: AbortSignal | undefined;
}
