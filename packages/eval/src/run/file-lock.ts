import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { type Release, refusedWrite, tryExclude } from "@crossrank/disk";
import { ScoreStoreError } from "./errors.js";

/**
 * Keeps a second process of this machine from writing into the same folder, where both would append to the same files.
 * The system gives the folder free when the process ends, however it ends.
 *
 * @param path of the lock, within the folder. There need be no such file.
 * @returns what gives it back.
 * @throws {ScoreStoreError} while somebody else holds it; {FileWriteError}.
 */
export async function lockFolder(path: string): Promise<Release> {
  await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => {
    throw refusedWrite(dirname(path), error);
  });
  const release = await tryExclude(path);
  if (release !== undefined) return release;
  throw new ScoreStoreError({
    path: dirname(path),
    problem: "is held by another evaluation, which writes into the same folder",
    fix: "Wait for it, or take another folder.",
  });
}
