import { existsSync, readdirSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { InvalidInputError, type ModelFile, ModelFileNotFoundError, type ModelFiles } from "@crossrank/core";

/** A model that the suite runs: a folder in Hugging Face's layout with a golden.json, and the backend's artifact. */
export interface Fixture {
  /** Stands in test names and deviations. */
  readonly name: string;
  readonly files: ModelFiles;
}

/** Of this package, beside `src` and `dist` alike. */
const ownFolder: string = fileURLToPath(new URL("../fixtures", import.meta.url));

/** Names of this package's own fixtures, in alphabetical order. */
export function fixtureNames(): string[] {
  if (!existsSync(ownFolder)) return [];
  return readdirSync(ownFolder)
    .filter((name) => existsSync(join(ownFolder, name, "golden.json")))
    .sort();
}

/**
 * This package's own fixtures by name.
 * @param names default: all there are.
 * @throws {InvalidInputError} when there is none of a name.
 */
export function openFixtures(names: readonly string[] = fixtureNames()): Fixture[] {
  const known = fixtureNames();
  return names.map((name) => {
    if (!known.includes(name)) {
      throw new InvalidInputError("names", `has no fixture "${name}"; there are ${known.join(", ")}`);
    }
    return { name, files: openFolder(join(ownFolder, name), name) };
  });
}

/**
 * A fixture in a folder of your own: Hugging Face's files, a golden.json, and the artifact.
 * @param name default: the folder's own.
 */
export function openFixtureFolder(folder: string, name: string = basename(folder)): Fixture {
  return { name, files: openFolder(folder, name) };
}

/** The files of a folder, straight from the disk. */
function openFolder(root: string, id: string): ModelFiles {
  const existing = async (path: string): Promise<string> => {
    const full = join(root, ...path.split("/"));
    const found = await stat(full).catch(() => undefined);
    if (found?.isFile()) return full;
    throw new ModelFileNotFoundError({ model: id, expected: [path], fix: "Build the fixture again." });
  };
  return {
    id,
    revision: undefined,
    async list() {
      const files: ModelFile[] = [];
      for (const path of await readdir(root, { recursive: true })) {
        const status = await stat(join(root, path));
        if (status.isFile()) files.push({ path: path.split(sep).join("/"), size: status.size });
      }
      return files;
    },
    async readText(path, options) {
      options?.signal?.throwIfAborted();
      return readFile(await existing(path), "utf8");
    },
    async readBytes(path, { start, end }, options) {
      options?.signal?.throwIfAborted();
      const handle = await open(await existing(path));
      try {
        const bytes = new Uint8Array(Math.max(0, end - start));
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
        return bytes.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    },
    async localPath(path, options) {
      options?.signal?.throwIfAborted();
      return existing(path);
    },
  };
}

/** A model in a folder of its own, to be damaged; `close` removes it. */
export interface ModelCopy {
  readonly files: ModelFiles;
  close(): Promise<void>;
}

/**
 * Copies a model to a temporary folder, one file of it changed.
 * @param change from the file's bytes to what it should hold instead; undefined leaves the file out.
 */
export async function copyWith(
  files: ModelFiles,
  path: string,
  change: (bytes: Buffer) => Uint8Array | undefined,
): Promise<ModelCopy> {
  const root = await mkdtemp(join(tmpdir(), "crossrank-conformance-"));
  for (const file of await files.list()) {
    const target = join(root, ...file.path.split("/"));
    await mkdir(dirname(target), { recursive: true });
    const source = await files.localPath(file.path);
    if (file.path !== path) {
      await copyFile(source, target);
      continue;
    }
    const bytes = change(await readFile(source));
    if (bytes !== undefined) await writeFile(target, bytes);
  }
  return { files: openFolder(root, files.id), close: () => rm(root, { recursive: true, force: true }) };
}
