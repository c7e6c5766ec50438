import type { Run } from "../metrics/trec-data.js";

/** One query's documents and their logits, one a document; NaN where the model gave none (a query that is too long). */
export interface ScoredList {
  readonly documents: readonly string[];
  /** Of a cascade, those of its last stage. */
  readonly logits: Float64Array;
  /** Of a cascade, the logits of each stage before the last, as `logits`. Left out where there is one model. */
  readonly earlier?: readonly Float64Array[] | undefined;
}

/** Query id → its scored list. Eight bytes a pair; the ids are the candidates' own. */
export type ScoredLists = ReadonlyMap<string, ScoredList>;

/**
 * The lists as a run to be measured. What has no logit stands below everything that has one, all alike, so that it
 * ranks last and its order is a tie. Of a cascade the numbers are places, since logits of two models have no order.
 */
export function rankingRun(lists: ScoredLists): Run {
  return lazyRun(lists, (list) => {
    if (list.earlier !== undefined) return placesIn(list);
    const { documents, logits } = list;
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

/**
 * The order of a cascade as numbers that fall: the documents of its last stage before those of the stage before it, and
 * so on, ties of one stage as ties.
 */
function placesIn({ documents, logits, earlier = [] }: ScoredList): Map<string, number> {
  const stages = [logits, ...[...earlier].reverse()];
  const logitOf = (stage: number, index: number): number => stages[stage]?.[index] ?? Number.NaN;
  const blocks = stages.map((): number[] => []);
  const without: number[] = [];
  for (const index of documents.keys()) {
    const stage = stages.findIndex((_, at) => !Number.isNaN(logitOf(at, index)));
    (blocks[stage] ?? without).push(index);
  }
  const places = new Map<string, number>();
  let place = 0;
  for (const [stage, block] of blocks.entries()) {
    let before: number | undefined;
    for (const index of block.sort((a, b) => logitOf(stage, b) - logitOf(stage, a))) {
      const logit = logitOf(stage, index);
      if (logit !== before) place -= 1;
      before = logit;
      places.set(documents[index] as string, place);
    }
  }
  for (const index of without) places.set(documents[index] as string, place - 1);
  return places;
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
