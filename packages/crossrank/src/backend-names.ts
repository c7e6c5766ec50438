// Names of backends. `--help` lists them and every option is parsed by them, so no package is loaded for that.
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

interface RegistryLine {
  /** npm packages, its own first. */
  readonly install: readonly string[];
  /** The descriptors' own, and how the artifacts' names end: so that also a package that is missing can be named. */
  readonly format: string;
  /** What its backends are called behind its own name, as in `coreml:reference`. */
  readonly modes?: readonly string[];
  /** It runs the weights that every format is made of, so a model is never taken to be for it: only who names it gets it. */
  readonly onlyByName?: true;
}

/**
 * The packages of this repository, one a line, in the order in which a model that names no backend tries them. The rest
 * is read from the package's `backends`, when it is needed: nothing here loads a package.
 */
const registry: Readonly<Record<string, RegistryLine>> = {
  onnx: { install: ["@crossrank/backend-onnx"], format: "onnx" },
  llamacpp: { install: ["@crossrank/backend-llamacpp", "node-llama-cpp"], format: "gguf" },
  mnn: { install: ["@crossrank/backend-mnn"], format: "mnn" },
  coreml: {
    install: ["@crossrank/backend-coreml"],
    format: "mlpackage",
    modes: ["reference", "reference-half"],
  },
  mlx: { install: ["@crossrank/backend-mlx"], format: "safetensors", onlyByName: true },
  ctranslate2: { install: ["@crossrank/backend-ctranslate2"], format: "ctranslate2" },
};

/** Whether a backend is taken only where it is named. */
export function isOnlyByName(name: string): boolean {
  return registry[name]?.onlyByName === true;
}

/** Names of the packages' own backends, without those of their modes. */
export const registeredNames: readonly string[] = Object.keys(registry);

/** Every backend of this repository, installed or not, in the order of the registry. */
export const backendNames: readonly string[] = Object.entries(registry).flatMap(([name, { modes = [] }]) => [
  name,
  ...modes.map((mode) => `${name}:${mode}`),
]);

/** A backend's name and the precision asked for with it. */
export interface NamedBackend {
  readonly name: string;
  readonly dtype: string | undefined;
}

/** `"onnx:int8"` → backend and precision, also of a path or an installed package. Undefined when there is no such backend. */
export function parseBackend(value: string): NamedBackend | undefined {
  return nameAmong(backendNames, value) ?? parseOutsider(value);
}

/** `"onnx:int8"` → backend and precision; the longest name that fits. Undefined when none does. */
export function nameAmong(names: readonly string[], value: string): NamedBackend | undefined {
  const [name] = names
    .filter((known) => value === known || (value.startsWith(`${known}:`) && value.length > known.length + 1))
    .sort((a, b) => b.length - a.length);
  if (name === undefined) return undefined;
  return { name, dtype: value === name ? undefined : value.slice(name.length + 1) };
}

/** What to install for a backend of this repository, its own package first. */
export function installOf(name: string): readonly string[] {
  return registry[name]?.install ?? [];
}

/** The format that a package's backends run, by which its artifacts' names end. */
export function formatOf(name: string): string | undefined {
  return registry[name]?.format;
}

/** A path, or the name of a package that is installed, each also with a precision; undefined where it is neither. */
export function parseOutsider(value: string): NamedBackend | undefined {
  const [, path, pathDtype] =
    /^((?:\.{1,2}[\\/]|[\\/]|[A-Za-z]:[\\/]|file:).*?\.[cm]?js)(?::([^:\\/]+))?$/.exec(value) ?? [];
  if (path !== undefined) return { name: path, dtype: pathDtype };
  const [, name, dtype] = /^((?:@[a-z\d~-][\w.~-]*\/)?[a-z\d~-][\w.~-]*)(?::([^:\\/]+))?$/.exec(value) ?? [];
  return name === undefined || packageFolder(name) === undefined ? undefined : { name, dtype };
}

/** The name again, where it is a file's or a package's that is not ours. */
export function outsiderOf(name: string): string | undefined {
  const isOurs = registeredNames.some((own) => name === own || name.startsWith(`${own}:`));
  return isOurs ? undefined : parseOutsider(name)?.name;
}

/** The file of a backend that was named by a path; undefined for a package. It need not exist. */
export function outsiderFile(name: string): string | undefined {
  const outsider = parseOutsider(name);
  if (outsider === undefined || packageFolder(outsider.name) !== undefined) return undefined;
  return fileURLToPath(fileUrl(outsider.name));
}

/** Of a path that names a backend. */
export function fileUrl(path: string): URL {
  return path.startsWith("file:") ? new URL(path) : pathToFileURL(resolve(path));
}

/** Where a package is installed: for the working directory, else for this package. */
export function packageFolder(name: string): string | undefined {
  // A path, which `join` would follow.
  if (!/^(@[\w.~-]+\/)?[\w~-][\w.~-]*$/.test(name)) return undefined;
  for (const start of [process.cwd(), dirname(fileURLToPath(import.meta.url))]) {
    for (let folder = start; ; folder = dirname(folder)) {
      const found = join(folder, "node_modules", name);
      if (existsSync(join(found, "package.json"))) return found;
      if (dirname(folder) === folder) break;
    }
  }
  return undefined;
}
