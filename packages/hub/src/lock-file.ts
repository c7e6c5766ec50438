import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { isCommit, writeFileAtomically } from "./cache.js";
import { LockFileError, LockMismatchError } from "./errors.js";
import { KeyedQueue } from "./keyed-queue.js";
import { isSha256 } from "./listing.js";

/** One model's pins. */
export interface LockEntry {
  /** The revision asked for when the model was pinned, e.g. `"main"`. */
  readonly requested: string;
  /** The commit it was then. */
  readonly revision: string;
  /** Lower-case hex sha256 of every file used so far, by path. */
  readonly files: ReadonlyMap<string, string>;
}

/**
 * A lock file: JSON, meant for version control, keys sorted so that diffs stay small.
 *
 * ```json
 * {
 *   "version": 1,
 *   "models": {
 *     "owner/name": {
 *       "requested": "main",
 *       "revision": "<commit, 40 hex digits>",
 *       "files": { "config.json": "<sha256, 64 hex digits>" }
 *     }
 *   }
 * }
 * ```
 *
 * A model with an entry is read at `revision`, whatever `requested` has become, and a file with an entry must have
 * that sha256. A model or a file without one is added when it is first used. To update a model, delete its entry.
 */
export class LockFile {
  /** Absolute. */
  readonly path: string;

  constructor(path: string) {
    this.path = resolve(path);
  }

  /**
   * The model's pins; undefined when it has none, or when there is no lock file yet.
   * @throws {LockFileError} when the file cannot be read or is not a lock file.
   */
  async read(model: string): Promise<LockEntry | undefined> {
    return (await this.#readAll()).get(model);
  }

  /**
   * Pins a file, and its model with it. Other entries of the file stay, also those that other processes added.
   * @throws {LockMismatchError} when another revision or sha256 is pinned meanwhile.
   * @throws {LockFileError} when the file cannot be read or written.
   */
  async add(
    model: string,
    pin: { requested: string; revision: string; path: string; sha256: string },
  ): Promise<void> {
    await writers.run(this.path, undefined, async () => {
      const models = await this.#readAll();
      const entry = models.get(model);
      if (entry !== undefined && entry.revision !== pin.revision) {
        throw new LockMismatchError({
          model,
          lockFile: this.path,
          expected: entry.revision,
          found: pin.revision,
        });
      }
      const pinned = entry?.files.get(pin.path);
      if (pinned !== undefined) return checkPin(model, this.path, pin.path, pinned, pin.sha256);
      models.set(model, {
        requested: entry?.requested ?? pin.requested,
        revision: pin.revision,
        files: new Map([...(entry?.files ?? []), [pin.path, pin.sha256]]),
      });
      await this.#writeAll(models);
    });
  }

  async #readAll(): Promise<Map<string, LockEntry>> {
    let text: string;
    try {
      text = await readFile(this.path, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return new Map();
      throw new LockFileError({ lockFile: this.path, problem: "cannot be read" }, { cause: error });
    }
    return parseLockFile(this.path, text);
  }

  async #writeAll(models: ReadonlyMap<string, LockEntry>): Promise<void> {
    const sorted = <Value>(map: ReadonlyMap<string, Value>): [string, Value][] =>
      [...map].sort(([left], [right]) => (left < right ? -1 : 1));
    const document = {
      version: 1,
      models: Object.fromEntries(
        sorted(models).map(([model, entry]) => [
          model,
          {
            requested: entry.requested,
            revision: entry.revision,
            files: Object.fromEntries(sorted(entry.files)),
          },
        ]),
      ),
    };
    try {
      await writeFileAtomically(this.path, `${JSON.stringify(document, null, 2)}\n`);
    } catch (error) {
      throw new LockFileError({ lockFile: this.path, problem: "cannot be written" }, { cause: error });
    }
  }
}

/** @throws {LockMismatchError} */
export function checkPin(
  model: string,
  lockFile: string,
  path: string,
  expected: string,
  found: string,
): void {
  if (expected !== found) throw new LockMismatchError({ model, lockFile, path, expected, found });
}

const writers = new KeyedQueue();

function parseLockFile(lockFile: string, text: string): Map<string, LockEntry> {
  const fail = (problem: string, cause?: unknown): LockFileError =>
    new LockFileError({ lockFile, problem }, { cause });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw fail("is not JSON", error);
  }
  if (!isRecord(document) || !isRecord(document["models"])) throw fail("is not a lock file");
  if (document["version"] !== 1) throw fail(`has version ${JSON.stringify(document["version"])}, not 1`);
  const models = new Map<string, LockEntry>();
  for (const [model, entry] of Object.entries(document["models"])) {
    const { requested, revision, files } = isRecord(entry) ? entry : {};
    if (typeof requested !== "string") throw fail(`names no requested revision for ${model}`);
    if (typeof revision !== "string" || !isCommit(revision)) throw fail(`names no commit for ${model}`);
    if (!isRecord(files)) throw fail(`lists no files for ${model}`);
    const pins = new Map<string, string>();
    for (const [path, sha256] of Object.entries(files)) {
      if (!isSha256(sha256)) throw fail(`names no sha256 for ${path} of ${model}`);
      pins.set(path, sha256);
    }
    models.set(model, { requested, revision, files: pins });
  }
  return models;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
