import type { Hash } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { type FileProgress, untilAborted } from "@crossrank/core";
import type { RepositoryCache } from "./cache.js";
import { type Connection, piecesOf, request, statusError } from "./connection.js";
import { feedFile, startDigest } from "./digest.js";
import { HashMismatchError, HubNetworkError, HubResponseError } from "./errors.js";
import { digestOf, type ListedFile } from "./listed-file.js";
import { openPartial, removePartials } from "./partial-file.js";
import { reasonOf } from "./reason.js";
import { pagePath } from "./repository-kind.js";
import { type Attempt, withRetries } from "./retry.js";

export interface DownloadRequest {
  readonly connection: Connection;
  readonly cache: RepositoryCache;
  readonly commit: string;
  readonly file: ListedFile;
  /** Whether the file got into the cache by other means meanwhile. */
  readonly isThere: () => Promise<boolean>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: FileProgress) => void) | undefined;
}

/** Requests for one file, retries included. */
const mostRequests = 1000;
/** New bytes in one attempt that make earlier failures forgotten. */
const progressBytes = 1 << 20;
/** Milliseconds between two progress calls. */
const progressInterval = 100;

/**
 * Downloads one file into the cache's blobs: continues what an earlier download left, checks size and hash, and
 * gives the blob its name only when both are right. On an abort or a failure the partial file stays.
 *
 * @throws {HashMismatchError} when the content is not what the listing says; the bad file is removed.
 * @throws {HubNotFoundError} {HubUnauthorizedError} {HubRateLimitedError} {HubNetworkError} {HubResponseError}
 * @throws {CacheError} when the cache cannot be written.
 */
export async function downloadBlob(download: DownloadRequest): Promise<void> {
  const { cache, file, signal } = download;
  const digest = digestOf(file);
  const blobPath = cache.blobPath(digest.hex);
  const progress = createProgress(download);
  const writing = cache.writing(blobPath, async () => {
    const partialPath = await openPartial(blobPath);
    const handle = await open(partialPath, "r+");
    const partial = new Partial(handle, partialPath, file);
    try {
      await partial.restore(signal);
      const resumed = partial.length > 0;
      let found = await fill(download, partial, progress);
      // What an earlier process left may be damaged, e.g. by a power failure: then only a fresh copy can tell.
      if (found !== digest.hex && resumed) {
        await partial.clear();
        found = await fill(download, partial, progress);
      }
      if (found !== digest.hex) {
        await rm(partialPath, { force: true });
        const { model } = cache;
        throw new HashMismatchError({
          model,
          path: file.path,
          algorithm: digest.algorithm,
          expected: digest.hex,
          found,
        });
      }
      await handle.sync();
    } finally {
      await handle.close();
      if (partial.length === 0 && file.size > 0) await rm(partialPath, { force: true });
    }
    try {
      await rename(partialPath, blobPath);
    } catch (error) {
      await rm(partialPath, { force: true });
      if (!(await download.isThere())) throw error;
    }
    await removePartials(blobPath);
  });
  await writing.catch((error: unknown) => {
    // Also where it looks like a fault of the cache.
    progress.check();
    throw error;
  });
  await progress.finish();
}

/** The file on its way, with the hash of what it holds so far. */
class Partial {
  length = 0;
  #furthest = 0;
  #marked = 0;
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #file: ListedFile;
  #hash: Hash;

  constructor(handle: FileHandle, path: string, file: ListedFile) {
    this.#handle = handle;
    this.#path = path;
    this.#file = file;
    this.#hash = startDigest(digestOf(file).algorithm, file.size);
  }

  /** Starts a count of new bytes; what an earlier attempt had and lost again is not new. */
  mark(): void {
    this.#marked = this.#furthest;
  }

  /** Bytes beyond all that was there before {@link mark}. */
  get news(): number {
    return this.#furthest - this.#marked;
  }

  /** Takes in what is already there. */
  async restore(signal: AbortSignal | undefined): Promise<void> {
    const { size } = await this.#handle.stat();
    if (size > this.#file.size) return this.clear();
    await feedFile(this.#hash, this.#path, { end: size, signal });
    this.length = size;
    this.#furthest = size;
  }

  async clear(): Promise<void> {
    await this.#handle.truncate(0);
    this.length = 0;
    this.#hash = startDigest(digestOf(this.#file).algorithm, this.#file.size);
  }

  async append(chunk: Uint8Array): Promise<void> {
    let written = 0;
    while (written < chunk.length) {
      const { bytesWritten } = await this.#handle.write(
        chunk,
        written,
        chunk.length - written,
        this.length + written,
      );
      written += bytesWritten;
    }
    this.#hash.update(chunk);
    this.length += chunk.length;
    this.#furthest = Math.max(this.#furthest, this.length);
  }

  /** Tells other processes that the file has an owner. */
  async touch(): Promise<void> {
    const now = new Date();
    await this.#handle.utimes(now, now);
  }

  get complete(): boolean {
    return this.length === this.#file.size;
  }

  /** Lower-case hex of all content; more can be appended afterwards. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }
}

/** Requests what is missing until all is there; gives the content's hash. */
async function fill(download: DownloadRequest, partial: Partial, progress: Progress): Promise<string> {
  progress.report(partial.length);
  let requests = 0;
  if (!partial.complete) {
    await withRetries(download.connection.retry, download.signal, (attempt) => {
      requests += 1;
      if (requests > mostRequests) {
        const { model, endpoint } = download.connection;
        const problem = `breaks off ${download.file.path} more than ${mostRequests} times`;
        throw new HubResponseError({ model, url: endpoint, problem });
      }
      return fetchRest(download, partial, progress, attempt);
    });
  }
  return partial.digest();
}

async function fetchRest(
  download: DownloadRequest,
  partial: Partial,
  progress: Progress,
  attempt: Attempt,
): Promise<void> {
  const { connection, file } = download;
  const url = contentUrl(download);
  const offset = partial.length;
  partial.mark();
  await partial.touch();

  const idle = createIdleTimer(connection.retry.idleTimeout, connection.retry.lowestSpeed);
  const broken = brokenAt(connection, url, attempt);
  try {
    const range = offset > 0 ? `bytes=${offset}-` : undefined;
    const response = await requestContent(download, range, idle.signal, attempt, () => partial.clear());
    if (response.status === 206 && !continuesAt(response, offset)) {
      await response.body?.cancel();
      await partial.clear();
      throw broken("the server answered with another part of the file than was asked for");
    }
    if (offset > 0 && response.status !== 206) await partial.clear();
    if (response.body === null) throw broken("the answer has no body");

    try {
      for await (const bytes of piecesOf(response, download.signal, idle.signal)) {
        idle.received(bytes.length);
        if (partial.length + bytes.length > file.size) {
          await partial.clear();
          throw new HubResponseError({
            model: connection.model,
            url,
            status: response.status,
            problem: `sends more than the ${file.size} bytes that the hub lists for ${file.path}`,
          });
        }
        await partial.append(bytes);
        if (partial.news >= progressBytes) attempt.madeProgress();
        progress.report(partial.length);
      }
    } catch (error) {
      progress.check();
      if (error instanceof HubResponseError || (error instanceof Error && "syscall" in error)) throw error;
      throw broken(`the connection broke off: ${reasonOf(error)}`, error);
    }
    if (!partial.complete) throw broken(`the answer ended at byte ${partial.length} of ${file.size}`);
  } finally {
    idle.stop();
  }
}

/** What of a commit is asked for. */
export type ContentRequest = Pick<DownloadRequest, "connection" | "commit" | "file" | "signal">;

function contentUrl({ connection, commit, file }: ContentRequest): string {
  const place = file.path.split("/").map(encodeURIComponent).join("/");
  return `${connection.endpoint}/${pagePath(connection.kind, connection.model)}/resolve/${commit}/${place}`;
}

type Broken = (problem: string, cause?: unknown) => HubNetworkError;

function brokenAt({ model }: Connection, url: string, { number: attempts }: Attempt): Broken {
  return (problem, cause) => new HubNetworkError({ model, url, attempts, problem }, { cause });
}

/**
 * The answer to a request for a file or a part of it: 200 or 206.
 *
 * @param range of the header, undefined for the whole file.
 * @param onRefusedRange before the error that says that the server does not have this part.
 */
async function requestContent(
  { connection, commit, file, signal }: ContentRequest,
  range: string | undefined,
  idle: AbortSignal,
  attempt: Attempt,
  onRefusedRange: () => Promise<void>,
): Promise<Response> {
  const url = contentUrl({ connection, commit, file });
  const broken = brokenAt(connection, url, attempt);
  const response = await request(
    connection,
    url,
    {
      // A compressed answer would make the byte offsets those of the compressed form.
      headers: new Headers({ "accept-encoding": "identity", ...(range === undefined ? {} : { range }) }),
      signal: signal === undefined ? idle : AbortSignal.any([signal, idle]),
    },
    attempt.number,
  );
  if (response.ok) return response;
  await response.body?.cancel();
  if (response.status === 416) {
    await onRefusedRange();
    throw broken("the server cannot continue the partial download");
  }
  const elsewhere = new URL(response.url || url).origin !== new URL(connection.endpoint).origin;
  // A signed storage URL expires: the next attempt gets a new one.
  if (elsewhere && response.status < 500) throw broken(`the file storage answered ${response.status}`);
  throw statusError(connection, response, url, attempt.number, {
    what: "file",
    revision: commit,
    path: file.path,
  });
}

/** Part of a file, and whether the server sent that part alone. */
export interface FetchedRange {
  readonly bytes: Uint8Array;
  readonly isPart: boolean;
}

/**
 * Bytes `start` to `end` (not included) of a file, both within it. A server that sends the whole file is read up to the
 * end of the part, and then left. Of a part there is no hash to hold it against; its length and place are checked.
 *
 * @throws as {@link downloadBlob}, but for the cache's errors and hashes.
 */
export async function fetchRange(
  content: ContentRequest,
  { start, end }: { readonly start: number; readonly end: number },
): Promise<FetchedRange> {
  const { connection, file, signal } = content;
  const url = contentUrl(content);
  return withRetries(connection.retry, signal, async (attempt) => {
    const idle = createIdleTimer(connection.retry.idleTimeout, connection.retry.lowestSpeed);
    const broken = brokenAt(connection, url, attempt);
    try {
      const range = `bytes=${start}-${end - 1}`;
      const response = await requestContent(content, range, idle.signal, attempt, async () => {});
      const isPart = response.status === 206;
      const total = isPart ? totalOf(response) : lengthOf(response);
      if (total !== undefined && total !== file.size) {
        await response.body?.cancel();
        const problem = `has ${total} bytes of ${file.path}, and the hub lists ${file.size}`;
        throw new HubResponseError({ model: connection.model, url, status: response.status, problem });
      }
      if (isPart && !continuesAt(response, start)) {
        await response.body?.cancel();
        throw broken("the server answered with another part of the file than was asked for");
      }
      if (response.body === null) throw broken("the answer has no body");
      const bytes = new Uint8Array(end - start);
      let place = isPart ? start : 0;
      try {
        for await (const piece of piecesOf(response, signal, idle.signal)) {
          idle.received(piece.length);
          // What of the piece lies in the part.
          const from = Math.max(start - place, 0);
          const to = Math.min(end - place, piece.length);
          if (from < to) bytes.set(piece.subarray(from, to), place + from - start);
          place += piece.length;
          // Ends the answer: what is behind the part is not read.
          if (place >= end) break;
        }
      } catch (error) {
        throw broken(`the connection broke off: ${reasonOf(error)}`, error);
      }
      if (place < end) throw broken(`the answer ended at byte ${place} of ${end}`);
      return { bytes, isPart };
    } finally {
      idle.stop();
    }
  });
}

/** Bytes of the whole file, of which a 206 is a part. */
function totalOf(response: Response): number | undefined {
  const total = /^bytes \d+-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  return total === null ? undefined : Number(total[1]);
}

/** Bytes of a whole answer, where it says so and is not compressed. */
function lengthOf(response: Response): number | undefined {
  const length = response.headers.get("content-length");
  const isPlain = (response.headers.get("content-encoding") ?? "identity") === "identity";
  return length !== null && isPlain && /^\d+$/.test(length) ? Number(length) : undefined;
}

/** Whether a 206 starts at the byte asked for. */
function continuesAt(response: Response, offset: number): boolean {
  const range = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "");
  return range !== null && Number(range[1]) === offset;
}

interface IdleTimer {
  readonly signal: AbortSignal;
  received(bytes: number): void;
  stop(): void;
}

/** Aborts when nothing comes for so long, or less than `lowestSpeed` bytes a second over such a time. */
function createIdleTimer(milliseconds: number, lowestSpeed: number): IdleTimer {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(new Error(`nothing received for ${milliseconds} ms`));
  }, milliseconds);
  let inWindow = 0;
  const floor = (lowestSpeed * milliseconds) / 1000;
  const meter = setInterval(() => {
    if (inWindow < floor) {
      controller.abort(new Error(`${inWindow} bytes received in ${milliseconds} ms, too slow`));
    }
    inWindow = 0;
  }, milliseconds);
  return {
    signal: controller.signal,
    received: (bytes) => {
      inWindow += bytes;
      timer.refresh();
    },
    stop: () => {
      clearTimeout(timer);
      clearInterval(meter);
    },
  };
}

interface Progress {
  /** @throws what the listener threw or rejected with by now. */
  check(): void;
  /** @throws what the listener threw or rejected with by now. */
  report(loaded: number): void;
  /** The last call, with everything loaded. Waits for the listener's promises. @throws as `report`. */
  finish(): Promise<void>;
}

/** What a listener throws, or what a promise that it gives rejects with, fails the download that it belongs to. */
function createProgress({ file: { path, size }, onProgress, signal }: DownloadRequest): Progress {
  const pending = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  const check = (): void => {
    if (failure !== undefined) throw failure.error;
  };
  const tell = (loaded: number): void => {
    check();
    let answer: unknown;
    try {
      answer = onProgress?.({ path, loaded, total: size });
    } catch (error) {
      failure = { error };
      throw error;
    }
    if (typeof answer !== "object" || answer === null || !("then" in answer)) return;
    const settled = Promise.resolve(answer).then(
      () => undefined,
      (error: unknown) => {
        failure ??= { error };
      },
    );
    pending.add(settled);
    void settled.then(() => pending.delete(settled));
  };
  let last = Number.NEGATIVE_INFINITY;
  return {
    check,
    report(loaded) {
      const now = performance.now();
      if (loaded === size || now - last < progressInterval) return check();
      last = now;
      tell(loaded);
    },
    async finish() {
      tell(size);
      while (failure === undefined && pending.size > 0) await untilAborted(Promise.race(pending), signal);
      check();
    },
  };
}
