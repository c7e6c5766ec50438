import { createHash } from "node:crypto";
import { open, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { basename, dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds between two tries. */
const shortestPause = 2;
const longestPause = 50;

/** Flags of `open` on macOS and the BSDs, which Node passes on and does not name: O_WRONLY | O_CREAT, and the lock. */
const openForWriting = 0x201;
const lockExclusively = 0x20;
const withoutWaiting = 0x4;

/**
 * Runs `task` while no other process of this machine runs one for the same file. See {@link tryExclude}.
 *
 * @param path absolute; its folder must exist.
 * @param patience milliseconds to wait for another process.
 * @throws what `onBusy` makes, when another process holds it for longer than `patience`.
 */
export async function excludingOthers<Result>(
  path: string,
  patience: number,
  onBusy: () => Error,
  task: () => Promise<Result>,
): Promise<Result> {
  const end = performance.now() + patience;
  let pause = shortestPause;
  for (;;) {
    const release = await tryExclude(path);
    if (release !== undefined) {
      try {
        return await task();
      } finally {
        await release();
      }
    }
    if (performance.now() >= end) throw onBusy();
    // Jitter, so that those who wait do not come back together.
    await sleep(pause * (0.5 + Math.random() / 2));
    pause = Math.min(pause * 2, longestPause);
  }
}

/** Gives an exclusion back. */
export type Release = () => Promise<void>;

/**
 * Takes the exclusion of a file, if nobody has it.
 *
 * The operating system holds it and frees it when the process ends, however it ends: an abstract socket on Linux, a
 * named pipe on Windows, the lock of `open` on a file beside it elsewhere. Nothing is left behind that a later process
 * could take for a living owner. Containers with a network of their own do not see each other's sockets: a caller reads
 * its change again afterwards, or keeps what it writes such that a second writer can spoil nothing.
 *
 * @param path absolute; its folder must exist, the file need not.
 * @returns undefined while another process, or another caller of this one, holds it.
 */
export async function tryExclude(path: string): Promise<Release | undefined> {
  if (process.platform === "linux") return tryListen(`\0crossrank-${await identify(path)}`);
  if (process.platform === "win32") return tryListen(`\\\\.\\pipe\\crossrank-${await identify(path)}`);
  return tryOpen(`${path}.lock`);
}

/** One name for one file, by whatever links its folder is reached. */
async function identify(path: string): Promise<string> {
  const folder = await stat(dirname(path), { bigint: true });
  const place = `${folder.dev}:${folder.ino}:${basename(path)}`;
  return createHash("sha256").update(place).digest("hex").slice(0, 40);
}

async function tryListen(name: string): Promise<Release | undefined> {
  const server = createServer((socket) => socket.destroy());
  const listening = await new Promise<boolean>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE" || error.code === "EACCES") resolve(false);
      else reject(error);
    });
    // Exclusive: workers of a cluster would share one socket of their primary.
    server.listen({ path: name, exclusive: true }, () => resolve(true));
  });
  if (!listening) return undefined;
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
    });
}

async function tryOpen(path: string): Promise<Release | undefined> {
  try {
    const handle = await open(path, openForWriting | lockExclusively | withoutWaiting, 0o600);
    return () => handle.close();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EAGAIN") return undefined;
    throw error;
  }
}
