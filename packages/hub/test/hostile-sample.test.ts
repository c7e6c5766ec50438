import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { deflateSync, gzipSync } from "node:zlib";
import { CrossrankError } from "@crossrank/core";
import { afterEach, describe, expect, it } from "vitest";
import { openModel } from "../src/index.js";
import { noise, sha256 } from "./hub-server.js";
import { commit, model, useScene } from "./scene.js";

// Servers that answer wrongly, drawn with fixed seeds: every one ends in bounded time, in a typed error or the right
// bytes. `CROSSRANK_LONG` draws ten times as many.

const scene = useScene();
const content = noise(200_000);
const right = {
  type: "file",
  path: "weights.bin",
  size: content.length,
  oid: "b".repeat(40),
  lfs: { oid: sha256(content), size: content.length, pointerSize: 130 },
};

type Random = () => number;
type Answer = (response: ServerResponse, request: IncomingMessage, random: Random) => void;

/** mulberry32 */
function randomOf(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pick = <Value>(values: readonly Value[], random: Random): Value =>
  values[Math.floor(random() * values.length)] as Value;

const status =
  (codes: readonly number[], headers: Record<string, string> = {}): Answer =>
  (response, _, random) =>
    void response.writeHead(pick(codes, random), headers).end("no");

const body =
  (values: readonly (string | Buffer)[], headers: Record<string, string> = {}): Answer =>
  (response, _, random) =>
    void response.writeHead(200, headers).end(pick(values, random));

const redirect =
  (places: readonly string[]): Answer =>
  (response, _, random) =>
    void response
      .writeHead(pick([301, 302, 303, 307, 308], random), { location: pick(places, random) })
      .end();

/** Wrong in any place: information, listing, file. */
const anywhere: Readonly<Record<string, Answer>> = {
  "a client's fault": status([400, 402, 404, 405, 406, 409, 410, 413, 414, 416, 418, 422, 451]),
  "not allowed": status([401, 403, 407]),
  "a server's fault": status([500, 501, 502, 503, 504, 507, 511, 599]),
  "a success without content": status([202, 203, 204, 205, 206, 226]),
  "a redirect without a place": status([300, 301, 302, 303, 304, 307, 308]),
  "too many requests, with an odd time to wait": (response, _, random) => {
    const after = pick(["0", "-5", "1e9", "soon", "", "Thu, 99 Foo 2026", "999999999999999999999"], random);
    response.writeHead(429, { "retry-after": after }).end();
  },
  "a redirect to itself": (response, request) => {
    response.writeHead(302, { location: request.url ?? "/" }).end();
  },
  "ever new redirects": (response, request, random) => {
    response.writeHead(307, { location: `${request.url?.split("?")[0]}?n=${random()}` }).end();
  },
  "a redirect to another protocol": redirect([
    "file:///etc/passwd",
    "javascript:1",
    "data:text/plain,x",
    "ftp://localhost/x",
    "blob:x",
    "http://",
    "//",
    "http://[::1",
    "http://localhost:99999/",
    "http://127.0.0.1:1/",
  ]),
  "a connection that is cut at once": (response) => void response.socket?.destroy(),
  "half a header": (response) => {
    response.socket?.end("HTTP/1.1 200 OK\r\ncontent-le");
  },
  "no HTTP": (response, _, random) => {
    response.socket?.end(noise(1 + Math.floor(random() * 5000), Math.floor(random() * 1000)));
  },
  "nothing after the header": (response) => {
    response.writeHead(200, { "content-length": "100" }).flushHeaders();
  },
  "nothing at all": () => undefined,
  "less than it promised": (response, _, random) => {
    response.writeHead(200, { "content-length": String(1000 + Math.floor(random() * 1e6)) });
    response.write("[", () => response.socket?.destroySoon());
  },
  "a broken encoding": body([noise(100), Buffer.from("x"), gzipSync("x").subarray(0, 12)], {
    "content-encoding": "gzip",
  }),
  "an unknown encoding": body(["[]"], { "content-encoding": "zstd, br, papyrus" }),
  "an encoding that swells": (response, _, random) => {
    const zeros = Buffer.alloc(32 << 20);
    const [name, bytes] = pick(
      [["gzip", gzipSync(zeros)] as const, ["deflate", deflateSync(zeros)] as const],
      random,
    );
    response.writeHead(200, { "content-encoding": name }).end(bytes);
  },
  "many and long headers": (response, _, random) => {
    for (let index = 0; index < 50; index += 1)
      response.setHeader(`x-${index}`, "y".repeat(Math.floor(random() * 2000)));
    response.end("[]");
  },
  "broken chunks": (response) => {
    response.socket?.end("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\nxx\r\n0\r\n\r\n");
  },
};

const json: Readonly<Record<string, Answer>> = {
  "no JSON": body(["", " ", "<html>", "{", "[", '{"a":', "nul", "\ufeff", "\0", "[1,]", "NaN"]),
  "JSON of another kind": body(["null", "0", "true", '"x"', "{}", "[]", "[[]]", "[null]", "[1]", '["x"]']),
  "bytes that are no UTF-8": body([noise(50), Buffer.from([0x5b, 0xff, 0xfe, 0x5d])]),
  "JSON of great depth": (response, _, random) => {
    const depth = 10_000 + Math.floor(random() * 90_000);
    response.end("[".repeat(depth) + "]".repeat(depth));
  },
  "a name of an object's own": body([
    '{"__proto__":{"sha":"x"}}',
    '[{"__proto__":{"type":"file","path":"a"}}]',
  ]),
};

const listing: Readonly<Record<string, Answer>> = {
  "an entry with an odd path": (response, _, random) => {
    const paths = [
      "../x",
      "/etc/passwd",
      "",
      ".",
      "..",
      "a/../../b",
      "a\0b",
      "C:\\x",
      "a\\..\\..\\b",
      5,
      null,
      "x/".repeat(3000),
      "__proto__",
    ];
    response.end(JSON.stringify([{ ...right, path: pick<unknown>(paths, random) }]));
  },
  "an entry with an odd size": (response, _, random) => {
    const sizes = [-1, 0.5, 2 ** 53, 1e308, "5", null, {}, [], 0, 1, content.length + 1, 2 ** 40];
    const size = pick<unknown>(sizes, random);
    response.end(JSON.stringify([{ ...right, size, lfs: { ...right.lfs, size } }]));
  },
  "an entry with an odd hash": (response, _, random) => {
    const oids = [
      "",
      "z".repeat(64),
      "a".repeat(63),
      "a".repeat(65),
      "../../x",
      5,
      null,
      "A".repeat(64),
      "0".repeat(64),
    ];
    response.end(JSON.stringify([{ ...right, lfs: { ...right.lfs, oid: pick<unknown>(oids, random) } }]));
  },
  "an entry of an odd type": (response, _, random) => {
    const type = pick<unknown>(["directory", "link", "", 5, null, "FILE"], random);
    response.end(JSON.stringify([{ ...right, type }]));
  },
  "one path twice": (response) => {
    response.end(
      JSON.stringify([right, { ...right, size: 1, lfs: { ...right.lfs, oid: "0".repeat(64), size: 1 } }]),
    );
  },
  "an odd link to the next page": (response, _, random) => {
    const links = [
      "<>; rel=next",
      '<file:///etc/passwd>; rel="next"',
      '<http://[>; rel="next"',
      "next",
      '<//127.0.0.1:1/x>; rel="next"',
      '<?a>; rel="next"',
      ",,,;;;",
    ];
    response.setHeader("link", pick(links, random));
    response.end(JSON.stringify([right]));
  },
};

const file: Readonly<Record<string, Answer>> = {
  "other bytes": (response, _, random) => {
    const bytes = Buffer.from(content);
    const at = Math.floor(random() * bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 + Math.floor(random() * 255));
    response.end(bytes);
  },
  "fewer bytes": (response, _, random) =>
    void response.end(content.subarray(0, Math.floor(random() * content.length))),
  "more bytes": (response, _, random) =>
    void response.end(Buffer.concat([content, noise(1 + Math.floor(random() * 5000))])),
  "another range": (response, _, random) => {
    const total = pick(["*", "5", "-1", "9e99", String(content.length)], random);
    const range = pick(
      ["bytes 0-1", "bytes 5-4", "bytes -1--1", "pages 1-2", "bytes 99999999999999999999-1", ""],
      random,
    );
    response.writeHead(206, { "content-range": `${range}/${total}` }).end(content);
  },
  "a cut after some bytes, each time": (response, _, random) => {
    response.writeHead(200, { "content-length": String(content.length) });
    response.write(content.subarray(0, 1 + Math.floor(random() * 1000)), () =>
      response.socket?.destroySoon(),
    );
  },
  "a drip": (response) => {
    response.writeHead(200, { "content-length": String(content.length) });
    const timer = setInterval(() => response.write("x"), 30);
    response.on("close", () => clearInterval(timer));
  },
};

const stages: Readonly<Record<"information" | "listing" | "file", Readonly<Record<string, Answer>>>> = {
  information: { ...anywhere, ...json },
  listing: { ...anywhere, ...json, ...listing },
  file: { ...anywhere, ...file },
};

const rounds = process.env["CROSSRANK_LONG"] ? 10 : 1;
const cases = Object.entries(stages).flatMap(([stage, answers]) =>
  Object.entries(answers).flatMap(([name, answer], index) =>
    Array.from({ length: rounds }, (_, round) => [stage, name, 1 + round * 1000 + index, answer] as const),
  ),
);

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

it("is a sample of at least 60", () => {
  expect(cases.length).toBeGreaterThanOrEqual(60);
});

describe("a hub that answers wrongly", () => {
  it.each(cases)("%s: %s, seed %i", { timeout: 60_000 }, async (stage, _name, seed, answer) => {
    const random = randomOf(seed);
    let requests = 0;
    server = createServer((request, response) => {
      requests += 1;
      response.on("error", () => undefined);
      const path = request.url ?? "/";
      const asked = path.includes("/revision/")
        ? "information"
        : path.includes("/tree/")
          ? "listing"
          : "file";
      if (asked === stage) return answer(response, request, random);
      if (asked === "information") response.end(JSON.stringify({ id: model, sha: commit }));
      else if (asked === "listing") response.end(JSON.stringify([right]));
      else response.end(content);
    });
    server.on("clientError", (_error, socket) => socket.destroy());
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const retry = { attempts: 2, delay: 1, longestDelay: 5, idleTimeout: 400 };
    const options = { ...scene.options, endpoint, retry };
    const outcome = await (async () => {
      const files = await openModel(model, options);
      return readFile(await files.localPath("weights.bin"));
    })().catch((error: unknown) => error);
    expect(requests).toBeLessThan(200);
    if (Buffer.isBuffer(outcome)) expect(outcome.equals(content)).toBe(true);
    else expect(CrossrankError.isInstance(outcome), String(outcome)).toBe(true);
  });
});
