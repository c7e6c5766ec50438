// The registry as the command needs it: known at once, with messages of the command.
import { BackendNotInstalledError, type CommonBackendOptions } from "@crossrank/backend-kit";
import { type Backend, CrossrankError } from "@crossrank/core";
import { UnknownBackendError } from "./backend-errors.js";
import { CommandError } from "./failure.js";
import {
  defaultBackend as chooseDefault,
  findBackend,
  installOf,
  isMissing,
  type KnownBackend,
  makeBackend,
  type NamedBackend,
  nameAmong,
  outsiderFile,
  parseOutsider,
  registeredBackends,
  registeredNames,
} from "./registry.js";

export { type Precision, precisionsAmong } from "./registry.js";

export type BackendOptions = Pick<CommonBackendOptions, "threads" | "workers">;

/** Those of the packages that are installed. Descriptors load no runtime, and `--help` lists their names. */
const known: readonly KnownBackend[] = (
  await Promise.all(registeredNames.map((name) => registeredBackends(name).catch(() => [])))
).flat();

/** Every backend that the command knows, in the order of the registry; a package that is missing by its own name. */
export const backendNames: readonly string[] = registeredNames.flatMap((name) => {
  const own = known.map((one) => one.name).filter((one) => one === name || one.startsWith(`${name}:`));
  return own.length === 0 ? [name] : own;
});

/** The backend's npm package; its path, where it is a file. */
export function backendPackage(name: string): string {
  return backendPackages(name)[0] ?? name;
}

/** npm packages whose versions the backend's scores depend on, its own first. None for a file. */
export function backendPackages(name: string): readonly string[] {
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

/** Folders of Core ML packages that the files lie in, each once. */
export function packagesAmong(paths: readonly string[]): readonly string[] {
  return [...new Set(paths.flatMap((path) => /^(.*?\.mlpackage)\//.exec(path)?.[1] ?? []))];
}

/** `"onnx:int8"` → backend and precision, also of a path or an installed package. Undefined when there is no such backend. */
export function parseBackend(value: string): NamedBackend | undefined {
  return nameAmong(backendNames, value) ?? parseOutsider(value);
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
  if (!CrossrankError.isInstance(error)) return error;
  return new CommandError(error.message, { cause: error });
}
