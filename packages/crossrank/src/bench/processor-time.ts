import { readdir, readFile } from "node:fs/promises";

/** Milliseconds of a tick in /proc: `sysconf(_SC_CLK_TCK)` is 100 on every Linux that Node runs on. */
const tick = 10;

/**
 * Begins to count the milliseconds of processor time that this process takes, all of its threads, and on Linux all
 * processes that it started and that still run: a runtime may live in a child.
 *
 * @returns what tells them; undefined elsewhere where there are such, since what is not counted would make a runtime look
 *   cheap.
 */
export async function countProcessorTime(): Promise<() => Promise<number | undefined>> {
  const isLinux = process.platform === "linux";
  // Looking takes time too, and stays outside.
  const ticks = isLinux ? await ticksOfChildren() : 0;
  const before = process.cpuUsage();
  return async () => {
    const { user, system } = process.cpuUsage(before);
    const own = (user + system) / 1000;
    if (isLinux) return own + Math.max(0, (await ticksOfChildren()) - ticks) * tick;
    return hasChildren() ? undefined : own;
  };
}

function hasChildren(): boolean {
  return process.getActiveResourcesInfo().includes("ProcessWrap");
}

async function ticksOfChildren(): Promise<number> {
  const parents = new Map<number, { readonly parent: number; readonly ticks: number }>();
  await Promise.all(
    (await readdir("/proc").catch(() => [])).map(async (name) => {
      if (!/^\d+$/.test(name)) return;
      const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
      // The second field is the program's name in parentheses, and may hold any character. Behind it: state, parent, …,
      // user and system time as the 12th and 13th.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const [parent, user, system] = [fields[1], fields[11], fields[12]].map(Number);
      if (parent === undefined || user === undefined || system === undefined) return;
      if (Number.isNaN(parent + user + system)) return;
      parents.set(Number(name), { parent, ticks: user + system });
    }),
  );
  const tree = new Set([process.pid]);
  let ticks = 0;
  // Each pass goes one generation deeper; a process is counted once.
  for (let grown = true; grown; ) {
    grown = false;
    for (const [id, { parent, ticks: own }] of parents) {
      if (tree.has(id) || !tree.has(parent)) continue;
      tree.add(id);
      ticks += own;
      grown = true;
    }
  }
  return ticks;
}
