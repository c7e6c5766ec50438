import { compareBytes } from "./metrics/ranking.js";

/** The same value with every object's keys in the order of their bytes, all the way down. Lists keep their order. */
export function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => compareBytes(a, b))
      .map(([key, entry]) => [key, sortKeys(entry)]),
  );
}

/** JSON that does not depend on the order in which an object was built: for hashes, and to tell whether two are equal. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sortKeys(value));
}
