import type { OutputKind } from "@crossrank/core";

/** How a loaded file is run; decided from its metadata before llama.cpp sees it. Plain data: it travels to the child. */
export interface RunPlan {
  readonly output: PlannedOutput;
  /** llama.cpp's architecture, the prefix of its metadata keys. */
  readonly architecture: string;
  /** Tokens that a sequence may hold: ids from 0 to here (not included), before segments are added. */
  readonly vocabulary: number;
  /** V: token i of segment 1 is fed as V + i. Undefined: segments are not fed. */
  readonly segmentVocabulary: number | undefined;
  /** Longest sequence that the file's positions allow, in tokens; undefined when it names none. */
  readonly maxSequenceLength: number | undefined;
  /** Whether a token sees those behind it. llama.cpp's default is the decoders'. */
  readonly causal: boolean;
}

export type PlannedOutput =
  /**
   * Rank pooling's raw outputs. `folded`: the file holds the difference of two classes as one output, which stands in
   * this column, and 0 in the other.
   */
  | { readonly kind: "class-logits"; readonly classes: 1 | 2; readonly folded: 0 | 1 | undefined }
  | { readonly kind: "pooled"; readonly size: number; readonly pooling: 1 | 2 | 3 }
  | { readonly kind: "token-logits"; readonly tokens: readonly number[] }
  /**
   * The logarithms of what the file's rank head gives for two answers, whose difference is that of the tokens' logits.
   * `columns`: where the head has each of the tokens asked for.
   */
  | { readonly kind: "ranked-answers"; readonly columns: readonly [0 | 1, 0 | 1] }
  /**
   * A decoder's classifier as rank head: the logarithms of what llama.cpp's softmax gives, which are the class logits but
   * for what is common to all. One class stands beside an output that is always 0, and is the difference.
   */
  | { readonly kind: "ranked-classes"; readonly classes: number };

/** What core calls an output. */
export function outputKindOf(output: PlannedOutput): OutputKind {
  switch (output.kind) {
    case "ranked-answers":
      return "token-logits";
    case "ranked-classes":
      return "class-logits";
    default:
      return output.kind;
  }
}

/** Numbers of one sequence. */
export function widthOf(output: PlannedOutput): number {
  switch (output.kind) {
    case "class-logits":
    case "ranked-classes":
      return output.classes;
    case "pooled":
      return output.size;
    case "token-logits":
      return output.tokens.length;
    case "ranked-answers":
      return output.columns.length;
  }
}

/** `enum llama_pooling_type` of llama.cpp's `include/llama.h`. */
export const poolingTypes = { none: 0, mean: 1, cls: 2, "last-token": 3, rank: 4 } as const;
