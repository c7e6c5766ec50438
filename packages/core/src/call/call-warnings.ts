import type { Capabilities } from "../contract/backend.js";
import type { ModelProfile } from "../contract/model-profile.js";
import type { PairScore } from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";
import type { Chunking } from "../long/settings.js";
import { rowsTogether } from "../run/scheduler.js";
import type { FoundUnknown } from "./unknown-texts.js";

/** What a call noticed about its texts. */
export interface Noticed {
  /** Texts with lone surrogates. */
  readonly illFormed: number;
  readonly emptyDocuments: number;
  readonly truncatedQueries: number;
  /** Texts that the tokenizer hardly knows; undefined where there are none. */
  readonly unknown: FoundUnknown | undefined;
}

/** What the caller should know although the call went well. */
export function warningsOf(
  scores: readonly PairScore[],
  noticed: Noticed,
  facts: {
    readonly profile: ModelProfile;
    readonly capabilities: Capabilities;
    /** Of a call that scores long documents by passages. */
    readonly chunking?: Chunking | undefined;
    /** The session's. */
    readonly notes?: readonly string[] | undefined;
    /** The tokenizer's files'. */
    readonly disagreements: readonly string[];
    /** Largest |Δ logit| between a pair alone and in company; undefined where no probe measured it. */
    readonly movedInCompany: number | undefined;
  },
): CrossrankWarning[] {
  return [...warningsOfTexts(scores, noticed, facts), ...ofSession(facts)];
}

/** Of the texts alone. */
export function warningsOfTexts(
  scores: readonly PairScore[],
  { illFormed, emptyDocuments, truncatedQueries, unknown }: Noticed,
  { profile, chunking }: { readonly profile: ModelProfile; readonly chunking?: Chunking | undefined },
): CrossrankWarning[] {
  const { listTemplate, lateTemplate, maxLength: most } = profile;
  const maxLength =
    listTemplate?.maxDocumentTokens ?? Math.min(most, lateTemplate?.maxDocumentTokens ?? most);
  const warnings: CrossrankWarning[] = [];
  const overflowing = scores.filter((score) => score.queryOverflow).length;
  const truncated = scores.filter((score) => score.truncatedTokens > 0 && !score.queryOverflow).length;
  if (truncated > 0) {
    warnings.push({
      code: "documents-truncated",
      message:
        chunking === undefined
          ? `${truncated} of ${scores.length} documents were cut to fit ${maxLength} tokens`
          : `${truncated} of ${scores.length} documents were not read whole: they are longer than ${chunking.maxPassages} passages, or no passage can hold a part of them`,
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
    const room = lateTemplate === undefined ? maxLength : Math.min(most, lateTemplate.maxQueryTokens);
    warnings.push({
      code: "query-truncated",
      message: `the query was cut to fit ${room} tokens (${truncatedQueries} times)`,
      count: truncatedQueries,
      maxLength: room,
    });
  }
  if (unknown !== undefined) warnings.push(ofUnknown(unknown));
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

function ofUnknown({ queries, documents, worst }: FoundUnknown): CrossrankWarning {
  const percent = (share: number): string => `${Math.round(share * 100)} %`;
  const plural = (count: number, one: string, many: string): string[] =>
    count === 0 ? [] : [`${count} ${count === 1 ? one : many}`];
  const texts = [...plural(queries, "query", "queries"), ...plural(documents, "document", "documents")].join(
    " and ",
  );
  return {
    code: "unknown-text",
    message:
      `the model's tokenizer does not know most of ${texts}: up to ${percent(worst.letters)} of the letters, ` +
      `${percent(worst.tokens)} of the tokens. Scores of them mean nothing; choose a model of their language`,
    ...{ queries, documents },
    unknownLetters: worst.letters,
    unknownTokens: worst.tokens,
  };
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
