import { readFile } from "node:fs/promises";
import type { CrossrankJson, ModelFiles } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { CommandError, describeSystemError, translateInputError, UsageError } from "./failure.js";

/** The embedded model's name on the command line. A folder of that name is `./nano`. */
export const defaultModel = "nano";

export interface ModelOptions {
  readonly revision?: string | undefined;
  readonly offline?: boolean | undefined;
  /** Path of a lock file. */
  readonly lock?: string | undefined;
}

/**
 * `"nano"`, a folder, or a repository id.
 *
 * @throws {UsageError} when an option does not go with the model.
 */
export async function openModelFiles(
  source: string,
  options: ModelOptions,
  signal: AbortSignal,
): Promise<ModelFiles> {
  const { revision, offline, lock } = options;
  if (source === defaultModel) {
    const unfit = revision !== undefined ? "--revision" : lock !== undefined ? "--lock" : undefined;
    if (unfit !== undefined)
      throw new UsageError(`${unfit} does not apply to nano, which is part of crossrank`);
    const { modelFolder } = await import("@crossrank/model-nano");
    return named(defaultModel, await openModel(modelFolder, { signal }));
  }
  try {
    return await openModel(source, { revision, offline, lockFile: lock, signal });
  } catch (error) {
    throw translateInputError(error, {
      source: "model",
      "options.revision": "--revision",
      "options.lockFile": "--lock",
    });
  }
}

/** A crossrank.json given on the command line. Core checks what it says. */
export async function readProfileFile(path: string | undefined): Promise<CrossrankJson | undefined> {
  if (path === undefined) return undefined;
  try {
    return JSON.parse((await readFile(path, "utf8")).replace(/^\ufeff/, "")) as CrossrankJson;
  } catch (cause) {
    const problem =
      cause instanceof SyntaxError ? `it is not JSON (${cause.message})` : describeSystemError(cause);
    throw new CommandError(
      `cannot read --profile ${path}: ${problem}. Pass a file in the form of a crossrank.json`,
      {
        cause,
      },
    );
  }
}

/** The same files under the name the user knows, instead of a folder within node_modules. */
function named(id: string, files: ModelFiles): ModelFiles {
  return {
    id,
    revision: files.revision,
    list: (options) => files.list(options),
    readText: (path, options) => files.readText(path, options),
    readBytes: (path, range, options) => files.readBytes(path, range, options),
    localPath: (path, options) => files.localPath(path, options),
  };
}
