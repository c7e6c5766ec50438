import type { Backend } from "@crossrank/core";
import { CommandError } from "./failure.js";

export interface BackendOptions {
  readonly threads?: number | undefined;
  readonly workers?: number | undefined;
}

interface BackendEntry {
  /** npm package, which also names what to install. */
  readonly packageName: string;
  readonly create: (options: BackendOptions) => Promise<Backend>;
}

/** Every backend that the command knows. Each is imported only when it is asked for. */
const backends: Readonly<Record<string, BackendEntry>> = {
  onnx: {
    packageName: "@crossrank/backend-onnx",
    create: async ({ threads, workers }) =>
      (await import("@crossrank/backend-onnx")).onnx({ threads, workers }),
  },
};

export const backendNames: readonly string[] = Object.keys(backends);

export function backendPackage(name: string): string {
  return entryOf(name).packageName;
}

/** @throws {CommandError} when its package is not installed, with the command that installs it. */
export function createBackend(name: string, options: BackendOptions = {}): Promise<Backend> {
  const { packageName, create } = entryOf(name);
  return installed(name, packageName, () => create(options));
}

/** An .onnx file whose name says its precision. */
export interface Precision {
  readonly dtype: string;
  /** Relative to the model. */
  readonly path: string;
}

/** The onnx backend's own reading of file names, most precise first. Loads no runtime. */
export async function onnxPrecisions(paths: readonly string[]): Promise<Precision[]> {
  const { dtypeSuffixes } = await installed(
    "onnx",
    backendPackage("onnx"),
    () => import("@crossrank/backend-onnx"),
  );
  return Object.entries(dtypeSuffixes).flatMap(([dtype, suffix]) => {
    const candidates = [`onnx/model${suffix}.onnx`, `model${suffix}.onnx`];
    const path = candidates.find((candidate) => paths.includes(candidate));
    return path === undefined ? [] : [{ dtype, path }];
  });
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
  packageName: string,
  load: () => Promise<Result>,
): Promise<Result> {
  try {
    return await load();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    // Only the package itself: a file that is missing inside it is another fault, with another remedy.
    if (code !== "ERR_MODULE_NOT_FOUND" || !message.includes(`'${packageName}'`)) throw cause;
    throw new CommandError(`backend ${name} is not installed. Install it: npm install ${packageName}`, {
      cause,
    });
  }
}
