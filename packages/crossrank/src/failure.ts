import type { InvalidInputError } from "@crossrank/core";
import { exitCodes } from "./exit-codes.js";

/** Something that went wrong outside the model: a file that cannot be read, a backend that is not installed. */
export class CommandError extends Error {}

/** The command line itself is wrong. */
export class UsageError extends Error {}

/** The user stopped the command; the reason of its abort signal. */
export class Interruption extends Error {
  readonly exitCode: number;
  constructor(signal: NodeJS.Signals) {
    super(`stopped by ${signal}`);
    this.exitCode = signal === "SIGTERM" ? exitCodes.terminated : exitCodes.interrupted;
  }
}

/** Why the system refused a file, in words; its own message where there is no better one. */
export function describeSystemError(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "ENOENT":
      return "there is no such file";
    case "EISDIR":
      return "it is a folder";
    case "EACCES":
    case "EPERM":
      return "this user may not read it";
    case "ERR_FS_FILE_TOO_LARGE":
      return "it is larger than 2 GiB";
    case "ENOSPC":
      return "the disk is full. Free some space, or choose another place";
    case "EROFS":
      return "the file system is read-only. Choose another place";
    case "EMFILE":
    case "ENFILE":
      return "too many files are open. Raise the limit, e.g. with ulimit -n 1024";
    default:
      return message;
  }
}

/** Arguments of libraries that name what lies outside of the command line: that it is not as it should be is no wrong usage. */
const outside: readonly string[] = ["source", "model", "profile", "goldens"];

/**
 * A library's complaint about one of its arguments, under the argument's name on the command line. The value of an option
 * (`--…`) is wrong usage; what a name stands for, a folder or a file's content, failed.
 */
export function translateInputError(
  error: unknown,
  names: Readonly<Record<string, string | undefined>>,
): unknown {
  if (!isInvalidInput(error)) return error;
  const { path, message } = error;
  const name = names[path];
  if (name === undefined) return error;
  const translated = name + message.slice(path.length);
  return name.startsWith("--") && !outside.includes(path)
    ? new UsageError(translated, { cause: error })
    : new CommandError(translated, { cause: error });
}

/** By its code: core, which has the class, is not loaded for `--help`. */
export function isInvalidInput(error: unknown): error is InvalidInputError {
  return error instanceof Error && Reflect.get(error, "code") === "invalid-input" && "path" in error;
}

/** Whether a library threw it on purpose. By core's mark: loading core for that could fail as what is reported did. */
export function isTyped(error: unknown): boolean {
  return error instanceof Error && Reflect.get(error, Symbol.for("crossrank.error")) !== undefined;
}

/** A system call that failed, with the file where there is one; undefined for another error. */
export function describeSystemCall(error: unknown): string | undefined {
  if (!(error instanceof Error) || typeof Reflect.get(error, "syscall") !== "string") return undefined;
  const path: unknown = Reflect.get(error, "path");
  return `${typeof path === "string" ? `${path}: ` : ""}${describeSystemError(error)}`;
}
