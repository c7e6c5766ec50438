import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publishModel } from "@crossrank/backend-web/files";
import { afterAll, beforeEach, expect, test } from "vitest";
import { listName, readFileList } from "../src/file-list.js";
import { type Answer, fixtureFolder, modelFolder, openScene } from "./browser/scene.js";

const scene = await openScene();
const page = await scene.open(scene.isolated);
afterAll(() => scene.close());
const folder = await mkdtemp(join(tmpdir(), "crossrank-web-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => {
  scene.answers.clear();
  scene.requests.length = 0;
});

const content = "the content of a file";
const sha256 = createHash("sha256").update(content).digest("hex");
const size = content.length;

interface Asked {
  readonly files?: readonly object[];
  readonly options?: object;
  readonly path?: string;
}

/** What reading one file of a model comes to. */
function read({ files, options = {}, path = "a.txt" }: Asked): Promise<string> {
  return page.evaluate(
    async ([list, others, wanted]) => {
      try {
        const options = { keep: false, ...others, ...(list === undefined ? {} : { files: list }) };
        const model = await globalThis.crossrank.fetchModel("/m/", options as object);
        return await model.readText(wanted);
      } catch (error) {
        const { code, message } = error as { code: string; message: string };
        return `${code}: ${message}`;
      }
    },
    [files, options, path] as const,
  );
}

const answer =
  (body: string | Buffer, headers: Record<string, string> = {}, status = 200): Answer =>
  (_, response) =>
    void response.writeHead(status, headers).end(body);

test("a file that is as it should be", async () => {
  scene.answers.set("/m/a.txt", answer(content));
  expect(await read({ files: [{ path: "a.txt", size, sha256 }] })).toBe(content);
  scene.answers.set("/m/a b#?.txt", answer(content));
  expect(await read({ files: [{ path: "a b#?.txt", size, sha256 }], path: "a b#?.txt" })).toBe(content);
});

test.each<[string, Answer, RegExp]>([
  ["404", answer("", {}, 404), /^model-fetch: .*answers 404/],
  ["500", answer("", {}, 500), /^model-fetch: .*answers 500/],
  [
    "a web page",
    answer("<!doctype html>".repeat(9), { "Content-Type": "text/html" }),
    /^model-fetch: .*web page/,
  ],
  ["too short", answer(content.slice(1)), /^model-fetch: .*has 20 bytes, and the file has 21/],
  [
    "too long, as it says",
    answer("x".repeat(size + 1), { "Content-Length": String(size + 1) }),
    /^model-fetch: .*has 22 bytes/,
  ],
  ["other bytes", answer("The content of a file"), /^model-fetch: .*its sha256 is/],
  ["a redirect", answer("", { Location: "/m/b.txt" }, 302), /^model-fetch: .*or it is a redirect/],
  ["no answer", (request) => void request.socket.destroy(), /^model-fetch: .*no answer comes/],
  [
    "cut off on the way",
    (request, response) => {
      response.writeHead(200, { "Content-Length": String(size) });
      response.write(content.slice(0, 5), () => request.socket.destroy());
    },
    /^model-fetch: .*(the connection ended|no answer comes)/,
  ],
  [
    "endless",
    (_, response) => {
      const piece = "x".repeat(1 << 16);
      const more = (): void => {
        while (!response.destroyed && response.write(piece));
      };
      response.on("drain", more);
      more();
    },
    /^model-fetch: .*has more than 21 bytes/,
  ],
])("an answer that is %s", async (_, bad, message) => {
  scene.answers.set("/m/a.txt", bad);
  scene.answers.set("/m/b.txt", answer(content));
  expect(await read({ files: [{ path: "a.txt", size, sha256 }] })).toMatch(message);
});

test("a host that was not named is not asked, but where redirects are allowed", async () => {
  let asked = 0;
  const other = createServer((_, response) => {
    asked += 1;
    response.writeHead(200, { "Access-Control-Allow-Origin": "*" }).end(content);
  });
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as AddressInfo;
  scene.answers.set("/m/a.txt", answer("", { Location: `http://127.0.0.1:${port}/a.txt` }, 302));
  const files = [{ path: "a.txt", size, sha256 }];
  expect(await read({ files })).toMatch(/^model-fetch/);
  expect(asked).toBe(0);
  scene.answers.set("/m/a.txt", answer("", { Location: "/m/b.txt" }, 302));
  scene.answers.set("/m/b.txt", answer(content));
  expect(await read({ files, options: { followRedirects: true } })).toBe(content);
  other.close();
});

test.each<[string, string, RegExp]>([
  ["no JSON", "<html>", /^model-fetch: .*it is no JSON/],
  ["no list", "{}", /^invalid-input: .*must be an array/],
  ["empty", "[]", /^invalid-input/],
  ["too long", `["${"x".repeat(1 << 20)}"]`, /^model-fetch: .*at most 1048576/],
  ["a path upwards", JSON.stringify([{ path: "../a.txt", size }]), /^invalid-input: .*path/],
  ["a path of another host", JSON.stringify([{ path: "//host/a.txt", size }]), /^invalid-input: .*path/],
])("a list that is %s", async (_, list, message) => {
  scene.answers.set(`/m/${listName}`, answer(list));
  expect(await read({})).toMatch(message);
});

test.each<[string, object]>([
  ["path", { path: "/a", size }],
  ["path", { path: "a/./b", size }],
  ["path", { path: "a\\..\\b", size }],
  ["path", { path: "a\u0000b", size }],
  ["path", { path: "x".repeat(600), size }],
  ["path", { size }],
  ["size", { path: "a", size: -1 }],
  ["size", { path: "a", size: 1.5 }],
  ["size", { path: "a", size: "1" }],
  ["sha256", { path: "a", size, sha256: "ABC" }],
  ["path", [null]],
])("an entry whose %s is none: %j", (field, entry) => {
  const code = "invalid-input";
  expect(() => readFileList([entry], "files")).toThrow(
    expect.objectContaining({ code, path: `files[0].${field}` }),
  );
});

test("lists of too many files, or with one twice", () => {
  const many = Array.from({ length: 4097 }, (_, index) => ({ path: `a${index}`, size }));
  expect(() => readFileList(many, "files")).toThrow(/4097 files/);
  expect(() => readFileList([many[0], many[0]], "files")).toThrow(/a second time/);
});

test("a file that is larger than allowed is not asked for", async () => {
  scene.answers.set("/m/a.txt", answer(content));
  const files = [{ path: "a.txt", size, sha256 }];
  expect(await read({ files, options: { maxBytes: 20 } })).toMatch(/^model-fetch: .*more than the 20/);
  expect(scene.requests).not.toContain("/m/a.txt");
  expect(await read({ files, options: { maxBytes: 0 } })).toMatch(/^invalid-input/);
  expect(await read({ files, path: "b.txt" })).toMatch(/^model-file-not-found/);
});

test("files are kept by their content, and fetched again where what is kept is something else", async () => {
  scene.answers.set("/m/a.txt", answer(content));
  const asked = { files: [{ path: "a.txt", size, sha256 }], options: { keep: true } };
  const times = (): number => scene.requests.filter((path) => path === "/m/a.txt").length;
  expect(await read(asked)).toBe(content);
  expect(await read(asked)).toBe(content);
  expect(times()).toBe(1);
  await page.evaluate(async () => {
    const cache = await caches.open("crossrank-models");
    for (const key of await cache.keys()) await cache.put(key, new Response("The content of a file"));
  });
  expect(await read(asked)).toBe(content);
  expect(times()).toBe(2);
  expect(await read({ ...asked, options: { keep: false } })).toBe(content);
  expect(times()).toBe(3);
});

test("one fetch serves calls at once, and an abort of one leaves the others", async () => {
  let release: () => void = () => undefined;
  scene.answers.set("/m/a.txt", (_, response) => {
    release = () => void response.end(content);
  });
  const reading = page.evaluate(
    async (files) => {
      const model = await globalThis.crossrank.fetchModel("/m/", { files, keep: false });
      const abort = new AbortController();
      const first = model.readText("a.txt", { signal: abort.signal }).catch((reason: unknown) => reason);
      const second = model.readText("a.txt");
      await new Promise((resolve) => setTimeout(resolve, 300));
      abort.abort("enough");
      const aborted = await first;
      const progress: number[] = [];
      await fetch("/release");
      const text = await second;
      const bytes = await model.readBytes(
        "a.txt",
        { start: 4, end: 11 },
        { onProgress: () => progress.push(1) },
      );
      const place = await model.localPath("a.txt");
      return [aborted, text, new TextDecoder().decode(bytes), place.startsWith("blob:")];
    },
    [{ path: "a.txt", size, sha256 }],
  );
  // The second call asks again when the first one's fetch ended with it.
  scene.answers.set("/release", async (_, response) => {
    response.end();
    setTimeout(() => release(), 300);
  });
  expect(await reading).toEqual(["enough", content, "content", true]);
});

test("what a folder becomes for a server, and again", async () => {
  const target = join(folder, "nano");
  const files = await publishModel(modelFolder, target);
  const paths = files.map(({ path }) => path);
  expect(paths).toContain("onnx/model_int8.onnx");
  expect(paths).not.toContain("README.md");
  expect(paths).not.toContain("golden.json");
  const list = JSON.parse(await readFile(join(target, listName), "utf8"));
  expect(list).toEqual(files);
  const before = await stat(join(target, "onnx/model_int8.onnx"));
  expect(await publishModel(modelFolder, target)).toEqual(files);
  expect((await stat(join(target, "onnx/model_int8.onnx"))).ino).toBe(before.ino);

  const chain = await publishModel(fixtureFolder("modernbert-chain"), join(folder, "chain"));
  const of = chain.map(({ path }) => path);
  expect(of.some((path) => /^2_Dense\/.*safetensors$/.test(path))).toBe(true);
  expect(of).not.toContain("model.safetensors");
  await mkdir(join(folder, "nothing"));
  await writeFile(join(folder, "nothing/a.onnx"), "a");
  await expect(publishModel(join(folder, "nothing"), target)).rejects.toMatchObject({
    code: "invalid-input",
  });

  scene.folders.set("published", folder);
  const text = await page.evaluate(async () => {
    const model = await globalThis.crossrank.fetchModel("/published/nano");
    return [model.id, (await model.readText("config.json")).length];
  });
  expect(text).toEqual([new URL("/published/nano/", scene.isolated).href, expect.any(Number)]);
});
