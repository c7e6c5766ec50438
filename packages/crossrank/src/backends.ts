// The registry as the command needs it: with messages of the command.
import { BackendNotInstalledError, type CommonBackendOptions } from "@crossrank/backend-kit";
import { type Backend, CrossrankError, InvalidInputError, type ModelFiles } from "@crossrank/core";
import { UnknownBackendError } from "./backend-errors.js";
import { backendNames, installOf, outsiderFile, parseOutsider, registeredNames } from "./backend-names.js";
import { CommandError } from "./failure.js";
import type { BackendChoice } from "./options.js";
import {
  defaultBackend as chooseDefault,
  findBackend,
  isMissing,
  type KnownBackend,
  makeBackend,
  registeredBackends,
} from "./registry.js";

export { backendNames, parseBackend } from "./backend-names.js";
export { type Precision, precisionsAmong } from "./registry.js";

export type BackendOptions = Pick<CommonBackendOptions, "threads" | "workers">;

let known: readonly KnownBackend[] | undefined;

/**
 * Reads the descriptors of the packages that are installed; no runtime. For the commands that compare backends: the others
 * load the one that they run.
 *
 * @returns their names, in the order of the registry; a package that is missing by its own name.
 */
export async function loadBackends(): Promise<readonly string[]> {
  const loaded = await Promise.all(registeredNames.map((name) => registeredBackends(name).catch(() => [])));
  known = loaded.flat();
  return registeredNames.flatMap((name, index) => {
    const own = (loaded[index] ?? []).map((one) => one.name);
    return own.length === 0 ? [name] : own;
  });
}

/** The backend's npm package; its path, where it is a file. */
export function backendPackage(name: string): string {
  return backendPackages(name)[0] ?? name;
}

/** npm packages whose versions the backend's scores depend on, its own first. None for a file. */
export function backendPackages(name: string): readonly string[] {
  if (known === undefined) throw new Error("The backends are not loaded.");
  const found = known.find((one) => one.name === name);
  if (found !== undefined) return found.packages;
  const [own] = installOf(name);
  if (own !== undefined) return [own];
  const outsider = parseOutsider(name);
  if (outsider === undefined) throw asCommandError(new UnknownBackendError(name, backendNames));
  return outsiderFile(name) === undefined ? [outsider.name] : [];
}

/**
 * @param name one of {@link backendNames}, or the path or package of another backend.
 * @throws {CommandError} when it is not installed, with the command that installs it, or when it runs on another system
 * only.
 */
export async function createBackend(name: string, options: BackendOptions = {}): Promise<Backend> {
  try {
    return await makeBackend((await findBackend(name)).backend, options);
  } catch (error) {
    throw asCommandError(error);
  }
}

/** As the registry's, with the command's errors. */
export async function defaultBackend(paths: readonly string[], dtype?: string): Promise<string> {
  return chooseDefault(paths, dtype).catch((error: unknown) => {
    throw asCommandError(error);
  });
}

/** The backend that was asked for, else the one that fits the model's files. */
export async function chooseBackend(
  asked: BackendChoice | undefined,
  model: ModelFiles,
  options: { readonly dtype?: string | undefined; readonly signal: AbortSignal },
): Promise<BackendChoice> {
  if (asked !== undefined) return asked;
  const files = await model.list({ signal: options.signal });
  const paths = files.map(({ path }) => path);
  return { name: await defaultBackend(paths, options.dtype), dtype: undefined };
}

/** Folders of Core ML packages that the files lie in, each once. */
export function packagesAmong(paths: readonly string[]): readonly string[] {
  return [...new Set(paths.flatMap((path) => /^(.*?\.mlpackage)\//.exec(path)?.[1] ?? []))];
}

/** @throws {CommandError} when what is loaded needs the backend's package, and it is not installed. */
export async function installed<Result>(name: string, load: () => Promise<Result>): Promise<Result> {
  const install = installOf(name);
  try {
    return await load();
  } catch (cause) {
    if (!isMissing(cause, install.slice(0, 1))) throw cause;
    throw asCommandError(new BackendNotInstalledError({ backend: name, install }, { cause }));
  }
}

function asCommandError(error: unknown): unknown {
  // Wrong input is translated where the option's name is known.
  if (!CrossrankError.isInstance(error) || InvalidInputError.isInstance(error)) return error;
  return new CommandError(error.message, { cause: error });
}
