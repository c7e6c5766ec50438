import { createUniform } from "@crossrank/backend-mlx/training";
import type { TrainingConfig } from "../types.js";

/** Places of examples that pass the model together. */
export type MicroBatch = readonly number[];

/** Batches in whose lengths neighbours are looked for. */
const window = 64;

/**
 * The steps of one epoch, each of up to `accumulation` batches: every example once, shuffled by the seed and the epoch.
 * With length buckets examples of like length share a batch, among those that the shuffle put near each other.
 *
 * @param lengths tokens of each example.
 */
export function stepsOfEpoch(
  lengths: ArrayLike<number>,
  {
    batchSize,
    accumulation,
    lengthBuckets,
    seed,
  }: Pick<TrainingConfig, "batchSize" | "accumulation" | "lengthBuckets" | "seed">,
  epoch: number,
): readonly (readonly MicroBatch[])[] {
  const uniform = createUniform(`order ${seed} ${epoch}`);
  const order = shuffled(
    Array.from({ length: lengths.length }, (_, place) => place),
    uniform,
  );
  const batches: MicroBatch[] = [];
  for (let from = 0; from < order.length; from += batchSize * window) {
    const near = order.slice(from, from + batchSize * window);
    if (lengthBuckets)
      near.sort((one, other) => (lengths[one] as number) - (lengths[other] as number) || one - other);
    for (let at = 0; at < near.length; at += batchSize) batches.push(near.slice(at, at + batchSize));
  }
  const mixed = lengthBuckets ? shuffled(batches, uniform) : batches;
  const steps: (readonly MicroBatch[])[] = [];
  for (let at = 0; at < mixed.length; at += accumulation) steps.push(mixed.slice(at, at + accumulation));
  return steps;
}

/** Steps of an epoch, without making them. */
export function countSteps(
  examples: number,
  { batchSize, accumulation }: Pick<TrainingConfig, "batchSize" | "accumulation">,
): number {
  const whole = Math.floor(examples / (batchSize * window));
  const rest = examples - whole * batchSize * window;
  return Math.ceil((whole * window + Math.ceil(rest / batchSize)) / accumulation);
}

/** Fisher and Yates. */
function shuffled<Item>(items: readonly Item[], uniform: () => number): Item[] {
  const mixed = [...items];
  for (let at = mixed.length - 1; at > 0; at -= 1) {
    const other = Math.floor(uniform() * (at + 1));
    [mixed[at], mixed[other]] = [mixed[other] as Item, mixed[at] as Item];
  }
  return mixed;
}
