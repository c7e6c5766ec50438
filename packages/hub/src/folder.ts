import { open, readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import {
  type FileRequestOptions,
  InvalidInputError,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
} from "@crossrank/core";
import { isFile } from "./cache.js";
import { expandHome } from "./environment.js";
import { FileTooLargeError, UnsafePathError } from "./errors.js";
import { checkRelativePath } from "./safe-path.js";

const skippedFolders: ReadonlySet<string> = new Set([".git", "node_modules"]);

/**
 * A folder's files as a model. `.git` and `node_modules` are left out, links to files are followed (a snapshot in
 * the hub's cache is such a folder), links to folders are not. No hash is known.
 *
 * @param path absolute or relative, `~` for the home folder.
 * @throws {InvalidInputError} when there is no such folder.
 */
export async function openFolder(path: string): Promise<ModelFiles> {
  const root = resolve(expandHome(path));
  const status = await stat(root).catch(() => undefined);
  if (status === undefined) {
    throw new InvalidInputError(
      "source",
      `names the folder ${root}, which does not exist. Check the path, or pass a repository id (owner/name).`,
    );
  }
  if (!status.isDirectory()) {
    throw new InvalidInputError("source", `names the file ${root}. Pass the folder that holds the model.`);
  }
  return new FolderFiles(path, root);
}

class FolderFiles implements ModelFiles {
  readonly id: string;
  readonly revision = undefined;
  readonly #root: string;

  constructor(id: string, root: string) {
    this.id = id;
    this.#root = root;
  }

  async list(options: FileRequestOptions = {}): Promise<readonly ModelFile[]> {
    return listFolder(this.#root, options.signal);
  }

  async readText(path: string, options: FileRequestOptions = {}): Promise<string> {
    return readWholeText(this.id, path, await this.localPath(path, options));
  }

  async readBytes(path: string, range: ByteRange, options: FileRequestOptions = {}): Promise<Uint8Array> {
    return readRange(await this.localPath(path, options), range);
  }

  async localPath(path: string, options: FileRequestOptions = {}): Promise<string> {
    options.signal?.throwIfAborted();
    checkRelativePath(this.id, path);
    const local = join(this.#root, ...path.split("/"));
    if (!(await isFile(local))) {
      const there = (await this.list(options)).map((file) => file.path);
      throw fileNotFound(this.id, path, there, "Check the path, or put the file into the folder.");
    }
    if (!(await staysInside(this.#root, local))) {
      throw new UnsafePathError({ model: this.id, path, linked: true });
    }
    return local;
  }
}

/**
 * Whether a file lies in the folder when all links are followed. A snapshot in the hub's cache links to the blobs
 * of its repository, which count as its own.
 */
async function staysInside(root: string, local: string): Promise<boolean> {
  const [folder, target] = await Promise.all([realpath(root), realpath(local)]);
  if (isBelow(folder, target)) return true;
  for (let place = folder; dirname(place) !== place; place = dirname(place)) {
    const repository = dirname(dirname(place));
    if (basename(dirname(place)) !== "snapshots") continue;
    if (/^(?:models|datasets|spaces)--/.test(basename(repository))) {
      return isBelow(join(repository, "blobs"), target);
    }
  }
  return false;
}

function isBelow(folder: string, path: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}

/** Bytes; a longer text has no place in one string. */
const largestText = 0x1fff_ffe8;

/** @throws {FileTooLargeError} */
export async function readWholeText(model: string, path: string, local: string): Promise<string> {
  const { size } = await stat(local);
  if (size > largestText) throw new FileTooLargeError({ model, path, size, largest: largestText });
  return readFile(local, "utf8");
}

/** Bytes of a file, the end not included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** As many of the range's bytes as the file has. */
export async function readRange(path: string, { start, end }: ByteRange): Promise<Uint8Array> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start));
    let filled = 0;
    // One call reads at most 2 GiB.
    while (filled < bytes.length) {
      const { bytesRead } = await handle.read(
        bytes,
        filled,
        Math.min(bytes.length - filled, 2 ** 30),
        start + filled,
      );
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  } finally {
    await handle.close();
  }
}

/** Every file below a folder, sorted by path. */
export async function listFolder(root: string, signal?: AbortSignal): Promise<ModelFile[]> {
  const files: ModelFile[] = [];
  const walk = async (prefix: string): Promise<void> => {
    signal?.throwIfAborted();
    const entries = await readdir(join(root, prefix), { withFileTypes: true }).catch((cause: unknown) => {
      // A folder below that went while the others were read is not there.
      if (prefix !== "" && Reflect.get(cause as object, "code") === "ENOENT") return [];
      throw cause;
    });
    for (const entry of entries) {
      const path = `${prefix}${entry.name}`;
      if (entry.isDirectory()) {
        if (!skippedFolders.has(entry.name)) await walk(`${path}/`);
        continue;
      }
      const status = await stat(join(root, path)).catch(() => undefined);
      if (status?.isFile()) files.push({ path, size: status.size });
    }
  };
  await walk("");
  return files.sort((left, right) => (left.path < right.path ? -1 : 1));
}

const mostSuggestions = 10;

/** With the files that may have been meant: those of the same name elsewhere, else those of the same extension. */
export function fileNotFound(
  model: string,
  path: string,
  there: readonly string[],
  fix: string,
): ModelFileNotFoundError {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  const sameName = there.filter((other) => other === name || other.endsWith(`/${name}`));
  const sameExtension = dot < 0 ? [] : there.filter((other) => other.endsWith(name.slice(dot)));
  const found = (sameName.length > 0 ? sameName : sameExtension).slice(0, mostSuggestions);
  return new ModelFileNotFoundError({ model, expected: [path], found, fix });
}
