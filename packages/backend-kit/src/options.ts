import { availableParallelism } from "node:os";
import {
  type BatchPreference,
  InvalidInputError,
  type OptionNames,
  requireKnownOptions,
} from "@crossrank/core";

/** @throws {InvalidInputError} naming `path` where the value is given and no whole number from 1 to `most`. */
export function requireCount(
  path: string,
  value: number | undefined,
  most: number = Number.MAX_SAFE_INTEGER,
): void {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) return;
  const range = most === Number.MAX_SAFE_INTEGER ? "of at least 1" : `from 1 to ${most}`;
  const found = typeof value === "number" ? value : JSON.stringify(value);
  throw new InvalidInputError(path, `must be a whole number ${range}, not ${found}`);
}

/**
 * Copies of a model that this machine has any use for, at least 8: each computes on a thread of the processor at least,
 * and takes the memory of a runtime.
 */
export function mostCopies(): number {
  return Math.max(8, availableParallelism());
}

/**
 * Threads that a session may ask for: more than processors have, and few enough that starting them ends. A million are
 * gigabytes of stacks, and minutes.
 */
export const mostThreads = 512;

/** @throws {InvalidInputError} naming `path` where the value is given and none of the choices. */
export function checkChoice(path: string, value: unknown, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value as string)) return;
  throw new InvalidInputError(path, `must be one of "${choices.join('", "')}", not ${JSON.stringify(value)}`);
}

/**
 * @param path where the options are in the arguments; the call's name, as in `"onnx()"`, where they are all there is.
 * @throws {InvalidInputError} when they are no object, one of them is none of those that are known, or has a value of
 * another type.
 */
export function requireOptions<Options extends object>(
  path: string,
  given: Options,
  known: OptionNames<Options>,
): void {
  requireKnownOptions(given, known, path, path.endsWith("()") ? undefined : path);
}

/** @throws {InvalidInputError} naming the field of the option `batch` that is at fault. */
export function checkBatchOption(batch: Partial<BatchPreference> | undefined): void {
  if (batch !== undefined) requireOptions("batch", batch, { rows: true, tokens: true, padding: true });
  requireCount("batch.rows", batch?.rows);
  requireCount("batch.tokens", batch?.tokens);
  const padding = batch?.padding;
  if (padding !== undefined && !(typeof padding === "number" && padding >= 0 && padding <= 1)) {
    throw new InvalidInputError("batch.padding", `must be from 0 to 1, not ${padding}`);
  }
}
