import { createHash } from "node:crypto";
import { isCommit, type RepositoryCache, readIfThere } from "./cache.js";
import { type Connection, createApiFetch } from "./connection.js";
import { HubError, HubNotFoundError, HubResponseError } from "./errors.js";
import type { ListedFile, Listing } from "./listed-file.js";
import { fetchMirrorListing, maybeWithoutListing } from "./mirror-listing.js";
import { apiPath } from "./repository-kind.js";
import { checkRelativePath } from "./safe-path.js";

/**
 * The commit that a branch, tag or short hash stands for now.
 * @throws {HubNotFoundError} {HubUnauthorizedError} {HubRateLimitedError} {HubNetworkError} {HubResponseError}
 */
export async function fetchCommit(
  connection: Connection,
  revision: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { kind, model, endpoint } = connection;
  const place = `/${apiPath(kind, model)}/revision`;
  const info = await asking(connection, place, async () => {
    const { datasetInfo, modelInfo } = await hubClient();
    const question = {
      name: model,
      revision,
      additionalFields: ["sha" as const],
      hubUrl: endpoint,
      fetch: createApiFetch(connection, revision, signal),
    };
    return kind === "dataset" ? datasetInfo(question) : modelInfo(question);
  });
  const commit: unknown = info.sha;
  if (typeof commit !== "string" || !isCommit(commit)) {
    throw new HubResponseError({
      model,
      url: `${endpoint}${place}/${revision}`,
      problem: "names no commit",
    });
  }
  return commit;
}

/**
 * All files of a commit, also from an endpoint that has no listing of them.
 * @throws {UnsafePathError} for a listing with a path that leaves the model's folder.
 * @throws as {@link fetchCommit}.
 */
export async function fetchListing(
  connection: Connection,
  commit: string,
  signal: AbortSignal | undefined,
): Promise<Listing> {
  try {
    return await fetchTree(connection, commit, signal);
  } catch (error) {
    if (!maybeWithoutListing(error)) throw error;
    return await fetchMirrorListing(connection, commit, signal).catch((other: unknown) => {
      signal?.throwIfAborted();
      // Where there is no such revision either, the first answer meant what it said.
      throw other instanceof HubNotFoundError && other.what !== "file" ? error : other;
    });
  }
}

/** Loaded where the hub is asked: most processes read what is on the disk. */
function hubClient(): Promise<typeof import("@huggingface/hub")> {
  return import("@huggingface/hub");
}

async function fetchTree(
  connection: Connection,
  commit: string,
  signal: AbortSignal | undefined,
): Promise<Listing> {
  const files = new Map<string, ListedFile>();
  const place = `/${apiPath(connection.kind, connection.model)}/tree/${commit}`;
  await asking(connection, place, async () => {
    const { listFiles } = await hubClient();
    const entries = listFiles({
      repo: { type: connection.kind, name: connection.model },
      revision: commit,
      recursive: true,
      hubUrl: connection.endpoint,
      fetch: boundPages(connection, createApiFetch(connection, commit, signal)),
    });
    for await (const entry of entries) {
      if (entry.type !== "file") continue;
      const file = checkFile(connection.model, {
        path: entry.path,
        size: entry.lfs?.size ?? entry.size,
        oid: entry.oid,
        sha256: entry.lfs?.oid,
        xetHash: entry.xetHash,
      });
      if (file === undefined) throw new TypeError(`malformed entry ${JSON.stringify(entry.path)}`);
      files.set(file.path, file);
    }
  });
  return files;
}

/** A page of the hub has up to 1000 entries. */
const mostPages = 1000;
/** Bytes of all pages. */
const largestListing = 256 << 20;
/** A listing may take so many idle timeouts, ten minutes by default. */
const longestListing = 20;

/** Ends a listing whose pages come again, or never end. */
function boundPages(connection: Connection, fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  const { model, retry } = connection;
  const start = performance.now();
  const seen = new Set<string>();
  let pages = 0;
  let size = 0;
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const fail = (problem: string): HubResponseError => new HubResponseError({ model, url, problem });
    pages += 1;
    if (pages > mostPages) throw fail(`lists files on more than ${mostPages} pages`);
    if (performance.now() - start > longestListing * retry.idleTimeout) {
      throw fail(`lists files for more than ${longestListing * retry.idleTimeout} ms`);
    }
    if (seen.has(url)) throw fail("is a page of a listing that leads back to itself");
    seen.add(url);
    const response = await fetch(input, init);
    const text = await response.text();
    size += text.length;
    if (size > largestListing) throw fail(`lists files in more than ${largestListing} bytes`);
    const content = createHash("sha256").update(text).digest("hex");
    if (seen.has(content)) throw fail("is a page of a listing that came before");
    seen.add(content);
    return new Response(text, { status: response.status, headers: response.headers });
  };
}

/** What the library throws on an answer that is not what it expects (no JSON, no array) gets our type. */
async function asking<Result>(
  connection: Connection,
  place: string,
  task: () => Promise<Result>,
): Promise<Result> {
  try {
    return await task();
  } catch (error) {
    if (
      error instanceof HubError ||
      !(error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError)
    )
      throw error;
    throw new HubResponseError(
      {
        model: connection.model,
        url: `${connection.endpoint}${place}`,
        problem: `gave an answer that cannot be read (${error.message})`,
      },
      { cause: error },
    );
  }
}

/** The names become paths and the hashes blob names, so nothing of them is taken on trust. */
function checkFile(model: string, raw: { [Field in keyof ListedFile]: unknown }): ListedFile | undefined {
  const { path, size, oid, sha256, xetHash } = raw;
  if (typeof path !== "string" || typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    return undefined;
  }
  if (typeof oid !== "string" || !isCommit(oid)) return undefined;
  if (sha256 !== undefined && !isSha256(sha256)) return undefined;
  checkRelativePath(model, path);
  return { path, size, oid, sha256, xetHash: isSha256(xetHash) ? xetHash : undefined };
}

export function isSha256(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

/** A commit never changes, so its listing is kept for good, in the format of Python's `_tree_cache.py`. */
const treeFormat = 1;

/** Undefined when there is none, or none that can be used. */
export async function readCachedListing(
  cache: RepositoryCache,
  commit: string,
): Promise<Listing | undefined> {
  const text = await readIfThere(cache.treePath(commit));
  if (text === undefined) return undefined;
  try {
    const document = JSON.parse(text) as {
      format_version?: unknown;
      files?: Record<string, Record<string, unknown>>;
    };
    if (document.format_version !== treeFormat || document.files === undefined) return undefined;
    const files = new Map<string, ListedFile>();
    for (const [path, entry] of Object.entries(document.files)) {
      const file = checkFile(cache.model, {
        path,
        size: entry["lfs_size"] ?? entry["size"],
        oid: entry["blob_id"],
        sha256: entry["lfs_sha256"],
        xetHash: entry["xet_hash"],
      });
      if (file === undefined) return undefined;
      files.set(path, file);
    }
    return files;
  } catch {
    return undefined;
  }
}

export async function writeCachedListing(
  cache: RepositoryCache,
  commit: string,
  listing: Listing,
): Promise<void> {
  const files = [...listing.values()]
    .sort((left, right) => (left.path < right.path ? -1 : 1))
    .map((file) => [
      file.path,
      {
        size: file.size,
        blob_id: file.oid,
        ...(file.sha256 === undefined ? {} : { lfs_sha256: file.sha256, lfs_size: file.size }),
        ...(file.xetHash === undefined ? {} : { xet_hash: file.xetHash }),
      },
    ]);
  const document = { format_version: treeFormat, files: Object.fromEntries(files) };
  await cache.writeAtomically(cache.treePath(commit), JSON.stringify(document, null, 1));
}
