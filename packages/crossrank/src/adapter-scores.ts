import { CrossrankError, type PairScore, type Scale } from "@crossrank/core";

type DocumentWithoutScore = "query-overflow" | "not-scored" | "earlier-stage";

/** A framework wants a number for each document, and this one has none: never read that as "irrelevant". */
export class DocumentNotScoredError extends CrossrankError<"document-not-scored"> {
  static override readonly code = "document-not-scored";

  /** Position in the documents that were passed. */
  readonly index: number;
  /**
   * `query-overflow`: the query leaves no room for a document. `not-scored`: a time budget ran out, or a chain of
   * variants had none left. `earlier-stage`: a cascade's last stage was not asked about the document.
   */
  readonly reason: DocumentWithoutScore;
  constructor(facts: { index: number; reason: DocumentWithoutScore }) {
    const why = {
      "query-overflow": "the query alone fills the model's maximum length. Shorten the query",
      "not-scored":
        "the time budget ran out, or no variant was left. Catch this error and keep the first stage's order, or allow more time",
      "earlier-stage":
        "a cascade scores the best documents alone with its last stage. Ask for no more than it keeps, or keep more",
    }[facts.reason];
    super("document-not-scored", `documents[${facts.index}] has no score: ${why}.`);
    this.index = facts.index;
    this.reason = facts.reason;
  }
}

/**
 * The score of a document, for an interface that has no place for "none".
 *
 * @throws {DocumentNotScoredError} when a document has none.
 */
export function requireScore(index: number, given: PairScore): number {
  const { score, queryOverflow, notScored } = given;
  if (score !== null) return score;
  const isOfCascade = "stage" in given && notScored !== true;
  throw new DocumentNotScoredError({
    index,
    reason: queryOverflow === true ? "query-overflow" : isOfCascade ? "earlier-stage" : "not-scored",
  });
}

/**
 * A score as a number from 0 to 1, for what mixes it with others of that range: a probability as it is, the logistic
 * function of a logit, and `(1 + score) / 2` of a cosine and of a hyperbolic tangent. The order stays.
 */
export function toUnitScore(score: number, scale: Scale): number {
  if (scale === "probability") return score;
  if (scale === "cosine" || scale === "tanh") return Math.min(1, Math.max(0, (1 + score) / 2));
  return 1 / (1 + Math.exp(-score));
}
