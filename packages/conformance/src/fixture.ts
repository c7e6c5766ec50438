import type { ModelFiles } from "@crossrank/core";

/** A model that the suite runs: a folder in Hugging Face's layout with a golden.json, and the backend's artifact. */
export interface Fixture {
  /** Stands in test names and deviations. */
  readonly name: string;
  readonly files: ModelFiles;
}
