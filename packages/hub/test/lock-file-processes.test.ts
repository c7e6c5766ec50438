import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { excludingOthers } from "@crossrank/disk";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LockFile, LockFileBusyError } from "../src/index.js";
import { failureOf } from "./scene.js";

const built = pathToFileURL(join(import.meta.dirname, "..", "dist", "index.js")).href;
const writer = join(import.meta.dirname, "pin-writer.mjs");
const model = "acme/reranker";
let folder = "";
let lockFile = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-pins-"));
  lockFile = join(folder, "crossrank.lock.json");
});
afterEach(() => rm(folder, { recursive: true }));

function startWriter(first: number, count: number, mode = "once"): ChildProcess {
  const args = [writer, built, lockFile, String(first), String(count), mode];
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
}

async function pinned(): Promise<number> {
  return (await new LockFile(lockFile).read(model))?.files.size ?? 0;
}

describe("a lock file of many processes", () => {
  it("keeps all 64 pins of eight that write at once", { timeout: 120_000 }, async () => {
    const writers = Array.from({ length: 8 }, (_, index) => startWriter(index * 8, 8));
    const codes = await Promise.all(writers.map(async (child) => (await once(child, "exit"))[0]));
    expect(codes).toEqual(new Array(8).fill(0));
    expect(await pinned()).toBe(64);
    expect(await readdir(folder)).toEqual(["crossrank.lock.json"]);
  });

  it("is free again after its writer was killed", { timeout: 120_000 }, async () => {
    for (let round = 0; round < 3; round += 1) {
      const child = startWriter(1000 * round, 1000, "endless");
      await once(child.stdout as NodeJS.ReadableStream, "data");
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    }
    const before = await pinned();
    const pin = { requested: "main", revision: "a".repeat(40), path: "last", sha256: "f".repeat(64) };
    await new LockFile(lockFile, { patience: 10_000 }).add(model, pin);
    expect(await pinned()).toBe(before + 1);
  });

  it("is a typed error where another holds it for too long", async () => {
    const pin = { requested: "main", revision: "a".repeat(40), path: "a", sha256: "f".repeat(64) };
    const lock = new LockFile(lockFile, { patience: 50 });
    const never = (): Error => new Error("not busy");
    const error = await excludingOthers(lockFile, 0, never, () => failureOf(lock.add(model, pin)));
    expect(error).toBeInstanceOf(LockFileBusyError);
    expect(error).toMatchObject({ code: "lock-file-busy", lockFile, waited: 50 });
    await lock.add(model, pin);
    expect(await pinned()).toBe(1);
  });
});
