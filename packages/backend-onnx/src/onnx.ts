import {
  artifactWish,
  type Isolation,
  RuntimeStartError,
  rememberFiles,
  requireTokens,
  statesIdentity,
} from "@crossrank/backend-kit";
import {
  type Backend,
  type BackendSession,
  type DeclaredClasses,
  type LoadRequest,
  untilAborted,
} from "@crossrank/core";
import { precisionOf, readGraph, withLocalFile } from "@crossrank/formats/onnx/read";
import { OutputTrace } from "./activated-outputs.js";
import { chooseFile, describeArtifact, fetchArtifact, type LocalArtifact } from "./artifact.js";
import { chooseSharing } from "./choose-sharing.js";
import { decoderFacts } from "./decoder-config.js";
import { chooseBatchPreference, choosePlacement, onProcessor, type Placement } from "./defaults.js";
import { notesOn } from "./describe.js";
import { diagnose } from "./diagnose.js";
import { namesQuantisedActivations } from "./dtype.js";
import { type FileMarks, marksOf } from "./file-marks.js";
import { readConfig, requireDefaults } from "./judge-defaults.js";
import { LanePool } from "./lane-pool.js";
import { type Lane, openLane } from "./lanes.js";
import { modelLoadError } from "./load-error.js";
import { asksForExactSums, narrowSums, narrowSumsNote } from "./narrow-sums.js";
import { checkOptions, type OnnxOptions } from "./options.js";
import { hashIfPackaged } from "./packaged-artifacts.js";
import { capabilitiesOf, planGraph } from "./plan-graph.js";
import { isPast } from "./plan-inputs.js";
import { classesAmong } from "./plan-output.js";
import type { LoadArgument, LoadedGraph } from "./protocol.js";
import { OnnxSession } from "./session.js";
import { settingsOfSession } from "./settings.js";
import { thisProcessor } from "./this-processor.js";

/**
 * ONNX Runtime on this machine, in child processes or worker threads, so that the event loop stays free.
 *
 * @throws {InvalidInputError} when an option is out of range.
 */
export function onnx(options: OnnxOptions = {}): Backend {
  checkOptions(options);
  return {
    specificationVersion: "v1",
    name: "onnx",
    families: ["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"],
    load: (request) => load(options, request),
    declaredClasses: (request) => declaredClasses(options, request),
    diagnose,
  };
}

async function load(options: OnnxOptions, request: LoadRequest): Promise<BackendSession> {
  const { files, signal, onProgress } = request;
  signal?.throwIfAborted();
  requireTokens(request.output);
  const wish = artifactWish(options.file, request);
  const onGpu = !onProcessor(options);
  const file = await chooseFile(files, wish, { processor: thisProcessor(), onGpu, signal });
  const local = await fetchArtifact(files, file, { signal, onProgress });
  // What comes with this project's packages leaves nothing out, and gives logits.
  const hash = await hashIfPackaged(local, signal);
  const packaged = hash !== undefined;
  const nodes = packaged ? undefined : await requireDefaults(local.modelPath, file.path, request);
  const trace = nodes === undefined ? undefined : new OutputTrace(nodes);
  const stated = await statesIdentity(request);
  const precision = local.graph === undefined ? undefined : precisionOf(local.graph);
  const marks = marksOf(local.graph);
  const placement = choosePlacement(options, local.bytes);
  const argument = loadArgument(options, local, { placement, marks });

  // A file that anybody may have made runs in a process of its own, and so does a library that is not the processor's.
  const usual: Isolation = packaged && onProcessor(options) ? "thread" : "process";
  const isolation = options.isolation ?? usual;
  const checkUnchanged = await rememberFiles(local.paths);
  const open = (): Lane => openLane(isolation, { deadlines: options.deadlines, checkUnchanged });
  // Who gave their number has them from the beginning.
  const lanes = Array.from({ length: options.workers ?? 1 }, open);
  const started = performance.now();
  const ended = new AbortController();
  const looking = signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal]);
  try {
    const loading = loadAll(lanes, argument).catch((failure) => {
      // No file was looked at yet.
      if (RuntimeStartError.isInstance(failure)) throw failure;
      const { externalShapes = [] } = local.graph ?? {};
      throw modelLoadError({ model: files.id, file: file.path, externalShapes }, failure);
    });
    const processor = thisProcessor();
    // While another process loads: of a file that nobody can be told about, nothing is read.
    const isSpared = onGpu || processor.sums === "32 bits" || asksForExactSums(argument.sessionOptions);
    const overflow =
      isSpared || local.graph === undefined
        ? undefined
        : narrowSums(files, { path: file.path, graph: local.graph, nodes }, { signal: looking });
    const [graph, artifact, sums] = await untilAborted(
      Promise.all([loading, describeArtifact(files, local, signal, hash), overflow]),
      signal,
    );
    const startTook = performance.now() - started;
    const takesPast = graph.inputs.some(({ name }) => isPast(name));
    const decoder = decoderFacts(takesPast ? await readConfig(files, signal) : undefined);
    const planned = planGraph(graph, request, {
      backend: "onnx",
      headSize: decoder.headSize,
      file: file.path,
      marks,
      trace,
      statesIdentity: stated,
    });
    const rowsAffectScores = precision?.quantisesPerBatch ?? namesQuantisedActivations(artifact.dtype);
    const sharing = await chooseSharing(options, request, {
      ...{ plan: planned, graph, file: file.path, nodes, decoder, rowsAffectScores },
      lane: lanes[0] as Lane,
    });
    const plan = sharing === undefined ? planned : { ...planned, sharing };
    const batchPreference = chooseBatchPreference(options.batch, rowsAffectScores, plan);
    return new OnnxSession({
      info: { name: "onnx", runtime: { name: "onnxruntime-node", version: graph.version } },
      artifact,
      notes: [
        ...notesOn(file.path, precision?.dtype, { processor, onGpu }),
        ...(sums === undefined ? [] : narrowSumsNote(file.path, sums, processor)),
      ],
      capabilities: { ...capabilitiesOf(plan, placement.workers), batchPreference, rowsAffectScores },
      settings: settingsOfSession({
        ...{ ...argument, rowsAffectScores, batchPreference },
        sharesPrefix: sharing !== undefined,
      }),
      bounds: undefined,
      lanes: new LanePool({
        ...{ loaded: lanes, most: placement.workers, startTook, open },
        load: async (lane) => {
          await checkUnchanged();
          return lane.call("load", argument);
        },
      }).lanes,
      plan,
    });
  } catch (error) {
    ended.abort();
    // Native loading cannot be interrupted: a caller that aborted does not wait for it, and a process is killed.
    await Promise.all(lanes.map((lane) => (signal?.aborted === true ? lane.abandon() : lane.close())));
    throw error;
  }
}

/** From the .onnx that `load` would take: a rank of 1 is a single logit. */
async function declaredClasses(
  options: OnnxOptions,
  { files, dtype, ...others }: Pick<LoadRequest, "files" | "dtype" | "signal" | "onProgress">,
): Promise<DeclaredClasses | undefined> {
  const wish = { file: options.file, dtype, defaultDtype: undefined };
  const onGpu = !onProcessor(options);
  const file = await chooseFile(files, wish, { processor: thisProcessor(), onGpu, signal: others.signal });
  // What `load` needs anyway.
  const graph = await withLocalFile(await files.localPath(file.path, others), readGraph);
  const outputs = (graph?.outputs ?? []).map(({ name, type, shape }) => ({ name, type: type ?? "", shape }));
  const classes = classesAmong(outputs);
  return classes === undefined ? undefined : { path: file.path, classes };
}

function loadArgument(
  options: OnnxOptions,
  local: LocalArtifact,
  { placement, marks }: { readonly placement: Placement; readonly marks: FileMarks },
): LoadArgument {
  return {
    modelPath: local.modelPath,
    externalData: local.detachedData,
    sessionOptions: {
      graphOptimizationLevel: marks.final ? "basic" : "all",
      ...options.sessionOptions,
      executionProviders: options.executionProviders ?? ["cpu"],
      intraOpNumThreads: placement.threads,
    },
  };
}

async function loadAll(lanes: readonly Lane[], argument: LoadArgument): Promise<LoadedGraph> {
  const [graph] = await Promise.all(lanes.map((lane) => lane.call("load", argument)));
  if (graph === undefined) {
    throw new Error("no worker was started");
  }
  return graph;
}
