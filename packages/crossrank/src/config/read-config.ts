import { readFile, stat } from "node:fs/promises";
import { dirname, extname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describeSystemError, UsageError } from "../failure.js";

/** Names that are looked for, in the working directory. */
export const configNames: readonly string[] = ["ts", "mts", "js", "mjs", "json"].map(
  (ending) => `crossrank.config.${ending}`,
);

export interface ConfigFile {
  /** As it was given, or the name that was found. */
  readonly path: string;
  /** Absolute; what paths in it are relative to. */
  readonly folder: string;
  /** Unchecked. */
  readonly value: unknown;
}

/**
 * Reads a configuration. Code is run, TypeScript without a check of its types.
 * @throws {UsageError} when there is none, or several to choose from, or it cannot be read.
 */
export async function readConfig(given: string | undefined): Promise<ConfigFile> {
  const path = given ?? (await findConfig());
  const absolute = resolve(path);
  return { path, folder: dirname(absolute), value: await load(path, absolute) };
}

async function findConfig(): Promise<string> {
  const found: string[] = [];
  for (const name of configNames) if (await isFile(resolve(name))) found.push(name);
  const [only, other] = found;
  if (only === undefined) {
    throw new UsageError(`there is no ${configNames.join(", ")} here; write one, or name it with --config`);
  }
  if (other !== undefined) {
    throw new UsageError(`there are ${found.join(" and ")}; keep one, or name it with --config`);
  }
  return only;
}

async function load(path: string, absolute: string): Promise<unknown> {
  const ending = extname(path).toLowerCase();
  if (![".ts", ".mts", ".js", ".mjs", ".json"].includes(ending)) {
    throw new UsageError(`--config ${path} must end in .ts, .mts, .js, .mjs or .json`);
  }
  let source: string;
  try {
    source = await readFile(absolute, "utf8");
  } catch (cause) {
    throw new UsageError(`cannot read the configuration ${path}: ${describeSystemError(cause)}`, { cause });
  }
  try {
    if (ending === ".json") return JSON.parse(source.replace(/^\ufeff/, ""));
    return await runModule(absolute);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    const what = ending === ".json" ? "it is not JSON" : "running it failed";
    throw new UsageError(`cannot read the configuration ${path}: ${what} (${problem})`, { cause });
  }
}

async function runModule(absolute: string): Promise<unknown> {
  const { createJiti } = await import("jiti");
  const jiti = createJiti(import.meta.url, {
    // A configuration that was edited is read as it is.
    fsCache: false,
    moduleCache: false,
    // `npx crossrank ci` has to work where the package is not installed beside the configuration.
    alias: { crossrank: fileURLToPath(new URL("./config.js", import.meta.url)) },
  });
  const loaded = await jiti.import<Readonly<Record<string, unknown>>>(absolute);
  if (!("default" in loaded)) {
    throw new Error("it has no default export; write: export default defineConfig({ … })");
  }
  return await loaded["default"];
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}
