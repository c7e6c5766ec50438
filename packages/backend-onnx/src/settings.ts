import { batchSetting, settingsOf } from "@crossrank/backend-kit";
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
 * What a session was told that can change a number.
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
  return settingsOf({
    executionProviders: names.includes(undefined) ? executionProviders : names.join(", "),
    graphOptimizationLevel,
    sessionOptions: further.length === 0 ? undefined : Object.fromEntries(further),
    sharePrefix: facts.sharesPrefix ? true : undefined,
    batch: batchSetting(facts),
  });
}
