import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/**
 * A file untouched for so long has no owner any more: a live download touches its file at every attempt, and an
 * attempt and the wait before it are far shorter. Milliseconds.
 */
const abandonedAfter = 3_600_000;

/**
 * A file of this download's own, holding as much of the blob as any earlier download left behind; empty if none.
 *
 * Two processes never write to one file: a partial file that may still have an owner is copied (it only ever
 * grows at its end, so any prefix is sound), and an abandoned one is taken over by an atomic rename. Python's
 * `.incomplete` files are left alone, as its Xet client does not write them in order.
 */
export async function openPartial(blobPath: string): Promise<string> {
  await mkdir(dirname(blobPath), { recursive: true });
  const own = join(dirname(blobPath), `${prefixOf(blobPath)}${randomBytes(6).toString("hex")}.incomplete`);
  const candidates = (await findPartials(blobPath)).sort((left, right) => right.size - left.size);
  for (const candidate of candidates) {
    try {
      const abandoned = Date.now() - candidate.modified > abandonedAfter;
      if (abandoned) await rename(candidate.path, own);
      else await copyFile(candidate.path, own, constants.COPYFILE_FICLONE);
      return own;
    } catch {
      // Its owner finished or another process took it: the next one will do.
    }
  }
  await writeFile(own, "");
  return own;
}

/**
 * Removes what other downloads of a blob left behind, once the blob is there. One that still runs loses its name
 * only, and finds the blob in place when it is done.
 */
export async function removePartials(blobPath: string): Promise<void> {
  for (const partial of await findPartials(blobPath)) {
    // Windows refuses while it is open; then its owner removes it.
    await rm(partial.path, { force: true }).catch(() => undefined);
  }
}

interface PartialFile {
  readonly path: string;
  readonly size: number;
  readonly modified: number;
}

async function findPartials(blobPath: string): Promise<PartialFile[]> {
  const folder = dirname(blobPath);
  const found: PartialFile[] = [];
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefixOf(blobPath)) || !name.endsWith(".incomplete")) continue;
    const path = join(folder, name);
    const status = await stat(path).catch(() => undefined);
    if (status?.isFile()) found.push({ path, size: status.size, modified: status.mtimeMs });
  }
  return found;
}

function prefixOf(blobPath: string): string {
  return `${basename(blobPath)}.crossrank-`;
}
