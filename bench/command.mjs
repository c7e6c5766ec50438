// What the bench's commands share: progress, the machine, the result's place in the README.
/** @import { Machine } from "./types.js" */
import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, platform, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { replaceBlock } from "../scripts/blocks.mjs";

const readme = fileURLToPath(new URL("README.md", import.meta.url));

/** @param {string} text */
export function progress(text) {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
}

/** @returns {Machine} */
export function describeMachine() {
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown processor",
    features: processorFeatures(),
    threads: availableParallelism(),
    memory: totalmem(),
    platform: `${platform()} ${arch()}`,
    node: process.version,
  };
}

/** Vector and matrix units for bf16 and int8, by Linux's names. */
function processorFeatures() {
  const named = ["avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"];
  try {
    const [, flags = ""] = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8")) ?? [];
    return named.filter((name) => flags.split(" ").includes(name));
  } catch {
    return undefined;
  }
}

/**
 * Puts a result between the markers of its section.
 *
 * @param {string} section
 * @param {{ command: string, args: readonly string[], summary: string }} result
 */
export async function writeReadme(section, { command, args, summary }) {
  // Where its author keeps the JSON is nobody's business.
  const shown = args.filter((arg, index) => !arg.startsWith("--json") && args[index - 1] !== "--json");
  replaceBlock(readme, section, `Written by \`${[command, ...shown].join(" ")}\`:\n\n${summary}`);
}
