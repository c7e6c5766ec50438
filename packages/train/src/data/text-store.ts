import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DocumentStore, StoredDocument } from "@crossrank/eval";
import { TrainingDataError } from "./errors.js";

const blockBytes = 2 ** 20;
/** Bytes of all texts, at most: a disk is not filled by a file that somebody has sent. */
const mostBytes = 64 * 2 ** 30;

/** Folders of this process that nobody has removed yet. */
const folders = new Set<string>();

function removeFolders(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

/**
 * Texts in a temporary file, each once. Memory holds a hash and a place of each, about 150 bytes, and no text. The
 * ids are the texts' numbers, in the order in which they came.
 */
export class TextStore implements DocumentStore, AsyncDisposable {
  readonly #folder: string;
  readonly #file: FileHandle;
  readonly #numbers = new Map<string, number>();
  readonly #starts: number[] = [];
  readonly #hashes: string[] = [];
  #buffered: Buffer[] = [];
  #bufferedBytes = 0;
  #end = 0;
  #closed = false;

  private constructor(folder: string, file: FileHandle) {
    this.#folder = folder;
    this.#file = file;
  }

  static async create(): Promise<TextStore> {
    const folder = await mkdtemp(join(tmpdir(), "crossrank-train-"));
    if (folders.size === 0) process.once("exit", removeFolders);
    folders.add(folder);
    return new TextStore(folder, await open(join(folder, "texts"), "w+"));
  }

  get size(): number {
    return this.#starts.length;
  }

  /** Its number; that of the same text, where there is one. */
  async add(text: string): Promise<number> {
    const hash = createHash("sha256").update(text).digest("base64").slice(0, 24);
    const known = this.#numbers.get(hash);
    if (known !== undefined) return known;
    const bytes = Buffer.from(text, "utf8");
    const number = this.#starts.length;
    if (this.#end + this.#bufferedBytes + bytes.length > mostBytes) {
      throw new TrainingDataError({
        problem: `The texts have more than ${mostBytes / 2 ** 30} GiB`,
        fix: "Train on a part of them.",
      });
    }
    this.#numbers.set(hash, number);
    this.#hashes.push(hash);
    this.#starts.push(this.#end + this.#bufferedBytes);
    this.#buffered.push(bytes);
    this.#bufferedBytes += bytes.length;
    if (this.#bufferedBytes >= blockBytes) await this.#flush();
    return number;
  }

  /** Of its text, 144 bits in base64. */
  hashOf(number: number): string {
    return this.#hashes[number] ?? "";
  }

  has(id: string): boolean {
    return /^\d+$/.test(id) && Number(id) < this.size;
  }

  *ids(): IterableIterator<string> {
    for (let number = 0; number < this.size; number += 1) yield String(number);
  }

  async text(id: string): Promise<string> {
    return this.read(Number(id));
  }

  async texts(ids: readonly string[]): Promise<string[]> {
    const texts: string[] = [];
    for (const id of ids) texts.push(await this.read(Number(id)));
    return texts;
  }

  /** @param number as `add` gave it. */
  async read(number: number): Promise<string> {
    await this.#flush();
    const start = this.#starts[number];
    if (start === undefined) throw new RangeError(`There is no text ${number}.`);
    return (await this.#bytes(start, this.#endOf(number))).toString("utf8");
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StoredDocument> {
    await this.#flush();
    for (let first = 0; first < this.size; ) {
      const start = this.#starts[first] ?? 0;
      let next = first + 1;
      while (next < this.size && this.#endOf(next) - start <= blockBytes) next += 1;
      const block = await this.#bytes(start, this.#endOf(next - 1));
      for (let number = first; number < next; number += 1) {
        const from = (this.#starts[number] ?? 0) - start;
        yield { id: String(number), text: block.toString("utf8", from, this.#endOf(number) - start) };
      }
      first = next;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close();
    await rm(this.#folder, { recursive: true, force: true });
    folders.delete(this.#folder);
    if (folders.size === 0) process.off("exit", removeFolders);
  }

  /** A part of the texts as a corpus: the others are queries. */
  only(numbers: ReadonlySet<number>): DocumentStore {
    const isIn = (id: string): boolean => this.has(id) && numbers.has(Number(id));
    const all = (): AsyncGenerator<StoredDocument> => this[Symbol.asyncIterator]();
    return {
      size: numbers.size,
      has: isIn,
      ids: () => [...this.ids()].filter(isIn).values(),
      texts: (ids) => this.texts(ids),
      text: (id) => this.text(id),
      async *[Symbol.asyncIterator]() {
        for await (const document of all()) if (isIn(document.id)) yield document;
      },
    };
  }

  #endOf(number: number): number {
    return this.#starts[number + 1] ?? this.#end;
  }

  async #flush(): Promise<void> {
    if (this.#bufferedBytes === 0) return;
    const bytes = Buffer.concat(this.#buffered);
    this.#buffered = [];
    this.#bufferedBytes = 0;
    const at = this.#end;
    this.#end += bytes.length;
    for (let done = 0; done < bytes.length; ) {
      done += (await this.#file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
    }
  }

  async #bytes(start: number, end: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(end - start);
    for (let filled = 0; filled < bytes.length; ) {
      const { bytesRead } = await this.#file.read(bytes, filled, bytes.length - filled, start + filled);
      if (bytesRead === 0) throw new RangeError("The file of texts was cut while it was read.");
      filled += bytesRead;
    }
    return bytes;
  }
}
