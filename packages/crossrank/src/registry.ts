import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  type BackendDescriptor,
  BackendNotInstalledError,
  type CommonBackendOptions,
} from "@crossrank/backend-kit";
import type { Backend, BackendDiagnosis, DeclaredClasses, ModelFiles } from "@crossrank/core";
import { BackendModuleError, BackendUnavailableError, UnknownBackendError } from "./backend-errors.js";
import {
  backendNames,
  fileUrl,
  formatOf,
  installOf,
  isOnlyByName,
  nameAmong,
  packageFolder,
  parseOutsider,
  registeredNames,
} from "./backend-names.js";

/** A backend and where it comes from. */
export interface KnownBackend {
  /** By which it is asked for: the descriptor's, or the path or package of an outsider. */
  readonly name: string;
  readonly descriptor: BackendDescriptor;
  /** npm packages whose versions its scores depend on, its own first; none for a file. */
  readonly packages: readonly string[];
}

/** A file of the model that a backend can run, or a folder that is one artifact. */
export interface Precision {
  readonly backend: string;
  /** `"?"` where only the file itself says it, or the backend's package is not installed. */
  readonly dtype: string;
  /** Relative to the model. */
  readonly path: string;
  /** Further names by which it may be asked for, as the publisher calls it. */
  readonly aliases?: readonly string[] | undefined;
  /** Why it is taken only where it is named itself. */
  readonly onlyByName?: string | undefined;
}

/** Whether an artifact is what somebody asks for by a precision, by a publisher's own name for it, or by its path. */
export function isAskedFor({ dtype, path, aliases = [], onlyByName }: Precision, asked: string): boolean {
  const same = (name: string): boolean => name.toLowerCase() === asked.toLowerCase();
  return path === asked || aliases.some(same) || (onlyByName === undefined && same(dtype));
}

/**
 * A bundle holds the package that crossrank depends on. The others may be missing, so that bundlers are told to leave
 * the import as it is: they are found where the bundle runs.
 */
async function importRegistered(name: string): Promise<Readonly<Record<string, unknown>>> {
  if (name === "@crossrank/backend-onnx") return import("@crossrank/backend-onnx");
  return import(/* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ name);
}

/**
 * The backends of one of this repository's packages. Loads no runtime.
 *
 * @param name one of {@link registeredNames}.
 * @throws {BackendNotInstalledError}
 */
export async function registeredBackends(name: string): Promise<readonly KnownBackend[]> {
  const install = installOf(name);
  const [packageName = ""] = install;
  let exports: Readonly<Record<string, unknown>>;
  try {
    exports = await importRegistered(packageName);
  } catch (cause) {
    if (!isMissing(cause, [packageName])) throw cause;
    throw new BackendNotInstalledError({ backend: name, install }, { cause });
  }
  return descriptorsOf(packageName, exports).map((descriptor) => ({
    name: descriptor.name,
    descriptor,
    packages: [packageName, ...(descriptor.alsoUses ?? [])],
  }));
}

/**
 * The backend that a string names: `"onnx"`, `"coreml:reference"`, a path (`"./mine.mjs"`) or an npm package; each also
 * with a precision behind a colon.
 *
 * @throws {UnknownBackendError} {BackendNotInstalledError} {BackendModuleError}
 */
export async function findBackend(
  value: string,
): Promise<{ readonly backend: KnownBackend; readonly dtype: string | undefined }> {
  const packageOf = registeredNames.find((name) => value === name || value.startsWith(`${name}:`));
  if (packageOf !== undefined) {
    const backends = await registeredBackends(packageOf);
    const named = nameAmong(
      backends.map(({ name }) => name),
      value,
    );
    const backend = backends.find(({ name }) => name === named?.name);
    if (named !== undefined && backend !== undefined) return { backend, dtype: named.dtype };
  }
  const outsider = parseOutsider(value);
  if (outsider === undefined) throw new UnknownBackendError(value, registeredNames);
  return { backend: await loadOutsider(outsider.name), dtype: outsider.dtype };
}

/**
 * Makes a backend. Loads no runtime.
 *
 * @throws {BackendUnavailableError} on a system where it does not run.
 * @throws {BackendNotInstalledError} when a package that it uses is not installed.
 */
export async function makeBackend(
  { name, descriptor, packages }: KnownBackend,
  options: CommonBackendOptions = {},
): Promise<Backend> {
  if (!runsHere(descriptor)) throw new BackendUnavailableError(name, descriptor.only?.elsewhere ?? "");
  let backend: Backend;
  try {
    backend = await descriptor.create(options);
  } catch (cause) {
    if (!isMissing(cause, [...packages, ...descriptor.install])) throw cause;
    throw new BackendNotInstalledError({ backend: name, install: descriptor.install }, { cause });
  }
  if (typeof backend?.load !== "function") {
    throw new BackendModuleError(name, "what its `create` gives has no `load`");
  }
  return backend;
}

/** Artifacts of a model, by backend, in the order of the registry. References run others' and have none of their own. */
export async function precisionsAmong(paths: readonly string[]): Promise<Precision[]> {
  const precisions: Precision[] = [];
  // Others have nothing here, and loading a package takes time.
  for (const name of registeredNames.filter((one) => registeredArtifacts(one, paths).length > 0)) {
    const backends = await registeredBackends(name).catch((error: unknown) => {
      if (isUnusable(error)) return undefined;
      throw error;
    });
    if (backends === undefined) {
      precisions.push(
        ...registeredArtifacts(name, paths).map((path) => ({ backend: name, dtype: "?", path })),
      );
    }
    for (const { descriptor } of backends ?? []) {
      if (descriptor.isReference) continue;
      precisions.push(...descriptor.artifacts(paths).map((one) => ({ backend: descriptor.name, ...one })));
    }
  }
  return precisions;
}

/**
 * For a model that is asked for without a backend: of those that have a file of the precision, else of those that have
 * any file, the first that works here. Only where there is a choice is it tried whether one works.
 *
 * @throws {BackendUnavailableError} when all that there is runs on another system.
 */
export async function defaultBackend(paths: readonly string[], dtype?: string): Promise<string> {
  const precisions = await precisionsAmong(paths);
  const fitting = dtype === undefined ? [] : precisions.filter((one) => isAskedFor(one, dtype));
  const ofPrecision = await allowedHere(fitting.map(({ backend }) => backend));
  // Also those whose file names say nothing.
  const withFiles = registeredNames.filter((name) => registeredArtifacts(name, paths).length > 0);
  const candidates = ofPrecision.length > 0 ? ofPrecision : await allowedHere(withFiles);
  if (candidates.length > 1) {
    for (const name of candidates) if (await works(name)) return name;
  }
  const [first] = candidates;
  if (first !== undefined) return first;
  const [elsewhere] = withFiles;
  if (elsewhere === undefined) return registeredNames[0] as string;
  const { backend } = await findBackend(elsewhere);
  throw new BackendUnavailableError(
    elsewhere,
    `the model has files for ${elsewhere} and nothing else, and ${backend.descriptor.only?.elsewhere}`,
  );
}

/**
 * How many class logits the artifact gives that the default backend would run: evidence for `readProfile` of @crossrank/core.
 * Fetches the file.
 */
export async function declaredClassesOf(
  files: ModelFiles,
  signal: AbortSignal | undefined,
): Promise<DeclaredClasses | undefined> {
  const listed = await files.list({ signal });
  const name = await defaultBackend(listed.map(({ path }) => path));
  const backend = await makeBackend((await findBackend(name)).backend);
  return backend.declaredClasses?.({ files, signal });
}

/** A package that is missing or of another time must not stand in the way of the others. */
function isUnusable(error: unknown): boolean {
  return BackendNotInstalledError.isInstance(error) || BackendModuleError.isInstance(error);
}

/** Each once; one that cannot be used stays, since the message about it says why. */
async function allowedHere(names: readonly string[]): Promise<string[]> {
  const allowed: string[] = [];
  for (const name of new Set(names)) {
    try {
      const { backend } = await findBackend(name);
      if (runsHere(backend.descriptor)) allowed.push(name);
    } catch (error) {
      if (!isUnusable(error)) throw error;
      allowed.push(name);
    }
  }
  return allowed;
}

/** Files of a model that the backend can run; of a reference, those of the backends whose format it computes. */
export function artifactsOf(
  { format, artifacts }: BackendDescriptor,
  paths: readonly string[],
): readonly string[] {
  const own = artifacts(paths).map(({ path }) => path);
  return own.length > 0 ? own : endingWith(format, paths);
}

/** Whether a backend computes on this machine. Loads its runtime. */
export async function works(name: string): Promise<boolean> {
  try {
    const { backend } = await findBackend(name);
    return (await diagnosisOf(name, await makeBackend(backend))).available;
  } catch {
    return false;
  }
}

/** What backends of ours that work here have said: within a process that does not change. */
const working = new Map<string, BackendDiagnosis>();

/**
 * Whether a backend works here, for what it is to do next: a process is started for it once, and not again where it did.
 *
 * @param name by which it was made.
 */
export async function diagnosisOf(name: string, backend: Backend): Promise<BackendDiagnosis> {
  const known = working.get(name);
  if (known !== undefined) return known;
  const diagnosis = await backend.diagnose();
  if (diagnosis.available && backendNames.includes(name)) working.set(name, diagnosis);
  return diagnosis;
}

function runsHere({ only }: BackendDescriptor): boolean {
  return only === undefined || only.platform === process.platform;
}

/** By what the registry knows, each once. */
function registeredArtifacts(name: string, paths: readonly string[]): readonly string[] {
  return isOnlyByName(name) ? [] : endingWith(formatOf(name) ?? name, paths);
}

function endingWith(format: string, paths: readonly string[]): readonly string[] {
  const ending = new RegExp(`^.*?\\.${format.replace(/[^\w-]/g, "\\$&")}(?=/|$)`);
  return [...new Set(paths.flatMap((path) => ending.exec(path)?.[0] ?? []))];
}

/**
 * What a file or package that is not ours exports: `backends`, and `writers` for `crossrank convert`.
 * @throws {BackendModuleError}
 */
export async function importOutsider(name: string): Promise<Readonly<Record<string, unknown>>> {
  const folder = packageFolder(name);
  const url = folder === undefined ? fileUrl(name) : pathToFileURL(join(folder, entryOf(folder)));
  try {
    return (await import(
      /* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ url.href
    )) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    const problem =
      folder === undefined && !existsSync(url)
        ? "there is no such file"
        : `it cannot be imported (${cause instanceof Error ? cause.message : String(cause)})`;
    throw new BackendModuleError(name, problem, { cause });
  }
}

/** The first backend of a file or of a package that is not ours. */
async function loadOutsider(name: string): Promise<KnownBackend> {
  const [descriptor] = descriptorsOf(name, await importOutsider(name));
  if (descriptor === undefined) throw new BackendModuleError(name, "its `backends` is empty");
  return {
    name,
    descriptor,
    packages: [...(packageFolder(name) === undefined ? [] : [name]), ...(descriptor.alsoUses ?? [])],
  };
}

/** `backends`; of a module that has one alone also `backend`, or its default export. */
function descriptorsOf(
  name: string,
  exports: Readonly<Record<string, unknown>>,
): readonly BackendDescriptor[] {
  const { backends, backend, default: standard } = exports;
  const found: readonly unknown[] = Array.isArray(backends) ? backends : [backend ?? standard];
  return found.map((one) => {
    if (isDescriptor(one)) return one;
    throw new BackendModuleError(
      name,
      "it exports no descriptor, an object with `name`, `format` and `create`",
    );
  });
}

function isDescriptor(value: unknown): value is BackendDescriptor {
  const { name, format, create } = (value ?? {}) as Partial<Record<keyof BackendDescriptor, unknown>>;
  return typeof name === "string" && typeof format === "string" && typeof create === "function";
}

/** The file that an import of the package gives, relative to its folder. */
function entryOf(folder: string): string {
  const { exports, main } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    readonly exports?: unknown;
    readonly main?: string;
  };
  const root = (exports as Readonly<Record<string, unknown>> | undefined)?.["."] ?? exports;
  return conditional(root) ?? main ?? "index.js";
}

/** The path under the conditions of an import in Node. */
function conditional(target: unknown): string | undefined {
  if (typeof target === "string") return target;
  if (typeof target !== "object" || target === null) return undefined;
  for (const [condition, value] of Object.entries(target)) {
    if (!["node", "import", "module-sync", "default"].includes(condition)) continue;
    const found = conditional(value);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether an import failed because one of the packages is not there: a file that is missing inside it is another fault. */
export function isMissing(error: unknown, packages: readonly string[]): boolean {
  const { code, message } = (error ?? {}) as NodeJS.ErrnoException;
  return code === "ERR_MODULE_NOT_FOUND" && packages.some((name) => message.includes(`'${name}'`));
}
