import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { refusedWrite } from "./refusal.js";

/** Behind the name of what is not whole yet. */
const unfinished: RegExp = /\.[0-9a-f]{12}\.tmp$/;

/**
 * Writes a file in whole or not at all, with the folders on its way: whoever reads it finds the old content or the new
 * one, also after a kill, a full disk or a power failure.
 *
 * @throws {FileWriteError} when the system refuses; what was there before stays.
 */
export function writeWholeFile(path: string, content: string | Uint8Array): Promise<void> {
  return writeInWhole(path, [content]);
}

/**
 * The same for content that is made piece by piece, and never in memory as a whole.
 * @throws {FileWriteError}, and what `pieces` throws.
 */
export async function writeInWhole(
  path: string,
  pieces: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const refused = (error: unknown): never => {
    throw refusedWrite(path, error);
  };
  await mkdir(dirname(path), { recursive: true }).catch(refused);
  const file = await open(temporary, "wx").catch(refused);
  try {
    try {
      for await (const piece of pieces) await file.writeFile(piece).catch(refused);
      // Before the rename: a power failure must not leave the name with nothing behind it.
      await file.sync().catch(refused);
    } finally {
      await file.close();
    }
    await rename(temporary, path).catch(refused);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** Removes what writers of a folder that were killed left behind. Only for who knows that nobody writes there now. */
export async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (unfinished.test(name)) await rm(join(folder, name), { force: true });
  }
}
