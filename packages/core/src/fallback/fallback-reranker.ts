import { type Deadline, withDeadline } from "../call/deadline.js";
import { Doorway } from "../call/doorway.js";
import {
  type CallOptions,
  rankedDocuments,
  rankingsOf,
  readArray,
  readCallback,
  readCallOptions,
  readPairs,
  readRankManyRequest,
  readRankRequest,
} from "../call/input.js";
import { requireBackend, requireModelFiles, requireScoreCache } from "../call/input-model.js";
import { Listener, unwrapped } from "../call/listener.js";
import { type OptionNames, requireKnownOptions } from "../call/option-names.js";
import { requireOptionType } from "../call/option-types.js";
import { scoresOfNone } from "../call/scoring-call.js";
import { snapshot } from "../call/snapshot.js";
import { InvalidInputError } from "../contract/errors.js";
import type { FallbackOptions, FallbackReranker, Variant } from "../contract/fallback.js";
import { VariantsExhaustedError } from "../contract/fallback-errors.js";
import type {
  CacheKeyOptions,
  DocumentInput,
  DrainOptions,
  Pair,
  RerankManyOptions,
  RerankOptions,
  ScoreOptions,
} from "../contract/reranker.js";
import type {
  FallbackRerankManyResult,
  FallbackRerankResult,
  FallbackScoreResult,
  StepDown,
  VariantProvenance,
} from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";
import type { CheckedPair } from "../families/family.js";
import type { GroupedScoreResult } from "../load/session-reranker.js";
import { readLongDocuments } from "../long/settings.js";
import { untilAborted } from "../run/abort.js";
import { type LoadedVariant, VariantChain } from "./variant-chain.js";

const names: OptionNames<FallbackOptions> = { variants: true, whenExhausted: true, onFallback: true };

const variantNames: OptionNames<Variant> = {
  name: true,
  model: true,
  backend: true,
  dtype: true,
  maxLength: true,
  truncation: true,
  instruction: true,
  longDocuments: true,
  scoreCache: true,
  profile: true,
  probe: true,
  onProgress: true,
};

/**
 * A chain of variants. Nothing is loaded before the first call, or `load()`.
 *
 * @throws {InvalidInputError} when there is no variant, two have one name, or an option is wrong.
 */
export function createFallbackReranker(options: FallbackOptions): FallbackReranker {
  requireKnownOptions(
    options,
    names,
    "createFallbackReranker",
    undefined,
    "@({ variants: [{ name, model, backend }] })",
  );
  const { whenExhausted = "throw", onFallback } = options;
  const variants = readVariants(options.variants);
  if (!["throw", "passthrough"].includes(whenExhausted)) {
    throw new InvalidInputError(
      "whenExhausted",
      `must be throw or passthrough, not ${String(whenExhausted)}`,
    );
  }
  const listener = readCallback(onFallback, "onFallback");
  for (const [index, { model, backend }] of variants.entries()) {
    // Functions give them later.
    if (typeof model !== "function") requireModelFiles(model, `variants[${index}].model`);
    if (typeof backend !== "function") requireBackend(backend, `variants[${index}].backend`);
  }
  return new ChainReranker({ variants, whenExhausted, onFallback: listener });
}

/** The variants as they are now: they are loaded later. @throws {InvalidInputError} */
function readVariants(given: FallbackOptions["variants"]): Variant[] {
  if (!Array.isArray(given) || given.length === 0) {
    throw new InvalidInputError("variants", "must name at least one variant");
  }
  const names = new Set<string>();
  return readArray(given, "variants", (variant: Variant, path): Variant => {
    requireKnownOptions(variant, variantNames, "a variant", path, "{ name, model, backend }");
    const { name, model, backend, dtype, maxLength, truncation, instruction, profile, probe, onProgress } =
      variant;
    if (typeof name !== "string" || name === "")
      throw new InvalidInputError(`${path}.name`, "must be a string, not empty");
    if (names.has(name)) throw new InvalidInputError(`${path}.name`, `is ${name}, which another variant has`);
    names.add(name);
    requireOptionType(dtype, "name", `${path}.dtype`);
    requireOptionType(probe, "boolean", `${path}.probe`);
    requireOptionType(profile, "object", `${path}.profile`);
    const { scoreCache } = variant;
    requireScoreCache(scoreCache, `${path}.scoreCache`);
    const own = snapshot(profile, `${path}.profile`);
    const longDocuments = readLongDocuments(variant.longDocuments, `${path}.longDocuments`);
    const calls = readCallback(onProgress, `${path}.onProgress`);
    return {
      ...{
        name,
        model,
        backend,
        dtype,
        maxLength,
        truncation,
        instruction,
        longDocuments,
        scoreCache,
        probe,
      },
      profile: own,
      onProgress: calls,
    };
  });
}

class ChainReranker implements FallbackReranker {
  readonly #chain: VariantChain;
  readonly #doorway = new Doorway();
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
    const ready = await unwrapped(this.#ready());
    return ready?.name ?? null;
  }

  async rerank<Document extends DocumentInput | object>(
    given: RerankOptions<Document>,
  ): Promise<FallbackRerankResult<Document>> {
    const request = readRankRequest(given);
    const { groups: _groups, scores, ...rest } = await this.#answer(request.pairs, request.options);
    return { ...rest, ...request.source, ...rankedDocuments(scores, request) };
  }

  async rerankMany<Document extends DocumentInput | object>(
    given: RerankManyOptions<Document>,
  ): Promise<FallbackRerankManyResult<Document>> {
    const request = readRankManyRequest(given);
    const { pairs, options, texts, source } = request;
    const { groups, scores, ...rest } = await this.#answer(pairs, options, texts.length);
    return { ...rest, ...source, rankings: rankingsOf({ scores, status: rest.status }, groups, request) };
  }

  async score(given: readonly Pair[], givenOptions: ScoreOptions = {}): Promise<FallbackScoreResult> {
    const options = readCallOptions(givenOptions);
    const { groups: _groups, ...result } = await this.#answer(readPairs(given), options);
    return result;
  }

  async cacheKey(options?: CacheKeyOptions): Promise<string | null> {
    return (await this.#chain.loaded?.reranker.cacheKey(options)) ?? null;
  }

  drain(options?: DrainOptions): Promise<void> {
    return this.#doorway.drain(options);
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

  #answer(
    pairs: readonly CheckedPair[],
    options: CallOptions,
    groupSize?: number,
  ): Promise<GroupedFallbackResult> {
    return this.#doorway.through(() =>
      unwrapped(
        withDeadline(options, async (deadline) => this.#score(pairs, { ...options, groupSize }, deadline)),
      ),
    );
  }

  async #score(
    pairs: readonly CheckedPair[],
    options: CallOptions & { readonly groupSize: number | undefined },
    deadline: Deadline,
  ): Promise<GroupedFallbackResult> {
    const progress = new Listener(options.onProgress);
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
        const result = await reranker.scoreWithin(pairs, { ...options, progress }, deadline, (error) =>
          this.#chain.stepDownLate(used, error),
        );
        return {
          ...result,
          variant: name,
          fallbacks,
          warnings: [...result.warnings, ...fallbackWarnings(name, fallbacks)],
        };
      } catch (error) {
        if (deadline.isReason(error) || !(await this.#chain.stepDownFrom(ready, error))) throw error;
      }
    }
  }

  #unscored(count: number, status: "partial" | "passthrough", deadline: Deadline): GroupedFallbackResult {
    const { fallbacks } = this;
    const scores = scoresOfNone(count);
    const total = performance.now() - deadline.started;
    return {
      ...nothing,
      fallbacks,
      status,
      scores,
      groups: [],
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

type GroupedFallbackResult = FallbackScoreResult & Pick<GroupedScoreResult, "groups">;

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
