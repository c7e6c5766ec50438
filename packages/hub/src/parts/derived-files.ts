import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import type { FileRequestOptions, ModelFile, ModelFiles } from "@crossrank/core";
import { writeWholeFile } from "@crossrank/disk";
import { isFile } from "../cache.js";

/** A file that stands for one the model lacks: another file's content, or a text that was made of other files. */
export type Replacement = { readonly text: string } | { readonly files: ModelFiles; readonly path: string };

interface MadeText {
  readonly text: string;
  readonly size: number;
  readonly sha256: string;
}

/**
 * A model's files, and beside them those that were found elsewhere or made. What the model itself has at a path is never
 * replaced.
 */
export class DerivedFiles implements ModelFiles {
  readonly id: string;
  readonly revision: string | undefined;
  readonly base: string | undefined;
  readonly #files: ModelFiles;
  readonly #made = new Map<string, MadeText>();
  readonly #found = new Map<string, Extract<Replacement, { path: string }>>();
  readonly #folder: string;

  /**
   * @param folder where a made text is written when somebody asks for its local path.
   * @param base the model of which somebody says that these files are another form.
   */
  constructor(
    files: ModelFiles,
    replacements: ReadonlyMap<string, Replacement>,
    folder: string,
    base: string | undefined = files.base,
  ) {
    this.id = files.id;
    this.revision = files.revision;
    this.base = base;
    this.#files = files;
    this.#folder = folder;
    for (const [path, replacement] of replacements) {
      if ("files" in replacement) this.#found.set(path, replacement);
      else {
        const { text } = replacement;
        const sha256 = createHash("sha256").update(text).digest("hex");
        this.#made.set(path, { text, size: Buffer.byteLength(text), sha256 });
      }
    }
  }

  async list(options?: FileRequestOptions): Promise<readonly ModelFile[]> {
    const own = await this.#files.list(options);
    const taken = new Set(own.map(({ path }) => path));
    const more: ModelFile[] = [];
    for (const [path, { size, sha256 }] of this.#made)
      if (!taken.has(path)) more.push({ path, size, sha256 });
    for (const [path, { files, path: source }] of this.#found) {
      const file = (await files.list(options)).find((entry) => entry.path === source);
      if (file !== undefined && !taken.has(path)) more.push({ ...file, path });
    }
    return [...own, ...more];
  }

  async readText(path: string, options?: FileRequestOptions): Promise<string> {
    const made = this.#made.get(path);
    if (made !== undefined) return made.text;
    const { files, path: source } = this.#placeOf(path);
    return files.readText(source, options);
  }

  async readBytes(
    path: string,
    range: { readonly start: number; readonly end: number },
    options?: FileRequestOptions,
  ): Promise<Uint8Array> {
    const made = this.#made.get(path);
    if (made !== undefined) return Buffer.from(made.text).subarray(range.start, range.end);
    const { files, path: source } = this.#placeOf(path);
    return files.readBytes(source, range, options);
  }

  async localPath(path: string, options?: FileRequestOptions): Promise<string> {
    const made = this.#made.get(path);
    if (made === undefined) {
      const { files, path: source } = this.#placeOf(path);
      return files.localPath(source, options);
    }
    const folder = join(this.#folder, made.sha256);
    const local = join(folder, basename(path));
    if (!(await isFile(local))) {
      await mkdir(folder, { recursive: true });
      await writeWholeFile(local, made.text);
    }
    return local;
  }

  #placeOf(path: string): { readonly files: ModelFiles; readonly path: string } {
    return this.#found.get(path) ?? { files: this.#files, path };
  }
}
