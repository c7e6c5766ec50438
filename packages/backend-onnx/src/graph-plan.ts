import type { OutputKind } from "@crossrank/core";

/** An input or output of a graph, as it declares it. */
export interface GraphTensor {
  readonly name: string;
  /** ONNX Runtime's name of the element type, e.g. `"int64"`; `"not a tensor"` for sequences and maps. */
  readonly type: string;
  /** A number where the dimension is fixed, else its symbolic name; undefined when the graph declares no shape. */
  readonly shape: readonly (number | string)[] | undefined;
}

/** How a batch is fed to a graph, and which output is read. */
export interface GraphPlan {
  readonly inputs: readonly {
    readonly name: string;
    readonly source: "inputIds" | "attentionMask" | "segmentIds" | "positions";
    readonly type: "int32" | "int64";
  }[];
  readonly output: { readonly name: string; readonly kind: OutputKind };
  /** Rows the graph is fixed to; undefined when any number is accepted. */
  readonly rows: number | undefined;
  /** Sequence length the graph is fixed to; undefined when any is accepted. */
  readonly columns: number | undefined;
}

/** Names as Hugging Face's models and exporters use them. */
const sources = {
  input_ids: "inputIds",
  attention_mask: "attentionMask",
  token_type_ids: "segmentIds",
  position_ids: "positions",
} as const;

const floatTypes: readonly string[] = ["float32", "float16", "float64"];

/** Rank-2 outputs that are sentence vectors, not class logits, although nothing but their name says so. */
const vectorNames: readonly string[] = ["sentence_embedding", "pooler_output"];

/** Inputs of the graph → how to feed them. A string says what is wrong with the graph, with the fix. */
export function planInputs(
  inputs: readonly GraphTensor[],
): Pick<GraphPlan, "inputs" | "rows" | "columns"> | { readonly problem: string; readonly fix: string } {
  const wanted = inputs.map(describeTensor).join(", ");
  const planned: GraphPlan["inputs"][number][] = [];
  for (const { name, type } of inputs) {
    const source = Object.hasOwn(sources, name) ? sources[name as keyof typeof sources] : undefined;
    if (source === undefined || (type !== "int32" && type !== "int64")) {
      const problem = source === undefined ? `unknown input "${name}"` : `input "${name}" has type ${type}`;
      return {
        problem: `${problem}; the graph wants ${wanted}`,
        fix: "Export an encoder whose inputs are input_ids, attention_mask and, if need be, token_type_ids, as int32 or int64.",
      };
    }
    planned.push({ name, source, type });
  }
  for (const source of ["inputIds", "attentionMask"] as const) {
    if (!planned.some((input) => input.source === source)) {
      const name = source === "inputIds" ? "input_ids" : "attention_mask";
      return {
        problem: `the graph has no input "${name}"; it wants ${wanted || "nothing"}`,
        fix:
          source === "inputIds"
            ? "Export an encoder that reads token ids."
            : "Without it padding would change scores: export the encoder with attention_mask.",
      };
    }
  }
  const dimensions = { rows: fixedDimension(inputs, 0), columns: fixedDimension(inputs, 1) };
  return { inputs: planned, ...dimensions };
}

/** The first of `kinds` that the graph can give, with the output to read; undefined when it gives none. */
export function planOutput(
  outputs: readonly GraphTensor[],
  kinds: readonly OutputKind[],
): GraphPlan["output"] | undefined {
  const floats = outputs.filter((output) => floatTypes.includes(output.type));
  for (const kind of kinds) {
    const found = findOutput(floats, kind);
    if (found !== undefined) {
      return { name: found.name, kind };
    }
  }
  return undefined;
}

export function describeTensor({ name, type, shape }: GraphTensor): string {
  return `${name} ${type}${shape === undefined ? "" : `[${shape.join(", ")}]`}`;
}

function findOutput(outputs: readonly GraphTensor[], kind: OutputKind): GraphTensor | undefined {
  switch (kind) {
    case "class-logits":
      return (
        named(outputs, ["logits"], [1, 2]) ??
        sole(outputs.filter((output) => output.shape?.length === 2 && !vectorNames.includes(output.name)))
      );
    case "hidden-states":
      return (
        named(outputs, ["last_hidden_state", "token_embeddings"], [3]) ??
        sole(outputs.filter((output) => output.shape?.length === 3 && output.name !== "logits"))
      );
    case "pooled":
      return named(outputs, ["sentence_embedding"], [2]);
    case "token-logits":
      return undefined;
  }
}

/** By name, unless the graph declares a rank that the kind does not have. */
function named(
  outputs: readonly GraphTensor[],
  names: readonly string[],
  ranks: readonly number[],
): GraphTensor | undefined {
  return names
    .map((name) => outputs.find((output) => output.name === name))
    .find(
      (output) => output !== undefined && (output.shape === undefined || ranks.includes(output.shape.length)),
    );
}

function sole(outputs: readonly GraphTensor[]): GraphTensor | undefined {
  return outputs.length === 1 ? outputs[0] : undefined;
}

function fixedDimension(inputs: readonly GraphTensor[], axis: number): number | undefined {
  return inputs.map((input) => input.shape?.[axis]).find((dimension) => typeof dimension === "number");
}
