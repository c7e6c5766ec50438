import { InvalidInputError } from "../contract/errors.js";
import type {
  CacheKeyOptions,
  DocumentInput,
  EmbedOptions,
  Pair,
  RerankManyOptions,
  RerankOptions,
  ScoreOptions,
  TextOf,
  TimeBudget,
} from "../contract/reranker.js";
import type {
  PairScore,
  QueryRanking,
  RankedDocument,
  RerankResult,
  Status,
  TextSource,
} from "../contract/result.js";
import type { CheckedPair } from "../families/family.js";
import { type Chunking, readLongDocuments } from "../long/settings.js";
import { rankByLogit } from "../score/order.js";
import { type OptionNames, requireKnownOptions } from "./option-names.js";
import { nameOf, requireOptionType } from "./option-types.js";
import type { GroupNotes } from "./scoring-call.js";
import { readTextOption } from "./text-fields.js";

// A caller's arguments are read here and nowhere else: each property and each element once, while the call has not yet
// given up the event loop. Whatever the caller does to them afterwards (an array that it fills again, a getter that
// answers otherwise) is of no consequence for the call.

/** Most items of one array: an array that says it is longer does not hold so many texts. */
const mostItems = 2 ** 24;

const scoreNames: OptionNames<ScoreOptions> = {
  signal: true,
  whenAborted: true,
  timeBudget: true,
  instruction: true,
  longDocuments: true,
  activation: true,
  returnCacheKey: true,
  onProgress: true,
};
const rankingNames: Omit<OptionNames<RerankOptions<DocumentInput>>, "query"> = {
  documents: true,
  topN: true,
  returnDocuments: true,
  threshold: true,
  text: true,
  ...scoreNames,
};
const rerankNames: OptionNames<RerankOptions<DocumentInput>> = { query: true, ...rankingNames };
const rerankManyNames: OptionNames<RerankManyOptions<DocumentInput>> = { queries: true, ...rankingNames };
const embedNames: OptionNames<EmbedOptions> = {
  as: true,
  signal: true,
  onProgress: true,
  returnCacheKey: true,
};
const budgetNames: OptionNames<TimeBudget> = { milliseconds: true, whenExceeded: true };
const keyNames: OptionNames<CacheKeyOptions> = { instruction: true, longDocuments: true, activation: true };

/** The options of a call, as they were when it began. */
export interface CallOptions
  extends Pick<
    ScoreOptions,
    "signal" | "whenAborted" | "timeBudget" | "instruction" | "activation" | "returnCacheKey" | "onProgress"
  > {
  readonly longDocuments: Chunking | "truncate" | undefined;
}

/** What rankings are made of. */
interface Ranking<Document> {
  readonly options: CallOptions;
  readonly documents: readonly Document[];
  /** Of the documents. */
  readonly texts: readonly string[];
  /** What a result says of the texts. */
  readonly source: { readonly text?: TextSource };
  readonly topN: number | undefined;
  readonly threshold: number | undefined;
  readonly returnDocuments: boolean;
}

export interface RankRequest<Document> extends Ranking<Document> {
  readonly pairs: readonly CheckedPair[];
}

export interface RankManyRequest<Document> extends Ranking<Document> {
  /** Those of the first query, then those of the next; a query that was there before has none. */
  readonly pairs: readonly CheckedPair[];
  /** Of each query, which of the queries that have pairs it is. */
  readonly places: readonly number[];
}

/** @throws {InvalidInputError} */
export function readRankRequest<Document extends DocumentInput | object>(
  given: RerankOptions<Document>,
): RankRequest<Document> {
  requireKnownOptions(given, rerankNames, "rerank", undefined, "@({ query, documents })");
  const { query } = given;
  const ranking = readRanking(given, () => checkQuery(query, "query"));
  return { ...ranking, pairs: ranking.texts.map((text) => ({ query, text })) };
}

/** @throws {InvalidInputError} */
export function readRankManyRequest<Document extends DocumentInput | object>(
  given: RerankManyOptions<Document>,
): RankManyRequest<Document> {
  requireKnownOptions(given, rerankManyNames, "rerankMany", undefined, "@({ queries, documents })");
  const queries = readArray(given.queries, "queries", (query: string, path) => {
    checkQuery(query, path);
    return query;
  });
  const ranking = readRanking(given);
  const { texts } = ranking;
  const distinct = [...new Set(queries)];
  if (distinct.length * texts.length > mostItems) {
    throw new InvalidInputError(
      "queries",
      `are ${distinct.length}, and with ${texts.length} documents more than the ${mostItems} pairs of a call. Split them`,
    );
  }
  const places = new Map(distinct.map((query, place) => [query, place]));
  return {
    ...ranking,
    pairs: distinct.flatMap((query) => texts.map((text) => ({ query, text }))),
    places: queries.map((query) => places.get(query) as number),
  };
}

/** @param check of what is not in every ranking, before the documents. */
function readRanking<Document extends DocumentInput | object>(
  given: RerankOptions<Document> | RerankManyOptions<Document>,
  check: () => void = () => undefined,
): Ranking<Document> {
  const options = readStopOptions(given);
  const { topN, threshold, returnDocuments = false, text } = given;
  requireOptionType(returnDocuments, "boolean", "returnDocuments");
  if (topN !== undefined && !(Number.isInteger(topN) && topN > 0)) {
    throw new InvalidInputError("topN", `must be a whole number above 0, not ${String(topN)}`);
  }
  if (threshold !== undefined && !(typeof threshold === "number" && Number.isFinite(threshold))) {
    const found = typeof threshold === "number" ? threshold : nameOf(threshold);
    throw new InvalidInputError(
      "threshold",
      `must be a finite number on the scale of the scores, not ${found}`,
    );
  }
  const reader = readTextOption(text as TextOf<never> | undefined);
  check();
  const texts: string[] = [];
  const documents = readArray(given.documents, "documents", (document: Document, path) => {
    texts.push(reader.read(document, path));
    return document;
  });
  return {
    ...{ options, texts, documents },
    source: reader.source === undefined ? {} : { text: reader.source },
    ...{ topN, threshold, returnDocuments },
  };
}

/** @throws {InvalidInputError} */
export function readCallOptions(given: ScoreOptions): CallOptions {
  requireKnownOptions(given, scoreNames, "score", undefined, "@([{ query, document }])");
  return readStopOptions(given);
}

/** @throws {InvalidInputError} */
function readStopOptions(given: ScoreOptions): CallOptions {
  const {
    signal,
    whenAborted,
    timeBudget,
    instruction,
    longDocuments,
    activation,
    returnCacheKey,
    onProgress,
  } = given;
  if (!["throw", "partial", undefined].includes(whenAborted)) {
    throw new InvalidInputError("whenAborted", `must be throw or partial, not ${String(whenAborted)}`);
  }
  requireOptionType(returnCacheKey, "boolean", "returnCacheKey");
  return {
    ...{ activation: readActivation(activation), whenAborted },
    signal: readSignal(signal),
    timeBudget: readTimeBudget(timeBudget),
    instruction,
    longDocuments: readLongDocuments(longDocuments),
    returnCacheKey,
    onProgress: readCallback(onProgress, "onProgress"),
  };
}

/** @throws {InvalidInputError} */
export function readEmbedOptions(given: EmbedOptions): EmbedOptions {
  requireKnownOptions(given, embedNames, "embed", undefined, '@(texts, { as: "query" })');
  const { signal, onProgress, returnCacheKey, as } = given;
  if (as !== "query" && as !== "document") {
    throw new InvalidInputError("as", `must be query or document, not ${String(as)}`);
  }
  requireOptionType(returnCacheKey, "boolean", "returnCacheKey");
  return {
    signal: readSignal(signal),
    onProgress: readCallback(onProgress, "onProgress"),
    returnCacheKey,
    as,
  };
}

/** Of a cache key. @throws {InvalidInputError} */
export function readKeyOptions(
  given: CacheKeyOptions,
): Pick<CallOptions, "instruction" | "longDocuments" | "activation"> {
  requireKnownOptions(given, keyNames, "cacheKey");
  const { instruction, longDocuments, activation } = given;
  return {
    instruction,
    longDocuments: readLongDocuments(longDocuments),
    activation: readActivation(activation),
  };
}

/** @throws {InvalidInputError} */
function readActivation(given: ScoreOptions["activation"]): ScoreOptions["activation"] {
  if (["model", "probability", undefined].includes(given)) return given;
  throw new InvalidInputError("activation", `must be model or probability, not ${String(given)}`);
}

/** Documents in order of their scores, with what the caller wants to see of them. */
export function rankedDocuments<Document extends DocumentInput | object>(
  scores: readonly PairScore[],
  { texts, documents, source, topN, threshold, returnDocuments }: Ranking<Document>,
): Pick<RerankResult<Document>, "results" | "belowThreshold"> {
  const isBelow = ({ score }: PairScore): boolean =>
    threshold !== undefined && score !== null && score < threshold;
  const results = rankByLogit(scores)
    .filter((index) => !isBelow(scores[index] as PairScore))
    .slice(0, topN)
    .map(
      (index): RankedDocument<Document> => ({
        index,
        ...(scores[index] as PairScore),
        ...(returnDocuments
          ? { document: asScored(documents[index] as Document, texts[index] as string, source) }
          : {}),
      }),
    );
  return {
    results,
    ...(threshold === undefined ? {} : { belowThreshold: scores.filter(isBelow).length }),
  };
}

/** One ranking a query, in the caller's order. */
export function rankingsOf<Document extends DocumentInput | object>(
  { scores, status }: { readonly scores: readonly PairScore[]; readonly status: Status },
  groups: readonly GroupNotes[],
  request: RankManyRequest<Document>,
): QueryRanking<Document>[] {
  const { texts, places } = request;
  const answered = new Set<number>();
  return places.map((place) => {
    const own = scores.slice(place * texts.length, (place + 1) * texts.length);
    const scored = answered.has(place) ? [] : own.filter(({ logit }) => logit !== null);
    answered.add(place);
    return {
      ...(groups[place] ?? { status, warnings: [] }),
      ...rankedDocuments(own, request),
      usage: {
        documents: scored.length,
        tokens: scored.reduce((sum, { tokens }) => sum + tokens, 0),
      },
    };
  });
}

/** @throws {InvalidInputError} */
export function readPairs(given: readonly Pair[]): CheckedPair[] {
  const { read: textOf } = readTextOption(undefined);
  return readArray(given, "pairs", (pair: Pair, path): CheckedPair => {
    if (typeof pair !== "object" || pair === null) {
      throw new InvalidInputError(path, `must be an object, not ${nameOf(pair)}: write { query, document }`);
    }
    if (Array.isArray(pair)) throw new InvalidInputError(path, "is an array: write { query, document }");
    const { query, document } = pair;
    checkQuery(query, `${path}.query`);
    return { query, text: textOf(document, `${path}.document`) };
  });
}

/** @throws {InvalidInputError} */
export function readTexts(given: readonly string[]): string[] {
  return readArray(given, "texts", (text: string, path) => {
    if (typeof text !== "string") throw new InvalidInputError(path, `must be a string, not ${nameOf(text)}`);
    return text;
  });
}

/**
 * What stands in an array now, item by item, each checked before the next is read: an array says of itself how long it
 * is. A hole is undefined.
 *
 * @throws {InvalidInputError}
 */
export function readArray<Item, T>(
  given: readonly Item[],
  path: string,
  read: (item: Item, path: string) => T,
): T[] {
  if (!Array.isArray(given)) {
    throw new InvalidInputError(path, `must be an array, not ${nameOf(given)}`);
  }
  const { length } = given;
  if (!(length <= mostItems)) {
    throw new InvalidInputError(path, `has ${length} items, and a call takes at most ${mostItems}. Split it`);
  }
  const items: T[] = [];
  for (let index = 0; index < length; index += 1) {
    items.push(read(given[index] as Item, `${path}[${index}]`));
  }
  return items;
}

/** @throws {InvalidInputError} */
export function readSignal(signal: AbortSignal | null | undefined): AbortSignal | undefined {
  requireOptionType(signal, "AbortSignal", "signal");
  return signal ?? undefined;
}

/** @throws {InvalidInputError} */
export function readCallback<Callback>(
  callback: Callback | null | undefined,
  path: string,
): Callback | undefined {
  requireOptionType(callback, "function", path);
  return callback ?? undefined;
}

/** Only read; a deadline knows which budgets there are. @throws {InvalidInputError} */
function readTimeBudget(given: TimeBudget | null | undefined): TimeBudget | undefined {
  if (given === undefined || given === null) return undefined;
  requireKnownOptions(
    given,
    budgetNames,
    "a time budget",
    "timeBudget",
    '{ milliseconds: 500, whenExceeded: "partial" }',
  );
  const { milliseconds, whenExceeded } = given;
  return { milliseconds, whenExceeded };
}

function checkQuery(query: unknown, path: string): void {
  if (typeof query !== "string") throw new InvalidInputError(path, `must be a string, not ${nameOf(query)}`);
  if (query.trim() === "") {
    throw new InvalidInputError(path, "is empty; there is nothing to rank by. Pass the user's question");
  }
}

/**
 * The caller's own document; a copy with the text that was scored where the caller has given it another one since. An
 * accessor is not asked again: it is the document's own business what it answers. A text that was made of fields, or by a
 * function, is no property of the document.
 */
function asScored<Document extends DocumentInput | object>(
  document: Document,
  text: string,
  source: Ranking<Document>["source"],
): Document {
  if (typeof document === "string" || source.text !== undefined) return document;
  const property = Object.getOwnPropertyDescriptor(document, "text");
  if (property === undefined || !("value" in property) || property.value === text) return document;
  return { ...(document as object), text } as Document;
}
