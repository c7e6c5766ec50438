// How much memory a process keeps by doing one thing again and again, for the scripts that look for leaks.
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

/**
 * Does it `count` times after a warm-up of a tenth as many. Prints megabytes at every tenth, the bytes that one time
 * leaves behind, and on Linux the process's threads after the warm-up and at the end. Start Node with `--expose-gc`, and
 * on Linux with MALLOC_ARENA_MAX=1: else each thread's arena grows by itself for some thousand times.
 *
 * @param what is done, for what is printed.
 * @param step gets the number of the time.
 */
export async function printGrowth(what, count, step) {
  const tenth = Math.max(1, Math.floor(count / 10));
  for (let index = 0; index < tenth; index += 1) await step(index);
  const samples = [[0, await resident()]];
  const early = threads();
  for (let index = 1; index <= count; index += 1) {
    await step(index);
    if (index % tenth === 0) samples.push([index, await resident()]);
  }
  // What each time leaves behind is in every tenth. malloc and V8 take some megabytes at once, in one tenth or two, and
  // the one in the middle does not have them.
  const each = samples.slice(1).map(([index, bytes], place) => {
    const [before, bytesBefore] = samples[place];
    return (bytes - bytesBefore) / (index - before);
  });
  const growth = each.toSorted((left, right) => left - right)[each.length >> 1].toFixed(0);
  const megabytes = samples.map(([, bytes]) => (bytes / 1e6).toFixed(1)).join(" ");
  console.log(`${count} × ${what}: ${megabytes} MB; ${growth} bytes each; threads ${early} to ${threads()}`);
}

function threads() {
  if (process.platform !== "linux") return 0;
  return Number(/^Threads:\s*(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))[1]);
}

/** What is garbage goes first: a native object and its memory only a turn after the garbage collection that found it. */
async function resident() {
  for (let turn = 0; turn < 3; turn += 1) {
    globalThis.gc?.();
    await setTimeout(2);
  }
  return process.memoryUsage.rss();
}
