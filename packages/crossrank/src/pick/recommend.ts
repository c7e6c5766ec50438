import { mean, quantile, ratioOfRounds } from "@crossrank/eval";
import type { PickChoice, PickSystem, PickTime } from "./report.js";
import { classRank } from "./schedule.js";

/** What one system took in each round: of the same pairs, in the same minute as the others. */
export interface RoundTimes {
  readonly name: string;
  /** Wall-clock milliseconds of a call, one a round. */
  readonly wall: readonly number[];
  /** Milliseconds of processor time of a call, one a round; undefined where the system does not tell. */
  readonly processor: readonly number[] | undefined;
}

/** Fewer rounds have no interval. */
export const fewestRounds = 3;

/** Times of every system, over those of the fastest. Empty for none. */
export function timesOf(systems: readonly RoundTimes[], seed: number): ReadonlyMap<string, PickTime> {
  const [fastest] = [...systems].sort((a, b) => meanLog(a.wall) - meanLog(b.wall));
  const times = new Map<string, PickTime>();
  if (fastest === undefined) return times;
  for (const { name, wall, processor } of systems) {
    const base = fastest.processor;
    times.set(name, {
      wall: quantile(wall, 0.5),
      processor: processor === undefined ? null : quantile(processor, 0.5),
      wallRatio: ratioOfRounds(wall, fastest.wall, { seed }),
      processorRatio:
        processor === undefined || base === undefined ? null : ratioOfRounds(processor, base, { seed }),
    });
  }
  return times;
}

function meanLog(values: readonly number[]): number {
  return mean(values.map((value) => Math.log(Math.max(value, 1e-3))));
}

/**
 * The choice among those that passed the gate and were timed.
 *
 * Two are level where the interval of their ratio contains 1. Of those that are level with the fastest the most exact is
 * recommended: the one whose scores lie closest to the reference's; where that is not known or equal, the one of the
 * finer precision. A number that noise made is no reason to give up exactness.
 */
export function choose(systems: readonly PickSystem[], reference: string): PickChoice | null {
  const timed = systems.filter(
    (system): system is PickSystem & { readonly time: PickTime } =>
      system.gate.passed && system.time !== null,
  );
  const [fastest] = [...timed].sort((a, b) => a.time.wallRatio.value - b.time.wallRatio.value);
  if (fastest === undefined) return null;
  const level = timed.filter(
    (system) => system === fastest || (system.time.wallRatio.lower <= 1 && system.time.wallRatio.upper >= 1),
  );
  const exact = (a: PickSystem, b: PickSystem): number => moreExact(a, b, reference);
  const [recommended = fastest] = [...level].sort(exact);
  const [mostExact = fastest] = [...timed].sort(exact);
  const size = ({ artifact }: PickSystem): number => artifact.bytes ?? Number.POSITIVE_INFINITY;
  const [smallest = fastest] = [...timed].sort(
    (a, b) => (size(a) === size(b) ? 0 : size(a) - size(b)) || exact(a, b),
  );
  return {
    recommended: recommended.name,
    fastest: fastest.name,
    level: level.map(({ name }) => name),
    smallest: smallest.name,
    mostExact: mostExact.name,
    reason: reasonFor(recommended, fastest, level, timed.length),
  };
}

/** Below 0 where the first is the more exact. */
export function moreExact(a: PickSystem, b: PickSystem, reference: string): number {
  const first = Number(b.name === reference) - Number(a.name === reference);
  if (first !== 0) return first;
  const known = a.distance !== null && b.distance !== null ? a.distance - b.distance : 0;
  return known || classRank(a) - classRank(b);
}

function reasonFor(
  recommended: PickSystem,
  fastest: PickSystem,
  level: readonly PickSystem[],
  timed: number,
): string {
  if (timed === 1) return `${recommended.name} is the only one that works here and keeps the quality.`;
  if (level.length === 1) return `${recommended.name} is the fastest, and no other is level with it.`;
  const others = level.filter((one) => one !== recommended).map(({ name }) => name);
  const what = others.length === 1 ? "is level" : "are level";
  return recommended === fastest
    ? `${recommended.name} is the fastest; ${others.join(", ")} ${what} with it and less exact.`
    : `${recommended.name} is level with ${fastest.name}, the fastest that was measured, and more exact.`;
}
