import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openModel, type PublishedFile, type PublishFilesOptions, publishFiles } from "../src/index.js";
import { noise, sha256 } from "./hub-server.js";
import { failureOf, quick } from "./scene.js";
import { startWritableHub, type WritableHub } from "./writable-hub.js";

const contents: Readonly<Record<string, Buffer>> = {
  "README.md": Buffer.from("# A model\n"),
  "config.json": Buffer.from('{"model_type":"bert"}\n'),
  "model.mlpackage/Manifest.json": Buffer.from("{}"),
  "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin": noise(300_000, 3),
  "model_int8.onnx": noise(120_000, 4),
  "empty.txt": Buffer.alloc(0),
};
const weights = "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin";

const hashes = Object.fromEntries(Object.entries(contents).map(([path, content]) => [path, sha256(content)]));

let folder: string;
let hub: WritableHub;
let files: PublishedFile[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-publish-"));
  for (const name of [
    "HF_TOKEN",
    "HF_ENDPOINT",
    "HF_HOME",
    "HUGGING_FACE_HUB_TOKEN",
    "HTTP_PROXY",
    "http_proxy",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
  ])
    vi.stubEnv(name, undefined);
  vi.stubEnv("HOME", folder);
  hub = await startWritableHub({ files: { "old.onnx": { content: noise(50, 9), lfs: true } } });
  files = [];
  for (const [path, content] of Object.entries(contents)) {
    const from = join(folder, "model", path);
    await mkdir(dirname(from), { recursive: true });
    await writeFile(from, content);
    files.push({ path, from });
  }
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await hub[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

function publish(more: Partial<PublishFilesOptions> = {}): ReturnType<typeof publishFiles> {
  const { endpoint, token, id } = hub;
  return publishFiles(id, files, { tag: "v0.1-ane", endpoint, token, retry: quick, ...more });
}

/** What a consumer gets at a tag. */
function filesAt(tag: string): Record<string, string> {
  const tree = hub.commits.get(hub.tags.get(tag) ?? "") ?? new Map();
  return Object.fromEntries(
    [...tree]
      .filter(([path]) => path !== ".gitattributes")
      .map(([path, { content }]) => [path, sha256(content)]),
  );
}

const code = async (more: Partial<PublishFilesOptions> = {}): Promise<unknown> =>
  Reflect.get((await failureOf(publish(more))) as object, "code");

describe("a publication", () => {
  test("is one commit with exactly these files, checked, and tagged last", async () => {
    const phases: string[] = [];
    const found = await publish({ onProgress: ({ phase }) => phases.push(phase) });
    expect(filesAt("v0.1-ane")).toEqual(hashes);
    expect(hub.tags.get("v0.1-ane")).toBe(found.commit);
    expect(hub.branches.get("main")).toBe(found.commit);
    expect(found).toMatchObject({ committed: true, removed: ["old.onnx"] });
    expect(
      found.files
        .filter(({ lfs }) => lfs)
        .map(({ path }) => path)
        .sort(),
    ).toEqual([weights, "model_int8.onnx"].sort());
    expect([...new Set(phases)]).toEqual(["hashing", "looking", "uploading", "checking", "tagging"]);
    const writes = hub.log.filter(({ method }) => method === "POST").map(({ path }) => path.split("/")[5]);
    expect(writes.at(-1)).toBe("tag");
    // The token is the hub's alone.
    expect(
      hub.log
        .filter(({ server }) => server === "storage")
        .every(({ authorization }) => authorization === undefined),
    ).toBe(true);
  });

  test("is read back as it was sent", async () => {
    await publish();
    const { endpoint, token, id } = hub;
    const model = await openModel(id, {
      revision: "v0.1-ane",
      endpoint,
      token,
      cacheFolder: join(folder, "cache"),
      retry: quick,
    });
    expect(
      (await model.list())
        .map(({ path }) => path)
        .filter((path) => path !== ".gitattributes")
        .sort(),
    ).toEqual(Object.keys(contents).sort());
    const bytes = await model.readBytes(weights, { start: 0, end: 1e6 });
    expect(Buffer.from(bytes).equals(contents[weights] as Buffer)).toBe(true);
  });

  test("of a second variant leaves the first one's tag as it was", async () => {
    await publish();
    files = files.filter(({ path }) => path !== weights);
    await publish({ tag: "v0.1-cpugpu" });
    expect(filesAt("v0.1-ane")).toEqual(hashes);
    expect(Object.keys(filesAt("v0.1-cpugpu"))).not.toContain(weights);
  });

  test("leaves what is kept, save what meets one of its names", async () => {
    for (const path of [
      "guide.md",
      "readme.md",
      "MODEL.mlpackage/notes.md",
      "config.json/a.md",
      "assets/x.png",
    ])
      hub.commitOther(path, path);
    const keep = (path: string): boolean => /\.(?:md|png)$/.test(path);
    const found = await publish({ keep });
    expect(found.kept).toEqual(["assets/x.png", "guide.md"]);
    expect(found.removed).toEqual(["MODEL.mlpackage/notes.md", "config.json/a.md", "old.onnx", "readme.md"]);
    const theirs = { "guide.md": sha256(Buffer.from("guide.md")) };
    expect(filesAt("v0.1-ane")).toMatchObject({ ...hashes, ...theirs });
    expect(await failureOf(publish({ keep }))).toMatchObject({ code: "hub-tag-exists", sameFiles: true });
    expect(await publish({ keep, tag: "v0.2-ane" })).toMatchObject({ committed: false, kept: found.kept });
    expect((await publish({ tag: "v0.3-ane" })).removed).toEqual(found.kept);
  });

  test("sends large files in parts", async () => {
    hub.partSize = 65_536;
    await publish();
    expect(filesAt("v0.1-ane")).toEqual(hashes);
    expect(hub.uploads().length).toBe(Math.ceil(300_000 / 65_536) + Math.ceil(120_000 / 65_536));
  });
});

describe("what is refused before anything is sent", () => {
  test.each([
    ["no token", { token: "" }, "hub-token-missing"],
    ["a wrong token", { token: "hf_other" }, "hub-write-refused"],
    ["a tag with a slash", { tag: "a/b" }, "invalid-input"],
    ["a tag that is an option", { tag: "-x" }, "invalid-input"],
    ["a tag that is a commit", { tag: "0".repeat(40) }, "invalid-input"],
    ["an unknown check", { check: "none" as never }, "invalid-input"],
    ["no hub", { endpoint: "ftp://localhost" }, "invalid-input"],
  ])("%s", async (_, more, expected) => {
    expect(await code(more)).toBe(expected);
    expect(hub.log.filter(({ method }) => method !== "GET")).toEqual([]);
  });

  test("a tag that is there", async () => {
    await publish();
    const sent = hub.log.length;
    expect(await failureOf(publish())).toMatchObject({ code: "hub-tag-exists", sameFiles: true });
    files = files.slice(1);
    expect(await failureOf(publish())).toMatchObject({ code: "hub-tag-exists", sameFiles: false });
    expect(hub.log.slice(sent).filter(({ method }) => method !== "GET")).toEqual([]);
  });

  test.each([
    "../config.json",
    "/etc/passwd",
    "a/../../b",
    "a//b",
    "./a",
    "a\\..\\b",
    "C:x",
    ".git/config",
    "x/.GIT/hooks/a",
    "nul.txt",
    "a/COM1",
    "a\u202eb",
    "a\nb",
    "a\0b",
    "end.",
    "end ",
    " begin",
    "a:b",
    "a?",
    "\ud800x",
    "CONFIG.json",
    "Model.mlpackage/other",
    "config.json",
    "config.json/below",
    "x".repeat(501),
    "",
  ])("the name %j", async (path) => {
    files.push({ path, from: files[0]?.from ?? "" });
    expect(await code()).toMatch(/^(?:unsafe-path|publish-files)$/);
    expect(hub.log).toEqual([]);
  });

  test.each([
    ["HF_HUB_OFFLINE", "1"],
    ["HF_HUB_OFFLINE", "yes"],
    ["TRANSFORMERS_OFFLINE", "ON"],
  ])("anything with %s=%s", async (name, value) => {
    vi.stubEnv(name, value);
    expect(await code()).toBe("hub-offline");
    expect(hub.log).toEqual([]);
  });

  test("a file that changed since it was judged", async () => {
    files = files.map((file) => ({ ...file, sha256: hashes[file.path] }));
    await writeFile(join(folder, "model", "config.json"), '{"model_type":"other"}');
    expect(await failureOf(publish())).toMatchObject({ code: "publish-files", path: "config.json" });
    expect(hub.log).toEqual([]);
  });

  test("what is no file", async () => {
    files.push({ path: "gone", from: join(folder, "gone") });
    expect(await code()).toBe("publish-files");
    files.splice(-1, 1, { path: "folder", from: folder });
    expect(await code()).toBe("publish-files");
  });
});

describe("a hub that does not do as it should", () => {
  const untouched = (): void => {
    expect(hub.tags.size).toBe(0);
  };

  test.each([401, 403])("refuses with %i", async (status) => {
    for (const path of ["/preupload/", "/objects/batch", "/commit/"]) {
      hub.faults.push({ path, times: 1, status, body: `{"error":"no, ${hub.token}, you may not"}` });
      const error = await failureOf(publish());
      expect(error).toMatchObject({ code: "hub-write-refused", status });
      expect(String(error)).not.toContain(hub.token);
      untouched();
    }
  });

  test("has no such repository", async () => {
    const { endpoint, token } = hub;
    const error = await failureOf(
      publishFiles("acme/other", files, { tag: "v1", endpoint, token, retry: quick }),
    );
    expect(error).toMatchObject({ code: "hub-not-found", what: "repository" });
  });

  test.each([
    ["/refs", "GET"],
    ["/preupload/", "POST"],
    ["/objects/batch", "POST"],
    ["/objects/", "PUT"],
    ["/tree/", "GET"],
    ["/resolve/", "GET"],
  ])("fails twice at %s and is asked again", async (path, method) => {
    hub.faults.push({ path, method, times: 1, status: 503 }, { path, method, times: 1, status: 500 });
    await publish();
    expect(filesAt("v0.1-ane")).toEqual(hashes);
  });

  test("never recovers", async () => {
    hub.faults.push({ path: "/objects/", method: "PUT", times: 1000, status: 503 });
    expect(await code()).toBe("hub-network");
    untouched();
    hub.faults.length = 0;
    hub.faults.push({ path: "/commit/", times: 1000, status: 500 });
    expect(await code()).toBe("hub-network");
    untouched();
  });

  test.each([
    "",
    "<html>busy</html>",
    "null",
    "[]",
    "{}",
    '{"files":[{}]}',
    '{"objects":[{"oid":"x"}]}',
    '{"files":7,"objects":7,"branches":7}',
  ])("answers %j", async (body) => {
    for (const path of ["/refs", "/preupload/", "/objects/batch", "/commit/", "/tree/"]) {
      hub.faults.length = 0;
      hub.faults.push({ path, times: 1, body });
      const error = await failureOf(publish());
      // A commit whose answer is garbage was not made here.
      expect(error, `${path} ${String(error)}`).toMatchObject({ code: expect.stringMatching(/^hub-/) });
      untouched();
    }
  });

  test("wants weights inside of the commit", async () => {
    const path = "big.bin";
    await writeFile(join(folder, path), noise(11 << 20, 5));
    files.push({ path, from: join(folder, path) });
    hub.faults.push({
      path: "/preupload/",
      times: 1,
      body: JSON.stringify({ files: [{ path, uploadMode: "regular" }] }),
    });
    expect(await code()).toBe("hub-response");
    untouched();
  });

  test.each(["file:///etc/passwd", "javascript:1", "", "//"])("names %j as storage", async (href) => {
    const oid = "0".repeat(64);
    hub.faults.push({
      path: "/objects/batch",
      times: 1,
      body: JSON.stringify({ objects: [{ oid, actions: { upload: { href } } }] }),
    });
    expect(await code()).toBe("hub-response");
    untouched();
  });

  test("lies about a sha256", async () => {
    hub.liesAbout = weights;
    expect(await failureOf(publish())).toMatchObject({ code: "hub-content", path: weights });
    untouched();
    hub.liesAbout = "README.md";
    expect(await failureOf(publish())).toMatchObject({ code: "hub-content", path: "README.md" });
    untouched();
  });

  test("has other bytes than it says", async () => {
    hub.corrupts = weights;
    expect(await failureOf(publish())).toMatchObject({ code: "hub-content", path: weights });
    untouched();
    hub.corrupts = undefined;
    expect(await publish()).toMatchObject({ committed: false });
    expect(filesAt("v0.1-ane")).toEqual(hashes);
  });

  test("has nothing on the branch, or lists nothing before the commit", async () => {
    hub.faults.push({ path: "/tree/", times: 1, body: "[]" });
    // What it did not list was not removed, and the tag is of exactly what was sent.
    expect(await failureOf(publish())).toMatchObject({ code: "hub-content", path: "old.onnx" });
    untouched();
    expect(await publish()).toMatchObject({ removed: ["old.onnx"] });
    expect(filesAt("v0.1-ane")).toEqual(hashes);
  });

  test("has another commit in between", async () => {
    hub.faults.push({ path: "/commit/", times: 1, before: () => hub.commitOther("note.md", "mine") });
    expect(await failureOf(publish())).toMatchObject({ code: "hub-conflict", status: 412 });
    untouched();
    const sent = hub.uploads().length;
    await publish();
    // What is uploaded is not sent twice.
    expect(hub.uploads().length).toBe(sent);
  });

  test("loses the answer to a commit, and to a tag", async () => {
    hub.faults.push(
      { path: "/commit/", times: 1, loseAnswer: true },
      { path: "/tag/", times: 1, loseAnswer: true },
    );
    await publish();
    expect(filesAt("v0.1-ane")).toEqual(hashes);
    expect(hub.commits.size).toBe(2);
  });

  test("has somebody else make the tag meanwhile", async () => {
    const other = [...hub.commits.keys()][0] as string;
    hub.faults.push({ path: "/tag/", times: 1, before: () => hub.tags.set("v0.1-ane", other) });
    expect(await code()).toBe("hub-tag-exists");
    expect(hub.tags.get("v0.1-ane")).toBe(other);
  });

  test("does not make the tag that it says it made", async () => {
    hub.faults.push({ path: "/tag/", times: 1, body: "{}" });
    expect(await code()).toBe("hub-response");
    expect(await publish()).toMatchObject({ committed: false });
  });
});

describe("an upload that is cut", () => {
  test.each([undefined, 65_536])("is sent again, in parts of %j", async (partSize) => {
    hub.partSize = partSize;
    hub.faults.push({
      path: partSize === undefined ? "/objects/" : "/parts/",
      method: "PUT",
      times: 2,
      cutAfter: 10_000,
    });
    await publish();
    expect(filesAt("v0.1-ane")).toEqual(hashes);
  });

  test("goes on in the next run where it stood", async () => {
    hub.faults.push({ path: "/objects/", method: "PUT", after: 1, times: 1000, cutAfter: 10_000 });
    expect(await code()).toBe("hub-network");
    expect(hub.tags.size).toBe(0);
    expect(hub.commits.size).toBe(1);
    const whole = hub.objects.size;
    expect(whole).toBe(1);
    hub.faults.length = 0;
    const before = hub.uploads().length;
    await publish();
    expect(hub.uploads().length - before).toBe(1);
    expect(filesAt("v0.1-ane")).toEqual(hashes);
  });

  test("ends with an abort", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    hub.faults.push({ path: "/objects/", method: "PUT", times: 9, before: () => controller.abort(reason) });
    expect(await failureOf(publish({ signal: controller.signal }))).toBe(reason);
    expect(hub.tags.size).toBe(0);
  });
});
