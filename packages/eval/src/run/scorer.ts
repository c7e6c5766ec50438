import { createHash } from "node:crypto";
import {
  type CascadeScore,
  cascade,
  type EmbedOptions,
  type EmbedResult,
  type Family,
  type LongDocuments,
  type ModelFiles,
  type Pair,
  type PairScore,
  type Reranker,
  type ScoreOptions,
  type ScoreResult,
  scaleOf,
  scoredProfile,
} from "@crossrank/core";
import { hashFile } from "@crossrank/disk";
import { canonicalJson } from "../canonical.js";
import { precisionClassOf } from "../compare/gates.js";
import { UnknownPrecisionError } from "../errors.js";
import type { CascadeModel, MemoryReport, SystemModel } from "../report/report-data.js";
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

export interface ScorerResult extends Pick<ScoreResult, "warnings" | "usage"> {
  /** Of a cascade with what each stage gave. */
  readonly scores: readonly (PairScore & Partial<Pick<CascadeScore, "stageScores">>)[];
}

/**
 * A loaded model, in this process or in another: what an evaluation needs of a `Reranker`. An abort rejects with the
 * signal's reason.
 */
export interface Scorer {
  readonly description: ScorerDescription;
  /** Scores pairs, in their order. Pairs of one query stand together. */
  score(pairs: readonly Pair[], options: Pick<ScoreOptions, "signal" | "onProgress">): Promise<ScorerResult>;
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
    score: async (pairs, options) => whole(await reranker.score(pairs, { ...options, ...long })),
    embed: (texts, options) => reranker.embed(texts, options),
    memory: async () => undefined,
    close: () => reranker.dispose(),
  };
}

/** A stage of a cascade: a reranker, and the files that it was opened from. */
export interface ScorerStage {
  readonly model: ModelFiles;
  readonly reranker: Reranker;
}

/**
 * A cascade as a scorer, which owns its stages from here on.
 *
 * @param stages two or more, the fastest first.
 * @param keep as of core's `cascade`.
 */
export async function createCascadeScorer(
  stages: readonly ScorerStage[],
  keep: number | readonly number[],
  loadMilliseconds: number,
  longDocuments?: LongDocuments,
): Promise<Scorer> {
  const staged = cascade(
    stages.map(({ reranker }) => reranker),
    { keep, disposeStages: true },
  );
  const described = await Promise.all(
    stages.map(({ model, reranker }) => describeReranker(model, reranker, loadMilliseconds, longDocuments)),
  );
  const last = described.at(-1) as ScorerDescription;
  const before: CascadeModel = {
    keep: staged.keep,
    stages: described
      .slice(0, -1)
      .map(({ system, model, profileSha256 }) => ({ ...system, model, profileSha256 })),
  };
  const long = longDocuments === undefined ? {} : { longDocuments };
  return {
    description: { ...last, system: { ...last.system, cascade: before } },
    score: async (pairs, options) => whole(await staged.score(pairs, { ...options, ...long })),
    // Refused there, with the reason.
    embed: (texts, options) => staged.embed(texts, options),
    memory: async () => undefined,
    close: () => staged.dispose(),
  };
}

/**
 * Scores of a call that a time budget ended would be taken for those of documents that are out of a model's reach.
 *
 * @throws {EvaluationSetupError}
 */
function whole<Result extends Pick<ScoreResult, "status">>(result: Result): Result {
  if (result.status === "reranked") return result;
  throw new EvaluationSetupError(
    "A call ended before all of it was scored, since the reranker has a time budget: what it leaves out depends on the hour. Open it without one.",
  );
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
  return hashFile(await model.localPath("tokenizer.json"));
}
