import { stat } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { InvalidInputError, type OptionNames, requireKnownOptions } from "@crossrank/core";
import { isCommit } from "../cache.js";
import { type Connection, piecesOf, request, statusError } from "../connection.js";
import { feedFile, startDigest } from "../digest.js";
import { readEnvironment } from "../environment.js";
import { HubError, HubNetworkError, HubNotFoundError, HubResponseError } from "../errors.js";
import { digestOf, type ListedFile, type Listing } from "../listed-file.js";
import { fetchListing } from "../listing.js";
import { connectionTo, isRepositoryId, type OpenRepositoryOptions, retryNames } from "../open-repository.js";
import { reasonOf } from "../reason.js";
import { pagePath } from "../repository-kind.js";
import { withRetries } from "../retry.js";
import {
  HubConflictError,
  HubContentError,
  HubOfflineError,
  HubTagExistsError,
  HubTokenMissingError,
  PublishFilesError,
} from "./errors.js";
import { checkFileNames } from "./file-names.js";
import { createTag, fetchReferences, type References } from "./references.js";
import { createWriteFetch, reasonIn, WriteConflict } from "./write-fetch.js";

/** A file to publish. */
export interface PublishedFile {
  /** Where it lies in the repository, with forward slashes. */
  readonly path: string;
  /** Absolute path of its content on this machine. */
  readonly from: string;
  /** Lower-case hex, of what was judged fit to publish: other content is refused. Default: whatever is there. */
  readonly sha256?: string | undefined;
}

export interface PublishFilesOptions
  extends Pick<OpenRepositoryOptions, "endpoint" | "token" | "fetch" | "retry" | "signal"> {
  /** The name of the tag, e.g. `"v0.1-ane"`. Letters, digits, dots, dashes and underscores. */
  readonly tag: string;
  /** First line of the commit. Default: `Publish` and the tag. */
  readonly message?: string | undefined;
  /** Default `"main"`. */
  readonly branch?: string | undefined;
  /**
   * What is held against the files before the tag is made: `"content"`, which is downloaded again, or the hashes of the
   * hub's `"listing"` alone. Default `"content"`.
   */
  readonly check?: "content" | "listing" | undefined;
  /** Whether a file of the branch that is not among these stays. Default: none does. */
  readonly keep?: ((path: string) => boolean) | undefined;
  readonly onProgress?: ((progress: PublishProgress) => void) | undefined;
}

export interface PublishProgress {
  readonly phase: "hashing" | "looking" | "uploading" | "checking" | "tagging";
  /** Bytes that the hub took in this run; of `checking`, that were read again. */
  readonly bytes: number;
}

/** What came of it. */
export interface Publication {
  readonly commit: string;
  readonly tag: string;
  /** False where the branch had exactly these files already: an earlier run made the commit, and no tag. */
  readonly committed: boolean;
  /** Files at the tag, each with what the hub has of it. */
  readonly files: readonly {
    readonly path: string;
    readonly size: number;
    /** Lower-case hex, of the content. */
    readonly sha256: string;
    readonly lfs: boolean;
  }[];
  /** Files of the branch that the commit removed. */
  readonly removed: readonly string[];
  /** Files that are not among these and stayed, as `keep` says. */
  readonly kept: readonly string[];
}

const names: OptionNames<PublishFilesOptions> = {
  tag: "name",
  message: "name",
  branch: "name",
  check: true,
  keep: "function",
  onProgress: "function",
  endpoint: "string",
  token: "string",
  fetch: "function",
  retry: "object",
  signal: "AbortSignal",
};

/** The hub's own file, which says what is stored in LFS; it writes it itself. */
const attributes = ".gitattributes";

interface LocalFile extends PublishedFile {
  readonly sha256: string;
  readonly size: number;
  /** Git's id of the content as a blob. */
  readonly oid: string;
}

/**
 * Makes one commit whose files are exactly these and those that `keep` names, holds what the hub has then against what was sent, and tags it last. A
 * run that was stopped anywhere can be run again: what is uploaded is not sent twice, and a commit that has these files
 * already is only checked and tagged.
 *
 * @param repository `owner/name` of a model that exists.
 * @throws {InvalidInputError} when the repository's id, the tag or another option is wrong.
 * @throws {PublishFilesError} {UnsafePathError} when a file cannot be published under its name, or is not there.
 * @throws {HubOfflineError} when the environment says that no request is made.
 * @throws {HubTokenMissingError} without a token; {HubWriteRefusedError} when it may not write.
 * @throws {HubNotFoundError} when there is no such repository.
 * @throws {HubTagExistsError} when the tag is there, before anything is uploaded.
 * @throws {HubConflictError} when somebody else wrote the branch meanwhile; nothing is committed.
 * @throws {HubContentError} when the hub has something else than what was sent; no tag is made.
 * @throws {HubNetworkError} {HubRateLimitedError} after the last attempt; {HubResponseError} when the endpoint is no hub.
 * @throws the signal's reason when it aborts.
 */
export async function publishFiles(
  repository: string,
  files: readonly PublishedFile[],
  options: PublishFilesOptions,
): Promise<Publication> {
  requireKnownOptions(options, names, "publishFiles");
  if (options.retry !== undefined) requireKnownOptions(options.retry, retryNames, "retry", "retry");
  const { signal, branch = "main", check = "content" } = options;
  signal?.throwIfAborted();
  if (typeof repository !== "string" || !isRepositoryId(repository)) {
    throw new InvalidInputError("repository", `is ${JSON.stringify(repository)}, and must be owner/name`);
  }
  requireTag("options.tag", options.tag);
  if (check !== "content" && check !== "listing") {
    throw new InvalidInputError("options.check", `must be content or listing, not ${String(check)}`);
  }
  const report = progressOf(options.onProgress);
  const environment = await readEnvironment();
  if (environment.offline) throw new HubOfflineError({ model: repository });
  const local = await hashAll(repository, files, report, signal);
  const connection = connectionTo("model", repository, options, environment);
  if (connection.token === undefined) throw new HubTokenMissingError({ model: repository });
  const session: Session = {
    connection,
    branch,
    local,
    isExpected: expecting(local, options.keep),
    signal,
    fetch: createWriteFetch(connection, signal, (bytes) => report("uploading", bytes)),
    report,
  };
  report("looking");
  const references = await fetchReferences(connection, session.fetch);
  await refuseTag(session, references, options.tag);
  const message = options.message ?? `Publish ${options.tag}`;
  const { commit, committed, removed } = await commitOnce(session, references, message);
  report("checking");
  const listing = await fetchListing(connection, commit, signal);
  requireSame(session, commit, listing);
  if (check === "content") for (const file of local) await checkContent(session, commit, file);
  report("tagging");
  await tagLast(session, { tag: options.tag, commit, message });
  return {
    commit,
    tag: options.tag,
    committed,
    files: local.map(({ path, size, sha256 }) => ({
      path,
      size,
      sha256,
      lfs: listing.get(path)?.sha256 !== undefined,
    })),
    removed,
    kept: othersOf(local, listing),
  };
}

interface Session {
  readonly connection: Connection;
  readonly branch: string;
  readonly local: readonly LocalFile[];
  /** Whether a path may be in the commit. */
  readonly isExpected: (path: string) => boolean;
  readonly signal: AbortSignal | undefined;
  readonly fetch: typeof globalThis.fetch;
  readonly report: Report;
}

type Report = (phase: PublishProgress["phase"], bytes?: number) => void;

function progressOf(listener: PublishFilesOptions["onProgress"]): Report {
  let last: PublishProgress["phase"] | undefined;
  let sum = 0;
  return (phase, bytes = 0) => {
    if (phase !== last) sum = 0;
    last = phase;
    sum += bytes;
    listener?.({ phase, bytes: sum });
  };
}

/**
 * A tag as git and every tool that pins one can hold it.
 * @throws {InvalidInputError}
 */
export function requireTag(path: string, tag: unknown): asserts tag is string {
  const isTag =
    typeof tag === "string" &&
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(tag) &&
    !/\.\.|\.$|\.lock$/.test(tag) &&
    !isCommit(tag);
  if (isTag) return;
  throw new InvalidInputError(
    path,
    `is ${JSON.stringify(tag)}, and must be a name such as v0.1-ane: letters, digits, dots, dashes and underscores`,
  );
}

async function hashAll(
  model: string,
  files: readonly PublishedFile[],
  report: Report,
  signal: AbortSignal | undefined,
): Promise<LocalFile[]> {
  checkFileNames(
    model,
    files.map(({ path }) => path),
  );
  const hashed: LocalFile[] = [];
  for (const { path, from, sha256: judged } of files) {
    const missing = (problem: string, cause?: unknown): never => {
      const fix = "Check that it is there and can be read, and run again";
      throw new PublishFilesError({ model, path, problem, fix }, { cause });
    };
    const status = await stat(from).catch((cause: unknown) =>
      missing(`cannot be read (${reasonOf(cause)})`, cause),
    );
    if (!status.isFile()) missing("is no file");
    const git = startDigest("git-sha1", status.size);
    const content = startDigest("sha256", status.size);
    const both = {
      update: (chunk: Buffer): void => {
        git.update(chunk);
        content.update(chunk);
      },
    };
    await feedFile(both, from, { signal }).catch((cause: unknown) => {
      signal?.throwIfAborted();
      missing(`cannot be read (${reasonOf(cause)})`, cause);
    });
    report("hashing", status.size);
    const sha256 = content.digest("hex");
    if (judged !== undefined && judged !== sha256) {
      throw new PublishFilesError({
        model,
        path,
        problem: `changed while it was published: it is sha256 ${sha256}, and sha256 ${judged} was judged`,
        fix: "Leave the folder alone, and run again",
      });
    }
    hashed.push({ path, from, size: status.size, sha256, oid: git.digest("hex") });
  }
  return hashed;
}

async function refuseTag(session: Session, references: References, tag: string): Promise<void> {
  const commit = references.tags.get(tag);
  if (commit === undefined) return;
  const { connection, signal } = session;
  const listing = await fetchListing(connection, commit, signal).catch((error: unknown) => {
    signal?.throwIfAborted();
    if (!(error instanceof HubError)) throw error;
    return undefined;
  });
  const sameFiles = listing !== undefined && differenceOf(session, listing) === undefined;
  throw new HubTagExistsError({ model: connection.model, tag, commit, sameFiles });
}

/** The commit that has exactly these files: the branch's own where it has them, else a new one. */
async function commitOnce(
  session: Session,
  { branches }: References,
  message: string,
): Promise<{ commit: string; committed: boolean; removed: readonly string[] }> {
  const { connection, branch, local, signal } = session;
  const { model, endpoint } = connection;
  const parent = branches.get(branch);
  if (parent === undefined) {
    throw new HubNotFoundError({ model, what: "revision", missing: branch, url: endpoint, status: 404 });
  }
  const before = await fetchListing(connection, parent, signal);
  if (differenceOf(session, before) === undefined) return { commit: parent, committed: false, removed: [] };
  const removed = [...before.keys()].filter((path) => !session.isExpected(path)).sort();
  const changed = local.filter((file) => !isSame(file, before.get(file.path)));
  const { commit } = await import("@huggingface/hub");
  session.report("uploading");
  const url = `${endpoint}/api/models/${model}/commit/${branch}`;
  let oid: unknown;
  try {
    const output = await commit({
      repo: { type: "model", name: model },
      title: message,
      branch,
      parentCommit: parent,
      hubUrl: endpoint,
      fetch: checkingUploadModes(session),
      // Its own protocol for deduplicated chunks; every hub takes the plain one.
      useXet: false,
      ...(signal === undefined ? {} : { abortSignal: signal }),
      operations: [
        ...removed.map((path) => ({ operation: "delete" as const, path })),
        ...changed.map(({ path, from }) => ({
          operation: "addOrUpdate" as const,
          path,
          content: pathToFileURL(from),
        })),
      ],
    });
    oid = output?.commit.oid;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof WriteConflict) {
      throw new HubConflictError({ model, branch, parent, status: error.status });
    }
    // A commit whose answer was lost may have been made.
    const made = error instanceof HubNetworkError ? await commitMade(session, parent) : undefined;
    if (made === undefined) throw typedError(connection, url, error);
    oid = made;
  }
  if (typeof oid !== "string" || !isCommit(oid)) {
    throw new HubResponseError({ model, url, problem: "names no commit in its answer" });
  }
  return { commit: oid, committed: true, removed };
}

/** The branch's commit, where it is another than before and has exactly the files that were sent. */
async function commitMade(session: Session, parent: string): Promise<string | undefined> {
  const { connection, branch, signal } = session;
  try {
    const head = (await fetchReferences(connection, session.fetch)).branches.get(branch);
    if (head === undefined || head === parent) return undefined;
    const listing = await fetchListing(connection, head, signal);
    return differenceOf(session, listing) === undefined ? head : undefined;
  } catch (error) {
    signal?.throwIfAborted();
    // What failed first is what is told.
    if (error instanceof HubError) return undefined;
    throw error;
  }
}

/** What the library throws at an answer that it does not understand gets our type, and says no token. */
function typedError(connection: Connection, url: string, error: unknown): unknown {
  if (error instanceof HubError || InvalidInputError.isInstance(error)) return error;
  const said = reasonIn(connection, JSON.stringify({ error: reasonOf(error) })) ?? "unknown";
  const { model } = connection;
  return new HubResponseError({ model, url, problem: `is part of an upload that failed: ${said}` });
}

/** Bytes of a file that may go into a commit itself, as the hub's own clients bound it. */
const largestInline = 10 << 20;

/** Holds the hub to what it says of how to send files: a model's weights do not fit into a commit. */
function checkingUploadModes({ connection, local, fetch }: Session): typeof globalThis.fetch {
  const sizes = new Map(local.map(({ path, size }) => [path, size]));
  return async (input, init) => {
    const response = await fetch(input, init);
    const url = String(input);
    if (!new URL(url).pathname.includes("/preupload/")) return response;
    const text = await response.text();
    const refuse = (problem: string): never => {
      throw new HubResponseError({ model: connection.model, url, problem });
    };
    let files: unknown;
    try {
      files = (JSON.parse(text) as { files?: unknown } | null)?.files;
    } catch {
      refuse("gave an answer that is no JSON");
    }
    if (!Array.isArray(files)) return refuse("says of no file how to send it");
    for (const file of files as readonly unknown[]) {
      const { path, uploadMode } = (file ?? {}) as Record<string, unknown>;
      const size = sizes.get(path as string);
      if (size === undefined) refuse("tells how to send a file that was not asked for");
      if (uploadMode !== "lfs" && uploadMode !== "regular") refuse("tells no known way to send a file");
      if (uploadMode === "regular" && (size as number) > largestInline)
        refuse(`wants ${JSON.stringify(path)} of ${size} bytes inside of the commit`);
    }
    return new Response(text, { status: response.status, headers: response.headers });
  };
}

function isSame(file: LocalFile, listed: ListedFile | undefined): boolean {
  if (listed === undefined || listed.size !== file.size) return false;
  const { algorithm, hex } = digestOf(listed);
  return hex === (algorithm === "sha256" ? file.sha256 : file.oid);
}

/**
 * What may be in the commit: the files themselves, the hub's own, and what is kept. Nothing is kept under a name at the
 * root that these files have, in whatever case: a folder of theirs holds only theirs.
 */
function expecting(
  local: readonly LocalFile[],
  keep: PublishFilesOptions["keep"],
): (path: string) => boolean {
  const rootOf = (path: string): string | undefined => path.normalize("NFC").toLowerCase().split("/")[0];
  const own = new Set(local.map(({ path }) => path));
  const roots = new Set(local.map(({ path }) => rootOf(path)));
  return (path) =>
    own.has(path) || path === attributes || (!roots.has(rootOf(path)) && keep?.(path) === true);
}

/** Paths of a listing that are neither these files nor the hub's own. */
function othersOf(local: readonly LocalFile[], listing: Listing): string[] {
  const own = new Set(local.map(({ path }) => path));
  return [...listing.keys()].filter((path) => path !== attributes && !own.has(path)).sort();
}

/** Where a listing is not exactly these files and what is kept. */
function differenceOf(
  { local, isExpected }: Pick<Session, "local" | "isExpected">,
  listing: Listing,
): { path: string; expected: string; found: string } | undefined {
  for (const file of local) {
    const listed = listing.get(file.path);
    if (isSame(file, listed)) continue;
    const digest = listed === undefined ? undefined : digestOf(listed);
    const expected = digest?.algorithm === "git-sha1" ? `git-sha1 ${file.oid}` : `sha256 ${file.sha256}`;
    const found = digest === undefined ? "no such file" : `${digest.algorithm} ${digest.hex}`;
    const sizes =
      listed === undefined || listed.size === file.size
        ? ["", ""]
        : [file.size, listed.size].map((size) => `, ${size} bytes`);
    return { path: file.path, expected: expected + sizes[0], found: found + sizes[1] };
  }
  const more = [...listing.keys()].find((path) => !isExpected(path));
  return more === undefined ? undefined : { path: more, expected: "no such file", found: "a file" };
}

/** @throws {HubContentError} */
function requireSame(session: Session, commit: string, listing: Listing): void {
  const difference = differenceOf(session, listing);
  const { model } = session.connection;
  if (difference !== undefined) throw new HubContentError({ model, commit, ...difference });
}

/** Reads a file back, as a consumer will. @throws {HubContentError} */
async function checkContent(
  { connection, signal, report }: Session,
  commit: string,
  file: LocalFile,
): Promise<void> {
  const { model, endpoint, kind, retry } = connection;
  const place = file.path.split("/").map(encodeURIComponent).join("/");
  const url = `${endpoint}/${pagePath(kind, model)}/resolve/${commit}/${place}`;
  await withRetries(retry, signal, async (attempt) => {
    const idle = new AbortController();
    const abort = (): void => idle.abort(new Error(`no byte for ${retry.idleTimeout} ms`));
    let timer = setTimeout(abort, retry.idleTimeout);
    try {
      const both = signal === undefined ? idle.signal : AbortSignal.any([signal, idle.signal]);
      const response = await request(connection, url, { signal: both }, attempt.number);
      if (!response.ok) {
        await response.body?.cancel();
        throw statusError(connection, response, url, attempt.number, {
          what: "file",
          revision: commit,
          path: file.path,
        });
      }
      const hash = startDigest("sha256", file.size);
      let size = 0;
      try {
        for await (const chunk of piecesOf(response, both)) {
          clearTimeout(timer);
          timer = setTimeout(abort, retry.idleTimeout);
          size += chunk.length;
          // One that never ends is not read to its end.
          if (size > file.size) break;
          hash.update(chunk);
        }
      } catch (cause) {
        const problem = `the answer broke off: ${reasonOf(cause)}`;
        throw new HubNetworkError(
          { model, url, attempts: attempt.number, problem, isUpload: true },
          { cause },
        );
      }
      const found = hash.digest("hex");
      if (size === file.size && found === file.sha256) return;
      if (size < file.size) {
        const problem = `the answer broke off after ${size} of ${file.size} bytes`;
        throw new HubNetworkError({ model, url, attempts: attempt.number, problem, isUpload: true });
      }
      throw new HubContentError({
        model,
        commit,
        path: file.path,
        expected: `sha256 ${file.sha256}`,
        found: size > file.size ? `more than its ${file.size} bytes` : `content of sha256 ${found}`,
      });
    } finally {
      clearTimeout(timer);
    }
  });
  report("checking", file.size);
}

/** @throws {HubTagExistsError} where somebody else made the tag meanwhile, of another commit. */
async function tagLast(
  session: Session,
  { tag, commit, message }: { readonly tag: string; readonly commit: string; readonly message: string },
): Promise<void> {
  const { connection, signal, fetch } = session;
  const { model, endpoint } = connection;
  let problem: unknown;
  try {
    await createTag(connection, fetch, { tag, commit, message });
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof HubError || error instanceof WriteConflict)) throw error;
    problem = error;
  }
  // What the hub says it has counts, and not what it answered.
  const made = (await fetchReferences(connection, fetch)).tags.get(tag);
  if (made === commit) return;
  if (made !== undefined) throw new HubTagExistsError({ model, tag, commit: made, sameFiles: false });
  if (problem instanceof HubError) throw problem;
  const status = problem instanceof WriteConflict ? problem.status : undefined;
  throw new HubResponseError({
    model,
    url: `${endpoint}/api/models/${model}/tag/${commit}`,
    status,
    problem: `made no tag ${tag}`,
  });
}
