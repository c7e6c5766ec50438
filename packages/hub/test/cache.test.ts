import { readFileSync } from "node:fs";
import { mkdir, open, readFile, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CrossrankError, type FileProgress } from "@crossrank/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OfflineMissingError, openFolder, openModel } from "../src/index.js";
import { commit, failureOf, model, repository, useScene, weights } from "./scene.js";

const scene = useScene();
const path = "onnx/model.onnx";

let unhandled: unknown[] = [];
const note = (reason: unknown): void => {
  unhandled.push(reason);
};
beforeEach(() => {
  unhandled = [];
  process.on("unhandledRejection", note);
});
afterEach(() => void process.off("unhandledRejection", note));

/** Turns of the event loop, in which an unhandled rejection would show. */
async function pause(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
}

describe("a file in the cache that was cut", () => {
  it.each([
    ["linked", "", 0],
    ["linked", "", 1],
    ["linked", "", weights.length - 1],
    ["copied", "1", 1000],
    ["copied", "1", weights.length - 1],
  ])("is fetched anew: %s, HF_HUB_DISABLE_SYMLINKS=%j, %i bytes left", async (_, copies, left) => {
    vi.stubEnv("HF_HUB_DISABLE_SYMLINKS", copies);
    const first = await (await openModel(model, scene.options)).localPath(path);
    await truncate(first, left);
    const before = scene.hub.contentRequests().length;
    const again = await (await openModel(model, scene.options)).localPath(path);
    expect((await readFile(again)).equals(weights)).toBe(true);
    expect(scene.hub.contentRequests().length).toBeGreaterThan(before);
  });

  it("grew, and is fetched anew in the same object", async () => {
    const files = await openModel(model, scene.options);
    const local = await files.localPath(path);
    await writeFile(local, Buffer.concat([weights, Buffer.from("more")]));
    expect((await readFile(await files.localPath(path))).equals(weights)).toBe(true);
  });

  it("is missing offline, and says so", async () => {
    await truncate(await (await openModel(model, scene.options)).localPath(path), 10);
    const files = await openModel(`${model}@${commit}`, { ...scene.options, offline: true });
    const error = await failureOf(files.localPath(path));
    expect(error).toBeInstanceOf(OfflineMissingError);
    expect(error).toMatchObject({ missing: [path] });
    // The command has a flag for it; a library has none.
    expect((error as Error).message).not.toMatch(/--\w/);
  });
});

it("gives every file of a repository through its links, external data among them", async () => {
  const files = await openModel(model, scene.options);
  for (const [name, { content }] of Object.entries(repository.files)) {
    expect((await readFile(await files.localPath(name))).equals(content), name).toBe(true);
  }
  // The snapshot as a folder: its links lead to the repository's own blobs.
  const folder = await openFolder(join(scene.modelFolder, "snapshots", commit));
  expect((await readFile(await folder.localPath(path))).equals(weights)).toBe(true);
});

it.each([512 * 2 ** 20, 2 ** 31, 2 ** 33])(
  "text of %i bytes is a typed error, and not read",
  async (size) => {
    const folder = join(scene.folder, "large");
    await mkdir(dirname(join(folder, "tokenizer.json")), { recursive: true });
    const handle = await open(join(folder, "tokenizer.json"), "w");
    // Takes no place on the disk.
    await handle.truncate(size);
    await handle.close();
    const error = await failureOf((await openFolder(folder)).readText("tokenizer.json"));
    expect(CrossrankError.isInstance(error), String(error)).toBe(true);
    expect((error as Error).message).toContain("tokenizer.json");
  },
);

describe("a listener of progress that fails", () => {
  const failure = new Error("the listener's own");
  const late = async (): Promise<void> => {
    await pause();
    throw failure;
  };
  const listeners: readonly (readonly [string, (progress: FileProgress) => unknown])[] = [
    [
      "throws at once",
      () => {
        throw failure;
      },
    ],
    [
      "throws at the end",
      ({ loaded, total }) => {
        if (loaded === total) throw failure;
      },
    ],
    ["rejects at once", () => Promise.reject(failure)],
    ["throws what the system throws", () => readFileSync(join(scene.folder, "none"))],
    ["rejects later", late],
    ["rejects at the end", ({ loaded, total }) => (loaded === total ? late() : undefined)],
  ];

  it.each(listeners)("fails the call with its error: %s", async (_, onProgress) => {
    const files = await openModel(model, scene.options);
    const listener = onProgress as (progress: FileProgress) => void;
    const found = await failureOf(files.localPath(path, { onProgress: listener }));
    if (found !== failure) expect(found).toMatchObject({ code: "ENOENT", syscall: "open" });
    await pause();
    expect(unhandled).toEqual([]);
    expect((await readFile(await files.localPath(path))).equals(weights)).toBe(true);
  });

  it("may never settle: an abort ends the call", async () => {
    const files = await openModel(model, scene.options);
    const controller = new AbortController();
    const onProgress = (): Promise<void> =>
      new Promise(() => setTimeout(() => controller.abort(failure), 50));
    const call = files.localPath(path, { signal: controller.signal, onProgress });
    expect(await failureOf(call)).toBe(failure);
  });
});

describe("a caller's fetch that forgets an abort", () => {
  const reason = new Error("enough");
  const isContent = (input: unknown): boolean => String(input).includes("/resolve/");
  const forgetful: readonly (readonly [string, (input: string) => Promise<Response>])[] = [
    ["gives no answer", () => new Promise(() => undefined)],
    ["gives a body that stops", async () => new Response(new ReadableStream(), { status: 200 })],
  ];

  it.each(forgetful)("%s: the call ends with the signal's reason", async (_, answer) => {
    const controller = new AbortController();
    const fetch = async (input: unknown, init?: RequestInit): Promise<Response> => {
      if (!isContent(input)) return globalThis.fetch(String(input), init);
      setTimeout(() => controller.abort(reason), 20);
      return answer(String(input));
    };
    const files = await openModel(model, { ...scene.options, fetch: fetch as typeof globalThis.fetch });
    expect(await failureOf(files.localPath(path, { signal: controller.signal }))).toBe(reason);
    // What it held is free again.
    const others = await openModel(model, scene.options);
    expect((await readFile(await others.localPath(path))).equals(weights)).toBe(true);
  });

  it("carries one listener, however many requests wait for their next try", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const add = vi.spyOn(signal, "addEventListener");
    const remove = vi.spyOn(signal, "removeEventListener");
    const fetch = async (input: unknown, init?: RequestInit): Promise<Response> =>
      isContent(input) ? new Response(null, { status: 503 }) : globalThis.fetch(String(input), init);
    const retry = { attempts: 3, delay: 60_000, longestDelay: 60_000 };
    const files = await openModel(model, {
      ...scene.options,
      fetch: fetch as typeof globalThis.fetch,
      retry,
    });
    const reading = Array.from({ length: 16 }, (_, index) =>
      failureOf(files.readBytes(path, { start: index, end: index + 1 }, { signal })),
    );
    await vi.waitFor(() => expect(add).toHaveBeenCalled());
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(add.mock.calls.length - remove.mock.calls.length).toBe(1);
    controller.abort(reason);
    expect(new Set(await Promise.all(reading))).toEqual(new Set([reason]));
    expect(add.mock.calls.length).toBe(remove.mock.calls.length);
  });
});
