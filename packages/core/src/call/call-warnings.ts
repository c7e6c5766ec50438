import type { Capabilities } from "../contract/backend.js";
import type { ModelProfile } from "../contract/model-profile.js";
import type { PairScore } from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";
import { rowsTogether } from "../run/scheduler.js";

/** What a call noticed about its texts. */
export interface Noticed {
  /** Texts with lone surrogates. */
  readonly illFormed: number;
  readonly emptyDocuments: number;
  readonly truncatedQueries: number;
}

/** What the caller should know although the call went well. */
export function warningsOf(
  scores: readonly PairScore[],
  noticed: Noticed,
  facts: {
    readonly profile: ModelProfile;
    readonly capabilities: Capabilities;
    /** The session's. */
    readonly notes?: readonly string[] | undefined;
    /** The tokenizer's files'. */
    readonly disagreements: readonly string[];
    /** Largest |Δ logit| between a pair alone and in company; undefined where no probe measured it. */
    readonly movedInCompany: number | undefined;
  },
): CrossrankWarning[] {
  return [...ofTexts(scores, noticed, facts.profile), ...ofSession(facts)];
}

function ofTexts(
  scores: readonly PairScore[],
  { illFormed, emptyDocuments, truncatedQueries }: Noticed,
  { listTemplate, maxLength: most }: ModelProfile,
): CrossrankWarning[] {
  const maxLength = listTemplate?.maxDocumentTokens ?? most;
  const warnings: CrossrankWarning[] = [];
  const overflowing = scores.filter((score) => score.queryOverflow).length;
  const truncated = scores.filter((score) => score.truncatedTokens > 0 && !score.queryOverflow).length;
  if (truncated > 0) {
    warnings.push({
      code: "documents-truncated",
      message: `${truncated} of ${scores.length} documents were cut to fit ${maxLength} tokens`,
      count: truncated,
      maxLength,
    });
  }
  if (overflowing > 0) {
    const room = listTemplate?.maxQueryTokens ?? most;
    warnings.push({
      code: "query-overflow",
      message: `the query leaves no room within ${room} tokens: ${overflowing} documents were not scored and rank last; shorten it`,
      count: overflowing,
      maxLength: room,
    });
  }
  if (truncatedQueries > 0) {
    warnings.push({
      code: "query-truncated",
      message: `the query was cut to fit ${maxLength} tokens (${truncatedQueries} times)`,
      count: truncatedQueries,
      maxLength,
    });
  }
  if (illFormed > 0) {
    warnings.push({
      code: "ill-formed-unicode",
      message: `${illFormed} texts hold lone surrogates, read as U+FFFD`,
      count: illFormed,
    });
  }
  if (emptyDocuments > 0) {
    warnings.push({
      code: "empty-documents",
      message: `${emptyDocuments} documents have no text; their scores say little`,
      count: emptyDocuments,
    });
  }
  return warnings;
}

function ofSession({
  profile,
  capabilities,
  notes = [],
  disagreements,
  movedInCompany: measured = null,
}: {
  readonly profile: ModelProfile;
  readonly capabilities: Capabilities;
  readonly notes?: readonly string[] | undefined;
  readonly disagreements: readonly string[];
  readonly movedInCompany?: number | null | undefined;
}): CrossrankWarning[] {
  const warnings: CrossrankWarning[] = [];
  const { pairTemplate, readsSegments } = profile;
  const usesSegments =
    readsSegments && pairTemplate.some((piece) => "segment" in piece && piece.segment === 1);
  if (usesSegments && !capabilities.segmentIds) {
    warnings.push({
      code: "segment-ids-ignored",
      message: "the model's template marks the document as segment 1, and this artifact takes no segment ids",
    });
  }
  if (notes.length > 0) warnings.push({ code: "artifact-notes", message: notes.join("; "), notes });
  if (disagreements.length > 0) {
    warnings.push({
      code: "tokenizer-files-disagree",
      message: disagreements.join("; "),
      notes: disagreements,
    });
  }
  const rows = rowsTogether(capabilities);
  if (capabilities.rowsAffectScores && rows > 1) {
    const moved =
      measured === null
        ? "was not measured, without a probe"
        : `moved a probe pair by ${measured.toPrecision(2)}`;
    warnings.push({
      code: "rows-affect-scores",
      message:
        `up to ${rows} rows share a batch, and this artifact's scores depend on their neighbours in it: company ` +
        `${moved} (logit). Run one row a batch for scores that depend on nothing else`,
      measured,
      rows,
    });
  }
  return warnings;
}
