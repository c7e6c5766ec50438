import { InvalidInputError } from "../contract/errors.js";
import type { LateTemplate, TemplatePiece } from "../contract/model-profile.js";
import type { TextTokenizer } from "../tokenizer/tokenizer.js";
import { finish, type Turns } from "../tokenizer/turns.js";
import { createPairEncoder, type EncodedSequence, stripLikePython } from "./pair-encoder.js";

/** Texts → the sequences of a late-interaction model. Pure. */
export interface LateEncoder {
  /** Fewest tokens that both a query's and a document's sequence need. */
  readonly leastLength: number;
  /** With its expansion, where the model has one. */
  encodeQuery(query: string): EncodedSequence;
  encodeDocument(document: string): EncodedSequence;
  /** The same in turns, so that a long text does not hold the event loop. */
  readonly inTurns: {
    encodeQuery(query: string): Turns<EncodedSequence>;
    encodeDocument(document: string): Turns<EncodedSequence>;
  };
}

/**
 * The rules are PyLate's (1.6.0, `ColBERT.tokenize`): text and template are cut together to the length of their kind, and
 * a query is filled up with the expansion's token behind its template's last one.
 *
 * @throws {InvalidInputError} when `maxLength` leaves no room for a text, or for a query with its expansion: fewer
 * tokens of that would be another model.
 */
export function createLateEncoder(
  tokenizer: TextTokenizer,
  { query, document, maxQueryTokens, maxDocumentTokens, expansion }: LateTemplate,
  maxLength: number,
): LateEncoder {
  const leastLength = Math.max(
    expansion === undefined ? ownTokens(query) + 1 : maxQueryTokens,
    ownTokens(document) + 1,
  );
  if (leastLength > maxLength) {
    throw new InvalidInputError(
      "maxLength",
      `is ${maxLength}, and a query ${expansion === undefined ? "or a document " : ""}alone needs at least ${leastLength} tokens`,
    );
  }
  const single = (singleTemplate: readonly TemplatePiece[], most: number) =>
    createPairEncoder(tokenizer, {
      ...{ pairTemplate: [], singleTemplate, truncation: "document-only" },
      maxLength: Math.min(most, maxLength),
    });
  const queries = single(query, maxQueryTokens);
  const documents = single(document, maxDocumentTokens);
  const inTurns: LateEncoder["inTurns"] = {
    *encodeQuery(text) {
      const encoded = yield* queries.inTurns.encodeSingle(trimmed(query, text));
      return expansion === undefined ? encoded : expanded(encoded, maxQueryTokens, expansion);
    },
    encodeDocument: (text) => documents.inTurns.encodeSingle(trimmed(document, text)),
  };
  return {
    leastLength,
    encodeQuery: (text) => finish(inTurns.encodeQuery(text)),
    encodeDocument: (text) => finish(inTurns.encodeDocument(text)),
    inTurns,
  };
}

function trimmed(template: readonly TemplatePiece[], text: string): string {
  return template.some((piece) => "text" in piece && piece.trim === true) ? stripLikePython(text) : text;
}

function ownTokens(template: readonly TemplatePiece[]): number {
  return template.filter((piece) => "id" in piece).length;
}

function expanded(
  sequence: EncodedSequence,
  length: number,
  { token, attended }: NonNullable<LateTemplate["expansion"]>,
): EncodedSequence {
  const ids = new Int32Array(length).fill(token);
  const segmentIds = new Int32Array(length);
  ids.set(sequence.ids);
  segmentIds.set(sequence.segmentIds);
  const added = length - sequence.ids.length;
  if (added === 0) return sequence;
  return { ...sequence, ids, segmentIds, expansion: added, ...(attended ? {} : { unattended: added }) };
}
