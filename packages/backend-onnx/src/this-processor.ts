import { readFileSync } from "node:fs";
import { type Processor, processorOf } from "./published-names.js";

let here: Processor | undefined;

/** This machine's, asked once. */
export function thisProcessor(): Processor {
  here ??= processorOf(process.arch, process.platform === "linux" ? linuxFlags() : []);
  return here;
}

function linuxFlags(): readonly string[] {
  try {
    return /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.trim().split(/\s+/) ?? [];
  } catch {
    return [];
  }
}
