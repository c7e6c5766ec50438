import { lstat, realpath } from "node:fs/promises";
import { posix, sep } from "node:path";
import type { ArtifactPort } from "@crossrank/backend-kit";
import type { ModelFile, ModelFiles, ProfileReading } from "@crossrank/core";
import { readProfile } from "@crossrank/core";
import { isFolderSource } from "@crossrank/hub";
import { classesOfArtifact, inspectArtifacts } from "../commands/inspect/artifacts.js";
import { openModelSource } from "../model-source.js";
import { hashModelFile, sideFilesAmong } from "../publish/side-files.js";
import { isLitter } from "./litter.js";
import { CardError } from "./markers.js";

/** A file by its content. */
export interface HashedFile {
  /** Relative to the folder. */
  readonly path: string;
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** One artifact of the folder, in one precision. */
export interface CardArtifact {
  readonly backend: string;
  readonly format: string;
  readonly dtype: string;
  /** A file, or the folder that is one artifact. */
  readonly path: string;
  /** Everything that it consists of. */
  readonly files: readonly HashedFile[];
  readonly inputs: readonly ArtifactPort[];
  readonly outputs: readonly ArtifactPort[];
  readonly facts: Readonly<Record<string, string>>;
  readonly quantisation: string | undefined;
}

/** What a folder's own files say of the model in it. */
export interface ModelFacts {
  readonly folder: string;
  readonly files: ModelFiles;
  readonly listed: readonly ModelFile[];
  readonly reading: ProfileReading;
  readonly artifacts: readonly CardArtifact[];
  /** Where each lies when it is published, and what it is: configuration, tokenizer, goldens. */
  readonly side: ReadonlyMap<string, HashedFile>;
  /** config.json and the like, as they stand; empty where there is none. */
  readonly documents: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** Bytes of a JSON file that is read for a card. */
const largestDocument = 64 << 20;

/**
 * Reads a folder. Hashes every file that would be published.
 *
 * @throws {CardError} where it is no folder of this machine, or has no artifact.
 * @throws what reading the model throws.
 */
export async function readModelFacts(folder: string, signal: AbortSignal): Promise<ModelFacts> {
  if (!(await isFolderSource(folder))) {
    throw new CardError({
      card: folder,
      problem: "this is no folder of this machine",
      fix: "Name the folder of the model that is to be published",
    });
  }
  const files = await openModelSource(folder, { offline: true, convert: false, signal });
  const listed = [...(await files.list({ signal }))].sort((a, b) => (a.path < b.path ? -1 : 1));
  const paths = listed.map(({ path }) => path);
  const reading = await readProfile(files, {}, signal, () =>
    classesOfArtifact(files, { asked: undefined, offline: true, signal }),
  );
  const inspected = await inspectArtifacts(files, listed, {
    asked: undefined,
    profile: reading.profile,
    offline: true,
    signal,
  });
  // The weights of which every format is made are an artifact where there is no other.
  const made = inspected.filter(({ backend }) => backend !== "mlx");
  const artifacts: CardArtifact[] = [];
  for (const one of made.length > 0 ? made : inspected) {
    const path = unitOf(one.path, paths);
    const parts = listed.filter(
      (file) =>
        !isLitter(file.path) &&
        (file.path === path ||
          file.path.startsWith(`${path}/`) ||
          (one.description?.files ?? []).includes(file.path) ||
          isPartOf(file.path, one.path)),
    );
    const hashed: HashedFile[] = [];
    for (const part of parts) hashed.push(await hashOf(files, part, signal));
    artifacts.push({
      backend: one.backend,
      format: formatNames[one.backend] ?? one.backend,
      dtype: one.dtype === "?" ? (one.description?.dtype ?? "?") : one.dtype,
      path,
      files: hashed,
      quantisation: one.description?.quantisation,
      ...(path.endsWith(".mlpackage")
        ? await packagePorts(files, parts, path, signal)
        : {
            inputs: one.description?.inputs ?? [],
            outputs: one.description?.outputs ?? [],
            facts: one.description?.facts ?? {},
          }),
    });
  }
  if (artifacts.length === 0) {
    throw new CardError({
      card: folder,
      problem: "there is no artifact in it that a backend runs",
      fix: "Convert the model first: crossrank convert",
    });
  }
  const side = new Map<string, HashedFile>();
  for (const [target, path] of sideFilesAmong(paths)) {
    const file = listed.find((one) => one.path === path) as ModelFile;
    side.set(target, await hashOf(files, file, signal));
  }
  const documents: Record<string, Readonly<Record<string, unknown>>> = {};
  for (const name of [
    "config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "provenance.json",
    "golden.json",
  ])
    documents[name] = await readDocument(files, listed, name, signal);
  return { folder, files, listed, reading, artifacts, side, documents };
}

const formatNames: Readonly<Record<string, string>> = {
  onnx: "onnx",
  llamacpp: "gguf",
  mnn: "mnn",
  coreml: "mlpackage",
  ctranslate2: "ctranslate2",
  mlx: "safetensors",
};

/** The folder that is one artifact, or the file. */
function unitOf(path: string, paths: readonly string[]): string {
  const packaged = /^(.*?\.(?:mlpackage|ctranslate2))(?:\/|$)/i.exec(path)?.[1];
  if (packaged !== undefined) return packaged;
  const folder = posix.dirname(path);
  // CTranslate2's own files beside its model.bin, among them another config.json.
  if (posix.basename(path) === "model.bin" && folder !== "." && paths.includes(`${folder}/config.json`))
    return folder;
  return path;
}

/** Weights beside a graph, parts of a split file, and the index of shards. */
function isPartOf(path: string, main: string): boolean {
  if (path === main || posix.dirname(path) !== posix.dirname(main)) return false;
  if (path.startsWith(`${main}.`) || path === `${main}_data`) return true;
  const split = (name: string): string | undefined =>
    /^(.*)-\d{5}-of-(\d{5}\.[a-z]+)$/.exec(name)?.slice(1).join();
  if (split(main) !== undefined && split(path) === split(main)) return true;
  return (
    /\.safetensors$/.test(main) &&
    (path === `${posix.join(posix.dirname(main), "model.safetensors.index.json")}` ||
      (split(main) !== undefined && split(path) === split(main)))
  );
}

async function packagePorts(
  files: ModelFiles,
  parts: readonly ModelFile[],
  path: string,
  signal: AbortSignal,
): Promise<Pick<CardArtifact, "inputs" | "outputs" | "facts">> {
  const formats = await import("@crossrank/formats/mlpackage");
  const [first] = parts;
  if (first === undefined) return { inputs: [], outputs: [], facts: {} };
  const local = (await files.localPath(first.path, { signal })).slice(0, -(first.path.length - path.length));
  const report = await formats.describeModelPackage(await formats.openModelPackage(local, { signal }));
  const port = ({ name, type }: (typeof report.inputs)[number]): ArtifactPort[] => {
    if (type.kind !== "multi-array") return [{ name, type: undefined, shape: undefined }];
    const { flexibility } = type;
    const shapes =
      flexibility?.kind === "enumerated"
        ? [type.shape, ...flexibility.shapes.map((one) => [...one])]
        : [type.shape];
    const different = [...new Map(shapes.map((shape) => [shape.join(), shape])).values()];
    if (different.length === 1) return [{ name, type: type.element, shape: different[0] ?? [] }];
    // Dimensions that differ are written as the values that they take.
    const merged = (different[0] ?? []).map((_, at) => {
      const values = [...new Set(different.map((shape) => shape[at]))].sort((a, b) => Number(a) - Number(b));
      return values.length === 1 ? Number(values[0]) : values.join("/");
    });
    return [{ name, type: type.element, shape: merged }];
  };
  return {
    inputs: report.inputs.flatMap(port),
    outputs: report.outputs.flatMap((one) => {
      const [found] = port(one);
      const inProgram = one.inProgram?.dimensions.map((size) => size ?? "any");
      return found === undefined ? [] : [{ ...found, shape: found.shape?.length ? found.shape : inProgram }];
    }),
    facts: {
      kind: report.kind,
      "specification version": String(report.specificationVersion),
      ...(report.weights.length === 0
        ? {}
        : { weights: report.weights.map(({ element, tensors }) => `${tensors} of ${element}`).join(", ") }),
      operations: String(Object.values(report.operations).reduce((sum, count) => sum + count, 0)),
    },
  };
}

async function hashOf(
  files: ModelFiles,
  { path, size }: ModelFile,
  signal: AbortSignal,
): Promise<HashedFile> {
  return { path, size, sha256: await hashModelFile(files, path, signal) };
}

async function readDocument(
  files: ModelFiles,
  listed: readonly ModelFile[],
  path: string,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  const file = listed.find((one) => one.path === path);
  if (file === undefined || file.size > largestDocument) return {};
  try {
    const value: unknown = JSON.parse((await files.readText(path, { signal })).replace(/^\ufeff/, ""));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/** @throws {CardError} for a file of the folder that is a link out of it. */
export async function requireInside(folder: string, path: string, local: string): Promise<void> {
  const [root, target, status] = await Promise.all([realpath(folder), realpath(local), lstat(local)]);
  if (
    target.startsWith(root.endsWith(sep) ? root : root + sep) &&
    (status.isFile() || status.isSymbolicLink())
  )
    return;
  throw new CardError({
    card: folder,
    problem: `${path} is a link to a file outside of the folder`,
    fix: "Copy the file into the folder",
  });
}
