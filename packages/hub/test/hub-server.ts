import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A repository with one commit. */
export interface Repository {
  readonly id: string;
  /** Default `model`. A model and a dataset may have one id. */
  readonly kind?: "model" | "dataset";
  readonly commit: string;
  /** Branches and tags that stand for the commit. */
  readonly revisions: readonly string[];
  readonly files: Readonly<Record<string, RepositoryFile>>;
  /** Token without which every request is refused. */
  readonly token?: string;
  readonly gated?: boolean;
  /** As a mirror: no tree listing; `mute` says no hash of its files either. */
  readonly mirror?: "listing no files" | "mute";
}

export interface RepositoryFile {
  readonly content: Buffer;
  /** LFS files are known by sha256 and served by the storage server. */
  readonly lfs: boolean;
}

export interface LoggedRequest {
  readonly server: "hub" | "storage";
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** An answer given instead of the real one. */
export interface Fault {
  readonly server: "hub" | "storage";
  /** Part of the path. */
  readonly path: string;
  /** How many requests it meets. */
  times: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Sends so many bytes of the file's answer and cuts the connection. */
  readonly cutAfter?: number;
  /** Sends so many bytes of the file's answer and then nothing more, with the connection open. */
  readonly stallAfter?: number;
  /** Sends other bytes of the same length. */
  readonly corrupt?: boolean;
  /** Sends the file and more. */
  readonly tooLong?: boolean;
  /** Answers a range request with the whole file. */
  readonly ignoreRange?: boolean;
  /** Answers once this has settled. */
  readonly after?: Promise<unknown>;
}

export interface HubServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly log: LoggedRequest[];
  readonly faults: Fault[];
  /** Entries put into every tree listing. */
  readonly extraEntries: unknown[];
  /** Requests for content, as `server path`, without redirects of the hub to itself. */
  contentRequests(): LoggedRequest[];
}

export function lfsFile(content: Buffer | string): RepositoryFile {
  return { content: Buffer.from(content), lfs: true };
}

export function gitFile(content: Buffer | string): RepositoryFile {
  return { content: Buffer.from(content), lfs: false };
}

export function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

export function gitBlobId(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

/** Bytes that compress badly and differ everywhere, so that a wrong offset shows. */
export function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let index = 0; index < length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

/**
 * The hub on loopback: model info, tree listing (in pages), resolve with its redirects, ranges, ETag headers, and a
 * second server on another port that plays the file storage behind signed URLs.
 */
export async function startHub(...repositories: Repository[]): Promise<HubServer> {
  const log: LoggedRequest[] = [];
  const faults: Fault[] = [];
  const extraEntries: unknown[] = [];
  const storage = createServer((request, response) => {
    void handle("storage", request, response, (segments) => serveStorage(segments, request, response));
  });
  const storageUrl = await listen(storage);
  const hub = createServer((request, response) => {
    void handle("hub", request, response, (segments) => serveHub(segments, request, response));
  });
  const endpoint = await listen(hub);

  async function handle(
    server: "hub" | "storage",
    request: IncomingMessage,
    response: ServerResponse,
    serve: (segments: string[]) => unknown,
  ): Promise<void> {
    // Each segment on its own: a revision may hold an encoded slash.
    const segments = new URL(request.url ?? "/", "http://localhost").pathname
      .split("/")
      .map(decodeURIComponent);
    const path = segments.join("/");
    log.push({
      server,
      method: request.method ?? "",
      path,
      range: request.headers.range,
      authorization: request.headers.authorization,
    });
    const fault = takeFault(server, path);
    await fault?.after;
    if (fault?.status !== undefined) {
      response.writeHead(fault.status, fault.headers).end(fault.body);
      return;
    }
    if (fault !== undefined) current.set(response, fault);
    serve(segments);
  }

  const current = new WeakMap<ServerResponse, Fault>();

  function takeFault(server: "hub" | "storage", path: string): Fault | undefined {
    const fault = faults.find(
      (candidate) => candidate.server === server && candidate.times > 0 && path.includes(candidate.path),
    );
    if (fault !== undefined) fault.times -= 1;
    return fault;
  }

  function serveHub(segments: string[], request: IncomingMessage, response: ServerResponse): ServerResponse {
    const path = segments.join("/");
    const isApi = /^\/api\/(?:models|datasets)\//.test(path);
    const isRedirected = path.startsWith("/api/resolve-cache/");
    const isDataset = /^\/(?:api\/(?:resolve-cache\/)?)?datasets\//.test(path);
    const kind = isDataset ? "dataset" : "model";
    const idAt = isRedirected ? 4 : isApi ? 3 : isDataset ? 2 : 1;
    const wanted = segments.slice(idAt, idAt + 2).join("/");
    const repository = repositories.find(({ id, kind: its = "model" }) => id === wanted && its === kind);
    if (repository === undefined) return refuse(response, 404, "RepoNotFound");
    if (repository.token !== undefined && request.headers.authorization !== `Bearer ${repository.token}`) {
      if (repository.gated === true) return refuse(response, 403, "GatedRepo");
      return refuse(response, 401, "RepoNotFound");
    }
    const rest = segments.slice(idAt + 2);
    const action = isRedirected ? "resolve-cache" : rest.shift();
    const [revision, ...name] = rest;
    const known = revision === repository.commit || repository.revisions.includes(revision ?? "");
    if (!known) return refuse(response, 404, "RevisionNotFound");
    if (isApi && action === "revision") {
      return json(response, {
        _id: "1",
        id: repository.id,
        sha: repository.commit,
        lastModified: "2026-01-01",
        ...(repository.mirror === undefined
          ? {}
          : { siblings: Object.keys(repository.files).map((rfilename) => ({ rfilename })) }),
      });
    }
    if (isApi && action === "tree" && repository.mirror !== undefined)
      return response.writeHead(404).end('{"errors":[{"status":404,"message":"Not Found"}]}');
    if (isApi && action === "tree") return serveTree(repository, request, response);
    const file = repository.files[name.join("/")];
    if (file === undefined) return refuse(response, 404, "EntryNotFound");
    if (action !== "resolve" && action !== "resolve-cache") return refuse(response, 404, "RepoNotFound");
    if (repository.mirror === "mute") return serveContent(file.content, {}, request, response);
    const headers = {
      "x-repo-commit": repository.commit,
      "accept-ranges": "bytes",
      etag: `"${gitBlobId(file.content)}"`,
    };
    if (file.lfs) {
      const hash = sha256(file.content);
      response.writeHead(302, {
        ...headers,
        "x-linked-etag": `"${hash}"`,
        "x-linked-size": String(file.content.length),
        location: `${storageUrl}/${hash}?signature=secret`,
      });
      return response.end();
    }
    if (action === "resolve" && request.method === "GET") {
      // The hub sends small files through a relative redirect to itself.
      const place = `/api/resolve-cache/${kind}s/${repository.id}/${repository.commit}/`;
      const location = place + name.map(encodeURIComponent).join("/");
      return response.writeHead(307, { ...headers, location }).end();
    }
    return serveContent(file.content, headers, request, response);
  }

  function serveTree(
    repository: Repository,
    request: IncomingMessage,
    response: ServerResponse,
  ): ServerResponse {
    const url = new URL(request.url ?? "/", endpoint);
    const entries = [
      ...Object.entries(repository.files).map(([path, { content, lfs }]) => ({
        type: "file",
        path,
        size: content.length,
        oid: gitBlobId(content),
        ...(lfs ? { lfs: { oid: sha256(content), size: content.length, pointerSize: 130 } } : {}),
      })),
      { type: "directory", path: "onnx", size: 0, oid: "0".repeat(40) },
      ...extraEntries,
    ];
    const pageSize = 3;
    const start = Number(url.searchParams.get("cursor") ?? 0);
    if (start + pageSize < entries.length) {
      url.searchParams.set("cursor", String(start + pageSize));
      response.setHeader("link", `<${url.href}>; rel="next"`);
    }
    return json(response, entries.slice(start, start + pageSize));
  }

  function serveStorage(
    segments: string[],
    request: IncomingMessage,
    response: ServerResponse,
  ): ServerResponse {
    const file = repositories
      .flatMap((repository) => Object.values(repository.files))
      .find((candidate) => candidate.lfs && segments[1] === sha256(candidate.content));
    if (file === undefined) return refuse(response, 404, "");
    return serveContent(file.content, { etag: '"storage-etag"' }, request, response);
  }

  function serveContent(
    content: Buffer,
    headers: Record<string, string>,
    request: IncomingMessage,
    response: ServerResponse,
  ): ServerResponse {
    const fault = current.get(response);
    const range = fault?.ignoreRange === true ? undefined : request.headers.range;
    const start = Number(/^bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
    if (range !== undefined && start >= content.length) {
      return response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    }
    const asked = /^bytes=\d+-(\d+)$/.exec(range ?? "")?.[1];
    const end = asked === undefined ? content.length : Math.min(Number(asked) + 1, content.length);
    let body = content.subarray(start, end);
    if (fault?.corrupt === true) body = Buffer.from(body.map((byte) => byte ^ 1));
    if (fault?.tooLong === true) body = Buffer.concat([body, Buffer.from("more")]);
    const contentRange = { "content-range": `bytes ${start}-${end - 1}/${content.length}` };
    response.writeHead(range === undefined ? 200 : 206, {
      ...headers,
      ...(range === undefined ? {} : contentRange),
      "content-length": String(body.length),
    });
    if (request.method === "HEAD") return response.end();
    const partial = fault?.cutAfter ?? fault?.stallAfter;
    if (partial === undefined) return response.end(body);
    response.write(body.subarray(0, partial), () => {
      if (fault?.cutAfter !== undefined) response.socket?.destroySoon();
    });
    return response;
  }

  return {
    endpoint,
    log,
    faults,
    extraEntries,
    contentRequests: () =>
      log.filter(({ server, path }) => server === "storage" || path.startsWith("/api/resolve-cache/")),
    async [Symbol.asyncDispose]() {
      await Promise.all([close(hub), close(storage)]);
    },
  };
}

function json(response: ServerResponse, value: unknown): ServerResponse {
  return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}

function refuse(response: ServerResponse, status: number, code: string): ServerResponse {
  response.writeHead(status, { "x-error-code": code, "content-type": "application/json" });
  return response.end(JSON.stringify({ error: `refused ${code}` }));
}

async function listen(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}
