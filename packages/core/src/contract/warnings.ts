import type { ScoreCacheWarning } from "../score-cache/score-cache.js";

/**
 * Something the caller should know although the call went well. At most one of each code in a result; per
 * document facts stand in the results themselves.
 */
export type CrossrankWarning =
  | ScoreCacheWarning
  | {
      /**
       * Documents were cut to fit the model's maximum length; of a call that scores passages, documents that have more
       * passages than the call takes.
       */
      readonly code: "documents-truncated";
      readonly message: string;
      /** How many documents. */
      readonly count: number;
      /** The length they were cut to, in tokens, special tokens included. */
      readonly maxLength: number;
    }
  | {
      /** Pairs whose query alone fills the model's maximum length: not scored, ranked last. */
      readonly code: "query-overflow";
      readonly message: string;
      readonly count: number;
      readonly maxLength: number;
    }
  | {
      /** The query was cut: it is longer than a bi-encoder's sequence, or truncation is `longest-first`. */
      readonly code: "query-truncated";
      readonly message: string;
      /** How many sequences. */
      readonly count: number;
      readonly maxLength: number;
    }
  | {
      /** Texts held lone surrogates, which no tokenizer can represent; each was read as U+FFFD. */
      readonly code: "ill-formed-unicode";
      readonly message: string;
      readonly count: number;
    }
  | {
      /** Documents without any text. They are scored, but the number says little. */
      readonly code: "empty-documents";
      readonly message: string;
      readonly count: number;
    }
  | {
      /**
       * The model's tokenizer does not know most of a text: its letters become the token for what is unknown, or
       * nothing, as a script's that the model was not made for. The first 512 UTF-16 code units of a text are looked
       * at, and of long calls the first texts.
       */
      readonly code: "unknown-text";
      readonly message: string;
      /** How many queries. */
      readonly queries: number;
      /** How many documents. */
      readonly documents: number;
      /** Share of the letters, 0 to 1, of the text that is worst. */
      readonly unknownLetters: number;
      /** Share of that text's tokens. */
      readonly unknownTokens: number;
    }
  | {
      /** The artifact takes no segment ids although the template uses segment 1. */
      readonly code: "segment-ids-ignored";
      readonly message: string;
    }
  | {
      /** Something about the artifact on this machine, e.g. that it was made for another processor. */
      readonly code: "artifact-notes";
      readonly message: string;
      readonly notes: readonly string[];
    }
  | {
      /** Files of the model's tokenizer contradict each other; each note says how, and which was followed. */
      readonly code: "tokenizer-files-disagree";
      readonly message: string;
      readonly notes: readonly string[];
    }
  | {
      /** Scores depend on which texts share a batch: activations are quantised for the batch as a whole. */
      readonly code: "rows-affect-scores";
      readonly message: string;
      /** Largest |Δ logit| between a pair alone and in company, seen on the probe pairs; null without a probe. */
      readonly measured: number | null;
      /** Most rows that share a batch. */
      readonly rows: number;
    }
  | {
      /** The time budget ran out before everything was scored. */
      readonly code: "time-budget-exceeded";
      readonly message: string;
      /** The budget. */
      readonly milliseconds: number;
      /** How many pairs have a score; 0 where the order is the caller's. */
      readonly scored: number;
      /** How many pairs there are. */
      readonly count: number;
    }
  | {
      /** Variants before this one fell out; why in full is in the result's `fallbacks`. */
      readonly code: "variant-fallback";
      readonly message: string;
      /** The one that was used; null when none was. */
      readonly variant: string | null;
      readonly failed: readonly { readonly variant: string; readonly reason: string }[];
    };
