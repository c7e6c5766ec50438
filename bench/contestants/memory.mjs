// What a contestant's process and its children took of the machine.
import { readdir, readFile } from "node:fs/promises";

/** Linux tells processor time in hundredths of a second, whatever the kernel's own clock does. */
const ticksPerSecond = 100;

/**
 * Peak resident memory of this process and, where it has given work to them, of the children that it has now, each at
 * its own peak; in bytes. Undefined where there are children and the platform does not tell about them.
 *
 * @param {boolean} withChildren
 * @returns {Promise<number | undefined>}
 */
export async function peakMemory(withChildren) {
  const own = process.resourceUsage().maxRSS * 1024;
  if (!withChildren) return own;
  if (process.platform !== "linux") return undefined;
  const children = await childrenOf(process.pid);
  const peaks = await Promise.all(children.map(peakOf));
  return peaks.reduce((total, one) => total + one, own);
}

/**
 * Seconds of processor time that this process and its children have taken so far. Undefined where there are children and
 * the platform does not tell about them.
 *
 * @param {boolean} withChildren
 * @returns {Promise<number | undefined>}
 */
export async function processorSeconds(withChildren) {
  const { user, system } = process.cpuUsage();
  const own = (user + system) / 1e6;
  if (!withChildren) return own;
  if (process.platform !== "linux") return undefined;
  const children = await childrenOf(process.pid);
  const times = await Promise.all(children.map(ticksOf));
  return times.reduce((total, ticks) => total + ticks / ticksPerSecond, own);
}

/** @param {number} id of a process */
async function ticksOf(id) {
  const stat = await readFile(`/proc/${id}/stat`, "utf8").catch(() => "");
  // Behind its name, which stands in brackets and may hold anything: utime and stime are fields 14 and 15 of proc(5).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
}

/**
 * @param {number} parent
 * @returns {Promise<number[]>}
 */
async function childrenOf(parent) {
  const processes = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const parents = await Promise.all(
    processes.map(async (id) => Number(/^PPid:\s*(\d+)/m.exec(await statusOf(id))?.[1])),
  );
  return processes.filter((_, index) => parents[index] === parent);
}

/**
 * @param {number} id of a process
 * @returns {Promise<number>} bytes
 */
async function peakOf(id) {
  return 1024 * Number(/^VmHWM:\s*(\d+) kB/m.exec(await statusOf(id))?.[1] ?? 0);
}

/** @param {number} id of a process, empty where it has ended meanwhile */
async function statusOf(id) {
  return readFile(`/proc/${id}/status`, "utf8").catch(() => "");
}
