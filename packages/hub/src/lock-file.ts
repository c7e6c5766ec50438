import { mkdir, readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { excludingOthers, writeWholeFile } from "@crossrank/disk";
import { isCommit } from "./cache.js";
import { LockFileBusyError, LockFileError, LockMismatchError } from "./errors.js";
import { KeyedQueue } from "./keyed-queue.js";
import { isSha256 } from "./listing.js";
import type { RepositoryKind } from "./repository-kind.js";

/** One repository's pins. */
export interface LockEntry {
  /** The revision asked for when the repository was pinned, e.g. `"main"`. */
  readonly requested: string;
  /** The commit it was then. */
  readonly revision: string;
  /** Lower-case hex sha256 of every file used so far, by path. */
  readonly files: ReadonlyMap<string, string>;
}

/** Milliseconds to wait for other processes that write the same lock file. */
const defaultPatience = 60_000;
/** How often a pin is written anew that a writer without the exclusion overwrote. */
const mostRounds = 20;
/** Bytes; a thousand models with a hundred files each take a tenth of it. */
const largestLockFile = 128 << 20;

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
 *   },
 *   "datasets": { "owner/name": { … } }
 * }
 * ```
 *
 * `datasets` is there once a dataset is pinned. A repository with an entry is read at `revision`, whatever `requested`
 * has become, and a file with an entry must have that sha256. A repository or a file without one is added when it is
 * first used. To update one, delete its entry.
 */
export class LockFile {
  /** Absolute. */
  readonly path: string;
  readonly #patience: number;

  /** @param options.patience milliseconds that {@link add} waits for other processes. Default 60,000. */
  constructor(path: string, options: { readonly patience?: number | undefined } = {}) {
    this.path = resolve(path);
    this.#patience = options.patience ?? defaultPatience;
  }

  /**
   * The repository's pins; undefined when it has none, or when there is no lock file yet.
   * @throws {LockFileError} when the file cannot be read or is not a lock file.
   */
  async read(model: string, kind: RepositoryKind = "model"): Promise<LockEntry | undefined> {
    return (await this.#readAll())[kind].get(model);
  }

  /**
   * Pins a file, and its repository with it. Other entries of the file stay, also those that other processes added.
   * @throws {LockMismatchError} when another revision or sha256 is pinned meanwhile.
   * One process at a time writes, and the pin is read again before this returns.
   * @throws {LockFileError} when the file cannot be read or written.
   * @throws {LockFileBusyError} when other processes keep writing it.
   */
  async add(
    model: string,
    pin: { requested: string; revision: string; path: string; sha256: string },
    kind: RepositoryKind = "model",
  ): Promise<void> {
    const busy = (): LockFileBusyError =>
      new LockFileBusyError({ lockFile: this.path, waited: this.#patience });
    await writers.run(this.path, undefined, async () => {
      for (let round = 0; round < mostRounds; round += 1) {
        // What the file system refuses, it refuses at the write too, with the lock file's name.
        await mkdir(dirname(this.path), { recursive: true }).catch(() => undefined);
        try {
          await excludingOthers(this.path, this.#patience, busy, () => this.#enter(model, pin, kind));
        } catch (error) {
          if (!(error instanceof Error && "syscall" in error)) throw error;
          throw new LockFileError({ lockFile: this.path, problem: "cannot be written" }, { cause: error });
        }
        if ((await this.read(model, kind))?.files.has(pin.path)) return;
      }
      throw busy();
    });
  }

  async #enter(
    model: string,
    pin: { requested: string; revision: string; path: string; sha256: string },
    kind: RepositoryKind,
  ): Promise<void> {
    const pins = await this.#readAll();
    const entry = pins[kind].get(model);
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
    pins[kind].set(model, {
      requested: entry?.requested ?? pin.requested,
      revision: pin.revision,
      files: new Map([...(entry?.files ?? []), [pin.path, pin.sha256]]),
    });
    await this.#writeAll(pins);
  }

  async #readAll(): Promise<Pins> {
    let text: string;
    try {
      const { size } = await stat(this.path);
      if (size > largestLockFile) {
        const problem = `has ${size} bytes, more than a lock file can have (${largestLockFile})`;
        throw new LockFileError({ lockFile: this.path, problem });
      }
      text = await readFile(this.path, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") {
        return { model: new Map(), dataset: new Map() };
      }
      if (error instanceof LockFileError) throw error;
      throw new LockFileError({ lockFile: this.path, problem: "cannot be read" }, { cause: error });
    }
    return parseLockFile(this.path, text);
  }

  async #writeAll(pins: Pins): Promise<void> {
    const sorted = <Value>(map: ReadonlyMap<string, Value>): [string, Value][] =>
      [...map].sort(([left], [right]) => (left < right ? -1 : 1));
    const section = (entries: ReadonlyMap<string, LockEntry>): Record<string, unknown> =>
      Object.fromEntries(
        sorted(entries).map(([id, entry]) => [
          id,
          {
            requested: entry.requested,
            revision: entry.revision,
            files: Object.fromEntries(sorted(entry.files)),
          },
        ]),
      );
    const document = {
      version: 1,
      models: section(pins.model),
      ...(pins.dataset.size > 0 ? { datasets: section(pins.dataset) } : {}),
    };
    try {
      await writeWholeFile(this.path, `${JSON.stringify(document, null, 2)}\n`);
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

/** Entries by kind and id. */
type Pins = Readonly<Record<RepositoryKind, Map<string, LockEntry>>>;

type Fail = (problem: string, cause?: unknown) => LockFileError;

function parseLockFile(lockFile: string, text: string): Pins {
  const fail: Fail = (problem, cause) => new LockFileError({ lockFile, problem }, { cause });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw fail("is not JSON", error);
  }
  if (!isRecord(document) || !isRecord(document["models"])) throw fail("is not a lock file");
  const datasets = document["datasets"] ?? {};
  if (!isRecord(datasets)) throw fail("is not a lock file");
  if (document["version"] !== 1) throw fail(`has version ${JSON.stringify(document["version"])}, not 1`);
  return { model: parseEntries(document["models"], fail), dataset: parseEntries(datasets, fail) };
}

function parseEntries(section: Record<string, unknown>, fail: Fail): Map<string, LockEntry> {
  const entries = new Map<string, LockEntry>();
  for (const [model, entry] of Object.entries(section)) {
    const { requested, revision, files } = isRecord(entry) ? entry : {};
    if (typeof requested !== "string") throw fail(`names no requested revision for ${model}`);
    if (typeof revision !== "string" || !isCommit(revision)) throw fail(`names no commit for ${model}`);
    if (!isRecord(files)) throw fail(`lists no files for ${model}`);
    const pins = new Map<string, string>();
    for (const [path, sha256] of Object.entries(files)) {
      if (!isSha256(sha256)) throw fail(`names no sha256 for ${path} of ${model}`);
      pins.set(path, sha256);
    }
    entries.set(model, { requested, revision, files: pins });
  }
  return entries;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
