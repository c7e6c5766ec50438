import type { Problem } from "@crossrank/backend-kit";
import type { GraphPlan, Sharing } from "./graph-plan.js";
import { leastShared, sharingProblem } from "./plan-sharing.js";
import type { RunLane } from "./session.js";
import { argumentFor } from "./shared-rows.js";

/** Tokens of the sequences that are tried: rests of several tokens and of one, each a way of its own in attention. */
const tried = [leastShared + 5, leastShared + 1];
/** Ids below this are in every vocabulary. */
const knownIds = 64;

/**
 * Largest difference of a logit, or as a share of one beyond 1: what rounding explains, and more. By the cache's type, or
 * where activations are quantised together, which a row and its rest are in other company.
 */
const bounds = { float32: 1e-3, float16: 5e-2, together: 0.5 } as const;

/**
 * Runs sequences whole, and behind a beginning that they share, and compares: a graph may declare a cache and compute
 * something else with it.
 *
 * @returns what is wrong; undefined where nothing is.
 */
export async function proveSharing(
  plan: GraphPlan,
  sharing: Sharing,
  {
    lane,
    rowsAffectScores,
    signal,
  }: {
    readonly lane: Pick<RunLane, "call">;
    readonly rowsAffectScores: boolean;
    readonly signal: AbortSignal | undefined;
  },
): Promise<Problem | undefined> {
  const columns = Math.max(...tried);
  const most = Math.min(plan.output.vocabulary ?? knownIds, knownIds);
  const rows = sharing.mostRests > 1 ? [0, 1] : [0];
  const inputIds = Int32Array.from(
    { length: tried.length * columns },
    (_, index) => (7 * (index % columns) + 3) % most,
  );
  const batch = { columns, inputIds, lengths: Int32Array.from(tried) };
  const sharingPlan = { ...plan, sharing };
  const numbersOf = async (places: readonly number[], shared: number): Promise<Float32Array> => {
    const argument = argumentFor({ rows: places, shared }, batch, sharingPlan);
    return (await lane.call("run", argument, { signal })).data;
  };
  const isHalf = plan.inputs.some((input) => input.source === "past" && input.type === "float16");
  const bound = bounds[rowsAffectScores ? "together" : isHalf ? "float16" : "float32"];
  try {
    const whole = await Promise.all(tried.map((_, row) => numbersOf([row], 0)));
    const parts = [...tried.keys()].map((row) => [row]);
    for (const places of rows.length > 1 ? [...parts, rows] : parts) {
      const behind = await numbersOf(places, leastShared);
      const expected = places.flatMap((row) => [...(whole[row] as Float32Array)]);
      const far = expected.findIndex(
        (logit, index) =>
          !(Math.abs(logit - (behind[index] ?? Number.NaN)) <= bound * Math.max(1, Math.abs(logit))),
      );
      if (far >= 0) {
        const [logit, other] = [expected[far], behind[far]];
        return sharingProblem(`a logit of ${logit} is ${other} with the graph's cache`);
      }
    }
  } catch (failure) {
    if (signal?.aborted === true) throw failure;
    return sharingProblem(
      failure instanceof Error ? failure.message.slice(0, 300) : "the graph's cache does not run",
    );
  }
  return undefined;
}
