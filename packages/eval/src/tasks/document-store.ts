import { rmSync } from "node:fs";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TaskDataError } from "./errors.js";

export interface StoredDocument {
  readonly id: string;
  readonly text: string;
}

/**
 * A corpus on disk. Memory holds the ids (one string and one map entry each) and 12 bytes of place a document, and no
 * text: about 100 MB for a million documents with short ids.
 *
 * A document's text is MTEB's: `(title + " " + text).strip()`.
 */
export interface DocumentStore extends AsyncIterable<StoredDocument> {
  readonly size: number;
  has(id: string): boolean;
  /** All ids in file order. */
  ids(): IterableIterator<string>;
  /**
   * Texts in the order asked for.
   * @throws {TaskDataError} for an id that is not there, or when the file changed since the task was opened.
   */
  texts(ids: readonly string[]): Promise<string[]>;
  /** As {@link texts}, of one document. */
  text(id: string): Promise<string>;
  /** Every document in file order, read in blocks of about a megabyte. */
  [Symbol.asyncIterator](): AsyncIterator<StoredDocument>;
}

/** A growing list of numbers without an object each. */
class NumberList {
  #values: Float64Array | Uint32Array;
  length = 0;

  constructor(values: Float64Array | Uint32Array) {
    this.#values = values;
  }

  push(value: number): void {
    if (this.length === this.#values.length) {
      const Kind = this.#values.constructor as new (length: number) => Float64Array | Uint32Array;
      const larger = new Kind(this.length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.length] = value;
    this.length += 1;
  }

  at(index: number): number {
    return this.#values[index] ?? 0;
  }
}

const blockBytes = 1 << 20;

/** Documents at known places of one file, each place decoded to a text when it is asked for. */
export class FileDocumentStore implements DocumentStore {
  readonly #name: string;
  readonly #path: string;
  readonly #decode: (bytes: Buffer) => string;
  readonly #ids: string[] = [];
  readonly #rows = new Map<string, number>();
  readonly #starts = new NumberList(new Float64Array(1024));
  readonly #lengths = new NumberList(new Uint32Array(1024));
  /** Size and time of the last change when it was read. */
  #version: string | undefined;

  constructor(facts: { name: string; path: string; decode: (bytes: Buffer) => string }) {
    this.#name = facts.name;
    this.#path = facts.path;
    this.#decode = facts.decode;
  }

  /** The corpus file, as it should stand in messages. */
  get name(): string {
    return this.#name;
  }

  get size(): number {
    return this.#starts.length;
  }

  /** False, and nothing added, when the id is there already. */
  add(id: string, start: number, length: number): boolean {
    if (this.#rows.has(id)) return false;
    this.#rows.set(id, this.size);
    this.#ids.push(id);
    this.#starts.push(start);
    this.#lengths.push(length);
    return true;
  }

  /** To be called when all is added: from here on a changed file is an error. */
  async seal(): Promise<void> {
    const handle = await open(this.#path);
    try {
      this.#version = await versionOf(handle);
    } finally {
      await handle.close();
    }
  }

  has(id: string): boolean {
    return this.#rows.has(id);
  }

  ids(): IterableIterator<string> {
    return this.#ids.values();
  }

  /** The id's own string, so that lists of ids hold no copies; undefined when there is no such document. */
  intern(id: string): string | undefined {
    const row = this.#rows.get(id);
    return row === undefined ? undefined : this.#ids[row];
  }

  async text(id: string): Promise<string> {
    const [text] = await this.texts([id]);
    return text ?? "";
  }

  async texts(ids: readonly string[]): Promise<string[]> {
    const rows = ids.map((id) => {
      const row = this.#rows.get(id);
      if (row !== undefined) return row;
      throw new TaskDataError({
        fault: "unknown-document",
        file: this.#name,
        problem: `has no document ${JSON.stringify(id)}`,
        fix: "Check that run, candidates and corpus are of one data set.",
      });
    });
    const handle = await this.#open();
    try {
      const texts: string[] = [];
      for (const row of rows) {
        texts.push(this.#decode(await this.#read(handle, this.#starts.at(row), this.#lengths.at(row))));
      }
      return texts;
    } finally {
      await handle.close();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StoredDocument> {
    const handle = await this.#open();
    try {
      for (let first = 0; first < this.size; ) {
        const start = this.#starts.at(first);
        const endOf = (row: number): number => this.#starts.at(row) + this.#lengths.at(row);
        let next = first + 1;
        while (next < this.size && endOf(next) - start <= blockBytes) next += 1;
        const block = await this.#read(handle, start, endOf(next - 1) - start);
        for (let row = first; row < next; row += 1) {
          const from = this.#starts.at(row) - start;
          const text = this.#decode(block.subarray(from, from + this.#lengths.at(row)));
          yield { id: this.#ids[row] ?? "", text };
        }
        first = next;
      }
    } finally {
      await handle.close();
    }
  }

  async #open(): Promise<FileHandle> {
    const handle = await open(this.#path);
    if (this.#version === (await versionOf(handle))) return handle;
    await handle.close();
    throw this.#changed();
  }

  async #read(handle: FileHandle, start: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await handle.read(bytes, filled, length - filled, start + filled);
      if (bytesRead === 0) throw this.#changed();
      filled += bytesRead;
    }
    return bytes;
  }

  #changed(): TaskDataError {
    return new TaskDataError({
      fault: "malformed",
      file: this.#name,
      problem: "was changed while the task was open",
      fix: "Open the task again.",
    });
  }
}

async function versionOf(handle: FileHandle): Promise<string> {
  const { size, mtimeMs } = await handle.stat();
  return `${size} ${mtimeMs}`;
}

/** Spool folders of this process that nobody has removed yet. */
const spools = new Set<string>();

function registerSpool(folder: string): void {
  if (spools.size === 0) process.once("exit", removeSpools);
  spools.add(folder);
}

function removeSpools(): void {
  for (const folder of spools) rmSync(folder, { recursive: true, force: true });
}

/**
 * Texts that do not stand in a file as they are (compressed, parquet, tsv) on their way into a temporary file, UTF-8,
 * one after the other. A process that is killed leaves the file in the system's temporary folder.
 */
export class DocumentSpool {
  readonly store: FileDocumentStore;
  readonly #folder: string;
  readonly #handle: FileHandle;
  #buffered: Buffer[] = [];
  #bufferedBytes = 0;
  #end = 0;
  #closed = false;

  private constructor(facts: { name: string; folder: string; path: string; handle: FileHandle }) {
    const { name, path } = facts;
    this.#folder = facts.folder;
    this.#handle = facts.handle;
    this.store = new FileDocumentStore({ name, path, decode: (bytes) => bytes.toString("utf8") });
  }

  static async create(name: string): Promise<DocumentSpool> {
    const folder = await mkdtemp(join(tmpdir(), "crossrank-task-"));
    registerSpool(folder);
    const path = join(folder, "documents");
    return new DocumentSpool({ name, folder, path, handle: await open(path, "w") });
  }

  /** False, and nothing added, when the id is there already. */
  async add(id: string, text: string): Promise<boolean> {
    const bytes = Buffer.from(text, "utf8");
    if (!this.store.add(id, this.#end, bytes.length)) return false;
    this.#end += bytes.length;
    this.#buffered.push(bytes);
    this.#bufferedBytes += bytes.length;
    if (this.#bufferedBytes >= blockBytes) await this.#flush();
    return true;
  }

  async seal(): Promise<void> {
    await this.#flush();
    await this.#close();
    await this.store.seal();
  }

  async remove(): Promise<void> {
    await this.#close();
    await rm(this.#folder, { recursive: true, force: true });
    spools.delete(this.#folder);
    if (spools.size === 0) process.off("exit", removeSpools);
  }

  async #flush(): Promise<void> {
    if (this.#bufferedBytes > 0) await this.#handle.writeFile(Buffer.concat(this.#buffered));
    this.#buffered = [];
    this.#bufferedBytes = 0;
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}
