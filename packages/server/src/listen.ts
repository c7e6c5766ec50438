import type { Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { CrossrankError, InvalidInputError } from "@crossrank/core";
import { createAdaptorServer } from "@hono/node-server";
import { refusalBody } from "./dialects/refusals.js";
import { RequestRefusedError } from "./refusal.js";
import type { RerankServer } from "./server.js";

export interface ListenOptions {
  /** Default `"127.0.0.1"`. Any other than this machine's own needs a server with keys. */
  readonly host?: string | undefined;
  /** 0 takes one that is free. Default 8080. */
  readonly port?: number | undefined;
}

/** The address cannot be listened on. */
export class AddressUnavailableError extends CrossrankError<"address-unavailable"> {
  static override readonly code = "address-unavailable";

  readonly host: string;
  readonly port: number;
  constructor(host: string, port: number, problem: string, options?: { cause?: unknown }) {
    super("address-unavailable", `cannot listen on ${host}, port ${port}: ${problem}`, options);
    this.host = host;
    this.port = port;
  }
}

/** A server on a port. */
export interface Listening {
  /** `http://HOST:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /**
   * Closes the server as `RerankServer.close` does, then the port: /health is answered with 503 until then.
   *
   * @param deadline milliseconds for requests under way. Default 30,000.
   */
  close(deadline?: number): Promise<void>;
}

/** Milliseconds that the headers of a request may take. */
const headersPatience = 15_000;
/** Milliseconds that a whole request may take to arrive; the body has a bound of its own. */
const requestPatience = 120_000;
/** Milliseconds that a connection may be idle between two requests. */
const keepAlive = 30_000;

/**
 * Puts a server on a port.
 *
 * @throws {InvalidInputError} when the address is not this machine's own, and the server has no key; or the port is no
 * port.
 * @throws {AddressUnavailableError} when the port is taken, or the host is no address of this machine.
 */
export async function listen(
  server: RerankServer,
  { host = "127.0.0.1", port = 8080 }: ListenOptions = {},
): Promise<Listening> {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidInputError("port", "must be a whole number from 0 to 65535");
  }
  if (!server.hasKeys && !isLoopback(host)) {
    throw new InvalidInputError(
      "host",
      `is ${host}, which other machines reach, and there is no API key. Give a key, or listen on 127.0.0.1`,
    );
  }
  const http = createAdaptorServer({
    fetch: server.fetch,
    // A program that mounts the server keeps its own Request and Response.
    overrideGlobalObjects: false,
    serverOptions: {
      headersTimeout: headersPatience,
      requestTimeout: requestPatience,
      keepAliveTimeout: keepAlive,
      connectionsCheckingInterval: 5000,
    },
  }) as Server;
  http.on("clientError", refuseMalformed);
  await new Promise<void>((resolve, reject) => {
    http.once("error", (cause: NodeJS.ErrnoException) => {
      const problem = problems[cause.code ?? ""] ?? `it cannot be opened (${cause.message})`;
      reject(new AddressUnavailableError(host, port, problem, { cause }));
    });
    http.listen(port, host, resolve);
  });
  const address = http.address() as AddressInfo;
  const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
  let closed: Promise<void> | undefined;
  return {
    url: `http://${shown}:${address.port}`,
    port: address.port,
    close: (deadline) => {
      closed ??= close(http, server, deadline);
      return closed;
    },
  };
}

const problems: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is taken. Choose another one",
  EACCES: "this user may not open the port. Choose one above 1023",
  EADDRNOTAVAIL: "the host is no address of this machine. Choose one that is",
  ENOTFOUND: "the host cannot be resolved. Choose an address of this machine",
};

/** Whether only this machine reaches the address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

async function close(http: Server, server: RerankServer, deadline: number | undefined): Promise<void> {
  await server.close(deadline);
  const ended = new Promise<void>((resolve) => http.close(() => resolve()));
  http.closeIdleConnections();
  // What is still open sends a request that nobody will answer, or does not read its answer.
  setTimeout(() => http.closeAllConnections(), 1000).unref();
  await ended;
}

/** What Node's parser refuses before there is a request: too many headers, no HTTP, headers that do not arrive. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, reason, message] = malformed[error.code ?? ""] ?? [
    400,
    "Bad Request",
    "the request is not HTTP. Send HTTP/1.1",
  ];
  const body = JSON.stringify(refusalBody("superset", new RequestRefusedError(status, message)));
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

const malformed: Readonly<Record<string, readonly [400 | 408 | 431, string, string]>> = {
  HPE_HEADER_OVERFLOW: [431, "Request Header Fields Too Large", "the headers are too long. Send fewer"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "Request Timeout", "the request did not arrive in time. Send it faster"],
};
