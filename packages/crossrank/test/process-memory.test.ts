import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { measureTree, watchMemory } from "../src/evaluation/process-memory.js";

const mebibyte = 1 << 20;
const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  }
});

/** Tells when it holds so many mebibytes. */
async function start(script: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["-e", script], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
}

/** Ends with who started it, who has no time left for it when he is killed. */
const holding = (mebibytes: number): string =>
  `globalThis.held = Buffer.alloc(${mebibytes} * 1048576, 1); console.log("there");
  process.stdin.resume().once("close", () => process.exit());`;
const unloaded = `console.log("there"); setInterval(() => undefined, 1000);`;

describe.runIf(["linux", "darwin"].includes(process.platform))("the memory of a process", () => {
  it("is its children's and theirs too", async () => {
    const alone = (await measureTree((await start(unloaded)).pid ?? 0))?.bytes ?? 0;
    expect(alone).toBeGreaterThan(20 * mebibyte);
    const inner = JSON.stringify(holding(100));
    const nested = await start(
      `const { spawn } = require("node:child_process");
      spawn(process.execPath, ["-e", ${inner}], { stdio: ["pipe", "inherit", "inherit"] });
      globalThis.held = Buffer.alloc(50 * 1048576, 1);
      setInterval(() => undefined, 1000);`,
    );
    const tree = (await measureTree(nested.pid ?? 0))?.bytes ?? 0;
    expect(tree).toBeGreaterThan(alone + 150 * mebibyte);
    // Another Node besides, and not twice what both hold.
    expect(tree).toBeLessThan(2 * alone + 300 * mebibyte);
  });

  it("is watched: what a child held and gave back counts", async () => {
    const meter = watchMemory();
    try {
      const before = await meter.peak();
      const child = await start(holding(200));
      expect((await meter.peak())?.bytes).toBeGreaterThan((before?.bytes ?? 0) + 190 * mebibyte);
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
      children.splice(0);
      const after = await meter.peak();
      expect(after?.bytes).toBeGreaterThan((before?.bytes ?? 0) + 190 * mebibyte);
      expect(after?.method).toMatch(/a process of its own and its children/);
    } finally {
      meter.stop();
    }
  });

  it("is none of a process that is gone", async () => {
    const child = await start(unloaded);
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
    children.splice(0);
    expect((await measureTree(child.pid ?? 0))?.bytes ?? 0).toBe(0);
  });
});
