import { readFile } from "node:fs/promises";
import type { CrossrankJson, ModelFiles } from "@crossrank/core";
import { CommandError, describeSystemError, translateInputError } from "./failure.js";
import { rememberProfileFile } from "./model-origin.js";
import { toSingleLine } from "./text.js";

export { defaultModel } from "./default-model.js";

export interface ModelOptions {
  readonly revision?: string | undefined;
  readonly offline?: boolean | undefined;
  /** Path of a lock file. */
  readonly lock?: string | undefined;
  /** The model whose configuration and tokenizer belong to the artifact. */
  readonly base?: string | undefined;
  /** False with `--no-convert`: a model with weights alone is not converted. */
  readonly convert?: boolean | undefined;
}

/** What was said on standard error already: a command may open a model several times. */
const said = new Set<string>();

/** Says once, beside the output, what was done without being asked for. */
export function note(notice: string): void {
  if (said.has(notice)) return;
  said.add(notice);
  // In a terminal, in place of the line that tells how far the work is.
  process.stderr.write(`${process.stderr.isTTY ? "\r\x1b[2K" : ""}note: ${toSingleLine(notice)}\n`);
}

/**
 * `"nano"`, a folder, or a repository id.
 *
 * @throws {UsageError} when an option does not go with the model.
 */
export async function openModelFiles(
  source: string,
  { revision, offline, lock, base, convert }: ModelOptions,
  signal: AbortSignal,
  onNotice: (notice: string) => void = note,
): Promise<ModelFiles> {
  // Loaded when a model is opened: --help has no use for it.
  const { openModelSource } = await import("./model-source.js");
  try {
    return await openModelSource(source, { revision, offline, lock, base, convert, signal, onNotice });
  } catch (error) {
    throw translateInputError(error, {
      model: "model",
      revision: "--revision",
      lock: "--lock",
      base: "--base",
    });
  }
}

/** A crossrank.json given on the command line. Core checks what it says. */
export async function readProfileFile(path: string | undefined): Promise<CrossrankJson | undefined> {
  if (path === undefined) return undefined;
  try {
    const profile: unknown = JSON.parse((await readFile(path, "utf8")).replace(/^\ufeff/, ""));
    if (typeof profile === "object" && profile !== null) rememberProfileFile(profile, path);
    return profile as CrossrankJson;
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
