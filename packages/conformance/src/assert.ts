/** What a check throws. As node:assert's, which a browser does not have. */
class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** With types that a caller narrows by. */
interface Assert {
  ok(value: unknown, message?: string): asserts value;
  equal(found: unknown, wanted: unknown, message?: string): void;
  notEqual(found: unknown, other: unknown, message?: string): void;
  deepEqual(found: unknown, wanted: unknown, message?: string): void;
  match(text: string, pattern: RegExp, message?: string): void;
  fail(message: string): never;
}

export const assert: Assert = {
  ok(value, message = "is not true"): asserts value {
    if (!value) throw new AssertionError(message);
  },
  equal(found, wanted, message) {
    if (!Object.is(found, wanted)) throw different(found, wanted, message);
  },
  notEqual(found, other, message) {
    if (Object.is(found, other)) throw new AssertionError(`${message ?? "differs"}: it is ${shown(found)}`);
  },
  deepEqual(found, wanted, message) {
    if (!isAlike(found, wanted)) throw different(found, wanted, message);
  },
  match(text, pattern, message) {
    if (!pattern.test(text)) {
      throw new AssertionError(`${message ?? "matches"}: ${shown(text)} does not match ${pattern}`);
    }
  },
  fail(message) {
    throw new AssertionError(message);
  },
};

function different(found: unknown, wanted: unknown, message = "is equal"): AssertionError {
  return new AssertionError(`${message}: ${shown(found)} instead of ${shown(wanted)}`);
}

const mostCharacters = 2000;

function shown(value: unknown): string {
  const text = typeof value === "string" ? JSON.stringify(value) : (JSON.stringify(value) ?? String(value));
  return text.length <= mostCharacters ? text : `${text.slice(0, mostCharacters)}…`;
}

/** Of plain data: the same fields with the same values. */
function isAlike(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && isAlike(Reflect.get(a, name), Reflect.get(b, name)))
  );
}
