import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  FileWriteError,
  refusedWrite,
  removeUnfinished,
  writeInWhole,
  writeWholeFile,
} from "../src/index.js";

const built = pathToFileURL(join(import.meta.dirname, "..", "dist", "index.js")).href;
let folder = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-whole-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function* failing(): AsyncGenerator<string> {
  yield "half";
  throw new Error("no more");
}

describe("a file that is written in whole", () => {
  it("has the new content, in folders that are made on the way", async () => {
    const path = join(folder, "a", "b", "report.json");
    await writeWholeFile(path, "one");
    await writeInWhole(path, ["t", new TextEncoder().encode("w"), "o"]);
    expect(await readFile(path, "utf8")).toBe("two");
    expect(await readdir(join(folder, "a", "b"))).toEqual(["report.json"]);
  });

  it("keeps the old content where what makes the new one fails", async () => {
    const path = join(folder, "report.json");
    await writeWholeFile(path, "old");
    await expect(writeInWhole(path, failing())).rejects.toThrow("no more");
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["report.json"]);
  });

  it("is a typed error with path and advice where a part of the path is a file, or the name is a folder", async () => {
    await writeFile(join(folder, "file"), "");
    await mkdir(join(folder, "folder", "inside"), { recursive: true });
    for (const path of [join(folder, "file", "x"), join(folder, "folder"), join(folder, "n".repeat(300))]) {
      const error = await writeWholeFile(path, "x").catch((caught: unknown) => caught);
      expect(FileWriteError.isInstance(error)).toBe(true);
      expect(error).toMatchObject({ code: "file-write", path });
      expect((error as Error).message).toMatch(/^Cannot write .+: .+\. (Choose|Make room)/s);
    }
  });

  it("keeps the old content, and names the path, where the system takes no more bytes", async () => {
    const path = join(folder, "report.json");
    await writeWholeFile(path, "old");
    const script = `
      process.on("SIGXFSZ", () => undefined);
      const { writeWholeFile } = await import(${JSON.stringify(built)});
      try {
        await writeWholeFile(${JSON.stringify(path)}, "x".repeat(1 << 20));
      } catch ({ code, reason, message }) {
        console.log(JSON.stringify({ code, reason, message }));
      }`;
    // In blocks of 1,024 bytes.
    const command = `ulimit -f 64 && exec "$0" --input-type=module -e "$1"`;
    const { stdout } = await promisify(execFile)("bash", ["-c", command, process.execPath, script]);
    expect(JSON.parse(stdout)).toEqual({
      code: "file-write",
      reason: "EFBIG",
      message: `Cannot write ${path}: the file system or this process allows no file so large. Choose a folder on another disk.`,
    });
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["report.json"]);
  });

  it("is old or new after a kill at any moment", async () => {
    const path = join(folder, "report.json");
    await writeWholeFile(path, "0".repeat(1 << 20));
    const script = `
      const { writeWholeFile } = await import(${JSON.stringify(built)});
      process.stdout.write("ready");
      for (let count = 1; ; count += 1) {
        await writeWholeFile(${JSON.stringify(path)}, String(count % 10).repeat(1 << 20));
      }`;
    for (let kill = 0; kill < 5; kill += 1) {
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await once(child.stdout, "data");
      await new Promise((resolve) => setTimeout(resolve, 7 * kill));
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
      const text = await readFile(path, "utf8");
      expect(text).toBe((text[0] ?? "").repeat(1 << 20));
    }
    await writeFile(join(folder, "other.tmp"), "another's");
    await removeUnfinished(folder);
    expect((await readdir(folder)).sort()).toEqual(["other.tmp", "report.json"]);
  });
});

describe("what a write threw", () => {
  it.each([
    ["ENOSPC", "the disk is full. Make room"],
    ["EDQUOT", "the quota is used up. Make room"],
    ["EROFS", "it is on a read-only file system. Choose"],
    ["EWHATEVER", "the system refuses (EWHATEVER). Choose"],
  ])("%s is an error with the path", (code, message) => {
    const cause = Object.assign(new Error(`${code}: write`), { code, syscall: "write" });
    const error = refusedWrite("here/report.json", cause) as FileWriteError;
    expect(FileWriteError.isInstance(error)).toBe(true);
    expect(error.message).toContain(`Cannot write here/report.json: ${message}`);
    expect(error.cause).toBe(cause);
  });

  it("that is not the system's stays as it is", () => {
    const error = new TypeError("mine");
    expect(refusedWrite("x", error)).toBe(error);
  });
});
