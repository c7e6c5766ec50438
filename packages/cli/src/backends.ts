import type { Backend } from "@crossrank/core";
import { CommandError } from "./failure.js";

export interface BackendOptions {
  readonly threads?: number | undefined;
  readonly workers?: number | undefined;
}

/** A format that a backend runs. */
export type ArtifactFormat = "onnx" | "gguf" | "mnn";

/** A file of the model that a backend can run. */
export interface Precision {
  readonly backend: string;
  readonly dtype: string;
  /** Relative to the model. */
  readonly path: string;
}

interface BackendEntry {
  /** npm package, which also names what to install. */
  readonly packageName: string;
  /** What to install for it to work. */
  readonly install: readonly string[];
  readonly format: ArtifactFormat;
  readonly create: (options: BackendOptions) => Promise<Backend>;
  /** The backend's own reading of file names, the one that it would take first at the front. Loads no runtime. */
  readonly artifacts: (paths: readonly string[]) => Promise<Omit<Precision, "backend">[]>;
}

/**
 * Every backend that the command knows, in the order in which a model that names none is tried. Each is imported only
 * when it is asked for.
 */
const backends: Readonly<Record<string, BackendEntry>> = {
  onnx: {
    packageName: "@crossrank/backend-onnx",
    install: ["@crossrank/backend-onnx"],
    format: "onnx",
    create: async ({ threads, workers }) =>
      (await import("@crossrank/backend-onnx")).onnx({ threads, workers }),
    artifacts: async (paths) => {
      const { dtypeSuffixes } = await import("@crossrank/backend-onnx");
      return Object.entries(dtypeSuffixes).flatMap(([dtype, suffix]) => {
        const candidates = [`onnx/model${suffix}.onnx`, `model${suffix}.onnx`];
        const path = candidates.find((candidate) => paths.includes(candidate));
        return path === undefined ? [] : [{ dtype, path }];
      });
    },
  },
  llamacpp: {
    packageName: "@crossrank/backend-llamacpp",
    install: ["@crossrank/backend-llamacpp", "node-llama-cpp"],
    format: "gguf",
    create: async ({ threads, workers }) =>
      (await import("@crossrank/backend-llamacpp")).llamacpp({ threads, contexts: workers }),
    artifacts: async (paths) => {
      const { dtypeOfPath, dtypes } = await import("@crossrank/backend-llamacpp");
      const files = paths
        .filter((path) => /\.gguf$/i.test(path) && !/mmproj/i.test(path))
        // A name that says no precision is the last choice; the backend then reads it in the file.
        .map((path) => ({ dtype: dtypeOfPath(path) ?? "?", path }));
      return [...dtypes, "?"].flatMap((dtype) => files.filter((file) => file.dtype === dtype));
    },
  },
  mnn: {
    packageName: "@crossrank/backend-mnn",
    install: ["@crossrank/backend-mnn"],
    format: "mnn",
    create: async ({ threads, workers }) =>
      (await import("@crossrank/backend-mnn")).mnn({ threads, sessions: workers }),
    artifacts: async (paths) => {
      const { artifactPaths, dtypes } = await import("@crossrank/backend-mnn");
      return dtypes.flatMap((dtype) => {
        const path = artifactPaths(dtype).find((candidate) => paths.includes(candidate));
        return path === undefined ? [] : [{ dtype, path }];
      });
    },
  },
};

export const backendNames: readonly string[] = Object.keys(backends);

export function backendPackage(name: string): string {
  return entryOf(name).packageName;
}

/** The backend that runs a format. */
export function backendOfFormat(format: ArtifactFormat): string {
  return backendNames.find((name) => entryOf(name).format === format) as string;
}

/** @throws {CommandError} when its package is not installed, with the command that installs it. */
export function createBackend(name: string, options: BackendOptions = {}): Promise<Backend> {
  const entry = entryOf(name);
  return installed(name, entry, () => entry.create(options));
}

/** Files of a model that some backend runs, by backend. One that is not installed cannot tell their precision: `?`. */
export async function precisionsAmong(paths: readonly string[]): Promise<Precision[]> {
  const precisions: Precision[] = [];
  for (const [name, entry] of Object.entries(backends)) {
    const found = await installed(name, entry, () => entry.artifacts(paths)).catch((error: unknown) => {
      if (error instanceof CommandError) return pathsOf(entry, paths).map((path) => ({ dtype: "?", path }));
      throw error;
    });
    precisions.push(...found.map((one) => ({ backend: name, ...one })));
  }
  return precisions;
}

/**
 * For a model that is asked for without a backend: the first that has a file of the precision, else the first that has
 * any file, else the first.
 */
export async function defaultBackend(paths: readonly string[], dtype?: string): Promise<string> {
  const precisions = await precisionsAmong(paths);
  const fitting = precisions.find((one) => one.dtype.toLowerCase() === dtype?.toLowerCase());
  if (fitting !== undefined) return fitting.backend;
  const [first = "onnx"] = backendNames;
  // Also where its backend is not installed: that message says what to install.
  return backendNames.find((name) => pathsOf(entryOf(name), paths).length > 0) ?? first;
}

function pathsOf({ format }: BackendEntry, paths: readonly string[]): readonly string[] {
  return paths.filter((path) => path.endsWith(`.${format}`));
}

/** `"onnx:int8"` → backend and precision. Undefined when there is no such backend. */
export function parseBackend(
  value: string,
): { readonly name: string; readonly dtype: string | undefined } | undefined {
  const [name = "", ...rest] = value.split(":");
  if (!Object.hasOwn(backends, name) || (rest.length > 0 && rest.join(":") === "")) return undefined;
  return { name, dtype: rest.length === 0 ? undefined : rest.join(":") };
}

function entryOf(name: string): BackendEntry {
  const entry = backends[name];
  if (entry === undefined)
    throw new CommandError(`there is no backend ${name}. Known: ${backendNames.join(", ")}`);
  return entry;
}

async function installed<Result>(
  name: string,
  { packageName, install }: BackendEntry,
  load: () => Promise<Result>,
): Promise<Result> {
  try {
    return await load();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    // Only the package itself: a file that is missing inside it is another fault, with another remedy.
    if (code !== "ERR_MODULE_NOT_FOUND" || !message.includes(`'${packageName}'`)) throw cause;
    throw new CommandError(`backend ${name} is not installed. Install it: npm install ${install.join(" ")}`, {
      cause,
    });
  }
}
