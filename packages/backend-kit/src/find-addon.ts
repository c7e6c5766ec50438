import { existsSync } from "node:fs";
import { firstLine } from "./failure-text.js";

/** Where a backend's Node-API addon may be. */
export interface AddonPlace {
  /** The backend's own `createRequire(import.meta.url)`. */
  readonly require: NodeJS.Require;
  /** Absolute path of the file that the backend's build script writes. */
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
  require,
  built,
  packageName,
}: AddonPlace): { readonly addon: Addon } | MissingAddon {
  const attempts: string[] = [];
  let cause: unknown;
  const isBuilt = existsSync(built);
  // What was built here is newer than what was installed, wherever somebody has both.
  for (const path of [...(isBuilt ? [built] : []), packageName]) {
    try {
      return { addon: require(path) as Addon };
    } catch (error) {
      const isAbsent = (error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND";
      attempts.push(isAbsent ? `package ${path} is not installed` : `${path}: ${firstLine(error)}`);
      if (!isAbsent) cause = error;
    }
  }
  if (!isBuilt) attempts.push("none was built");
  return { attempts, cause };
}
