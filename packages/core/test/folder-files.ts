import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { ModelFileNotFoundError, type ModelFiles } from "../src/index.js";

/** The conformance suite's models: one folder a family, as on the hub, with a golden.json. */
export const fixtures: string = fileURLToPath(new URL("../../conformance/fixtures", import.meta.url));

/** A folder as a model; what @crossrank/hub does, which core does not depend on. */
export function folderFiles(root: string, id: string = root): ModelFiles {
  const existing = (path: string): string => {
    const local = join(root, path);
    if (!existsSync(local)) throw new ModelFileNotFoundError({ model: id, expected: [path], fix: "Add it." });
    return local;
  };
  return {
    id,
    revision: undefined,
    async list() {
      const entries = await readdir(root, { recursive: true, withFileTypes: true });
      const paths = entries
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name));
      return Promise.all(
        paths.map(async (path) => ({
          path: relative(root, path).split(sep).join("/"),
          size: (await stat(path)).size,
        })),
      );
    },
    readText: async (path) => readFile(existing(path), "utf8"),
    readBytes: async (path, { start, end }) => (await readFile(existing(path))).subarray(start, end),
    localPath: async (path) => existing(path),
  };
}
