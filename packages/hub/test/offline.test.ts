import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ModelFileNotFoundError } from "@crossrank/core";
import { describe, expect, it, vi } from "vitest";
import { HubNetworkError, OfflineMissingError, openModel } from "../src/index.js";
import { gitBlobId, sha256 } from "./hub-server.js";
import { commit, config, failureOf, model, useScene, weights } from "./scene.js";

const scene = useScene();

/** The layout that Python's huggingface_hub leaves behind, written by hand. */
async function writePythonCache(files: Record<string, { name: string; content: Buffer }>): Promise<void> {
  await mkdir(join(scene.modelFolder, "refs"), { recursive: true });
  await mkdir(join(scene.modelFolder, "blobs"), { recursive: true });
  await writeFile(join(scene.modelFolder, "refs", "main"), commit);
  for (const [path, { name, content }] of Object.entries(files)) {
    await writeFile(join(scene.modelFolder, "blobs", name), content);
    const link = join(scene.modelFolder, "snapshots", commit, path);
    await mkdir(dirname(link), { recursive: true });
    await symlink(`${"../".repeat(path.split("/").length + 1)}blobs/${name}`, link);
  }
}

const pythonFiles = {
  "config.json": { name: gitBlobId(config), content: config },
  "onnx/model.onnx": { name: sha256(weights), content: weights },
};

describe("a cache that Python filled", () => {
  it("is used offline without any request", async () => {
    await writePythonCache(pythonFiles);
    const files = await openModel(model, { ...scene.options, offline: true });
    expect(files.revision).toBe(commit);
    expect((await files.list()).map(({ path, size }) => [path, size])).toEqual([
      ["config.json", config.length],
      ["onnx/model.onnx", weights.length],
    ]);
    expect(await files.readText("config.json")).toBe(config.toString());
    expect((await readFile(await files.localPath("onnx/model.onnx"))).equals(weights)).toBe(true);
    expect(scene.hub.log).toEqual([]);
  });

  it("is used online without any request when the commit is given", async () => {
    await writePythonCache(pythonFiles);
    const files = await openModel(`${model}@${commit}`, scene.options);
    expect(await files.readText("config.json")).toBe(config.toString());
    expect(scene.hub.log).toEqual([]);
  });

  it("also gives the listing, where Python kept it", async () => {
    const entry = { size: config.length, blob_id: gitBlobId(config) };
    await mkdir(join(scene.modelFolder, "trees"), { recursive: true });
    await writeFile(
      join(scene.modelFolder, "trees", `${commit}.json`),
      JSON.stringify({ format_version: 1, files: { "config.json": entry } }),
    );
    const files = await openModel(`${model}@${commit}`, scene.options);
    expect(await files.list()).toEqual([{ path: "config.json", size: config.length, sha256: undefined }]);
    expect(await failureOf(files.readText("other.json"))).toBeInstanceOf(ModelFileNotFoundError);
    expect(scene.hub.log).toEqual([]);
  });

  it.each([
    ["no JSON", "{"],
    ["of another format", '{"format_version":2,"files":{}}'],
    ["with a path that leaves the folder", '{"format_version":1,"files":{"../x":{"size":1,"blob_id":"0"}}}'],
  ])("is asked about again when its listing is %s", async (_, text) => {
    await mkdir(join(scene.modelFolder, "trees"), { recursive: true });
    await writeFile(join(scene.modelFolder, "trees", `${commit}.json`), text);
    expect(await (await openModel(model, scene.options)).list()).toHaveLength(7);
  });

  it("tells a file that the commit lacks from one that is not cached, where Python noted it", async () => {
    await writePythonCache(pythonFiles);
    await mkdir(join(scene.modelFolder, ".no_exist", commit), { recursive: true });
    await writeFile(join(scene.modelFolder, ".no_exist", commit, "modules.json"), "");
    const files = await openModel(model, { ...scene.options, offline: true });
    expect(await failureOf(files.readText("modules.json"))).toBeInstanceOf(ModelFileNotFoundError);
    expect(await failureOf(files.readText("tokenizer.json"))).toBeInstanceOf(OfflineMissingError);
  });
});

describe("offline", () => {
  it("names the cache folder and the missing file", async () => {
    await writePythonCache(pythonFiles);
    const files = await openModel(model, { ...scene.options, offline: true });
    const error = await failureOf(files.localPath("onnx/model_int8.onnx"));
    expect(error).toBeInstanceOf(OfflineMissingError);
    expect(error).toMatchObject({
      code: "offline-missing",
      model,
      revision: "main",
      cacheFolder: scene.cacheFolder,
      missing: ["onnx/model_int8.onnx"],
    });
    expect((error as Error).message).toContain(scene.cacheFolder);
    expect((error as Error).message).toContain("missing onnx/model_int8.onnx.");
    expect(scene.hub.log).toEqual([]);
  });

  it("names the cache folder and the missing note when the model was never downloaded", async () => {
    const error = await failureOf(openModel(model, { ...scene.options, offline: true }));
    expect(error).toMatchObject({ cacheFolder: scene.cacheFolder, missing: ["refs/main"] });
    expect(scene.hub.log).toEqual([]);
  });

  it("names the snapshot when a commit is not there", async () => {
    const files = await openModel(model, { ...scene.options, offline: true, revision: commit });
    expect(await failureOf(files.list())).toMatchObject({ missing: [`snapshots/${commit}`] });
  });

  it("gives the same listing as online, so that no file seems absent that is only not downloaded", async () => {
    const online = await openModel(model, scene.options);
    const list = await online.list();
    await online.readText("config.json");
    const offline = await openModel(model, { ...scene.options, offline: true });
    const byPath = (left: { path: string }, right: { path: string }): number =>
      left.path < right.path ? -1 : 1;
    expect([...(await offline.list())].sort(byPath)).toEqual([...list].sort(byPath));
    expect(await failureOf(offline.localPath("tokenizer.json"))).toMatchObject({
      missing: ["tokenizer.json"],
    });
    expect(await failureOf(offline.localPath("absent.json"))).toBeInstanceOf(ModelFileNotFoundError);
  });

  it("is what HF_HUB_OFFLINE asks for", async () => {
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    expect(await failureOf(openModel(model, scene.options))).toBeInstanceOf(OfflineMissingError);
    expect(scene.hub.log).toEqual([]);
    await openModel(model, { ...scene.options, offline: false });
    expect(scene.hub.log).toHaveLength(1);
  });
});

describe("a hub that cannot be reached", () => {
  it("leaves the cached commit in use, as in Python", async () => {
    await writePythonCache(pythonFiles);
    await scene.hub[Symbol.asyncDispose]();
    const files = await openModel(model, scene.options);
    expect(files.revision).toBe(commit);
    expect(await files.readText("config.json")).toBe(config.toString());
    expect(await failureOf(files.localPath("onnx/model_int8.onnx"))).toBeInstanceOf(HubNetworkError);
  });

  it("does not hide that a repository is gone", async () => {
    await writePythonCache(pythonFiles);
    const headers = { "x-error-code": "RepoNotFound" };
    scene.hub.faults.push({ server: "hub", path: "/revision/", times: 1, status: 404, headers });
    expect(await failureOf(openModel(model, scene.options))).toMatchObject({ what: "repository" });
  });
});
