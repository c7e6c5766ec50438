import type { Calibration } from "./calibration.js";

/**
 * - `cross-encoder`: one sequence a pair, a classification head.
 * - `bi-encoder`: query and document apart, pooled, compared by cosine.
 * - `causal-lm`: a prompt, and the logits of two answer tokens.
 * - `listwise`: one sequence holding many documents.
 * - `late-interaction`: query and document apart, a vector a token, compared token by token (ColBERT).
 */
export type Family = "cross-encoder" | "bi-encoder" | "causal-lm" | "listwise" | "late-interaction";

/** Where a text of the caller goes. `instruction` says what counts as relevant, for models that take one. */
export type TextSlot = "query" | "document" | "instruction";

/**
 * One piece of an input sequence. Read from the model's own files (`post_processor` of tokenizer.json, or the chat
 * template), so that the template is the model's own and not one per architecture.
 *
 * - `token`: a special token, or any other that stands by its id.
 * - `text`: the place of a text. Never a special token, whatever it spells. `trim` strips white space at both ends first.
 * - `literal`: fixed wording of a prompt.
 * - `split`: nothing by itself. Adjacent literals and texts are tokenised as one string, as the reference tokenises
 *   its prompt; a split keeps its neighbours apart where the reference tokenises them one by one.
 */
export type TemplatePiece =
  | {
      /** The token's spelling, for display. */
      readonly token: string;
      readonly id: number;
      readonly segment: 0 | 1;
    }
  | { readonly text: TextSlot; readonly segment: 0 | 1; readonly trim?: boolean | undefined }
  | { readonly literal: string; readonly segment: 0 | 1 }
  | { readonly split: true };

/**
 * The sequence of a listwise model: `before`, then `item` once a document with `separator` between them, then
 * `after`. In literals `{count}` stands for the number of documents of the sequence and `{index}` for a document's
 * position in it, from 0.
 */
export interface ListTemplate {
  readonly before: readonly TemplatePiece[];
  readonly item: readonly TemplatePiece[];
  readonly separator: readonly TemplatePiece[];
  readonly after: readonly TemplatePiece[];
  /** Most documents of one sequence. */
  readonly maxDocuments: number;
  /** A longer document is cut to this many tokens, from the right. */
  readonly maxDocumentTokens: number;
  /** A longer query is an overflow. */
  readonly maxQueryTokens: number;
}

/**
 * The sequences of a late-interaction model: a query's and a document's, each with a marker of its own. What a text has
 * beyond its length is cut from the right.
 */
export interface LateTemplate {
  /** `text: "query"` stands for the query. */
  readonly query: readonly TemplatePiece[];
  /** `text: "document"` stands for the document. */
  readonly document: readonly TemplatePiece[];
  /** Longest sequence of a query in tokens, the template's own and those of the expansion included. */
  readonly maxQueryTokens: number;
  /** The same of a document, without expansion. */
  readonly maxDocumentTokens: number;
  /**
   * The token that every query is filled up with to `maxQueryTokens`. Each one has a vector that is compared as those of
   * the query's words are. Not `attended`: it reads the query, and the query does not read it. Undefined: none.
   */
  readonly expansion?: { readonly token: number; readonly attended: boolean } | undefined;
  /** Ids of tokens whose vectors are not compared where a document has them, e.g. those of punctuation. */
  readonly skipped: readonly number[];
}

/**
 * How token vectors become one vector: the first token's (`cls`), the mean over real tokens, special tokens included
 * (`mean`), or the last real token's (`last-token`). As in sentence-transformers' `Pooling`.
 */
export type Pooling = "cls" | "mean" | "last-token";

/** Weights of a head module: tensors of a safetensors file of the model, by name. */
export interface WeightsFile {
  /** Relative to the model, e.g. `"2_Dense/model.safetensors"`. */
  readonly file: string;
}

/**
 * A step between the pooled vector and the score, computed by core in float64. As sentence-transformers' modules of
 * these names. A dense layer computes activation(W x + b) with W of shape (outputs, inputs), plus x if `residual`.
 */
export type HeadModule =
  | (WeightsFile & {
      readonly kind: "dense";
      /** Names of the tensors; no `bias`, no bias. */
      readonly weight: string;
      readonly bias?: string | undefined;
      readonly activation: "identity" | "tanh" | "relu" | "gelu" | "silu" | "sigmoid";
      readonly residual?: boolean | undefined;
      /** Name of a tensor (outputs, inputs) that multiplies the x which `residual` adds. Undefined: x itself. */
      readonly residualWeight?: string | undefined;
    })
  | (WeightsFile & {
      readonly kind: "layer-norm";
      readonly weight: string;
      readonly bias?: string | undefined;
      readonly epsilon: number;
    })
  /** L2. */
  | { readonly kind: "normalize" };

/**
 * How raw outputs become one number.
 * - `logit`: the classifier's only output.
 * - `two-class`: logit[positive] − logit[1 − positive]; its sigmoid is the softmax probability of `positive`.
 * - `class`: the same among more classes, as those of a model for inference (entailment, neutral, contradiction):
 *   logit[positive] − log Σ exp of the others; its sigmoid is the softmax probability of `positive`.
 * - `pooled-chain`: token vectors, pooled, through `modules` to one number (sentence-transformers' modules.json).
 * - `answer-tokens`: logit of token `positive` after the last token of the prompt, less that of `negative`, so that
 *   the sigmoid is P(positive) against the two; without `negative` the logit of `positive` alone. Divided by
 *   `temperature`.
 * - `cosine`: pooled token vectors of query and document, through `modules`, L2-normalised, dot product.
 * - `marker-cosine`: listwise. The vectors at the marker tokens, through `modules`, compared by cosine.
 * - `max-sim`: late interaction. Token vectors of query and document, through `modules`, L2-normalised: the sum over the
 *   query's tokens of the largest dot product that each has with one of the document's.
 */
export type Head =
  | { readonly kind: "logit" }
  | { readonly kind: "two-class"; readonly positive: 0 | 1 }
  | {
      readonly kind: "class";
      /** From 0. */
      readonly positive: number;
      /** Logits that the classifier gives, at least 2. */
      readonly classes: number;
    }
  | { readonly kind: "pooled-chain"; readonly pooling: Pooling; readonly modules: readonly HeadModule[] }
  | {
      readonly kind: "answer-tokens";
      readonly positive: number;
      readonly negative?: number | undefined;
      /** Default 1. */
      readonly temperature?: number | undefined;
    }
  | {
      readonly kind: "cosine";
      readonly pooling: Pooling;
      /** Default none. */
      readonly modules?: readonly HeadModule[] | undefined;
    }
  | {
      readonly kind: "marker-cosine";
      /** Ids of the tokens whose vectors stand for the query and for a document. */
      readonly query: number;
      readonly document: number;
      readonly modules?: readonly HeadModule[] | undefined;
    }
  | { readonly kind: "max-sim"; readonly modules?: readonly HeadModule[] | undefined };

/**
 * What is cut when a pair is too long, always from the right.
 * - `document-only`: the document. Query, wording and special tokens are never touched (default).
 * - `longest-first`: for parity with sentence-transformers. Where the reference tokenises texts by themselves, Hugging
 *   Face's `longest_first`: token by token from whichever is longer. A prompt (wording, and no split) is one long text
 *   to its reference: it is cut from the right, and what ends the template is put behind the cut.
 */
export type TruncationStrategy = "document-only" | "longest-first";

/**
 * What a model is, as data. Read from its own files, or from a `crossrank.json` beside them, whose entries
 * take precedence field by field. Never guessed from a name.
 */
export interface ModelProfile {
  readonly specificationVersion: "1";
  readonly family: Family;
  /** `model_type` of config.json, e.g. `"bert"`. For display, and for rules that the architecture itself sets. */
  readonly architecture: string;
  /** Cross-encoder and causal LM: the sequence of a pair. Empty for the other families. */
  readonly pairTemplate: readonly TemplatePiece[];
  /** The same where there is an instruction; undefined for a model that takes none. */
  readonly instructedTemplate?: readonly TemplatePiece[] | undefined;
  /** The instruction of calls that give none; undefined or `""` for none. */
  readonly instruction?: string | undefined;
  /** Bi-encoder: the sequence of one text; `text: "query"` stands for a query or a document. */
  readonly singleTemplate: readonly TemplatePiece[];
  /** Listwise: the sequence of a query and its documents. */
  readonly listTemplate?: ListTemplate | undefined;
  /** Late interaction: the sequences of a query and of a document. */
  readonly lateTemplate?: LateTemplate | undefined;
  /** Whether the model has embeddings for segments; where not, the template's segments are of no consequence. */
  readonly readsSegments: boolean;
  /** Longest input sequence in tokens, special tokens included. */
  readonly maxLength: number;
  readonly truncation: TruncationStrategy;
  /** Token id that fills up rows on the right. */
  readonly paddingId: number;
  readonly head: Head;
  /**
   * From logit to score: `identity` gives scale `logit` (or `cosine`; of `max-sim` the logit divided by the number of the
   * query's vectors), `sigmoid` gives scale `probability`, `tanh` gives scale `tanh`.
   */
  readonly activation: "identity" | "sigmoid" | "tanh";
  /** How logits become probabilities, for calls with `activation: "probability"`; the scores of other calls are without it. */
  readonly calibration?: Calibration | undefined;
  /** Text put before every query, e.g. a bi-encoder's instruction. `""` for none. */
  readonly queryPrefix: string;
  /** Text put before every document. `""` for none. */
  readonly documentPrefix: string;
  /** Precision to load when the caller names none; undefined lets the backend take the most precise there is. */
  readonly defaultDtype?: string | undefined;
  /** Reference logits that every backend is checked against at load. */
  readonly expectations?: Expectations | undefined;
}

export interface Expectations {
  /** Largest absolute difference in logits; wide enough for every artifact that is shipped with the model. */
  readonly tolerance: number;
  readonly pairs: readonly {
    readonly query: string;
    readonly document: string;
    readonly logit: number;
  }[];
}

/**
 * The class that means relevant, in a `crossrank.json`: by its name in config.json's `id2label`, whatever its case, or by
 * its number. `{ "kind": "class", "positive": "entailment" }`
 */
export interface NamedClass {
  readonly kind: "class" | "two-class";
  readonly positive: string | number;
}

/** A `crossrank.json`: any of the profile's fields. */
export type CrossrankJson = {
  readonly [Field in Exclude<keyof ModelProfile, "head">]?: ModelProfile[Field] | undefined;
} & { readonly head?: Head | NamedClass | undefined };

/** Where each field of a profile came from, as text, e.g. `"tokenizer.json post_processor"`. */
export type ProfileSources = { readonly [Field in keyof ModelProfile]?: string };
