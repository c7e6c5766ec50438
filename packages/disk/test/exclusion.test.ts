import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { excludingOthers, tryExclude } from "../src/index.js";

const built = pathToFileURL(join(import.meta.dirname, "..", "dist", "index.js")).href;
const holder = join(import.meta.dirname, "holder.mjs");
/** Rounds of many processes: CROSSRANK_LONG runs them all. */
const rounds = process.env["CROSSRANK_LONG"] === undefined ? 1 : 40;
const timeout = 60_000 * (rounds + 1);
let folder = "";
let path = "";
let log = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-exclusion-"));
  path = join(folder, "scores");
  log = join(folder, "log");
});
afterEach(() => rm(folder, { recursive: true }));

const busy = (): Error => new Error("busy");

function start(patience: number, mode: "pass" | "hold", prefix: readonly string[] = []): ChildProcess {
  const [command = "", ...args] = [
    ...prefix,
    process.execPath,
    holder,
    built,
    path,
    log,
    String(patience),
    mode,
  ];
  return spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
}

const logged = async (): Promise<string[]> => (await readFile(log, "utf8")).trimEnd().split("\n");

describe("the exclusion of a file", () => {
  it("is one caller's, by whatever name the folder is reached, and free when it is given back", async () => {
    const release = await tryExclude(path);
    expect(release).toBeTypeOf("function");
    expect(await tryExclude(path)).toBeUndefined();
    await symlink(folder, `${folder}-link`);
    try {
      expect(await tryExclude(join(`${folder}-link`, "scores"))).toBeUndefined();
    } finally {
      await rm(`${folder}-link`);
    }
    const other = await tryExclude(join(folder, "other"));
    expect(other).toBeTypeOf("function");
    await other?.();
    await release?.();
    const again = await tryExclude(path);
    expect(again).toBeTypeOf("function");
    await again?.();
  });

  it("is given back when the work fails", async () => {
    await expect(
      excludingOthers(path, 0, busy, async () => {
        throw new Error("failed");
      }),
    ).rejects.toThrow("failed");
    expect(await excludingOthers(path, 0, busy, async () => 7)).toBe(7);
  });

  it(`lets eight processes in one after the other, ${rounds} rounds, with one killed inside each`, {
    timeout,
  }, async () => {
    for (let round = 0; round < rounds; round += 1) {
      const dead = start(10_000, "hold");
      await once(dead.stdout as NodeJS.ReadableStream, "data");
      const waiting = Array.from({ length: 8 }, () => start(30_000, "pass"));
      const exits = waiting.map((child) => once(child, "exit"));
      const killed = once(dead, "exit");
      dead.kill("SIGKILL");
      await killed;
      // The dead one could not remove its mark; nobody else is in, since all of them wait for the exclusion or have not begun.
      await rm(`${path}.inside`, { force: true });
      expect((await Promise.all(exits)).map(([code]) => code)).toEqual(new Array(8).fill(0));
    }
    const lines = await logged();
    expect(lines.filter((line) => line.startsWith("in "))).toHaveLength(rounds * 9);
  });

  it(`lets one of eight in where none waits, ${rounds} rounds`, { timeout }, async () => {
    for (let round = 0; round < rounds; round += 1) {
      await writeFile(log, "");
      const children = Array.from({ length: 8 }, () => start(0, "hold"));
      const said = await Promise.all(
        children.map(async (child) => String((await once(child.stdout as NodeJS.ReadableStream, "data"))[0])),
      );
      expect(said.toSorted()).toEqual([...new Array(7).fill("busy\n"), "in\n"]);
      expect(await logged()).toHaveLength(1);
      const exits = children.map((child) => (child.exitCode === null ? once(child, "exit") : undefined));
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(exits);
      await rm(`${path}.inside`, { force: true });
    }
  });

  const isolated = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const canIsolate = spawnSync(isolated[0] ?? "", [...isolated.slice(1), "true"]).status === 0;
  it.runIf(canIsolate)("is free after a process 1 was killed, for another process 1", async () => {
    const dead = start(0, "hold", isolated);
    await once(dead.stdout as NodeJS.ReadableStream, "data");
    const blocked = start(0, "pass", isolated);
    expect((await once(blocked, "exit"))[0]).toBe(3);
    const killed = once(dead, "exit");
    dead.kill("SIGKILL");
    await killed;
    await rm(`${path}.inside`, { force: true });
    const next = start(10_000, "pass", isolated);
    expect((await once(next, "exit"))[0]).toBe(0);
    expect(await logged()).toEqual(["in 1", "in 1"]);
  });
});
