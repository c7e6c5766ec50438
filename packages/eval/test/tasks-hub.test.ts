import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDataset } from "@crossrank/hub";
import { expect, it } from "vitest";
import { gitFile, lfsFile, type RepositoryFile, sha256, startHub } from "../../hub/test/hub-server.js";
import { openTask } from "../src/tasks/index.js";
import { allTexts, plain } from "./task-data/scene.js";

const fixture = join(import.meta.dirname, "task-data", "mteb-retrieval");
const commit = "fedcba9876543210fedcba9876543210fedcba98";

it("a dataset on the hub is the task that its folder is, with its commit", async () => {
  const files: Record<string, RepositoryFile> = {};
  for (const entry of await readdir(fixture, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const content = await readFile(path);
    const name = path.slice(fixture.length + 1).replaceAll("\\", "/");
    files[name] = name.endsWith(".parquet") ? lfsFile(content) : gitFile(content);
  }
  // A file that no task needs is not downloaded.
  files["corpus/train-00000-of-00001.parquet"] = lfsFile("of another split");
  const cacheFolder = await mkdtemp(join(tmpdir(), "crossrank-eval-hub-"));
  await using hub = await startHub({
    kind: "dataset",
    id: "acme/drinks",
    commit,
    revisions: ["main"],
    files,
  });
  try {
    const options = { endpoint: hub.endpoint, cacheFolder, token: "", offline: false };
    await using task = await openTask(await openDataset("acme/drinks", options));
    expect(task.id).toBe("acme/drinks");
    expect(task.provenance).toMatchObject({ source: "acme/drinks", revision: commit, license: "cc0-1.0" });
    expect(plain(task).qrels).toEqual({ q1: { 1: 2, 3: 0 }, q2: { 2: 1 } });
    expect(Object.keys(await allTexts(task))).toHaveLength(4);
    expect(hub.contentRequests()).toHaveLength(6);
    for (const { path, size, sha256: hash } of task.provenance.files) {
      const content = files[path]?.content ?? Buffer.alloc(0);
      expect([size, hash]).toEqual([content.length, sha256(content)]);
    }
    const offline = { ...options, offline: true };
    await using again = await openTask(await openDataset("acme/drinks", offline));
    expect(again.provenance).toEqual(task.provenance);
    expect(hub.contentRequests()).toHaveLength(6);

    const cached = await (await openDataset("acme/drinks", offline)).localPath(
      "corpus/test-00001-of-00002.parquet",
    );
    const content = await readFile(cached);
    await writeFile(cached, content.fill(0, 4, 8));
    await expect(openTask(await openDataset("acme/drinks", offline))).rejects.toMatchObject({
      code: "task-data",
      file: "corpus/test-00001-of-00002.parquet",
    });
  } finally {
    await rm(cacheFolder, { recursive: true });
  }
});
