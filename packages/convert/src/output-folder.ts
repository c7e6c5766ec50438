import { createHash, randomBytes } from "node:crypto";
import { constants, type Stats } from "node:fs";
import {
  access,
  mkdir,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { describeRefusal, excludingOthers, type Release, tryExclude } from "@crossrank/disk";
import { artifactOf, unitOf } from "./artifact-name.js";
import { OutputFolderError } from "./errors.js";
import { type ProvenanceDocument, parseProvenance, provenanceFile } from "./provenance.js";

/** This machine in the name of a staging folder: process ids say nothing on another. */
const host = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);

/** A staging folder whose owner cannot be asked (it ran on another machine) and that nobody wrote to for so long. Milliseconds. */
const abandonedAfter = 24 * 3_600_000;

/** How long to wait for another conversion that moves its files into the same folder. Milliseconds. */
const patience = 60_000;

/** What is to be moved into place. Paths are relative to the model. */
export interface Delivery {
  /** The model's small files. Where the folder has them already, they are the same. */
  readonly companions: readonly string[];
  /** The artifact's files, the main one first. */
  readonly artifact: readonly string[];
  /** Content of provenance.json, made from the one that is there. */
  readonly provenance: (before: ProvenanceDocument | undefined) => string;
  readonly force: boolean;
}

/**
 * Where a conversion ends up. What it writes goes into a staging folder beside it, on the same file system, and is
 * moved from there by renaming once it is complete: at no time is anything half written under its own name.
 */
export class OutputFolder {
  /** Absolute, links resolved. */
  readonly path: string;
  /** As it was given. */
  readonly #given: string;
  /** What the absolute path of each of its staging folders begins with. */
  readonly #stagingPrefix: string;

  private constructor(path: string, given: string, stagingParent: string) {
    this.path = path;
    this.#given = given;
    this.#stagingPrefix = join(stagingParent, `.${basename(path)}.partial-`);
  }

  /** Does not create it. @throws {OutputFolderError} when there is something else than a folder. */
  static async open(given: string): Promise<OutputFolder> {
    const absolute = resolve(given);
    const path = await realpath(absolute).catch(() => absolute);
    const status = await stat(path).catch(() => undefined);
    if (status !== undefined && !status.isDirectory()) {
      throw new OutputFolderError({
        output: given,
        path,
        reason: "system",
        problem: "it is a file",
        fix: "Name a folder; it need not exist.",
      });
    }
    return new OutputFolder(path, given, await stagingParentOf(path, status));
  }

  /**
   * That the artifact may be written here.
   *
   * @param main the artifact's main file or its package, relative to the folder.
   * @throws {OutputFolderError} `exists` unless forced, `conflict` when provenance.json is somebody else's.
   */
  async check(main: string, force: boolean): Promise<void> {
    const artifact = artifactOf(main);
    const there = (await filesOf(this.path, artifact)).find((path) => artifactOf(path) === artifact);
    if (!force && there !== undefined) {
      throw new OutputFolderError({
        output: this.#given,
        path: join(this.path, there),
        reason: "exists",
        problem: `${there} is there already`,
        fix: "Replace it with the option `force`, or choose another folder with the option `output`.",
      });
    }
    await this.#provenance();
  }

  /** An empty folder to write to. Removes those that killed conversions into this folder left behind. */
  async stage(): Promise<StagingFolder> {
    return this.#system(async () => {
      const parent = dirname(this.#stagingPrefix);
      const created = await makeFolder(parent);
      try {
        await removeLeftovers(parent, basename(this.#stagingPrefix));
        // The owner is part of the name: a folder is never without one, however early its process is killed.
        const path = `${this.#stagingPrefix}${host}-${process.pid}-${randomBytes(4).toString("hex")}`;
        const release = await tryExclude(path);
        await mkdir(path);
        return new StagingFolder(path, {
          created: created === undefined ? undefined : { from: created, to: parent },
          release,
        });
      } catch (error) {
        if (created !== undefined) await removeEmpty(parent, created);
        throw error;
      }
    });
  }

  /**
   * Moves what is in the staging folder into place: small files first, then the word about the artifact, then the
   * artifact itself, so that no artifact is ever there without its provenance. One conversion at a time does so, and
   * what is moved is on the disk before.
   *
   * @throws {OutputFolderError} `conflict` when the folder holds another model's files; nothing was moved then. `busy`
   *   when another conversion moves its files there for longer than a minute.
   */
  async deliver(staging: StagingFolder, delivery: Delivery): Promise<void> {
    await this.#system(async () => {
      await persist(staging.path);
      const turn = `${this.#stagingPrefix}delivery`;
      await excludingOthers(
        turn,
        patience,
        () => this.#busy(),
        () => this.#deliver(staging, delivery).finally(() => rm(lockFile(turn), { force: true })),
      );
    });
  }

  async #deliver(
    staging: StagingFolder,
    { companions, artifact: files, ...delivery }: Delivery,
  ): Promise<void> {
    const { provenance, force } = delivery;
    const artifact = [...new Set(files.map(unitOf))];
    const [main = "", ...beside] = artifact;
    await this.check(main, force);
    const describe = async (): Promise<void> => {
      const described = join(staging.path, provenanceFile);
      await writeFile(described, provenance(await this.#provenance()), { flush: true });
    };
    await describe();
    if (!(await exists(this.path))) {
      if (await renamed(staging.path, this.path)) return;
      // Somebody made it meanwhile.
      await this.check(main, force);
      await describe();
    }
    const missing = await this.missing(staging, companions);
    const old = force ? await filesOf(this.path, artifactOf(main)) : [];
    for (const path of [...missing, ...beside, provenanceFile, main]) await this.#move(path, staging.path);
    // Data that the old artifact kept beside itself would be taken for the new one's.
    for (const path of old) {
      if (!artifact.includes(path)) await rm(join(this.path, path), { recursive: true, force: true });
    }
  }

  #busy(): OutputFolderError {
    return new OutputFolderError({
      output: this.#given,
      path: this.path,
      reason: "busy",
      problem: "another conversion has been moving its files there for a minute",
      fix: "Convert again when it has ended.",
    });
  }

  /**
   * Which of the model's small files the folder lacks.
   *
   * @throws {OutputFolderError} `conflict` when it has another model's.
   */
  async missing(staging: StagingFolder, companions: readonly string[]): Promise<readonly string[]> {
    const missing: string[] = [];
    for (const path of companions) {
      if (!(await this.#holds(path, staging.path))) missing.push(path);
    }
    return missing;
  }

  async #move(path: string, from: string): Promise<void> {
    const target = join(this.path, path);
    await mkdir(dirname(target), { recursive: true });
    // A folder cannot take the place of another by renaming; the old one goes with the staging folder.
    const status = await stat(target).catch(() => undefined);
    if (status?.isDirectory()) await rename(target, join(from, `${path}.replaced`));
    await rename(join(from, path), target);
  }

  /** Whether the file is there and the same. */
  async #holds(path: string, staging: string): Promise<boolean> {
    const there = await readFile(join(this.path, path)).catch(ifMissing);
    if (there === undefined) return false;
    // A golden.json may hold more cases than ours, and decides nothing about scores.
    if (path === "golden.json" || there.equals(await readFile(join(staging, path)))) return true;
    throw new OutputFolderError({
      output: this.#given,
      path: join(this.path, path),
      reason: "conflict",
      problem: `its ${path} is not this model's`,
      fix: "It holds another model, or this one with other settings; choose another folder.",
    });
  }

  async #provenance(): Promise<ProvenanceDocument | undefined> {
    const path = join(this.path, provenanceFile);
    const text = await readFile(path, "utf8").catch(ifMissing);
    if (text === undefined) return undefined;
    const document = parseProvenance(text);
    if (document !== undefined) return document;
    throw new OutputFolderError({
      output: this.#given,
      path,
      reason: "conflict",
      problem: `its ${provenanceFile} is not one of crossrank's`,
      fix: "Move it away, or choose another folder.",
    });
  }

  async #system<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw this.translate(error);
    }
  }

  /** What the file system refused, with the folder's name and what to do; any other error as it is. */
  translate(error: unknown): unknown {
    const { code, syscall, path: from, dest } = error as NodeJS.ErrnoException & { dest?: string };
    // Of a copy: a disk that is full is where it goes.
    const path = dest !== undefined && isOfWrites(code) ? dest : from;
    const refusal = refusalOf(code) ?? this.#otherRefusal(error as NodeJS.ErrnoException);
    if (refusal === undefined) return error;
    // A write that failed names no file. A source that cannot be read is not our folder's fault, also where it is inside.
    const ours =
      path === undefined ||
      path.startsWith(this.#stagingPrefix) ||
      this.path.startsWith(path) ||
      (path.startsWith(this.path) && syscall !== "open");
    if (!ours) return error;
    const [problem, fix] = refusal;
    return new OutputFolderError(
      { output: this.#given, path: path ?? this.path, reason: "system", problem, fix },
      { cause: error },
    );
  }

  /** Any other code says something about this folder only where it comes of a place that is ours. Within /proc, say, it is ENOENT. */
  #otherRefusal({ code, path, syscall }: NodeJS.ErrnoException): readonly [string, string] | undefined {
    if (code === undefined || path === undefined || syscall === undefined) return undefined;
    const ours = path.startsWith(this.#stagingPrefix) || (syscall === "mkdir" && this.path.startsWith(path));
    return ours ? [`the system refuses to write there (${code})`, "Choose another folder."] : undefined;
  }
}

/**
 * Beside the folder; within it where nothing could be renamed from there: it is a mount point (a volume of a
 * container, say), or its parent is somebody else's.
 */
async function stagingParentOf(path: string, status: Stats | undefined): Promise<string> {
  const parent = dirname(path);
  if (status === undefined) return parent;
  const beside = await stat(parent);
  const writable = await access(parent, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
  return beside.dev === status.dev && writable ? parent : path;
}

/** Whether a code can come of a write alone. */
function isOfWrites(code: string | undefined): boolean {
  return ["ENOSPC", "EDQUOT", "EFBIG", "EROFS"].includes(code ?? "");
}

/** Refusals of a file system by code: the problem, and what to do. */
function refusalOf(code: string | undefined): readonly [problem: string, fix: string] | undefined {
  const refusal = describeRefusal(code);
  // These two are about the folder's own name.
  if (refusal === undefined || !["ENOTDIR", "EEXIST"].includes(code ?? "")) return refusal;
  return [refusal[0], "Name a folder; it need not exist."];
}

/** A folder of one conversion's own. */
export class StagingFolder {
  readonly path: string;
  readonly #created: { readonly from: string; readonly to: string } | undefined;
  /** Tells others that its owner lives; undefined where somebody else has taken its name. */
  readonly #release: Release | undefined;

  constructor(
    path: string,
    {
      created,
      release,
    }: {
      readonly created: { readonly from: string; readonly to: string } | undefined;
      readonly release: Release | undefined;
    },
  ) {
    this.path = path;
    this.#created = created;
    this.#release = release;
  }

  /** Removes what is left of it, and folders above it that were made for it and are empty. */
  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    await this.#release?.();
    await rm(lockFile(this.path), { force: true });
    if (this.#created !== undefined) await removeEmpty(this.#created.to, this.#created.from);
  }
}

/**
 * With the folders above it. The first is made by itself: where the system answers with ENOENT, as within /proc, Node's
 * recursive mkdir never ends.
 *
 * @returns the highest folder that was made; undefined when it was there.
 */
async function makeFolder(folder: string): Promise<string | undefined> {
  let highest: string | undefined;
  for (let path = folder; !(await exists(path)) && path !== dirname(path); path = dirname(path))
    highest = path;
  if (highest === undefined) return undefined;
  await mkdir(highest).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await mkdir(folder, { recursive: true });
  return highest;
}

/**
 * What an exclusion leaves behind on systems that hold it by a file. Nobody waits for the file itself, so that it may go
 * when its holder is done.
 */
function lockFile(path: string): string {
  return `${path}.lock`;
}

/** Asks the system to put a folder's files on the disk: a power failure must not leave names with nothing behind them. */
async function persist(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    // Writable: Windows flushes no other handle.
    const file = await open(join(entry.parentPath, entry.name), "r+");
    await file.sync().finally(() => file.close());
  }
}

/** From the deepest one upwards, as far as they are empty. */
async function removeEmpty(deepest: string, highest: string): Promise<void> {
  for (let folder = deepest; folder.startsWith(highest); folder = dirname(folder)) {
    try {
      await rmdir(folder);
    } catch {
      return;
    }
  }
}

async function removeLeftovers(parent: string, prefix: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const [, owner, pid] = name.startsWith(prefix)
      ? (/^([0-9a-f]{8})-(\d+)-[0-9a-f]{8}$/.exec(name.slice(prefix.length)) ?? [])
      : [];
    if (owner === undefined) continue;
    const path = join(parent, name);
    const release = await tryExclude(path);
    // Its owner lives, and has our process id where it is a conversion of this process.
    if (release === undefined) continue;
    // An earlier process may have had our id: in a container it is 1 each time.
    const isGone = Number(pid) === process.pid || !isAlive(Number(pid));
    const abandoned = owner === host ? isGone : await isSilent(path);
    if (abandoned) await rm(path, { recursive: true, force: true });
    await release();
    await rm(lockFile(path), { force: true });
  }
}

/** Whether nobody wrote to it for long. */
async function isSilent(path: string): Promise<boolean> {
  const files = await readdir(path, { recursive: true }).catch(() => []);
  let newest = (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;
  for (const file of files) {
    const status = await stat(join(path, file)).catch(() => undefined);
    newest = Math.max(newest, status?.mtimeMs ?? 0);
  }
  return Date.now() - newest > abandonedAfter;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It lives, and belongs to another user.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * The artifact in whichever form it is there, and the data that ONNX keeps beside it: `model.onnx_data`,
 * `model.onnx_data_1`, `model.onnx.data`.
 */
async function filesOf(folder: string, artifact: string): Promise<string[]> {
  const names = await readdir(join(folder, dirname(artifact))).catch(() => []);
  const base = basename(artifact);
  return names
    .filter(
      (name) =>
        artifactOf(name) === base ||
        (name.startsWith(base) && /^[._]data(_\d+)?$/.test(name.slice(base.length))),
    )
    .map((name) => (dirname(artifact) === "." ? name : `${dirname(artifact)}/${name}`));
}

/** @returns false when there is something by now. */
async function renamed(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (
      ["ENOTEMPTY", "EEXIST", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "") &&
      (await exists(to))
    )
      return false;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

function ifMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
  throw error;
}
