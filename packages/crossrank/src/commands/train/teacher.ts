import type { Reranker, Scale } from "@crossrank/core";
import type { ScorePairs } from "@crossrank/train";
import { CommandError, translateInputError } from "../../failure.js";
import { openModelFiles } from "../../model.js";
import { openReranker } from "../../open-reranker.js";
import type { BackendChoice } from "../../options.js";
import type { Progress } from "../../progress.js";

export interface ScoringModel {
  /** Model, revision, artifact and backend: what its scores depend on. */
  readonly identity: string;
  readonly scale: Scale;
  readonly score: ScorePairs;
  dispose(): Promise<void>;
}

export interface ScoringModelOptions {
  readonly backend?: BackendChoice | undefined;
  readonly offline?: boolean | undefined;
  readonly revision?: string | undefined;
  readonly convert?: boolean | undefined;
  readonly maxLength?: number | undefined;
}

/** A model on a backend, as something that scores pairs; NaN for a pair whose query fills it. */
export async function openScoringModel(
  source: string,
  { backend, maxLength, ...options }: ScoringModelOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<ScoringModel> {
  progress.step(`loading ${source}`);
  const files = await openModelFiles(source, options, signal);
  const reranker = await openReranker(files, {
    backend: backend?.name,
    dtype: backend?.dtype,
    maxLength,
    signal,
    onProgress: progress.download,
    onConversion: progress.conversion,
  }).catch((error: unknown) => {
    throw translateInputError(error, { model: "model", dtype: "--backend" });
  });
  try {
    const probe = await reranker.score([{ query: "a", document: "b" }], { signal });
    const { id, revision, artifact } = probe.model;
    const artifacts = artifact.files.map(({ sha256 }) => sha256);
    return {
      identity: JSON.stringify([
        revision === undefined ? artifacts : [id, revision],
        artifacts,
        probe.backend.name,
      ]),
      scale: probe.scale,
      score: scoreWith(reranker),
      dispose: () => reranker.dispose(),
    };
  } catch (error) {
    await reranker.dispose();
    throw error;
  }
}

/**
 * That a teacher's scores are what a student can learn: logits. Cosines lie so near each other that their softmax says
 * next to nothing, and their differences are no student's.
 *
 * @throws {CommandError} for a bi-encoder.
 */
export function requireLogits({ scale }: Pick<ScoringModel, "scale">, name: string, wanted: string): void {
  if (scale !== "cosine") return;
  throw new CommandError(
    `${wanted} distils a teacher's logits, and ${name} is a bi-encoder, which gives cosines. Name a reranker as --teacher`,
  );
}

function scoreWith(reranker: Reranker): ScorePairs {
  return async (pairs, signal) => {
    const { scores } = await reranker.score(pairs, { signal });
    return Float64Array.from(scores, ({ logit }) => logit ?? Number.NaN);
  };
}
