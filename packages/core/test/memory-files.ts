import { ModelFileNotFoundError, type ModelFiles } from "../src/index.js";

/** Model files held in memory, as a browser that fetched them would have them. */
export function memoryFiles(contents: Readonly<Record<string, unknown>>, id = "memory/model"): ModelFiles {
  const text = (path: string): string => {
    const value = contents[path];
    if (value === undefined)
      throw new ModelFileNotFoundError({ model: id, expected: [path], fix: "Add it." });
    return typeof value === "string" ? value : JSON.stringify(value);
  };
  const bytes = (path: string): Uint8Array => {
    const value = contents[path];
    return value instanceof Uint8Array ? value : new TextEncoder().encode(text(path));
  };
  return {
    id,
    revision: undefined,
    list: async () => Object.keys(contents).map((path) => ({ path, size: bytes(path).length })),
    readText: async (path) => text(path),
    readBytes: async (path, { start, end }) => bytes(path).slice(start, end),
    localPath: async () => {
      throw new Error("nothing is on disk");
    },
  };
}
