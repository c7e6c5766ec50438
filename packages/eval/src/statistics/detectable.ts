import { InvalidInputError } from "@crossrank/core";

/** The normal distribution's 95 % and 80 % points, 1.645 + 0.842. */
const pointsSum = 2.486;

/**
 * The smallest true mean drop that a one-sided test at 5 % finds in 80 % of samples like this one (normal
 * approximation): 2.486 · sd / √n. A smaller one usually goes unseen: "passed" then says nothing about it.
 * @param deviation standard deviation of candidate − reference over queries.
 * @param count queries.
 */
export function smallestDetectableDrop(deviation: number, count: number): number {
  if (!(deviation >= 0)) throw new InvalidInputError("deviation", `must be at least 0, found ${deviation}`);
  if (!(count >= 1)) throw new InvalidInputError("count", `must be at least 1, found ${count}`);
  return (pointsSum * deviation) / Math.sqrt(count);
}

/** Queries with which the smallest detectable drop is no larger than `drop`; at least 1. */
export function queriesNeeded(deviation: number, drop: number): number {
  if (!(drop > 0)) throw new InvalidInputError("drop", `must be above 0, found ${drop}`);
  return Math.max(1, Math.ceil(((pointsSum * deviation) / drop) ** 2));
}
