import type { Problem } from "@crossrank/backend-kit";
import { type EmbeddingTable, embeddingTableProblem } from "@crossrank/core/files";
import { kinds, type MnnGraph, type MnnOperator } from "./operators.js";

/** Operators through which ids go on their way to their table: MNN's converter wraps those below zero. */
const handsOn = new Set<number>([
  kinds.binary,
  kinds.cast,
  kinds.reshape,
  kinds.squeeze,
  kinds.unsqueeze,
  kinds.identity,
]);
const mostSteps = 16;

/**
 * Holds the rows and the width of the table that a graph looks its ids up in against the model's config.json.
 *
 * @param config the parsed config.json; undefined where there is none.
 */
export function judgeTable(graph: MnnGraph, config: unknown): Problem | undefined {
  const table = tableOf(graph);
  return table && embeddingTableProblem(table, config);
}

/** The table of the tokens' ids; undefined where none is found. */
function tableOf({ operators, tensors }: MnnGraph): EmbeddingTable | undefined {
  const makers = new Map(operators.flatMap((one) => one.outputs.map((output) => [output, one] as const)));
  for (const { kind, inputs } of operators) {
    if (kind !== kinds.gather) continue;
    const [table, ids] = inputs;
    if (table === undefined || ids === undefined || !comesOfIds(ids, makers, tensors)) continue;
    const [rows, width, ...more] = makers.get(table)?.dimensions ?? [];
    if (rows === undefined || width === undefined || more.length > 0) continue;
    return { name: tensors[table] ?? "", rows, width };
  }
  return undefined;
}

function comesOfIds(
  place: number,
  makers: ReadonlyMap<number, MnnOperator>,
  tensors: readonly string[],
): boolean {
  let source: number | undefined = place;
  for (let step = 0; step < mostSteps && source !== undefined; step += 1) {
    if (tensors[source] === "input_ids") return true;
    const maker = makers.get(source);
    source = maker !== undefined && handsOn.has(maker.kind) ? maker.inputs[0] : undefined;
  }
  return false;
}
