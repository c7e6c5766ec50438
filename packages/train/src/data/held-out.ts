import {
  bootstrapInterval,
  type ConfidenceInterval,
  createQrels,
  createRun,
  evaluate,
  type NonInferiority,
  nonInferiority,
  pairByQuery,
  type Qrels,
  queryValues,
  searchBm25,
  type Task,
  withFirstStage,
} from "@crossrank/eval";
import { TrainingSetupError } from "../errors.js";
import type { ScorePairs } from "../types.js";
import { placeOf } from "./split.js";
import type { TextStore } from "./text-store.js";
import { type QueryGroup, queryKey } from "./training-data.js";

/** Queries with candidates to rerank, on which nothing is trained. */
export interface HeldOutSet {
  /** For reports: where the queries come from. */
  readonly name: string;
  readonly queries: number;
  readonly pairs: number;
  /** Of the queries, as {@link queryKey} makes them. */
  readonly keys: ReadonlySet<string>;
  /** Of all queries of the task, also of those that a limit or the part leaves out: nothing may be trained on them. */
  readonly reserved: ReadonlySet<string>;
  /** nDCG@10 of every query by these scores, at its expected value over ties. */
  measure(score: ScorePairs, options?: MeasureOptions): Promise<ReadonlyMap<string, number>>;
}

export interface MeasureOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called with the pairs scored. */
  readonly onProgress?: ((pairs: number) => void) | undefined;
}

export interface HeldOutOptions {
  /** Queries at most; a seed says which. Default: all. */
  readonly limit?: number | undefined;
  /** Candidates of a query, at most. Default 20. */
  readonly depth?: number | undefined;
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface Entry {
  readonly id: string;
  readonly query: string;
  readonly documents: readonly string[];
}

const defaultDepth = 20;
/** Pairs that are handed to a model at once: an abort and a progress line come between. */
const chunk = 64;

/** Of one mean: its interval, and the change against the start. */
export interface Measured {
  readonly interval: ConfidenceInterval;
  /** Undefined for the start itself. */
  readonly change: NonInferiority | undefined;
}

/**
 * @param margin the loss of nDCG@10 that is accepted, of {@link Measured.change}.
 * @param seed of the resampling.
 */
export function measureOf(
  values: ReadonlyMap<string, number>,
  base: ReadonlyMap<string, number> | undefined,
  { margin = 0, seed = 1 }: { readonly margin?: number; readonly seed?: number } = {},
): Measured {
  const resampling = { seed, resamples: 10_000 };
  return {
    interval: bootstrapInterval([...values.values()], resampling),
    change:
      base === undefined
        ? undefined
        : nonInferiority(pairByQuery(values, base).differences, { ...resampling, margin }),
  };
}

/**
 * Queries of the data as a held-out set. Candidates of a query are its judged documents, and BM25's best of all
 * documents of the data up to `depth`: a query of which only the answer is known is ranked among others all the same.
 *
 * @param all every group of the data, for their documents.
 */
export async function heldOutOfGroups(
  texts: TextStore,
  groups: readonly QueryGroup[],
  all: readonly QueryGroup[],
  options: HeldOutOptions & { readonly name: string },
): Promise<HeldOutSet> {
  const { depth = defaultDepth, signal } = options;
  const chosen = choose(groups, ({ key }) => key, options);
  const corpus = new Set(all.flatMap(({ documents }) => documents.map(({ text }) => text)));
  const queries = new Map<string, string>();
  for (const group of chosen) queries.set(group.key, await texts.read(group.query));
  const found = await searchBm25(texts.only(corpus), queries, { depth: depth + 1, signal });
  const isBinary = chosen.every(({ documents }) =>
    documents.every(({ label }) => label === 0 || label === 1),
  );
  const grade = (label: number): number => (isBinary ? label : Math.round(100 * label));
  const qrels = createQrels(
    chosen.flatMap(({ key, documents }) =>
      documents.map(({ text, label }) => ({ query: key, document: String(text), grade: grade(label) })),
    ),
  );
  const entries = chosen.map((group): Entry => {
    const own = group.documents.map(({ text }) => String(text));
    const others = (found.get(group.key)?.documents ?? []).filter((id) => !own.includes(id));
    const filled = [...own, ...others].slice(0, Math.max(depth, own.length));
    return { id: group.key, query: queries.get(group.key) ?? "", documents: filled };
  });
  return heldOutSet(options.name, entries, qrels, (ids) => texts.texts(ids), new Set(queries.keys()));
}

/** A task's queries as two held-out sets, one to choose the best weights by and one to judge them. */
export async function heldOutOfTask(
  task: Task,
  options: HeldOutOptions & { readonly part?: "validation" | "gate" | undefined },
): Promise<HeldOutSet> {
  const { depth = defaultDepth, part, signal, seed = 0 } = options;
  const ranked = task.candidates === undefined ? await withFirstStage(task, { depth, signal }) : task;
  const judged = Array.from(ranked.queries, ([id, query]) => ({ id, query, key: queryKey(query) })).filter(
    ({ id }) => [...(ranked.qrels.get(id)?.values() ?? [])].some((grade) => grade > 0),
  );
  // One query text may have two ids: it falls into one part.
  const parted = judged.filter(
    ({ key }) =>
      part === undefined ||
      Number.parseInt(placeOf(key, seed).slice(0, 8), 16) % 2 === (part === "gate" ? 1 : 0),
  );
  const chosen = choose(parted, ({ key, id }) => key + id, options);
  const qrels: Qrels = new Map(chosen.map(({ id }) => [id, ranked.qrels.get(id) ?? new Map()]));
  const entries = chosen.map(({ id, query }): Entry => {
    const documents = (ranked.candidates?.queries.get(id)?.documents ?? []).slice(0, depth);
    return { id, query, documents };
  });
  const name = part === undefined ? task.name : `${task.name}, ${part}`;
  const keys = new Set(chosen.map(({ key }) => key));
  const reserved = new Set(Array.from(task.queries.values(), queryKey));
  return { ...heldOutSet(name, entries, qrels, (ids) => ranked.documents.texts(ids), keys), reserved };
}

function choose<Value>(
  values: readonly Value[],
  keyOf: (value: Value) => string,
  { limit, seed = 0 }: HeldOutOptions,
): readonly Value[] {
  if (limit === undefined || values.length <= limit) return values;
  return values
    .map((value) => ({ value, place: placeOf(keyOf(value), seed + 1) }))
    .sort((left, right) => (left.place < right.place ? -1 : left.place > right.place ? 1 : 0))
    .slice(0, limit)
    .map(({ value }) => value);
}

function heldOutSet(
  name: string,
  entries: readonly Entry[],
  qrels: Qrels,
  textsOf: (ids: readonly string[]) => Promise<string[]>,
  keys: ReadonlySet<string>,
): HeldOutSet {
  if (entries.length < 2) {
    throw new TrainingSetupError({
      subject: `The held-out set ${name}`,
      problem: `has ${entries.length} queries with a relevant document`,
      fix: "Hold out more: of fewer than two nothing can be said.",
    });
  }
  return {
    name,
    queries: entries.length,
    pairs: entries.reduce((sum, { documents }) => sum + documents.length, 0),
    keys,
    reserved: keys,
    measure: async (score, { signal, onProgress } = {}) => {
      const rows: { query: string; document: string; score: number }[] = [];
      let done = 0;
      for (const { id, query, documents } of entries) {
        const texts = await textsOf(documents);
        for (let at = 0; at < documents.length; at += chunk) {
          signal?.throwIfAborted();
          const part = documents.slice(at, at + chunk);
          const pairs = part.map((_, index) => ({ query, document: texts[at + index] ?? "" }));
          const scores = await score(pairs, signal);
          for (const [index, document] of part.entries()) {
            rows.push({ query: id, document, score: scores[index] ?? Number.NaN });
          }
          done += part.length;
          onProgress?.(done);
        }
      }
      const [result] = evaluate(qrels, createRun(rows), ["ndcg@10"]).results;
      return result === undefined ? new Map() : queryValues(result);
    },
  };
}
