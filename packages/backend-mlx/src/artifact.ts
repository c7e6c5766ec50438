import {
  type ArtifactFormat,
  type ArtifactWish,
  chooseArtifact,
  type FoundArtifact,
  knownDtype,
} from "@crossrank/backend-kit";
import { type FileRequestOptions, ModelFileNotFoundError, type ModelFiles } from "@crossrank/core";
import { dtypes, precisionOf } from "./dtype.js";
import type { Compute } from "./native.js";
import type { Quantisation } from "./weights/quantised-folder.js";
import { openQuantisedFolder, type QuantisedFolder, quantisationOf } from "./weights/quantised-folder.js";

const single = "model.safetensors";
const index = "model.safetensors.index.json";

/** Every path at the top of the model that holds weights, or says which files do. */
export function weightPaths(paths: readonly string[]): readonly string[] {
  const isWhole = (path: string): boolean =>
    /^[^/]+\.safetensors$/.test(path) && !/-\d+-of-\d+\.safetensors$|^adapter/.test(path);
  const hasSingle = paths.includes(single);
  return paths.filter((path) => (path === index && !hasSingle) || isWhole(path)).sort();
}

/** The model's weights in every precision, which is made when they are loaded. */
export function artifactsAmong(paths: readonly string[]): readonly FoundArtifact[] {
  const whole = weightPaths(paths);
  const path =
    [single, index].find((one) => whole.includes(one)) ?? (whole.length === 1 ? whole[0] : undefined);
  return path === undefined ? [] : dtypes.map((dtype) => ({ dtype, path }));
}

const format: ArtifactFormat = {
  dtypes,
  artifacts: artifactsAmong,
  candidates: weightPaths,
  expected: () => [single, index],
  fixes: {
    named: "Name the file with the weights in the option `file` of mlx().",
    none: "MLX runs the model's own safetensors: take the repository that holds them, or the backend of the format that this one comes in.",
  },
};

/** The weights to run, and how. */
export interface Choice {
  readonly dtype: string;
  /** The file, or the index of several. */
  readonly path: string;
  /** The model's files as its description is made from them: the weights chosen alone, and none of them packed. */
  readonly files: ModelFiles;
  readonly folder: QuantisedFolder | undefined;
  readonly compute: Compute;
  /** For matrices of floats. */
  readonly quantisation: Quantisation | undefined;
}

/**
 * @throws {ModelFileNotFoundError} when there are no weights, or those that MLX has quantised are asked for in another
 *   precision.
 * @throws {InvalidInputError} when `dtype` is no precision.
 * @throws {ModelProfileError} when config.json and the weights do not fit each other.
 */
export async function chooseWeights(
  files: ModelFiles,
  wish: ArtifactWish,
  options: {
    readonly compute?: Compute | undefined;
    readonly group?: number | undefined;
  } & FileRequestOptions,
): Promise<Choice> {
  const { signal, compute, group = 64 } = options;
  const paths = (await files.list({ signal })).map(({ path }) => path);
  const config = await readConfig(files, paths, { signal });
  if (quantisationOf(config) !== undefined) {
    // What it is called by its bits is another precision than that of the name made here.
    const chosen = chooseArtifact(
      files.id,
      paths,
      { ...wish, dtype: undefined, defaultDtype: undefined },
      format,
    );
    const folder = await openQuantisedFolder(onlyWeights(files, chosen.paths[0]), config, { signal });
    const dtype = `q${folder.bits}`;
    if (wish.dtype !== undefined && wish.dtype.toLowerCase() !== dtype)
      throw new ModelFileNotFoundError({
        model: files.id,
        expected: [`weights of dtype ${wish.dtype}`],
        found: [`${dtype} (${chosen.paths[0]}, as MLX has quantised it)`],
        fix: `Pass dtype ${dtype}, or take the model's own weights.`,
      });
    return {
      dtype,
      path: chosen.paths[0],
      files: folder.files,
      folder,
      compute: compute ?? "float32",
      quantisation: undefined,
    };
  }
  const chosen = chooseArtifact(files.id, paths, wish, format);
  const dtype = chosen.dtype ?? knownDtype(wish.dtype ?? "", dtypes) ?? (dtypes[0] as string);
  const precision = precisionOf(dtype);
  return {
    dtype,
    path: chosen.paths[0],
    files: onlyWeights(files, chosen.paths[0]),
    folder: undefined,
    compute: compute ?? precision.compute,
    quantisation: precision.bits === undefined ? undefined : { bits: precision.bits, group },
  };
}

/** config.json; empty where there is none. */
export async function readConfig(
  files: ModelFiles,
  paths: readonly string[],
  options: FileRequestOptions,
): Promise<Readonly<Record<string, unknown>>> {
  return paths.includes("config.json") ? asConfig(await files.readText("config.json", options)) : {};
}

/** Whether a path says which files hold weights, and holds none itself. */
export function isIndex(path: string): boolean {
  return path === index;
}

/** The model without the other weights at its top, so that what is described is what was chosen. */
export function onlyWeights(files: ModelFiles, path: string): ModelFiles {
  if (path === single || path === index) return files;
  return {
    id: files.id,
    revision: files.revision,
    list: async (options) =>
      (await files.list(options)).filter((file) => file.path === path || !isWeights(file.path)),
    readText: (name, options) => files.readText(name, options),
    readBytes: (name, range, options) => files.readBytes(name, range, options),
    localPath: (name, options) => files.localPath(name, options),
  };
}

function isWeights(path: string): boolean {
  return path === index || /^[^/]+\.safetensors$/.test(path);
}

/** What is no configuration is left for the description to refuse. */
function asConfig(text: string): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(text.replace(/^\ufeff/, ""));
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)
      ? (parsed as Readonly<Record<string, unknown>>)
      : {};
  } catch {
    return {};
  }
}
