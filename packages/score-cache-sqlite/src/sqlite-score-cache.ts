import { mkdir, open, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  type CachedScore,
  DisposedError,
  InvalidInputError,
  isCachedScore,
  type OptionNames,
  requireKnownOptions,
  type ScoreCache,
} from "@crossrank/core";
import Database from "libsql";
import { asFileError, damagedFix, isBusy, lockedFix, ScoreCacheFileError } from "./errors.js";
import { fromRecord, toRecord } from "./record.js";

export interface SqliteScoreCacheOptions {
  /** Most pairs, from 1,024. When there are more the pairs go that were not asked for the longest. Default: no bound. */
  readonly maxEntries?: number | undefined;
  /**
   * Most bytes of the file, at 256 a pair; at least 1 MiB. Beside it lies a write-ahead log of a few MiB while it is in
   * use. Default 256 MiB, about a million pairs.
   */
  readonly maxBytes?: number | undefined;
}

/** A score cache in a file. Several processes may use one at a time. */
export interface SqliteScoreCache extends ScoreCache, AsyncDisposable {
  /** Absolute. */
  readonly path: string;
  /**
   * Pairs that are kept now, by this process and others.
   * @throws {ScoreCacheFileError} {@link DisposedError}
   */
  count(): Promise<number>;
  /** Closes the file. Safe to call twice. */
  dispose(): Promise<void>;
}

/** "xrsc" */
const applicationId = 0x78727363;
const version = 1;

/** What a pair takes in the file: key and record twice, and the room that pages leave. */
const bytesOfEntry = 256;

/** Most pairs that one transaction reads or writes, so that the event loop gets a turn in between. */
const mostAtOnce = 256;

/** A pair's last use is written again after this many milliseconds. */
const useIsOld = 60 * 60 * 1000;

/** How long to wait for other processes' writes, in milliseconds. */
const patience = 10_000;

const names: OptionNames<SqliteScoreCacheOptions> = { maxEntries: true, maxBytes: true };

/**
 * Opens a file of scores, and makes it where there is none, with the folders on its way.
 *
 * @throws {InvalidInputError} when the path or an option is wrong.
 * @throws {ScoreCacheFileError} when the file is something else, is damaged, or cannot be used.
 */
export async function openSqliteScoreCache(
  path: string,
  options: SqliteScoreCacheOptions = {},
): Promise<SqliteScoreCache> {
  if (typeof path !== "string" || path === "" || path.includes("\0")) {
    throw new InvalidInputError("path", "must be a file's path: a string that is not empty");
  }
  requireKnownOptions(options, names, "openSqliteScoreCache");
  const { maxEntries = Number.MAX_SAFE_INTEGER, maxBytes = 256 * 2 ** 20 } = options;
  requireBound(maxEntries, 1024, "maxEntries");
  requireBound(maxBytes, 2 ** 20, "maxBytes");
  // Absolute: SQLite has names of its own for what is no file, and libsql for what is on a server.
  const absolute = resolve(path);
  await requireOwnOrNothing(absolute);
  const database = await opened(absolute);
  return new FileScoreCache(absolute, database, Math.min(maxEntries, Math.floor(maxBytes / bytesOfEntry)));
}

class FileScoreCache implements SqliteScoreCache {
  readonly path: string;
  readonly #database: Database.Database;
  readonly #most: number;
  readonly #select: Database.Statement;
  readonly #insert: Database.Statement;
  readonly #touch: Database.Statement;
  readonly #add: Database.Statement;
  readonly #entries: Database.Statement;
  readonly #evict: Database.Statement;
  #isDisposed = false;

  constructor(path: string, database: Database.Database, most: number) {
    this.path = path;
    this.#database = database;
    this.#most = most;
    const prepare = (sql: string): Database.Statement => database.prepare(sql);
    this.#select = prepare(
      "SELECT key, record, used FROM scores WHERE key IN (SELECT value FROM json_each(?))",
    ).raw();
    this.#insert = prepare("INSERT OR IGNORE INTO scores (key, record, used) VALUES (?, ?, ?)");
    this.#touch = prepare("UPDATE scores SET used = ? WHERE key IN (SELECT value FROM json_each(?))");
    this.#add = prepare("UPDATE counts SET entries = max(0, entries + ?)");
    this.#entries = prepare("SELECT entries FROM counts").raw();
    this.#evict = prepare("DELETE FROM scores WHERE key IN (SELECT key FROM scores ORDER BY used LIMIT ?)");
  }

  async getMany(
    keys: readonly string[],
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<ReadonlyMap<string, CachedScore>> {
    const found = new Map<string, CachedScore>();
    for (let start = 0; start < keys.length; start += mostAtOnce) {
      const asked = new Map(keys.slice(start, start + mostAtOnce).map((key) => [shortKey(key), key]));
      const rows = await this.#attempt(signal, () => this.#select.all(JSON.stringify([...asked.keys()])));
      const now = Date.now();
      const old: string[] = [];
      for (const row of rows) {
        const [short, record, used] = row as [string, unknown, number];
        const score = fromRecord(short, record);
        const key = asked.get(short);
        if (score === undefined || key === undefined || !isCachedScore(score)) throw this.#damaged();
        found.set(key, score);
        // Also of a clock that was ahead.
        if (!(Math.abs(now - used) < useIsOld)) old.push(short);
      }
      if (old.length > 0) this.#noteUse(now, old);
    }
    return found;
  }

  async setMany(
    entries: ReadonlyMap<string, CachedScore>,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const records: [key: string, record: Buffer][] = [];
    for (const [key, score] of entries) {
      if (!isCachedScore(score)) throw new InvalidInputError("entries", `hold no score for ${key}`);
      const short = shortKey(key);
      const record = toRecord(short, score);
      if (record !== undefined) records.push([short, record]);
    }
    for (let start = 0; start < records.length; start += mostAtOnce) {
      const part = records.slice(start, start + mostAtOnce);
      await this.#attempt(signal, () =>
        inTransaction(this.#database, () => {
          const now = Date.now();
          let added = 0;
          for (const [key, record] of part) added += this.#insert.run(key, record, now).changes;
          this.#add.run(added);
          this.#shrink();
        }),
      );
    }
  }

  async count(): Promise<number> {
    return this.#attempt(undefined, () => this.#counted());
  }

  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#database.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #counted(): number {
    const [row] = this.#entries.all();
    if (!Array.isArray(row) || !Number.isSafeInteger(row[0])) throw this.#damaged();
    return row[0] as number;
  }

  /** Down to seven eighths of the bound, so that it is not done for every pair. */
  #shrink(): void {
    const count = this.#counted();
    if (count <= this.#most) return;
    const goal = Math.floor((this.#most / 8) * 7);
    const gone = this.#evict.run(count - goal).changes;
    this.#add.run(-gone);
  }

  /** Where another process writes just now the use is noted another time. */
  #noteUse(now: number, keys: readonly string[]): void {
    try {
      this.#touch.run(now, JSON.stringify(keys));
    } catch (error) {
      if (isBusy(error)) return;
      throw asFileError(this.path, error);
    }
  }

  #damaged(): ScoreCacheFileError {
    const problem = "the score cache is damaged (a record does not have its checksum)";
    return new ScoreCacheFileError({ path: this.path, reason: "damaged", problem, fix: damagedFix });
  }

  async #attempt<T>(signal: AbortSignal | undefined, work: () => T): Promise<T> {
    return patiently(this.path, signal, () => {
      // A closed database answers that there is nothing.
      if (this.#isDisposed) throw new DisposedError("score cache");
      return work();
    });
  }
}

/** A key in 43 letters in place of 64. @throws {InvalidInputError} for what is no key. */
function shortKey(key: string): string {
  if (/^[0-9a-f]{64}$/.test(key)) return Buffer.from(key, "hex").toString("base64url");
  throw new InvalidInputError("keys", `must be 64 lower-case hex digits each, not ${JSON.stringify(key)}`);
}

/** Before SQLite is asked, which would write into a database of somebody else's. @throws {ScoreCacheFileError} */
async function requireOwnOrNothing(path: string): Promise<void> {
  const unusable = (error: unknown): never => {
    const problem = `the system does not let it be used (${(error as Error).message})`;
    throw new ScoreCacheFileError(
      { path, reason: "unusable", problem, fix: "Choose another file" },
      { cause: error },
    );
  };
  await mkdir(dirname(path), { recursive: true }).catch(unusable);
  const found = await stat(path).catch((error: NodeJS.ErrnoException) =>
    error.code === "ENOENT" ? undefined : unusable(error),
  );
  // To open a pipe waits for whoever writes into it, and a device keeps nothing.
  if (found !== undefined && !found.isFile()) {
    const problem = found.isDirectory()
      ? "it is a folder"
      : "it is no file, but a pipe, a socket or a device";
    throw new ScoreCacheFileError({ path, reason: "unusable", problem, fix: "Choose another file" });
  }
  const file = await open(path, "r").catch((error: NodeJS.ErrnoException) =>
    error.code === "ENOENT" ? undefined : unusable(error),
  );
  if (file === undefined) return;
  try {
    const head = Buffer.alloc(16);
    const { bytesRead } = await file.read(head, 0, 16, 0).catch(unusable);
    if (bytesRead === 0 || head.toString("latin1") === "SQLite format 3\0") return;
  } finally {
    await file.close();
  }
  throw notACache(path);
}

function notACache(path: string): ScoreCacheFileError {
  const problem = "it is no score cache, and was left as it is";
  return new ScoreCacheFileError({ path, reason: "not-a-cache", problem, fix: "Choose another file" });
}

/** Each try with a connection of its own: one that was refused as busy may stay so, though nobody else is there. */
function opened(path: string): Promise<Database.Database> {
  return patiently(path, undefined, () => {
    const database = new Database(path);
    try {
      prepare(path, database);
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

/** Makes a cache of an empty file. @throws {ScoreCacheFileError} when it is something else, or damaged. */
function prepare(path: string, database: Database.Database): void {
  const isOurs = () => pragma(database, "application_id") === applicationId;
  // Asked again: what was empty at first another process may have made a cache of since, in one transaction.
  if (!isOurs() && !isEmpty(database) && !isOurs()) throw notACache(path);
  if (!isOurs()) {
    database.pragma("journal_mode = WAL");
    inTransaction(database, () => {
      // Another process may have been faster.
      if (isOurs()) return;
      database.exec(
        `CREATE TABLE scores (key TEXT PRIMARY KEY, record BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
         CREATE INDEX scores_by_use ON scores (used);
         CREATE TABLE counts (entries INTEGER NOT NULL);
         INSERT INTO counts VALUES (0);
         PRAGMA application_id = ${applicationId};
         PRAGMA user_version = ${version};`,
      );
    });
  }
  const found = pragma(database, "user_version");
  if (found > version) {
    const problem = `it was written by a later version of this package (format ${found}, and this one knows ${version})`;
    const fix = "Install that version, or choose another file";
    throw new ScoreCacheFileError({ path, reason: "newer", problem, fix });
  }
  // Safe from a kill and from a power failure; what was written last may be gone after one.
  database.pragma("synchronous = NORMAL");
  database.pragma(`journal_size_limit = ${4 * 2 ** 20}`);
  requireTables(path, database);
}

/** @throws {ScoreCacheFileError} when a cache of this version lacks what one has. */
function requireTables(path: string, database: Database.Database): void {
  const columns = database
    .prepare("SELECT t.name, c.name FROM pragma_table_list t, pragma_table_info(t.name) c ORDER BY 1, 2")
    .raw()
    .all()
    .map((row) => (row as string[]).join("."));
  const missing = ["scores.key", "scores.record", "scores.used", "counts.entries"].find(
    (column) => !columns.includes(column),
  );
  if (missing === undefined) return;
  const problem = `the score cache is damaged (it has no ${missing})`;
  throw new ScoreCacheFileError({ path, reason: "damaged", problem, fix: damagedFix });
}

function isEmpty(database: Database.Database): boolean {
  const [row] = database.prepare("SELECT count(*) FROM sqlite_master").raw().all() as [[number]];
  return row[0] === 0;
}

function pragma(database: Database.Database, name: string): number {
  const [row] = database.prepare(`SELECT * FROM pragma_${name}`).raw().all() as [[number]];
  return row[0];
}

/** All of it or nothing, and nobody else's writes in between. */
function inTransaction(database: Database.Database, work: () => void): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    work();
    database.exec("COMMIT");
  } catch (error) {
    if (database.inTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

/**
 * Does what others may be in the way of, again and again, with turns for the event loop in between.
 *
 * @throws {ScoreCacheFileError}, and the signal's reason once aborted.
 */
async function patiently<T>(path: string, signal: AbortSignal | undefined, work: () => T): Promise<T> {
  const until = performance.now() + patience;
  for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
    signal?.throwIfAborted();
    try {
      return work();
    } catch (error) {
      if (!isBusy(error)) throw asFileError(path, error);
      if (performance.now() > until) {
        const problem = `other processes kept on writing for ${patience / 1000} s`;
        throw new ScoreCacheFileError({ path, reason: "locked", problem, fix: lockedFix }, { cause: error });
      }
    }
    await delay(wait * (0.5 + Math.random()), undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
}

function requireBound(value: number, least: number, path: string): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new InvalidInputError(path, `must be a whole number from ${least}, not ${String(value)}`);
}
