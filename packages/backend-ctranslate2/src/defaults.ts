import { availableParallelism } from "node:os";
import type { BatchPreference } from "@crossrank/core";
import type { CTranslate2Options } from "./options.js";

const mostSessions = 4;

/** How many threads run a model, and how they are split. */
export interface Placement {
  readonly sessions: number;
  readonly threads: number;
}

/** Sessions before threads: they share the weights, and have nothing to wait for each other. */
export function choosePlacement(
  options: Pick<CTranslate2Options, "sessions" | "threads">,
  cores: number = availableParallelism(),
): Placement {
  const room = Math.floor(cores / (options.threads ?? 1));
  const sessions = options.sessions ?? Math.max(1, Math.min(mostSessions, room));
  return { sessions, threads: options.threads ?? Math.max(1, Math.floor(cores / sessions)) };
}

/** CTranslate2 leaves padding out of all products with weights, so that it costs attention alone. */
export function chooseBatchPreference(wanted: CTranslate2Options["batch"]): BatchPreference {
  return { rows: wanted?.rows ?? 8, tokens: wanted?.tokens ?? 1024, padding: wanted?.padding ?? 0.25 };
}
