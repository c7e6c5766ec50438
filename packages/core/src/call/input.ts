import { InvalidInputError } from "../contract/errors.js";
import type {
  DocumentInput,
  EmbedOptions,
  Pair,
  RerankOptions,
  ScoreOptions,
  TimeBudget,
} from "../contract/reranker.js";
import type { PairScore, RankedDocument } from "../contract/result.js";
import type { CheckedPair } from "../families/family.js";
import { rankByLogit } from "../score/order.js";
import { type OptionNames, requireKnownOptions } from "./option-names.js";
import { nameOf, requireOptionType } from "./option-types.js";

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
  returnCacheKey: true,
  onProgress: true,
};
const rerankNames: OptionNames<RerankOptions<DocumentInput>> = {
  query: true,
  documents: true,
  topN: true,
  returnDocuments: true,
  ...scoreNames,
};
const embedNames: OptionNames<EmbedOptions> = {
  as: true,
  signal: true,
  onProgress: true,
  returnCacheKey: true,
};
const budgetNames: OptionNames<TimeBudget> = { milliseconds: true, whenExceeded: true };
const keyNames: OptionNames<Pick<ScoreOptions, "instruction">> = { instruction: true };

/** The options of a call, as they were when it began. */
export type CallOptions = Pick<
  ScoreOptions,
  "signal" | "whenAborted" | "timeBudget" | "instruction" | "returnCacheKey" | "onProgress"
>;

/** What a ranking is made of. */
export interface RankRequest<Document> {
  readonly options: CallOptions;
  readonly pairs: readonly CheckedPair[];
  readonly documents: readonly Document[];
  readonly topN: number | undefined;
  readonly returnDocuments: boolean;
}

/** @throws {InvalidInputError} */
export function readRankRequest<Document extends DocumentInput>(
  given: RerankOptions<Document>,
): RankRequest<Document> {
  requireKnownOptions(given, rerankNames, "rerank", undefined, "@({ query, documents })");
  const options = readStopOptions(given);
  const { query, topN, returnDocuments = false } = given;
  requireOptionType(returnDocuments, "boolean", "returnDocuments");
  if (typeof query !== "string")
    throw new InvalidInputError("query", `must be a string, not ${nameOf(query)}`);
  if (topN !== undefined && !(Number.isInteger(topN) && topN > 0)) {
    throw new InvalidInputError("topN", `must be a whole number above 0, not ${String(topN)}`);
  }
  checkQuery(query, "query");
  const pairs: CheckedPair[] = [];
  const documents = readArray(given.documents, "documents", (document: Document, path) => {
    pairs.push({ query, text: textOf(document, path) });
    return document;
  });
  return {
    ...{ options, pairs, documents },
    topN,
    returnDocuments,
  };
}

/** @throws {InvalidInputError} */
export function readCallOptions(given: ScoreOptions): CallOptions {
  requireKnownOptions(given, scoreNames, "score", undefined, "@([{ query, document }])");
  return readStopOptions(given);
}

/** @throws {InvalidInputError} */
function readStopOptions(given: ScoreOptions): CallOptions {
  const { signal, whenAborted, timeBudget, instruction, returnCacheKey, onProgress } = given;
  if (!["throw", "partial", undefined].includes(whenAborted)) {
    throw new InvalidInputError("whenAborted", `must be throw or partial, not ${String(whenAborted)}`);
  }
  requireOptionType(returnCacheKey, "boolean", "returnCacheKey");
  return {
    signal: readSignal(signal),
    whenAborted,
    timeBudget: readTimeBudget(timeBudget),
    instruction,
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
export function readKeyOptions(given: Pick<ScoreOptions, "instruction">): Pick<ScoreOptions, "instruction"> {
  requireKnownOptions(given, keyNames, "cacheKey");
  return { instruction: given.instruction };
}

/** Documents in order of their scores, with what the caller wants to see of them. */
export function rankedDocuments<Document extends DocumentInput>(
  scores: readonly PairScore[],
  { pairs, documents, topN, returnDocuments }: RankRequest<Document>,
): RankedDocument<Document>[] {
  return rankByLogit(scores)
    .slice(0, topN)
    .map(
      (index): RankedDocument<Document> => ({
        index,
        ...(scores[index] as PairScore),
        ...(returnDocuments
          ? { document: asScored(documents[index] as Document, (pairs[index] as CheckedPair).text) }
          : {}),
      }),
    );
}

/** @throws {InvalidInputError} */
export function readPairs(given: readonly Pair[]): CheckedPair[] {
  return readArray(given, "pairs", (pair: Pair, path): CheckedPair => {
    if (typeof pair !== "object" || pair === null) {
      throw new InvalidInputError(path, `must be an object, not ${nameOf(pair)}: write { query, document }`);
    }
    if (Array.isArray(pair)) throw new InvalidInputError(path, "is an array: write { query, document }");
    const { query, document } = pair;
    if (typeof query !== "string") {
      throw new InvalidInputError(`${path}.query`, `must be a string, not ${nameOf(query)}`);
    }
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

function checkQuery(query: string, path: string): void {
  if (query.trim() === "") {
    throw new InvalidInputError(path, "is empty; there is nothing to rank by. Pass the user's question");
  }
}

function textOf(document: unknown, path: string): string {
  if (typeof document === "string") return document;
  if (typeof document === "object" && document !== null) {
    const { text } = document as { text?: unknown };
    if (typeof text === "string") return text;
    throw new InvalidInputError(`${path}.text`, `must be a string, not ${nameOf(text)}`);
  }
  throw new InvalidInputError(path, `must be a string or an object with a text, not ${nameOf(document)}`);
}

/**
 * The caller's own document; a copy with the text that was scored where the caller has given it another one since. An
 * accessor is not asked again: it is the document's own business what it answers.
 */
function asScored<Document extends DocumentInput>(document: Document, text: string): Document {
  if (typeof document === "string") return document;
  const property = Object.getOwnPropertyDescriptor(document, "text");
  if (property === undefined || !("value" in property) || property.value === text) return document;
  return { ...(document as object), text } as Document;
}
