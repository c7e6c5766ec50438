import { existsSync, readFileSync } from "node:fs";
// As a whole: webpack takes a `createRequire` that is imported by name for one of its own, and warns.
import * as nodeModules from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** A file that a package starts or reads at run time, and which therefore no bundler sees. */
export interface PackageFile {
  /** Name of the package. */
  readonly name: string;
  /** Its version, as it was when it was built. */
  readonly version: string;
  /** `import.meta.url` of a module in one of its folders; undefined where a bundler took it away. */
  readonly module: string | undefined;
  /** Relative to the package's folder, with `/` between folders. */
  readonly path: string;
}

/** What to do about a bundle, as sentences. Names the settings of those that bundle for Node. */
export function bundleFix(name: string): string {
  return (
    "Where the program was bundled, leave crossrank's packages out of the bundle and install them where it runs: " +
    `\`serverExternalPackages: ["crossrank", "${name}"]\` in next.config, \`--packages=external\` or ` +
    "`--external:crossrank --external:@crossrank/*` of esbuild, `ssr.external` of Vite, `externals` of webpack."
  );
}

/**
 * Finds a package's file: in the folder of the package that the module is in, else, where a bundler put the module
 * elsewhere, in the package of the same version that is installed for the bundle, the program or the working directory.
 *
 * @returns its absolute path, or why there is none, as a clause.
 */
export function findPackageFile({
  name,
  version,
  module,
  path,
}: PackageFile): { readonly path: string } | { readonly problem: string } {
  const own = module?.startsWith("file:") ? fileURLToPath(module) : undefined;
  const root = own === undefined ? undefined : dirname(dirname(own));
  if (root !== undefined && manifestIn(root)?.name === name) {
    const found = join(root, path);
    return existsSync(found) ? { path: found } : { problem: `${found} is missing: ${name} is not whole` };
  }
  let other: string | undefined;
  for (const start of [own, process.argv[1], join(process.cwd(), "program.js")]) {
    const installed = start === undefined ? undefined : installedFor(start, name);
    if (installed === undefined) continue;
    const found = join(installed, path);
    const installedVersion = manifestIn(installed)?.version;
    if (installedVersion === version && existsSync(found)) return { path: found };
    other ??= `the bundle holds ${name} ${version}, and ${installed} is version ${installedVersion}`;
  }
  const place = own ?? process.argv[1] ?? process.cwd();
  return { problem: other ?? `${path} of ${name} is not there: ${place} is a bundle without it` };
}

/** Folder of the package as a module at `start` would get it, or as crossrank itself would there. */
function installedFor(start: string, name: string): string | undefined {
  try {
    const modules = nodeModules.createRequire(start);
    const direct = manifestOf(modules, name);
    if (direct !== undefined) return dirname(direct);
    // Package managers that keep dependencies apart show a program its own alone.
    const crossrank = manifestOf(modules, "crossrank");
    const indirect =
      crossrank === undefined ? undefined : manifestOf(nodeModules.createRequire(crossrank), name);
    return indirect === undefined ? undefined : dirname(indirect);
  } catch {
    return undefined;
  }
}

function manifestOf(modules: NodeJS.Require, name: string): string | undefined {
  try {
    return modules.resolve(`${name}/package.json`);
  } catch {
    return undefined;
  }
}

function manifestIn(folder: string): { readonly name?: string; readonly version?: string } | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  } catch {
    return undefined;
  }
}
