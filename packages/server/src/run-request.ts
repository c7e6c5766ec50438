import {
  BackendRunError,
  type CrossrankWarning,
  DisposedError,
  InvalidInputError,
  NonFiniteScoreError,
  type PairScore,
  type Scale,
  type Status,
  scaleOf,
  TimeBudgetExceededError,
  VariantsExhaustedError,
} from "@crossrank/core";
import {
  type CommonRequest,
  longDocumentsOf,
  type RerankRequest,
  type ScoreRequest,
} from "./dialects/read-request.js";
import { codeOf, isChain, type ServedModel } from "./models/served-model.js";
import type { ReadLongDocuments, ServedReranker } from "./options.js";
import { RequestRefusedError } from "./refusal.js";
import { type AnswerScale, answerScale, answerScore } from "./scale.js";
import { QueueFullError, type Turn } from "./token-queue.js";

/** One document or pair of an answer. */
export interface AnsweredScore {
  readonly index: number;
  /** On the answer's scale. Null only where the request allows it. */
  readonly score: number | null;
  readonly logit: number | null;
  /** Of a cascade: the last stage that has a score of the document, from 0; null where none has. */
  readonly stage?: number | null;
  readonly tokens: number;
  readonly truncatedTokens: number;
  /** More was cut than was counted. */
  readonly truncatedTokensIsMinimum: boolean;
  /** Passages that decided, the best first, in code points and on the answer's scale; none without passages. */
  readonly spans: readonly { readonly start: number; readonly end: number; readonly score: number }[];
}

export interface Outcome {
  readonly scores: readonly AnsweredScore[];
  readonly scale: AnswerScale;
  readonly status: Status;
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
  readonly tokens: number;
  readonly milliseconds: {
    readonly queue: number;
    readonly encode: number;
    readonly run: number;
    readonly total: number;
  };
}

export interface RunContext {
  readonly model: ServedModel;
  /** Whose share of the queue it is. */
  readonly client: string;
  /** As the queue counts them. */
  readonly tokens: number;
  /** Milliseconds for waiting and scoring. */
  readonly budget: number;
  readonly cosine: "map" | "refuse";
  readonly signal: AbortSignal;
}

/** What `rerank` and `score` give, as far as an answer needs it. */
interface Given {
  readonly status: Status;
  readonly scale: Scale | null;
  readonly warnings: readonly CrossrankWarning[];
  readonly usage: {
    readonly tokens: number;
    readonly milliseconds: { readonly encode: number; readonly run: number };
  };
  readonly scores: readonly GivenScore[];
}

/** A document that a cascade's last stage was not asked about has no score on the answer's scale. */
type GivenScore = PairScore & { readonly index: number; readonly stage?: number | null };

/**
 * Ranks documents when the request's turn comes.
 *
 * @throws {RequestRefusedError}
 * @throws the signal's reason.
 */
export function runRerank(request: RerankRequest, context: RunContext): Promise<Outcome> {
  return run(request, context, request.whenExceeded, async (reranker, limits) => {
    const result = await reranker.rerank({
      ...limits,
      query: request.query,
      documents: request.texts,
      topN: request.topN,
    });
    return { ...result, scores: result.results };
  });
}

/** Scores pairs when the request's turn comes. Throws as `runRerank` does. */
export function runScore(request: ScoreRequest, context: RunContext): Promise<Outcome> {
  return run(request, context, "error", async (reranker, limits) => {
    const result = await reranker.score(request.pairs, limits);
    const scores = result.scores.map((score, index): GivenScore => ({ ...score, index }));
    const without = scores.find(isOfEarlierStage);
    if (without !== undefined) {
      throw new RequestRefusedError(
        422,
        `pair ${without.index}: the model is a cascade, which scores the best documents of a query alone. Send fewer pairs of a query, or ask for a ranking`,
      );
    }
    return { ...result, scores };
  });
}

/** Whether a cascade has placed a document by an earlier stage, as it was made to. */
function isOfEarlierStage({ stage, logit, notScored, queryOverflow }: GivenScore): boolean {
  return stage !== undefined && logit === null && notScored !== true && queryOverflow !== true;
}

interface CallLimits {
  readonly signal: AbortSignal;
  readonly instruction: string | undefined;
  readonly longDocuments: ReadLongDocuments;
  readonly timeBudget: {
    readonly milliseconds: number;
    readonly whenExceeded: "throw" | "partial" | "passthrough";
  };
}

async function run(
  request: CommonRequest,
  context: RunContext,
  whenExceeded: RerankRequest["whenExceeded"],
  call: (reranker: ServedReranker, limits: CallLimits) => Promise<Given>,
): Promise<Outcome> {
  const began = performance.now();
  const { model, signal } = context;
  const lease = await model.lease();
  let turn: Turn | undefined;
  try {
    const { reranker } = lease;
    if (!isChain(reranker)) refuseCosine(scaleOf(reranker.profile), request, context);
    turn = await enter(context, began);
    const given = await call(reranker, {
      signal,
      instruction: request.instruction,
      longDocuments: longDocumentsOf(request, model.longDocuments),
      timeBudget: {
        milliseconds: Math.max(1, Math.ceil(began + context.budget - performance.now())),
        whenExceeded: whenExceeded === "error" ? "throw" : whenExceeded,
      },
    });
    model.noteAnswer();
    if (given.scale !== null) refuseCosine(given.scale, request, context);
    return toOutcome(given, request, whenExceeded, {
      queue: turn.waited,
      encode: given.usage.milliseconds.encode,
      run: given.usage.milliseconds.run,
      total: performance.now() - began,
    });
  } catch (error) {
    if (VariantsExhaustedError.isInstance(error)) model.discard(lease.reranker);
    if (BackendRunError.isInstance(error)) model.noteFailure();
    throw toRefusal(error, context, signal);
  } finally {
    turn?.end();
    lease.release();
  }
}

/** Waits for a turn, at most as long as the budget allows. */
async function enter({ model, client, tokens, budget, signal }: RunContext, began: number): Promise<Turn> {
  const waiting = new AbortController();
  const stop = (): void => waiting.abort(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  const timer = setTimeout(
    () => waiting.abort(new TimeBudgetExceededError(budget)),
    Math.max(1, began + budget - performance.now()),
  );
  try {
    if (signal.aborted) stop();
    return await model.queue.enter(client, tokens, waiting.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

function refuseCosine(scale: Scale, { rawScores }: CommonRequest, { cosine, model }: RunContext): void {
  if (scale !== "cosine" || rawScores || cosine === "map") return;
  throw new RequestRefusedError(
    422,
    `scores of the model ${model.name} are cosines, from -1 to 1, and no probabilities. Send "raw_scores": true`,
  );
}

function toOutcome(
  given: Given,
  request: CommonRequest,
  whenExceeded: RerankRequest["whenExceeded"],
  milliseconds: Outcome["milliseconds"],
): Outcome {
  const isAllowed = whenExceeded !== "error";
  if (given.status !== "reranked" && !isAllowed) {
    throw new RequestRefusedError(503, "the model could not score all documents. Come again", {
      type: "model_unavailable",
    });
  }
  const overflowing = given.scores.find(({ queryOverflow }) => queryOverflow);
  if (overflowing !== undefined && !isAllowed) {
    throw new RequestRefusedError(
      422,
      `query: leaves no room for document ${overflowing.index}. Send a shorter query`,
    );
  }
  // A client reads numbers, on one scale and falling: what has none is behind them, and is left out.
  const answered = isAllowed ? given.scores : given.scores.filter((score) => !isOfEarlierStage(score));
  const leftOut = given.scores.length - answered.length;
  const cut = answered.find(({ truncatedTokens }) => truncatedTokens > 0);
  if (request.refuseTruncation) {
    const isQueryCut = given.warnings.some(({ code }) => code === "query-truncated");
    if (cut !== undefined || isQueryCut) {
      throw new RequestRefusedError(
        422,
        cut === undefined
          ? "query: is too long for the model, and the request forbids to cut it. Send a shorter one"
          : `document ${cut.index} is at least ${cut.truncatedTokens} tokens too long, and the request forbids to cut it. Send a shorter one`,
      );
    }
  }
  const scale = answerScale(given.scale ?? "probability", request.rawScores);
  return {
    status: given.status,
    scale,
    scores: answered.map(
      ({
        index,
        logit,
        score,
        stage,
        tokens,
        truncatedTokens,
        truncatedTokensIsMinimum,
        relevantSpans = [],
      }) => ({
        index,
        ...(stage === undefined ? {} : { stage }),
        truncatedTokensIsMinimum: truncatedTokensIsMinimum ?? false,
        logit,
        score: logit === null || score === null ? null : answerScore({ logit, score }, scale),
        tokens,
        truncatedTokens,
        spans: relevantSpans.map((span) => ({
          start: span.startCodePoint,
          end: span.endCodePoint,
          score: answerScore(span, scale),
        })),
      }),
    ),
    warnings: [
      ...given.warnings.map(({ code, message }) => ({ code, message })),
      ...ownWarnings(given, request, scale),
      ...(leftOut === 0
        ? []
        : [
            {
              code: "cascade-left-out",
              message: `${leftOut} documents are left out: the model is a cascade, whose last stage scores the best alone.`,
            },
          ]),
    ],
    tokens: given.usage.tokens,
    milliseconds,
  };
}

function ownWarnings(given: Given, { tokenLimit }: CommonRequest, scale: AnswerScale): Outcome["warnings"] {
  const warnings: { code: string; message: string }[] = [];
  if (scale === "mapped-cosine") {
    warnings.push({
      code: "cosine-mapped",
      message: 'Scores are (1 + cosine) / 2, and no probabilities. Send "raw_scores": true for the cosines.',
    });
  }
  if (tokenLimit !== undefined && given.scores.some(({ tokens }) => tokens > tokenLimit)) {
    warnings.push({
      code: "token-limit-ignored",
      message: `More than ${tokenLimit} tokens were read of some documents: the model's own limit holds.`,
    });
  }
  return warnings;
}

/** Seconds after which a call to a runtime that was ended is worth another try. */
const restart = 1;

function toRefusal(error: unknown, { model, budget }: RunContext, signal: AbortSignal): unknown {
  if (RequestRefusedError.isInstance(error)) return error;
  if (signal.aborted) return signal.reason;
  if (error instanceof QueueFullError) {
    return new RequestRefusedError(429, `the queue of ${model.name} is full. Come again`, {
      retryAfter: error.retryAfter,
    });
  }
  if (InvalidInputError.isInstance(error))
    return new RequestRefusedError(422, error.message, { cause: error });
  if (TimeBudgetExceededError.isInstance(error)) {
    return new RequestRefusedError(
      503,
      `the request was not done within ${budget} ms. Send fewer or shorter documents, or come again`,
      { type: "timeout_error", retryAfter: model.queue.secondsFor(model.queue.tokens), cause: error },
    );
  }
  if (NonFiniteScoreError.isInstance(error)) {
    return new RequestRefusedError(
      424,
      `the model ${model.name} returned ${error.value} for document ${error.index}. Its file is damaged, or its precision too low`,
      { cause: error },
    );
  }
  if (
    BackendRunError.isInstance(error) ||
    DisposedError.isInstance(error) ||
    VariantsExhaustedError.isInstance(error)
  ) {
    return new RequestRefusedError(
      503,
      `the runtime of ${model.name} failed (${codeOf(error)}). Come again`,
      {
        type: "model_unavailable",
        retryAfter: restart,
        cause: error,
      },
    );
  }
  return error;
}
