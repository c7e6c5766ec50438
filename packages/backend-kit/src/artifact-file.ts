import { open, stat } from "node:fs/promises";
import { type ModelFile, type ModelFiles, ModelLoadError } from "@crossrank/core";
import { hashFile } from "@crossrank/disk";
import { RuntimeFailure } from "./calls.js";

const pointerStart = "version https://git-lfs";

/**
 * @param localPath absolute path of `facts.file`.
 * @returns bytes of the file.
 * @throws {ModelLoadError} when it is empty or a Git LFS pointer.
 */
export async function requireContent(
  facts: { readonly model: string; readonly backend: string; readonly file: string },
  localPath: string,
): Promise<number> {
  const { size } = await stat(localPath);
  if (size === 0) {
    throw new ModelLoadError({ ...facts, problem: "the file is empty", fix: "Download it again" });
  }
  const handle = await open(localPath);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0);
    if (buffer.toString("latin1", 0, bytesRead).startsWith(pointerStart)) {
      const fix = "Run `git lfs pull` in the model's folder";
      throw new ModelLoadError({ ...facts, problem: "it is a Git LFS pointer, not the file itself", fix });
    }
  } finally {
    await handle.close();
  }
  return size;
}

/** Files of an artifact, in their order, with the source's sha256 (hex), or the file's own where the source has none. */
export async function hashFiles(
  files: ModelFiles,
  chosen: readonly ModelFile[],
  signal: AbortSignal | undefined,
): Promise<readonly { readonly path: string; readonly sha256: string }[]> {
  const hashed: { path: string; sha256: string }[] = [];
  for (const { path, sha256 } of chosen) {
    hashed.push({
      path,
      sha256: sha256 ?? (await hashFile(await files.localPath(path, { signal }), { signal })),
    });
  }
  return hashed;
}

/**
 * Files that a runtime was loaded from, and may have to be loaded from again.
 *
 * @param paths absolute.
 * @returns a check that throws a `RuntimeFailure` of stage `model` where one is gone or was written since.
 */
export async function rememberFiles(paths: readonly string[]): Promise<() => Promise<void>> {
  const marksOf = async (path: string): Promise<string> => {
    const { size, mtimeMs } = await stat(path);
    return `${size} ${mtimeMs}`;
  };
  const first = await Promise.all(paths.map(marksOf));
  return async () => {
    for (const [index, path] of paths.entries()) {
      const now = await marksOf(path).catch(() => undefined);
      if (now === first[index]) continue;
      const problem = `${path} ${now === undefined ? "is gone" : "has changed"} since it was loaded: open the model again`;
      throw new RuntimeFailure("model", problem);
    }
  };
}
