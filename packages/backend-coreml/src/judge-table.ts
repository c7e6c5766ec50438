import type { Problem } from "@crossrank/backend-kit";
import { type EmbeddingTable, embeddingTableProblem } from "@crossrank/core/files";
import { bodyOf, type CoreMlModel, defaultFunctionOf, type Operation } from "@crossrank/formats/mlpackage";

/** Operations that hand on the ids as other numbers of them. */
const handsOn = new Set(["cast", "identity", "squeeze", "expand_dims", "reshape"]);
const mostSteps = 16;

/**
 * Holds the rows and the width of the table that a program looks its ids up in against the model's config.json.
 *
 * @param config the parsed config.json; undefined where there is none.
 */
export function judgeTable(model: CoreMlModel, config: unknown): Problem | undefined {
  const definition = defaultFunctionOf(model);
  const body = definition === undefined ? undefined : bodyOf(definition);
  const table = body && tableOf(body.operations);
  return table && embeddingTableProblem(table, config);
}

/** The table of the tokens' ids; undefined where none is found. */
function tableOf(operations: readonly Operation[]): EmbeddingTable | undefined {
  const makers = new Map(
    operations.flatMap((operation) => operation.outputs.map(({ name }) => [name, operation] as const)),
  );
  for (const operation of operations) {
    if (!/^gather(_along_axis)?$/.test(operation.type)) continue;
    let ids = nameOf(operation, "indices");
    for (let step = 0; step < mostSteps; step += 1) {
      const maker = ids === undefined ? undefined : makers.get(ids);
      // Newer converters wrap ids that are below zero: ids + rows where they are, themselves where not.
      const next = maker?.type === "select" ? nameOf(maker, "a") : maker && nameOf(maker, "x");
      if (maker === undefined || !(handsOn.has(maker.type) || maker.type === "select")) break;
      ids = next;
    }
    if (ids !== "input_ids") continue;
    const name = nameOf(operation, "x") ?? "";
    const maker = makers.get(name);
    const type = maker?.outputs.find((output) => output.name === name)?.type;
    if (!/^const/.test(maker?.type ?? "") || type?.kind !== "tensor" || type.dimensions.length !== 2)
      continue;
    const [rows, width] = type.dimensions;
    if (rows !== undefined) return { name, rows, width };
  }
  return undefined;
}

function nameOf({ inputs }: Operation, argument: string): string | undefined {
  const [binding] = Object.hasOwn(inputs, argument) ? (inputs[argument] ?? []) : [];
  return binding !== undefined && "name" in binding ? binding.name : undefined;
}
