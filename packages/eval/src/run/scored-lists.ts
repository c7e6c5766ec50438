import type { Run } from "../metrics/trec-data.js";

/** One query's documents and their logits, one a document; NaN where the model gave none (a query that is too long). */
export interface ScoredList {
  readonly documents: readonly string[];
  readonly logits: Float64Array;
}

/** Query id → its scored list. Eight bytes a pair; the ids are the candidates' own. */
export type ScoredLists = ReadonlyMap<string, ScoredList>;

/**
 * The lists as a run to be measured. What has no logit stands below everything that has one, all alike, so that it
 * ranks last and its order is a tie.
 */
export function rankingRun(lists: ScoredLists): Run {
  return lazyRun(lists, ({ documents, logits }) => {
    const least = logits
      .filter((logit) => !Number.isNaN(logit))
      .reduce((low, logit) => Math.min(low, logit), Number.POSITIVE_INFINITY);
    const last = Number.isFinite(least) ? least - 1 : 0;
    return new Map(
      documents.map((document, index) => {
        const logit = logits[index] ?? Number.NaN;
        return [document, Number.isNaN(logit) ? last : logit];
      }),
    );
  });
}

/** The lists as a score table: what has no logit is not in it. */
export function scoreRun(lists: ScoredLists): Run {
  return lazyRun(
    lists,
    ({ documents, logits }) =>
      new Map(
        documents.flatMap((document, index): [string, number][] => {
          const logit = logits[index] ?? Number.NaN;
          return Number.isNaN(logit) ? [] : [[document, logit]];
        }),
      ),
  );
}

/** One score for all. */
export function constantRunOf(lists: ReadonlyMap<string, { readonly documents: readonly string[] }>): Run {
  return lazyRun(lists, ({ documents }) => new Map(documents.map((document) => [document, 0])));
}

/** The first stage's scores. */
export function firstStageRun(
  lists: ReadonlyMap<string, { readonly documents: readonly string[]; readonly scores: Float64Array }>,
): Run {
  return lazyRun(
    lists,
    ({ documents, scores }) => new Map(documents.map((document, index) => [document, scores[index] ?? 0])),
  );
}

/** A run whose rows are made when they are asked for, so that a million pairs are never a million map entries. */
function lazyRun<List>(lists: ReadonlyMap<string, List>, rowOf: (list: List) => Map<string, number>): Run {
  return new LazyMap(lists, rowOf);
}

class LazyMap<List, Value> implements ReadonlyMap<string, Value> {
  readonly #lists: ReadonlyMap<string, List>;
  readonly #make: (list: List) => Value;

  constructor(lists: ReadonlyMap<string, List>, make: (list: List) => Value) {
    this.#lists = lists;
    this.#make = make;
  }

  get size(): number {
    return this.#lists.size;
  }

  has(key: string): boolean {
    return this.#lists.has(key);
  }

  get(key: string): Value | undefined {
    const list = this.#lists.get(key);
    return list === undefined ? undefined : this.#make(list);
  }

  keys(): MapIterator<string> {
    return this.#lists.keys();
  }

  *values(): MapIterator<Value> {
    for (const list of this.#lists.values()) yield this.#make(list);
  }

  *entries(): MapIterator<[string, Value]> {
    for (const [key, list] of this.#lists) yield [key, this.#make(list)];
  }

  [Symbol.iterator](): MapIterator<[string, Value]> {
    return this.entries();
  }

  forEach(callback: (value: Value, key: string, map: ReadonlyMap<string, Value>) => void): void {
    for (const [key, value] of this.entries()) callback(value, key, this);
  }
}
