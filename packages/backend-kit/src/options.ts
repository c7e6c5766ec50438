import { type BatchPreference, InvalidInputError } from "@crossrank/core";

/** @throws {InvalidInputError} naming `path` where the value is given and no whole number of at least 1. */
export function requireCount(path: string, value: number | undefined): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= 1)) {
    throw new InvalidInputError(path, `must be a whole number of at least 1, not ${value}`);
  }
}

/** @throws {InvalidInputError} naming the field of the option `batch` that is at fault. */
export function checkBatchOption(batch: Partial<BatchPreference> | undefined): void {
  requireCount("batch.rows", batch?.rows);
  requireCount("batch.tokens", batch?.tokens);
  const padding = batch?.padding;
  if (padding !== undefined && !(padding >= 0 && padding <= 1)) {
    throw new InvalidInputError("batch.padding", `must be from 0 to 1, not ${padding}`);
  }
}
