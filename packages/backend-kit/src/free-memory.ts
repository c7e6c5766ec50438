import { readFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import { posix } from "node:path";

/** What a reading of the memory needs of a system. */
export interface MemorySource {
  readonly platform: NodeJS.Platform;
  /** The text of a file; undefined where there is none, or none that may be read. */
  readonly read: (path: string) => string | undefined;
  /** Bytes, as the operating system counts them. */
  readonly free: number;
  readonly total: number;
}

/** A limit as large as this is none: version 1 of control groups writes the largest number of pages. */
const unlimited = 2 ** 60;

/**
 * Bytes that this process may still take: what the system can give without swapping, and no more than the limits of
 * the process's control groups leave (containers, systemd). Pages of files that were read and are not in use count as
 * free: the system drops them first.
 *
 * @param source default: this machine.
 */
export function readFreeMemory(source: MemorySource = thisSystem()): number {
  const { platform, free, total } = source;
  // macOS counts as free only what it uses for nothing at all.
  if (platform === "darwin") return Math.max(free, total / 4);
  if (platform !== "linux") return free;
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(source.read("/proc/meminfo") ?? "")?.[1];
  const ofSystem = available === undefined ? free : Number(available) * 1024;
  return Math.max(0, Math.min(ofSystem, ...roomOfGroups(source)));
}

function thisSystem(): MemorySource {
  return { platform: process.platform, read: readText, free: freemem(), total: totalmem() };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Where the two versions of control groups keep their numbers. */
const versions = [
  {
    line: /^0::(\/.*)$/m,
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    used: "memory.current",
    idleFiles: /^inactive_file (\d+)$/m,
  },
  {
    line: /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(\/.*)$/m,
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    idleFiles: /^total_inactive_file (\d+)$/m,
  },
] as const;

/** Bytes that each limit leaves, of the process's own group and of those around it. */
function roomOfGroups({ read }: MemorySource): readonly number[] {
  const groups = read("/proc/self/cgroup") ?? "";
  return versions.flatMap(({ line, root, limit, used, idleFiles }) => {
    const path = line.exec(groups)?.[1];
    if (path === undefined) return [];
    return withParents(path).flatMap((group) => {
      const numbers = (file: string): string | undefined => read(posix.join(root, group, file));
      const most = Number(numbers(limit)?.trim() || "max");
      if (!(most < unlimited)) return [];
      const taken = Number(numbers(used) ?? 0);
      const idle = Number(idleFiles.exec(numbers("memory.stat") ?? "")?.[1] ?? 0);
      return [most - Math.max(0, taken - idle)];
    });
  });
}

/** `/a/b` → `/a/b`, `/a`, `/`. A container may see its own group as the root of what is mounted. */
function withParents(path: string): readonly string[] {
  const parents = [path];
  for (let up = path; up !== "/" && parents.length < 64; ) {
    up = posix.dirname(up);
    parents.push(up);
  }
  return parents;
}
