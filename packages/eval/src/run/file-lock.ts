import { randomUUID } from "node:crypto";
import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { ScoreStoreError } from "./errors.js";

/**
 * Keeps a second process of this machine from writing into the same folder, where both would append to the same files.
 * A lock whose process is gone is taken over.
 *
 * @returns what gives it back.
 * @throws {ScoreStoreError} while another process holds it.
 */
export async function lockFolder(path: string): Promise<() => Promise<void>> {
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${randomUUID()}`;
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      // Filled first and then given its name, so that nobody finds it empty and takes it for a dead process's.
      await writeFile(draft, String(process.pid));
      await link(draft, path);
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const owner = Number(await readFile(path, "utf8").catch(() => ""));
      if (attempt > 0 || (owner !== process.pid && isAlive(owner)) || owner === process.pid) {
        throw new ScoreStoreError({
          path,
          problem: `is held by process ${owner}, which writes into the same folder`,
          fix: "Wait for it, or take another folder.",
        });
      }
      await rm(path, { force: true });
    } finally {
      await rm(draft, { force: true });
    }
  }
  throw new Error("unreachable");
}

function isAlive(process_: number): boolean {
  // Something that we did not write.
  if (!Number.isSafeInteger(process_) || process_ <= 0) return false;
  try {
    process.kill(process_, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
