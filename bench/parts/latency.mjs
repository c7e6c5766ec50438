// What one pair takes, and several callers at once: the command latency.mjs beside, in a process of its own.
/** @import { PartOptions, PartReport } from "../types.js" */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const command = fileURLToPath(new URL("../latency.mjs", import.meta.url));

/**
 * @param {PartOptions} options
 * @returns {Promise<PartReport>}
 */
export async function run({ rounds }) {
  if (!existsSync(command)) {
    const page = "**Missing**: bench/latency.mjs is not there.";
    console.error("missing: latency: bench/latency.mjs is not there");
    return { page, kept: {}, report: undefined };
  }
  const { stdout } = await promisify(execFile)(process.execPath, [command, "--rounds", String(rounds)], {
    maxBuffer: 1 << 24,
  });
  return { page: stdout.trim(), kept: {}, report: stdout };
}
