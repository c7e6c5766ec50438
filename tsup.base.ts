import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { isolatedDeclarationSync } from "oxc-transform";
import type { Options } from "tsup";

/** How one package is built. */
export interface Library {
  /** Modules that are built, by their names in dist; of a path alone the name is its own below src. */
  readonly entry: readonly string[] | Readonly<Record<string, string>>;
  /** Of {@link entry}, those that have declarations. Default all. */
  readonly types?: readonly string[];
  /** Default `"node"`. */
  readonly platform?: "node" | "neutral";
  /**
   * Packages that are compiled in; the licences of others' go into dist with them. zod is one wherever little of it is
   * used: loaded as it is published, it is sixty modules, with the messages of fifty languages.
   */
  readonly noExternal?: string[];
}

/** What every package is built to, and its declarations beside it. */
export function library({ entry, types, platform = "node", noExternal = [] }: Library): Options {
  const entries = Array.isArray(entry)
    ? Object.fromEntries(entry.map((path: string) => [relative("src", path).replace(/\.ts$/, ""), path]))
    : (entry as Readonly<Record<string, string>>);
  const named = Object.entries(entries).filter(([, path]) => types === undefined || types.includes(path));
  return {
    entry: { ...entries },
    format: "esm",
    clean: true,
    sourcemap: true,
    target: "es2022",
    platform,
    noExternal,
    esbuildPlugins: [inThisFolder],
    // A map names the line of the source for a stack. The sources themselves were more than half of a download.
    esbuildOptions: (options) => {
      options.sourcesContent = false;
    },
    onSuccess: async () => {
      await writeDeclarations(named);
      for (const name of noExternal) await copyLicence(name);
    },
  };
}

/** esbuild's process keeps the folder that it was started in, and may have been started for another package. */
const inThisFolder: NonNullable<Options["esbuildPlugins"]>[number] = {
  name: "in-this-folder",
  setup({ initialOptions }) {
    initialOptions.absWorkingDir = process.cwd();
  },
};

/** The licence of a package of others that is compiled in asks to be where its code is. */
async function copyLicence(name: string): Promise<void> {
  const licence = resolve("node_modules", name, "LICENSE");
  if (name.startsWith("@crossrank/") || !existsSync(licence)) return;
  await copyFile(licence, resolve("dist", `LICENSE.${name}`));
}

/** An import or export of another module of the package; those of a comment do not begin a line. */
const fromModule = /^(?:import|export)\b[^;]*?\bfrom "(\.[^"]+)";$/gm;

/**
 * Declarations file by file, as `isolatedDeclarations` makes possible: no program is built and no type is inferred,
 * which took nine tenths of a build. Those that no entry reaches are not written.
 */
async function writeDeclarations(entries: readonly (readonly [name: string, path: string])[]): Promise<void> {
  const written = new Set<string>();

  async function write(path: string): Promise<void> {
    if (written.has(path)) return;
    written.add(path);
    const { code, errors } = isolatedDeclarationSync(path, await readFile(path, "utf8"));
    const [wrong] = errors;
    if (wrong !== undefined) throw new Error(`${path}: ${wrong.message}`);
    const target = resolve("dist", relative("src", path).replace(/\.ts$/, ".d.ts"));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, code);
    for (const [, module = ""] of code.matchAll(fromModule))
      await write(resolve(dirname(path), module.replace(/\.js$/, ".ts")));
  }

  for (const [name, path] of entries) {
    await write(resolve(path));
    const own = relative("src", path).replace(/\.ts$/, "");
    // An entry is named for its users, and its source for its readers.
    if (own !== name) await writeFile(resolve("dist", `${name}.d.ts`), `export * from "./${own}.js";\n`);
  }
}
