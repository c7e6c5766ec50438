import { en } from "zod/locales";
import type * as z from "zod/mini";
import { $ZodError } from "zod/v4/core";
import { CrossrankError, ModelFileNotFoundError, ModelProfileError } from "../contract/errors.js";
import type { ModelFiles } from "../contract/model-files.js";

/** zod/mini has no messages of its own. */
export const english: { readonly error: ReturnType<typeof en>["localeError"] } = { error: en().localeError };

export function explain(error: $ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".") || "top level"}: ${issue.message}`).join("; ");
}

/** Reads and checks JSON files of one model, with errors that name the file. */
export class ModelReader {
  readonly present: ReadonlySet<string>;
  /** The model's id, for messages. */
  readonly model: string;
  readonly #files: ModelFiles;
  readonly #signal: AbortSignal | undefined;

  constructor(files: ModelFiles, present: ReadonlySet<string>, signal: AbortSignal | undefined) {
    this.model = files.id;
    this.#files = files;
    this.present = present;
    this.#signal = signal;
  }

  /** @throws {ModelFileNotFoundError} with `fix`, a sentence without its period. */
  async required<T>(path: string, schema: z.ZodMiniType<T>, fix: string): Promise<T> {
    const value = await this.optional(path, schema);
    if (value !== undefined) return value;
    throw new ModelFileNotFoundError({
      model: this.#files.id,
      expected: [path],
      found: [...this.present].filter((name) => !name.includes("/")).slice(0, 12),
      fix: `${fix}.`,
    });
  }

  async optional<T>(path: string, schema: z.ZodMiniType<T>): Promise<T | undefined> {
    const text = await this.text(path);
    if (text === undefined) return undefined;
    return this.check(path, () => schema.parse(JSON.parse(text), english));
  }

  async text(path: string): Promise<string | undefined> {
    if (!this.present.has(path)) return undefined;
    return this.#files.readText(path, { signal: this.#signal });
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
