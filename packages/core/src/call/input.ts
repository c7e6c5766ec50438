import { InvalidInputError } from "../contract/errors.js";
import type { DocumentInput, Pair, RerankOptions } from "../contract/reranker.js";
import type { PairScore, RankedDocument } from "../contract/result.js";
import { rankByLogit } from "../score/order.js";

/** A pair whose texts are known to be strings. */
export interface CheckedPair {
  readonly query: string;
  readonly text: string;
}

/** The pairs that a ranking needs scored. @throws {InvalidInputError} */
export function pairsToRank<Document extends DocumentInput>(options: RerankOptions<Document>): CheckedPair[] {
  const { query, documents, topN } = options;
  if (typeof query !== "string")
    throw new InvalidInputError("query", `must be a string, not ${nameOf(query)}`);
  if (!Array.isArray(documents)) {
    throw new InvalidInputError("documents", `must be an array, not ${nameOf(documents)}`);
  }
  if (topN !== undefined && !(Number.isInteger(topN) && topN > 0)) {
    throw new InvalidInputError("topN", `must be a whole number above 0, not ${String(topN)}`);
  }
  checkQuery(query, "query");
  return documents.map((document, index) => ({ query, text: textOf(document, `documents[${index}]`) }));
}

/** Documents in order of their scores, with what the caller wants to see of them. */
export function rankedDocuments<Document extends DocumentInput>(
  scores: readonly PairScore[],
  { documents, topN, returnDocuments }: RerankOptions<Document>,
): RankedDocument<Document>[] {
  return rankByLogit(scores)
    .slice(0, topN)
    .map(
      (index): RankedDocument<Document> => ({
        index,
        ...(scores[index] as PairScore),
        ...(returnDocuments ? { document: documents[index] as Document } : {}),
      }),
    );
}

/** @throws {InvalidInputError} */
export function pairsToScore(pairs: readonly Pair[]): CheckedPair[] {
  if (!Array.isArray(pairs)) throw new InvalidInputError("pairs", `must be an array, not ${nameOf(pairs)}`);
  return pairs.map((pair: Pair, index): CheckedPair => {
    if (typeof pair?.query !== "string") {
      throw new InvalidInputError(`pairs[${index}].query`, `must be a string, not ${nameOf(pair?.query)}`);
    }
    checkQuery(pair.query, `pairs[${index}].query`);
    return { query: pair.query, text: textOf(pair.document, `pairs[${index}].document`) };
  });
}

/** @throws {InvalidInputError} */
export function checkTexts(texts: readonly string[]): void {
  if (!Array.isArray(texts)) throw new InvalidInputError("texts", `must be an array, not ${nameOf(texts)}`);
  for (const [index, text] of texts.entries()) {
    if (typeof text !== "string")
      throw new InvalidInputError(`texts[${index}]`, `must be a string, not ${nameOf(text)}`);
  }
}

function checkQuery(query: string, path: string): void {
  if (query.trim() === "") {
    throw new InvalidInputError(path, "is empty; there is nothing to rank by. Pass the user's question");
  }
}

function textOf(document: unknown, path: string): string {
  if (typeof document === "string") return document;
  if (typeof document === "object" && document !== null) {
    const { text } = document as { text?: unknown };
    if (typeof text === "string") return text;
    throw new InvalidInputError(`${path}.text`, `must be a string, not ${nameOf(text)}`);
  }
  throw new InvalidInputError(path, `must be a string or an object with a text, not ${nameOf(document)}`);
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : typeof value;
}
