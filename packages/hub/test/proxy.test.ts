import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { InvalidInputError } from "@crossrank/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HubNetworkError, openModel } from "../src/index.js";
import { createProxiedFetch } from "../src/proxied-fetch.js";
import { proxyFor } from "../src/proxy-rules.js";
import { config, failureOf, model, useScene, weights } from "./scene.js";

const scene = useScene();

/** A key for hub.invalid, of this test alone: openssl req -x509, 36,500 days. */
const pem = (name: string): string =>
  readFileSync(new URL(`fixtures/proxy/${name}.pem`, import.meta.url), "utf8");
const ca = pem("certificate");

interface Asked {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly authorization: string | undefined;
}

/** A proxy that passes all on to the scene's hub, or to `elsewhere`, whatever the name asked for. */
async function startProxy(elsewhere?: number): Promise<{ url: string; asked: Asked[]; server: Server }> {
  const asked: Asked[] = [];
  const note = ({ method, url, headers }: IncomingMessage): void => {
    asked.push({ method, url, authorization: headers["proxy-authorization"] });
  };
  const server = createServer((incoming: IncomingMessage, outgoing: ServerResponse) => {
    note(incoming);
    const target = new URL(incoming.url ?? "");
    const real = target.hostname === "hub.invalid" ? new URL(scene.hub.endpoint) : target;
    request(
      {
        host: real.hostname,
        port: real.port,
        path: `${target.pathname}${target.search}`,
        method: incoming.method,
        headers: incoming.headers,
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(outgoing);
      },
    )
      .on("error", () => outgoing.destroy())
      .end();
  });
  server.on("connect", (incoming: IncomingMessage, client: Socket) => {
    note(incoming);
    if (elsewhere === undefined) return client.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    const behind = connect(elsewhere, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      behind.pipe(client).pipe(behind);
    });
    behind.on("error", () => client.destroy());
    client.on("error", () => behind.destroy());
    return undefined;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(server);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, server };
}

let open: Server[] = [];
beforeEach(() => {
  open = [];
});
afterEach(async () => {
  for (const server of open) {
    server.closeAllConnections();
    server.close();
  }
});

describe("a proxy of the environment", () => {
  it.each(["HTTP_PROXY", "http_proxy", "ALL_PROXY"])(
    "%s is asked for a hub that only it knows",
    async (name) => {
      const { url, asked } = await startProxy();
      vi.stubEnv(name, url.replace("http://", "http://user:p%40ss@"));
      const files = await openModel(model, { ...scene.options, endpoint: "http://hub.invalid" });
      expect(await files.readText("config.json")).toBe(config.toString());
      expect(
        weights.equals(await files.readBytes("onnx/model.onnx", { start: 0, end: weights.length })),
      ).toBe(true);
      expect(asked.length).toBeGreaterThan(4);
      expect(asked[0]?.url).toMatch(/^http:\/\/hub\.invalid\/api\/models\//);
      const basic = `Basic ${Buffer.from("user:p@ss").toString("base64")}`;
      expect(new Set(asked.map(({ authorization }) => authorization))).toEqual(new Set([basic]));
    },
  );

  it("is not asked for what NO_PROXY names", async () => {
    const { url, asked } = await startProxy();
    vi.stubEnv("HTTP_PROXY", url);
    vi.stubEnv("NO_PROXY", "127.0.0.1");
    const files = await openModel(model, scene.options);
    expect(await files.readText("config.json")).toBe(config.toString());
    expect(asked).toEqual([]);
  });

  it("that is not there, or no proxy, is told of", async () => {
    vi.stubEnv("HTTP_PROXY", "http://secret:word@127.0.0.1:9");
    const gone = await failureOf(openModel(model, { ...scene.options, retry: { attempts: 1 } }));
    expect(gone).toBeInstanceOf(HubNetworkError);
    expect(String(gone)).not.toMatch(/secret|word/);
    vi.stubEnv("HTTP_PROXY", "socks5://secret:word@127.0.0.1:9");
    const socks = await failureOf(openModel(model, scene.options));
    expect(socks).toBeInstanceOf(InvalidInputError);
    expect(String(socks)).toMatch(/HTTP_PROXY .*no proxy that can be used \(socks5:\)/);
    expect(String(socks)).not.toMatch(/secret|word/);
  });

  it("passes a secure connection on, whose certificate is the server's own", async () => {
    const secure = createSecureServer({ key: pem("key"), cert: ca }, (incoming, outgoing) => {
      if (incoming.url === "/gzip")
        return outgoing.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("packed"));
      if (incoming.url === "/moved") return outgoing.writeHead(302, { location: "/there" }).end();
      return outgoing
        .writeHead(200, { "x-method": incoming.method, "x-token": incoming.headers.authorization ?? "none" })
        .end(`${incoming.headers.host} ${incoming.url}`);
    });
    secure.listen(0, "127.0.0.1");
    await once(secure, "listening");
    open.push(secure as unknown as Server);
    const { url, asked } = await startProxy((secure.address() as AddressInfo).port);
    const fetch = createProxiedFetch(globalThis.fetch, { https_proxy: url }, { ca });
    const answer = await fetch("https://hub.invalid/a?b=c", { headers: { authorization: "Bearer t" } });
    expect(await answer.text()).toBe("hub.invalid /a?b=c");
    expect(answer.headers.get("x-token")).toBe("Bearer t");
    expect(answer.url).toBe("https://hub.invalid/a?b=c");
    expect(await (await fetch("https://hub.invalid/gzip")).text()).toBe("packed");
    const head = await fetch("https://hub.invalid/x", { method: "HEAD" });
    expect([head.headers.get("x-method"), head.body]).toEqual(["HEAD", null]);
    expect((await fetch("https://hub.invalid/moved")).headers.get("location")).toBe("/there");
    expect(asked[0]).toMatchObject({ method: "CONNECT", url: "hub.invalid:443" });
    // Of a name that the certificate does not have, and of one that nobody vouches for.
    await expect(fetch("https://other.invalid/")).rejects.toThrow(/altnames/);
    const strict = createProxiedFetch(globalThis.fetch, { https_proxy: url });
    await expect(strict("https://hub.invalid/")).rejects.toThrow(/self-signed/);
  });

  it("may refuse to, and ends with the caller's signal", async () => {
    const { url } = await startProxy();
    const fetch = createProxiedFetch(globalThis.fetch, { HTTPS_PROXY: url });
    await expect(fetch("https://hub.invalid/")).rejects.toThrow("the proxy answered 407 to CONNECT");
    const silent = createServer();
    silent.on("connect", () => {});
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    open.push(silent);
    const waits = createProxiedFetch(globalThis.fetch, {
      HTTPS_PROXY: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
    });
    const signal = AbortSignal.timeout(50);
    await expect(waits("https://hub.invalid/", { signal })).rejects.toThrow();
  });
});

describe("the rules of which address has a proxy", () => {
  it.each<[string, Record<string, string>, string | undefined]>([
    ["http://a.org/", {}, undefined],
    ["http://a.org/", { HTTP_PROXY: "http://p:1" }, "http://p:1/"],
    ["https://a.org/", { HTTP_PROXY: "http://p:1" }, undefined],
    ["https://a.org/", { HTTPS_PROXY: "p:1" }, "http://p:1/"],
    ["https://a.org/", { HTTPS_PROXY: "https://p:1" }, "https://p:1/"],
    ["https://a.org/", { HTTPS_PROXY: "http://p:1", https_proxy: "http://q:2" }, "http://q:2/"],
    ["https://a.org/", { ALL_PROXY: "http://p:1" }, "http://p:1/"],
    ["https://a.org/", { ALL_PROXY: "http://p:1", HTTPS_PROXY: "" }, "http://p:1/"],
    ["http://a.org/", { HTTP_PROXY: "http://p:1", REQUEST_METHOD: "GET" }, undefined],
    ["http://a.org/", { http_proxy: "http://p:1", REQUEST_METHOD: "GET" }, "http://p:1/"],
    ["http://a.org/", { HTTP_PROXY: "http://p:1", NO_PROXY: "a.org" }, undefined],
    ["http://x.a.org/", { HTTP_PROXY: "http://p:1", NO_PROXY: "a.org" }, undefined],
    ["http://x.a.org/", { HTTP_PROXY: "http://p:1", NO_PROXY: ".a.org" }, undefined],
    ["http://x.a.org/", { HTTP_PROXY: "http://p:1", NO_PROXY: "*.a.org" }, undefined],
    ["http://xa.org/", { HTTP_PROXY: "http://p:1", NO_PROXY: "a.org" }, "http://p:1/"],
    ["http://A.ORG/", { HTTP_PROXY: "http://p:1", no_proxy: "b.org, a.org" }, undefined],
    ["http://a.org/", { HTTP_PROXY: "http://p:1", no_proxy: "", NO_PROXY: "a.org" }, "http://p:1/"],
    ["http://a.org:8080/", { HTTP_PROXY: "http://p:1", NO_PROXY: "a.org:8080" }, undefined],
    ["http://a.org/", { HTTP_PROXY: "http://p:1", NO_PROXY: "a.org:8080" }, "http://p:1/"],
    ["https://a.org/", { HTTPS_PROXY: "http://p:1", NO_PROXY: "a.org:443" }, undefined],
    ["http://a.org/", { HTTP_PROXY: "http://p:1", NO_PROXY: "*" }, undefined],
    ["http://10.1.2.3/", { HTTP_PROXY: "http://p:1", NO_PROXY: "10.0.0.0/8" }, undefined],
    ["http://11.1.2.3/", { HTTP_PROXY: "http://p:1", NO_PROXY: "10.0.0.0/8" }, "http://p:1/"],
    ["http://10.1.2.3/", { HTTP_PROXY: "http://p:1", NO_PROXY: "10.0.0.0/99,10.0.0/8" }, "http://p:1/"],
    ["http://[::1]:80/", { HTTP_PROXY: "http://p:1", NO_PROXY: "[::1]" }, undefined],
  ])("%s with %j: %s", (target, variables, expected) => {
    expect(proxyFor(new URL(target), variables)?.url.href).toBe(expected);
  });

  it.each(["socks5://p:1", "ftp://p", "http://", "://"])("%j is no proxy", (given) => {
    const named = (): unknown => proxyFor(new URL("http://a.org"), { HTTP_PROXY: given });
    expect(named).toThrow(InvalidInputError);
  });
});
