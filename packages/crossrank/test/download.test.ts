import { spawnSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  gitFile,
  type HubServer,
  lfsFile,
  type RepositoryFile,
  startHub,
} from "../../hub/test/hub-server.js";
import {
  binary,
  crossrankInTurn as crossrank,
  fixture,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const commit = "0123456789abcdef0123456789abcdef01234567";
let hub: HubServer;

/** A folder as a repository holds it. */
async function repositoryFiles(root: string): Promise<Record<string, RepositoryFile>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const local = join(entry.parentPath, entry.name);
        const path = local.slice(root.length + 1).replaceAll("\\", "/");
        const content = await readFile(local);
        return [path, path.endsWith(".onnx") ? lfsFile(content) : gitFile(content)] as const;
      }),
  );
  return Object.fromEntries(files);
}

beforeAll(async () => {
  hub = await startHub({
    id: "tests/tiny",
    commit,
    revisions: ["main", "v1"],
    files: await repositoryFiles(fixture("cross-encoder")),
  });
});

afterAll(() => hub[Symbol.asyncDispose]());

/** Its own cache for every name. */
function environment(cache: string): Record<string, string> {
  return {
    HF_ENDPOINT: hub.endpoint,
    HF_HOME: folder.path(cache),
    HF_HUB_CACHE: "",
    HF_HUB_OFFLINE: "",
    HF_TOKEN: "",
  };
}

function rank(cache: string, ...args: readonly string[]): Promise<Outcome> {
  const own = [
    ["--model", "tests/tiny"],
    ["--format", "json"],
  ].filter(([name]) => !args.includes(name as string));
  const all = ["rerank", "--query", "paris", "--documents", "-", ...own.flat(), ...args];
  return crossrank(all, { input: "paris\nthe cat", environment: environment(cache) });
}

describe("a model from the hub", () => {
  it("is downloaded, ranks as the folder does, and works with --offline afterwards", async () => {
    const downloaded = await rank("cache");
    expect(downloaded).toMatchObject({ code: 0, stderr: "" });
    const output = JSON.parse(downloaded.stdout) as { model: object; results: object[] };
    expect(output.model).toMatchObject({ id: "tests/tiny", revision: commit });
    const local = await rank("cache", "--model", fixture("cross-encoder"));
    expect((JSON.parse(local.stdout) as { results: object[] }).results).toEqual(output.results);

    const requests = hub.log.length;
    const offline = await rank("cache", "--offline");
    expect(offline).toMatchObject({ code: 0, stderr: "" });
    expect((JSON.parse(offline.stdout) as { results: object[] }).results).toEqual(output.results);
    expect(hub.log.length).toBe(requests);
  });

  it("shows its commit in the table", async () => {
    const { code, stdout } = await rank("table", "--format", "table", "--revision", "v1");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^model +tests\/tiny at 0123456789ab, onnx fp32$/m);
  });

  it("fails in one line when the revision does not exist", async () => {
    const { code, stdout, stderr } = await rank("revision", "--revision", "v9");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^crossrank: tests\/tiny has no revision v9\.[^\n]*\n$/);
  });

  it("is pinned with --lock, and refused when it is not what was pinned", async () => {
    const lock = folder.path("crossrank.lock.json");
    expect((await rank("lock", "--lock", lock)).code).toBe(0);
    const pinned = await readFile(lock, "utf8");
    expect(pinned).toContain(commit);
    expect((await rank("lock", "--lock", lock)).code).toBe(0);
    const damaged = await folder.write(
      "damaged.lock.json",
      pinned.replaceAll(/[0-9a-f]{64}/g, "0".repeat(64)),
    );
    const refused = await rank("lock", "--lock", damaged);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^crossrank: .*damaged\.lock\.json pins sha256 of [^\n]+\n$/);
  });

  it("may stay on this machine beside a dataset that --lock pins", async () => {
    const task = fileURLToPath(new URL("../../../examples/task", import.meta.url));
    await using datasets = await startHub({
      kind: "dataset",
      id: "tests/task",
      commit,
      revisions: ["main"],
      files: await repositoryFiles(task),
    });
    const lock = folder.path("task.lock.json");
    const local = ["--model", fixture("cross-encoder"), "--backend", "onnx:fp32", "--limit", "1"];
    const { code, stderr } = await crossrank(["eval", "--task", "tests/task", "--lock", lock, ...local], {
      environment: { ...environment("task"), HF_ENDPOINT: datasets.endpoint },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(await readFile(lock, "utf8")).toContain("tests/task");
  });

  it("is inspected without its weights, but for a graph of a few megabytes, which says what it computes", async () => {
    const files = await repositoryFiles(fixture("cross-encoder"));
    // As much as a graph may have, and a byte.
    const heavy = lfsFile(
      Buffer.concat([files["onnx/model.onnx"]?.content ?? Buffer.of(), Buffer.alloc(4_000_001)]),
    );
    await using large = await startHub({
      id: "tests/tiny",
      commit,
      revisions: ["main"],
      files: { ...files, "onnx/model.onnx": heavy },
    });
    const inspected = async (
      server: HubServer,
      cache: string,
    ): Promise<{ dtypes: unknown[]; stored: number }> => {
      const { code, stdout } = await crossrank(["inspect", "tests/tiny", "--format", "json"], {
        environment: { ...environment(cache), HF_ENDPOINT: server.endpoint },
      });
      expect(code).toBe(0);
      const output = JSON.parse(stdout) as {
        model: object;
        files: { path: string; sha256?: string }[];
        artifacts: { path: string; description?: { dtype?: string } }[];
      };
      expect(output.model).toEqual({ id: "tests/tiny", revision: commit });
      const listed = output.files.find(({ path }) => path === "onnx/model.onnx");
      expect(listed?.sha256).toMatch(/^[0-9a-f]{64}$/);
      const requested = server.contentRequests();
      expect(requested.some(({ path }) => path.includes("tokenizer.json"))).toBe(true);
      return {
        dtypes: output.artifacts
          .filter(({ path }) => path === "onnx/model.onnx")
          .map(({ description }) => description?.dtype),
        stored: requested.filter(({ server: kind }) => kind === "storage").length,
      };
    };
    expect(await inspected(large, "inspect-large")).toEqual({ dtypes: [undefined], stored: 0 });
    await using small = await startHub({ id: "tests/tiny", commit, revisions: ["main"], files });
    const { dtypes, stored } = await inspected(small, "inspect-small");
    expect(dtypes).toEqual(["fp32"]);
    expect(stored).toBeGreaterThan(0);
  });

  const scriptWorks =
    process.platform === "linux" && spawnSync("script", ["-qec", "true", "/dev/null"]).status === 0;

  it.skipIf(!scriptWorks)("shows the download's progress on a terminal", async () => {
    const file = await folder.write("few.txt", "paris\nthe cat");
    const args = ["rerank", "--query", "paris", "--documents", file, "--model", "tests/tiny"];
    const command = [process.execPath, binary, ...args].map((part) => `'${part}'`).join(" ");
    const { code, stdout } = await crossrank(["-qec", command, "/dev/null"], {
      command: "script",
      environment: { ...environment("terminal"), TERM: "xterm" },
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/downloading onnx\/model\.onnx 117\.\d kB of 117\.\d kB \[#{20}\] 100 %/);
  });
});
