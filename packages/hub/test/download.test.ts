import { mkdir, readFile, readlink, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { FileProgress, ModelFiles } from "@crossrank/core";
import { describe, expect, it, vi } from "vitest";
import { HashMismatchError, HubNetworkError, HubResponseError, openModel } from "../src/index.js";
import { gitBlobId, sha256 } from "./hub-server.js";
import { commit, config, failureOf, model, namesIn, quick, useScene, weights } from "./scene.js";

/** The default of one second is too little for two downloads to start on a busy machine. */
const patience = { timeout: 60_000 };

const scene = useScene();
const weightsPath = "onnx/model.onnx";
const weightsHash = sha256(weights);

async function blobs(): Promise<string[]> {
  return namesIn(join(scene.modelFolder, "blobs"));
}

describe("a download", () => {
  it("lays files out as Python's huggingface_hub does", async () => {
    const files = await openModel(model, scene.options);
    expect(files).toMatchObject({ id: model, revision: commit });
    const path = await files.localPath(weightsPath);
    expect(path).toBe(join(scene.modelFolder, "snapshots", commit, "onnx", "model.onnx"));
    expect(await readlink(path)).toBe(join("..", "..", "..", "blobs", weightsHash));
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect(await files.readText("config.json")).toBe(config.toString());
    expect(await blobs()).toEqual([gitBlobId(config), weightsHash].sort());
    expect(await readFile(join(scene.modelFolder, "refs", "main"), "utf8")).toBe(commit);
  });

  it("requests only the files asked for, each once", async () => {
    const files = await openModel(model, scene.options);
    expect(scene.hub.contentRequests()).toEqual([]);
    await files.localPath(weightsPath);
    await files.localPath(weightsPath);
    await (await openModel(model, scene.options)).localPath(weightsPath);
    expect(scene.hub.contentRequests().map(({ path }) => path)).toEqual([`/${weightsHash}`]);
  });

  it("lists sizes, and hashes where the hub knows them, over all pages", async () => {
    const list = await (await openModel(model, scene.options)).list();
    expect(list).toHaveLength(7);
    expect(list).toContainEqual({ path: weightsPath, size: weights.length, sha256: weightsHash });
    expect(list).toContainEqual({ path: "config.json", size: config.length, sha256: undefined });
  });

  it.each(["v1", "refs/pr/1"])("notes the revision %s under its own name", async (revision) => {
    const files = await openModel(`${model}@${revision}`, scene.options);
    await files.readText("config.json");
    expect(await readFile(join(scene.modelFolder, "refs", revision), "utf8")).toBe(commit);
  });

  it.each([
    ["empty.txt", ""],
    ["odd names/a b#c%25.txt", "odd"],
  ])("takes the file %j", async (path, text) => {
    expect(await (await openModel(model, scene.options)).readText(path)).toBe(text);
  });

  it("tells progress up to the whole size, in bytes", async () => {
    const calls: FileProgress[] = [];
    const files = await openModel(model, scene.options);
    await files.localPath(weightsPath, { onProgress: (progress) => calls.push(progress) });
    const total = weights.length;
    expect(calls.at(-1)).toEqual({ path: weightsPath, loaded: total, total });
    expect(calls.filter(({ loaded }) => loaded === total)).toHaveLength(1);
    const loaded = calls.map((call) => call.loaded);
    expect(loaded).toEqual([...loaded].sort((left, right) => left - right));
  });

  it("takes a blob that another commit brought, without a request for it", async () => {
    await mkdir(join(scene.modelFolder, "blobs"), { recursive: true });
    await writeFile(join(scene.modelFolder, "blobs", weightsHash), weights);
    const path = await (await openModel(model, scene.options)).localPath(weightsPath);
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect(scene.hub.contentRequests()).toEqual([]);
  });

  it("replaces a blob of the wrong size", async () => {
    await mkdir(join(scene.modelFolder, "blobs"), { recursive: true });
    await writeFile(join(scene.modelFolder, "blobs", weightsHash), weights.subarray(1));
    const path = await (await openModel(model, scene.options)).localPath(weightsPath);
    expect((await readFile(path)).equals(weights)).toBe(true);
  });

  it("puts the file itself into the snapshot where links are off", async () => {
    vi.stubEnv("HF_HUB_DISABLE_SYMLINKS", "1");
    const path = await (await openModel(model, scene.options)).localPath(weightsPath);
    expect((await stat(path)).isFile()).toBe(true);
    await expect(readlink(path)).rejects.toThrow();
    expect(await blobs()).toEqual([]);
    await (await openModel(model, scene.options)).localPath(weightsPath);
    expect(scene.hub.contentRequests()).toHaveLength(1);
  });
});

describe("the token", () => {
  it("goes to the hub and its own redirects, and not to the storage host", async () => {
    const files = await openModel(model, { ...scene.options, token: "a-token" });
    await files.localPath(weightsPath);
    await files.readText("config.json");
    const sent = scene.hub.log.map(({ server, authorization }) => `${server} ${authorization}`);
    expect([...new Set(sent)].sort()).toEqual(["hub Bearer a-token", "storage undefined"]);
  });

  it("is not sent to another host that a redirect of the API names", async () => {
    const elsewhere = scene.hub.endpoint.replace("127.0.0.1", "localhost");
    scene.hub.faults.push({
      server: "hub",
      path: "/revision/",
      times: 1,
      status: 307,
      headers: { location: `${elsewhere}/api/models/${model}/revision/main` },
    });
    await openModel(model, { ...scene.options, token: "a-token" }).catch(() => undefined);
    expect(scene.hub.log[0]?.authorization).toBe("Bearer a-token");
    expect(scene.hub.log.slice(1).map(({ authorization }) => authorization)).not.toContain("Bearer a-token");
  });
});

describe("a broken download", () => {
  it("continues a cut connection where it broke off", async () => {
    scene.hub.faults.push({ server: "storage", path: "/", times: 1, cutAfter: 100_000 });
    const path = await (await openModel(model, scene.options)).localPath(weightsPath);
    const [first, second, ...rest] = scene.hub.contentRequests();
    expect(rest).toEqual([]);
    expect(first?.range).toBeUndefined();
    // Not always all that was sent: what a client has not read when the connection breaks may be lost.
    expect(second?.range).toMatch(/^bytes=[1-9]\d*-$/);
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect(await blobs()).toEqual([weightsHash]);
  });

  it("continues a connection that stalls", async () => {
    scene.hub.faults.push({ server: "storage", path: "/", times: 1, stallAfter: 100_000 });
    const options = { ...scene.options, retry: { ...quick, idleTimeout: 200 } };
    const path = await (await openModel(model, options)).localPath(weightsPath);
    expect(scene.hub.contentRequests()[1]?.range).toBe("bytes=100000-");
    expect((await readFile(path)).equals(weights)).toBe(true);
  });

  it("starts anew when the server ignores the range", async () => {
    scene.hub.faults.push(
      { server: "storage", path: "/", times: 1, cutAfter: 100_000 },
      { server: "storage", path: "/", times: 1, ignoreRange: true },
    );
    const path = await (await openModel(model, scene.options)).localPath(weightsPath);
    expect((await readFile(path)).equals(weights)).toBe(true);
  });

  it("gives up after the attempts allowed, and a later call continues", async () => {
    scene.hub.faults.push(
      { server: "storage", path: "/", times: 1, cutAfter: 100_000 },
      { server: "storage", path: "/", times: 2, cutAfter: 0 },
    );
    const options = { ...scene.options, retry: { ...quick, attempts: 3 } };
    const files = await openModel(model, options);
    const error = await failureOf(files.localPath(weightsPath));
    expect(error).toBeInstanceOf(HubNetworkError);
    expect(error).toMatchObject({ code: "hub-network", attempts: 3 });
    expect(scene.hub.contentRequests()).toHaveLength(3);

    const path = await (await openModel(model, options)).localPath(weightsPath);
    expect(scene.hub.contentRequests()[3]?.range).toMatch(/^bytes=[1-9]\d*-$/);
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect(await blobs()).toEqual([weightsHash]);
  });

  it("stops on abort with the signal's reason, and a later call continues", async () => {
    scene.hub.faults.push({ server: "storage", path: "/", times: 1, stallAfter: 100_000 });
    const files = await openModel(model, scene.options);
    const controller = new AbortController();
    const reason = new Error("enough");
    const download = files.localPath(weightsPath, {
      signal: controller.signal,
      onProgress: ({ loaded }) => {
        if (loaded > 0) controller.abort(reason);
      },
    });
    // Progress is throttled, so the stalled state itself triggers where no call came in time.
    const watcher = setInterval(async () => {
      const [partial] = await blobs().catch(() => []);
      const size = partial && (await stat(join(scene.modelFolder, "blobs", partial))).size;
      if (size === 100_000) controller.abort(reason);
    }, 20);
    expect(await failureOf(download)).toBe(reason);
    clearInterval(watcher);
    expect(await blobs()).toEqual([expect.stringMatching(`^${weightsHash}\\.crossrank-.*\\.incomplete$`)]);

    const path = await files.localPath(weightsPath);
    expect(scene.hub.contentRequests()[1]?.range).toMatch(/^bytes=[1-9]\d*-$/);
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect(await blobs()).toEqual([weightsHash]);
  });

  it("makes no request when its signal is aborted already", async () => {
    const files = await openModel(model, scene.options);
    const requests = scene.hub.log.length;
    const signal = AbortSignal.abort("no");
    expect(await failureOf(files.localPath(weightsPath, { signal }))).toBe("no");
    expect(await failureOf(openModel(model, { ...scene.options, signal }))).toBe("no");
    expect(scene.hub.log).toHaveLength(requests);
  });

  it("takes over a partial file that was abandoned long ago", async () => {
    const partial = join(scene.modelFolder, "blobs", `${weightsHash}.crossrank-0123456789ab.incomplete`);
    await mkdir(join(scene.modelFolder, "blobs"), { recursive: true });
    await writeFile(partial, weights.subarray(0, 200_000));
    await utimes(partial, 0, 0);
    scene.hub.faults.push({ server: "storage", path: "/", times: 9, cutAfter: 0 });
    await failureOf((await openModel(model, scene.options)).localPath(weightsPath));
    expect(scene.hub.contentRequests()[0]?.range).toBe("bytes=200000-");
    expect(await blobs()).toHaveLength(1);
    expect(await blobs()).not.toEqual([`${weightsHash}.crossrank-0123456789ab.incomplete`]);
  });

  it("needs no request for content when a partial file lacks nothing", async () => {
    await mkdir(join(scene.modelFolder, "blobs"), { recursive: true });
    await writeFile(join(scene.modelFolder, "blobs", `${weightsHash}.crossrank-0.incomplete`), weights);
    await (await openModel(model, scene.options)).localPath(weightsPath);
    expect(scene.hub.contentRequests()).toEqual([]);
    expect(await blobs()).toEqual([weightsHash]);
  });

  it.each([
    ["of other bytes", Buffer.alloc(200_000)],
    ["that is too long", Buffer.alloc(weights.length + 1)],
  ])("starts anew from a partial file %s", async (_, content) => {
    await mkdir(join(scene.modelFolder, "blobs"), { recursive: true });
    await writeFile(join(scene.modelFolder, "blobs", `${weightsHash}.crossrank-0.incomplete`), content);
    const path = await (await openModel(model, scene.options)).localPath(weightsPath);
    expect((await readFile(path)).equals(weights)).toBe(true);
    expect(scene.hub.contentRequests().at(-1)?.range).toBeUndefined();
  });

  it("leaves Python's partial files alone", async () => {
    await mkdir(join(scene.modelFolder, "blobs"), { recursive: true });
    const name = `${weightsHash}.0a1b2c3d.incomplete`;
    await writeFile(join(scene.modelFolder, "blobs", name), "not in order");
    await (await openModel(model, scene.options)).localPath(weightsPath);
    expect(scene.hub.contentRequests()[0]?.range).toBeUndefined();
    expect(await blobs()).toEqual([name, weightsHash].sort());
  });

  it("gets a new signed URL when the storage refuses the old one", async () => {
    scene.hub.faults.push({ server: "storage", path: "/", times: 1, status: 403 });
    await (await openModel(model, scene.options)).localPath(weightsPath);
    const resolves = scene.hub.log.filter(({ path }) => path.includes("/resolve/"));
    expect(resolves).toHaveLength(2);
  });
});

describe("verification", () => {
  it.each([
    { path: weightsPath, algorithm: "sha256", server: "storage", expected: weightsHash },
    { path: "config.json", algorithm: "git-sha1", server: "hub", expected: gitBlobId(config) },
  ] as const)("refuses a wrong hash of $path and removes the file", async (row) => {
    const place = row.server === "hub" ? "/resolve-cache/" : "/";
    scene.hub.faults.push({ server: row.server, path: place, times: 1, corrupt: true });
    const files = await openModel(model, scene.options);
    const error = await failureOf(files.localPath(row.path));
    expect(error).toBeInstanceOf(HashMismatchError);
    expect(error).toMatchObject({ model, path: row.path, algorithm: row.algorithm, expected: row.expected });
    expect((error as HashMismatchError).found).toMatch(/^[0-9a-f]+$/);
    expect((error as HashMismatchError).found).not.toBe(row.expected);
    expect(await blobs()).toEqual([]);
    await files.localPath(row.path);
    expect(await blobs()).toEqual([row.expected]);
  });

  it("stops reading an answer that is longer than the file", async () => {
    scene.hub.faults.push({ server: "storage", path: "/", times: 1, tooLong: true });
    const files = await openModel(model, scene.options);
    expect(await failureOf(files.localPath(weightsPath))).toBeInstanceOf(HubResponseError);
    expect(await blobs()).toEqual([]);
  });
});

describe("two downloads of one file at once", () => {
  it("make one request within a process", async () => {
    const opened = [await openModel(model, scene.options), await openModel(model, scene.options)];
    const paths = await Promise.all(opened.map((files) => files.localPath(weightsPath)));
    expect(new Set(paths).size).toBe(1);
    expect(scene.hub.contentRequests()).toHaveLength(1);
  });

  it("let a waiting one abort alone", async () => {
    let answer = (): void => {};
    const after = new Promise<void>((resolve) => {
      answer = resolve;
    });
    scene.hub.faults.push({ server: "storage", path: "/", times: 1, after });
    const files = await openModel(model, scene.options);
    await files.list();
    const first = files.localPath(weightsPath);
    // Only once the first has asked is it sure that the second is the one that waits.
    await vi.waitFor(() => expect(scene.hub.contentRequests()).toHaveLength(1), patience);
    const second = files.localPath(weightsPath, { signal: AbortSignal.timeout(50) });
    expect(await failureOf(second)).toMatchObject({ name: "TimeoutError" });
    answer();
    expect((await readFile(await first)).equals(weights)).toBe(true);
    expect(scene.hub.contentRequests()).toHaveLength(1);
  });

  describe.each(["links on", "links off"])("of separate processes, %s,", (links) => {
    /** A second instance of the modules shares nothing with the first but the disk, as another process would. */
    async function openTwice(): Promise<ModelFiles[]> {
      if (links === "links off") vi.stubEnv("HF_HUB_DISABLE_SYMLINKS", "1");
      vi.resetModules();
      const other = await import("../src/index.js");
      expect(other.openModel).not.toBe(openModel);
      return [await openModel(model, scene.options), await other.openModel(model, scene.options)];
    }

    /** Holds back the next answers of the storage; the result lets them go. */
    function hold(times: number): () => void {
      let release = (): void => {};
      const after = new Promise<void>((resolve) => {
        release = resolve;
      });
      scene.hub.faults.push({ server: "storage", path: "/", times, after });
      return release;
    }

    it("end in one sound file", async () => {
      const opened = await openTwice();
      const release = hold(2);
      const downloads = opened.map((files) => files.localPath(weightsPath));
      await vi.waitFor(() => expect(scene.hub.contentRequests()).toHaveLength(2), patience);
      release();
      for (const path of await Promise.all(downloads))
        expect((await readFile(path)).equals(weights)).toBe(true);
      expect((await blobs()).filter((name) => name.includes("incomplete"))).toEqual([]);
    });

    it("let the slow one find what the quick one left", async () => {
      const [slow, quickOne] = await openTwice();
      const release = hold(1);
      const slowPath = slow?.localPath(weightsPath);
      await vi.waitFor(() => expect(scene.hub.contentRequests()).toHaveLength(1), patience);
      const path = await quickOne?.localPath(weightsPath);
      expect((await blobs()).filter((name) => name.includes("incomplete"))).toEqual([]);
      release();
      expect(await slowPath).toBe(path);
      expect((await readFile(path ?? "")).equals(weights)).toBe(true);
    });
  });
});
