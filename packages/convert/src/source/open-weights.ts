import {
  type FileRequestOptions,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  ModelProfileError,
} from "@crossrank/core";
import { openSafetensors, type TensorFile } from "@crossrank/core/files";
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
    return { name: found, shape, rows: (from, to) => file.rows(found, from, to) };
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
  throw noWeights(files.id, listed);
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
  let map: Map<string, string>;
  try {
    map = new Map(
      Object.entries(indexSchema.parse(JSON.parse(await files.readText(index, options))).weight_map),
    );
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

function noWeights(model: string, listed: readonly ModelFile[]): ModelFileNotFoundError {
  const found = listed
    .map(({ path }) => path)
    .filter((path) => /\.(safetensors|bin|pt|h5|msgpack)$/.test(path));
  const isPickle = found.some((path) => /^pytorch_model.*\.bin$/.test(path));
  return new ModelFileNotFoundError({
    model,
    expected: [single, index],
    found: found.slice(0, 12),
    fix: isPickle
      ? "pytorch_model.bin is a Python pickle, which can run code and is not opened here. Use a revision that has " +
        "model.safetensors (on the hub often refs/pr/N, made by its conversion bot), or load the model with " +
        "transformers once and save it again: AutoModelForSequenceClassification.from_pretrained(model)" +
        ".save_pretrained(folder)."
      : "Pass the folder or repository that holds the model's safetensors weights.",
  });
}
