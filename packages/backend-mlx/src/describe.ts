import type { ArtifactDescription } from "@crossrank/backend-kit";
import { ModelFileNotFoundError, type ModelFiles, ModelProfileError } from "@crossrank/core";
import { openSafetensors } from "@crossrank/core/files";
import { isIndex, onlyWeights, readConfig, weightPaths } from "./artifact.js";
import { dtypes } from "./dtype.js";
import { openQuantisedFolder, quantisationOf } from "./weights/quantised-folder.js";

/** Names of precisions, as safetensors calls the numbers. */
const precisions: Readonly<Record<string, string>> = { F64: "fp64", F32: "fp32", F16: "fp16", BF16: "bf16" };

interface Stored {
  /** Of most of the numbers. */
  readonly type: string | undefined;
  readonly numbers: number;
  readonly files: readonly string[];
}

/**
 * What weights are stored in, by their headers alone.
 *
 * @throws {ModelFileNotFoundError} when there is no such file.
 * @throws {ModelProfileError} when a file is damaged, or quantised in a way that is not read.
 */
export async function describeWeights(
  files: ModelFiles,
  path: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ArtifactDescription> {
  const paths = (await files.list(options)).map((file) => file.path);
  if (!paths.includes(path)) {
    const found = weightPaths(paths);
    throw new ModelFileNotFoundError({ model: files.id, expected: [path], found, fix: "Name one of these." });
  }
  const config = await readConfig(files, paths, options);
  const common = { processor: undefined, inputs: [], outputs: [] };
  if (quantisationOf(config) !== undefined) {
    const { bits } = await openQuantisedFolder(onlyWeights(files, path), config, options);
    return {
      ...common,
      dtype: `q${bits}`,
      quantisation: `matrices in ${bits} bits and more, as MLX has quantised them`,
      facts: {},
      files: isIndex(path) ? (await shardsOf(files, path, paths, options)).filter((one) => one !== path) : [],
      notes: [],
    };
  }
  const { type, numbers, files: shards } = await storedIn(files, path, paths, options);
  return {
    ...common,
    dtype: type === undefined ? undefined : (precisions[type] ?? undefined),
    quantisation: undefined,
    facts: { parameters: numbers.toLocaleString("en-US") },
    files: shards.filter((one) => one !== path),
    notes: [`It is run in ${dtypes.join(", ")}: the precision is made when it is loaded.`],
  };
}

async function storedIn(
  files: ModelFiles,
  path: string,
  paths: readonly string[],
  options: { readonly signal?: AbortSignal | undefined },
): Promise<Stored> {
  const shards = isIndex(path) ? await shardsOf(files, path, paths, options) : [path];
  const counts = new Map<string, number>();
  for (const shard of shards) {
    const { names, dtype, shape } = await openSafetensors(files, shard, options);
    for (const name of names) {
      const count = shape(name).reduce((product, size) => product * size, 1);
      counts.set(dtype(name), (counts.get(dtype(name)) ?? 0) + count);
    }
  }
  const [most] = [...counts].sort(([, one], [, other]) => other - one);
  const numbers = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return { type: most?.[0], numbers, files: shards };
}

/** The files that an index names, of those that are there. */
async function shardsOf(
  files: ModelFiles,
  path: string,
  paths: readonly string[],
  options: { readonly signal?: AbortSignal | undefined },
): Promise<readonly string[]> {
  const text = await files.readText(path, options);
  const there = new Set(paths);
  try {
    const index = JSON.parse(text) as { readonly weight_map?: object } | null;
    const named = [...new Set<unknown>(Object.values(index?.weight_map ?? {}))];
    const shards = named.filter((one): one is string => typeof one === "string" && there.has(one));
    if (shards.length > 0 && shards.length === named.length) return shards.sort();
  } catch (cause) {
    throw damagedIndex(files, path, cause);
  }
  throw damagedIndex(files, path);
}

function damagedIndex(files: ModelFiles, file: string, cause?: unknown): ModelProfileError {
  const problem = "names no files that are all there";
  return new ModelProfileError(
    { model: files.id, file, problem, fix: "Download the model again" },
    { cause },
  );
}
