import { NonFiniteScoreError, type Pair, type PairScore } from "@crossrank/core";
import type { Task } from "../tasks/task.js";
import { NonFiniteSystemScoreError } from "./errors.js";
import { type Identity, LineStore } from "./line-store.js";
import { type ProgressListener, phaseProgress } from "./progress.js";
import type { ScoredList, ScoredLists } from "./scored-lists.js";
import type { Scorer } from "./scorer.js";
import { type CallRow, callRow, canBeDivided, Tally } from "./tally.js";

/**
 * The first queries are scored one by one, so that there is a time for a query; the others together, so that batches
 * fill. By position, not by what is left to do: the same queries share a call in every run.
 */
const queriesAlone = 20;

/** Pairs of one call, at least, where queries are scored together. What a kill loses, at most, and a query more. */
const pairsTogether = 256;

/** One query's part of a call. */
interface QueryScores {
  readonly query: string;
  /** In the order of its candidates; null where there is none. */
  readonly logits: readonly (number | null)[];
  readonly tokens: number;
  /** Warning → how many of its documents. */
  readonly warnings?: Readonly<Record<string, number>>;
}

/** A call's scores, as they are stored: all of it or nothing, so that what is scored again is scored in the same company. */
interface CallScores {
  readonly scores: readonly QueryScores[];
  /** Its warnings are those that cannot be told apart by query. */
  readonly call: CallRow;
}

export interface CandidateScores {
  readonly lists: ScoredLists;
  readonly tally: Tally;
  /** Queries that an earlier run had scored. */
  readonly resumed: number;
  /** Stored lines that were not as they had been written. */
  readonly damagedLines: number;
}

export interface ScoreCandidatesOptions {
  readonly system: string;
  readonly scorer: Scorer;
  /** With candidates, and the queries to score alone. */
  readonly task: Task;
  /** Of the file of scores. */
  readonly path: string;
  readonly identity: Identity;
  readonly fresh: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/**
 * Scores every candidate of every query that the file does not hold yet, and appends as it goes. Memory: the logits,
 * eight bytes a pair, and the texts of one call.
 *
 * @throws {NonFiniteSystemScoreError}, {ScoreIdentityError}, {ScoreStoreError}, what the scorer throws, and the
 *   signal's reason; what was scored before is kept.
 */
export async function scoreCandidates(options: ScoreCandidatesOptions): Promise<CandidateScores> {
  const { task, path, identity, fresh, scorer, signal, system } = options;
  const candidates = task.candidates?.queries ?? new Map();
  const found = new Map<string, Float64Array>();
  const tally = new Tally();
  const lengthOf = (query: string): number => candidates.get(query)?.documents.length ?? 0;
  const queries = [...task.queries.keys()].filter((query) => lengthOf(query) > 0);
  const wanted = new Set(queries);
  const take = ({ scores, call }: CallScores): boolean => {
    if (!scores.every(({ query, logits }) => !wanted.has(query) || logits.length === lengthOf(query))) {
      return false;
    }
    // The others are of a run without this one's limit.
    const ours = scores.filter(({ query }) => wanted.has(query) && !found.has(query));
    // What cannot be told apart is made again, and is then of these queries alone.
    if (ours.length === 0 || (ours.length < scores.length && !canBeDivided(call))) return true;
    for (const { query, logits, warnings } of ours) {
      found.set(query, readLogits(logits));
      tally.warn(warnings);
    }
    const isAll = ours.length === scores.length;
    const documents = ours.reduce((sum, { logits }) => sum + logits.length, 0);
    const tokens = ours.reduce((sum, one) => sum + one.tokens, 0);
    tally.add(call, isAll ? call : { documents, tokens });
    return true;
  };
  const store = await LineStore.open<CallScores>(path, identity, { fresh, accept: take });
  try {
    const { damagedLines } = store;
    tally.warn({ "damaged-scores": damagedLines });
    const total = queries.reduce((sum, query) => sum + lengthOf(query), 0);
    const resumed = queries.filter((query) => found.has(query)).length;
    let completed = queries.reduce((sum, query) => sum + (found.has(query) ? lengthOf(query) : 0), 0);
    const report = phaseProgress(options.onProgress, { system, phase: "scoring", total, resumed: completed });
    const listwise = scorer.description.system.scoring === "listwise";
    for (const window of windowsOf(queries, lengthOf, listwise)) {
      const missing = window.queries.filter((query) => !found.has(query));
      if (missing.length === 0) continue;
      signal?.throwIfAborted();
      const row = await scoreWindow(options, missing, window.alone, (done) => report(completed + done));
      await store.append(row);
      take(row);
      completed += row.call.documents;
      report(completed);
    }
    const lists = new Map<string, ScoredList>();
    for (const query of queries) {
      const documents = candidates.get(query)?.documents;
      const logits = found.get(query);
      if (documents !== undefined && logits !== undefined) lists.set(query, { documents, logits });
    }
    return { lists, tally, resumed, damagedLines };
  } finally {
    await store.close();
  }
}

/** Queries that share a call, in order. A listwise model gets each query by itself: equal texts would become one list. */
function* windowsOf(
  queries: readonly string[],
  lengthOf: (query: string) => number,
  listwise: boolean,
): Generator<{ readonly queries: readonly string[]; readonly alone: boolean }> {
  let window: string[] = [];
  let pairs = 0;
  for (const [position, query] of queries.entries()) {
    if (listwise || position < queriesAlone) {
      yield { queries: [query], alone: position < queriesAlone };
      continue;
    }
    window.push(query);
    pairs += lengthOf(query);
    if (pairs < pairsTogether) continue;
    yield { queries: window, alone: false };
    window = [];
    pairs = 0;
  }
  if (window.length > 0) yield { queries: window, alone: false };
}

async function scoreWindow(
  options: ScoreCandidatesOptions,
  queries: readonly string[],
  alone: boolean,
  onPairs: (completed: number) => void,
): Promise<CallScores> {
  const { task, scorer, signal, system } = options;
  const pairs: Pair[] = [];
  const places: { readonly query: string; readonly document: string }[] = [];
  const starts: number[] = [];
  for (const query of queries) {
    const documents = task.candidates?.queries.get(query)?.documents ?? [];
    const texts = await task.documents.texts(documents);
    starts.push(pairs.length);
    documents.forEach((document, index) => {
      pairs.push({ query: task.queries.get(query) ?? "", document: texts[index] ?? "" });
      places.push({ query, document });
    });
  }
  const started = performance.now();
  const result = await scorer
    .score(pairs, { signal, onProgress: ({ completed }) => onPairs(completed) })
    .catch((error: unknown) => {
      if (!NonFiniteScoreError.isInstance(error)) throw error;
      throw new NonFiniteSystemScoreError(
        { system, ...(places[error.index] ?? {}), value: error.value },
        { cause: error },
      );
    });
  const apart: readonly string[] = ["documents-truncated", "query-overflow"];
  const call = callRow({
    documents: pairs.length,
    tokens: result.usage.tokens,
    milliseconds: performance.now() - started,
    alone,
    warnings: result.warnings.filter(({ code }) => !apart.includes(code)),
  });
  const scores = queries.map((query, index) => {
    const own: readonly PairScore[] = result.scores.slice(starts[index], starts[index + 1]);
    const warnings = {
      "documents-truncated": own.filter((one) => one.truncatedTokens > 0 && !one.queryOverflow).length,
      "query-overflow": own.filter((one) => one.queryOverflow).length,
    };
    return {
      query,
      logits: own.map(({ logit }) => logit),
      tokens: own.reduce((sum, { tokens }) => sum + tokens, 0),
      ...(Object.values(warnings).some((count) => count > 0) ? { warnings } : {}),
    };
  });
  return { scores, call };
}

function readLogits(logits: readonly (number | null)[]): Float64Array {
  return Float64Array.from(logits, (logit) => logit ?? Number.NaN);
}
