import { NonFiniteScoreError, type Pair } from "@crossrank/core";
import type { Task } from "../tasks/task.js";
import { NonFiniteSystemScoreError } from "./errors.js";
import { type Identity, LineStore } from "./line-store.js";
import { type ProgressListener, phaseProgress } from "./progress.js";
import type { ScoredList, ScoredLists } from "./scored-lists.js";
import type { Scorer, ScorerResult } from "./scorer.js";
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
  /** Of a cascade, those of each stage before the last. */
  readonly earlier?: readonly (readonly (number | null)[])[];
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
  const found = new Map<string, Pick<ScoredList, "logits" | "earlier">>();
  const { cascade, scoring } = scorer.description.system;
  const stagesBefore = cascade?.stages.length ?? 0;
  const tally = new Tally();
  const lengthOf = (query: string): number => candidates.get(query)?.documents.length ?? 0;
  const queries = [...task.queries.keys()].filter((query) => lengthOf(query) > 0);
  const wanted = new Set(queries);
  const take = ({ scores, call }: CallScores): boolean => {
    const fits = ({ query, logits, earlier = [] }: QueryScores): boolean =>
      earlier.length === stagesBefore &&
      [logits, ...earlier].every(({ length }) => length === lengthOf(query));
    if (!scores.every((one) => !wanted.has(one.query) || fits(one))) return false;
    // The others are of a run without this one's limit.
    const ours = scores.filter(({ query }) => wanted.has(query) && !found.has(query));
    // What cannot be told apart is made again, and is then of these queries alone.
    if (ours.length === 0 || (ours.length < scores.length && !canBeDivided(call))) return true;
    for (const { query, logits, earlier, warnings } of ours) {
      found.set(query, { logits: readLogits(logits), earlier: earlier?.map(readLogits) });
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
    const byList = scoring === "listwise" || stagesBefore > 0;
    for (const window of windowsOf(queries, lengthOf, byList)) {
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
      const own = found.get(query);
      if (documents !== undefined && own !== undefined) lists.set(query, { documents, ...own });
    }
    return { lists, tally, resumed, damagedLines };
  } finally {
    await store.close();
  }
}

/**
 * Queries that share a call, in order. Where a list is scored as a whole, by a listwise model or a cascade, each query
 * has its own: two of the same text would become one list.
 */
function* windowsOf(
  queries: readonly string[],
  lengthOf: (query: string) => number,
  byList: boolean,
): Generator<{ readonly queries: readonly string[]; readonly alone: boolean }> {
  let window: string[] = [];
  let pairs = 0;
  for (const [position, query] of queries.entries()) {
    if (byList || position < queriesAlone) {
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
  const { cascade } = scorer.description.system;
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
    const own = result.scores.slice(starts[index], starts[index + 1]);
    const warnings = {
      "documents-truncated": own.filter((one) => one.truncatedTokens > 0 && !one.queryOverflow).length,
      "query-overflow": own.filter((one) => one.queryOverflow).length,
    };
    return {
      query,
      logits: own.map(({ logit }) => logit),
      ...(cascade === undefined ? {} : { earlier: earlierLogits(own, cascade.stages.length) }),
      tokens: own.reduce((sum, score) => sum + tokensOf(score), 0),
      ...(Object.values(warnings).some((count) => count > 0) ? { warnings } : {}),
    };
  });
  return { scores, call };
}

function earlierLogits(scores: ScorerResult["scores"], stages: number): (number | null)[][] {
  return Array.from({ length: stages }, (_, stage) =>
    scores.map(({ stageScores }) => stageScores?.[stage]?.logit ?? null),
  );
}

/** Of all stages that read the pair. */
function tokensOf({ tokens, stageScores }: ScorerResult["scores"][number]): number {
  return stageScores === undefined ? tokens : stageScores.reduce((sum, one) => sum + (one?.tokens ?? 0), 0);
}

function readLogits(logits: readonly (number | null)[]): Float64Array {
  return Float64Array.from(logits, (logit) => logit ?? Number.NaN);
}
