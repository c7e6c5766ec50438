import { describe, expect, it } from "vitest";
import { HubNotFoundError, HubResponseError, openModel } from "../src/index.js";
import { gitFile, lfsFile, noise, sha256 } from "./hub-server.js";
import { commit, failureOf, useScene } from "./scene.js";

const weights = noise(300_000);
const files = {
  "config.json": gitFile("{}"),
  "onnx/model.onnx": lfsFile(weights),
  "odd names/a b#c%25.txt": gitFile("odd"),
  "empty.txt": gitFile(""),
};
const scene = useScene(
  { id: "acme/mirrored", commit, revisions: ["main"], files, mirror: "listing no files" },
  { id: "acme/mute", commit, revisions: ["main"], files, mirror: "mute" },
  { id: "acme/empty", commit, revisions: ["main"], files: {}, mirror: "listing no files" },
);

describe("an endpoint without a listing of files", () => {
  it("gives names by the revision, and sizes and hashes by the files' headers", async () => {
    const model = await openModel("acme/mirrored", scene.options);
    const listed = [...(await model.list())].sort((a, b) => (a.path < b.path ? -1 : 1));
    expect(listed).toEqual([
      { path: "config.json", size: 2, sha256: undefined },
      { path: "empty.txt", size: 0, sha256: undefined },
      { path: "odd names/a b#c%25.txt", size: 3, sha256: undefined },
      { path: "onnx/model.onnx", size: weights.length, sha256: sha256(weights) },
    ]);
    expect(await model.readText("odd names/a b#c%25.txt")).toBe("odd");
    expect(await model.readText("empty.txt")).toBe("");
    const bytes = await model.readBytes("onnx/model.onnx", { start: 0, end: weights.length });
    expect(weights.equals(bytes)).toBe(true);
    // What was learnt is kept, as a listing is.
    const before = scene.hub.log.length;
    const offline = await openModel("acme/mirrored", { ...scene.options, offline: true });
    expect(await offline.list()).toHaveLength(4);
    expect(scene.hub.log).toHaveLength(before);
  });

  it("still has every file verified", async () => {
    scene.hub.faults.push({ server: "storage", path: sha256(weights), times: 9, corrupt: true });
    const model = await openModel("acme/mirrored", scene.options);
    await expect(model.localPath("onnx/model.onnx")).rejects.toMatchObject({ code: "hash-mismatch" });
  });

  it("is refused where it says no hash, or no names, naming the address", async () => {
    const mute = await failureOf((await openModel("acme/mute", scene.options)).list());
    expect(mute).toBeInstanceOf(HubResponseError);
    expect(String(mute)).toMatch(/acme\/mute\/resolve\/.* says no size and hash of the file/);
    const empty = await failureOf((await openModel("acme/empty", scene.options)).list());
    expect(empty).toBeInstanceOf(HubResponseError);
    expect(String(empty)).toMatch(
      /acme\/empty\/revision\/.* names no files, and the endpoint has no listing/,
    );
    const absent = await failureOf(openModel("acme/absent", scene.options));
    expect(absent).toBeInstanceOf(HubNotFoundError);
    expect(absent).toMatchObject({ what: "repository" });
  });

  it("tries a file's headers again, and says where they cannot be had", async () => {
    scene.hub.faults.push({ server: "hub", path: "/resolve/", times: 3, status: 503 });
    expect(await (await openModel("acme/mirrored", scene.options)).list()).toHaveLength(4);
    const place = { server: "hub", path: "config.json", times: 99 } as const;
    scene.hub.faults.push({ ...place, status: 403, headers: { "x-error-code": "GatedRepo" } });
    const options = { ...scene.options, cacheFolder: `${scene.cacheFolder}-other` };
    const refused = await failureOf((await openModel("acme/mirrored", options)).list());
    expect(refused).toMatchObject({ code: "hub-unauthorized" });
  });
});
