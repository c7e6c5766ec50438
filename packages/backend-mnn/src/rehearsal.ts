import type { Problem } from "@crossrank/backend-kit";
import type { GraphPlan, TableSizes } from "./graph-plan.js";
import type { Rehearsal, RehearsalArgument, RunArgument } from "./protocol.js";

/**
 * MNN works out a graph's shapes anew for each batch, and a graph may be wrong for one number of rows alone: of a product
 * that has one matrix a row on the one side and one a head on the other, MNN 3.6.1 takes as many rows as heads for pairs
 * (`fastway` of its GeometryBatchMatMul). So each number of rows is tried before it is used. What MNN makes of the batch
 * before, as of DeBERTa-v2's products, is mended where a model is opened (native/shim/shim.cpp). Quantised activations
 * show here too.
 *
 * @param rows of the batch that is tried.
 */
export function rehearsalOf(
  plan: GraphPlan,
  { below, longest = Number.POSITIVE_INFINITY }: TableSizes,
  rows: number,
): RehearsalArgument {
  const columns = Math.min(longest, Math.max(2, Math.min(12, Math.floor(128 / rows))));
  const words = below[plan.inputs.indexOf("inputIds")] ?? 1;
  // Every row has other ids; the last is the same however many there are.
  const id = (place: number, first: number): number => {
    const fromLast = first - Math.floor(place / columns);
    return ((place % columns) * 7 + fromLast * 13 + 5) % words;
  };
  const batch = (count: number, first: number): RunArgument => ({
    plan,
    rows: count,
    columns,
    inputs: plan.inputs.map((source) =>
      Int32Array.from({ length: count * columns }, (_, place) => {
        if (source === "inputIds") return id(place, first);
        if (source === "attentionMask") return 1;
        return source === "positions" ? place % columns : 0;
      }),
    ),
  });
  return { first: batch(1, rows - 1), last: batch(1, 0), together: batch(rows, rows - 1) };
}

/** At loading; no number of heads. */
export const rowsOfRehearsal = 3;

/**
 * Far beyond what rounding does: the most that was seen is 0.02 of a logit of 4, with activations quantised batch by
 * batch (`memory: "low"`). Half precision on ARM was not measured; its rounding is of the order of thousandths.
 */
const tolerated = 0.1;

/** Why the graph is not to be trusted; undefined when it is. */
export function rehearsalProblem({ difference, magnitude }: Rehearsal): Problem | undefined {
  if (difference <= tolerated * Math.max(1, magnitude)) return undefined;
  const fix =
    "Convert the model with `crossrank convert`, which tries every artifact, or take another backend";
  if (Number.isNaN(difference)) {
    return { problem: "it gives numbers that are not finite for a sequence of twelve tokens", fix };
  }
  return {
    problem:
      `MNN gives the same sequence another result beside others than alone (off by ${difference.toPrecision(2)}): ` +
      "its scores would depend on the batch",
    fix,
  };
}

/**
 * Float32 sums in another order for another shape, which moves the fixtures by 2e-6 of a logit at most. Activations
 * that are quantised batch by batch move the 8-bit fixture by 4e-3.
 */
const roundingOfFloat32 = 1e-4;

/** Whether a row's numbers depend on the other rows, of a graph that {@link rehearsalProblem} lets pass. */
export function showsCompany({ difference, magnitude }: Rehearsal): boolean {
  return difference > roundingOfFloat32 * Math.max(1, magnitude);
}
