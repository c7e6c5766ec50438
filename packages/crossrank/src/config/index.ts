import type { CrossrankConfig } from "@crossrank/eval";

export type {
  CrossrankConfig,
  ExcludeEntry,
  Gates,
  IncludeEntry,
  ModelEntry,
  TaskEntry,
} from "@crossrank/eval";

/** Gives a configuration its types in an editor, and itself back. */
export function defineConfig(config: CrossrankConfig): CrossrankConfig {
  return config;
}
