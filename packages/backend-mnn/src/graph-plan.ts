import type { Problem } from "@crossrank/backend-kit";
import type { Head, OutputKind, OutputRequest } from "@crossrank/core";

/** An input or output of a graph. */
export interface GraphTensor {
  readonly name: string;
  /** E.g. `"int32"`. */
  readonly type: string;
  /** A number where the dimension is fixed, else its name. */
  readonly shape: readonly (number | string)[];
}

export type InputSource = "inputIds" | "attentionMask" | "segmentIds" | "positions";

/** How a batch is fed to a graph, and which output is read. */
export interface GraphPlan {
  /** One an input of the graph, in its order. */
  readonly inputs: readonly InputSource[];
  readonly output: {
    readonly name: string;
    /** Place among the graph's outputs. */
    readonly index: number;
    readonly kind: OutputKind;
    /** Numbers of each row, or of each token for hidden states. */
    readonly width: number;
  };
}

/** What a graph's tables have rows for; undefined where none was recognised. */
export interface TableSizes {
  /** One an input of the plan. */
  readonly below: readonly (number | undefined)[];
  readonly longest: number | undefined;
}

/** Names as Hugging Face's models and exporters use them. */
const sources: Readonly<Record<string, InputSource>> = {
  input_ids: "inputIds",
  attention_mask: "attentionMask",
  token_type_ids: "segmentIds",
  position_ids: "positions",
};

const inputFix =
  "Convert a graph whose inputs are input_ids, attention_mask and, if need be, token_type_ids and position_ids, of " +
  "shape (batch, sequence)";

const conversionFix =
  "Convert the model with `crossrank convert --to mnn`, whose graphs have free dimensions";

/** How to feed the graph. */
export function planInputs(inputs: readonly GraphTensor[]): readonly InputSource[] | Problem {
  const planned: InputSource[] = [];
  const wanted = inputs.map(describeTensor).join(", ");
  for (const { name, type, shape } of inputs) {
    const source = Object.hasOwn(sources, name) ? sources[name] : undefined;
    if (source === undefined) {
      return { problem: `unknown input "${name}"; the graph wants ${wanted}`, fix: inputFix };
    }
    if (type !== "int32" || shape.length !== 2) {
      return {
        problem: `input "${name}" is not int32 of two dimensions; the graph wants ${wanted}`,
        fix: inputFix,
      };
    }
    planned.push(source);
  }
  for (const [name, source] of [
    ["input_ids", "inputIds"],
    ["attention_mask", "attentionMask"],
  ] as const) {
    if (!planned.includes(source)) {
      const why = source === "inputIds" ? "" : ", without which padding would change scores";
      return {
        problem: `the graph has no input "${name}"${why}; it wants ${wanted || "nothing"}`,
        fix: inputFix,
      };
    }
  }
  return planned;
}

/**
 * Kinds that a graph may be asked for. `sentence_embedding` is the end of the whole chain, so it is the pooled vector
 * only where no modules follow the pooling; and one pooled from the last token is not trusted beside padding.
 */
export function kindsToOffer(kinds: readonly OutputKind[], head: Head): readonly OutputKind[] {
  const poolsAlone =
    head.kind === "cosine" && (head.modules ?? []).length === 0 && head.pooling !== "last-token";
  return kinds.filter((kind) => kind !== "pooled" || poolsAlone);
}

/** The first of `kinds` that the graph gives; undefined when it gives none. */
export function planOutput(
  outputs: readonly GraphTensor[],
  kinds: OutputRequest["kinds"],
): GraphPlan["output"] | Problem | undefined {
  for (const kind of kinds) {
    const wanted = outputNames[kind];
    const index = outputs.findIndex(({ name }) => wanted?.names.includes(name));
    const output = outputs[index];
    if (output === undefined || wanted === undefined) continue;
    const { name, type, shape } = output;
    const width = shape.at(-1);
    const places = kind === "hidden-states" ? ["batch", "sequence"] : ["batch"];
    const isShaped =
      shape.length === places.length + 1 && places.every((place, axis) => shape[axis] === place);
    if (type !== "float32" || !isShaped || typeof width !== "number") {
      const problem = `output ${describeTensor(output)} is not float32 of shape (${[...places, "numbers"].join(", ")})`;
      return { problem, fix: conversionFix };
    }
    return { name, index, kind, width };
  }
  return undefined;
}

/** Core asks for the other two of causal and listwise models alone, which are not run here. */
const outputNames: Readonly<Partial<Record<OutputKind, { readonly names: readonly string[] }>>> = {
  "class-logits": { names: ["logits"] },
  "hidden-states": { names: ["last_hidden_state", "token_embeddings"] },
  pooled: { names: ["sentence_embedding"] },
};

export function describeTensor({ name, type, shape }: GraphTensor): string {
  return `${name} ${type}[${shape.join(", ")}]`;
}
