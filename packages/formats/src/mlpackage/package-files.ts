import { constants } from "node:fs";
import { type FileHandle, lstat, open, readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { ModelPackageError } from "./errors.js";
import type { Limits } from "./limits.js";

/** Where a package's model lies, and what else it may read. */
export interface PackagePlaces {
  /** Of model.mlmodel, relative to {@link folder}, with `/`. */
  readonly model: string;
  /** Absolute. Of a single .mlmodel file: the folder that it lies in. */
  readonly folder: string;
  /** Real folders: what a file of the package really is must lie in one of them. */
  readonly roots: readonly string[];
  /** Whether `folder` is a package, all of whose files belong to it. */
  readonly isPackage: boolean;
}

/** Finds the model in a folder `.mlpackage`, or takes a single file. */
export async function findPlaces(path: string, limits: Limits): Promise<PackagePlaces> {
  const status = await stat(path).catch((cause: unknown) => {
    throw new ModelPackageError(
      { path, problem: "is not there", fix: "Give the path of a folder .mlpackage or a file .mlmodel" },
      { cause },
    );
  });
  if (!status.isDirectory()) {
    const folder = dirname(path);
    // That the given path may itself be a link is its owner's wish.
    const roots = [...(await rootsOf(folder)), dirname(await realpath(path))];
    return { model: basename(path), folder, roots, isPackage: false };
  }
  const roots = await rootsOf(path);
  const places = { folder: path, roots, isPackage: true };
  return { ...places, model: await readManifest({ ...places, model: "" }, limits) };
}

/**
 * The folder itself; and where it is part of a snapshot in the cache of Hugging Face, that repository's blobs, which
 * the snapshot's files are links to (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
 */
async function rootsOf(folder: string): Promise<readonly string[]> {
  const real = await realpath(folder);
  const parts = real.split(sep);
  const snapshots = parts.lastIndexOf("snapshots");
  const repository = parts.slice(0, snapshots);
  return snapshots > 0 && /^(models|datasets|spaces)--/.test(repository.at(-1) ?? "")
    ? [real, [...repository, "blobs"].join(sep)]
    : [real];
}

/** Manifest.json, as libmodelpackage of coremltools writes it: entries by identifier, one of which is the model. */
async function readManifest(places: PackagePlaces, limits: Limits): Promise<string> {
  const path = join(places.folder, "Manifest.json");
  const problem = (what: string, fix = "Download or convert it again"): ModelPackageError =>
    new ModelPackageError({ path, problem: what, fix });
  if ((await lstat(path).catch(() => undefined)) === undefined) {
    const compiled = await stat(join(places.folder, "coremldata.bin")).catch(() => undefined);
    throw compiled === undefined
      ? new ModelPackageError({
          path: places.folder,
          problem: "has no Manifest.json, so it is no .mlpackage",
          fix: "Give a folder .mlpackage or a file .mlmodel",
        })
      : new ModelPackageError({
          path: places.folder,
          problem: "is a compiled model (.mlmodelc), whose format Apple does not publish",
          fix: "Give the .mlpackage that it was compiled from",
        });
  }
  const manifest = await withFile(places, "Manifest.json", async (handle, size) => {
    if (size > limits.manifestBytes)
      throw problem(
        `has ${size} bytes, and ${limits.manifestBytes} are allowed`,
        "If the file is to be trusted, raise limits.manifestBytes",
      );
    return readRange(handle, path, 0, size);
  });
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(manifest));
  } catch (cause) {
    throw new ModelPackageError(
      { path, problem: "is no JSON", fix: "Download or convert it again" },
      { cause },
    );
  }
  const entries = property(parsed, "itemInfoEntries");
  const identifier = property(parsed, "rootModelIdentifier");
  if (typeof identifier !== "string") throw problem("has no rootModelIdentifier");
  const item = property(property(entries, identifier), "path");
  if (typeof item !== "string") throw problem(`has no path for its rootModelIdentifier ${identifier}`);
  return `Data/${insidePath(path, item)}`;
}

function property(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

/** A relative path as a file declares it. @throws {ModelPackageError} where it could lead out of its folder. */
export function insidePath(declaredBy: string, path: string): string {
  const parts = path.split("/");
  const unsafe = (part: string): boolean =>
    part === "" || part === "." || part === ".." || /[\\\0:]/.test(part);
  if (parts.some(unsafe))
    throw new ModelPackageError({
      path: declaredBy,
      problem: `names the file ${JSON.stringify(path)}, which may lie outside of the package`,
      fix: "Do not use this package unless you know who made it",
    });
  return parts.join("/");
}

/** Runs `use` with a file of the package open; it is closed afterwards. */
export async function withFile<Result>(
  { folder, roots }: PackagePlaces,
  path: string,
  use: (handle: FileHandle, size: number) => Promise<Result>,
): Promise<Result> {
  const full = join(folder, ...path.split("/"));
  const real = await realpath(full).catch((cause: unknown) => {
    throw new ModelPackageError(
      { path: full, problem: "is not there", fix: "Download or convert the package again" },
      { cause },
    );
  });
  if (!liesIn(roots, real)) throw leadsOut(full);
  // Opening a pipe would wait for its writer.
  const handle = await open(real, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(
    (cause: unknown) => {
      throw new ModelPackageError(
        { path: full, problem: "cannot be opened", fix: "Look at its permissions" },
        { cause },
      );
    },
  );
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw noFile(full);
    return await use(handle, status.size);
  } finally {
    await handle.close();
  }
}

/** Bytes `from` to `to` (not included). @param path for the error when there are fewer. */
export async function readRange(
  handle: FileHandle,
  path: string,
  from: number,
  to: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(to - from);
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, from + done);
    if (bytesRead === 0)
      throw new ModelPackageError({
        path,
        problem: `is cut short: it ends before byte ${to}`,
        fix: "Download or convert it again",
      });
    done += bytesRead;
  }
  return bytes;
}

/** All files of a package, sorted by path. */
export async function listFiles(
  places: PackagePlaces,
  limits: Limits,
  signal: AbortSignal | undefined,
): Promise<readonly { readonly path: string; readonly size: number }[]> {
  const files: { path: string; size: number }[] = [];
  const folders = [places.folder];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    signal?.throwIfAborted();
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const full = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(full);
      else {
        const real = await realpath(full).catch(() => full);
        if (!liesIn(places.roots, real)) throw leadsOut(full);
        const status = await stat(real).catch(() => undefined);
        // A link to a folder could lead in a circle.
        if (status?.isFile() !== true) throw noFile(full);
        files.push({ path: relative(places.folder, full).split(sep).join("/"), size: status.size });
      }
      if (files.length + folders.length > limits.files)
        throw new ModelPackageError({
          path: places.folder,
          problem: `has more than ${limits.files} files`,
          fix: "If the package is to be trusted, raise limits.files",
        });
    }
  }
  return files.sort((one, other) => (one.path < other.path ? -1 : 1));
}

function liesIn(roots: readonly string[], path: string): boolean {
  return roots.some((root) => path.startsWith(root.endsWith(sep) ? root : root + sep));
}

function leadsOut(path: string): ModelPackageError {
  return new ModelPackageError({
    path,
    problem: "is a link that leads out of the package",
    fix: "Copy the package with its links resolved (cp -RL), and open the copy",
  });
}

function noFile(path: string): ModelPackageError {
  return new ModelPackageError({
    path,
    problem: "is no regular file",
    fix: "Download or convert the package again",
  });
}
