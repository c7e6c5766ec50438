import { type Ratio, ratioOfRounds } from "../statistics/ratio.js";
import { sum } from "../statistics/summary.js";
import type { DocumentCost } from "./sweep.js";

/** Milliseconds of whole calls, one a query. */
export interface CallTimes {
  readonly wall: readonly number[];
  /** Of the processor; undefined where a runtime's cannot be told. */
  readonly processor: readonly number[] | undefined;
}

/** What a few queries took the small model, the large one and cascades of both, in turns, in one process. */
export interface CascadeCalls {
  /** Documents of each query. */
  readonly documents: readonly number[];
  readonly small: CallTimes;
  readonly large: CallTimes;
  readonly cascades: readonly (CallTimes & { readonly keep: number })[];
}

/** Whole calls of a cascade beside those of the large model alone. */
export interface CascadeTiming {
  readonly keep: number;
  /** Queries, each of which is a call of all its documents. */
  readonly calls: number;
  /** Milliseconds of a call, on average. */
  readonly milliseconds: { readonly wall: number; readonly processor: number | null };
  /** How many times as fast as the large model alone: its time over the cascade's. */
  readonly wall: Ratio;
  readonly processor: Ratio | null;
  /** The same from what a document costs each model, for these calls; null where no cost was told. */
  readonly calculated: number | null;
}

/** Milliseconds of processor time of a document; undefined where they cannot be told. */
export function documentCostOf({ documents, small, large }: CascadeCalls): DocumentCost | undefined {
  const all = sum(documents);
  if (all === 0 || small.processor === undefined || large.processor === undefined) return undefined;
  return { small: sum(small.processor) / all, large: sum(large.processor) / all };
}

/** @throws {InvalidInputError} for fewer than two calls. */
export function timingsOf(calls: CascadeCalls, seed: number): readonly CascadeTiming[] {
  const { documents, large, cascades } = calls;
  const cost = documentCostOf(calls);
  return cascades.map(({ keep, wall, processor }): CascadeTiming => {
    const average = (values: readonly number[]): number => sum(values) / values.length;
    const costs = documents.map((length) =>
      cost === undefined
        ? 0
        : (length > keep ? length * cost.small : 0) + Math.min(length, keep) * cost.large,
    );
    return {
      keep,
      calls: wall.length,
      milliseconds: { wall: average(wall), processor: processor === undefined ? null : average(processor) },
      wall: ratioOfRounds(large.wall, wall, { seed }),
      processor:
        processor === undefined || large.processor === undefined
          ? null
          : ratioOfRounds(large.processor, processor, { seed }),
      calculated: cost === undefined ? null : (sum(documents) * cost.large) / sum(costs),
    };
  });
}
