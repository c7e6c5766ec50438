import { InvalidInputError, type ModelFile } from "@crossrank/core";

/** Name of the list beside a model's files: what they are, and what each one's sha256 is. */
export const listName = "crossrank-files.json";

/** A published model has some dozens of files; a stranger's list may name any number. */
const mostFiles = 4096;
const longestPath = 512;

/**
 * Files of a model, as a list of them says. Takes what is no list for a fault of `where`.
 *
 * @throws {InvalidInputError} naming the entry at fault.
 */
export function readFileList(list: unknown, where: string): readonly ModelFile[] {
  if (!Array.isArray(list) || list.length === 0) {
    throw new InvalidInputError(
      where,
      "must be an array of files, { path, size, sha256 }, with one at least",
    );
  }
  if (list.length > mostFiles) {
    throw new InvalidInputError(where, `names ${list.length} files, more than ${mostFiles}`);
  }
  const seen = new Set<string>();
  return list.map((entry: unknown, index) => {
    const place = `${where}[${index}]`;
    const { path, size, sha256 } = (typeof entry === "object" && entry !== null ? entry : {}) as {
      readonly path?: unknown;
      readonly size?: unknown;
      readonly sha256?: unknown;
    };
    if (typeof path !== "string" || !isInside(path)) {
      throw new InvalidInputError(`${place}.path`, "must be a path within the model, e.g. onnx/model.onnx");
    }
    if (seen.has(path)) throw new InvalidInputError(`${place}.path`, `names ${path} a second time`);
    seen.add(path);
    if (!Number.isSafeInteger(size) || (size as number) < 0) {
      throw new InvalidInputError(`${place}.size`, "must be the file's number of bytes");
    }
    if (sha256 !== undefined && !(typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256))) {
      throw new InvalidInputError(`${place}.sha256`, "must be 64 hexadecimal digits in lower case");
    }
    return { path, size: size as number, sha256: sha256 as string | undefined };
  });
}

/** Steps of a relative path with forward slashes, none of which leads elsewhere. */
function isInside(path: string): boolean {
  const steps = path.split("/");
  return (
    path.length <= longestPath &&
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what a path must not have
    !/[\\\u0000-\u001f]/.test(path) &&
    steps.every((step) => step !== "" && step !== "." && step !== "..")
  );
}
