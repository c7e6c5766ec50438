import { InvalidInputError } from "../contract/errors.js";
import type { ListTemplate, TemplatePiece } from "../contract/model-profile.js";
import type { TextTokenizer } from "../tokenizer/tokenizer.js";
import { finish, type Turns } from "../tokenizer/turns.js";
import type { EncodedSequence } from "./pair-encoder.js";
import { compileTemplateInTurns } from "./template.js";

/** A document cut to the length that a list allows. */
export interface ListDocument {
  readonly text: string;
  readonly tokens: number;
  readonly truncatedTokens: number;
  readonly truncatedTokensIsMinimum: boolean;
}

/** One sequence of a list. */
export interface EncodedList {
  readonly sequence: EncodedSequence;
  /** Positions of its documents in the list, in the order of their markers. */
  readonly documents: readonly number[];
}

/** Query and documents → the sequences of a listwise model. Pure. */
export interface ListEncoder {
  /** Tokens of the query, or undefined when it is too long for the model. */
  measureQuery(query: string): number | undefined;
  cutDocument(document: string): ListDocument;
  /**
   * Packs documents, in their order, into as few sequences as the rules of the model allow. One by one, because a
   * sequence may be long.
   * @throws {InvalidInputError} when a single document does not fit the maximum length.
   */
  encodeList(query: string, documents: readonly ListDocument[]): Iterable<EncodedList>;
  /** The same in turns, so that a long text does not hold the event loop. */
  readonly inTurns: {
    measureQuery(query: string): Turns<number | undefined>;
    cutDocument(document: string): Turns<ListDocument>;
    /** Yields undefined between turns. */
    encodeList(query: string, documents: readonly ListDocument[]): Iterable<EncodedList | undefined>;
  };
}

/**
 * The rules are jina-reranker-v3's (its `modeling.py`, `rerank`, `_truncate_texts` and `format_docs_prompts_func`):
 * a document is cut by its own tokens and put into the prompt as text; a sequence is full when it has the most
 * documents, or when the length left, the query counted twice, no longer holds a document of the greatest length.
 * That count leaves out the prompt's wording, so a sequence that comes out too long gives documents to the next.
 */
export function createListEncoder(
  tokenizer: TextTokenizer,
  template: ListTemplate,
  maxLength: number,
): ListEncoder {
  const { maxDocuments, maxDocumentTokens, maxQueryTokens } = template;

  const assemble = function* (
    query: string,
    documents: readonly ListDocument[],
  ): Turns<{ ids: number[]; segmentIds: number[] }> {
    const number = (pieces: readonly TemplatePiece[], index: number): TemplatePiece[] =>
      pieces.map((piece) =>
        "literal" in piece
          ? {
              ...piece,
              literal: piece.literal
                .replaceAll("{index}", String(index))
                .replaceAll("{count}", String(documents.length)),
            }
          : piece,
      );
    const insert = (pieces: readonly TemplatePiece[], document: string): TemplatePiece[] =>
      pieces.map((piece) =>
        "text" in piece
          ? { literal: piece.text === "document" ? document : query, segment: piece.segment }
          : piece,
      );
    const pieces = [
      ...insert(number(template.before, 0), ""),
      ...documents.flatMap(({ text }, index) => [
        ...(index === 0 ? [] : number(template.separator, index)),
        ...insert(number(template.item, index), text),
      ]),
      ...insert(number(template.after, 0), ""),
    ];
    const ids: number[] = [];
    const segmentIds: number[] = [];
    for (const section of (yield* compileTemplateInTurns(pieces, tokenizer)).sections) {
      if ("parts" in section) throw new TypeError("every text of a list was put in");
      for (const id of section.ids) {
        ids.push(id);
        segmentIds.push(section.segment);
      }
    }
    return { ids, segmentIds };
  };

  const inTurns: ListEncoder["inTurns"] = {
    *measureQuery(query) {
      const { ids, truncatedTokens } = yield* tokenizer.encodeInTurns(query, maxQueryTokens);
      return truncatedTokens > 0 ? undefined : ids.length;
    },

    *cutDocument(document) {
      const { ids, truncatedTokens, truncatedTokensIsMinimum } = yield* tokenizer.encodeInTurns(
        document,
        maxDocumentTokens,
      );
      return {
        text: truncatedTokens === 0 ? document : tokenizer.decode(ids),
        tokens: ids.length,
        truncatedTokens,
        truncatedTokensIsMinimum,
      };
    },

    *encodeList(query, documents) {
      const queryTokens = (yield* tokenizer.encodeInTurns(query, maxQueryTokens)).ids.length;
      for (let start = 0; start < documents.length; ) {
        let end = start;
        for (let room = maxLength - 2 * queryTokens; end < documents.length; ) {
          room -= (documents[end] as ListDocument).tokens;
          end += 1;
          if (end - start >= maxDocuments || room <= maxDocumentTokens) break;
        }
        let assembled = yield* assemble(query, documents.slice(start, end));
        while (assembled.ids.length > maxLength && end - start > 1) {
          end -= 1;
          assembled = yield* assemble(query, documents.slice(start, end));
        }
        if (assembled.ids.length > maxLength) {
          throw new InvalidInputError(
            "maxLength",
            `is ${maxLength}, and one document with its query needs ${assembled.ids.length} tokens; raise it`,
          );
        }
        yield {
          sequence: {
            ids: Int32Array.from(assembled.ids),
            segmentIds: Int32Array.from(assembled.segmentIds),
            truncatedTokens: 0,
            truncatedTokensIsMinimum: false,
            truncatedQueryTokens: 0,
            queryOverflow: false,
            illFormed: false,
          },
          documents: Array.from({ length: end - start }, (_, index) => start + index),
        };
        start = end;
      }
    },
  };

  return {
    measureQuery: (query) => finish(inTurns.measureQuery(query)),
    cutDocument: (document) => finish(inTurns.cutDocument(document)),
    *encodeList(query, documents) {
      for (const list of inTurns.encodeList(query, documents)) if (list !== undefined) yield list;
    },
    inTurns,
  };
}
