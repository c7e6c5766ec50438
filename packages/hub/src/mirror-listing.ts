import { type Connection, createApiFetch, request, statusError } from "./connection.js";
import { HubNotFoundError, HubResponseError } from "./errors.js";
import type { ListedFile } from "./listed-file.js";
import { apiPath, pagePath } from "./repository-kind.js";
import { withRetries } from "./retry.js";
import { checkRelativePath } from "./safe-path.js";

/** Files of a commit whose facts are asked for one by one. */
const mostFiles = 1000;
const atOnce = 8;

/** Whether an endpoint's answer to the question for a listing may mean that it has none, as some mirrors. */
export function maybeWithoutListing(error: unknown): boolean {
  if (error instanceof HubNotFoundError) return error.what === "repository";
  return error instanceof HubResponseError && [400, 405, 410].includes(error.status ?? 0);
}

/**
 * The files of a commit on a mirror that passes files and a revision's facts on, and no listing (Artifactory, Nexus):
 * their names from the revision's `siblings`, size and hash from the headers of each file, as Python's huggingface_hub
 * has them (`get_hf_file_metadata`).
 *
 * @throws {HubResponseError} for a mirror that says no hash of a file: nothing could be verified.
 * @throws as {@link request}.
 */
export async function fetchMirrorListing(
  connection: Connection,
  commit: string,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, ListedFile>> {
  const { kind, model, endpoint } = connection;
  const url = `${endpoint}/${apiPath(kind, model)}/revision/${commit}`;
  const response = await createApiFetch(connection, commit, signal)(url);
  const names = namesIn(await response.text());
  if (names === undefined || names.length === 0 || names.length > mostFiles) {
    const problem =
      names === undefined || names.length === 0
        ? "names no files, and the endpoint has no listing of them either"
        : `names ${names.length} files, and an endpoint without a listing is asked for ${mostFiles} at most`;
    throw new HubResponseError({ model, url, problem });
  }
  const files = new Map<string, ListedFile>();
  const waiting = [...new Set(names)];
  const work = async (): Promise<void> => {
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
      checkRelativePath(model, path);
      files.set(path, await fetchFacts(connection, commit, path, signal));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return files;
}

function namesIn(text: string): readonly string[] | undefined {
  let siblings: unknown;
  try {
    siblings = Reflect.get(Object(JSON.parse(text)), "siblings");
  } catch {
    return undefined;
  }
  if (!Array.isArray(siblings)) return undefined;
  const names = siblings.map((sibling: unknown): unknown => Reflect.get(Object(sibling), "rfilename"));
  return names.every((name) => typeof name === "string") ? names : undefined;
}

/** Size and hash of a file: the hub's headers, which a mirror passes on. */
async function fetchFacts(
  connection: Connection,
  commit: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<ListedFile> {
  const { kind, model, endpoint, retry } = connection;
  const place = path.split("/").map(encodeURIComponent).join("/");
  const url = `${endpoint}/${pagePath(kind, model)}/resolve/${commit}/${place}`;
  return withRetries(retry, signal, async (attempt) => {
    const timeout = AbortSignal.timeout(retry.idleTimeout);
    const response = await request(
      connection,
      url,
      {
        method: "HEAD",
        headers: new Headers({ "accept-encoding": "identity" }),
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        // A redirect to the storage has the hub's headers, and the storage other ones.
        staysAtOrigin: true,
      },
      attempt.number,
    );
    const { headers, status } = response;
    await response.body?.cancel();
    if (status >= 400)
      throw statusError(connection, response, url, attempt.number, { what: "file", revision: commit, path });
    const linked = headers.get("x-linked-etag");
    const tag = (linked ?? headers.get("etag"))?.replace(/^(?:W\/)?"(.*)"$/, "$1");
    const size = Number(headers.get("x-linked-size") ?? headers.get("content-length") ?? Number.NaN);
    // A tag of the mirror's own is no hash that the hub gave: it has the commit beside its own.
    const isHubs = linked !== null || headers.get("x-repo-commit") === commit;
    const isSha256 = tag !== undefined && /^[0-9a-f]{64}$/.test(tag);
    if (!isHubs || !Number.isSafeInteger(size) || size < 0 || !(isSha256 || /^[0-9a-f]{40}$/.test(tag ?? "")))
      throw new HubResponseError({
        model,
        url,
        status,
        problem:
          "says no size and hash of the file (X-Repo-Commit, ETag), and the endpoint has no listing of files to take them from",
      });
    // Git's id of an LFS file is that of its pointer, which is not asked for; it names nothing here.
    return isSha256
      ? { path, size, oid: tag.slice(0, 40), sha256: tag, xetHash: undefined }
      : { path, size, oid: tag as string, sha256: undefined, xetHash: undefined };
  });
}
