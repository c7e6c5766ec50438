import {
  activatedProblem,
  artifactWish,
  batchSetting,
  isRead,
  type Problem,
  type RuntimeClient,
  rememberFiles,
  settingsOf,
  statesIdentity,
} from "@crossrank/backend-kit";
import {
  type Backend,
  type BackendSession,
  type Head,
  IncompatibleModelError,
  type LoadRequest,
  type ModelFiles,
  ModelLoadError,
  type OutputKind,
  untilAborted,
} from "@crossrank/core";
import { GraphTrace } from "./activated-output.js";
import { chooseFile, describeArtifact, fetchArtifact, type LocalArtifact } from "./artifact.js";
import { openHost } from "./client.js";
import { chooseBatchPreference, choosePlacement, type Placement } from "./defaults.js";
import { diagnose } from "./diagnose.js";
import {
  describeTensor,
  type GraphPlan,
  type GraphTensor,
  kindsToOffer,
  planInputs,
  planOutput,
  type TableSizes,
} from "./graph-plan.js";
import { judgeDefaults } from "./judge-defaults.js";
import { judgeTable } from "./judge-table.js";
import { modelLoadError } from "./load-error.js";
import { type MnnGraph, readGraph } from "./operators.js";
import { checkOptions, type MnnOptions } from "./options.js";
import type { Calls, LoadedGraph, Rehearsal } from "./protocol.js";
import { rehearsalOf, rehearsalProblem, rowsOfRehearsal, showsCompany } from "./rehearsal.js";
import { MnnSession } from "./session.js";

/**
 * MNN on this machine, through an addon of this package, in a child process. Runs .mnn files of encoders that were
 * converted from a graph with free dimensions.
 *
 * @throws {InvalidInputError} when an option is out of range.
 */
export function mnn(options: MnnOptions = {}): Backend {
  checkOptions(options);
  return {
    specificationVersion: "v1",
    name: "mnn",
    families: ["cross-encoder", "bi-encoder", "late-interaction"],
    load: (request) => load(options, request),
    diagnose,
  };
}

async function load(options: MnnOptions, request: LoadRequest): Promise<BackendSession> {
  const { files, signal } = request;
  signal?.throwIfAborted();
  const wish = artifactWish(options.file, request);
  const choice = chooseFile(files.id, await files.list({ signal }), wish);
  const { path } = choice.file;
  const local = await fetchArtifact(files, choice, request);
  const contents = await readGraph(local.modelPath);
  await requireDefaults(contents, path, request);
  const stated = await statesIdentity(request);
  const placement = choosePlacement(options, local.bytes);
  const { isolation = "process", deadlines } = options;
  const checkUnchanged = await rememberFiles([local.modelPath]);
  const client = openHost({ isolation, deadlines, checkUnchanged });
  try {
    const loading = loadGraph(client, options, { local, placement }).catch((failure) => {
      throw modelLoadError(files.id, path, failure);
    });
    const [graph, artifact] = await untilAborted(
      Promise.all([loading, describeArtifact(choice, local, signal)]),
      signal,
    );
    // MNN says first what is damaged.
    await requireOwnTable(contents, path, request);
    const { plan, sizes } = planGraph(graph, request, { file: path, contents, statesIdentity: stated });
    const rehearsal = await untilAborted(
      rehearse(client, { plan, sizes }, { model: files.id, file: path }),
      signal,
    );
    const batchPreference = chooseBatchPreference(options.batch);
    const rowsAffectScores = showsCompany(rehearsal);
    return new MnnSession({
      info: { name: "mnn", runtime: { name: "MNN", version: graph.version } },
      artifact,
      capabilities: {
        output: plan.output.kind,
        maxSequenceLength: sizes.longest,
        sequenceLengths: "any",
        batchSize: { max: Number.MAX_SAFE_INTEGER },
        batchPreference,
        segmentIds: plan.inputs.includes("segmentIds"),
        unattendedStates: plan.output.kind === "hidden-states",
        rowsAffectScores,
        // The second keeps a session busy while the first one's answer travels.
        concurrentRuns: 2 * placement.sessions,
        cancelsWithinBatch: false,
      },
      settings: settingsOf({
        ...modesOf(options),
        batch: batchSetting({ rowsAffectScores, batchPreference }),
      }),
      client,
      plan,
      sizes,
    });
  } catch (error) {
    await (signal?.aborted === true ? client.abandon() : client.close());
    throw error;
  }
}

/** @throws {ModelLoadError} when the configuration is another model's. */
async function requireOwnTable(graph: MnnGraph, file: string, { files, signal }: LoadRequest): Promise<void> {
  const problem = judgeTable(graph, await readConfig(files, signal));
  if (problem !== undefined) throw new ModelLoadError({ model: files.id, backend: "mnn", file, ...problem });
}

/** @throws {ModelLoadError} when MNN would take another value than the model's for what the file leaves out. */
async function requireDefaults(graph: MnnGraph, file: string, { files, signal }: LoadRequest): Promise<void> {
  const config = await readConfig(files, signal);
  const problem = judgeDefaults(graph.defaults, config);
  if (problem !== undefined) throw new ModelLoadError({ model: files.id, backend: "mnn", file, ...problem });
}

/** config.json, parsed; undefined where there is none, or none that can be read: core refuses it where it needs it. */
async function readConfig(files: ModelFiles, signal: AbortSignal | undefined): Promise<unknown> {
  const listed = await files.list({ signal });
  if (!listed.some(({ path }) => path === "config.json")) return undefined;
  const text = await files.readText("config.json", { signal });
  try {
    return JSON.parse(text.replace(/^\ufeff/, ""));
  } catch {
    return undefined;
  }
}

/** @throws {ModelLoadError} when the graph's results depend on the batch by more than rounding. */
async function rehearse(
  client: RuntimeClient<Calls>,
  { plan, sizes }: { readonly plan: GraphPlan; readonly sizes: TableSizes },
  { model, file }: { readonly model: string; readonly file: string },
): Promise<Rehearsal> {
  const rehearsal = await client
    .call("rehearse", rehearsalOf(plan, sizes, rowsOfRehearsal))
    .catch((failure) => {
      throw modelLoadError(model, file, failure);
    });
  const problem = rehearsalProblem(rehearsal);
  if (problem !== undefined) throw new ModelLoadError({ model, backend: "mnn", file, ...problem });
  return rehearsal;
}

/** MNN's modes that can change a number. */
function modesOf({ precision = "high", memory = "normal" }: MnnOptions): {
  readonly precision: NonNullable<MnnOptions["precision"]>;
  readonly memory: NonNullable<MnnOptions["memory"]>;
} {
  return { precision, memory };
}

function loadGraph(
  client: RuntimeClient<Calls>,
  chosen: MnnOptions,
  { local, placement }: { readonly local: LocalArtifact; readonly placement: Placement },
): Promise<LoadedGraph> {
  const { sessions, threads } = placement;
  const options = { threads, ...modesOf(chosen) };
  return client.call("load", { modelPath: local.modelPath, sessions, options });
}

function planGraph(
  graph: LoadedGraph,
  { files, output, profile }: LoadRequest,
  facts: { readonly file: string; readonly contents: MnnGraph; readonly statesIdentity: boolean },
): { readonly plan: GraphPlan; readonly sizes: TableSizes } {
  const { file } = facts;
  const refuse = (problem: Problem): ModelLoadError =>
    new ModelLoadError({ model: files.id, backend: "mnn", file, ...problem });
  const inputs = planInputs(graph.inputs);
  if ("problem" in inputs) throw refuse(inputs);
  const below = graph.inputs.map((input) => input.below);
  if (below[inputs.indexOf("inputIds")] === undefined) {
    const problem =
      "its table of tokens is not recognised, and MNN reads ids beyond it as other tokens' without an error";
    throw refuse({ problem, fix: "Convert the model with `crossrank convert --to mnn`" });
  }
  const kinds = kindsToOffer(output.kinds, profile.head);
  const planned = planPlainOutput(graph.outputs, kinds, { ...facts, head: profile.head });
  if (planned === undefined) {
    throw new IncompatibleModelError({
      model: files.id,
      backend: "mnn",
      capability: `an output of ${file}`,
      wanted: (kinds.length === 0 ? output.kinds : kinds).join('" or "'),
      supported: graph.outputs.map(describeTensor),
    });
  }
  if ("problem" in planned) throw refuse(planned);
  return { plan: { inputs, output: planned }, sizes: { below, longest: graph.longest } };
}

/** As `planOutput`; in place of a sigmoid or the like of its logits, which is no logit, the output that holds them. */
function planPlainOutput(
  outputs: readonly GraphTensor[],
  kinds: readonly OutputKind[],
  {
    contents,
    head,
    statesIdentity,
  }: { readonly contents: MnnGraph; readonly head: Head; readonly statesIdentity: boolean },
): GraphPlan["output"] | Problem | undefined {
  const planned = planOutput(outputs, kinds);
  if (planned === undefined || "problem" in planned || planned.kind !== "class-logits") return planned;
  const trace = new GraphTrace(contents);
  const activated = trace.activationOf(planned.name);
  if (activated === undefined || isRead(activated, head, statesIdentity)) return planned;
  const plain = trace.plainOf(activated, outputs);
  // Its name does not matter: where it comes from says what it is.
  const other =
    plain === undefined ? undefined : planOutput([{ ...plain, name: planned.name }], [planned.kind]);
  if (plain === undefined || other === undefined || "problem" in other) {
    return activatedProblem(planned.name, trace.named(activated), head, "mnn");
  }
  return { ...other, name: plain.name, index: outputs.indexOf(plain) };
}
