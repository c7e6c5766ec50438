import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { promisify } from "node:util";

/** Milliseconds between two looks. Linux remembers each process's own peak, so that what is between is not lost. */
const interval = 500;

export interface MemoryMeter {
  /** Bytes at most since the meter was made, and how they were counted; undefined where that cannot be told. */
  peak(): Promise<{ readonly bytes: number; readonly method: string } | undefined>;
  stop(): void;
}

/**
 * Watches this process and all that it starts, directly or not: a runtime may live in a child.
 *
 * Linux: the sum of each process's own peak (VmHWM), with pages that are of files counted once, as the process has them
 * that has the most: parent and child share the program's. A process that lives for less than half a second may be missed.
 * macOS: the largest sum of resident sizes that `ps` saw. Elsewhere nothing is told.
 */
export function watchMemory(): MemoryMeter {
  let peak = 0;
  let method: string | undefined;
  let looking: Promise<void> | undefined;
  const look = (): Promise<void> => {
    looking ??= measureTree(process.pid)
      .then((now) => {
        if (now === undefined) return;
        peak = Math.max(peak, now.bytes);
        method = now.method;
      })
      .finally(() => {
        looking = undefined;
      });
    return looking;
  };
  const timer = setInterval(() => void look(), interval);
  timer.unref();
  return {
    peak: async () => {
      // One that is under way may have begun too early.
      await looking;
      await look();
      return method === undefined ? undefined : { bytes: peak, method };
    },
    stop: () => clearInterval(timer),
  };
}

/** What a process and those that it started hold, or held at their own peaks. */
export async function measureTree(
  root: number,
): Promise<{ readonly bytes: number; readonly method: string } | undefined> {
  if (process.platform === "linux") {
    const bytes = measureByProc(root);
    return bytes === undefined
      ? undefined
      : { bytes, method: "VmHWM of a process of its own and its children" };
  }
  if (process.platform === "darwin") {
    const bytes = await measureByPs(root).catch(() => undefined);
    return bytes === undefined
      ? undefined
      : { bytes, method: "resident sizes of a process of its own and its children, by ps" };
  }
  return undefined;
}

function measureByProc(root: number): number | undefined {
  const parents = new Map<number, number>();
  for (const name of names()) {
    if (!/^\d+$/.test(name)) continue;
    const stat = contentOf(`/proc/${name}/stat`);
    // The second field is the program's name in parentheses, and may hold any character.
    const parent = /^\S+ (\d+)/.exec(stat.slice(stat.lastIndexOf(")") + 2))?.[1];
    if (parent !== undefined) parents.set(Number(name), Number(parent));
  }
  let own = 0;
  let files = 0;
  let seen = 0;
  for (const id of treeOf(root, parents)) {
    const status = contentOf(`/proc/${id}/status`);
    const bytesOf = (field: string): number | undefined => {
      const kibibytes = new RegExp(`^${field}:\\s*(\\d+) kB$`, "m").exec(status)?.[1];
      return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
    };
    const highest = bytesOf("VmHWM");
    // It has ended meanwhile, or is a kernel's.
    if (highest === undefined) continue;
    const ofFiles = bytesOf("RssFile") ?? 0;
    own += highest - ofFiles;
    files = Math.max(files, ofFiles);
    seen += 1;
  }
  return seen === 0 ? undefined : own + files;
}

function names(): readonly string[] {
  try {
    return readdirSync("/proc");
  } catch {
    return [];
  }
}

/** At once: the system answers from memory, and a promise for each step would take five times as long. */
function contentOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // It has ended meanwhile.
    return "";
  }
}

async function measureByPs(root: number): Promise<number> {
  const { stdout } = await promisify(execFile)("ps", ["-axo", "pid=,ppid=,rss="], { maxBuffer: 1 << 24 });
  const parents = new Map<number, number>();
  const sizes = new Map<number, number>();
  for (const line of stdout.split("\n")) {
    const [id = 0, parent = 0, kibibytes = 0] = line.trim().split(/\s+/).map(Number);
    parents.set(id, parent);
    sizes.set(id, kibibytes * 1024);
  }
  return treeOf(root, parents).reduce((sum, id) => sum + (sizes.get(id) ?? 0), 0);
}

function treeOf(root: number, parents: ReadonlyMap<number, number>): number[] {
  const children = new Map<number, number[]>();
  for (const [id, parent] of parents) children.set(parent, [...(children.get(parent) ?? []), id]);
  const tree = [root];
  // Grows while it is walked.
  for (const id of tree) tree.push(...(children.get(id) ?? []).filter((child) => !tree.includes(child)));
  return tree;
}
