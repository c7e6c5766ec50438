import { keyOf } from "../call/cache-key.js";
import { requireBudget } from "../call/deadline.js";
import { Doorway } from "../call/doorway.js";
import {
  type CallOptions,
  rankedDocuments,
  readArray,
  readCallOptions,
  readKeyOptions,
  readPairs,
  readRankManyRequest,
  readRankRequest,
} from "../call/input.js";
import { type OptionNames, requireKnownOptions } from "../call/option-names.js";
import { nameOf, requireOptionType } from "../call/option-types.js";
import { lastPatience, patience, settledWithin } from "../call/patience.js";
import { DisposedError, InvalidInputError } from "../contract/errors.js";
import type {
  CacheKeyOptions,
  DocumentInput,
  DrainOptions,
  EmbedOptions,
  EmbedResult,
  Pair,
  Reranker,
  RerankManyOptions,
  RerankOptions,
  ScoreOptions,
} from "../contract/reranker.js";
import type { CheckedPair } from "../families/family.js";
import { type DerivedSignal, derive } from "../run/abort.js";
import { type CascadeAnswer, CascadeCall } from "./cascade-call.js";
import type {
  CascadeOptions,
  CascadeQueryRanking,
  CascadeReranker,
  CascadeRerankManyResult,
  CascadeRerankResult,
  CascadeScoreResult,
} from "./contract.js";

const names: OptionNames<CascadeOptions> = { keep: true, disposeStages: "boolean" };

/** What a stage has to have. */
const methods = ["rerank", "rerankMany", "score", "cacheKey", "drain", "dispose"] as const;

/**
 * Rerankers in stages: `cascade([small, large], { keep: 30 })` lets the small model score all documents and the large
 * one the best 30.
 *
 * @param stages two or more, the fastest first.
 * @throws {InvalidInputError} when a stage is no reranker or stands twice, or `keep` does not fit the stages.
 */
export function cascade(stages: readonly Reranker[], options: CascadeOptions): CascadeReranker {
  const form = "@([small, large], { keep: 30 })";
  requireKnownOptions(options, names, "cascade", undefined, form);
  const { keep, disposeStages = false } = options;
  requireOptionType(disposeStages, "boolean", "disposeStages");
  const read = readArray(stages, "stages", (stage: Reranker, path) => {
    requireStage(stage, path);
    return stage;
  });
  if (read.length < 2) {
    throw new InvalidInputError(
      "stages",
      `must be two rerankers or more, not ${read.length}: write cascade([small, large], { keep: 30 })`,
    );
  }
  const twice = read.findIndex((stage, index) => read.indexOf(stage) !== index);
  if (twice >= 0) throw new InvalidInputError(`stages[${twice}]`, "is the same reranker as one before it");
  return new StagedReranker(read, readKeep(keep, read.length - 1), disposeStages);
}

/** @throws {InvalidInputError} */
function requireStage(stage: unknown, path: string): asserts stage is Reranker {
  if (typeof stage !== "object" || stage === null) {
    throw new InvalidInputError(path, `must be a reranker, not ${nameOf(stage)}`);
  }
  if ("then" in stage) throw new InvalidInputError(path, "is a promise: await the reranker first");
  if ("fallbacks" in stage) {
    throw new InvalidInputError(
      path,
      "is a chain of variants, whose model may change from call to call. Open one of them",
    );
  }
  if ("keep" in stage) {
    throw new InvalidInputError(path, "is a cascade itself: name all stages in one");
  }
  const isReranker =
    methods.every((method) => typeof Reflect.get(stage, method) === "function") &&
    typeof Reflect.get(stage, "profile") === "object";
  if (!isReranker)
    throw new InvalidInputError(path, "must be a reranker, as createReranker and openReranker give it");
}

/** One number a boundary between stages. @throws {InvalidInputError} */
function readKeep(given: CascadeOptions["keep"], boundaries: number): readonly number[] {
  if (given === undefined)
    throw new InvalidInputError("keep", "is missing: say how many documents go on, as in { keep: 30 }");
  const single = !Array.isArray(given);
  const keep = single ? [given as number] : readArray(given, "keep", (count: number) => count);
  for (const [index, count] of keep.entries()) {
    const path = single ? "keep" : `keep[${index}]`;
    if (!(Number.isSafeInteger(count) && count > 0)) {
      const found = typeof count === "number" ? count : nameOf(count);
      throw new InvalidInputError(path, `must be a whole number above 0, not ${found}`);
    }
    const before = keep[index - 1];
    if (before !== undefined && count >= before) {
      throw new InvalidInputError(path, `is ${count}, and must be below ${before}, which is before it`);
    }
  }
  if (keep.length !== boundaries) {
    throw new InvalidInputError(
      "keep",
      `has ${keep.length} number${keep.length === 1 ? "" : "s"}, and ${boundaries + 1} stages need ${boundaries}: one for each but the last`,
    );
  }
  return keep;
}

class StagedReranker implements CascadeReranker {
  readonly keep: readonly number[];
  readonly #stages: readonly Reranker[];
  readonly #last: Reranker;
  readonly #disposesStages: boolean;
  readonly #doorway = new Doorway();
  readonly #calls = new Map<Promise<unknown>, DerivedSignal>();
  #disposing: Promise<void> | undefined;

  constructor(stages: readonly Reranker[], keep: readonly number[], disposesStages: boolean) {
    this.keep = Object.freeze([...keep]);
    this.#stages = stages;
    this.#last = stages.at(-1) as Reranker;
    this.#disposesStages = disposesStages;
  }

  get profile(): Reranker["profile"] {
    return this.#last.profile;
  }

  get sources(): Reranker["sources"] {
    return this.#last.sources;
  }

  get session(): Reranker["session"] {
    return this.#last.session;
  }

  async rerank<Document extends DocumentInput | object>(
    given: RerankOptions<Document>,
  ): Promise<CascadeRerankResult<Document>> {
    const request = readRankRequest(given);
    refuseThreshold(request.threshold);
    const {
      places,
      scores,
      groups: _groups,
      ...rest
    } = await this.#answer(request.pairs, [request.pairs.map((_, index) => index)], request.options);
    return { ...rest, ...request.source, results: ranked({ scores, places }, request) };
  }

  async rerankMany<Document extends DocumentInput | object>(
    given: RerankManyOptions<Document>,
  ): Promise<CascadeRerankManyResult<Document>> {
    const request = readRankManyRequest(given);
    refuseThreshold(request.threshold);
    const { pairs, texts, source } = request;
    const positions = texts.map((_, index) => index);
    const count = texts.length === 0 ? 0 : pairs.length / texts.length;
    const starts = Array.from({ length: count }, (_, place) => place * texts.length);
    const groups = starts.map((start) => positions.map((index) => start + index));
    const shared = { queries: starts.map((start) => (pairs[start] as CheckedPair).query), texts };
    const answer = await this.#answer(pairs, groups, request.options, shared);
    const { scores, places, groups: notes, ...rest } = answer;
    const answered = new Set<number>();
    const rankings = request.places.map((place): CascadeQueryRanking<Document> => {
      const start = place * texts.length;
      const own = {
        scores: scores.slice(start, start + texts.length),
        places: places.slice(start, start + texts.length),
      };
      const counted = answered.has(place) ? [] : own.scores;
      answered.add(place);
      const tokens = counted.flatMap(({ stageScores }) => stageScores.map((one) => one?.tokens ?? 0));
      return {
        ...(notes[place] ?? { status: rest.status, warnings: [] }),
        results: ranked(own, request),
        usage: {
          documents: counted.filter(({ logit }) => logit !== null).length,
          tokens: tokens.reduce((sum, one) => sum + one, 0),
        },
      };
    });
    return { ...rest, ...source, rankings };
  }

  async score(given: readonly Pair[], givenOptions: ScoreOptions = {}): Promise<CascadeScoreResult> {
    const options = readCallOptions(givenOptions);
    const pairs = readPairs(given);
    const groups = new Map<string, number[]>();
    for (const [index, { query }] of pairs.entries()) {
      const group = groups.get(query);
      if (group === undefined) groups.set(query, [index]);
      else group.push(index);
    }
    const {
      places: _places,
      groups: _groups,
      ...result
    } = await this.#answer(pairs, [...groups.values()], options);
    return result;
  }

  /** @throws {InvalidInputError} always: the vectors of two models share no index. */
  async embed(_texts: readonly string[], _options: EmbedOptions): Promise<EmbedResult> {
    throw new InvalidInputError(
      "embed",
      "gives vectors of one model, and a cascade has several. Ask a bi-encoder for them",
    );
  }

  async cacheKey(given: CacheKeyOptions = {}): Promise<string> {
    return this.#cacheKey(readKeyOptions(given));
  }

  drain(options?: DrainOptions): Promise<void> {
    return this.#doorway.drain(options);
  }

  dispose(): Promise<void> {
    this.#disposing ??= (async () => {
      for (const signal of this.#calls.values()) signal.abort(new DisposedError());
      await settledWithin(this.#calls.keys(), patience);
      if (!this.#disposesStages) return;
      const disposals = this.#stages.map((stage) => stage.dispose());
      await settledWithin(disposals, lastPatience);
      await Promise.all(disposals);
    })();
    return this.#disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #cacheKey(
    options: Pick<CallOptions, "instruction" | "longDocuments" | "activation">,
  ): Promise<string> {
    const stages = await Promise.all(
      this.#stages.map((stage) => stage.cacheKey(optionsFor(stage, options, this.#stages))),
    );
    return keyOf({ cascade: stages, keep: this.keep });
  }

  #answer(
    pairs: readonly CheckedPair[],
    groups: readonly (readonly number[])[],
    options: CallOptions,
    shared?: { readonly queries: readonly string[]; readonly texts: readonly string[] },
  ): Promise<CascadeAnswer> {
    if (options.timeBudget !== undefined) requireBudget(options.timeBudget);
    const started = performance.now();
    return this.#doorway.through(async () => {
      if (this.#disposing !== undefined) throw new DisposedError();
      const derived = derive(options.signal);
      const call = new CascadeCall({
        ...{ pairs, groups, options, shared, started },
        stages: this.#stages,
        keep: this.keep,
        signal: derived.signal,
        optionsFor: (stage) => optionsFor(stage, options, this.#stages),
        check: () => {
          if (this.#disposing !== undefined) throw new DisposedError();
        },
      });
      const work = call.run();
      this.#calls.set(work, derived);
      try {
        const answer = await work;
        return options.returnCacheKey === true
          ? { ...answer, cacheKey: await this.#cacheKey(options) }
          : answer;
      } finally {
        this.#calls.delete(work);
        derived.release();
      }
    });
  }
}

/** Of the options on which scores depend, those that a stage takes. */
function optionsFor(
  stage: Reranker,
  {
    instruction,
    longDocuments,
    activation,
  }: Pick<CallOptions, "instruction" | "longDocuments" | "activation">,
  stages: readonly Reranker[],
): Pick<CallOptions, "instruction" | "longDocuments" | "activation"> {
  const takes = ({ profile }: Reranker): boolean => profile.instructedTemplate !== undefined;
  return {
    // Where no stage takes one, each says so.
    instruction: takes(stage) || !stages.some(takes) ? instruction : undefined,
    longDocuments,
    // Earlier stages only choose, and their model may have no probabilities.
    activation: stage === stages.at(-1) ? activation : undefined,
  };
}

/** @throws {InvalidInputError} */
function refuseThreshold(threshold: number | undefined): void {
  if (threshold === undefined) return;
  throw new InvalidInputError(
    "threshold",
    "is on one scale, and a cascade leaves documents without a score of its last stage. Ask for topN of at most keep, and compare the scores of the results",
  );
}

/** Documents in the cascade's order, which core's rule for one model's scores does not know. */
function ranked<Document extends DocumentInput | object>(
  { scores, places }: Pick<CascadeAnswer, "scores" | "places">,
  request: Parameters<typeof rankedDocuments<Document>>[1],
): CascadeRerankResult<Document>["results"] {
  const byPlace = scores.map((score, index) => ({ ...score, logit: -(places[index] as number) }));
  const { results } = rankedDocuments(byPlace, request);
  return results.map((one) => ({ ...one, ...(scores[one.index] as CascadeAnswer["scores"][number]) }));
}
