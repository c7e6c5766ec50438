import { UnsafePathError } from "./errors.js";

/**
 * Refuses a path that could leave the folder it is joined to, under POSIX and Windows rules alike. The rule is
 * that of Python's huggingface_hub (`_local_folder.py`, `_validate_relative_filename`), and no empty or `.`
 * segments and no NUL besides.
 * @throws {UnsafePathError}
 */
export function checkRelativePath(model: string, path: string): void {
  const unsafe =
    path.includes("\0") ||
    path.replaceAll("\\", "/").split("/").includes("..") ||
    path.split("/").some((segment) => segment === "" || segment === "." || /^(?:[A-Za-z]:|\\)/.test(segment));
  if (unsafe) throw new UnsafePathError({ model, path });
}
