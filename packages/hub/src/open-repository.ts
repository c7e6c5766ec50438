import { stat } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { InvalidInputError, type ModelFiles, type OptionNames, requireKnownOptions } from "@crossrank/core";
import { isCommit, RepositoryCache } from "./cache.js";
import type { Connection } from "./connection.js";
import { expandHome, type HubEnvironment, readEnvironment } from "./environment.js";
import { HubNetworkError, HubRateLimitedError, LockMismatchError, OfflineMissingError } from "./errors.js";
import { openFolder } from "./folder.js";
import { HubFiles } from "./hub-files.js";
import { fetchCommit } from "./listing.js";
import { type LockEntry, LockFile } from "./lock-file.js";
import type { RepositoryKind } from "./repository-kind.js";
import { defaultRetryPolicy, type RetryPolicy } from "./retry.js";
import { checkRelativePath } from "./safe-path.js";

/** How to open a repository, whatever its kind. */
export interface OpenRepositoryOptions {
  /** Branch, tag or commit. Default: what the lock file pins, else `main`. Not for a folder. */
  readonly revision?: string | undefined;
  /** Base URL of the hub. Default: `HF_ENDPOINT`, else `https://huggingface.co`. */
  readonly endpoint?: string | undefined;
  /** Folder of all cached repositories. Default: `HF_HUB_CACHE`, `HF_HOME`/hub, `~/.cache/huggingface/hub`. */
  readonly cacheFolder?: string | undefined;
  /** Access token; `""` sends none. Default: `HF_TOKEN`, else the token file. Goes to `endpoint` only. */
  readonly token?: string | undefined;
  /** Use the cache alone and make no request. Default: `HF_HUB_OFFLINE`. */
  readonly offline?: boolean | undefined;
  /** Lock file to hold the repository against and to enter it in; see {@link LockFile}. Not for a folder. */
  readonly lockFile?: string | undefined;
  /** Other defaults for retries. */
  readonly retry?: Partial<RetryPolicy> | undefined;
  /** Another `fetch`. Default: the one of Node, through the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names, but for NO_PROXY. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Stops resolving the revision. Later calls take their own. */
  readonly signal?: AbortSignal | undefined;
}

const names: OptionNames<OpenRepositoryOptions> = {
  revision: "string",
  endpoint: "string",
  cacheFolder: "string",
  token: "string",
  offline: "boolean",
  lockFile: "name",
  retry: "object",
  fetch: "function",
  signal: "AbortSignal",
};

export const retryNames: OptionNames<RetryPolicy> = {
  attempts: "number",
  delay: "number",
  longestDelay: "number",
  idleTimeout: "number",
  lowestSpeed: "number",
};

/**
 * Opens a folder, or a repository on the hub through the cache that it shares with Python's huggingface_hub.
 * {@link openModel} and {@link openDataset} tell what it throws.
 */
export async function openRepository(
  kind: RepositoryKind,
  source: string,
  options: OpenRepositoryOptions,
): Promise<ModelFiles> {
  requireKnownOptions(options, names, kind === "model" ? "openModel" : "openDataset");
  if (options.retry !== undefined) requireKnownOptions(options.retry, retryNames, "retry", "retry");
  options.signal?.throwIfAborted();
  if (typeof source !== "string") {
    const found = source === null ? "null" : typeof source;
    throw new InvalidInputError(
      "source",
      `must be a folder's path or a repository id (owner/name), not ${found}`,
    );
  }
  if (await isFolderSource(source)) {
    for (const name of ["revision", "lockFile"] as const) {
      if (options[name] !== undefined) {
        throw new InvalidInputError(
          `options.${name}`,
          `does not apply to the folder ${source}. Leave it out, or pass a repository id (owner/name).`,
        );
      }
    }
    return openFolder(source);
  }
  const { model, revision: asked } = parseSource(source, options.revision);
  const environment = await readEnvironment();
  const offline = options.offline ?? environment.offline;
  const cache = new RepositoryCache({
    kind,
    model,
    cacheFolder: expandHome(options.cacheFolder ?? environment.cacheFolder),
    symlinks: environment.symlinks,
  });
  const connection = offline ? undefined : connectionTo(kind, model, options, environment);
  const lock = options.lockFile === undefined ? undefined : new LockFile(expandHome(options.lockFile));
  const entry = await lock?.read(model, kind);
  if (lock !== undefined && entry !== undefined) checkRevision(model, lock, entry, asked);
  const requested = entry?.requested ?? asked ?? "main";
  const { commit, resolved } =
    entry === undefined
      ? await resolveCommit(cache, connection, requested, options.signal)
      : { commit: entry.revision, resolved: false };
  const pins = entry?.files ?? new Map<string, string>();
  return new HubFiles({ cache, connection, requested, commit, resolved, lock, pins });
}

/** How the hub is reached, as the options and the environment say. @throws {InvalidInputError} for a wrong endpoint. */
export function connectionTo(
  kind: RepositoryKind,
  model: string,
  options: Pick<OpenRepositoryOptions, "endpoint" | "token" | "fetch" | "retry">,
  environment: HubEnvironment,
): Connection {
  return {
    kind,
    model,
    endpoint: checkEndpoint(options.endpoint ?? environment.endpoint),
    token: (options.token ?? environment.token) || undefined,
    fetch: options.fetch ?? usualFetch(globalThis.fetch),
    retry: { ...defaultRetryPolicy, ...definedOnly(options.retry) },
  };
}

/** Loaded with the first request: whoever opens a folder, or finds all in the cache, needs no HTTP, no TLS and no zlib. */
function usualFetch(direct: typeof globalThis.fetch): typeof globalThis.fetch {
  let proxied: Promise<typeof globalThis.fetch> | undefined;
  return async (input, init) => {
    proxied ??= import("./proxied-fetch.js").then(({ createProxiedFetch }) => createProxiedFetch(direct));
    return (await proxied)(input, init);
  };
}

function isExplicitPath(source: string): boolean {
  return isAbsolute(source) || /^(?:\.{1,2}|~)(?:$|[/\\])/.test(source);
}

/** Whether a source is opened as a folder of this machine, and not as a repository's id. */
export async function isFolderSource(source: string): Promise<boolean> {
  return isExplicitPath(source) || (await isFolder(source));
}

async function isFolder(source: string): Promise<boolean> {
  const status = source === "" ? undefined : await stat(source).catch(() => undefined);
  return status?.isDirectory() ?? false;
}

/** The rules are those of Python's `validate_repo_id` (`utils/_validators.py`), the owner obligatory. */
export function isRepositoryId(model: string): boolean {
  const part = "[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?";
  return new RegExp(`^${part}/${part}$`).test(model) && !/--|\.\.|\.git$/.test(model);
}

function parseSource(
  source: string,
  option: string | undefined,
): { model: string; revision: string | undefined } {
  const at = source.indexOf("@");
  const model = at < 0 ? source : source.slice(0, at);
  const suffix = at < 0 ? undefined : source.slice(at + 1);
  if (!isRepositoryId(model)) {
    throw new InvalidInputError(
      "source",
      `${JSON.stringify(source)} is neither an existing folder nor a repository id. Pass a path, or owner/name as ` +
        "on its page on the hub." +
        (source === "nano" ? ' nano is opened by openReranker("nano") of crossrank.' : ""),
    );
  }
  if (option !== undefined && suffix !== undefined && option !== suffix) {
    throw new InvalidInputError(
      "options.revision",
      `is ${JSON.stringify(option)} while source says @${suffix}. Give the revision once.`,
    );
  }
  const revision = option ?? suffix;
  if (revision !== undefined) checkRevisionName(model, at < 0 ? "options.revision" : "source", revision);
  return { model, revision };
}

/** It names a file under `refs/` in the cache. */
function checkRevisionName(model: string, place: string, revision: string): void {
  try {
    checkRelativePath(model, revision);
  } catch (error) {
    throw new InvalidInputError(
      place,
      `gives the revision ${JSON.stringify(revision)}. Pass a branch, a tag or a commit.`,
      { cause: error },
    );
  }
}

function checkEndpoint(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") {
    throw new InvalidInputError(
      "options.endpoint",
      `(or HF_ENDPOINT) is ${JSON.stringify(endpoint)}. Pass a base URL such as https://huggingface.co.`,
    );
  }
  return endpoint.replace(/\/+$/, "");
}

function checkRevision(model: string, lock: LockFile, entry: LockEntry, asked: string | undefined): void {
  if (asked === undefined || asked === entry.requested || asked === entry.revision) return;
  const expected = `${entry.revision} (${entry.requested})`;
  throw new LockMismatchError({ model, lockFile: lock.path, expected, found: asked });
}

async function resolveCommit(
  cache: RepositoryCache,
  connection: Connection | undefined,
  requested: string,
  signal: AbortSignal | undefined,
): Promise<{ commit: string; resolved: boolean }> {
  if (isCommit(requested)) return { commit: requested, resolved: false };
  const cached = await cache.readRef(requested);
  if (connection === undefined) {
    if (cached !== undefined) return { commit: cached, resolved: false };
    throw new OfflineMissingError({
      model: cache.model,
      revision: requested,
      cacheFolder: cache.cacheFolder,
      missing: [`refs/${requested}`],
    });
  }
  try {
    // With a commit to fall back on, one attempt is enough, as in Python's `_hf_hub_download_to_cache_dir`.
    const retry = cached === undefined ? connection.retry : { ...connection.retry, attempts: 1 };
    return { commit: await fetchCommit({ ...connection, retry }, requested, signal), resolved: true };
  } catch (error) {
    const unreachable = error instanceof HubNetworkError || error instanceof HubRateLimitedError;
    if (cached === undefined || !unreachable) throw error;
    return { commit: cached, resolved: false };
  }
}

function definedOnly(retry: Partial<RetryPolicy> = {}): Partial<RetryPolicy> {
  return Object.fromEntries(Object.entries(retry).filter(([, value]) => value !== undefined));
}
