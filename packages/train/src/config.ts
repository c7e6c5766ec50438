import type { TrainingConfig } from "./types.js";

/** The common start: small adapters, small batches, three passes. */
export const defaultConfig: TrainingConfig = {
  method: "lora",
  loraRank: 16,
  loraAlpha: 32,
  loraDropout: 0,
  targets: ["query", "value"],
  batchSize: 4,
  accumulation: 8,
  epochs: 3,
  learningRate: 2e-5,
  warmup: 0.1,
  schedule: "linear",
  weightDecay: 0.01,
  clip: 1,
  dropout: 0,
  gradientCheckpointing: false,
  dtype: "float32",
  lengthBuckets: true,
  seed: 0,
  patience: 0,
};
