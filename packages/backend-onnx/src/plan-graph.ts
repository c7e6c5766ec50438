import type { Problem } from "@crossrank/backend-kit";
import { type Capabilities, IncompatibleModelError, type LoadRequest, ModelLoadError } from "@crossrank/core";
import type { OutputTrace } from "./activated-outputs.js";
import type { FileMarks } from "./file-marks.js";
import { describeTensors, type GraphPlan, type GraphTensor } from "./graph-plan.js";
import { planInputs } from "./plan-inputs.js";
import { kindsToOffer, planPlainOutput, poolingProblem, shapeProblem } from "./plan-output.js";

/**
 * How a loaded graph is fed and read.
 *
 * @throws {ModelLoadError} where an input or an output cannot be.
 * @throws {IncompatibleModelError} where it gives none of the outputs asked for.
 */
export function planGraph(
  graph: { readonly inputs: readonly GraphTensor[]; readonly outputs: readonly GraphTensor[] },
  { files, output, profile }: LoadRequest,
  facts: {
    readonly backend: string;
    readonly file: string;
    readonly marks: FileMarks;
    readonly trace: OutputTrace | undefined;
    readonly statesIdentity: boolean;
    /** Numbers of a decoder's key as config.json says it, for a graph that does not. */
    readonly headSize?: number | undefined;
  },
): GraphPlan {
  const { backend, file, marks } = facts;
  const refuse = (problem: Problem): ModelLoadError =>
    new ModelLoadError({ model: files.id, backend, file, ...problem });
  const inputs = planInputs(graph.inputs, facts.headSize);
  if ("problem" in inputs) {
    throw refuse(inputs);
  }
  const kinds = kindsToOffer(output.kinds, profile.head);
  const planned = planPlainOutput(graph.outputs, { ...output, kinds }, { ...facts, head: profile.head });
  if (planned === undefined) {
    throw new IncompatibleModelError({
      model: files.id,
      backend,
      capability: `an output of ${file}`,
      wanted: (kinds.length === 0 ? output.kinds : kinds).join('" or "'),
      supported: describeTensors(graph.outputs),
    });
  }
  if ("problem" in planned) {
    throw refuse(planned);
  }
  const plan = { ...inputs, output: planned };
  const problem = shapeProblem(plan) ?? poolingProblem(planned, profile.head, marks.pooling);
  if (problem !== undefined) {
    throw refuse(problem);
  }
  return plan;
}

/** @param workers copies of the model that run at once. */
export function capabilitiesOf(
  plan: GraphPlan,
  workers: number,
): Omit<Capabilities, "batchPreference" | "rowsAffectScores"> {
  return {
    output: plan.output.kind,
    maxSequenceLength: plan.columns,
    sequenceLengths: plan.columns === undefined ? "any" : [plan.columns],
    batchSize: plan.rows === undefined ? { max: Number.MAX_SAFE_INTEGER } : { exactly: plan.rows },
    segmentIds: plan.inputs.some((input) => input.source === "segmentIds"),
    // A graph with a cache packs its rows by their lengths.
    unattendedStates:
      plan.output.kind === "hidden-states" && plan.inputs.every(({ source }) => source !== "past"),
    // The second keeps a worker busy while the first one's answer travels.
    concurrentRuns: 2 * workers,
    // Between the parts that a session cuts a batch into.
    cancelsWithinBatch: plan.sharing !== undefined,
  };
}
