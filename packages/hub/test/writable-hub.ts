import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gitBlobId, sha256 } from "./hub-server.js";

/** A file of a commit. */
export interface StoredFile {
  readonly content: Buffer;
  readonly lfs: boolean;
}

export type Tree = ReadonlyMap<string, StoredFile>;

/** What a request meets in place of the real answer. */
export interface WriteFault {
  readonly method?: string;
  /** Part of the path. */
  readonly path: string;
  /** Requests that it meets. */
  times: number;
  /** Requests that it lets pass first. */
  after?: number;
  readonly status?: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Cuts the connection once so many bytes of the request's body came. */
  readonly cutAfter?: number;
  /** Does what was asked and cuts the connection before it answers. */
  readonly loseAnswer?: boolean;
  /** Runs before the request is answered. */
  readonly before?: () => unknown;
}

export interface WrittenRequest {
  readonly server: "hub" | "storage";
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly authorization: string | undefined;
  /** Bytes of the body that came. */
  bytes: number;
  status: number | undefined;
}

export interface WritableHub extends AsyncDisposable {
  readonly endpoint: string;
  readonly id: string;
  readonly token: string;
  readonly log: WrittenRequest[];
  readonly faults: WriteFault[];
  readonly branches: Map<string, string>;
  readonly tags: Map<string, string>;
  readonly commits: ReadonlyMap<string, Tree>;
  /** LFS objects by sha256. */
  readonly objects: Map<string, Buffer>;
  /** Lies in the listing: another sha256 for this path. */
  liesAbout: string | undefined;
  /** Gives other bytes of this path when it is read. */
  corrupts: string | undefined;
  /** Files from so many bytes on are sent in parts of this size. */
  partSize: number | undefined;
  /** Somebody else's commit on a branch. */
  commitOther(path: string, content: string, branch?: string): string;
  uploads(): WrittenRequest[];
}

export interface WritableHubOptions {
  readonly id?: string;
  readonly token?: string;
  readonly files?: Readonly<Record<string, StoredFile>>;
  readonly partSize?: number;
}

/**
 * A hub on loopback that can be written: references, tree, resolve, preupload by content, LFS batch, storage on a second
 * server with basic and multipart uploads that it checks by sha256, commits as NDJSON with a parent, and tags.
 */
export async function startWritableHub(options: WritableHubOptions = {}): Promise<WritableHub> {
  const id = options.id ?? "acme/reranker-mobile";
  const token = options.token ?? "hf_loopback_secret_token";
  const log: WrittenRequest[] = [];
  const faults: WriteFault[] = [];
  const objects = new Map<string, Buffer>();
  const parts = new Map<string, Map<number, Buffer>>();
  const commits = new Map<string, Tree>();
  const branches = new Map<string, string>();
  const tags = new Map<string, string>();
  let counter = 0;

  const addCommit = (tree: Tree): string => {
    counter += 1;
    const oid = createHash("sha1").update(`commit ${counter}`).digest("hex");
    commits.set(oid, tree);
    return oid;
  };
  const first = new Map<string, StoredFile>([
    [".gitattributes", { content: Buffer.from("*.onnx filter=lfs diff=lfs merge=lfs -text\n"), lfs: false }],
    ...Object.entries(options.files ?? {}),
  ]);
  branches.set("main", addCommit(first));

  const storage = createServer((request, response) => void handle("storage", request, response));
  const storageUrl = await listen(storage);
  const hubServer = createServer((request, response) => void handle("hub", request, response));
  const endpoint = await listen(hubServer);

  async function handle(
    server: "hub" | "storage",
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const url = new URL(request.url ?? "/", "http://localhost");
    const entry: WrittenRequest = {
      server,
      method: request.method ?? "",
      path: decodeURIComponent(url.pathname),
      authorization: request.headers.authorization,
      bytes: 0,
      status: undefined,
    };
    log.push(entry);
    const fault = takeFault(entry);
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) {
        entry.bytes += (chunk as Buffer).length;
        chunks.push(chunk as Buffer);
        if (fault?.cutAfter !== undefined && entry.bytes > fault.cutAfter) {
          request.socket.destroy();
          return;
        }
      }
    } catch {
      // The client is gone.
      return;
    }
    await fault?.before?.();
    response.on("finish", () => {
      entry.status = response.statusCode;
    });
    if (fault?.status !== undefined) {
      response.writeHead(fault.status, { "content-type": "application/json", ...fault.headers });
      response.end(fault.body ?? '{"error":"refused"}');
      return;
    }
    if (fault?.body !== undefined) {
      response.writeHead(200, { "content-type": "application/json" }).end(fault.body);
      return;
    }
    if (fault?.loseAnswer === true) {
      const socket = request.socket;
      response.writeHead = () => response;
      response.end = (() => {
        socket.destroy();
        return response;
      }) as typeof response.end;
    }
    const body = Buffer.concat(chunks);
    if (server === "storage") serveStorage(url, request, response, body);
    else serveHub(url, request, response, body);
  }

  function takeFault(entry: WrittenRequest): WriteFault | undefined {
    for (const fault of faults) {
      if (fault.times === 0 || !entry.path.includes(fault.path)) continue;
      if (fault.method !== undefined && fault.method !== entry.method) continue;
      if ((fault.after ?? 0) > 0) {
        fault.after = (fault.after ?? 0) - 1;
        continue;
      }
      fault.times -= 1;
      return fault;
    }
    return undefined;
  }

  function serveHub(url: URL, request: IncomingMessage, response: ServerResponse, body: Buffer): unknown {
    const path = url.pathname;
    const method = request.method ?? "";
    if (request.headers.authorization !== `Bearer ${token}`) {
      return json(response, 401, { error: "Invalid username or password." });
    }
    const api = `/api/models/${id}`;
    if (path === `/${id}.git/info/lfs/objects/batch`) return batch(response, body);
    if (path.startsWith("/complete/")) return complete(path, response, body);
    if (path.startsWith(`/${id}/resolve/`)) {
      const [revision = "", ...name] = path
        .slice(`/${id}/resolve/`.length)
        .split("/")
        .map(decodeURIComponent);
      const file = treeOf(revision)?.get(name.join("/"));
      if (file === undefined)
        return json(response, 404, { error: "Entry not found" }, { "x-error-code": "EntryNotFound" });
      const isCorrupt = hub.corrupts === name.join("/");
      const content = isCorrupt ? Buffer.from(file.content.map((byte) => byte ^ 1)) : file.content;
      return serveContent(request, response, content, {
        etag: `"${file.lfs ? sha256(file.content) : gitBlobId(file.content)}"`,
        "x-repo-commit": commitOf(revision) ?? "",
      });
    }
    if (!path.startsWith(`${api}/`)) {
      return json(response, 404, { error: "Repository not found" }, { "x-error-code": "RepoNotFound" });
    }
    const [action = "", revision = ""] = path
      .slice(api.length + 1)
      .split("/")
      .map(decodeURIComponent);
    if (method === "GET" && action === "refs") {
      const list = (of: Map<string, string>, kind: string): object[] =>
        [...of].map(([name, targetCommit]) => ({ name, ref: `refs/${kind}/${name}`, targetCommit }));
      return json(response, 200, {
        branches: list(branches, "heads"),
        tags: list(tags, "tags"),
        converts: [],
      });
    }
    if (method === "GET" && action === "revision") {
      const sha = commitOf(revision);
      if (sha === undefined)
        return json(response, 404, { error: "no" }, { "x-error-code": "RevisionNotFound" });
      return json(response, 200, { _id: "1", id, sha, lastModified: "2026-01-01" });
    }
    if (method === "GET" && action === "tree") {
      const tree = treeOf(revision);
      if (tree === undefined)
        return json(response, 404, { error: "no" }, { "x-error-code": "RevisionNotFound" });
      return json(
        response,
        200,
        [...tree].map(([name, { content, lfs }]) => {
          const hash = hub.liesAbout === name ? "0".repeat(64) : sha256(content);
          return {
            type: "file",
            path: name,
            size: content.length,
            oid: hub.liesAbout === name ? "0".repeat(40) : gitBlobId(content),
            ...(lfs ? { lfs: { oid: hash, size: content.length, pointerSize: 130 } } : {}),
          };
        }),
      );
    }
    if (method === "POST" && action === "preupload") {
      const { files } = JSON.parse(body.toString()) as {
        files: { path: string; size: number; sample: string }[];
      };
      return json(response, 200, {
        files: files.map(({ path: name, size, sample }) => {
          const isBinary = Buffer.from(sample, "base64").includes(0) || size > 100_000;
          return { path: name, uploadMode: isBinary ? "lfs" : "regular", shouldIgnore: false };
        }),
      });
    }
    if (method === "POST" && action === "commit") return commit(revision, response, body);
    if (method === "POST" && action === "tag") {
      const { tag } = JSON.parse(body.toString()) as { tag: string };
      if (tags.has(tag)) return json(response, 409, { error: `Tag ${tag} exists` });
      tags.set(tag, revision);
      return json(response, 200, { tag });
    }
    return json(response, 404, { error: "no such place" });
  }

  function batch(response: ServerResponse, body: Buffer): unknown {
    const { objects: asked } = JSON.parse(body.toString()) as { objects: { oid: string; size: number }[] };
    const answers = asked.map(({ oid, size }) => {
      if (objects.has(oid)) return { oid, size };
      const { partSize } = hub;
      if (partSize === undefined || size <= partSize)
        return { oid, size, actions: { upload: { href: `${storageUrl}/objects/${oid}?signature=s` } } };
      const count = Math.ceil(size / partSize);
      const header: Record<string, string> = { chunk_size: String(partSize) };
      for (let part = 1; part <= count; part += 1)
        header[String(part).padStart(5, "0")] = `${storageUrl}/parts/${oid}/${part}?signature=s`;
      return { oid, size, actions: { upload: { href: `${endpoint}/complete/${oid}?upload=1`, header } } };
    });
    return json(response, 200, { transfer: "basic", objects: answers });
  }

  function complete(path: string, response: ServerResponse, body: Buffer): unknown {
    const oid = path.slice("/complete/".length);
    const { parts: told } = JSON.parse(body.toString()) as { parts: { partNumber: number; etag: string }[] };
    const there = parts.get(oid);
    const pieces = told.map(({ partNumber, etag }) => {
      const piece = there?.get(partNumber);
      return piece !== undefined && etag === etagOf(piece) ? piece : undefined;
    });
    const whole = pieces.includes(undefined) ? undefined : Buffer.concat(pieces as Buffer[]);
    if (whole === undefined || sha256(whole) !== oid)
      return json(response, 400, { error: "parts do not fit" });
    objects.set(oid, whole);
    return json(response, 200, {});
  }

  function serveStorage(url: URL, request: IncomingMessage, response: ServerResponse, body: Buffer): unknown {
    const [, kind, oid = "", part] = url.pathname.split("/");
    if (request.method !== "PUT" || request.headers["content-length"] === undefined) {
      return json(response, 501, {
        error: "A header you provided implies functionality that is not implemented",
      });
    }
    if (kind === "objects") {
      if (sha256(body) !== oid) return json(response, 400, { error: "sha256 does not fit" });
      objects.set(oid, body);
      return response.writeHead(200, { etag: etagOf(body) }).end();
    }
    const own = parts.get(oid) ?? new Map<number, Buffer>();
    parts.set(oid, own.set(Number(part), body));
    return response.writeHead(200, { etag: etagOf(body) }).end();
  }

  function commit(branch: string, response: ServerResponse, body: Buffer): unknown {
    const parent = branches.get(branch);
    if (parent === undefined)
      return json(response, 404, { error: "no branch" }, { "x-error-code": "RevisionNotFound" });
    const lines = body
      .toString()
      .split("\n")
      .map((line) => JSON.parse(line) as { key: string; value: Record<string, string> });
    const expected = lines[0]?.value["parentCommit"];
    if (expected !== undefined && expected !== parent) {
      return json(response, 412, { error: "A commit has happened since. Please refresh and try again." });
    }
    const tree = new Map(commits.get(parent));
    for (const { key, value } of lines.slice(1)) {
      const path = value["path"] ?? "";
      if (key === "deletedFile") tree.delete(path);
      if (key === "file")
        tree.set(path, { content: Buffer.from(value["content"] ?? "", "base64"), lfs: false });
      if (key === "lfsFile") {
        const content = objects.get(value["oid"] ?? "");
        if (content === undefined) return json(response, 400, { error: `${path} was not uploaded` });
        tree.set(path, { content, lfs: true });
      }
    }
    const oid = addCommit(tree);
    branches.set(branch, oid);
    return json(response, 200, {
      success: true,
      commitOid: oid,
      commitUrl: `${endpoint}/${id}/commit/${oid}`,
      hookOutput: "",
    });
  }

  const commitOf = (revision: string): string | undefined =>
    branches.get(revision) ?? tags.get(revision) ?? (commits.has(revision) ? revision : undefined);
  const treeOf = (revision: string): Tree | undefined => commits.get(commitOf(revision) ?? "");

  const hub: WritableHub = {
    endpoint,
    id,
    token,
    log,
    faults,
    branches,
    tags,
    commits,
    objects,
    liesAbout: undefined,
    corrupts: undefined,
    partSize: options.partSize,
    commitOther(path, content, branch = "main") {
      const tree = new Map(commits.get(branches.get(branch) ?? ""));
      const oid = addCommit(tree.set(path, { content: Buffer.from(content), lfs: false }));
      branches.set(branch, oid);
      return oid;
    },
    uploads: () => log.filter(({ server, method }) => server === "storage" && method === "PUT"),
    async [Symbol.asyncDispose]() {
      await Promise.all([close(hubServer), close(storage)]);
    },
  };
  return hub;
}

function etagOf(content: Buffer): string {
  return `"${createHash("md5").update(content).digest("hex")}"`;
}

function serveContent(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  headers: Readonly<Record<string, string>>,
): ServerResponse {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const start = Number(range?.[1] ?? 0);
  const end = range?.[2] ? Math.min(Number(range[2]) + 1, content.length) : content.length;
  const body = content.subarray(start, end);
  response.writeHead(range === null ? 200 : 206, {
    ...headers,
    "accept-ranges": "bytes",
    "content-length": String(body.length),
    ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${content.length}` }),
  });
  return response.end(request.method === "HEAD" ? undefined : body);
}

function json(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): ServerResponse {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  return response.end(JSON.stringify(value));
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
