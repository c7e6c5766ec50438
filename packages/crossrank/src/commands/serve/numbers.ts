import { InvalidArgumentError } from "commander";

/** Most that a timer takes, and more than any limit here needs. */
const most = 2 ** 31 - 1;

/** @throws {InvalidArgumentError} */
export function positiveWhole(text: string, name: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > most) {
    throw new InvalidArgumentError(`${name} must be a whole number from 1 to ${most}.`);
  }
  return number;
}

/** Seconds, as milliseconds. @throws {InvalidArgumentError} */
export function seconds(text: string): number {
  const milliseconds = Math.round(Number(text) * 1000);
  if (!/^\d+(\.\d+)?$/.test(text) || milliseconds > most) {
    throw new InvalidArgumentError("It must be a number of seconds, 0 or more.");
  }
  return milliseconds;
}

/** @throws {InvalidArgumentError} */
export function portNumber(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number > 65_535) {
    throw new InvalidArgumentError("It must be a whole number from 0 to 65535.");
  }
  return number;
}
