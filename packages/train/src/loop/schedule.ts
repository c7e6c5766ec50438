import type { TrainingConfig } from "../types.js";

/**
 * The rate of the step behind `done` others, by the rules of transformers' get_linear_schedule_with_warmup,
 * get_cosine_schedule_with_warmup and get_constant_schedule_with_warmup: the first step of a warm-up has the rate 0.
 */
export function learningRateAt(
  { learningRate, warmup, schedule }: Pick<TrainingConfig, "learningRate" | "warmup" | "schedule">,
  done: number,
  steps: number,
): number {
  const warm = Math.ceil(warmup * steps);
  if (done < warm) return (learningRate * done) / warm;
  if (schedule === "constant") return learningRate;
  const part = (done - warm) / Math.max(1, steps - warm);
  return learningRate * Math.max(0, schedule === "linear" ? 1 - part : (1 + Math.cos(Math.PI * part)) / 2);
}
