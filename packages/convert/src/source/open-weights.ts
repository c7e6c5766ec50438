import {
  type FileRequestOptions,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  ModelProfileError,
} from "@crossrank/core";
import { ModelReader, openSafetensors, recogniseFiles, type TensorFile } from "@crossrank/core/files";
import * as z from "zod/mini";
import { shortened } from "./shortened.js";
import type { Weight } from "./weight.js";

const single = "model.safetensors";
const index = "model.safetensors.index.json";

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** The files of a model that hold its weights: one, or the index and its shards. */
export interface WeightFiles {
  /** Relative to the model, the one that is opened first at the front. */
  readonly paths: readonly string[];
  /** Where each tensor is. */
  readonly placeOf: ReadonlyMap<string, string>;
  readonly opened: ReadonlyMap<string, TensorFile>;
}

/**
 * A model's tensors by name. Names and shapes are known from the headers; numbers are read when a weight's rows are
 * asked for. Notes what was taken, so that what a description leaves out is known at its end.
 */
export class SourceWeights {
  readonly model: string;
  readonly files: WeightFiles;
  readonly #taken = new Set<string>();

  constructor(model: string, files: WeightFiles) {
    this.model = model;
    this.files = files;
  }

  has(name: string): boolean {
    return this.files.placeOf.has(name);
  }

  /** Whether there is a tensor of such a name. */
  hasAny(pattern: RegExp): boolean {
    return [...this.files.placeOf.keys()].some((name) => pattern.test(name));
  }

  /** As safetensors calls it. The tensor must be there. */
  dtype(name: string): string {
    return this.#open(name).file.dtype(name);
  }

  /** Undefined when there is no such tensor. */
  shape(name: string): readonly number[] | undefined {
    return this.has(name) ? this.#open(name).file.shape(name) : undefined;
  }

  /**
   * A tensor of exactly this shape.
   * @param name the name, or several of which the first that is there is meant.
   * @throws {ModelProfileError} when there is none, or it has another shape, or is no float.
   */
  take(name: string | readonly string[], shape: readonly number[]): Weight {
    const names = typeof name === "string" ? [name] : name;
    const found = names.find((candidate) => this.has(candidate));
    if (found === undefined) throw this.problem(undefined, `has no tensor ${names.join(" or ")}`);
    const { file, path } = this.#open(found);
    const actual = file.shape(found);
    if (actual.join() !== shape.join()) {
      throw this.problem(
        path,
        `tensor ${found} has shape ${shown(actual)}, and config.json makes it ${shown(shape)}`,
      );
    }
    if (!floats.has(file.dtype(found)))
      throw this.problem(
        path,
        `tensor ${found} has type ${file.dtype(found)}, and only floats are converted`,
      );
    this.#taken.add(found);
    return {
      name: found,
      shape,
      rows: (from, to) => file.rows(found, from, to),
      stored: () => ({ path, dtype: file.dtype(found), ...file.place(found), plus: 0 }),
    };
  }

  /** As `take`, or undefined when there is no such tensor. */
  takeOptional(name: string, shape: readonly number[]): Weight | undefined {
    return this.has(name) ? this.take(name, shape) : undefined;
  }

  /** Somebody else computes it: core, a head's modules. */
  leaveOut(name: string): void {
    this.#taken.add(name);
  }

  /** Names of the tensors that nobody took. */
  unused(): string[] {
    return [...this.files.placeOf.keys()].filter((name) => !this.#taken.has(name));
  }

  problem(path: string | undefined, problem: string): ModelProfileError {
    return new ModelProfileError({
      model: this.model,
      file: path ?? this.files.paths[0],
      problem,
      fix: "Its weights and its config.json are not of one model, or the download is damaged; download both again",
    });
  }

  #open(name: string): { file: TensorFile; path: string } {
    const path = this.files.placeOf.get(name) as string;
    return { path, file: this.files.opened.get(path) as TensorFile };
  }
}

const floats: ReadonlySet<string> = new Set(["F64", "F32", "F16", "BF16"]);

function shown(shape: readonly number[]): string {
  return shape.length === 0 ? "()" : shape.join(" × ");
}

/**
 * The one file that holds all weights: `model.safetensors`, else the only one there is, as that of a variant
 * (`model.fp16.safetensors`). Undefined where an index says which, and where nothing does.
 */
export function weightsFile(paths: readonly string[]): string | undefined {
  if (paths.includes(single)) return single;
  if (paths.includes(index)) return undefined;
  const others = paths.filter((path) => /^[^/]+\.safetensors$/.test(path) && !isPart.test(path));
  return others.length === 1 ? others[0] : undefined;
}

/** A shard, or an adapter's weights, which are changes to a model. */
const isPart = /-\d+-of-\d+\.safetensors$|^adapter_/;

/**
 * Opens `model.safetensors`, the only file of weights there is, or the shards that `model.safetensors.index.json` lists. Reads headers alone, and notices
 * files that were cut short.
 *
 * @throws {ModelFileNotFoundError} when there is none of these, or a shard is missing.
 * @throws {ModelProfileError} when a file is damaged, or the index does not fit its shards.
 */
export async function openWeights(
  files: ModelFiles,
  options: FileRequestOptions = {},
): Promise<SourceWeights> {
  const listed = await files.list(options);
  const present = new Set(listed.map(({ path }) => path));
  const whole = weightsFile([...present]);
  if (whole !== undefined) {
    const file = await openSafetensors(files, whole, options);
    return new SourceWeights(files.id, {
      paths: [whole],
      placeOf: new Map(file.names.map((name) => [name, whole])),
      opened: new Map([[whole, file]]),
    });
  }
  if (present.has(index)) return openShards(files, present, options);
  throw await noWeights(files, listed, options);
}

async function openShards(
  files: ModelFiles,
  present: ReadonlySet<string>,
  options: FileRequestOptions,
): Promise<SourceWeights> {
  const problem = (what: string, cause?: unknown): ModelProfileError =>
    new ModelProfileError(
      { model: files.id, file: index, problem: what, fix: "Download the model again" },
      { cause },
    );
  const reader = new ModelReader(files, await files.list(options), options.signal);
  const text = (await reader.text(index)) ?? "";
  let map: Map<string, string>;
  try {
    map = new Map(Object.entries(indexSchema.parse(JSON.parse(text)).weight_map));
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw problem("cannot be read", cause);
  }
  const paths = [...new Set(map.values())].sort();
  if (paths.length === 0) throw problem("names no file");
  for (const path of paths) {
    if (path.includes("/") || path.includes("\\"))
      throw problem(`names ${shortened(path)}, which is not beside it`);
  }
  const missing = paths.filter((path) => !present.has(path));
  if (missing.length > 0) {
    throw new ModelFileNotFoundError({
      model: files.id,
      expected: missing,
      found: paths.filter((path) => present.has(path)),
      fix: `${index} lists ${paths.length} files, and all of them are needed. Download the model again.`,
    });
  }
  const opened = new Map<string, TensorFile>();
  for (const path of paths) opened.set(path, await openSafetensors(files, path, options));
  const held = new Map([...opened].map(([path, { names }]) => [path, new Set(names)]));
  for (const [name, path] of map) {
    if (!held.get(path)?.has(name))
      throw problem(`says that ${path} holds ${shortened(name)}, and it does not`);
  }
  for (const [path, { names }] of opened) {
    const stray = names.find((name) => map.get(name) !== path);
    if (stray !== undefined)
      throw problem(`does not say that ${path} holds ${shortened(stray)}, and it does`);
  }
  return new SourceWeights(files.id, { paths: [index, ...paths], placeOf: map, opened });
}

async function noWeights(
  files: ModelFiles,
  listed: readonly ModelFile[],
  options: FileRequestOptions,
): Promise<ModelFileNotFoundError> {
  const model = files.id;
  const paths = listed.map(({ path }) => path);
  const parts = paths.filter((path) => /^[^/]+-\d+-of-\d+\.safetensors$/.test(path)).sort();
  const [first] = parts;
  if (first !== undefined) {
    const all = Number(/-of-(\d+)\.safetensors$/.exec(first)?.[1]);
    const some = parts.length === all ? "" : `, of which ${parts.length} of ${all} are there`;
    return new ModelFileNotFoundError({
      model,
      expected: [index],
      found: parts.slice(0, 12),
      fix:
        `The index is missing, which says what each of these parts holds${some}. ` +
        `Download ${index} of the same revision into the same folder.`,
    });
  }
  const found = paths.filter((path) => /\.(safetensors|bin|pt|pth|ckpt|h5|msgpack)$/.test(path)).slice(0, 12);
  const known = await recogniseFiles(withoutArtifacts(files), options);
  return new ModelFileNotFoundError({
    model,
    expected: [single, index],
    found: found.length > 0 ? found : (known?.files ?? []),
    fix:
      known === undefined
        ? "Pass the folder or repository that holds the model's safetensors weights."
        : `${known.files[0]}: ${known.what}. ${known.fix}.`,
  });
}

/** Files that a runtime loads say nothing of what the weights are. */
const artifacts = /\.(?:onnx|gguf|mnn)(?:[._][^/]*)?$|\.mlpackage\//i;

function withoutArtifacts(files: ModelFiles): ModelFiles {
  return {
    id: files.id,
    revision: files.revision,
    list: async (options) => (await files.list(options)).filter(({ path }) => !artifacts.test(path)),
    readText: (path, options) => files.readText(path, options),
    readBytes: (path, range, options) => files.readBytes(path, range, options),
    localPath: (path, options) => files.localPath(path, options),
  };
}
