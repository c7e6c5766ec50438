import { ModelFileNotFoundError, type ModelFiles } from "../src/index.js";

/** Model files held in memory, as a browser that fetched them would have them. */
export function memoryFiles(contents: Readonly<Record<string, unknown>>, id = "memory/model"): ModelFiles {
  const texts = new Map<unknown, string>();
  const text = (path: string): string => {
    const value = contents[path];
    if (value === undefined)
      throw new ModelFileNotFoundError({ model: id, expected: [path], fix: "Add it." });
    if (typeof value === "string") return value;
    // A vocabulary is asked for its size again and again.
    const written = texts.get(value) ?? JSON.stringify(value);
    texts.set(value, written);
    return written;
  };
  const bytesOf = new Map<string, Uint8Array>();
  const bytes = (path: string): Uint8Array => {
    const value = contents[path];
    if (value instanceof Uint8Array) return value;
    const written = text(path);
    const encoded = bytesOf.get(written) ?? new TextEncoder().encode(written);
    bytesOf.set(written, encoded);
    return encoded;
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
