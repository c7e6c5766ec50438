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
 * Begins to count the processor time of this process and its children. Looking for children takes time of its own, which
 * lies outside of what is counted.
 *
 * @param {boolean} withChildren
 * @returns {Promise<() => Promise<number | undefined>>} gives the seconds since; undefined where there are children and
 *   the platform does not tell about them
 */
export async function countProcessorTime(withChildren) {
  const tells = process.platform === "linux";
  const before = withChildren && tells ? await childTicks() : new Map();
  const start = process.cpuUsage();
  return async () => {
    const { user, system } = process.cpuUsage(start);
    const own = (user + system) / 1e6;
    if (!withChildren) return own;
    if (!tells) return undefined;
    const after = await childTicks();
    const ticks = [...after].reduce((total, [id, taken]) => total + taken - (before.get(id) ?? 0), 0);
    return own + ticks / ticksPerSecond;
  };
}

/** @returns {Promise<Map<number, number>>} of each child that is there now */
async function childTicks() {
  const children = await childrenOf(process.pid);
  return new Map(
    await Promise.all(children.map(async (id) => /** @type {const} */ ([id, await ticksOf(id)]))),
  );
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
