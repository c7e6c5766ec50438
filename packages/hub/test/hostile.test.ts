import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { HubNetworkError, HubResponseError, openModel } from "../src/index.js";
import { noise, sha256 } from "./hub-server.js";
import { commit, failureOf, model, useScene } from "./scene.js";

const scene = useScene();
const content = noise(3 << 20);
const file = {
  type: "file",
  path: "weights.bin",
  size: content.length,
  oid: "b".repeat(40),
  lfs: { oid: sha256(content), size: content.length, pointerSize: 130 },
};
let server: Server | undefined;
let requests = 0;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void;

/** A hub whose listing or whose file answers as told. */
async function open(answers: { tree?: Answer; file?: Answer }, retry = {}): ReturnType<typeof openModel> {
  requests = 0;
  server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    requests += 1;
    if (!url.pathname.startsWith("/api/")) return answers.file?.(request, response, url);
    if (answers.tree !== undefined) return answers.tree(request, response, url);
    response.end(JSON.stringify([file]));
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const quick = { attempts: 3, delay: 1, idleTimeout: 500, ...retry };
  return openModel(`${model}@${commit}`, { ...scene.options, endpoint, retry: quick });
}

function cut(response: ServerResponse, bytes: Buffer): void {
  response.write(bytes, () => response.socket?.destroySoon());
}

function rangeStart(request: IncomingMessage): number {
  return Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
}

describe("a server that would never end a file", () => {
  it("ignores the range and breaks off after two mebibytes", async () => {
    const files = await open({ file: (_, response) => cut(response, content.subarray(0, 2 << 20)) });
    expect(await failureOf(files.localPath("weights.bin"))).toBeInstanceOf(HubNetworkError);
    expect(requests).toBeLessThan(12);
  });

  it("is not one that gives a mebibyte of new bytes a request", async () => {
    const files = await open(
      {
        file: (request, response) => {
          const start = rangeStart(request);
          response.writeHead(start > 0 ? 206 : 200, {
            "content-range": `bytes ${start}-${content.length - 1}/${content.length}`,
          });
          response.end(content.subarray(start));
        },
      },
      { attempts: 1 },
    );
    await files.localPath("weights.bin");
    expect(requests).toBe(2);
  });

  it.each([0, 5, 2 << 20])("answers with the part from byte %d whatever is asked", async (offset) => {
    const files = await open({
      file: (request, response) => {
        if (request.headers.range === undefined) return cut(response, content.subarray(0, 1 << 20));
        response.writeHead(206, {
          "content-range": `bytes ${offset}-${content.length - 1}/${content.length}`,
        });
        response.end(content.subarray(offset));
      },
    });
    expect(await failureOf(files.localPath("weights.bin"))).toBeInstanceOf(HubNetworkError);
    expect(requests).toBeLessThan(12);
  });

  it("answers a plain request with a part from the middle", async () => {
    const files = await open({
      file: (_, response) => {
        response.writeHead(206, { "content-range": `bytes 7-${content.length - 1}/${content.length}` });
        response.end(content.subarray(7));
      },
    });
    expect(await failureOf(files.localPath("weights.bin"))).toBeInstanceOf(HubNetworkError);
  });

  it("drips", async () => {
    const files = await open({
      file: (_, response) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write("x"), 20);
        response.on("close", () => clearInterval(timer));
      },
    });
    const error = await failureOf(files.localPath("weights.bin"));
    expect(error).toBeInstanceOf(HubNetworkError);
    expect((error as Error).message).toContain("too slow");
  });
});

describe("a listing that would never end", () => {
  const next = (response: ServerResponse, request: IncomingMessage, url: URL, cursor: string): void => {
    const link = `http://${request.headers.host}${url.pathname}?cursor=${cursor}`;
    response.setHeader("link", `<${link}>; rel="next"`);
  };
  it.each<[string, Answer]>([
    [
      "leads back to itself",
      (request, response, url) => {
        next(response, request, url, "1");
        response.end(JSON.stringify([file]));
      },
    ],
    [
      "gives one page under ever new names",
      (request, response, url) => {
        next(response, request, url, String(requests));
        response.end("[]");
      },
    ],
    [
      "gives ever new pages",
      (request, response, url) => {
        next(response, request, url, String(requests));
        response.end(JSON.stringify([{ ...file, path: `f${requests}` }]));
      },
    ],
    ["has a page without an end", (_, response) => void flood(response)],
  ])("%s", { timeout: 30_000 }, async (_, tree) => {
    const files = await open({ tree }, { idleTimeout: 5000 });
    expect(await failureOf(files.list())).toBeInstanceOf(HubResponseError);
    expect(requests).toBeLessThanOrEqual(1000);
  });
});

function flood(response: ServerResponse): void {
  const spaces = Buffer.alloc(1 << 20, " ");
  const more = (): void => {
    while (!response.destroyed && response.write(spaces));
    if (!response.destroyed) response.once("drain", more);
  };
  more();
}
