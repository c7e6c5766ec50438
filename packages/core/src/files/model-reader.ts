import { en } from "zod/locales";
import type * as z from "zod/mini";
import { $ZodError } from "zod/v4/core";
import { CrossrankError, ModelFileNotFoundError, ModelProfileError } from "../contract/errors.js";
import type { ModelFile, ModelFiles } from "../contract/model-files.js";

/** zod/mini has no messages of its own. */
export const english: { readonly error: ReturnType<typeof en>["localeError"] } = { error: en().localeError };

export function explain(error: $ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".") || "top level"}: ${issue.message}`).join("; ");
}

/** Bytes of a file of text. The largest tokenizer.json that is published has 33 MB; the others stay far below one. */
const largestText = 256 * 2 ** 20;
const largestSmallText = 16 * 2 ** 20;
/** How a Git LFS pointer begins, the text that stands for a file that was not fetched. */
export const lfsPointer = "version https://git-lfs";
/** What is wrong with one, and what to do. */
export const pointerProblem = [
  "is a Git LFS pointer, not the file itself",
  "Run git lfs pull in the model's folder",
] as const;
/** Objects and lists in each other. */
const deepestJson = 100;

/** Reads and checks JSON files of one model, with errors that name the file. */
export class ModelReader {
  readonly present: ReadonlySet<string>;
  /** The model's id, for messages. */
  readonly model: string;
  readonly #files: ModelFiles;
  readonly #sizes: ReadonlyMap<string, number>;
  readonly #signal: AbortSignal | undefined;

  constructor(files: ModelFiles, listed: readonly ModelFile[], signal: AbortSignal | undefined) {
    this.model = files.id;
    this.#files = files;
    this.#sizes = new Map(listed.map(({ path, size }) => [path, size]));
    this.present = new Set(this.#sizes.keys());
    this.#signal = signal;
  }

  /** @throws {ModelFileNotFoundError} with `fix`, a sentence without its period. */
  async required<T>(path: string, schema: z.ZodMiniType<T>, fix: string): Promise<T> {
    const value = await this.optional(path, schema);
    if (value !== undefined) return value;
    const all = [...this.present];
    // A repository of several models has each in a folder.
    const inFolders = path.includes("/") ? [] : all.filter((name) => name.endsWith(`/${path}`)).sort();
    const folders = inFolders.slice(0, 3).map((name) => `${this.model}/${name.slice(0, -path.length - 1)}`);
    throw new ModelFileNotFoundError({
      model: this.model,
      expected: [path],
      found: [...inFolders, ...all.filter((name) => !name.includes("/"))].slice(0, 12),
      fix:
        folders.length === 0
          ? `${fix}.`
          : `Name the folder of the model that you mean: ${folders.join(" or ")}.`,
    });
  }

  async optional<T>(path: string, schema: z.ZodMiniType<T>): Promise<T | undefined> {
    const text = await this.text(path);
    if (text === undefined) return undefined;
    return this.check(path, () => {
      const json: unknown = JSON.parse(text);
      // Text that opens few is not deep, and is most: walking a vocabulary takes longer than reading it.
      if (openings(text) > deepestJson) checkDepth(json);
      return schema.parse(json, english);
    });
  }

  async text(path: string): Promise<string | undefined> {
    const size = this.#sizes.get(path);
    if (size === undefined) return undefined;
    const most = path === "tokenizer.json" ? largestText : largestSmallText;
    const tooLarge = (bytes: number): ModelProfileError =>
      this.problem(
        path,
        `has ${bytes} bytes, more than the ${most} that are read of such a file`,
        "Download it again",
      );
    if (size > most) throw tooLarge(size);
    const text = await this.#files.readText(path, { signal: this.#signal });
    // A listing may be wrong about it.
    if (text.length > most) throw tooLarge(text.length);
    if (text.startsWith(lfsPointer)) throw this.problem(path, ...pointerProblem);
    return text;
  }

  /** Runs what may fail on a file's content; what it throws becomes an error that names the file. */
  check<T>(path: string, read: () => T): T {
    try {
      return read();
    } catch (cause) {
      if (CrossrankError.isInstance(cause)) throw cause;
      const detail = cause instanceof $ZodError ? explain(cause) : (cause as Error).message;
      throw new ModelProfileError(
        {
          model: this.#files.id,
          file: path,
          problem: `cannot be read (${detail})`,
          fix: "Download it again, or mend it",
        },
        { cause },
      );
    }
  }

  problem(file: string, problem: string, fix: string): ModelProfileError {
    return new ModelProfileError({ model: this.#files.id, file, problem, fix });
  }
}

/** Braces and brackets that open, in strings too: never fewer than are nested. Counting ends beyond the bound. */
function openings(text: string): number {
  let count = 0;
  for (const opening of "{[") {
    for (
      let at = text.indexOf(opening);
      at !== -1 && count <= deepestJson;
      at = text.indexOf(opening, at + 1)
    )
      count += 1;
  }
  return count;
}

/** @throws {Error} for what would overflow the stack of whoever walks through it. */
function checkDepth(json: unknown): void {
  let level: unknown[] = [json];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > deepestJson) throw new Error(`objects and lists are nested more than ${deepestJson} deep`);
    const below: unknown[] = [];
    for (const value of level) {
      if (typeof value !== "object" || value === null) continue;
      for (const child of Array.isArray(value) ? value : Object.values(value)) {
        if (typeof child === "object" && child !== null) below.push(child);
      }
    }
    level = below;
  }
}
