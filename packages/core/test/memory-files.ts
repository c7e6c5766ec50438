import { ModelFileNotFoundError, type ModelFiles } from "../src/index.js";

/** Model files held in memory, as a browser that fetched them would have them. */
export function memoryFiles(contents: Readonly<Record<string, unknown>>, id = "memory/model"): ModelFiles {
  const text = (path: string): string => {
    const value = contents[path];
    if (value === undefined)
      throw new ModelFileNotFoundError({ model: id, expected: [path], fix: "Add it." });
    return typeof value === "string" ? value : JSON.stringify(value);
  };
  return {
    id,
    revision: undefined,
    list: async () => Object.keys(contents).map((path) => ({ path, size: text(path).length })),
    readText: async (path) => text(path),
    localPath: async () => {
      throw new Error("nothing is on disk");
    },
  };
}
