import { availableParallelism } from "node:os";
import type { BatchPreference } from "@crossrank/core";
import { type MnnOptions, mostThreads } from "./options.js";

/** Above this many bytes of file, a second copy of the weights costs more memory than it gains in speed. */
const severalCopiesBelow = 150e6;
const mostSessions = 4;

/** How many threads run a model, and how they are split. */
export interface Placement {
  readonly sessions: number;
  readonly threads: number;
}

export function choosePlacement(
  options: Pick<MnnOptions, "sessions" | "threads">,
  bytes: number,
  cores: number = availableParallelism(),
): Placement {
  const room = Math.floor(cores / (options.threads ?? 1));
  const several = bytes < severalCopiesBelow ? Math.min(mostSessions, room) : 1;
  const sessions = options.sessions ?? Math.max(1, several);
  const threads = options.threads ?? Math.min(mostThreads, Math.max(1, Math.floor(cores / sessions)));
  return { sessions, threads };
}

/** Equal lengths only: another shape makes MNN prepare the graph anew. */
export function chooseBatchPreference(wanted: MnnOptions["batch"]): BatchPreference {
  return { rows: wanted?.rows ?? 8, tokens: wanted?.tokens ?? 512, padding: wanted?.padding ?? 0 };
}
