import { spawnSync } from "node:child_process";
import { expect } from "vitest";
import { isLong } from "./sample.js";

/**
 * So that malloc gives back what is freed: one arena for all threads, and large blocks as pages of their own. As it is by
 * itself a process grows by some ten megabytes over a few hundred loads, at any of them, and then no more.
 */
const tightMalloc = {
  MALLOC_ARENA_MAX: "1",
  MALLOC_MMAP_THRESHOLD_: "32768",
  MALLOC_TRIM_THRESHOLD_: "65536",
};

/** That runs, loads and refused loads leave nothing behind, by a backend's own `measure-leaks.mjs`. */
export function expectNoGrowth(script: string, model: string): void {
  // Memory comes in pieces of 128 kB, of which one in a tenth of the runs is no leak: 655 bytes a run of two hundred.
  const counts = isLong ? ["--runs", "6000", "--loads", "1000"] : ["--runs", "2000", "--loads", "100"];
  const given = ["--expose-gc", script, ...counts, model];
  const env = { ...process.env, ...tightMalloc };
  const { status, stdout, stderr } = spawnSync(process.execPath, given, { encoding: "utf8", env });
  expect(status, stderr).toBe(0);
  const printed = [...stdout.matchAll(/ (-?\d+) bytes each; threads (\d+) to (\d+)/g)];
  const [run, opened, refused] = printed.map(([, bytes]) => Number(bytes));
  // One batch's inputs or outputs kept would be some hundred bytes a run; a model kept, 265 kB. What is left of malloc's
  // and V8's own growth was up to 29 kB a load in ten measurements, and 60 kB planted were 66.
  expect(run, stdout).toBeLessThan(1500);
  expect(opened, stdout).toBeLessThan(60_000);
  expect(refused, stdout).toBeLessThan(60_000);
  // What leaks in few of the times is not in the tenth that is in the middle, but in the megabytes of all together: with
  // CROSSRANK_LONG's counts 64 kB a load.
  const totals = [...stdout.matchAll(/: ([\d.]+) .*?([\d.]+) MB; /g)];
  expect(totals, stdout).toHaveLength(3);
  for (const [, first, last] of totals) expect(Number(last) - Number(first), stdout).toBeLessThan(64);
  // A thread that is left behind keeps 15 to 20 kB.
  for (const [, , early, late] of printed) expect(Number(late) - Number(early), stdout).toBeLessThan(5);
}
