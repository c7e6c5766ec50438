import { sep } from "node:path";
import {
  type ArtifactWish,
  artifactNotFoundError,
  dtypesToTry,
  hashFiles,
  requireContent,
} from "@crossrank/backend-kit";
import {
  type ArtifactInfo,
  type LoadRequest,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  ModelLoadError,
} from "@crossrank/core";
import { artifactPaths, dtypeOfPackage, dtypes, lengthPaths } from "./dtype.js";

/** A package among the model's files. */
export interface PackageChoice {
  /** Of the folder, relative to the model, e.g. `"mlpackage/model.mlpackage"`. */
  readonly path: string;
  /** Its files, the program first. */
  readonly files: readonly ModelFile[];
}

/** What to run, before it is fetched: one package, or one a sequence length. */
export interface ArtifactChoice {
  readonly dtype: string;
  readonly packages: readonly PackageChoice[];
}

/** Written by Core ML's tools into every package; the manifest names the rest. */
const manifestName = "Manifest.json";
const programEnding = ".mlmodel";
const weightsEnding = ".bin";
const usualProgram = "Data/com.apple.CoreML/model.mlmodel";

/**
 * The package named by `file`; else of the precision asked for, the profile's default, or fp16 before fp32.
 *
 * @throws {ModelFileNotFoundError} when it, or a part of it, is not there.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export function chooseArtifact(
  model: string,
  listed: readonly ModelFile[],
  wanted: ArtifactWish,
): ArtifactChoice {
  const packages = packagesOf(listed);
  const names = [...packages.keys()].sort();
  const choice = (dtype: string, paths: readonly string[]): ArtifactChoice => ({
    dtype,
    packages: paths.map((path) => wholePackage(model, path, packages.get(path) ?? [])),
  });
  if (wanted.file !== undefined) {
    if (packages.has(wanted.file)) return choice(dtypeOfPackage(wanted.file), [wanted.file]);
    const fix = "Name one of these in the option `file`.";
    throw new ModelFileNotFoundError({ model, expected: [wanted.file], found: names, fix });
  }
  const find = (dtype: string): readonly string[] => {
    const path = artifactPaths(dtype).find((name) => packages.has(name));
    return path === undefined ? lengthPaths(dtype, names) : [path];
  };
  for (const dtype of dtypesToTry(wanted, dtypes)) {
    const paths = find(dtype);
    if (paths.length > 0) return choice(dtype, paths);
  }
  throw artifactNotFoundError({
    model,
    expected: artifactPaths(wanted.dtype ?? "fp16"),
    dtypes,
    find,
    found: names,
    fixes: {
      named: "Name one of these in the option `file` of coreml().",
      none: "Convert the model with `crossrank convert --to mlpackage`.",
    },
  });
}

/**
 * Fetches the files of a package.
 *
 * @returns absolute path of the package's folder.
 * @throws {ModelLoadError} when one is a Git LFS pointer, when one that Core ML reads is empty, or when they do not lie
 *   together.
 */
export async function fetchPackage(
  files: ModelFiles,
  { path, files: parts }: PackageChoice,
  backend: string,
  options: Pick<LoadRequest, "signal" | "onProgress">,
): Promise<string> {
  const roots = new Set<string>();
  for (const part of parts) {
    const local = await files.localPath(part.path, options);
    options.signal?.throwIfAborted();
    if (part.size !== 0 || isRead(part.path)) {
      await requireContent({ model: files.id, backend, file: part.path }, local);
    }
    const inside = part.path.slice(path.length).split("/").join(sep);
    roots.add(local.endsWith(inside) ? local.slice(0, -inside.length) : local);
  }
  const [root = "", ...others] = roots;
  if (others.length === 0) return root;
  throw new ModelLoadError({
    model: files.id,
    backend,
    file: path,
    problem: `its files lie apart on this machine (${root}, ${others.join(", ")})`,
    fix: "Give the model as a folder",
  });
}

/** Whether Core ML reads it. Other files may be empty, such as a mark for Git to keep a folder. */
function isRead(path: string): boolean {
  return path.endsWith(programEnding) || path.endsWith(weightsEnding) || path.endsWith(`/${manifestName}`);
}

/** What was loaded, with the source's hashes, or the files' own where the source has none. */
export async function describeArtifact(
  files: ModelFiles,
  { dtype, packages }: ArtifactChoice,
  signal: AbortSignal | undefined,
): Promise<ArtifactInfo> {
  const chosen = packages.flatMap((one) => one.files);
  return { format: "mlpackage", dtype, files: await hashFiles(files, chosen, signal) };
}

/** Folders that end in .mlpackage, with their files. */
function packagesOf(listed: readonly ModelFile[]): ReadonlyMap<string, readonly ModelFile[]> {
  const packages = new Map<string, ModelFile[]>();
  for (const file of listed) {
    const path = /^(?:.*?\/)?[^/]+\.mlpackage(?=\/)/.exec(file.path)?.[0];
    if (path !== undefined) packages.set(path, [...(packages.get(path) ?? []), file]);
  }
  return packages;
}

function wholePackage(model: string, path: string, files: readonly ModelFile[]): PackageChoice {
  const programs = files.filter((file) => file.path.endsWith(programEnding));
  const missing = [
    ...(files.some((file) => file.path === `${path}/${manifestName}`) ? [] : [manifestName]),
    ...(programs.length > 0 ? [] : [usualProgram]),
  ];
  if (missing.length > 0) {
    throw new ModelFileNotFoundError({
      model,
      expected: missing.map((name) => `${path}/${name}`),
      found: files.map((file) => file.path),
      fix: "A part of the package is missing: download or convert it again.",
    });
  }
  const others = files.filter((file) => !programs.includes(file));
  const byPath = (a: ModelFile, b: ModelFile): number => (a.path < b.path ? -1 : 1);
  return { path, files: [...programs.sort(byPath), ...others.sort(byPath)] };
}
