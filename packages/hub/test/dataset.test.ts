import { mkdir, readFile, readlink, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  HubNotFoundError,
  HubUnauthorizedError,
  LockFile,
  LockMismatchError,
  OfflineMissingError,
  openDataset,
  openModel,
} from "../src/index.js";
import { gitBlobId, gitFile, lfsFile, noise, type Repository, sha256 } from "./hub-server.js";
import { commit, failureOf, model, namesIn, repository, useScene } from "./scene.js";

const id = "acme/questions";
const dataCommit = "fedcba9876543210fedcba9876543210fedcba98";
const card = Buffer.from("---\nlicense: cc-by-4.0\n---\n");
const corpus = noise(90_000, 7);
const corpusPath = "corpus/test-00000-of-00001.parquet";

const dataset: Repository = {
  kind: "dataset",
  id,
  commit: dataCommit,
  revisions: ["main", "refs/convert/parquet"],
  files: { "README.md": gitFile(card), [corpusPath]: lfsFile(corpus) },
};
/** A dataset that has the id of a model. */
const namesake: Repository = {
  ...dataset,
  id: model,
  commit: "e".repeat(40),
  files: { "README.md": gitFile("# A dataset\n") },
};
const gated: Repository = { ...dataset, id: "acme/gated", token: "a-token", gated: true };

const scene = useScene(repository, dataset, namesake, gated);

function datasetFolder(name = id): string {
  return join(scene.cacheFolder, `datasets--${name.replace("/", "--")}`);
}

describe("a dataset", () => {
  it("is laid out as Python's huggingface_hub lays it out", async () => {
    const files = await openDataset(id, scene.options);
    expect(files).toMatchObject({ id, revision: dataCommit });
    const path = await files.localPath(corpusPath);
    expect(path).toBe(
      join(datasetFolder(), "snapshots", dataCommit, "corpus", "test-00000-of-00001.parquet"),
    );
    expect(await readlink(path)).toBe(join("..", "..", "..", "blobs", sha256(corpus)));
    expect((await readFile(path)).equals(corpus)).toBe(true);
    expect(await files.readText("README.md")).toBe(card.toString());
    expect(await namesIn(join(datasetFolder(), "blobs"))).toEqual([gitBlobId(card), sha256(corpus)].sort());
    expect(await readFile(join(datasetFolder(), "refs", "main"), "utf8")).toBe(dataCommit);
    expect(await namesIn(scene.cacheFolder)).toEqual(["datasets--acme--questions"]);
  });

  it("is asked for at the addresses of datasets", async () => {
    const files = await openDataset(id, scene.options);
    await files.readText("README.md");
    await files.localPath(corpusPath);
    const paths = scene.hub.log.filter(({ server }) => server === "hub").map(({ path }) => path);
    expect([...new Set(paths)]).toEqual([
      `/api/datasets/${id}/revision/main`,
      `/api/datasets/${id}/tree/${dataCommit}`,
      `/datasets/${id}/resolve/${dataCommit}/README.md`,
      `/api/resolve-cache/datasets/${id}/${dataCommit}/README.md`,
      `/datasets/${id}/resolve/${dataCommit}/${corpusPath}`,
    ]);
  });

  it("lists its files with sizes and hashes", async () => {
    expect(await (await openDataset(id, scene.options)).list()).toEqual([
      { path: "README.md", size: card.length, sha256: undefined },
      { path: corpusPath, size: corpus.length, sha256: sha256(corpus) },
    ]);
  });

  it("takes a revision with slashes", async () => {
    const files = await openDataset(`${id}@refs/convert/parquet`, scene.options);
    await files.readText("README.md");
    expect(files.revision).toBe(dataCommit);
    const note = join(datasetFolder(), "refs", "refs", "convert", "parquet");
    expect(await readFile(note, "utf8")).toBe(dataCommit);
  });

  it("is another repository than the model of the same id", async () => {
    const asModel = await openModel(model, scene.options);
    const asDataset = await openDataset(model, scene.options);
    expect(await asModel.readText("README.md")).toBe("# A model\n");
    expect(await asDataset.readText("README.md")).toBe("# A dataset\n");
    expect([asModel.revision, asDataset.revision]).toEqual([commit, "e".repeat(40)]);
    expect(await namesIn(scene.cacheFolder)).toEqual(["datasets--acme--reranker", "models--acme--reranker"]);
  });

  it("is not found as a model, nor a model as a dataset", async () => {
    expect(await failureOf(openModel(id, scene.options))).toBeInstanceOf(HubNotFoundError);
    expect(await failureOf(openDataset("acme/absent", scene.options))).toMatchObject({
      code: "hub-not-found",
      what: "repository",
    });
  });

  it("names its own address when the answer is none of a hub", async () => {
    scene.hub.faults.push({ server: "hub", path: "/revision/", times: 1, status: 200, body: "<html>" });
    expect(await failureOf(openDataset(id, scene.options))).toMatchObject({
      code: "hub-response",
      url: `${scene.hub.endpoint}/api/datasets/${id}/revision`,
    });
  });

  it("that is gated names its page", async () => {
    const error = await failureOf(openDataset("acme/gated", scene.options));
    expect(error).toBeInstanceOf(HubUnauthorizedError);
    expect((error as Error).message).toContain(`${scene.hub.endpoint}/datasets/acme/gated`);
    const files = await openDataset("acme/gated", { ...scene.options, token: "a-token" });
    expect(await files.readText("README.md")).toBe(card.toString());
  });

  it("continues a cut download", async () => {
    scene.hub.faults.push({ server: "storage", path: "/", times: 1, cutAfter: 50_000 });
    const path = await (await openDataset(id, scene.options)).localPath(corpusPath);
    expect((await readFile(path)).equals(corpus)).toBe(true);
    expect(scene.hub.contentRequests()[1]?.range).toMatch(/^bytes=[1-9]\d*-$/);
  });

  it("may be a folder", async () => {
    const folder = join(scene.folder, "data");
    await mkdir(folder);
    await writeFile(join(folder, "corpus.jsonl"), "{}\n");
    const files = await openDataset(folder, scene.options);
    expect(await files.list()).toEqual([{ path: "corpus.jsonl", size: 3 }]);
    expect(scene.hub.log).toEqual([]);
  });
});

describe("a cache that Python filled with a dataset", () => {
  it("is used offline without any request", async () => {
    // The layout that Python's huggingface_hub leaves behind, written by hand.
    const folder = datasetFolder();
    for (const inner of ["refs", "blobs", `snapshots/${dataCommit}/corpus`]) {
      await mkdir(join(folder, inner), { recursive: true });
    }
    await writeFile(join(folder, "refs", "main"), dataCommit);
    await writeFile(join(folder, "blobs", sha256(corpus)), corpus);
    const link = join(folder, "snapshots", dataCommit, ...corpusPath.split("/"));
    await symlink(`../../../blobs/${sha256(corpus)}`, link);
    const files = await openDataset(id, { ...scene.options, offline: true });
    expect((await files.list()).map(({ path, size }) => [path, size])).toEqual([[corpusPath, corpus.length]]);
    expect((await readFile(await files.localPath(corpusPath))).equals(corpus)).toBe(true);
    expect(await failureOf(files.readText("README.md"))).toMatchObject({ missing: ["README.md"] });
    expect(await failureOf(openModel(id, { ...scene.options, offline: true }))).toBeInstanceOf(
      OfflineMissingError,
    );
    expect(scene.hub.log).toEqual([]);
  });
});

describe("a lock file", () => {
  it("keeps datasets beside models", async () => {
    const lockFile = join(scene.folder, "crossrank.lock.json");
    const options = { ...scene.options, lockFile };
    await (await openModel(model, options)).readText("README.md");
    await (await openDataset(model, options)).readText("README.md");
    await (await openDataset(id, options)).readText("README.md");
    const document = JSON.parse(await readFile(lockFile, "utf8"));
    expect(document).toEqual({
      version: 1,
      models: {
        [model]: {
          requested: "main",
          revision: commit,
          files: { "README.md": sha256(Buffer.from("# A model\n")) },
        },
      },
      datasets: {
        [id]: { requested: "main", revision: dataCommit, files: { "README.md": sha256(card) } },
        [model]: {
          requested: "main",
          revision: "e".repeat(40),
          files: { "README.md": sha256(Buffer.from("# A dataset\n")) },
        },
      },
    });
    const lock = new LockFile(lockFile);
    expect((await lock.read(id, "dataset"))?.revision).toBe(dataCommit);
    expect(await lock.read(id)).toBeUndefined();
  });

  it("holds a dataset to its pins", async () => {
    const lockFile = join(scene.folder, "crossrank.lock.json");
    const pins = { requested: "main", revision: dataCommit, files: { "README.md": "0".repeat(64) } };
    await writeFile(lockFile, JSON.stringify({ version: 1, models: {}, datasets: { [id]: pins } }));
    const files = await openDataset(id, { ...scene.options, lockFile });
    expect(await failureOf(files.readText("README.md"))).toBeInstanceOf(LockMismatchError);
  });

  it("with a section that is none is refused", async () => {
    const lockFile = join(scene.folder, "crossrank.lock.json");
    await writeFile(lockFile, JSON.stringify({ version: 1, models: {}, datasets: [] }));
    const error = await failureOf(openDataset(id, { ...scene.options, lockFile }));
    expect(error).toMatchObject({ code: "lock-file" });
  });
});
