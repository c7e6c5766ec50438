import { type Deadline, untilAborted, withDeadline } from "../call/deadline.js";
import { type CheckedPair, pairsToRank, pairsToScore, rankedDocuments } from "../call/input.js";
import { scoresOfNone } from "../call/scoring-call.js";
import { InvalidInputError } from "../contract/errors.js";
import type { FallbackOptions, FallbackReranker } from "../contract/fallback.js";
import { VariantsExhaustedError } from "../contract/fallback-errors.js";
import type { DocumentInput, Pair, RerankOptions, ScoreOptions } from "../contract/reranker.js";
import type {
  FallbackRerankResult,
  FallbackScoreResult,
  StepDown,
  VariantProvenance,
} from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";
import { type LoadedVariant, VariantChain } from "./variant-chain.js";

/**
 * A chain of variants. Nothing is loaded before the first call, or `load()`.
 *
 * @throws {InvalidInputError} when there is no variant, two have one name, or an option is wrong.
 */
export function createFallbackReranker(options: FallbackOptions): FallbackReranker {
  const { variants, whenExhausted } = options;
  if (!Array.isArray(variants) || variants.length === 0) {
    throw new InvalidInputError("variants", "must name at least one variant");
  }
  const names = variants.map(({ name }) => name);
  for (const [index, name] of names.entries()) {
    const path = `variants[${index}].name`;
    if (typeof name !== "string" || name === "")
      throw new InvalidInputError(path, "must be a string, not empty");
    if (names.indexOf(name) !== index)
      throw new InvalidInputError(path, `is ${name}, which another variant has`);
  }
  if (!["throw", "passthrough", undefined].includes(whenExhausted)) {
    throw new InvalidInputError(
      "whenExhausted",
      `must be throw or passthrough, not ${String(whenExhausted)}`,
    );
  }
  return new ChainReranker(options);
}

class ChainReranker implements FallbackReranker {
  readonly #chain: VariantChain;
  readonly #whenExhausted: "throw" | "passthrough";

  constructor({ variants, whenExhausted, onFallback }: FallbackOptions) {
    this.#chain = new VariantChain(variants, onFallback);
    this.#whenExhausted = whenExhausted ?? "throw";
  }

  get variant(): string | null {
    return this.#chain.loaded?.name ?? null;
  }

  get fallbacks(): readonly StepDown[] {
    return this.#chain.fallbacks;
  }

  async load(): Promise<string | null> {
    const ready = await this.#ready();
    return ready?.name ?? null;
  }

  rerank<Document extends DocumentInput>(
    options: RerankOptions<Document>,
  ): Promise<FallbackRerankResult<Document>> {
    return withDeadline(options, async (deadline) => {
      const { scores, ...rest } = await this.#score(pairsToRank(options), options, deadline);
      return { ...rest, results: rankedDocuments(scores, options) };
    });
  }

  score(pairs: readonly Pair[], options: ScoreOptions = {}): Promise<FallbackScoreResult> {
    return withDeadline(options, async (deadline) => this.#score(pairsToScore(pairs), options, deadline));
  }

  async cacheKey(options?: Pick<ScoreOptions, "instruction">): Promise<string | null> {
    return (await this.#chain.loaded?.reranker.cacheKey(options)) ?? null;
  }

  dispose(): Promise<void> {
    return this.#chain.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Undefined when none is left and that is no error. */
  async #ready(): Promise<LoadedVariant | undefined> {
    const ready = await this.#chain.ready();
    if (ready === undefined && this.#whenExhausted === "throw") {
      throw new VariantsExhaustedError(this.fallbacks);
    }
    return ready;
  }

  async #score(
    pairs: readonly CheckedPair[],
    options: ScoreOptions,
    deadline: Deadline,
  ): Promise<FallbackScoreResult> {
    for (;;) {
      let ready: LoadedVariant | undefined;
      try {
        ready = await untilAborted(() => this.#ready(), deadline.signal);
      } catch (error) {
        if (!deadline.isReason(error)) throw error;
        return this.#unscored(pairs.length, deadline.statusWhenStopped(), deadline);
      }
      if (ready === undefined) return this.#unscored(pairs.length, "passthrough", deadline);
      try {
        const used = ready;
        const { name, reranker, fallbacks } = used;
        const result = await reranker.scoreWithin(pairs, options, deadline, (error) =>
          this.#chain.stepDownLate(used, error),
        );
        return {
          ...result,
          variant: name,
          fallbacks,
          warnings: [...result.warnings, ...fallbackWarnings(name, fallbacks)],
        };
      } catch (error) {
        if (deadline.isReason(error) || !this.#chain.stepDownFrom(ready, error)) throw error;
      }
    }
  }

  #unscored(count: number, status: "partial" | "passthrough", deadline: Deadline): FallbackScoreResult {
    const { fallbacks } = this;
    const scores = scoresOfNone(count);
    const total = performance.now() - deadline.started;
    return {
      ...nothing,
      fallbacks,
      status,
      scores,
      warnings: [...deadline.warnings(scores), ...fallbackWarnings(null, fallbacks)],
      usage: {
        sequences: 0,
        tokens: 0,
        paddedTokens: 0,
        batches: 0,
        milliseconds: { encode: 0, run: 0, total },
      },
    };
  }
}

const nothing: Extract<VariantProvenance, { readonly variant: null }> = {
  variant: null,
  model: null,
  backend: null,
  settings: null,
  scale: null,
  scoring: null,
};

function fallbackWarnings(variant: string | null, fallbacks: readonly StepDown[]): CrossrankWarning[] {
  if (fallbacks.length === 0) return [];
  const failed = fallbacks.map(({ variant, reason }) => ({ variant, reason }));
  const names = failed.map((one) => `${one.variant} (${one.reason})`).join(", ");
  const used = variant === null ? "no variant scored this call" : `${variant} was used`;
  return [{ code: "variant-fallback", message: `${names} fell out; ${used}`, variant, failed }];
}
