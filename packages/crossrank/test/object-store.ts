import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe } from "vitest";
import { freePort } from "./redis-server.js";

const python = process.env["PYTHON"] ?? "python3";
const modules = ["moto", "flask", "flask_cors", "py_partiql_parser"];
const look = `import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, ${JSON.stringify(modules)})))`;
const isThere = spawnSync(python, ["-c", look]).status === 0;

if (!isThere) {
  const detail = `There is no moto for ${python}, a server that speaks S3: pip install -r lab/s3/requirements.txt. CI installs it.`;
  if (process.env["CROSSRANK_REQUIRE_S3"] === "1") throw new Error(detail);
  console.warn(`NOT TESTED: files in S3. ${detail}`);
}

/** `describe` of what needs a store that speaks S3; with CROSSRANK_REQUIRE_S3=1 it has to be there. */
export const describeWithObjectStore: typeof describe.skip = isThere ? describe : describe.skip;

/** What a request is: `PUT /bucket/key?partNumber=1`. */
export type Cut = (what: string) => "request" | "answer" | undefined;

export interface ObjectStore {
  readonly environment: Readonly<Record<string, string>>;
  /** Which connections break: before the request is through, or in the middle of the answer. */
  cut: Cut;
  stop(): Promise<void>;
}

/** A store in memory, behind a server of our own that breaks connections where it is told to. */
export async function startObjectStore(): Promise<ObjectStore> {
  const port = await freePort();
  const store = spawn(python, ["-m", "moto.server", "-H", "127.0.0.1", "-p", String(port)], {
    stdio: "ignore",
  });
  await untilAnswering(store, port);
  const self: { cut: Cut } = { cut: () => undefined };
  const proxy = createServer((incoming, outgoing) => {
    const what = `${incoming.method} ${incoming.url}`;
    const breaks = self.cut(what);
    const { headers, method, url: path } = incoming;
    if (breaks === "request") {
      incoming.once("data", () => incoming.socket.destroy());
      incoming.once("end", () => incoming.socket.destroy());
      return;
    }
    const there = request({ port, host: "127.0.0.1", method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.rawHeaders);
      if (breaks === undefined) return void answer.pipe(outgoing);
      answer.once("data", (piece: Buffer) => {
        outgoing.write(piece.subarray(0, piece.length >> 1), () => incoming.socket.destroy());
        answer.resume();
      });
      answer.once("end", () => incoming.socket.destroy());
    });
    there.once("error", () => incoming.socket.destroy());
    incoming.pipe(there);
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    environment: {
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      AWS_ACCESS_KEY_ID: "key",
      AWS_SECRET_ACCESS_KEY: "secret",
    },
    get cut() {
      return self.cut;
    },
    set cut(cut) {
      self.cut = cut;
    },
    stop: () => stop(proxy, store),
  };
}

async function untilAnswering(store: ChildProcess, port: number): Promise<void> {
  for (let tries = 0; tries < 600; tries += 1) {
    if (store.exitCode !== null) break;
    const answers = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (answers) return;
    await sleep(100);
  }
  throw new Error(`moto's server did not start (exit code ${store.exitCode})`);
}

async function stop(proxy: Server, store: ChildProcess): Promise<void> {
  proxy.close();
  proxy.closeAllConnections();
  const gone = once(store, "exit");
  store.kill("SIGKILL");
  await gone;
}
