import type { ModelProfile, TemplatePiece } from "../contract/model-profile.js";
import { countSpecialTokens } from "./template.js";
import type { TextTokenizer, TokenizedText } from "./tokenizer.js";
import { truncate } from "./truncation.js";

/** One input sequence of the model, and what was cut to make it. */
export interface EncodedSequence {
  /** Token ids, special tokens included, no padding. Its length is the true length. */
  readonly ids: Int32Array;
  /** 0 or 1 for each id. */
  readonly segmentIds: Int32Array;
  /** Tokens cut from the document (of a pair), or from the text. */
  readonly truncatedTokens: number;
  readonly truncatedTokensIsMinimum: boolean;
  /** Tokens cut from the query of a pair (`longest-first` only). */
  readonly truncatedQueryTokens: number;
  /** The query alone fills the sequence: do not run this one. */
  readonly queryOverflow: boolean;
  /** The document (or text) held lone surrogates. */
  readonly illFormed: boolean;
}

/** The part of a profile that decides about ids. */
export type EncodingRules = Pick<
  ModelProfile,
  "pairTemplate" | "singleTemplate" | "maxLength" | "truncation"
>;

/** Texts → input sequences, by the model's own template and the profile's truncation. Pure. */
export interface PairEncoder {
  /** Tokenised once, used for every document. */
  encodeQuery(query: string): TokenizedText;
  /** The sequence of a pair. */
  encodePair(query: TokenizedText, document: string): EncodedSequence;
  /** The sequence of one text by itself; cut from the right. */
  encodeSingle(text: string): EncodedSequence;
}

export function createPairEncoder(tokenizer: TextTokenizer, rules: EncodingRules): PairEncoder {
  const { maxLength } = rules;
  const pairBudget = maxLength - countSpecialTokens(rules.pairTemplate);
  const singleBudget = maxLength - countSpecialTokens(rules.singleTemplate);

  return {
    encodeQuery: (query) => tokenizer.encode(query, maxLength),

    encodePair(query, document) {
      const tokens = tokenizer.encode(document, maxLength);
      const documentLength = tokens.ids.length + tokens.truncatedTokens;
      const queryLength = query.ids.length + query.truncatedTokens;
      const kept = truncate(rules.truncation, { query: queryLength, document: documentLength }, pairBudget);
      return {
        ...assemble(rules.pairTemplate, {
          query: query.ids.slice(0, kept.query),
          document: tokens.ids.slice(0, kept.document),
        }),
        truncatedTokens: documentLength - kept.document,
        truncatedTokensIsMinimum: tokens.truncatedTokensIsMinimum,
        truncatedQueryTokens: queryLength - kept.query,
        queryOverflow: kept.queryOverflow,
        illFormed: tokens.illFormed,
      };
    },

    encodeSingle(text) {
      const tokens = tokenizer.encode(text, singleBudget);
      return {
        ...assemble(rules.singleTemplate, { query: tokens.ids, document: [] }),
        truncatedTokens: tokens.truncatedTokens,
        truncatedTokensIsMinimum: tokens.truncatedTokensIsMinimum,
        truncatedQueryTokens: 0,
        queryOverflow: false,
        illFormed: tokens.illFormed,
      };
    },
  };
}

function assemble(
  template: readonly TemplatePiece[],
  texts: Readonly<Record<"query" | "document", readonly number[]>>,
): { ids: Int32Array; segmentIds: Int32Array } {
  const ids: number[] = [];
  const segmentIds: number[] = [];
  for (const piece of template) {
    const pieceIds = "id" in piece ? [piece.id] : texts[piece.text];
    for (const id of pieceIds) {
      ids.push(id);
      segmentIds.push(piece.segment);
    }
  }
  return { ids: Int32Array.from(ids), segmentIds: Int32Array.from(segmentIds) };
}
