import { connect } from "node:net";
import { afterAll, describe, expect, it } from "vitest";
import { raw } from "./raw.js";
import { kept, openNano, passages, question, startScene } from "./scene.js";

const nano = await openNano();
afterAll(() => nano.dispose());
const limits = { bodyBytes: 100_000, bodyMilliseconds: 400, requests: 8 };
const scene = await startScene({ models: [{ name: "nano", open: async () => kept(nano) }], limits });
await scene.server.load();
const { port } = scene.listening;
const request = { query: question, documents: passages };

async function expectWell(): Promise<void> {
  const { status, body } = await scene.post("/rerank", request);
  expect(status).toBe(200);
  expect(body.results[0].index).toBe(1);
}

/** The refusal of a raw answer. */
function refusal(text: string): { status: number; message: string } {
  const [head = "", body = ""] = text.split("\r\n\r\n");
  expect(text).not.toMatch(/node_modules|\.js:\d| {4}at /);
  const json = body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1);
  return { status: Number(head.split(" ")[1]), message: JSON.parse(json).message };
}

describe("a body", () => {
  it.each([101_000, 399_000, 10_000_000])("of %i bytes is 413", async (size) => {
    const body = JSON.stringify({ ...request, extra: "x".repeat(size) });
    for (const path of ["/rerank", "/tei/rerank", "/voyage/rerank", "/score"]) {
      const answer = await scene.post(path, body).catch((error: Error) => error);
      // A client that has not read its answer while it sends may see the connection close.
      if (answer instanceof Error) expect(size).toBeGreaterThan(limits.bodyBytes * 4);
      else expect(answer.status, path).toBe(413);
    }
    await expectWell();
  });

  it("that is longer than it says, or endless, is 413", async () => {
    const piece = `4000\r\n${"x".repeat(0x4000)}\r\n`;
    const text = await raw(
      port,
      "POST /rerank HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
      ...Array(40).fill(piece),
    );
    expect(refusal(text)).toEqual({ status: 413, message: expect.stringContaining("100000 bytes") });
    await expectWell();
  });

  it("that does not arrive is 408", async () => {
    const text = await raw(
      port,
      'POST /rerank HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 90\r\n\r\n{"query":',
    );
    expect(refusal(text)).toEqual({ status: 408, message: expect.stringContaining("400 ms") });
    await expectWell();
  });

  it.each([
    ["depth of 33", 400, `${"[".repeat(33)}${"]".repeat(33)}`],
    ["depth of 90,000", 400, "[".repeat(90_000)],
    ["depth of 40,000 objects", 400, '{"a":'.repeat(18_000)],
    [
      "depth inside a document",
      400,
      `{"query":"a","documents":[{"text":"b","x":${"[".repeat(50)}${"]".repeat(50)}}]}`,
    ],
    [
      "brackets in strings",
      200,
      JSON.stringify({ query: "[".repeat(50), documents: ['{"'.repeat(50), "\\".repeat(99)] }),
    ],
    ["two objects", 400, "{}{}"],
    ["a lone surrogate", 200, '{"query":"a \\ud800","documents":["b"]}'],
    ["a null byte", 200, '{"query":"a\\u0000","documents":["b"]}'],
    ["a raw control character", 400, '{"query":"a\u0001","documents":["b"]}'],
    ["a byte order mark", 200, '\ufeff{"query":"a","documents":["b"]}'],
    ["NaN", 400, '{"query":"a","documents":["b"],"top_n":NaN}'],
    ["a number that is too large", 422, '{"query":"a","documents":["b"],"top_n":99999999999999999999}'],
    ["minus nothing", 200, '{"query":"a","documents":["b"],"top_n":-0}'],
    ["__proto__", 200, '{"query":"a","documents":["b"],"__proto__":{"top_n":"x","model":4}}'],
    ["a document with __proto__", 422, '{"query":"a","documents":[{"__proto__":{"text":"b"}}]}'],
    ["constructor", 200, '{"query":"a","documents":["b"],"constructor":{"prototype":{"top_n":1}}}'],
    ["inherited names", 400, '{"toString":"a","hasOwnProperty":1}'],
    [
      "rank_fields of the prototype",
      422,
      '{"query":"a","documents":[{"a":"b"}],"rank_fields":["__proto__","toString"]}',
    ],
    [
      "10,000 keys",
      200,
      `{"query":"a","documents":["b"]${Array.from({ length: 8000 }, (_, n) => `,"k${n}":1`).join("")}}`,
    ],
    [
      "65 rank_fields",
      422,
      JSON.stringify({ query: "a", documents: [{ a: "b" }], rank_fields: Array(65).fill("a") }),
    ],
    ["a long name", 422, JSON.stringify({ ...request, model: "m".repeat(2000) })],
    ["a budget of nothing", 422, JSON.stringify({ ...request, time_budget_ms: 0 })],
  ])("with %s is answered with %i", async (_name, status, body) => {
    const answer = await scene.post("/rerank", body);
    expect(answer.status, answer.text).toBe(status);
    if (status !== 200) expect(answer.body.message.length).toBeLessThan(400);
  });

  it.each([
    ["a broken sequence", Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d])],
    ["a byte that is never there", Buffer.from('{"query":"a\xff"}', "latin1")],
    ["a surrogate in UTF-8", Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ["an overlong slash", Buffer.from([0x22, 0xc0, 0xaf, 0x22])],
    ["UTF-16", Buffer.from('{"query":"a","documents":["b"]}', "utf16le")],
  ])("of %s is 400", async (_name, bytes) => {
    expect((await scene.post("/rerank", new Uint8Array(bytes))).status).toBe(400);
  });

  it("in gzip is 415, and of another type is read", async () => {
    expect((await scene.post("/rerank", request, { "content-encoding": "gzip" })).status).toBe(415);
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "nonsense"]) {
      expect((await scene.post("/rerank", request, { "content-type": type })).status).toBe(200);
    }
  });

  it("changed at random, 600 times, is answered or refused, and never with 500", async () => {
    const whole = Buffer.from(
      JSON.stringify({
        model: "nano",
        query: question,
        documents: [...passages, { text: "a" }],
        top_n: 2,
        return_documents: true,
        rank_fields: null,
      }),
    );
    let state = 11;
    const next = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const seen = new Map<number, number>();
    for (let times = 0; times < 600; times += 1) {
      const bytes = Buffer.from(whole);
      for (let changes = 1 + next(4); changes > 0; changes -= 1) bytes[next(bytes.length)] = next(256);
      const body = next(3) === 0 ? bytes.subarray(0, next(bytes.length)) : bytes;
      const path = ["/rerank", "/tei/rerank", "/voyage/rerank", "/score"][next(4)] as string;
      const { status, text } = await scene.post(path, new Uint8Array(body));
      seen.set(status, (seen.get(status) ?? 0) + 1);
      expect([200, 400, 422], text).toContain(status);
    }
    expect(seen.get(200)).toBeGreaterThan(5);
    expect(seen.get(400)).toBeGreaterThan(100);
  });
});

describe("a request", () => {
  it.each([
    ["of no HTTP", 400, "nonsense\r\n\r\n"],
    ["of TLS", 400, Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00])],
    [
      "with too many headers",
      431,
      `POST /rerank HTTP/1.1\r\nhost: a\r\n${"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(1000)}\r\n`,
    ],
    [
      "with a header that is too long",
      431,
      `GET /health HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(100_000)}\r\n\r\n`,
    ],
    [
      "with two lengths",
      400,
      "POST /rerank HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    ],
    [
      "with a length and chunks",
      400,
      "POST /rerank HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["with a negative length", 400, "POST /rerank HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"],
  ])("%s is refused", async (_name, status, bytes) => {
    expect(refusal(await raw(port, bytes)).status).toBe(status);
    await expectWell();
  });

  it("for strange addresses is refused in the form of all", async () => {
    for (const path of [
      "//rerank",
      "/rerank%00",
      "/%2e%2e/rerank",
      "/rerank/..",
      "/cohere/cohere/rerank",
      "/constructor",
      `/${"a".repeat(5000)}`,
    ]) {
      const { status, body } = await scene.post(path, request);
      expect([200, 404, 405], path).toContain(status);
      if (status !== 200) expect(body.error.code).toBe(status);
    }
    const odd = await raw(
      port,
      "POST http://[::1:bad/rerank HTTP/1.1\r\nhost: a b\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
    );
    expect(odd).toMatch(/^HTTP\/1\.1 4\d\d /);
    await expectWell();
  });

  it("whose client goes is dropped: it holds neither the queue nor the model", async () => {
    const slow = JSON.stringify({ query: "a", documents: Array(90).fill("word ".repeat(200)) });
    const aborts = Array.from({ length: 6 }, () => new AbortController());
    const calls = aborts.map(({ signal }) =>
      fetch(`${scene.url}/rerank`, { method: "POST", body: slow, signal }).then(
        () => "answered",
        () => "aborted",
      ),
    );
    await expect
      .poll(async () => (await scene.get("/metrics")).text, { timeout: 60_000 })
      .toMatch(/crossrank_queue_waiting\{model="nano"\} [1-9]/);
    for (const abort of aborts) abort.abort();
    expect(await Promise.all(calls)).toEqual(Array(6).fill("aborted"));
    await expect
      .poll(async () => (await scene.get("/metrics")).text, { timeout: 30_000 })
      .toMatch(/crossrank_queue_tokens\{model="nano"\} 0/);
    expect(scene.log.filter(({ status }) => status === 499).length).toBeGreaterThanOrEqual(5);
    await expectWell();
  });

  it("beyond the open ones is 429, and connections that say nothing do not count", async () => {
    const patient = await startScene({
      models: [{ name: "nano", open: async () => kept(nano) }],
      limits: { requests: 8 },
    });
    await patient.server.load();
    const socketTo = () => connect(patient.listening.port, "127.0.0.1").on("error", () => undefined);
    const silent = Array.from({ length: 20 }, socketTo);
    const statusNow = async () => (await patient.post("/rerank", request)).status;
    expect(await statusNow()).toBe(200);
    const held = Array.from({ length: 8 }, () => {
      const socket = socketTo();
      socket.write("POST /rerank HTTP/1.1\r\nhost: a\r\ncontent-length: 90\r\n\r\n{");
      return socket;
    });
    await expect.poll(statusNow, { timeout: 20_000 }).toBe(429);
    const { headers } = await patient.post("/rerank", request);
    expect(headers.get("retry-after")).toBe("1");
    for (const socket of [...silent, ...held]) socket.destroy();
    await expect.poll(statusNow, { timeout: 60_000 }).toBe(200);
  });
});
