import childProcess from "node:child_process";
import { readFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Of node-llama-cpp, with whose messages binary-test.ts answers. Another one tests its binary as it does. */
const knownVersion = "3.22.1";
const program = fileURLToPath(new URL("./binary-test.js", import.meta.url));

/**
 * Before node-llama-cpp loads its binary it tries it in a process, which loads the whole library for it: 400 modules,
 * half of what a start takes. From here on that process has the binary alone. For a process that is the runtime's own:
 * it changes what the module `child_process` gives.
 */
export function testBinariesAlone(): void {
  const fork = childProcess.fork as (module: string | URL, ...others: unknown[]) => childProcess.ChildProcess;
  childProcess.fork = ((module: string | URL, ...others: unknown[]) =>
    fork(isKnownTest(String(module)) ? program : module, ...others)) as typeof childProcess.fork;
  syncBuiltinESMExports();
}

function isKnownTest(module: string): boolean {
  const [, root] = /^(.*)[\\/]dist[\\/]bindings[\\/]utils[\\/]testBindingBinary\.js$/.exec(module) ?? [];
  if (root === undefined) return false;
  try {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version?: unknown };
    return version === knownVersion;
  } catch {
    return false;
  }
}
