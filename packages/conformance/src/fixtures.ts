import { existsSync, readdirSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type Family,
  InvalidInputError,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
} from "@crossrank/core";
import type { Fixture } from "./fixture.js";
import type { ModelCopy, Platform } from "./platform.js";

export type { ModelCopy };

/** Of this package, beside `src` and `dist` alike. */
const ownFolder: string = fileURLToPath(new URL("../fixtures", import.meta.url));

/** Names of this package's own fixtures, in alphabetical order. */
export function fixtureNames(): string[] {
  if (!existsSync(ownFolder)) return [];
  return readdirSync(ownFolder)
    .filter((name) => existsSync(join(ownFolder, name, "golden.json")))
    .sort();
}

/** Which of this package's own fixtures to open: those that meet every condition given. */
export interface FixtureFilter {
  /** Families of the models, e.g. `backend.families`. Default: all. */
  readonly families?: readonly Family[] | undefined;
  /** Names of fixtures. Default: all. */
  readonly names?: readonly string[] | undefined;
}

/**
 * This package's own fixtures, by name or by family.
 * @param wanted names, or a filter. Default: all there are, in alphabetical order.
 * @throws {InvalidInputError} when a name is that of no fixture, or no fixture meets the filter.
 */
export function openFixtures(wanted: readonly string[] | FixtureFilter = {}): Fixture[] {
  const known = fixtureNames();
  const { families, names = known }: FixtureFilter = isNames(wanted) ? { names: wanted } : wanted;
  for (const name of names) {
    if (known.includes(name)) continue;
    throw new InvalidInputError("names", `has no fixture "${name}"; there are ${known.join(", ")}`);
  }
  const chosen = names.filter((name) => families === undefined || families.includes(familyOf(name)));
  if (chosen.length === 0 && names.length > 0) {
    const present = [...new Set(names.map(familyOf))].sort().join(", ");
    throw new InvalidInputError(
      "families",
      `match no fixture: asked for ${families?.join(", ") || "none"}, and there are ${present}`,
    );
  }
  return chosen.map((name) => ({ name, files: openFolder(join(ownFolder, name), name) }));
}

function isNames(wanted: readonly string[] | FixtureFilter): wanted is readonly string[] {
  return Array.isArray(wanted);
}

/** Families of the fixtures, by their names. A test holds it against their profiles. */
const familyByName: readonly (readonly [pattern: RegExp, family: Family])[] = [
  [/^(bert|qwen3)-cosine-/, "bi-encoder"],
  [/-listwise$/, "listwise"],
  [/-late(-original)?$/, "late-interaction"],
  [/^(qwen|gemma)/, "causal-lm"],
];

function familyOf(name: string): Family {
  return familyByName.find(([pattern]) => pattern.test(name))?.[1] ?? "cross-encoder";
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

/**
 * Copies a model to a temporary folder, one file of it changed.
 * @param change from the file's bytes to what it should hold instead; undefined leaves the file out.
 */
export async function copyWith(
  files: ModelFiles,
  path: string,
  change: (bytes: Uint8Array) => Uint8Array | undefined,
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

/** What keeps the process alive, by kind. */
function activeResources(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/** Node.js, with files on the disk. */
export const nodePlatform: Platform = { copyWith, activeResources };
