import { randomBytes } from "node:crypto";
import { createReadStream, type Dirent } from "node:fs";
import { link, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { FileWriteError, refusedWrite, removeUnfinished, writeInWhole } from "@crossrank/disk";
import { describeSystemError } from "../failure.js";
import { ScoreJobError } from "./errors.js";
import type { InputFile, OutputFolder, Pieces, Storage } from "./storage.js";

/** Bytes that are read at once. */
const pieceBytes = 1 << 20;

/** Files of this machine, or of a folder that several machines share. */
export const folderStorage: Storage = {
  openInput: async (place) => openInput(resolve(place)),
  openOutput: async (place) => openOutput(resolve(place)),
};

async function openInput(place: string): Promise<InputFile> {
  const refused = (cause: unknown): never => {
    throw new ScoreJobError(
      "input",
      place,
      `cannot be read: ${describeSystemError(cause)}. Name a file of pairs, as JSONL or Parquet`,
      { cause },
    );
  };
  const facts = await stat(place).catch(refused);
  if (!facts.isFile()) {
    throw new ScoreJobError("input", place, "is no file, and is read in ranges. Name a file of pairs");
  }
  return {
    place,
    size: facts.size,
    mark: { modified: Math.floor(facts.mtimeMs) },
    async isSame() {
      const now = await stat(place).catch(refused);
      return now.size === facts.size && now.mtimeMs === facts.mtimeMs && now.ino === facts.ino;
    },
    async *read(start, end, signal) {
      if (end <= start) return;
      const stream = createReadStream(place, { start, end: end - 1, highWaterMark: pieceBytes });
      try {
        for await (const piece of stream) {
          signal?.throwIfAborted();
          yield piece as Uint8Array;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof Error && "syscall" in error) refused(error);
        throw error;
      } finally {
        stream.destroy();
      }
    },
  };
}

function openOutput(place: string): OutputFolder {
  const at = (name: string): string => join(place, name);
  const refused = (name: string, cause: unknown): never => {
    throw new ScoreJobError("output", at(name), `cannot be read: ${describeSystemError(cause)}`, { cause });
  };
  return {
    place,
    async read(name, mostBytes) {
      try {
        if ((await stat(at(name))).size > mostBytes) {
          throw new ScoreJobError(
            "output",
            at(name),
            `has more than ${mostBytes} bytes, and is none of a job. Name another folder`,
          );
        }
        return await readFile(at(name));
      } catch (error) {
        if (isMissing(error)) return undefined;
        return ScoreJobError.isInstance(error) ? Promise.reject(error) : refused(name, error);
      }
    },
    async *stream(name, signal) {
      try {
        for await (const piece of createReadStream(at(name), { highWaterMark: pieceBytes })) {
          signal?.throwIfAborted();
          yield piece as Uint8Array;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof Error && "syscall" in error) refused(name, error);
        throw error;
      }
    },
    async has(name) {
      const found = await stat(at(name)).catch((error: unknown) => {
        if (isMissing(error)) return undefined;
        return refused(name, error);
      });
      return found !== undefined;
    },
    async *names(folder) {
      for (const entry of await entriesOf(at(folder))) {
        const name = `${folder}/${entry.name}`;
        if (!entry.isDirectory()) yield name;
        else for (const inner of await entriesOf(at(name))) yield `${name}/${inner.name}`;
      }
    },
    write: (name, pieces) => writeInWhole(at(name), pieces),
    writeOnce: (name, pieces) => writeFirst(at(name), pieces),
    async removeUnfinished(folder) {
      await removeUnfinished(at(folder));
      for (const entry of await entriesOf(at(folder))) {
        if (entry.isDirectory()) await removeUnfinished(at(`${folder}/${entry.name}`));
      }
    },
  };

  async function entriesOf(folder: string): Promise<Dirent[]> {
    return readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
      if (isMissing(error)) return [];
      return refused(".", error);
    });
  }
}

/** Writes a file in whole where there is none: unlike a rename, a link leaves what another machine was first with. */
async function writeFirst(path: string, pieces: Pieces): Promise<void> {
  // As @crossrank/disk names what is not whole yet, so that its sweep finds it.
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  await writeInWhole(temporary, pieces).catch((error: unknown) => {
    // Under the name that is asked for.
    throw FileWriteError.isInstance(error) ? refusedWrite(path, error.cause) : error;
  });
  try {
    await link(temporary, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return;
    if (!noLinks.has(code)) throw refusedWrite(path, error);
    await rename(temporary, path).catch((cause: unknown) => {
      throw refusedWrite(path, cause);
    });
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

/** Of file systems that have no links. */
const noLinks: ReadonlySet<string | undefined> = new Set([
  "EPERM",
  "ENOTSUP",
  "EOPNOTSUPP",
  "ENOSYS",
  "EMLINK",
]);

/** Makes the folder of a path, for who locks it. */
export async function makeFolderOf(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
