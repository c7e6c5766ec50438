import { requireScoreCache } from "../call/input-model.js";
import { unwrapped } from "../call/listener.js";
import { type OptionNames, requireKnownOptions } from "../call/option-names.js";
import { requireOptionType } from "../call/option-types.js";
import type { CreateRerankerOptions, Reranker } from "../contract/reranker.js";
import { readLongDocuments } from "../long/settings.js";
import { loadModelNames, SessionModel } from "./loaded-model.js";
import type { SessionReranker } from "./session-reranker.js";

const names: OptionNames<CreateRerankerOptions> = {
  ...loadModelNames,
  maxLength: true,
  truncation: true,
  instruction: true,
  longDocuments: true,
  scoreCache: true,
  probe: true,
};

/**
 * Reads the model's profile, loads it on the backend, and checks that it behaves.
 *
 * @throws {ModelFileNotFoundError} a file that the model needs is missing.
 * @throws {ModelProfileError} its files contradict each other or describe something unsupported.
 * @throws {IncompatibleModelError} model and backend do not go together.
 * @throws {ModelLoadError} the runtime refuses the artifact.
 * @throws {ProbeFailedError} the model loads but does not behave like a reranker.
 * @throws {InvalidInputError} a bad option.
 */
export function createReranker(options: CreateRerankerOptions): Promise<Reranker> {
  return unwrapped(loadReranker(options));
}

/**
 * What {@link createReranker} does.
 *
 * @param variant name in a chain, for the cache key.
 * @throws {CallbackFailure} what `onProgress` failed with.
 */
export async function loadReranker(
  options: CreateRerankerOptions,
  variant?: string,
): Promise<SessionReranker> {
  requireKnownOptions(options, names, "createReranker", undefined, "@({ model, backend })");
  const { profile: given, truncation, instruction, maxLength, probe, signal } = options;
  const longDocuments = readLongDocuments(options.longDocuments);
  requireOptionType(given, "object", "profile");
  requireOptionType(probe, "boolean", "probe");
  // Facts about the model to the profile, which refuses what does not go with it before anything is loaded.
  const profile = {
    ...given,
    ...(truncation === undefined ? {} : { truncation }),
    ...(instruction === undefined ? {} : { instruction }),
  };
  const { model, backend, dtype, scoreCache, onProgress } = options;
  requireScoreCache(scoreCache, "scoreCache");
  const loaded = await SessionModel.load({ model, backend, dtype, profile, signal, onProgress });
  try {
    return await loaded.createReranker(
      { maxLength, longDocuments, scoreCache, probe, signal },
      { variant, owns: true },
    );
  } catch (error) {
    await loaded.dispose().catch(() => undefined);
    throw error;
  }
}
