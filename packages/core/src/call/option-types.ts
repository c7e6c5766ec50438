import { InvalidInputError } from "../contract/errors.js";

/** What an option's value may be; what is undefined is no option, and no callback and no signal may be null. */
export type OptionType = "boolean" | "number" | "string" | "name" | "object" | "function" | "AbortSignal";

/** What to say of a value of another type, where that is not the type's own name. */
const wanted: Partial<Readonly<Record<OptionType, string>>> = {
  boolean: "true or false",
  name: "a string that is not empty",
};

/** @throws {InvalidInputError} naming the path, where a value is of another type. */
export function requireOptionType(value: unknown, type: OptionType, path: string): void {
  if (value === undefined || isOfType(value, type)) return;
  const given = value as { readonly signal?: unknown };
  if (type === "AbortSignal" && typeof value === "object" && isSignal(given?.signal)) {
    throw new InvalidInputError(path, `must be an AbortSignal, not its controller: write controller.signal`);
  }
  // A text is shown where nobody took it for one: "false" looks right.
  const found = typeof value === "string" && value.length <= 40 ? JSON.stringify(value) : nameOf(value);
  throw new InvalidInputError(path, `must be ${wanted[type] ?? withArticle(type)}, not ${found}`);
}

function isOfType(value: unknown, type: OptionType): boolean {
  if (type === "AbortSignal") return value === null || isSignal(value);
  if (type === "function") return value === null || typeof value === "function";
  if (type === "name") return typeof value === "string" && value !== "";
  if (type === "object") return mistaken(value) === undefined;
  return typeof value === type && !Number.isNaN(value);
}

/** By its form: a signal may come from another realm. */
function isSignal(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof Reflect.get(value, "aborted") === "boolean" &&
    "addEventListener" in value
  );
}

/**
 * That a value can hold options. A list, a promise, a signal, a model's files or a backend have none of ours, and would
 * be taken for options that say nothing.
 *
 * @param form what to write, for the message.
 * @throws {InvalidInputError}
 */
export function requireOptionsObject(value: unknown, path: string, form?: string): asserts value is object {
  const found = mistaken(value);
  if (found === undefined) return;
  const advice = form === undefined ? "" : `: write ${form}`;
  throw new InvalidInputError(path, `must be an object, not ${found}${advice}`);
}

/** What a value is that holds no options. */
function mistaken(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return nameOf(value);
  if ("readText" in value && "list" in value) return "the files of a model";
  if ("families" in value && "load" in value) return "a backend";
  // The name is the same in another realm. Of the prototype: a property of the options themselves is the call's to read.
  const kind = String(Object.getPrototypeOf(value)?.constructor?.name);
  if (foreign.test(kind) || Symbol.iterator in value) return withArticle(kind);
  return undefined;
}

const foreign = /^(Promise|Date|Error|RegExp|URL|Abort\w+)$/;

function withArticle(noun: string): string {
  return `${/^[aeio]/i.test(noun) ? "an" : "a"} ${noun}`;
}

/** For messages. */
export function nameOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : typeof value;
}
