import { existsSync } from "node:fs";
// As a whole: webpack takes a `createRequire` that is imported by name for one of its own, and warns.
import * as nodeModules from "node:module";
import { dirname, join } from "node:path";
import { firstLine } from "./failure-text.js";
import { bundleFix, findPackageFile, type PackageFile } from "./package-file.js";

/** Where a backend's Node-API addon may be. */
export interface AddonPlace {
  /** The backend's package. */
  readonly owner: Omit<PackageFile, "path">;
  /** The file that the backend's build script writes, relative to its package's folder. */
  readonly built: string;
  /** The package of this platform. */
  readonly packageName: string;
}

/** What was tried, and what came of it. */
export interface MissingAddon {
  readonly attempts: readonly string[];
  /** The last failure that is not that a file is absent. */
  readonly cause: unknown;
}

/** The addon as it was built here, else of this platform's package. */
export function findAddon<Addon>({
  owner,
  built,
  packageName,
}: AddonPlace): { readonly addon: Addon } | MissingAddon {
  const own = findPackageFile({ ...owner, path: "package.json" });
  if ("problem" in own) return { attempts: [`${own.problem}. ${bundleFix(owner.name)}`], cause: undefined };
  // Not a `require` that a bundler sees.
  const modules = nodeModules.createRequire(own.path);
  const attempts: string[] = [];
  let cause: unknown;
  const builtPath = join(dirname(own.path), built);
  const isBuilt = existsSync(builtPath);
  // What was built here is newer than what was installed, wherever somebody has both.
  for (const path of [...(isBuilt ? [builtPath] : []), packageName]) {
    try {
      return { addon: modules(path) as Addon };
    } catch (error) {
      const isAbsent = (error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND";
      attempts.push(isAbsent ? `package ${path} is not installed` : `${path}: ${firstLine(error)}`);
      if (!isAbsent) cause = error;
    }
  }
  if (!isBuilt) attempts.push("none was built");
  return { attempts, cause };
}
