import { type LoadRequest, ModelLoadError } from "@crossrank/core";
import type { GraphNodes } from "@crossrank/formats/onnx";
import type { DecoderFacts } from "./decoder-config.js";
import { chooseBatchPreference, onProcessor } from "./defaults.js";
import type { GraphPlan, Sharing } from "./graph-plan.js";
import type { OnnxOptions } from "./options.js";
import { planSharing } from "./plan-sharing.js";
import type { LoadedGraph } from "./protocol.js";
import { proveSharing } from "./prove-sharing.js";
import type { RunLane } from "./session.js";

/**
 * How rows of a loaded graph share what they begin with, where they do.
 *
 * @throws {ModelLoadError} where they are to, and cannot.
 */
export async function chooseSharing(
  options: OnnxOptions,
  { files, signal }: Pick<LoadRequest, "files" | "signal">,
  facts: {
    readonly plan: GraphPlan;
    readonly graph: LoadedGraph;
    /** The .onnx, as messages name it. */
    readonly file: string;
    readonly nodes: GraphNodes | undefined;
    readonly decoder: DecoderFacts;
    readonly rowsAffectScores: boolean;
    readonly lane: Pick<RunLane, "call">;
  },
): Promise<Sharing | undefined> {
  const { plan, graph, file, nodes, rowsAffectScores, lane } = facts;
  const isUsual = onProcessor(options) && !rowsAffectScores;
  if (!(options.sharePrefix ?? isUsual)) return undefined;
  const sharing = planSharing(plan, graph, {
    operators: nodes === undefined ? undefined : new Set(nodes.nodes.map(({ operator }) => operator)),
    rotatesByLength: facts.decoder.rotatesByLength,
    together: chooseBatchPreference(undefined, rowsAffectScores, plan),
  });
  const problem =
    "problem" in sharing ? sharing : await proveSharing(plan, sharing, { lane, rowsAffectScores, signal });
  if (problem === undefined) return sharing as Sharing;
  if (options.sharePrefix === true)
    throw new ModelLoadError({ model: files.id, backend: "onnx", file, ...problem });
  return undefined;
}
