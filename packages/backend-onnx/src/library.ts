// As a whole: webpack takes a `createRequire` that is imported by name for one of its own, and warns.
import * as nodeModules from "node:module";
import { messageOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import type * as common from "onnxruntime-common";

/** What `onnxruntime-node` exports. */
export type Library = typeof common & {
  readonly listSupportedBackends: () => readonly { readonly name: string; readonly bundled: boolean }[];
};

/** Microsoft's package, which holds the libraries of every platform, and whose install script fetches CUDA's. */
const official = "onnxruntime-node";

/** Those that ONNX Runtime's makers build for, as a platform of Node.js and a processor. */
const platforms: readonly string[] = ["linux-x64", "linux-arm64", "darwin-arm64", "win32-x64", "win32-arm64"];

/** The official files of one platform, with the processor's provider; undefined where nobody built any. */
export function slimPackage(
  platform: string = process.platform,
  processor: string = process.arch,
): string | undefined {
  const name = `${platform}-${processor}`;
  return platforms.includes(name) ? `@crossrank/onnxruntime-${name}` : undefined;
}

/**
 * ONNX Runtime: the platform's own package, else `onnxruntime-node` where the user has it. With a provider other than
 * the processor's it is the other way round, since the libraries of those are in `onnxruntime-node` alone.
 *
 * @throws {RuntimeFailure} of stage `runtime`: neither is there, or the one that is does not start.
 */
export async function loadLibrary(providers: readonly string[] = []): Promise<Library> {
  const slim = slimPackage();
  const names = slim === undefined ? [official] : [slim, official];
  if (providers.some((provider) => provider !== "cpu")) names.reverse();
  const missing: string[] = [];
  for (const name of names) {
    try {
      const library = requireLibrary(name);
      if (library === undefined) {
        missing.push(name);
        continue;
      }
      // Its failures are errors with a message; it would write them to the standard error of the program besides.
      library.env.logLevel = "fatal";
      return library;
    } catch (cause) {
      // One that is there and broken must not be passed over for another: the message would name the wrong one.
      throw new RuntimeFailure("runtime", messageOf(cause).trim(), { cause });
    }
  }
  throw new RuntimeFailure(
    "runtime",
    `${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} not installed`,
  );
}

/**
 * Undefined where it is not installed. By `require`: of CommonJS that is imported Node parses every file a second time,
 * for the names of its exports, which takes as long as all the rest of loading it. No bundler sees it either.
 */
function requireLibrary(name: string): Library | undefined {
  const modules = nodeModules.createRequire(import.meta.url);
  let path: string;
  try {
    path = modules.resolve(name);
  } catch (cause) {
    if (isMissing(cause, name)) return undefined;
    throw cause;
  }
  return modules(path) as Library;
}

/** Whether the package itself was not found, as Node.js, Deno and Bun say it. */
function isMissing(cause: unknown, name: string): boolean {
  const { code } = cause as { readonly code?: unknown };
  return (code === "MODULE_NOT_FOUND" || code === "ERR_MODULE_NOT_FOUND") && messageOf(cause).includes(name);
}
