import {
  type ArtifactFormat,
  type ArtifactWish,
  chooseArtifact,
  type FoundArtifact,
  hashFiles,
  requireContent,
} from "@crossrank/backend-kit";
import type { ArtifactInfo, LoadRequest, ModelFile, ModelFiles } from "@crossrank/core";
import { artifactPaths, dtypes, modelFile } from "./dtype.js";

/** What lies beside model.bin, and is read from here. */
export const configFile = "config.json";
export const classifierFile = "classifier.safetensors";

/** Which model.bin to run, before it is fetched. */
export interface ArtifactChoice {
  readonly file: ModelFile;
  /** Of the files beside it: "" for the model's root, else with a slash at its end. */
  readonly folder: string;
  /** Of those, the ones that are there. */
  readonly beside: ReadonlyMap<string, ModelFile>;
  /** The spellings of its tokens; no number is made of them. */
  readonly vocabulary: ModelFile;
}

/** An artifact on this machine. */
export interface LocalArtifact {
  readonly modelPath: string;
  readonly bytes: number;
}

/** Artifacts among a model's files: of each precision the best place alone, and those whose place does not say one. */
export function artifactsAmong(paths: readonly string[]): readonly FoundArtifact[] {
  const named = dtypes.flatMap((dtype) => {
    const path = artifactPaths(dtype).find((candidate) => paths.includes(candidate));
    return path === undefined ? [] : [{ dtype, path }];
  });
  const places = new Set(dtypes.flatMap(artifactPaths));
  const others = modelPaths(paths).filter((path) => !places.has(path));
  return [...named, ...others.map((path) => ({ dtype: "?", path }))];
}

/**
 * Every model.bin with CTranslate2's own vocabulary beside it: other programs call their files so, too.
 */
export function modelPaths(paths: readonly string[]): readonly string[] {
  const all = new Set(paths);
  return paths
    .filter((path) => {
      const folder = folderOf(path);
      if (path !== `${folder}${modelFile}`) return false;
      return vocabularies.some((name) => all.has(folder + name));
    })
    .sort();
}

const vocabularies = ["vocabulary.json", "vocabulary.txt"];

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}

const format: ArtifactFormat = {
  dtypes,
  artifacts: artifactsAmong,
  candidates: modelPaths,
  expected: artifactPaths,
  accepts: () => true,
  fixes: {
    named: "Name one of these in the option `file` of ctranslate2().",
    none: "Where the model has safetensors, write it from them with `crossrank convert --to ctranslate2`; else choose the backend of the format that it comes in.",
  },
};

/**
 * The artifact by the rule of all backends.
 *
 * @throws {ModelFileNotFoundError} when it is not there.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export function chooseModel(model: string, listed: readonly ModelFile[], wish: ArtifactWish): ArtifactChoice {
  const byPath = new Map(listed.map((file) => [file.path, file]));
  const paths = [...byPath.keys()];
  // The folder stands for its file.
  const inFolder = `${wish.file?.replace(/\/$/, "")}/${modelFile}`;
  const named = wish.file !== undefined && byPath.has(inFolder) ? { ...wish, file: inFolder } : wish;
  const [path] = chooseArtifact(model, paths, named, format).paths;
  const folder = folderOf(path);
  const beside = [configFile, classifierFile].flatMap((name) => {
    const file = byPath.get(folder + name);
    return file === undefined ? [] : [[name, file] as const];
  });
  // Without one it is no candidate. CTranslate2 takes the first, too.
  const vocabulary = vocabularies.map((name) => byPath.get(folder + name)).find((one) => one !== undefined);
  return {
    file: byPath.get(path) as ModelFile,
    folder,
    beside: new Map(beside),
    vocabulary: vocabulary as ModelFile,
  };
}

/** @throws {ModelLoadError} when the file is empty or a Git LFS pointer. */
export async function fetchArtifact(
  files: ModelFiles,
  { file: { path } }: ArtifactChoice,
  options: Pick<LoadRequest, "signal" | "onProgress">,
): Promise<LocalArtifact> {
  const modelPath = await files.localPath(path, options);
  options.signal?.throwIfAborted();
  const bytes = await requireContent({ model: files.id, backend: "ctranslate2", file: path }, modelPath);
  return { modelPath, bytes };
}

/** What was loaded, with the source's hashes, or the files' own where the source has none. */
export async function describeArtifact(
  files: ModelFiles,
  { file, beside }: ArtifactChoice,
  { dtype, others }: { readonly dtype: string; readonly others: readonly ModelFile[] },
  signal: AbortSignal | undefined,
): Promise<ArtifactInfo> {
  const own = [...beside.values()].filter((one) => !others.includes(one));
  return { format: "ctranslate2", dtype, files: await hashFiles(files, [file, ...own, ...others], signal) };
}
