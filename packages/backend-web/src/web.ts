import {
  artifactWish,
  batchSetting,
  RestartingHost,
  RuntimeStartError,
  requireTokens,
  settingsOf,
  statesIdentity,
} from "@crossrank/backend-kit";
import { firstLine, messageOf, problemOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import {
  capabilitiesOf,
  chooseBatchPreference,
  chooseFile,
  classesAmong,
  defaultsProblem,
  loadErrorOf,
  marksOf,
  namesQuantisedActivations,
  notesOn,
  OnnxSession,
  OutputTrace,
  type Processor,
  planGraph,
  type RuntimeLibrary,
} from "@crossrank/backend-onnx/graph";
import {
  type Backend,
  type BackendDiagnosis,
  type BackendSession,
  type Capabilities,
  type DeclaredClasses,
  type LoadRequest,
  ModelLoadError,
  type Settings,
} from "@crossrank/core";
import { precisionOf, readGraph } from "@crossrank/formats/onnx";
import { describeArtifact, readArtifact } from "./artifact.js";
import { checkOptions, type WebOptions } from "./options.js";
import { environmentFor, isIsolated } from "./place.js";
import type { Calls, LoadArgument } from "./protocol.js";
import { WorkerClient } from "./worker-client.js";

/** Files that are made for a processor are taken only where they are named: nobody knows which one computes. */
const processor: Processor = { fits: [], sums: "unknown", name: "WebAssembly" };

const runtime = "ONNX Runtime";

const library: RuntimeLibrary = {
  backend: "web",
  fix: () =>
    "Serve worker.js of @crossrank/backend-web and onnxruntime-web's .wasm from the page's own origin (the options " +
    "`worker` and `wasmPaths` say where), and let the page's Content-Security-Policy have worker-src 'self' and " +
    "script-src 'self' 'wasm-unsafe-eval'.",
  providerFix: 'That execution provider does not work here: leave `executionProvider` out to run on "wasm".',
};

/** ONNX Runtime's own words where its .wasm or its module cannot be had. */
const noRuntime =
  /no available backend found|failed to (?:asynchronously prepare|fetch)|wasm streaming compile/i;

/**
 * ONNX Runtime in a browser, in a web worker, so that the page stays free.
 *
 * @throws {InvalidInputError} when an option is out of range.
 */
export function web(options: WebOptions = {}): Backend {
  checkOptions(options);
  return {
    specificationVersion: "v1",
    name: "web",
    families: ["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"],
    load: (request) => load(options, request),
    declaredClasses: (request) => declaredClasses(options, request),
    diagnose: () => diagnose(options),
  };
}

async function load(options: WebOptions, request: LoadRequest): Promise<BackendSession> {
  const { files, signal } = request;
  signal?.throwIfAborted();
  requireTokens(request.output);
  const environment = environmentFor(options);
  const onGpu = environment.executionProvider === "webgpu";
  const wish = artifactWish(options.file, request);
  const file = await chooseFile(files, wish, { processor, onGpu, signal });
  const artifact = await readArtifact(files, file, request);
  const { graph, nodes } = artifact;
  const problem = await defaultsProblem(nodes, request);
  if (problem !== undefined) {
    throw new ModelLoadError({ model: files.id, backend: "web", file: file.path, ...problem });
  }
  const marks = marksOf(graph);
  const precision = graph === undefined ? undefined : precisionOf(graph);
  const described = await describeArtifact(files, artifact);
  const stated = await statesIdentity(request);
  const argument: LoadArgument = {
    model: artifact.parts[0].place,
    externalData: artifact.parts.flatMap(({ place, locations }) =>
      locations.map((name) => ({ name, data: place })),
    ),
    graphOptimizationLevel: options.graphOptimizationLevel ?? (marks.final ? "basic" : "all"),
    environment,
  };
  const lane = openLane(options);
  try {
    const loaded = await lane.call("load", argument, { signal }).catch((failure: unknown) => {
      if (signal?.aborted === true) throw signal.reason;
      const facts = { model: files.id, file: file.path, externalShapes: graph?.externalShapes ?? [] };
      throw isOfRuntime(failure) ? startError(failure) : loadErrorOf(library, facts, failure);
    });
    const trace = nodes === undefined ? undefined : new OutputTrace(nodes);
    const facts = { backend: "web", file: file.path, marks, trace, statesIdentity: stated };
    const plan = planGraph(loaded, request, facts);
    const rowsAffectScores = precision?.quantisesPerBatch ?? namesQuantisedActivations(described.dtype);
    const batchPreference = chooseBatchPreference(options.batch, rowsAffectScores, plan);
    return new OnnxSession({
      info: { name: "web", runtime: { name: "onnxruntime-web", version: loaded.version } },
      artifact: described,
      notes: [...notesOn(file.path, precision?.dtype, { processor, onGpu }), ...threadNotes(options)],
      capabilities: { ...capabilitiesOf(plan, 1), batchPreference, rowsAffectScores },
      settings: settingsFor(argument, { rowsAffectScores, batchPreference }),
      bounds: undefined,
      lanes: [lane],
      plan,
    });
  } catch (error) {
    await (signal?.aborted === true ? lane.abandon() : lane.close());
    throw error;
  }
}

/** Whatever can change a number. SIMD is what onnxruntime-web's builds are compiled with. */
function settingsFor(
  { environment, graphOptimizationLevel }: LoadArgument,
  capabilities: Pick<Capabilities, "rowsAffectScores" | "batchPreference">,
): Settings {
  const { executionProvider, threads } = environment;
  return settingsOf({
    executionProvider,
    graphOptimizationLevel,
    threads: String(threads),
    simd: "fixed",
    batch: batchSetting(capabilities),
  });
}

function threadNotes({ threads }: WebOptions): readonly string[] {
  if ((threads ?? 1) <= 1 || isIsolated()) return [];
  return [
    `one thread computes and not ${threads}, because the page is not cross-origin isolated: serve it with the headers ` +
      "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp",
  ];
}

/** A worker or library that cannot be had is no fault of the model's. */
function isOfRuntime(failure: unknown): boolean {
  const isEarly = failure instanceof RuntimeFailure && failure.stage === "runtime";
  return isEarly || noRuntime.test(messageOf(failure));
}

function startError(cause: unknown): RuntimeStartError {
  const facts = { runtime, problem: problemOf(cause), fix: library.fix() };
  return new RuntimeStartError(facts, { cause });
}

function openLane(options: WebOptions): RestartingHost<Calls> {
  const start =
    options.worker ??
    (() => new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "crossrank" }));
  return new RestartingHost<Calls>({
    runtime,
    deadlines: options.deadlines,
    open: (deadlines) => new WorkerClient<Calls>({ start, runtime, deadlines }),
  });
}

/** From the .onnx that `load` would take: a rank of 1 is a single logit. */
async function declaredClasses(
  options: WebOptions,
  { files, dtype, signal, onProgress }: Pick<LoadRequest, "files" | "dtype" | "signal" | "onProgress">,
): Promise<DeclaredClasses | undefined> {
  const wish = { file: options.file, dtype, defaultDtype: undefined };
  const onGpu = options.executionProvider === "webgpu";
  const { path, size } = await chooseFile(files, wish, { processor, onGpu, signal });
  const read = (start: number, end: number): Promise<Uint8Array> =>
    files.readBytes(path, { start, end }, { signal, onProgress });
  const graph = await readGraph({ size, read });
  const outputs = (graph?.outputs ?? []).map(({ name, type, shape }) => ({ name, type: type ?? "", shape }));
  const classes = classesAmong(outputs);
  return classes === undefined ? undefined : { path, classes };
}

/** Starts the worker, and loads no model. Never throws. */
async function diagnose(options: WebOptions): Promise<BackendDiagnosis> {
  if (typeof Worker === "undefined") {
    return { available: false, detail: "there are no web workers here: this backend runs in a browser" };
  }
  let lane: RestartingHost<Calls> | undefined;
  try {
    lane = openLane(options);
    const environment = environmentFor(options);
    const { version } = await lane.call("diagnose", environment);
    const threads = environment.threads === 1 ? "1 thread" : `${environment.threads} threads`;
    const isolation = isIsolated() ? "cross-origin isolated" : "not cross-origin isolated";
    return {
      available: true,
      runtime: { name: "onnxruntime-web", version },
      detail: `${environment.executionProvider}, ${threads}; the page is ${isolation}`,
    };
  } catch (error) {
    return {
      available: false,
      detail: `onnxruntime-web does not load: ${firstLine(error)}. ${library.fix()}`,
    };
  } finally {
    await lane?.close();
  }
}
