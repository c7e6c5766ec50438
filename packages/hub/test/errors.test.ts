import { CrossrankError, ModelFileNotFoundError } from "@crossrank/core";
import { describe, expect, it } from "vitest";
import {
  HubNetworkError,
  HubNotFoundError,
  HubRateLimitedError,
  HubResponseError,
  HubUnauthorizedError,
  openModel,
  UnsafePathError,
} from "../src/index.js";
import { gitFile } from "./hub-server.js";
import { commit, failureOf, model, namesIn, quick, repository, useScene } from "./scene.js";

const scene = useScene(
  repository,
  {
    id: "acme/private",
    commit,
    revisions: ["main"],
    token: "right",
    files: { "config.json": gitFile("{}") },
  },
  { id: "acme/gated", commit, revisions: ["main"], token: "right", gated: true, files: {} },
);

describe("not found", () => {
  it("says that the repository is", async () => {
    const error = await failureOf(openModel("acme/absent", scene.options));
    expect(error).toBeInstanceOf(HubNotFoundError);
    expect(error).toMatchObject({
      code: "hub-not-found",
      model: "acme/absent",
      what: "repository",
      status: 404,
    });
    expect((error as Error).message).toContain("no repository acme/absent");
  });

  it("says that the revision is", async () => {
    const error = await failureOf(openModel(model, { ...scene.options, revision: "v9" }));
    expect(error).toMatchObject({ code: "hub-not-found", what: "revision", missing: "v9" });
    expect((error as Error).message).toContain("no revision v9");
  });

  it("says that the file is, and what is there instead", async () => {
    const files = await openModel(model, scene.options);
    const error = await failureOf(files.localPath("onnx/model_q4.onnx"));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error).toMatchObject({
      model,
      expected: ["onnx/model_q4.onnx"],
      found: ["onnx/model.onnx", "onnx/model_int8.onnx"],
    });
    expect(scene.hub.contentRequests()).toEqual([]);
  });

  it("says that a listed file is not served", async () => {
    scene.hub.faults.push({
      server: "hub",
      path: "/resolve/",
      times: 1,
      status: 404,
      headers: { "x-error-code": "EntryNotFound" },
    });
    const files = await openModel(model, scene.options);
    const error = await failureOf(files.localPath("config.json"));
    expect(error).toMatchObject({ code: "hub-not-found", what: "file", missing: "config.json" });
  });
});

describe("refused access", () => {
  it("names HF_TOKEN when no token was sent", async () => {
    const error = await failureOf(openModel("acme/private", scene.options));
    expect(error).toBeInstanceOf(HubUnauthorizedError);
    expect(error).toMatchObject({ code: "hub-unauthorized", status: 401, gated: false, tokenSent: false });
    expect((error as Error).message).toContain("HF_TOKEN");
  });

  it("tells that a token was sent and is not enough", async () => {
    const error = await failureOf(openModel("acme/private", { ...scene.options, token: "wrong" }));
    expect(error).toMatchObject({ status: 401, tokenSent: true });
    expect((error as Error).message).not.toContain("wrong");
  });

  it("names the page of a gated model", async () => {
    const error = await failureOf(openModel("acme/gated", scene.options));
    expect(error).toMatchObject({ status: 403, gated: true });
    expect((error as Error).message).toContain(`${scene.hub.endpoint}/acme/gated`);
  });

  it("does not happen with the right token", async () => {
    const files = await openModel("acme/private", { ...scene.options, token: "right" });
    expect(await files.readText("config.json")).toBe("{}");
  });
});

describe("a limit on requests", () => {
  const limited = { server: "hub", status: 429 } as const;

  it("is waited for as long as Retry-After says, not as the own schedule says", async () => {
    scene.hub.faults.push(
      { ...limited, path: "/revision/", times: 2, headers: { "retry-after": "0" } },
      { ...limited, path: "/resolve/", times: 2, headers: { "retry-after": "0" } },
    );
    // With these delays the test would not end if Retry-After were not honoured.
    const retry = { delay: 3_600_000, longestDelay: 3_600_000 };
    const files = await openModel(model, { ...scene.options, retry });
    expect(await files.readText("README.md")).toBe("# A model\n");
  });

  it("is an error after the last attempt", async () => {
    scene.hub.faults.push({ ...limited, path: "/revision/", times: 99 });
    const options = { ...scene.options, retry: { ...quick, attempts: 3 } };
    const error = await failureOf(openModel(model, options));
    expect(error).toBeInstanceOf(HubRateLimitedError);
    expect(error).toMatchObject({ code: "hub-rate-limited", attempts: 3, retryAfter: undefined });
    expect(scene.hub.log).toHaveLength(3);
  });

  it.each([
    ["Retry-After in seconds", { "retry-after": "900" }],
    ["the hub's RateLimit header", { ratelimit: '"api";r=0;t=900' }],
  ])("is an error at once when the wait is too long: %s", async (_, headers) => {
    scene.hub.faults.push({ ...limited, path: "/revision/", times: 99, headers });
    const error = await failureOf(openModel(model, scene.options));
    expect(error).toMatchObject({ attempts: 1, retryAfter: 900 });
    expect((error as Error).message).toContain("900 s");
    expect(scene.hub.log).toHaveLength(1);
  });

  it("takes a date for Retry-After", async () => {
    const headers = { "retry-after": "Fri, 01 Jan 2100 00:00:00 GMT" };
    scene.hub.faults.push({ ...limited, path: "/revision/", times: 99, headers });
    const error = await failureOf(openModel(model, scene.options));
    expect((error as HubRateLimitedError).retryAfter).toBeGreaterThan(1_000_000);
  });

  it("stops waiting on abort", async () => {
    scene.hub.faults.push({ ...limited, path: "/revision/", times: 99, headers: { "retry-after": "50" } });
    const signal = AbortSignal.timeout(50);
    const error = await failureOf(openModel(model, { ...scene.options, signal }));
    expect(error).toMatchObject({ name: "TimeoutError" });
  });
});

describe("a server in trouble", () => {
  it.each(["/revision/", "/tree/", "/resolve/", "/resolve-cache/"])(
    "is asked again after a 500 of %s",
    async (path) => {
      scene.hub.faults.push({ server: "hub", path, times: 1, status: 500 });
      expect(await (await openModel(model, scene.options)).readText("README.md")).toBe("# A model\n");
    },
  );

  it("is an error after the last attempt", async () => {
    scene.hub.faults.push({ server: "hub", path: "/revision/", times: 99, status: 503 });
    const error = await failureOf(openModel(model, scene.options));
    expect(error).toBeInstanceOf(HubNetworkError);
    expect(error).toMatchObject({ status: 503, attempts: 5 });
  });

  it("that cannot be reached is an error that names it", async () => {
    const { endpoint } = scene.hub;
    await scene.hub[Symbol.asyncDispose]();
    const options = { ...scene.options, retry: { ...quick, attempts: 2 } };
    const error = await failureOf(openModel(model, options));
    expect(error).toBeInstanceOf(HubNetworkError);
    expect(error).toMatchObject({ status: undefined, attempts: 2 });
    expect((error as Error).message).toContain(endpoint);
  });

  it.each([
    ["a page of HTML", { body: "<html>" }],
    ["JSON without a commit", { body: "{}" }],
    ["a commit that is a path", { body: '{"sha":"../../../escape"}' }],
  ])("that is no hub is named as such: %s", async (_, fault) => {
    scene.hub.faults.push({ server: "hub", path: "/revision/", times: 1, status: 200, ...fault });
    expect(await failureOf(openModel(model, scene.options))).toBeInstanceOf(HubResponseError);
  });

  it("that redirects for ever is left", async () => {
    const location = `${scene.hub.endpoint}/api/models/${model}/revision/main`;
    scene.hub.faults.push({
      server: "hub",
      path: "/revision/",
      times: 99,
      status: 307,
      headers: { location },
    });
    expect(await failureOf(openModel(model, scene.options))).toBeInstanceOf(HubResponseError);
  });

  it("that redirects to a file of this machine is refused", async () => {
    const headers = { location: "file:///etc/passwd" };
    scene.hub.faults.push({ server: "hub", path: "/resolve/", times: 1, status: 302, headers });
    const files = await openModel(model, scene.options);
    expect(await failureOf(files.localPath("config.json"))).toBeInstanceOf(HubResponseError);
  });
});

describe("a path that leaves the cache", () => {
  it.each([
    "../escape",
    "a/../../escape",
    "/etc/escape",
    "C:\\escape",
    "..\\escape",
    "\\\\host\\escape",
    "a//b",
    "a\0b",
  ])("is refused in a listing: %j", async (path) => {
    scene.hub.extraEntries.push({ type: "file", path, size: 1, oid: "0".repeat(40) });
    const files = await openModel(model, scene.options);
    const error = await failureOf(files.list());
    expect(error).toBeInstanceOf(UnsafePathError);
    expect(error).toMatchObject({ model, path });
    expect(await failureOf(files.localPath(path))).toBeInstanceOf(UnsafePathError);
    expect(scene.hub.contentRequests()).toEqual([]);
    expect(await namesIn(scene.folder)).toEqual([]);
  });

  it.each([
    ["a hash that is a path", { oid: "../../../../escape" }],
    [
      "an LFS hash that is a path",
      { oid: "0".repeat(40), lfs: { oid: "../../escape", size: 1, pointerSize: 1 } },
    ],
    ["a size that is none", { oid: "0".repeat(40), size: -1 }],
  ])("is refused in a listing: %s", async (_, entry) => {
    scene.hub.extraEntries.push({ type: "file", path: "a", size: 1, ...entry });
    const files = await openModel(model, scene.options);
    expect(await failureOf(files.list())).toBeInstanceOf(HubResponseError);
  });
});

it("keeps signatures of storage URLs and tokens out of messages, and every error is a CrossrankError", async () => {
  scene.hub.faults.push({ server: "storage", path: "/", times: 99, status: 500 });
  const files = await openModel(model, { ...scene.options, token: "a-token" });
  const error = await failureOf(files.localPath("onnx/model.onnx"));
  expect(CrossrankError.isInstance(error)).toBe(true);
  expect((error as Error).message).not.toMatch(/signature|a-token/);
  expect((error as Error).message).not.toContain("\n");
});
