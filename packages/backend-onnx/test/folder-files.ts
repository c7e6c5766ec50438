import { readdir, readFile, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { type ModelFile, ModelFileNotFoundError, type ModelFiles } from "@crossrank/core";

/** A model in a folder. */
export function folderFiles(root: string): ModelFiles {
  const existing = async (path: string): Promise<string> => {
    const full = join(root, path);
    await stat(full).catch(() => {
      throw new ModelFileNotFoundError({ model: root, expected: [path], fix: "Check the folder." });
    });
    return full;
  };
  return {
    id: root,
    revision: undefined,
    list: async () => {
      const files: ModelFile[] = [];
      for (const path of await readdir(root, { recursive: true })) {
        const entry = await stat(join(root, path));
        if (entry.isFile()) {
          files.push({ path: path.split(sep).join("/"), size: entry.size });
        }
      }
      return files;
    },
    readText: async (path) => readFile(await existing(path), "utf8"),
    readBytes: async (path, { start, end }) => (await readFile(await existing(path))).subarray(start, end),
    localPath: existing,
  };
}
