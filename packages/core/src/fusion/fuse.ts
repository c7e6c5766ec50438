import { readArray } from "../call/input.js";
import { type OptionNames, requireKnownOptions } from "../call/option-names.js";
import { nameOf } from "../call/option-types.js";
import { InvalidInputError } from "../contract/errors.js";
import { rankByLogit } from "../score/order.js";
import { type Normalisation, normalised } from "./normalise.js";

/** A document in one of the lists. */
export interface FusionEntry<Id extends string | number = string | number> {
  /** The same document has the same id in every list: its position among the documents, or a database's key. */
  readonly id: Id;
  /**
   * Any scale, greater is better. Null for one that was not scored: it counts as missing in this list. Where no entry of
   * the list has a score the entries' order is the ranking.
   */
  readonly score?: number | null | undefined;
}

/** What one searcher or model found. */
export interface FusionList<Id extends string | number = string | number> {
  readonly results: readonly FusionEntry<Id>[];
  /** 0 or more; one of the lists above 0. Default 1. */
  readonly weight?: number | undefined;
}

interface CommonFusionOptions<Id extends string | number> {
  /** At least one. Ties of the fused score keep the order of the lists: the first list's documents first. */
  readonly lists: readonly FusionList<Id>[];
  /**
   * An id that stands twice in one list: refuse it (`"refuse"`, the default), or count its best place alone (`"best"`),
   * as for passages of one document.
   */
  readonly duplicates?: "refuse" | "best" | undefined;
  /** Give the best n only. Default: all. */
  readonly topN?: number | undefined;
}

/**
 * - `rrf`: reciprocal rank fusion. Each list adds `weight / (k + rank)`, the rank counted from 1; a list that misses the
 *   document adds nothing. Scores count by their order alone.
 * - `weighted`: each list adds `weight · score`, the score normalised within the list. A list that misses the document
 *   adds the lowest that it gives to any, and an empty list nothing.
 */
export type FusionOptions<Id extends string | number = string | number> = CommonFusionOptions<Id> &
  (
    | {
        readonly method: "rrf";
        /** Above 0. The greater, the less the first places count. Default 60. */
        readonly k?: number | undefined;
      }
    | {
        readonly method: "weighted";
        /** Which one has to be said: a fused score means nothing without it. */
        readonly normalisation: Normalisation;
      }
  );

/** A document in the fused order. */
export interface FusedDocument<Id extends string | number = string | number> {
  readonly id: Id;
  /** Sum of `parts` and of what lists that miss the document add. Compare within one fusion only. */
  readonly score: number;
  /** What each list has added, in their order; null where the list misses the document, or has no score for it. */
  readonly parts: readonly (number | null)[];
}

/** k of reciprocal rank fusion, as the paper has it: https://dl.acm.org/doi/10.1145/1571941.1572114 */
export const defaultRankConstant = 60;

/** What a place, from 1, adds in reciprocal rank fusion. */
export function reciprocalRank(rank: number, k: number = defaultRankConstant): number {
  return 1 / (k + rank);
}

const common = { lists: true, duplicates: true, topN: true, method: true } as const;
const optionNames: Readonly<Record<FusionOptions["method"], Readonly<Record<string, true>>>> = {
  rrf: { ...common, k: true },
  weighted: { ...common, normalisation: true },
};

/**
 * One ranking of several: a first stage's and a reranker's, or those of several searches. Pure.
 *
 * @returns best first, each document of any list once.
 * @throws {InvalidInputError} for an option that is wrong, a score that is not finite, a list of which some entries have
 * scores and others none at all, and an id that stands twice in a list.
 */
export function fuse<Id extends string | number>(options: FusionOptions<Id>): FusedDocument<Id>[] {
  const { method } = readMethod(options);
  requireKnownOptions(options, optionNames[method], "fuse");
  const topN = readTopN(options.topN);
  const keepsBest = readDuplicates(options.duplicates);
  const add = adder(options);
  const lists = readArray(options.lists, "lists", (list: FusionList<Id>, path) => readList(list, path));
  if (lists.length === 0) throw new InvalidInputError("lists", "is empty; pass at least one list");
  if (!lists.some(({ weight }) => weight > 0)) {
    throw new InvalidInputError("lists", "have the weight 0 each. Give one of them more");
  }
  const parts = new Map<Id, (number | null)[]>();
  const missing: number[] = [];
  for (const [place, list] of lists.entries()) {
    // Documents that a list has no score for are documents all the same.
    for (const { id } of list.entries) {
      if (!parts.has(id)) parts.set(id, new Array<number | null>(lists.length).fill(null));
    }
    const ranked = rankedEntries(list, `lists[${place}]`, keepsBest);
    const { added, absent } = add(ranked, list.weight, `lists[${place}]`);
    for (const [index, { id }] of ranked.entries()) {
      (parts.get(id) as (number | null)[])[place] = added[index] as number;
    }
    missing.push(absent);
  }
  const documents = [...parts].map(([id, own]): FusedDocument<Id> => {
    let score = 0;
    for (const [place, part] of own.entries()) score += part ?? (missing[place] as number);
    if (!Number.isFinite(score)) {
      throw new InvalidInputError("lists", `add up to ${score} for ${shown(id)}. Normalise the scores`);
    }
    return { id, score, parts: own };
  });
  return rankByLogit(documents.map(({ score }) => ({ logit: score })))
    .slice(0, topN)
    .map((index) => documents[index] as FusedDocument<Id>);
}

/** An entry with its score as it counts: of a list without scores, its place from behind. */
interface RankedEntry<Id> {
  readonly id: Id;
  readonly score: number;
}

interface ReadList<Id> {
  readonly entries: readonly { readonly id: Id; readonly score: number | null | undefined }[];
  readonly weight: number;
}

/** What each entry of a ranking adds, best first, and what the list adds to documents that it misses. */
type Add = (
  ranked: readonly RankedEntry<unknown>[],
  weight: number,
  path: string,
) => { readonly added: readonly number[]; readonly absent: number };

function adder(options: FusionOptions): Add {
  if (options.method === "rrf") {
    const { k = defaultRankConstant } = options;
    if (!(isNumber(k) && k > 0)) {
      throw new InvalidInputError("k", `must be a number above 0, not ${shown(k)}`);
    }
    return (ranked, weight) => ({
      added: ranked.map((_, index) => weight * reciprocalRank(index + 1, k)),
      absent: 0,
    });
  }
  const { normalisation } = options;
  if (!["min-max", "z-score", "none"].includes(normalisation)) {
    throw new InvalidInputError(
      "normalisation",
      `must be min-max, z-score or none, not ${shown(normalisation)}: say how the scores of the lists are made comparable`,
    );
  }
  return (ranked, weight) => {
    const { scores, lowest } = normalised(
      ranked.map(({ score }) => score),
      normalisation,
    );
    return { added: scores.map((score) => weight * score), absent: weight * lowest };
  };
}

/** Best first, without entries that have no score; each id once. */
function rankedEntries<Id extends string | number>(
  { entries }: ReadList<Id>,
  path: string,
  keepsBest: boolean,
): RankedEntry<Id>[] {
  const hasScores = entries.some(({ score }) => typeof score === "number");
  const bare = entries.findIndex(({ score }) => score === undefined);
  if (hasScores && bare >= 0) {
    throw new InvalidInputError(
      `${path}.results[${bare}].score`,
      "is missing, and other entries of the list have one. Give every entry its score, null for none, or none of them a score",
    );
  }
  const scored = entries
    .map((entry, place) => ({ ...entry, place }))
    .filter(({ score }) => score !== null)
    .map(({ id, score, place }) => ({ id, place, score: score ?? -place }));
  const places = new Map<Id, number>();
  if (!keepsBest) {
    // Also of entries without a score: the caller is to know that its list is not what it takes it for.
    for (const [place, { id }] of entries.entries()) {
      const earlier = places.get(id);
      if (earlier !== undefined) {
        throw new InvalidInputError(
          `${path}.results[${place}].id`,
          `is ${shown(id)}, which stands at results[${earlier}] already. Pass each id once, or duplicates: "best"`,
        );
      }
      places.set(id, place);
    }
  }
  const seen = new Set<Id>();
  return rankByLogit(scored.map(({ score }) => ({ logit: score })))
    .map((index) => scored[index] as RankedEntry<Id>)
    .filter(({ id }) => !seen.has(id) && seen.add(id));
}

function readMethod(options: FusionOptions): { readonly method: FusionOptions["method"] } {
  requireKnownOptions(
    options,
    { ...common, k: true, normalisation: true },
    "fuse",
    undefined,
    '@({ method: "rrf", lists: [{ results }] })',
  );
  const { method } = options;
  if (method === "rrf" || method === "weighted") return { method };
  throw new InvalidInputError("method", `must be rrf or weighted, not ${shown(method)}`);
}

const listNames: OptionNames<FusionList> = { results: true, weight: true };

function readList<Id extends string | number>(list: FusionList<Id>, path: string): ReadList<Id> {
  requireKnownOptions(list, listNames, "a list", path, "{ results: [{ id, score }] }");
  const { weight = 1 } = list;
  if (!(isNumber(weight) && weight >= 0)) {
    throw new InvalidInputError(`${path}.weight`, `must be a number of 0 or more, not ${shown(weight)}`);
  }
  const entries = readArray(list.results, `${path}.results`, (entry: FusionEntry<Id>, at) => {
    if (typeof entry !== "object" || entry === null) {
      throw new InvalidInputError(at, `must be an object, not ${nameOf(entry)}: write { id, score }`);
    }
    const { id, score } = entry;
    if (typeof id !== "string" && !isNumber(id)) {
      throw new InvalidInputError(`${at}.id`, `must be a string or a finite number, not ${shown(id)}`);
    }
    if (score !== undefined && score !== null && !isNumber(score)) {
      throw new InvalidInputError(
        `${at}.score`,
        `must be a finite number, or null for none, not ${shown(score)}`,
      );
    }
    return { id, score };
  });
  return { entries, weight };
}

function readTopN(topN: number | undefined): number | undefined {
  if (topN === undefined || (Number.isInteger(topN) && topN > 0)) return topN;
  throw new InvalidInputError("topN", `must be a whole number above 0, not ${shown(topN)}`);
}

function readDuplicates(duplicates: "refuse" | "best" | undefined = "refuse"): boolean {
  if (duplicates === "refuse" || duplicates === "best") return duplicates === "best";
  throw new InvalidInputError("duplicates", `must be refuse or best, not ${shown(duplicates)}`);
}

/** A string that looks like a number is none: it would be put beside another, not added. */
function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 60)) : String(value);
}
