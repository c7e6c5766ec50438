import { CommandError } from "../failure.js";
import { folderStorage } from "./folder-storage.js";
import type { Storage } from "./storage.js";

/**
 * The package is installed by those who want it.
 * @throws {CommandError} that says how.
 */
export async function loadQueuePackage(what: string): Promise<typeof import("@crossrank/queue")> {
  const name = "@crossrank/queue";
  try {
    return (await import(
      /* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ name
    )) as typeof import("@crossrank/queue");
  } catch (cause) {
    // Loaded when it is asked for: --help has no use for it.
    const { isMissing } = await import("../registry.js");
    if (isMissing(cause, [name])) {
      throw new CommandError(`${what} needs a package. Install it: npm install ${name}`, { cause });
    }
    throw cause;
  }
}

/** Whether a place is in S3. */
export function isObjectPlace(place: string): boolean {
  return place.startsWith("s3://");
}

/** Where a place's files lie: a folder, or S3. */
export async function storageOf(place: string): Promise<Storage> {
  if (!isObjectPlace(place)) return folderStorage;
  const { openObjectStorage } = await loadQueuePackage(place);
  return openObjectStorage();
}

/** Workers of one model listen to one queue, and get no other model's shards. */
export function queueName(fingerprint: string): string {
  return `crossrank-${fingerprint.slice(0, 16)}`;
}
