import { mkdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  HashMismatchError,
  LockFile,
  LockFileError,
  LockMismatchError,
  OfflineMissingError,
  type OpenModelOptions,
  openModel,
} from "../src/index.js";
import { gitFile, sha256 } from "./hub-server.js";
import { commit, config, failureOf, model, namesIn, repository, useScene, weights } from "./scene.js";

const other = "acme/other";
const scene = useScene(repository, {
  id: other,
  commit: "f".repeat(40),
  revisions: ["main"],
  files: { "config.json": gitFile("{}") },
});
const weightsPath = "onnx/model.onnx";

function locked(): OpenModelOptions & { lockFile: string } {
  return { ...scene.options, lockFile: join(scene.folder, "crossrank.lock.json") };
}

async function writeLock(files: Record<string, string>, revision: string = commit): Promise<void> {
  const models = { [model]: { requested: "main", revision, files } };
  await writeFile(locked().lockFile, JSON.stringify({ version: 1, models }));
}

describe("a lock file", () => {
  it("is written as files are used", async () => {
    const files = await openModel(model, locked());
    await Promise.all([files.localPath(weightsPath), files.readText("config.json")]);
    await (await openModel(other, locked())).readText("config.json");
    const text = await readFile(locked().lockFile, "utf8");
    expect(text).toBe(
      `${JSON.stringify(
        {
          version: 1,
          models: {
            [other]: {
              requested: "main",
              revision: "f".repeat(40),
              files: { "config.json": sha256(Buffer.from("{}")) },
            },
            [model]: {
              requested: "main",
              revision: commit,
              files: { "config.json": sha256(config), [weightsPath]: sha256(weights) },
            },
          },
        },
        null,
        2,
      )}\n`,
    );
    expect(await namesIn(scene.folder)).toEqual(["cache", "crossrank.lock.json"]);
  });

  it("pins the revision: no request asks what the branch is now", async () => {
    await (await openModel(model, locked())).readText("config.json");
    scene.hub.log.length = 0;
    const files = await openModel(model, locked());
    expect(files.revision).toBe(commit);
    await files.readText("config.json");
    expect(scene.hub.log).toEqual([]);
    await openModel(`${model}@main`, locked());
    await openModel(`${model}@${commit}`, locked());
  });

  it("does not let another revision in", async () => {
    await (await openModel(model, locked())).readText("config.json");
    const error = await failureOf(openModel(`${model}@v1`, locked()));
    expect(error).toBeInstanceOf(LockMismatchError);
    expect(error).toMatchObject({ path: undefined, expected: `${commit} (main)`, found: "v1" });
    expect((error as Error).message).toContain(`delete the entry ${model}`);
  });

  it("does not let another LFS file in, and finds out before the download", async () => {
    await writeLock({ [weightsPath]: "0".repeat(64) });
    const error = await failureOf((await openModel(model, locked())).localPath(weightsPath));
    expect(error).toBeInstanceOf(LockMismatchError);
    expect(error).toMatchObject({
      model,
      lockFile: locked().lockFile,
      path: weightsPath,
      expected: "0".repeat(64),
      found: sha256(weights),
    });
    expect(scene.hub.contentRequests()).toEqual([]);
  });

  it("does not let another small file in", async () => {
    await writeLock({ "config.json": "0".repeat(64) });
    const files = await openModel(model, locked());
    const mismatch = { code: "lock-mismatch", path: "config.json", found: sha256(config) };
    expect(await failureOf(files.readText("config.json"))).toMatchObject(mismatch);
    expect(await failureOf(files.readText("config.json"))).toMatchObject(mismatch);
  });

  it("holds a cached file against its pin, also offline", async () => {
    await (await openModel(model, scene.options)).localPath(weightsPath);
    await writeLock({ [weightsPath]: "0".repeat(64) });
    const files = await openModel(model, { ...locked(), offline: true });
    expect(await failureOf(files.localPath(weightsPath))).toBeInstanceOf(LockMismatchError);
  });

  it.each([weightsPath, "config.json"])("finds %s damaged in the cache, and removes it", async (path) => {
    const local = await (await openModel(model, locked())).localPath(path);
    await writeFile(await realpath(local), Buffer.alloc((await readFile(local)).length));
    const files = await openModel(model, locked());
    expect(await failureOf(files.localPath(path))).toBeInstanceOf(HashMismatchError);
    expect(await files.localPath(path)).toBe(local);
  });

  it("makes the offline error name every pinned file that is missing", async () => {
    const files = await openModel(model, locked());
    for (const path of [weightsPath, "config.json", "tokenizer.json"]) await files.localPath(path);
    await rm(scene.cacheFolder, { recursive: true });
    const offline = await openModel(model, { ...locked(), offline: true });
    const error = await failureOf(offline.readText("tokenizer.json"));
    expect(error).toBeInstanceOf(OfflineMissingError);
    expect(error).toMatchObject({ missing: ["tokenizer.json", "config.json", weightsPath] });
    expect(await failureOf(offline.list())).toMatchObject({
      missing: ["config.json", weightsPath, "tokenizer.json"],
    });
  });

  it("does not turn the cache's own note of a branch back", async () => {
    await writeLock({}, "a".repeat(40));
    await (await openModel(model, scene.options)).readText("config.json");
    const older = join(scene.modelFolder, "snapshots", "a".repeat(40));
    await mkdir(older);
    await writeFile(join(older, "config.json"), "older");
    const files = await openModel(model, { ...locked(), offline: true });
    expect(await files.readText("config.json")).toBe("older");
    expect(await readFile(join(scene.modelFolder, "refs", "main"), "utf8")).toBe(commit);
  });

  it("keeps what another writer added meanwhile, and refuses what contradicts it", async () => {
    const files = await openModel(model, locked());
    const lock = new LockFile(locked().lockFile);
    const pin = { requested: "main", revision: commit, path: "a", sha256: "1".repeat(64) };
    await lock.add(model, pin);
    await files.readText("config.json");
    expect([...((await lock.read(model))?.files.keys() ?? [])]).toEqual(["a", "config.json"]);
    expect(await failureOf(lock.add(model, { ...pin, sha256: "2".repeat(64) }))).toBeInstanceOf(
      LockMismatchError,
    );
    expect(await failureOf(lock.add(model, { ...pin, revision: "e".repeat(40) }))).toBeInstanceOf(
      LockMismatchError,
    );
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["of another version", '{"version":2,"models":{}}'],
    ["without a commit", '{"version":1,"models":{"a/b":{"requested":"main","revision":"main","files":{}}}}'],
    ["without a requested revision", `{"version":1,"models":{"a/b":{"revision":"${commit}","files":{}}}}`],
    ["without files", `{"version":1,"models":{"a/b":{"requested":"main","revision":"${commit}"}}}`],
    [
      "without a hash",
      `{"version":1,"models":{"a/b":{"requested":"main","revision":"${commit}","files":{"c":"x"}}}}`,
    ],
  ])("that is %s is an error", async (_, text) => {
    await writeFile(locked().lockFile, text);
    const error = await failureOf(openModel(model, locked()));
    expect(error).toBeInstanceOf(LockFileError);
    expect(error).toMatchObject({ lockFile: locked().lockFile });
  });
});
