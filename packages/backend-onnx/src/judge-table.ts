import type { Problem } from "@crossrank/backend-kit";
import { type EmbeddingTable, embeddingTableProblem } from "@crossrank/core/files";
import type { AttributedNode, GraphNodes, GraphSummary } from "@crossrank/formats/onnx/read";

/** Operators that hand on the ids, or a table, as other numbers of the same shape. */
const handsOn = new Set(["Cast", "Identity", "DequantizeLinear", "com.microsoft.DequantizeLinear"]);
const mostSteps = 16;

/**
 * Holds the rows and the width of the table that a graph looks its ids up in against the model's config.json.
 *
 * @param config the parsed config.json; undefined where there is none.
 */
export function judgeTable(
  { own }: Pick<GraphNodes, "own">,
  { tensors }: Pick<GraphSummary, "tensors">,
  config: unknown,
): Problem | undefined {
  const table = tableOf(own, tensors);
  return table && embeddingTableProblem(table, config);
}

/** The table of the tokens' ids; undefined where none is found. */
function tableOf(
  nodes: readonly AttributedNode[],
  tensors: GraphSummary["tensors"],
): EmbeddingTable | undefined {
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  const sourceOf = (name: string): { readonly source: string; readonly isTransposed: boolean } => {
    let source = name;
    let isTransposed = false;
    for (let step = 0; step < mostSteps; step += 1) {
      const maker = makers.get(source);
      const turns = maker?.operator === "Transpose";
      if (maker === undefined || !(turns || handsOn.has(maker.operator))) break;
      // Where input and output share a table, exporters store the output's form. Of two axes any other order is this one.
      isTransposed = turns ? !isTransposed : isTransposed;
      source = maker.inputs[0] ?? "";
    }
    return { source, isTransposed };
  };
  for (const { operator, inputs, attributes } of nodes) {
    const plain = operator.replace(/^com\.microsoft\./, "");
    // Ids and segments come before the tables of the fused one.
    const [ids, name] =
      plain === "EmbedLayerNormalization" || plain === "QEmbedLayerNormalization"
        ? [inputs[0], inputs[2]]
        : /^Gather(BlockQuantized)?$/.test(plain) &&
            Number(attributes.get("axis") ?? attributes.get("gather_axis") ?? 0) === 0
          ? [inputs[1], inputs[0]]
          : [];
    if (ids === undefined || name === undefined || sourceOf(ids).source !== "input_ids") continue;
    const inBlocks = plain === "GatherBlockQuantized";
    // A table in blocks may be stored in the form of the output's product. Its scales are a row for each token's.
    const { source, isTransposed } = sourceOf(inBlocks ? (inputs[2] ?? "") : name);
    const dimensions = tensors.get(source)?.dimensions;
    const [rows, width] = isTransposed ? (dimensions?.toReversed() ?? []) : (dimensions ?? []);
    if (dimensions?.length !== 2 || rows === undefined) continue;
    return { name: source, rows, width: inBlocks ? undefined : width };
  }
  return undefined;
}
