import { copyFile, mkdir, open, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  type CrossrankJson,
  type HeadModule,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  type ModelProfile,
} from "@crossrank/core";
import { openSafetensors } from "@crossrank/core/files";
import type { Goldens } from "@crossrank/core/verify";
import { UnsupportedConversionError } from "./errors.js";

/**
 * What a converted model carries along although no number depends on it: what it is held against, other programs'
 * settings, and its licence.
 */
const companions =
  /^(golden\.json|special_tokens_map\.json|generation_config\.json|added_tokens\.json|(LICEN[CS]E|NOTICE)[^/]*)$/i;

/**
 * Watches which files are read as text, so that a copy of the model holds exactly those from which its profile was
 * read.
 */
export function recordReads(files: ModelFiles): {
  readonly files: ModelFiles;
  readonly read: ReadonlySet<string>;
} {
  const read = new Set<string>();
  return {
    read,
    files: {
      id: files.id,
      revision: files.revision,
      base: files.base,
      list: (options) => files.list(options),
      readText: (path, options) => {
        read.add(path);
        return files.readText(path, options);
      },
      readBytes: (path, range, options) => files.readBytes(path, range, options),
      localPath: (path, options) => files.localPath(path, options),
    },
  };
}

export interface ModelCopy {
  readonly files: ModelFiles;
  readonly profile: ModelProfile;
  /** Files that the profile was read from. */
  readonly read: ReadonlySet<string>;
  /** Files that hold the model's weights. */
  readonly weights: readonly string[];
  /** What neither the files nor the caller say, of the catalogue of published models: goes into the copy's crossrank.json. */
  readonly catalogued: CrossrankJson | undefined;
  /** What the caller knows better than the files; goes into the copy's crossrank.json. */
  readonly overrides: CrossrankJson | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * Copies a model without its large weights.
 *
 * @returns paths relative to the folder.
 * @throws {UnsupportedConversionError} when the head reads tensors of the weights themselves.
 */
export async function copyModel(copy: ModelCopy, folder: string): Promise<readonly string[]> {
  const { files, profile, read, weights, catalogued, overrides, signal } = copy;
  const listed = new Set((await files.list({ signal })).map(({ path }) => path));
  const modules = "modules" in profile.head ? (profile.head.modules ?? []) : [];
  const heads = modules.flatMap((module) => ("file" in module ? [module.file] : []));
  const inWeights = heads.find((path) => weights.includes(path));
  const moved = inWeights === undefined ? undefined : await projectionOf(files, profile, weights, signal);
  if (inWeights !== undefined && moved === undefined) {
    throw new UnsupportedConversionError({
      model: files.id,
      format: "description",
      problem: `its head reads tensors of ${inWeights}, which does not go with the artifact`,
      fix: "Put these tensors into a safetensors file of their own and name it in crossrank.json.",
    });
  }
  const wanted = [
    ...read,
    ...heads.filter((path) => !weights.includes(path)),
    ...[...listed].filter((path) => companions.test(path)),
  ];
  const paths = [...new Set(wanted.filter((path) => listed.has(path)))];
  for (const path of paths) {
    const target = join(folder, ...path.split("/"));
    await mkdir(dirname(target), { recursive: true });
    await copyFile(await files.localPath(path, { signal }), target);
    signal?.throwIfAborted();
  }
  if (moved !== undefined) {
    await writeFile(join(folder, projectionFile), moved.bytes);
    paths.push(projectionFile);
  }
  const head = moved && { head: moved.head };
  const added = { ...catalogued, ...overrides, ...head };
  if (Object.keys(added).length === 0) return paths;
  const own = join(folder, "crossrank.json");
  const before = listed.has("crossrank.json") ? (JSON.parse(await readFile(own, "utf8")) as object) : {};
  await writeFile(
    own,
    `${JSON.stringify({ ...catalogued, ...before, ...overrides, ...head }, undefined, 2)}\n`,
  );
  return [...new Set([...paths, "crossrank.json"])];
}

/** Of a copy, the tensors of a projection that lay among the weights. */
const projectionFile = "projection.safetensors";

/**
 * A late-interaction model's projection out of its weights, as a file of its own in float32, and the head that names it
 * there; undefined for other heads.
 */
async function projectionOf(
  files: ModelFiles,
  { head }: ModelProfile,
  weights: readonly string[],
  signal: AbortSignal | undefined,
): Promise<{ readonly bytes: Uint8Array; readonly head: ModelProfile["head"] } | undefined> {
  if (head.kind !== "max-sim") return undefined;
  const parts: Uint8Array[] = [];
  const header: Record<string, unknown> = {};
  let end = 0;
  const modules: HeadModule[] = [];
  for (const module of head.modules ?? []) {
    if (module.kind !== "dense" || !weights.includes(module.file)) {
      modules.push(module);
      continue;
    }
    const opened = await openSafetensors(files, module.file, { signal });
    for (const name of [module.weight, module.bias, module.residualWeight]) {
      if (name === undefined || Object.hasOwn(header, name)) continue;
      const { shape, data } = await opened.read(name);
      const bytes = new Uint8Array(Float32Array.from(data).buffer);
      header[name] = { dtype: "F32", shape, data_offsets: [end, end + bytes.length] };
      end += bytes.length;
      parts.push(bytes);
    }
    modules.push({ ...module, file: projectionFile });
  }
  const text = JSON.stringify(header);
  const described = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(described.length));
  return { bytes: Buffer.concat([length, described, ...parts]), head: { ...head, modules } };
}

/** Puts a golden.json into a folder, so that `crossrank verify` has something to hold the model against there. */
export async function writeGoldens(goldens: Goldens, folder: string): Promise<string> {
  await writeFile(join(folder, "golden.json"), `${JSON.stringify(goldens, undefined, 2)}\n`);
  return "golden.json";
}

/** A folder of ours as a model, under the name by which the user will know it. */
export function openStaged(folder: string, id: string): ModelFiles {
  const list = async (): Promise<readonly ModelFile[]> => {
    const found: ModelFile[] = [];
    for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
      if (!entry.isFile()) continue;
      const local = join(entry.parentPath, entry.name);
      const path = local.slice(folder.length + 1).replaceAll("\\", "/");
      found.push({ path, size: (await stat(local)).size });
    }
    return found;
  };
  const localPath = async (path: string): Promise<string> => {
    const local = join(folder, ...path.split("/"));
    if ((await stat(local).catch(() => undefined))?.isFile()) return local;
    throw new ModelFileNotFoundError({
      model: id,
      expected: [path],
      found: (await list()).map((file) => file.path),
      fix: "This is a fault of @crossrank/convert: the copy of the model lacks a file.",
    });
  };
  return {
    id,
    revision: undefined,
    list,
    localPath,
    readText: async (path) => readFile(await localPath(path), "utf8"),
    readBytes: async (path, { start, end }) => {
      const handle = await open(await localPath(path));
      try {
        const { size } = await handle.stat();
        const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start));
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
        return bytes.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    },
  };
}
