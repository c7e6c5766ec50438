// Entry of the child process: one runtime, fed by messages.
import { writeSync } from "node:fs";
import { serveCalls } from "@crossrank/backend-kit/runtime";
import { testBinariesAlone } from "./binary-tests.js";
import type { Calls } from "./protocol.js";
import { Runtime } from "./runtime.js";

const standardError = 2;

/** At once and not in a buffer: the parent reads the last lines of a process that was aborted. */
function write(line: string): void {
  try {
    writeSync(standardError, `${line}\n`);
  } catch {
    // A full pipe, or a parent that is gone, is no reason to fail.
  }
}

testBinariesAlone();
serveCalls<Calls>(new Runtime(write));
