import { CommandError, isTyped, UsageError } from "../failure.js";
import { ScoringProcessEndedError } from "../scoring-process.js";
import type { LeftOut } from "./report.js";

/** Codes of errors after which another precision, or another runtime, can still do it. */
const reasons: Readonly<Record<string, LeftOut["reason"]>> = {
  "backend-not-installed": "not-installed",
  "backend-unavailable": "not-here",
  "runtime-start": "not-here",
  "not-converted": "no-file",
  "model-file-not-found": "no-file",
};

/** By which a system ends a process that wants too much memory; nobody else sends it here. */
const killed = "SIGKILL";

/** Why a candidate is left out, of what it threw. */
export function reasonOf(error: unknown): Omit<LeftOut, "name"> {
  const detail = error instanceof Error ? error.message || error.name : String(error);
  return { reason: kindOf(error, detail), detail, value: null };
}

function kindOf(error: unknown, detail: string): LeftOut["reason"] {
  if (error instanceof ScoringProcessEndedError) return error.how === killed ? "out-of-memory" : "crashed";
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  if (typeof code === "string" && Object.hasOwn(reasons, code)) return reasons[code] ?? "failed";
  // Libraries say it in words alone.
  if (/\bout of memory\b|bad_alloc|failed to allocate|cannot allocate|\bENOMEM\b/i.test(detail))
    return "out-of-memory";
  return isTyped(error) || error instanceof CommandError || error instanceof UsageError
    ? "refused"
    : "failed";
}
