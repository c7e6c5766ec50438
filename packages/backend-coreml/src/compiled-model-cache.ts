import { createHash, randomBytes } from "node:crypto";
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { untilAborted } from "@crossrank/core";
import { readThrough } from "@crossrank/disk";
import { NativeError } from "./native-error.js";

export interface CompileRequest {
  /** A `.mlpackage` folder, or a `.mlmodel` file. */
  readonly packagePath: string;
  readonly cacheFolder: string;
  /** Everything beside the package's bytes that a compiled model depends on: the system's build, the addon's version. */
  readonly dependsOn: readonly string[];
  /** Compiles. Gives a folder in a temporary place, which the cache moves away. */
  readonly compile: (packagePath: string) => Promise<string>;
  readonly signal?: AbortSignal | undefined;
  /** Called before the package is read, and before it is compiled where it must be. */
  readonly onProgress?: ((step: "read" | "compile") => void) | undefined;
}

export interface CompiledModel {
  /** The compiled model's folder, in the cache: stays where it is, so that the system's own caches know it again. */
  readonly path: string;
  /** False where an earlier compilation was found. */
  readonly fresh: boolean;
}

/** In an entry's folder: the compiled model, and the list of its files as they were when it was complete. */
const modelName = "model.mlmodelc";
const listName = "files.json";

/**
 * `coreml` in crossrank's folder in `XDG_CACHE_HOME`, else in the place for caches of the system: `~/Library/Caches` on
 * macOS, `~/.cache` elsewhere.
 */
export function defaultCompiledModelFolder(
  variables: Readonly<Record<string, string | undefined>> = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  const home = variables["HOME"] || homedir();
  const caches =
    variables["XDG_CACHE_HOME"] ||
    (platform === "darwin" ? join(home, "Library", "Caches") : join(home, ".cache"));
  return join(caches, "crossrank", "coreml");
}

/**
 * A package's compiled model: compiled once, and found again by the package's content, wherever the package lies.
 *
 * Several processes may ask at once: each compiles, and the first that is done is kept. An entry appears whole, by
 * renaming. One whose files are not all there, or not of their length, is compiled again.
 *
 * @throws {NativeError} with code `cache` where the package cannot be read or the folder cannot be written, and what
 * `compile` throws.
 * @throws the signal's reason once it is aborted. A compilation under way cannot be stopped: it still ends in the cache.
 */
export async function compiledModel(request: CompileRequest): Promise<CompiledModel> {
  const { packagePath, signal, onProgress } = request;
  signal?.throwIfAborted();
  onProgress?.("read");
  const key = await reading(packagePath, () => keyOf(packagePath, request.dependsOn, signal));
  const entry = join(resolve(request.cacheFolder), key);
  if (await isComplete(entry)) return { path: join(entry, modelName), fresh: false };
  signal?.throwIfAborted();
  onProgress?.("compile");
  const work = compileInto(entry, request);
  // Where nobody waits any more, its failure is nobody's.
  work.catch(() => undefined);
  await untilAborted(work, signal);
  return { path: join(entry, modelName), fresh: true };
}

/**
 * Finds or compiles, then does `task` with the compiled model's folder. Where Core ML does not take one that was found
 * (`task` throws with code `load` or `plan`), it is removed, compiled again and tried once more.
 */
export async function useCompiledModel<Result>(
  request: CompileRequest,
  task: (compiledPath: string) => Promise<Result>,
): Promise<Result> {
  const compiled = await compiledModel(request);
  try {
    return await task(compiled.path);
  } catch (error) {
    const mayBeDamaged = error instanceof NativeError && (error.code === "load" || error.code === "plan");
    if (compiled.fresh || !mayBeDamaged) throw error;
  }
  await writing(request.cacheFolder, () => removeEntry(dirname(compiled.path)));
  return task((await compiledModel(request)).path);
}

async function compileInto(
  entry: string,
  { packagePath, cacheFolder, compile }: CompileRequest,
): Promise<void> {
  const staging = `${entry}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
  // Before the long work: a folder that cannot be written is known at once.
  await writing(cacheFolder, () => mkdir(staging, { recursive: true }));
  try {
    const compiled = await compile(packagePath);
    await writing(cacheFolder, async () => {
      await move(compiled, join(staging, modelName));
      const files = await filesBelow(join(staging, modelName));
      if (files.length === 0) throw new NativeError("compile", "the compiled model is an empty folder");
      await writeFile(join(staging, listName), JSON.stringify(files));
      await putInPlace(staging, entry);
    });
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** Keeps a complete entry that another process put there first, and takes the place of a damaged one. */
async function putInPlace(staging: string, entry: string): Promise<void> {
  try {
    await rename(staging, entry);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
    if (await isComplete(entry)) return;
    await removeEntry(entry);
    await putInPlace(staging, entry);
  }
}

/** Out of its place first, so that nobody sees half of it. */
async function removeEntry(entry: string): Promise<void> {
  const aside = `${entry}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
  try {
    await rename(entry, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}

/** Core ML compiles into the system's temporary folder, which may be on another volume. */
async function move(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
    await cp(from, to, { recursive: true });
    await rm(from, { recursive: true, force: true });
  }
}

interface ListedFile {
  /** Relative, with `/`. Empty for a package that is one file. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

async function isComplete(entry: string): Promise<boolean> {
  try {
    const listed = await readFile(join(entry, listName), "utf8");
    return listed === JSON.stringify(await filesBelow(join(entry, modelName)));
  } catch {
    return false;
  }
}

async function keyOf(
  packagePath: string,
  dependsOn: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash("sha256");
  // Lengths before contents: no two lists of files run together to the same bytes.
  const files = await filesBelow(packagePath);
  if (files.length === 0) throw new NativeError("cache", `${packagePath} is an empty folder`);
  hash.update(JSON.stringify(["crossrank.compiled-model/1", dependsOn, files]));
  for (const { path, size } of files) {
    let read = 0;
    const take = (piece: Buffer): void => {
      hash.update(piece);
      read += piece.length;
    };
    await readThrough(join(packagePath, path), take, { signal });
    if (read !== size) throw new NativeError("cache", `${join(packagePath, path)} changed while it was read`);
  }
  return hash.digest("hex");
}

/** Every file below a folder, or the file itself, in order of their paths. Links to files are followed. */
async function filesBelow(root: string): Promise<ListedFile[]> {
  const files: ListedFile[] = [];
  const walk = async (path: string): Promise<void> => {
    const status = await stat(join(root, path));
    if (status.isFile()) {
      files.push({ path, size: status.size });
      return;
    }
    for (const entry of await readdir(join(root, path), { withFileTypes: true })) {
      const below = path === "" ? entry.name : `${path}/${entry.name}`;
      // What is behind it would be missing from the key.
      if (entry.isSymbolicLink() && !(await stat(join(root, below))).isFile()) {
        throw new NativeError("cache", `${join(root, below)} links to what is no file`);
      }
      await walk(below);
    }
  };
  await walk("");
  return files.sort((one, other) => (one.path < other.path ? -1 : 1));
}

async function reading<Result>(packagePath: string, task: () => Promise<Result>): Promise<Result> {
  return translating(task, `the package ${packagePath} cannot be read`, "Check that all of it is there");
}

async function writing<Result>(cacheFolder: string, task: () => Promise<Result>): Promise<Result> {
  const problem = `the folder for compiled models ${resolve(cacheFolder)} cannot be written`;
  return translating(task, problem, "Make it writable, or choose another with `cacheFolder`");
}

/** What the file system throws, as an error that says what it was for. */
async function translating<Result>(
  task: () => Promise<Result>,
  problem: string,
  fix: string,
): Promise<Result> {
  try {
    return await task();
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw new NativeError("cache", `${problem}: ${error.message}`, { fix, cause: error });
  }
}
