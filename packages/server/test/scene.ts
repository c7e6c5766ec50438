import { onnx } from "@crossrank/backend-onnx";
import { createReranker, type Reranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { afterFile } from "../../../test/after-file.js";
import {
  createServer,
  type Listening,
  type LogEntry,
  listen,
  type RerankServer,
  type ServedReranker,
  type ServerOptions,
} from "../src/index.js";

/** The embedded model, as the command opens it. */
export async function openNano(): Promise<Reranker> {
  return createReranker({
    model: await openModel(modelFolder),
    backend: onnx({ workers: 1, threads: 1 }),
  });
}

/** The same reranker for several servers: closing one does not free it. */
export function kept<Opened extends ServedReranker>(reranker: Opened): Opened {
  return new Proxy(reranker, {
    get(target, property) {
      if (property === "dispose" || property === "drain") return async () => undefined;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a client reads
  readonly body: any;
}

export interface Scene {
  readonly server: RerankServer;
  readonly listening: Listening;
  readonly url: string;
  readonly log: readonly LogEntry[];
  post(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
}

/** A server on a free port, closed after the tests of the file. */
export async function startScene(options: ServerOptions): Promise<Scene> {
  const log: LogEntry[] = [];
  const server = createServer({ ...options, log: (entry) => log.push(entry) });
  const listening = await listen(server, { port: 0 });
  afterFile(() => listening.close(2000));
  const { url } = listening;
  return {
    server,
    listening,
    url,
    log,
    post: (path, body, headers) => postTo(url, path, body, headers),
    get: (path, headers) => getFrom(url, path, headers),
  };
}

/** Posts JSON, or a body as it is. */
export function postTo(
  url: string,
  path: string,
  body: unknown,
  headers?: Readonly<Record<string, string>>,
): Promise<Answer> {
  return read(url + path, {
    method: "POST",
    body: typeof body === "string" || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });
}

export function getFrom(
  url: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return read(url + path, { headers });
}

async function read(url: string, request: RequestInit): Promise<Answer> {
  const response = await fetch(url, request);
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json");
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : text };
}

export const question = "What is deep learning?";
export const passages: readonly string[] = [
  "Apples are red and sweet fruits that grow on trees.",
  "Deep learning is a subset of machine learning.",
  'What is deep? Learning: naïve 🤖 "quotes"\nand lines.',
];
