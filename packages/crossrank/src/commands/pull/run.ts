import { type FileProgress, type ModelFiles, readProfile } from "@crossrank/core";
import { type Context, print } from "../../context.js";
import { translateInputError, UsageError } from "../../failure.js";
import { openModelFiles, readProfileFile } from "../../model.js";
import { openBackend } from "../../open-reranker.js";
import type { BackendChoice } from "../../options.js";
import { createProgress, type Progress } from "../../progress.js";
import { declaredClassesOf, findBackend } from "../../registry.js";
import { alignColumns, formatBytes, toSingleLine } from "../../text.js";
import { type NeededFiles, neededFiles } from "./needed-files.js";

export interface PullCommandOptions {
  readonly backend?: BackendChoice;
  readonly dtype?: string;
  readonly file?: string;
  readonly revision?: string;
  readonly lock?: string;
  readonly base?: string;
  readonly profile?: string;
  /** False with `--no-convert`. */
  readonly convert: boolean;
  readonly json?: true;
}

/** A file that is on this machine now. */
interface PulledFile {
  readonly path: string;
  /** Bytes; undefined where the repository does not say. */
  readonly size: number | undefined;
  /** Absolute. */
  readonly localPath: string;
  /** False where it was there before. */
  readonly downloaded: boolean;
}

interface Pulled {
  readonly model: ModelFiles;
  readonly family: string;
  readonly needed: NeededFiles;
  readonly files: readonly PulledFile[];
  /** The artifact that is made of the weights is in the cache. */
  readonly isConverted: boolean;
}

export async function runPullCommand(
  source: string,
  options: PullCommandOptions,
  context: Context,
): Promise<void> {
  const dtype = options.backend?.dtype;
  if (dtype !== undefined && options.dtype !== undefined && dtype !== options.dtype) {
    throw new UsageError(`--backend asks for ${dtype} and --dtype for ${options.dtype}; give one of them`);
  }
  const progress = createProgress(process.stderr);
  try {
    const pulled = await pull(source, options, context.signal, progress);
    progress.clear();
    await print(options.json === true ? pulledJson(pulled) : pulledTable(pulled));
  } finally {
    progress.clear();
  }
}

async function pull(
  source: string,
  options: PullCommandOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<Pulled> {
  progress.step(`looking for ${source}`);
  const overrides = await readProfileFile(options.profile);
  const opened = await openModelFiles(source, options, signal);
  const files = new Fetched(opened, progress, signal);
  const { profile } = await readProfile(files.model, overrides, signal, () =>
    declaredClassesOf(files.model, signal),
  ).catch((error: unknown) => {
    throw translateInputError(error, { profile: options.profile && `--profile ${options.profile}` });
  });
  const needed = await neededFiles(opened, await opened.list({ signal }), {
    backend: options.backend?.name,
    dtype: options.dtype ?? options.backend?.dtype,
    file: options.file,
    profile,
  }).catch((error: unknown) => {
    throw translateInputError(error, { dtype: options.dtype === undefined ? "--backend" : "--dtype" });
  });
  const modules = "modules" in profile.head ? (profile.head.modules ?? []) : [];
  const weights = modules.flatMap((module) => ("file" in module ? [module.file] : []));
  for (const path of [...weights, ...needed.paths]) await files.fetch(path);
  if (needed.isConverted && options.convert) {
    // As the first run would: offline converts nothing.
    const { backend, dtype } = needed;
    const conversion = { backend, dtype, profile: overrides, onConversion: progress.conversion };
    await openBackend(opened, conversion, signal);
  }
  for (const path of await belongingTo(needed, files.model, signal)) await files.fetch(path);
  return {
    ...{ model: opened, family: profile.family, needed, files: await files.list() },
    isConverted: needed.isConverted && options.convert,
  };
}

/** Further files of the artifact, which its content names: weights beside a graph, other parts of a split file. */
async function belongingTo(
  { backend, paths, isConverted }: NeededFiles,
  model: ModelFiles,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (isConverted) return [];
  const { descriptor } = (await findBackend(backend)).backend;
  const found = new Set<string>();
  for (const path of descriptor.candidates(paths)) {
    const description = await descriptor.describe?.(model, path, { signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      // A file that cannot be followed is there all the same; the run says what is wrong with it.
      if (error instanceof Error) return undefined;
      throw error;
    });
    for (const other of description?.files ?? []) found.add(other);
  }
  return [...found].filter((path) => !paths.includes(path));
}

/** A model's files, of which is noted what is asked for, and whether it had to be downloaded. */
class Fetched {
  readonly model: ModelFiles;
  readonly #opened: ModelFiles;
  readonly #signal: AbortSignal;
  readonly #progress: Progress;
  readonly #asked = new Set<string>();
  readonly #downloaded = new Set<string>();

  constructor(opened: ModelFiles, progress: Progress, signal: AbortSignal) {
    this.#opened = opened;
    this.#progress = progress;
    this.#signal = signal;
    const noted = (path: string): void => {
      this.#asked.add(path);
    };
    this.model = {
      id: opened.id,
      revision: opened.revision,
      base: opened.base,
      list: (options) => opened.list(options),
      readText: async (path, options) => {
        const text = await opened.readText(path, { ...options, onProgress: this.#tell });
        noted(path);
        return text;
      },
      readBytes: (path, range, options) => opened.readBytes(path, range, options),
      localPath: async (path, options) => {
        const local = await opened.localPath(path, { ...options, onProgress: this.#tell });
        noted(path);
        return local;
      },
    };
  }

  async fetch(path: string): Promise<void> {
    await this.model.localPath(path, { signal: this.#signal });
  }

  async list(): Promise<PulledFile[]> {
    const signal = this.#signal;
    const sizes = new Map((await this.#opened.list({ signal })).map(({ path, size }) => [path, size]));
    const files: PulledFile[] = [];
    for (const path of [...this.#asked].sort()) {
      files.push({
        path,
        size: sizes.get(path),
        localPath: await this.#opened.localPath(path, { signal }),
        downloaded: this.#downloaded.has(path),
      });
    }
    return files;
  }

  readonly #tell = (progress: FileProgress): void => {
    this.#downloaded.add(progress.path);
    this.#progress.download(progress);
  };
}

/** What `--json` prints. */
function pulledJson({ model, family, needed, files, isConverted }: Pulled): string {
  const value = {
    model: { id: model.id, revision: model.revision ?? null, family },
    backend: needed.backend,
    dtype: needed.dtype,
    weightsOnly: needed.isConverted,
    converted: isConverted,
    files: files.map(({ size = null, ...file }) => ({ ...file, size })),
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function pulledTable({ model, family, needed, files, isConverted: isDone }: Pulled): string {
  const { backend, dtype, isConverted } = needed;
  const revision = model.revision === undefined ? "" : ` at ${model.revision.slice(0, 12)}`;
  const total = files.reduce((sum, { size = 0 }) => sum + size, 0);
  const facts = [
    ["model", `${model.id}${revision}, ${family}`],
    ["runs on", dtype === "?" ? backend : `${backend}, ${dtype}`],
  ];
  const rows = files.map(({ path, size, localPath, downloaded }) => [
    path,
    size === undefined ? "" : formatBytes(size),
    downloaded ? "downloaded" : "was there",
    localPath,
  ]);
  const when = isDone ? "The weights were converted, into the cache." : "The first run converts the weights.";
  const note = isConverted ? ["", when] : [];
  const lines = [
    ...alignColumns(
      facts.map((fact) => fact.map(toSingleLine)),
      ["left", "left"],
    ),
    "",
    ...alignColumns(
      rows.map((row) => row.map(toSingleLine)),
      ["left", "right", "left", "left"],
    ),
    ...note,
    "",
    `${files.length} files, ${formatBytes(total)}`,
  ];
  return `${lines.join("\n")}\n`;
}
