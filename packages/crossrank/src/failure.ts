import { InvalidInputError } from "@crossrank/core";

/** Exit codes of the command. */
export const exitCodes = { success: 0, failed: 1, usage: 2, interrupted: 130, terminated: 143 } as const;

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
    default:
      return message;
  }
}

/**
 * A library's complaint about one of its arguments, under the argument's name on the command line. An option at
 * fault (`--…`) is wrong usage; anything else failed.
 */
export function translateInputError(
  error: unknown,
  names: Readonly<Record<string, string | undefined>>,
): unknown {
  if (!InvalidInputError.isInstance(error)) return error;
  const { path, message } = error;
  const name = names[path];
  if (name === undefined) return error;
  const translated = name + message.slice(path.length);
  return name.startsWith("--")
    ? new UsageError(translated, { cause: error })
    : new CommandError(translated, { cause: error });
}
