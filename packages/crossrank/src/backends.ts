import type { Backend } from "@crossrank/core";
import { CommandError } from "./failure.js";

export interface BackendOptions {
  readonly threads?: number | undefined;
  readonly workers?: number | undefined;
}

/** A format that a backend runs. */
export type ArtifactFormat = "onnx" | "gguf" | "mnn" | "mlpackage";

/** A file of the model that a backend can run, or a folder that is one artifact. */
export interface Precision {
  readonly backend: string;
  readonly dtype: string;
  /** Relative to the model. */
  readonly path: string;
}

interface BackendEntry {
  /** npm package, which also names what to install. */
  readonly packageName: string;
  /** Packages of ours besides, whose versions its scores depend on. */
  readonly alsoUses?: readonly string[];
  /** What to install for it to work. */
  readonly install: readonly string[];
  readonly format: ArtifactFormat;
  /** The only system where it runs, and what to say on the others. */
  readonly only?: { readonly platform: NodeJS.Platform; readonly elsewhere: string };
  /** Computes the artifacts of another backend, to judge them: it is taken where it is asked for, and nowhere else. */
  readonly isReference?: true;
  readonly create: (options: BackendOptions) => Promise<Backend>;
  /** The backend's own reading of file names, the one that it would take first at the front. Loads no runtime. */
  readonly artifacts: (paths: readonly string[]) => Promise<Omit<Precision, "backend">[]>;
}

/** `coreml` on a Mac, and what computes its artifacts anywhere. */
const coremlFacts = {
  packageName: "@crossrank/backend-coreml",
  install: ["@crossrank/backend-coreml"],
  format: "mlpackage",
  artifacts: async (paths: readonly string[]) => {
    const { artifactPaths, dtypes, lengthPaths } = await import("@crossrank/backend-coreml");
    const packages = packagesAmong(paths);
    return dtypes.flatMap((dtype) => {
      const path = artifactPaths(dtype).find((candidate) => packages.includes(candidate));
      const found = path === undefined ? lengthPaths(dtype, packages) : [path];
      return found.map((one) => ({ dtype, path: one }));
    });
  },
} as const satisfies Partial<BackendEntry>;

function coremlReference(arithmetic: "single" | "half"): BackendEntry {
  return {
    ...coremlFacts,
    install: ["@crossrank/backend-coreml", "@crossrank/backend-onnx"],
    alsoUses: ["@crossrank/backend-onnx"],
    isReference: true,
    create: async ({ threads, workers }) => {
      const { onnx } = await import("@crossrank/backend-onnx");
      const { coreml } = await import("@crossrank/backend-coreml");
      return coreml({ reference: { backend: onnx({ threads, workers }), arithmetic } });
    },
  };
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
  coreml: {
    ...coremlFacts,
    only: {
      platform: "darwin",
      elsewhere:
        "Core ML is on macOS only; coreml:reference computes the same package in ONNX Runtime, to judge it",
    },
    // Core ML chooses its own threads.
    create: async () => (await import("@crossrank/backend-coreml")).coreml(),
  },
  "coreml:reference": coremlReference("single"),
  "coreml:reference-half": coremlReference("half"),
};

export const backendNames: readonly string[] = Object.keys(backends);

export function backendPackage(name: string): string {
  return entryOf(name).packageName;
}

/** Every package of ours that the backend's scores depend on, its own first. */
export function backendPackages(name: string): readonly string[] {
  const { packageName, alsoUses = [] } = entryOf(name);
  return [packageName, ...alsoUses];
}

/**
 * The backends that judge what was converted to a format; each has to agree. Core ML's artifacts have the same judges
 * on every system, neither of which is Core ML: in float32, which sees the weights, and for what is computed in half
 * precision in that too, which sees numbers that overflow there.
 *
 * @param dtype undefined: the format's own choice.
 */
export function judgesOf(format: ArtifactFormat, dtype: string | undefined): readonly string[] {
  if (format !== "mlpackage") return backendNames.filter((name) => entryOf(name).format === format);
  return dtype === "fp32" ? ["coreml:reference"] : ["coreml:reference", "coreml:reference-half"];
}

/**
 * @throws {CommandError} when its package is not installed, with the command that installs it, or when it runs on
 * another system only.
 */
export async function createBackend(name: string, options: BackendOptions = {}): Promise<Backend> {
  const entry = entryOf(name);
  if (!runsHere(entry)) throw new CommandError(entry.only?.elsewhere);
  return installed(name, () => entry.create(options));
}

/** Files of a model that some backend runs, by backend. One that is not installed cannot tell their precision: `?`. */
export async function precisionsAmong(paths: readonly string[]): Promise<Precision[]> {
  const precisions: Precision[] = [];
  for (const [name, entry] of Object.entries(backends)) {
    if (entry.isReference) continue;
    const found = await installed(name, () => entry.artifacts(paths)).catch((error: unknown) => {
      if (error instanceof CommandError) return pathsOf(entry, paths).map((path) => ({ dtype: "?", path }));
      throw error;
    });
    precisions.push(...found.map((one) => ({ backend: name, ...one })));
  }
  return precisions;
}

/**
 * For a model that is asked for without a backend: of those that run on this system the first that has a file of the
 * precision, else the first that has any file, else the first.
 *
 * @throws {CommandError} when all that there is runs on another system.
 */
export async function defaultBackend(paths: readonly string[], dtype?: string): Promise<string> {
  const fits = (name: string): boolean => runsHere(entryOf(name)) && !entryOf(name).isReference;
  const precisions = (await precisionsAmong(paths)).filter(({ backend }) => fits(backend));
  const fitting = precisions.find((one) => one.dtype.toLowerCase() === dtype?.toLowerCase());
  if (fitting !== undefined) return fitting.backend;
  // Also where its backend is not installed: that message says what to install.
  const withFiles = backendNames.filter((name) => pathsOf(entryOf(name), paths).length > 0);
  const chosen = withFiles.find(fits);
  if (chosen === undefined && withFiles.includes("coreml")) {
    throw new CommandError(
      "the model has Core ML packages and nothing else, which run on a Mac; " +
        "--backend coreml:reference computes one here, to judge it",
    );
  }
  return chosen ?? "onnx";
}

function runsHere({ only }: BackendEntry): boolean {
  return only === undefined || only.platform === process.platform;
}

function pathsOf({ format }: BackendEntry, paths: readonly string[]): readonly string[] {
  if (format === "mlpackage") return packagesAmong(paths);
  return paths.filter((path) => path.endsWith(`.${format}`));
}

/** Folders of Core ML packages that the files lie in, each once. */
export function packagesAmong(paths: readonly string[]): readonly string[] {
  return [...new Set(paths.flatMap((path) => /^(.*?\.mlpackage)\//.exec(path)?.[1] ?? []))];
}

/** `"onnx:int8"` → backend and precision; the longest name that fits. Undefined when there is no such backend. */
export function parseBackend(
  value: string,
): { readonly name: string; readonly dtype: string | undefined } | undefined {
  const [name] = backendNames
    .filter((known) => value === known || (value.startsWith(`${known}:`) && value.length > known.length + 1))
    .sort((a, b) => b.length - a.length);
  if (name === undefined) return undefined;
  return { name, dtype: value === name ? undefined : value.slice(name.length + 1) };
}

function entryOf(name: string): BackendEntry {
  const entry = backends[name];
  if (entry === undefined)
    throw new CommandError(`there is no backend ${name}. Known: ${backendNames.join(", ")}`);
  return entry;
}

/** @throws {CommandError} when what is loaded needs the backend's package, and it is not installed. */
export async function installed<Result>(name: string, load: () => Promise<Result>): Promise<Result> {
  const { install } = entryOf(name);
  try {
    return await load();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    // Only the package itself: a file that is missing inside it is another fault, with another remedy.
    if (
      code !== "ERR_MODULE_NOT_FOUND" ||
      !backendPackages(name).some((one) => message.includes(`'${one}'`))
    ) {
      throw cause;
    }
    throw new CommandError(`backend ${name} is not installed. Install it: npm install ${install.join(" ")}`, {
      cause,
    });
  }
}
