import { once } from "node:events";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { type ConnectionOptions, connect } from "node:tls";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { type NamedProxy, proxyFor } from "./proxy-rules.js";

/**
 * A `fetch` that goes through the proxy which the environment names for an address, and is `direct` where it names
 * none: Node 20's own knows no proxies. It answers a request of this package's kind, and follows no redirect.
 *
 * @param trust what else a server's certificate may be signed by; for tests.
 */
export function createProxiedFetch(
  direct: typeof globalThis.fetch,
  variables: Readonly<Record<string, string | undefined>> = process.env,
  trust: Pick<ConnectionOptions, "ca"> = {},
): typeof globalThis.fetch {
  return async (input, init) => {
    const target = new URL(input instanceof Request ? input.url : String(input));
    const proxy = proxyFor(target, variables);
    if (proxy === undefined) return direct(input, init);
    const signal = init?.signal ?? undefined;
    signal?.throwIfAborted();
    const headers: Record<string, string> = {
      "accept-encoding": "identity",
      ...Object.fromEntries(new Headers(init?.headers)),
      host: target.host,
    };
    const method = init?.method ?? "GET";
    const body = typeof init?.body === "string" || init?.body instanceof Blob ? init.body : undefined;
    // Storage takes no body whose length it is not told.
    if (body instanceof Blob) headers["content-length"] = String(body.size);
    const request = { target, method, headers, body, signal };
    const message =
      target.protocol === "https:"
        ? await throughTunnel(proxy, request, trust)
        : await throughProxy(proxy, request, trust);
    return responseOf(message, target, method);
  };
}

interface ProxiedRequest {
  readonly target: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Blob | undefined;
  readonly signal: AbortSignal | undefined;
}

type Trust = Pick<ConnectionOptions, "ca">;

/** A plain request, whose whole address the proxy is told. */
function throughProxy(proxy: NamedProxy, request: ProxiedRequest, trust: Trust): Promise<IncomingMessage> {
  const headers = { ...request.headers, ...proxyHeaders(proxy) };
  const path = request.target.href.replace(/#.*$/, "");
  return answer(openProxy(proxy, { ...request, path, headers }, trust), request.body);
}

/** A request inside of a connection that the proxy only passes on. */
async function throughTunnel(
  proxy: NamedProxy,
  request: ProxiedRequest,
  trust: Trust,
): Promise<IncomingMessage> {
  const { target, method, headers, body, signal } = request;
  const host = target.hostname.replace(/^\[(.*)\]$/, "$1");
  const place = `${target.hostname}:${target.port === "" ? 443 : target.port}`;
  const asking = openProxy(
    proxy,
    { method: "CONNECT", path: place, headers: { host: place, ...proxyHeaders(proxy) }, signal },
    trust,
  );
  const socket = await tunnelOf(asking);
  const secure = connect({ socket, ...(isName(host) ? { servername: host } : {}), ...trust });
  try {
    await once(secure, "secureConnect", signal === undefined ? {} : { signal });
  } catch (error) {
    socket.destroy();
    throw error;
  }
  const inside = requestHttp({
    // Only without an agent is this asked.
    createConnection: () => secure,
    host,
    method,
    path: `${target.pathname}${target.search}`,
    headers: { ...headers, connection: "close" },
    ...(signal === undefined ? {} : { signal }),
  });
  return answer(inside, body);
}

/** A server's name is told to it; an address has none (RFC 6066, 3). */
function isName(host: string): boolean {
  return !/^[\d.]+$|:/.test(host);
}

function proxyHeaders({ authorization }: NamedProxy): Readonly<Record<string, string>> {
  return authorization === undefined ? {} : { "proxy-authorization": authorization };
}

function openProxy(
  { url }: NamedProxy,
  facts: {
    readonly method: string;
    readonly path: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly signal: AbortSignal | undefined;
  },
  trust: Trust,
): ReturnType<typeof requestHttp> {
  const open = url.protocol === "https:" ? requestHttps : requestHttp;
  return open({
    ...trust,
    agent: false,
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port),
    method: facts.method,
    path: facts.path,
    headers: facts.headers,
    ...(facts.signal === undefined ? {} : { signal: facts.signal }),
  });
}

function answer(
  request: ReturnType<typeof requestHttp>,
  body: string | Blob | undefined,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once("response", resolve).on("error", reject);
    if (!(body instanceof Blob)) {
      request.end(body);
      return;
    }
    const content = Readable.fromWeb(body.stream() as ReadableStream<Uint8Array>);
    // A file that cannot be read to its end ends the request; one that is answered early is read no further.
    content.on("error", (error) => request.destroy(error)).pipe(request);
    request.once("close", () => content.destroy());
  });
}

function tunnelOf(request: ReturnType<typeof requestHttp>): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const refuse = (status: number | undefined): void => {
      reject(new Error(`the proxy answered ${status} to CONNECT`));
    };
    request
      .once("connect", (response, socket) => {
        if (response.statusCode === 200) return resolve(socket);
        socket.destroy();
        refuse(response.statusCode);
      })
      .once("response", (response) => {
        response.destroy();
        refuse(response.statusCode);
      })
      .on("error", reject)
      .end();
  });
}

const decoders = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  br: createBrotliDecompress,
  deflate: createInflate,
} as const;

/** As `fetch` gives it: the content decoded, the headers as they came. */
function responseOf(message: IncomingMessage, target: URL, method: string): Response {
  const { statusCode: status = 0, rawHeaders } = message;
  const headers = new Headers();
  for (let index = 0; index + 1 < rawHeaders.length; index += 2)
    headers.append(rawHeaders[index] as string, rawHeaders[index + 1] as string);
  const isEmpty = method === "HEAD" || status === 204 || status === 304;
  if (isEmpty) message.resume();
  const encoding = headers.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  const decoder = Object.hasOwn(decoders, encoding)
    ? decoders[encoding as keyof typeof decoders]()
    : undefined;
  // An answer that is cut ends what is read of it, too.
  const content =
    decoder === undefined ? message : message.on("error", (error) => decoder.destroy(error)).pipe(decoder);
  const body = isEmpty ? null : (Readable.toWeb(content) as ReadableStream<Uint8Array> as never);
  const response = new Response(body, { status, headers });
  Object.defineProperty(response, "url", { value: target.href });
  return response;
}
