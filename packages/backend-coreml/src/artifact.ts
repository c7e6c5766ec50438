import { sep } from "node:path";
import {
  type ArtifactFormat,
  type ArtifactWish,
  chooseArtifact,
  type FoundArtifact,
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

/** Packages among a model's files: of each precision the best place alone, or there its packages of one length each. */
export function artifactsAmong(paths: readonly string[]): readonly FoundArtifact[] {
  const packages = packagePaths(paths);
  return dtypes.flatMap((dtype) => {
    const path = artifactPaths(dtype).find((candidate) => packages.includes(candidate));
    const found = path === undefined ? lengthPaths(dtype, packages) : [path];
    return found.map((one) => ({ dtype, path: one }));
  });
}

/** Folders of packages that the files lie in, each once. */
export function packagePaths(paths: readonly string[]): readonly string[] {
  return [...new Set(paths.flatMap((path) => packageOf(path) ?? []))].sort();
}

const format: ArtifactFormat = {
  dtypes,
  artifacts: artifactsAmong,
  candidates: packagePaths,
  expected: artifactPaths,
  fixes: {
    named: "Name one of these in the option `file` of coreml().",
    none: "Where the model has safetensors, write it from them with `crossrank convert --to mlpackage`; else choose the backend of the format that it comes in.",
  },
};

/**
 * The package, or the packages of one length each, by the rule of all backends.
 *
 * @throws {ModelFileNotFoundError} when it, or a part of it, is not there.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export function choosePackages(
  model: string,
  listed: readonly ModelFile[],
  wish: ArtifactWish,
): ArtifactChoice {
  const { dtype, paths } = chooseArtifact(
    model,
    listed.map(({ path }) => path),
    wish,
    format,
  );
  const packages = paths.map((path) =>
    wholePackage(
      model,
      path,
      listed.filter((file) => packageOf(file.path) === path),
    ),
  );
  return { dtype: dtype ?? dtypeOfPackage(paths[0]), packages };
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

function packageOf(path: string): string | undefined {
  return /^(?:.*?\/)?[^/]+\.mlpackage(?=\/)/.exec(path)?.[0];
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
