import type { OutputKind } from "@crossrank/core";

/** An input or output of a graph, as it declares it. */
export interface GraphTensor {
  readonly name: string;
  /** ONNX Runtime's name of the element type, e.g. `"int64"`; `"not a tensor"` for sequences and maps. */
  readonly type: string;
  /** A number where the dimension is fixed, else its symbolic name; undefined for a scalar, or where none is declared. */
  readonly shape: readonly (number | string)[] | undefined;
}

/** How one input of a graph is fed. */
export type PlannedInput =
  | {
      readonly name: string;
      readonly source: "inputIds" | "attentionMask" | "segmentIds" | "positions";
      readonly type: "int32" | "int64";
    }
  /**
   * Keys or values of earlier tokens, (rows, heads, earlier tokens, size): of none where a sequence is computed whole, of
   * the shared beginning where one is computed once ({@link Sharing}).
   */
  | {
      readonly name: string;
      readonly source: "past";
      readonly type: "float32" | "float16";
      readonly heads: number;
      readonly size: number;
    }
  /** False: a merged decoder's branch for sequences without a past. */
  | { readonly name: string; readonly source: "cacheBranch"; readonly shape: readonly number[] }
  /** For how many of the last columns the graph computes logits; 0 for all. */
  | { readonly name: string; readonly source: "logitsToKeep"; readonly type: "int32" | "int64" };

/** Which output is read, and how. */
export interface PlannedOutput {
  readonly name: string;
  readonly kind: OutputKind;
  /** Answer tokens (`token-logits`) or markers (`marked-states`); empty for the other kinds. */
  readonly tokens: readonly number[];
  /** `token-logits`: logits of a position; undefined where the graph does not say. */
  readonly vocabulary?: number | undefined;
  /**
   * The graph reads the end of a sequence itself and may take the last column for it, which is padding in a shorter
   * row: rows are then run in groups of equal length, without padding.
   */
  readonly unpadded: boolean;
}

/** How rows are computed that begin alike: what they share once, and each one's rest behind it. */
export interface Sharing {
  /** Which output holds the keys or values that an input takes: name of the input → name of the output. */
  readonly presents: Readonly<Record<string, string>>;
  /** Keys and values of one token, in bytes. */
  readonly tokenBytes: number;
  /** Longest beginning that is shared, in tokens; what rows have in common beyond it is computed for each. */
  readonly mostTokens: number;
  /** Rests that the graph takes at once behind a beginning. */
  readonly mostRests: number;
  /** How rows are put together, or rests: as core would be told without sharing. */
  readonly together: { readonly rows: number; readonly tokens: number; readonly padding: number };
}

/** How a batch is fed to a graph, and which output is read. */
export interface GraphPlan {
  readonly inputs: readonly PlannedInput[];
  readonly output: PlannedOutput;
  /** Rows the graph is fixed to; undefined when any number is accepted. */
  readonly rows: number | undefined;
  /** Sequence length the graph is fixed to; undefined when any is accepted. */
  readonly columns: number | undefined;
  /** Undefined: every sequence is computed whole. */
  readonly sharing?: Sharing | undefined;
}

/** Tensors of a message, characters of a name, dimensions of a shape: a file may have any number of each. */
const mostDescribed = 24;
const mostCharacters = 60;
const mostDimensions = 8;

/** Inputs or outputs, for a message. */
export function describeTensors(tensors: readonly GraphTensor[]): readonly string[] {
  const described = tensors.slice(0, mostDescribed).map(describeTensor);
  const others = tensors.length - described.length;
  return others === 0 ? described : [...described, `${others} more`];
}

function describeTensor({ name, type, shape }: GraphTensor): string {
  const sizes = shape?.slice(0, mostDimensions).map((size) => shortened(String(size)));
  const rest = (shape?.length ?? 0) > mostDimensions ? ", …" : "";
  return `${shortened(name)} ${type}${sizes === undefined ? "" : `[${sizes.join(", ")}${rest}]`}`;
}

/** A name out of a file, as short as a message wants it. */
export function shortened(text: string): string {
  return text.length <= mostCharacters ? text : `${text.slice(0, mostCharacters)}…`;
}
