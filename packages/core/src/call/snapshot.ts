import { InvalidInputError } from "../contract/errors.js";

/** Deeper than any profile; a value that holds itself is refused by it. */
const deepest = 32;

/**
 * A copy of plain data, each property read once, for what is used after the caller has gone on. What is neither an
 * array nor an object is itself.
 *
 * @throws {InvalidInputError} for data that is nested without end.
 */
export function snapshot<T>(value: T, path: string, depth = 0): T {
  if (typeof value !== "object" || value === null) return value;
  if (depth > deepest) throw new InvalidInputError(path, `is nested more than ${deepest} levels deep`);
  if (Array.isArray(value)) return value.map((item) => snapshot(item, path, depth + 1)) as T;
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const item = (value as Record<string, unknown>)[key];
    // Not an assignment, which "__proto__" would turn into something else.
    Object.defineProperty(copy, key, {
      value: snapshot(item, path, depth + 1),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return copy as T;
}
