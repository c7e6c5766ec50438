import type { Reranker } from "@crossrank/core";
import { translateInputError } from "../../failure.js";
import { longDocumentFlags, longDocumentsOf } from "../../long-documents-options.js";
import { openModelFiles, readProfileFile } from "../../model.js";
import { openReranker } from "../../open-reranker.js";
import type { Progress } from "../../progress.js";
import type { ScoreCallOptions } from "../../score/manifest.js";
import { prepareScores } from "../../score-options.js";
import type { ScorerChoices } from "./scorer-options.js";

/** A model, opened as `rerank` opens it. */
export interface OpenedScorer {
  readonly reranker: Reranker;
  readonly call: ScoreCallOptions;
  /** A library's complaint, under the flag that set what it is about. */
  readonly translate: (error: unknown) => unknown;
  dispose(): Promise<void>;
}

export async function openScorer(
  choices: ScorerChoices,
  { signal, progress }: { readonly signal: AbortSignal; readonly progress: Progress },
): Promise<OpenedScorer> {
  const longDocuments = longDocumentsOf(choices);
  const flags = {
    model: "model",
    dtype: choices.dtype === undefined && choices.backend?.dtype !== undefined ? "--backend" : "--dtype",
    instruction: choices.instruction === undefined ? undefined : "--instruction",
    maxLength: choices.maxLength === undefined ? undefined : "--max-length",
    profile: choices.profile && `--profile ${choices.profile}`,
    longDocuments: "--long-documents",
    activation: "--activation",
    ...Object.fromEntries(
      Object.entries(longDocumentFlags).map(([name, flag]) => [`longDocuments.${name}`, flag]),
    ),
  };
  const translate = (error: unknown): unknown => translateInputError(error, flags);
  progress.step(`loading ${choices.model}`);
  const scores = await prepareScores(choices, await readProfileFile(choices.profile));
  try {
    const model = await openModelFiles(choices.model, choices, signal);
    const reranker = await openReranker(model, {
      backend: choices.backend?.name,
      dtype: choices.dtype ?? choices.backend?.dtype,
      file: choices.file,
      threads: choices.threads,
      workers: choices.workers,
      maxLength: choices.maxLength,
      truncation: choices.truncation,
      instruction: choices.instruction,
      longDocuments,
      profile: scores.profile,
      scoreCache: scores.scoreCache,
      signal,
      onProgress: progress.download,
      onConversion: progress.conversion,
    });
    progress.clear();
    return {
      reranker,
      call: { activation: scores.activation },
      translate,
      async dispose() {
        await reranker.dispose();
        await scores.dispose();
      },
    };
  } catch (error) {
    await scores.dispose();
    throw translate(error);
  }
}
