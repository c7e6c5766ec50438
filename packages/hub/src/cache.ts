import { randomBytes } from "node:crypto";
import { copyFile, mkdir, readFile, realpath, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { FileWriteError, writeWholeFile } from "@crossrank/disk";
import { CacheError } from "./errors.js";
import type { RepositoryKind } from "./repository-kind.js";

/** As every client of the hub names the folder of a repository, e.g. `models--BAAI--bge-reranker-base`. */
function folderNameOf(kind: RepositoryKind, name: string): string {
  return [`${kind}s`, ...name.split("/")].join("--");
}

/** A full commit hash, the only revision that never moves. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/**
 * One repository's folder in the cache, laid out as Python's huggingface_hub lays it out, so that each uses what the
 * other downloaded (https://huggingface.co/docs/huggingface_hub/guides/manage-cache):
 *
 * ```
 * models--owner--name/             datasets--owner--name/ for a dataset, and the same below
 *   refs/main                      the commit that `main` was when it was last asked for
 *   blobs/<sha256 or git blob id>  the content
 *   snapshots/<commit>/<path>      a relative link to the blob, or a file where links do not work
 *   trees/<commit>.json            the commit's file listing
 *   .no_exist/<commit>/<path>      Python's note that the commit has no such file; only read here
 * ```
 */
export class RepositoryCache {
  /** The repository's id. */
  readonly model: string;
  readonly kind: RepositoryKind;
  /** The folder of all repositories, absolute. */
  readonly cacheFolder: string;
  /** This repository's folder in it. */
  readonly repositoryFolder: string;
  readonly #symlinks: boolean;

  constructor(facts: { kind: RepositoryKind; model: string; cacheFolder: string; symlinks: boolean }) {
    this.model = facts.model;
    this.kind = facts.kind;
    this.cacheFolder = resolve(facts.cacheFolder);
    const { kind: type, model: name } = facts;
    this.repositoryFolder = join(this.cacheFolder, folderNameOf(type, name));
    this.#symlinks = facts.symlinks;
  }

  blobPath(name: string): string {
    return join(this.repositoryFolder, "blobs", name);
  }

  snapshotFolder(commit: string): string {
    return join(this.repositoryFolder, "snapshots", commit);
  }

  /** `path` must have passed `checkRelativePath`. */
  snapshotPath(commit: string, path: string): string {
    return join(this.snapshotFolder(commit), ...path.split("/"));
  }

  treePath(commit: string): string {
    return join(this.repositoryFolder, "trees", `${commit}.json`);
  }

  /** The commit noted for a branch or tag; undefined when there is none. */
  async readRef(revision: string): Promise<string | undefined> {
    const text = await readIfThere(join(this.repositoryFolder, "refs", ...revision.split("/")));
    const commit = text?.trim();
    return commit !== undefined && isCommit(commit) ? commit : undefined;
  }

  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.readRef(revision)) === commit) return;
    // As in Python without a newline: it compares the file's whole text.
    await this.writeAtomically(join(this.repositoryFolder, "refs", ...revision.split("/")), commit);
  }

  async isKnownAbsent(commit: string, path: string): Promise<boolean> {
    return isFile(join(this.repositoryFolder, ".no_exist", commit, ...path.split("/")));
  }

  /**
   * Makes `snapshots/<commit>/<path>` stand for the blob. Where links do not work, a blob that was just downloaded
   * (`fresh`) moves there, and another is copied, since something else may use it.
   */
  async link(blobName: string, commit: string, path: string, fresh: boolean): Promise<void> {
    const blob = this.blobPath(blobName);
    const target = this.snapshotPath(commit, path);
    await this.writing(target, async () => {
      await mkdir(dirname(target), { recursive: true });
      const temporary = temporaryName(target);
      try {
        if (!(this.#symlinks && (await trySymlink(relative(dirname(target), blob), temporary)))) {
          await (fresh ? rename(blob, temporary) : copyFile(blob, temporary));
        }
        await rename(temporary, target);
      } catch (error) {
        await rm(temporary, { force: true });
        // Another process that downloaded the same file moved the blob there first.
        if (!(await isFile(target))) throw error;
      }
    });
  }

  /** Removes a damaged file: the snapshot's entry and the blob behind it. */
  async remove(commit: string, path: string): Promise<void> {
    const target = this.snapshotPath(commit, path);
    await this.writing(target, async () => {
      const content = await realpath(target).catch(() => target);
      await rm(content, { force: true });
      await rm(target, { force: true });
    });
  }

  async writeAtomically(target: string, text: string): Promise<void> {
    await this.writing(target, async () => {
      await writeWholeFile(target, text);
    });
  }

  /** Names the path in what the file system throws. */
  async writing<Result>(path: string, task: () => Promise<Result>): Promise<Result> {
    try {
      return await task();
    } catch (error) {
      if (error instanceof FileWriteError || (error instanceof Error && "syscall" in error)) {
        throw new CacheError({ model: this.model, path }, { cause: error });
      }
      throw error;
    }
  }
}

async function trySymlink(content: string, path: string): Promise<boolean> {
  try {
    await symlink(content, path);
    return true;
  } catch {
    return false;
  }
}

function temporaryName(target: string): string {
  return `${target}.${randomBytes(4).toString("hex")}.tmp`;
}

export async function isFile(path: string): Promise<boolean> {
  return (await sizeOf(path)) !== undefined;
}

/** Bytes of a file, links followed; undefined when there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const status = await stat(path);
    return status.isFile() ? status.size : undefined;
  } catch {
    return undefined;
  }
}

export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return undefined;
  }
}
