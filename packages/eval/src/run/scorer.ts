import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  type EmbedOptions,
  type EmbedResult,
  type Family,
  type LongDocuments,
  type ModelFiles,
  type Pair,
  type Reranker,
  type ScoreOptions,
  type ScoreResult,
  scaleOf,
  scoredProfile,
} from "@crossrank/core";
import { canonicalJson } from "../canonical.js";
import { precisionClassOf } from "../compare/gates.js";
import { UnknownPrecisionError } from "../errors.js";
import type { MemoryReport, SystemModel } from "../report/report-data.js";
import { EvaluationSetupError } from "./errors.js";
import { templateText } from "./template-text.js";

/** What a scorer is. Plain data, so that it can come from another process. */
export interface ScorerDescription {
  readonly model: { readonly id: string; readonly revision: string | null };
  readonly family: Family;
  readonly system: SystemModel;
  /**
   * sha256 of the profile's facts that a score depends on (template with ids, head, prefixes, lengths), as JSON with
   * sorted keys. Two models
   * of one artifact that are read differently have different ones.
   */
  readonly profileSha256: string;
  /** Milliseconds from nothing to ready. */
  readonly loadMilliseconds: number;
}

/**
 * A loaded model, in this process or in another: what an evaluation needs of a `Reranker`. An abort rejects with the
 * signal's reason.
 */
export interface Scorer {
  readonly description: ScorerDescription;
  /** Scores pairs, in their order. Pairs of one query stand together. */
  score(
    pairs: readonly Pair[],
    options: Pick<ScoreOptions, "signal" | "onProgress">,
  ): Promise<Pick<ScoreResult, "scores" | "warnings" | "usage">>;
  /** Vectors of a bi-encoder's texts. */
  embed(
    texts: readonly string[],
    options: EmbedOptions,
  ): Promise<Pick<EmbedResult, "vectors" | "truncatedTokens" | "usage">>;
  /** Of the process that holds the model, if that is its own; undefined where it shares one. */
  memory(): Promise<Omit<MemoryReport, "wholeRun"> | undefined>;
  /** Frees the model. */
  close(): Promise<void>;
}

/**
 * A reranker of this process as a scorer, which owns it from here on. It says nothing of memory: the process holds
 * the task and the other systems' scores as well.
 *
 * @param longDocuments in place of what the reranker does with documents that are longer than the model.
 */
export async function createScorer(
  model: ModelFiles,
  reranker: Reranker,
  loadMilliseconds: number,
  longDocuments?: LongDocuments,
): Promise<Scorer> {
  const description = await describeReranker(model, reranker, loadMilliseconds, longDocuments);
  const long = longDocuments === undefined ? {} : { longDocuments };
  return {
    description,
    score: (pairs, options) => reranker.score(pairs, { ...options, ...long }),
    embed: (texts, options) => reranker.embed(texts, options),
    memory: async () => undefined,
    close: () => reranker.dispose(),
  };
}

export async function describeReranker(
  model: ModelFiles,
  reranker: Reranker,
  loadMilliseconds: number,
  longDocuments?: LongDocuments,
): Promise<ScorerDescription> {
  const { profile, session } = reranker;
  const scored = scoredProfile(profile);
  // Only a result says what a reranker does by default, and the settings in full.
  const none = await reranker.score([], longDocuments === undefined ? {} : { longDocuments });
  if (none.longDocuments !== undefined && profile.family === "bi-encoder") {
    throw new EvaluationSetupError(
      `${model.id} is a bi-encoder, whose texts are embedded whole. Long documents are scored by passages with a cross-encoder.`,
    );
  }
  return {
    model: { id: model.id, revision: model.revision ?? null },
    family: profile.family,
    system: {
      backend: session.info,
      artifact: session.artifact,
      settings: session.settings,
      precision: precisionOf(session.artifact.dtype),
      tokenizerSha256: await tokenizerHash(model),
      template: templateText(profile),
      maxLength: profile.maxLength,
      truncation: profile.truncation,
      ...(none.longDocuments === undefined ? {} : { longDocuments: none.longDocuments }),
      instruction: profile.instruction ?? null,
      queryPrefix: profile.queryPrefix,
      documentPrefix: profile.documentPrefix,
      scale: scaleOf(profile),
      activation: profile.activation,
      scoring: profile.family === "listwise" ? "listwise" : "pointwise",
    },
    profileSha256: createHash("sha256").update(canonicalJson(scored)).digest("hex"),
    loadMilliseconds,
  };
}

function precisionOf(dtype: string): SystemModel["precision"] {
  try {
    return precisionClassOf(dtype);
  } catch (error) {
    if (UnknownPrecisionError.isInstance(error)) return null;
    throw error;
  }
}

async function tokenizerHash(model: ModelFiles): Promise<string | null> {
  const file = (await model.list()).find(({ path }) => path === "tokenizer.json");
  if (file === undefined) return null;
  if (file.sha256 !== undefined) return file.sha256;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(await model.localPath("tokenizer.json")))
    hash.update(chunk as Buffer);
  return hash.digest("hex");
}
