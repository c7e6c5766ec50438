import { CrossrankError } from "@crossrank/core";

/** What a file system says to a write, by code: the problem, and what to do. */
const refusals: Readonly<Record<string, readonly [problem: string, fix: string]>> = {
  ENOSPC: ["the disk is full", "Make room, or choose a folder on another disk."],
  EDQUOT: ["the quota is used up", "Make room, or choose a folder on another disk."],
  EFBIG: ["the file system or this process allows no file so large", "Choose a folder on another disk."],
  EACCES: ["this user may not write there", "Choose another folder."],
  EPERM: ["this user may not write there", "Choose another folder."],
  EROFS: ["it is on a read-only file system", "Choose another folder."],
  ENOTDIR: ["a part of its path is a file", "Choose another folder."],
  EEXIST: ["a part of its path is a file", "Choose another folder."],
  EISDIR: ["it is a folder", "Choose another name."],
  ENAMETOOLONG: ["its name is too long", "Choose a shorter one."],
  EIO: ["the device failed", "Choose a folder on another disk, and check this one."],
};

/** The system refused to write a file. What stood at the path before still stands there. */
export class FileWriteError extends CrossrankError<"file-write"> {
  static override readonly code = "file-write";

  readonly path: string;
  /** The system's code, e.g. `"ENOSPC"`. */
  readonly reason: string;

  constructor(
    facts: { path: string; reason: string; problem: string; fix: string },
    options?: { cause?: unknown },
  ) {
    super("file-write", `Cannot write ${facts.path}: ${facts.problem}. ${facts.fix}`, options);
    this.path = facts.path;
    this.reason = facts.reason;
  }
}

/** Problem and advice; undefined for a code that says nothing certain about a write. */
export function describeRefusal(
  code: string | undefined,
): readonly [problem: string, fix: string] | undefined {
  return code === undefined ? undefined : refusals[code];
}

/**
 * What a write threw, as a typed error with its path: the system names none for a write to an open file.
 * @returns an error of anything but the system as it is.
 */
export function refusedWrite(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !("syscall" in error)) return error;
  const { code = "unknown" } = error as NodeJS.ErrnoException;
  const [problem, fix] = describeRefusal(code) ?? [`the system refuses (${code})`, "Choose another folder."];
  return new FileWriteError({ path, reason: code, problem, fix }, { cause: error });
}
