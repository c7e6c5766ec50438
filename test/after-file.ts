import { afterAll } from "vitest";

// A module that tests share is evaluated once for all files of a worker that is not isolated (vitest.config.ts), and a
// hook at its top is of the first file alone. This one is a setup file, which every test file begins with.

const key = Symbol.for("crossrank.after-file");
const shared = globalThis as { [key]?: (() => unknown)[] };
shared[key] ??= [];
const ends = shared[key];

/** Runs `end` when the tests of the present file are over, whenever in the file it is asked for. */
export function afterFile(end: () => unknown): void {
  ends.push(end);
}

afterAll(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
});
