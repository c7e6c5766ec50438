import { settingsOf } from "@crossrank/backend-kit";
import type { BatchPreference, Settings } from "@crossrank/core";
import type { InferenceSession } from "onnxruntime-common";

/** Session options about threads, memory and logs, some of them paths of this machine: no number depends on them. */
const withoutEffect: readonly string[] = [
  "interOpNumThreads",
  "intraOpNumThreads",
  "executionMode",
  "enableCpuMemArena",
  "enableMemPattern",
  "enableProfiling",
  "profileFilePrefix",
  "optimizedModelFilePath",
  "logId",
  "logSeverityLevel",
  "logVerbosityLevel",
];

/**
 * What a session was told that can change a number. How batches are cut belongs to it only where rows of a batch
 * affect each other, and how many tokens and how much padding they have only where there are several.
 */
export function settingsOfSession(facts: {
  readonly sessionOptions: InferenceSession.SessionOptions;
  readonly rowsAffectScores: boolean;
  readonly batchPreference: BatchPreference;
  /** Whether rows share what they begin with. */
  readonly sharesPrefix: boolean;
}): Settings {
  const { executionProviders = [], graphOptimizationLevel, ...others } = facts.sessionOptions;
  const further = Object.entries(others).filter(
    ([name, value]) => value !== undefined && !withoutEffect.includes(name),
  );
  const names = executionProviders.map((provider) => (typeof provider === "string" ? provider : undefined));
  const { rows, tokens, padding } = facts.batchPreference;
  return settingsOf({
    executionProviders: names.includes(undefined) ? executionProviders : names.join(", "),
    graphOptimizationLevel,
    sessionOptions: further.length === 0 ? undefined : Object.fromEntries(further),
    sharePrefix: facts.sharesPrefix ? true : undefined,
    batch: facts.rowsAffectScores ? (rows === 1 ? { rows } : { rows, tokens, padding }) : undefined,
  });
}
