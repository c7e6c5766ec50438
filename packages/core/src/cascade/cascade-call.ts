import type { CallOptions } from "../call/input.js";
import type { GroupNotes } from "../call/scoring-call.js";
import { scoresOfNone } from "../call/scoring-call.js";
import { NonFiniteScoreError } from "../contract/errors.js";
import { TimeBudgetExceededError } from "../contract/fallback-errors.js";
import type { Reranker, ScoreOptions } from "../contract/reranker.js";
import type { PairScore, Provenance, ScoreResult, Status, Usage } from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";
import type { CheckedPair } from "../families/family.js";
import { rankByLogit } from "../score/order.js";
import type { CascadeScore, CascadeScoreResult, CascadeStage } from "./contract.js";

export interface CascadeAnswer extends CascadeScoreResult {
  /** Of each pair, its place among the pairs of its query, the best 0. */
  readonly places: readonly number[];
  /** One a group. Without warnings where the first stage did not tell the queries apart. */
  readonly groups: readonly GroupNotes[];
}

export interface CascadeCallFacts {
  readonly pairs: readonly CheckedPair[];
  /** Positions of the pairs of each query, ascending. */
  readonly groups: readonly (readonly number[])[];
  /** Where all queries have the same documents. */
  readonly shared: { readonly queries: readonly string[]; readonly texts: readonly string[] } | undefined;
  readonly options: CallOptions;
  readonly stages: readonly Reranker[];
  readonly keep: readonly number[];
  /** When the call began, on `performance.now`'s clock. */
  readonly started: number;
  readonly signal: AbortSignal;
  readonly optionsFor: (
    stage: Reranker,
  ) => Pick<ScoreOptions, "instruction" | "longDocuments" | "activation">;
  /** @throws {DisposedError} */
  readonly check: () => void;
}

/** What a stage answered. */
type StageRun = Pick<ScoreResult, "status" | "scores" | "warnings" | "usage"> & {
  readonly provenance: Provenance;
  /** Warnings of each query by itself; none where the stage did not tell them apart. */
  readonly groups: readonly (readonly CrossrankWarning[])[];
};

const unused: Usage = {
  sequences: 0,
  tokens: 0,
  paddedTokens: 0,
  batches: 0,
  milliseconds: { encode: 0, run: 0, total: 0 },
};

/** One call of a cascade: takes the pairs of each query through the stages. Used once. */
export class CascadeCall {
  readonly #facts: CascadeCallFacts;
  /** Of each stage, what it gave each pair; undefined where it was not asked. */
  readonly #given: (PairScore | undefined)[][];
  /** Positions of each query's pairs that are still in the running, ascending. */
  #alive: (readonly number[])[];
  #warnings: readonly (readonly CrossrankWarning[])[] = [];
  #completed = 0;
  #exceeded = false;

  constructor(facts: CascadeCallFacts) {
    this.#facts = facts;
    this.#given = facts.stages.map(() => new Array(facts.pairs.length).fill(undefined));
    this.#alive = [...facts.groups];
  }

  async run(): Promise<CascadeAnswer> {
    const { stages, check } = this.#facts;
    const told: CascadeStage[] = [];
    let ended: Exclude<Status, "reranked"> | undefined;
    for (const [index, stage] of stages.entries()) {
      check();
      const asked = this.#alive.filter((positions) => this.#isNeeded(index, positions));
      const positions = asked.flat();
      const isIdle = positions.length === 0 && index < stages.length - 1;
      if (ended === undefined && !isIdle && this.#remaining() <= 0) ended = this.#runOut();
      if (ended !== undefined || isIdle) {
        const { provenance } = await this.#ask(stage, []);
        const status = ended === undefined ? "not-needed" : "not-reached";
        told.push({ ...provenance, status, pairs: 0, scored: 0, warnings: [], usage: unused });
        continue;
      }
      const run = await this.#ask(stage, positions);
      check();
      const given = this.#given[index] as (PairScore | undefined)[];
      for (const [at, position] of positions.entries()) given[position] = run.scores[at];
      this.#completed += positions.length;
      if (this.#warnings.length === 0) this.#warnings = run.groups;
      const isOut = run.warnings.some(({ code }) => code === "time-budget-exceeded");
      if (run.status !== "reranked") ended = isOut ? this.#runOut() : "partial";
      told.push({
        ...run.provenance,
        status: run.status === "reranked" ? "reranked" : "partial",
        pairs: positions.length,
        scored: run.scores.filter(({ logit }) => logit !== null).length,
        warnings: run.warnings.filter(({ code }) => code !== "time-budget-exceeded"),
        usage: run.usage,
      });
      if (ended === undefined) this.#cut(index);
    }
    return this.#answer(told, ended ?? "reranked");
  }

  /** Whether a stage chooses among these, or is the last. */
  #isNeeded(index: number, positions: readonly number[]): boolean {
    const keep = this.#facts.keep[index];
    return keep === undefined || positions.length > keep;
  }

  /** Leaves the best that go on to the next stage, in the caller's order, by which ties are broken. */
  #cut(index: number): void {
    const keep = this.#facts.keep[index];
    const given = this.#given[index] as (PairScore | undefined)[];
    if (keep === undefined) return;
    this.#alive = this.#alive.map((positions) => {
      if (!this.#isNeeded(index, positions)) return positions;
      const scores = positions.map((position) => given[position] as PairScore);
      return rankByLogit(scores)
        .slice(0, keep)
        .sort((a, b) => a - b)
        .map((at) => positions[at] as number);
    });
  }

  /** Pairs of all stages together, where none ends early. */
  #planned(): number {
    const { groups, keep } = this.#facts;
    let sum = 0;
    for (const { length } of groups) {
      let left = length;
      for (const count of keep) {
        if (left <= count) continue;
        sum += left;
        left = count;
      }
      sum += left;
    }
    return sum;
  }

  #remaining(): number {
    const { options, started } = this.#facts;
    const { timeBudget } = options;
    if (timeBudget === undefined) return Number.POSITIVE_INFINITY;
    return timeBudget.milliseconds - (performance.now() - started);
  }

  /** What the call answers when its budget has run out. @throws {TimeBudgetExceededError} */
  #runOut(): Exclude<Status, "reranked"> {
    this.#exceeded = true;
    const { timeBudget } = this.#facts.options;
    if (timeBudget === undefined || timeBudget.whenExceeded !== "throw") {
      return timeBudget?.whenExceeded === "passthrough" ? "passthrough" : "partial";
    }
    throw new TimeBudgetExceededError(timeBudget.milliseconds);
  }

  /** @throws what the stage throws; a pair's position is that of the call. */
  async #ask(stage: Reranker, positions: readonly number[]): Promise<StageRun> {
    const { pairs, options, signal, shared, optionsFor } = this.#facts;
    const { whenAborted, returnCacheKey, onProgress } = options;
    const remaining = this.#remaining();
    const total = this.#planned();
    const own: ScoreOptions =
      positions.length === 0
        ? { ...optionsFor(stage), returnCacheKey }
        : {
            ...{ ...optionsFor(stage), returnCacheKey, whenAborted, signal },
            timeBudget:
              remaining === Number.POSITIVE_INFINITY
                ? undefined
                : { milliseconds: Math.max(remaining, 1), whenExceeded: "partial" },
            // Its promise is the stage's to wait for.
            onProgress:
              onProgress === undefined
                ? undefined
                : ({ completed }) => onProgress({ completed: this.#completed + completed, total }),
          };
    try {
      // All documents of all queries: the first stage that runs tells the queries apart.
      if (shared !== undefined && positions.length === pairs.length && positions.length > 0) {
        const { queries, texts } = shared;
        const {
          rankings,
          status,
          warnings,
          usage,
          text: _text,
          ...provenance
        } = await stage.rerankMany({
          ...own,
          queries,
          documents: texts,
        });
        const scores = rankings.flatMap(({ results }) => {
          const byIndex = new Array<PairScore>(results.length);
          for (const { index, ...score } of results) byIndex[index] = score;
          return byIndex;
        });
        return { provenance, status, warnings, usage, scores, groups: rankings.map((one) => one.warnings) };
      }
      const asked = positions.map((position) => {
        const { query, text } = pairs[position] as CheckedPair;
        return { query, document: text };
      });
      const { scores, status, warnings, usage, ...provenance } = await stage.score(asked, own);
      return { provenance, status, warnings, usage, scores, groups: [] };
    } catch (error) {
      const position = NonFiniteScoreError.isInstance(error) ? positions[error.index] : undefined;
      if (position === undefined) throw error;
      throw await atPosition(error as NonFiniteScoreError, position, pairs[position]?.text ?? "", stage);
    }
  }

  async #answer(stages: readonly CascadeStage[], status: Status): Promise<CascadeAnswer> {
    const { pairs, groups, options, started } = this.#facts;
    const last = stages.length - 1;
    const isNone = status === "passthrough";
    const waiting = new Set(status === "reranked" ? [] : this.#alive.flat());
    const scores = isNone
      ? scoresOfNone(pairs.length).map(
          (score): CascadeScore => ({ ...score, stage: null, stageScores: stages.map(() => null) }),
        )
      : pairs.map((_, position) => this.#scoreOf(position, last, waiting.has(position)));
    const places = new Array<number>(pairs.length);
    for (const positions of groups) {
      for (const [place, position] of this.#order(positions, scores).entries()) places[position] = place;
    }
    const {
      status: _status,
      pairs: _pairs,
      scored: _scored,
      warnings: _warnings,
      usage: _usage,
      cacheKey: _cacheKey,
      ...provenance
    } = stages[last] as CascadeStage;
    const scored = scores.filter(({ logit }) => logit !== null).length;
    return {
      ...provenance,
      ...{ status, scores, places, stages },
      warnings: [
        ...merged(stages),
        ...(this.#exceeded && options.timeBudget !== undefined
          ? [budgetWarning(options.timeBudget.milliseconds, { scored, count: pairs.length, isNone })]
          : []),
      ],
      usage: sumOf(stages, performance.now() - started),
      groups: groups.map((positions, index) => ({
        status: isNone
          ? "passthrough"
          : positions.some((position) => scores[position]?.notScored)
            ? "partial"
            : "reranked",
        warnings: this.#warnings[index] ?? [],
      })),
    };
  }

  #scoreOf(position: number, last: number, isWaiting: boolean): CascadeScore {
    const stageScores = this.#given.map((given) => given[position] ?? null);
    const deepest = stageScores.findLastIndex((one) => one !== null);
    const stage = stageScores.findLastIndex((one) => one !== null && one.logit !== null);
    const [none] = scoresOfNone(1) as [PairScore];
    const base = deepest < 0 ? none : (stageScores[deepest] as PairScore);
    const own = deepest === last ? base : withoutScore(base, isWaiting);
    return { ...own, stage: stage < 0 ? null : stage, stageScores };
  }

  /** Positions of a query's pairs, the best first: stage by stage from the last, and in a stage by its logits. */
  #order(positions: readonly number[], scores: readonly CascadeScore[]): number[] {
    const stages = [...this.#given.keys()].reverse();
    const isOf = (stage: number | null) => (position: number) => scores[position]?.stage === stage;
    return [
      ...stages.flatMap((stage) => {
        const block = positions.filter(isOf(stage));
        const given = block.map((position) => this.#given[stage]?.[position] as PairScore);
        return rankByLogit(given).map((at) => block[at] as number);
      }),
      ...positions.filter(isOf(null)),
    ];
  }
}

/** What an earlier stage read, and no number of it. */
function withoutScore(score: PairScore, isWaiting: boolean): PairScore {
  const { relevantSpans: _spans, notScored: _notScored, ...rest } = score;
  return { ...rest, logit: null, score: null, ...(isWaiting ? { notScored: true as const } : {}) };
}

/** The error of a stage, at the pair's position in the call. */
async function atPosition(
  error: NonFiniteScoreError,
  position: number,
  text: string,
  stage: Reranker,
): Promise<Error> {
  if (position === error.index) return error;
  // Only a result says what the model's name is. A stage that is gone by now has failed by its own error all the same.
  const none = await stage.score([]).catch(() => undefined);
  if (none === undefined) return error;
  const facts = { index: position, value: Number(error.value), text };
  return new NonFiniteScoreError({ ...facts, model: none.model.id, backend: none.backend.name });
}

/** At most one of each code: a later stage's. */
function merged(stages: readonly CascadeStage[]): CrossrankWarning[] {
  const byCode = new Map<string, CrossrankWarning>();
  for (const { warnings } of stages) for (const warning of warnings) byCode.set(warning.code, warning);
  return [...byCode.values()];
}

function budgetWarning(
  milliseconds: number,
  { scored, count, isNone }: { readonly scored: number; readonly count: number; readonly isNone: boolean },
): CrossrankWarning {
  return {
    code: "time-budget-exceeded",
    message:
      `the time budget of ${milliseconds} ms ran out: ${scored} of ${count} documents have a score of the last stage, ` +
      `${isNone ? "and the order is the caller's" : "and the others come in the order of the stages before"}`,
    milliseconds,
    scored,
    count,
  };
}

function sumOf(stages: readonly CascadeStage[], total: number): Usage {
  const sum = (of: (usage: Usage) => number): number =>
    stages.reduce((value, { usage }) => value + of(usage), 0);
  return {
    sequences: sum(({ sequences }) => sequences),
    tokens: sum(({ tokens }) => tokens),
    paddedTokens: sum(({ paddedTokens }) => paddedTokens),
    batches: sum(({ batches }) => batches),
    ...(stages.some(({ usage }) => usage.cached !== undefined)
      ? { cached: sum(({ cached }) => cached ?? 0) }
      : {}),
    milliseconds: {
      encode: sum(({ milliseconds }) => milliseconds.encode),
      run: sum(({ milliseconds }) => milliseconds.run),
      total,
    },
  };
}
