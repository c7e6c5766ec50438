import { afterAll, describe, expect, it } from "vitest";
import { createServer, isLoopback, listen } from "../src/index.js";
import { raw } from "./raw.js";
import { kept, openNano, passages, question, type Scene, startScene } from "./scene.js";

const nano = await openNano();
afterAll(() => nano.dispose());
const models = [{ name: "nano", open: async () => kept(nano) }];
const request = { query: question, documents: passages };

describe("keys", () => {
  it("open with any of them, and with nothing else", async () => {
    const scene = await startScene({ models, keys: ["first-key", "second"] });
    await scene.server.load();
    for (const key of ["Bearer first-key", "bearer second", "Bearer  second "]) {
      expect((await scene.post("/rerank", request, { authorization: key })).status).toBe(200);
    }
    for (const wrong of [
      "",
      "Bearer",
      "Bearer ",
      "Bearer first-ke",
      "Bearer first-keyy",
      "Basic first-key",
      "first-key",
      "Bearer first-key second",
    ]) {
      const { status, headers, body } = await scene.post("/rerank", request, { authorization: wrong });
      expect([status, headers.get("www-authenticate")], wrong).toEqual([401, "Bearer"]);
      expect(body.error.type).toBe("authentication_error");
    }
    expect((await scene.post("/rerank", request)).status).toBe(401);
    expect((await scene.post("/voyage/rerank", request)).body).toEqual({ detail: expect.any(String) });
    expect((await scene.post("/tei/rerank", request)).body).toMatchObject({ error_type: "unauthorized" });
    for (const path of ["/metrics", "/info", "/v1/models"]) {
      expect((await scene.get(path)).status, path).toBe(401);
      expect((await scene.get(path, { authorization: "Bearer second" })).status, path).toBe(200);
    }
    for (const path of ["/health", "/", "/openapi.json"])
      expect((await scene.get(path)).status, path).toBe(200);
    expect(JSON.stringify(scene.log)).not.toContain("first-key");
  });

  it("that are empty are no wrong ones where none is needed", async () => {
    const scene = await startScene({ models });
    await scene.server.load();
    for (const authorization of ["", "Bearer ", "Bearer anything"]) {
      expect((await scene.post("/rerank", request, { authorization })).status).toBe(200);
    }
  });

  it.each([[["a b"]], [[""]], [["ä"]], [["a\n"]]])("as %j are refused", (keys) => {
    expect(() => createServer({ models, keys })).toThrow("keys must be of printable ASCII");
  });
});

describe("an address", () => {
  it.each(["127.0.0.1", "127.3.4.5", "::1", "[::1]", "localhost"])("%s is this machine's", (host) => {
    expect(isLoopback(host)).toBe(true);
  });

  it.each([
    "0.0.0.0",
    "::",
    "",
    "192.168.0.1",
    "127.0.0.1.example.com",
    "1270.0.0.1",
    "localhost.example.com",
    "example.com",
  ])("%s that others reach needs a key", async (host) => {
    expect(isLoopback(host)).toBe(false);
    await expect(listen(createServer({ models }), { host, port: 0 })).rejects.toMatchObject({
      code: "invalid-input",
    });
  });

  it("that others reach opens with a key", async () => {
    const listening = await listen(createServer({ models, keys: ["k"] }), { host: "0.0.0.0", port: 0 });
    expect(
      (await fetch(`http://127.0.0.1:${listening.port}/rerank`, { method: "POST", body: "{}" })).status,
    ).toBe(401);
    await listening.close();
  });

  it("that is taken or not there says so", async () => {
    const scene = await startScene({ models });
    await expect(listen(createServer({ models }), { port: scene.listening.port })).rejects.toMatchObject({
      code: "address-unavailable",
      message: expect.stringContaining("is taken"),
    });
    await expect(
      listen(createServer({ models, keys: ["k"] }), { host: "203.0.113.7", port: 0 }),
    ).rejects.toMatchObject({
      code: "address-unavailable",
    });
    await expect(listen(createServer({ models }), { port: 70_000 })).rejects.toMatchObject({ path: "port" });
  });
});

describe("pages of other origins", () => {
  it("may not call, unless they are named", async () => {
    const scene = await startScene({ models, origins: ["https://notes.example"] });
    await scene.server.load();
    const own = scene.url;
    const port = String(scene.listening.port);
    for (const origin of [own, "https://notes.example"]) {
      expect((await scene.post("/rerank", request, { origin })).status, origin).toBe(200);
    }
    for (const origin of [
      "https://evil.example",
      "null",
      `http://evil.example:${port}`,
      `${own}1`,
      "http://",
      "file://",
    ]) {
      const { status, body } = await scene.post("/rerank", request, { origin });
      expect([status, body.error.type], origin).toEqual([403, "permission_error"]);
    }
  });

  it("that have this machine's address under another name may not either", async () => {
    const scene = await startScene({ models });
    const host = `rebound.example:${scene.listening.port}`;
    const body = JSON.stringify(request);
    const answer = await raw(
      scene.listening.port,
      `POST /rerank HTTP/1.1\r\nhost: ${host}\r\norigin: http://${host}\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
  });
});

/** Requests that wait or run. */
async function taken(scene: Scene): Promise<number> {
  const { text } = await scene.get("/metrics");
  return [...text.matchAll(/^crossrank_queue_(?:running|waiting)\{.*\} (\d+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
}

describe("closing", () => {
  it("finishes what is under way, refuses what is new, and says so in /health", async () => {
    const scene = await startScene({ models });
    await scene.server.load();
    const slow = { query: question, documents: Array(50).fill("word ".repeat(200)) };
    const underWay = [
      scene.post("/rerank", slow),
      scene.post("/tei/rerank", { query: question, texts: slow.documents }),
    ];
    await expect.poll(() => taken(scene), { timeout: 60_000 }).toBe(2);
    const closed = scene.listening.close(60_000);
    await expect.poll(async () => (await scene.get("/health")).status, { timeout: 60_000 }).toBe(503);
    expect((await scene.get("/health")).body.status).toBe("closing");
    const refused = await scene.post("/rerank", request);
    expect([refused.status, refused.headers.get("retry-after"), refused.headers.get("connection")]).toEqual([
      503,
      "1",
      "close",
    ]);
    for (const { status } of await Promise.all(underWay)) expect(status).toBe(200);
    await closed;
    await expect(scene.get("/health")).rejects.toThrow();
  });

  it("ends what is not done by the deadline with 503", async () => {
    const scene = await startScene({ models });
    await scene.server.load();
    const slow = scene.post("/rerank", { query: question, documents: Array(300).fill("word ".repeat(200)) });
    await expect.poll(() => taken(scene), { timeout: 60_000 }).toBe(1);
    const closed = scene.listening.close(50);
    const { status, body } = await slow;
    expect([status, body.error.type]).toEqual([503, "closing"]);
    await closed;
  });
});
