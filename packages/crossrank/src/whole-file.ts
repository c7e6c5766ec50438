import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { CommandError, describeSystemError } from "./failure.js";

/**
 * Writes a file in whole or not at all, with the folders on its way.
 * @param name how a message calls it, e.g. `"the baseline"`.
 * @throws {CommandError} when it cannot be written.
 */
export async function writeWholeFile(path: string, text: string, name: string): Promise<void> {
  const unfinished = `${path}.${process.pid}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(unfinished, text);
    await rename(unfinished, path);
  } catch (cause) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    throw new CommandError(`cannot write ${name} ${path}: ${describeSystemError(cause)}`, { cause });
  }
}
