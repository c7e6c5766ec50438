import { access, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  completeModel,
  HubNetworkError,
  HubResponseError,
  OfflineMissingError,
  openModel,
} from "../src/index.js";
import { lfsFile, noise, type Repository, sha256 } from "./hub-server.js";
import { commit, failureOf, model, useScene } from "./scene.js";

const megabyte = 1 << 20;
/** A head that no reader knows, and numbers. */
const large = noise(12 * megabyte);
const small = noise(7 * megabyte, 2);
const header = new TextEncoder().encode(
  JSON.stringify({ a: { dtype: "F32", shape: [1], data_offsets: [0, 4] } }),
);
const tensors = noise(12 * megabyte, 3);
tensors.writeBigUInt64LE(BigInt(header.length));
tensors.set(header, 8);

const repository: Repository = {
  id: model,
  commit,
  revisions: ["main"],
  files: {
    "model.gguf": lfsFile(large),
    "small.gguf": lfsFile(small),
    "model.safetensors": lfsFile(tensors),
  },
};

const scene = useScene(repository);
const isWhole = (content: Buffer): Promise<boolean> =>
  access(join(scene.modelFolder, "blobs", sha256(content))).then(
    () => true,
    () => false,
  );
/** Without a comparison of millions of numbers one by one. */
const same = (bytes: Uint8Array, expected: Uint8Array): boolean => Buffer.from(bytes).equals(expected);
const rangesAsked = (): (string | undefined)[] =>
  scene.hub.contentRequests().flatMap(({ server, range }) => (server === "storage" ? [range] : []));

describe("part of a large file", () => {
  it("is fetched alone, and kept for the next time and for offline", async () => {
    const files = await openModel(model, scene.options);
    expect(await files.readBytes("model.gguf", { start: 0, end: 24 })).toEqual(
      new Uint8Array(large.subarray(0, 24)),
    );
    const across = { start: 600_000, end: 1_900_000 };
    const expected = new Uint8Array(large.subarray(across.start, across.end));
    expect(same(await files.readBytes("model.gguf", across), expected)).toBe(true);
    // Beyond its end a file gives what it has.
    const end = { start: large.length - 3, end: large.length + 9 };
    expect(await files.readBytes("model.gguf", end)).toEqual(new Uint8Array(large.subarray(end.start)));
    expect(rangesAsked()).toEqual([
      "bytes=0-262143",
      "bytes=524288-2097151",
      `bytes=${large.length - 262_144}-${large.length - 1}`,
    ]);
    expect(await isWhole(large)).toBe(false);

    const again = await openModel(model, scene.options);
    expect(same(await again.readBytes("model.gguf", across), expected)).toBe(true);
    const offline = await openModel(model, { ...scene.options, offline: true });
    expect(same(await offline.readBytes("model.gguf", across), expected)).toBe(true);
    expect(rangesAsked()).toHaveLength(3);
    const unseen = offline.readBytes("model.gguf", { start: 4 * megabyte, end: 5 * megabyte });
    await expect(unseen).rejects.toThrow(OfflineMissingError);
  });

  it("is part of the whole file once that is there", async () => {
    const files = await openModel(model, scene.options);
    await files.localPath("model.gguf");
    const before = rangesAsked().length;
    const bytes = await files.readBytes("model.gguf", { start: 5, end: 9 });
    expect(bytes).toEqual(new Uint8Array(large.subarray(5, 9)));
    const other = await openModel(model, scene.options);
    expect(await other.readBytes("model.gguf", { start: 5, end: 9 })).toEqual(bytes);
    expect(rangesAsked()).toHaveLength(before);
  });

  it.each([
    ["a small file", "small.gguf", { start: 0, end: 8 }, small],
    ["more than a quarter", "model.gguf", { start: 0, end: 4 * megabyte }, large],
    [
      "a safetensors file's numbers",
      "model.safetensors",
      { start: 2 * megabyte, end: 2 * megabyte + 4 },
      tensors,
    ],
    ["numbers that begin in the header", "model.safetensors", { start: 8, end: 9 + header.length }, tensors],
  ])("is not: %s", async (_, path, range, content) => {
    const files = await openModel(model, scene.options);
    const bytes = await files.readBytes(path, range);
    expect(same(bytes, content.subarray(range.start, range.end))).toBe(true);
    expect(await isWhole(content)).toBe(true);
  });

  it("is a safetensors file's header and its end", async () => {
    const files = await openModel(model, scene.options);
    const path = "model.safetensors";
    expect(await files.readBytes(path, { start: 0, end: 8 })).toEqual(new Uint8Array(tensors.subarray(0, 8)));
    const text = await files.readBytes(path, { start: 8, end: 8 + header.length });
    expect(new Uint8Array(text)).toEqual(header);
    const end = await files.readBytes(path, { start: tensors.length - 1, end: tensors.length + 1 });
    expect(end).toEqual(new Uint8Array(tensors.subarray(-1)));
    expect(await isWhole(tensors)).toBe(false);
  });

  it("is not where a lock file holds the file by its hash, nor when there were many", async () => {
    const lockFile = join(scene.folder, "crossrank.lock.json");
    const locked = await openModel(model, { ...scene.options, lockFile });
    await locked.readBytes("model.gguf", { start: 0, end: 8 });
    expect(await isWhole(large)).toBe(true);
    const files = await openModel(model, { ...scene.options, cacheFolder: join(scene.folder, "other") });
    for (let index = 0; index < 14; index += 1) {
      const start = index * 800_000;
      const bytes = await files.readBytes("model.gguf", { start, end: start + 4 });
      expect(bytes).toEqual(new Uint8Array(large.subarray(start, start + 4)));
    }
    expect(rangesAsked().filter((range) => range === undefined)).toHaveLength(2);
  });

  it("comes of a server without ranges, which is read no farther than needed, and then no more in parts", async () => {
    scene.hub.faults.push({ server: "storage", path: sha256(large), times: 9, ignoreRange: true });
    const files = await openModel(model, scene.options);
    const first = await files.readBytes("model.gguf", { start: 100, end: 200 });
    expect(first).toEqual(new Uint8Array(large.subarray(100, 200)));
    expect(await isWhole(large)).toBe(false);
    const later = await files.readBytes("model.gguf", { start: 2 * megabyte, end: 2 * megabyte + 9 });
    expect(later).toEqual(new Uint8Array(large.subarray(2 * megabyte, 2 * megabyte + 9)));
    expect(await isWhole(large)).toBe(true);
  });

  it.each([
    ["a cut answer", { cutAfter: 1000 }],
    ["a server that is busy", { status: 503 }],
    ["a signature that ended", { status: 403 }],
    ["another part than was asked for", { status: 206, headers: { "content-range": "bytes 7-9/12582912" } }],
    ["a range that is refused", { status: 416 }],
  ])("is asked for again after %s", async (_, fault) => {
    scene.hub.faults.push({ server: "storage", path: sha256(large), times: 2, ...fault });
    const files = await openModel(model, scene.options);
    const bytes = await files.readBytes("model.gguf", { start: 3, end: 9000 });
    expect(same(bytes, large.subarray(3, 9000))).toBe(true);
    expect(await isWhole(large)).toBe(false);
  });

  it("fails where a server never answers it, and where it has another file", async () => {
    const files = await openModel(model, { ...scene.options, retry: { delay: 1, attempts: 2 } });
    const read = (): Promise<unknown> => failureOf(files.readBytes("model.gguf", { start: 0, end: 9 }));
    scene.hub.faults.push({ server: "storage", path: sha256(large), times: 2, status: 500 });
    expect(await read()).toBeInstanceOf(HubNetworkError);
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(large)}\nsize ${large.length}\n`;
    scene.hub.faults.push({
      server: "storage",
      path: sha256(large),
      times: 1,
      status: 200,
      headers: { "content-length": String(pointer.length) },
      body: pointer,
    });
    expect(await read()).toBeInstanceOf(HubResponseError);
    scene.hub.faults.push({
      server: "storage",
      path: sha256(large),
      times: 1,
      status: 206,
      headers: { "content-range": "bytes 0-8/9" },
      body: "123456789",
    });
    expect(String(await read())).toMatch(/9 bytes of model\.gguf, and the hub lists 12582912/);
    const stopped = new AbortController();
    stopped.abort(new Error("enough"));
    const aborted = files.readBytes("model.gguf", { start: 0, end: 9 }, { signal: stopped.signal });
    await expect(aborted).rejects.toThrow("enough");
    await expect(files.readBytes("../x", { start: 0, end: 9 })).rejects.toMatchObject({
      code: "unsafe-path",
    });
  });

  it("is fetched anew where what was kept was cut, and read where nothing can be kept", async () => {
    const kept = join(scene.folder, "crossrank", "ranges", sha256(large));
    await mkdir(kept, { recursive: true });
    await writeFile(join(kept, "0-of-262144"), "cut");
    const files = await openModel(model, scene.options);
    const wanted = new Uint8Array(large.subarray(0, 9));
    expect(await files.readBytes("model.gguf", { start: 0, end: 9 })).toEqual(wanted);
    const cacheFolder = join(scene.folder, "deeper", "cache");
    await mkdir(join(scene.folder, "deeper"));
    await writeFile(join(scene.folder, "deeper", "crossrank"), "a file");
    const elsewhere = await openModel(model, { ...scene.options, cacheFolder });
    expect(await elsewhere.readBytes("model.gguf", { start: 0, end: 9 })).toEqual(wanted);
  });
});

describe("a GGUF alone", () => {
  it("is completed from its head, without the rest of it", async () => {
    const files = await openModel(model, scene.options);
    const refused = await failureOf(completeModel(files, { gguf: "model.gguf" }));
    expect(String(refused)).toMatch(/model\.gguf: no tokenizer can be read out of it: it is no GGUF file/);
    expect(rangesAsked().every((range) => range?.startsWith("bytes=") === true)).toBe(true);
    expect(await isWhole(large)).toBe(false);
  });
});
