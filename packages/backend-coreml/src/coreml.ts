import { activatedProblem, artifactWish, isRead, type Problem, statesIdentity } from "@crossrank/backend-kit";
import {
  type Backend,
  type BackendDiagnosis,
  type BackendSession,
  type Capabilities,
  type Head,
  IncompatibleModelError,
  type LoadRequest,
  type ModelFiles,
  ModelLoadError,
  type NumericBounds,
} from "@crossrank/core";
import { precisionClassOf } from "@crossrank/core/verify";
import { type CoreMlModel, type ModelPackage, openModelPackage } from "@crossrank/formats/mlpackage";
import { OutputTrace } from "./activated-output.js";
import {
  type ArtifactChoice,
  choosePackages,
  describeArtifact,
  fetchPackage,
  type PackageChoice,
} from "./artifact.js";
import {
  describeFeature,
  type PackagePlan,
  type PlannedOutput,
  planOutput,
  planPackage,
} from "./feature-plan.js";
import { judgeDefaults } from "./judge-defaults.js";
import { judgeTable } from "./judge-table.js";
import { requireWholeSet } from "./length-set.js";
import { modelLoadError } from "./load-error.js";
import { findNarrowedIds } from "./narrowed-ids.js";
import { diagnoseNative, openNativePredictor } from "./native-predictor.js";
import { type CoreMlOptions, checkOptions, type ReferenceOptions } from "./options.js";
import type { Predictor } from "./predictor.js";
import { openReferencePredictor, referenceRuntime } from "./reference/reference-predictor.js";
import { CoreMlSession, closeAll, type OpenPackage } from "./session.js";

/**
 * Core ML packages: by Core ML itself on a Mac, or with `reference` by a translation to ONNX on any machine.
 *
 * A reference execution has a name of its own (`coreml:reference`, `coreml:reference-half`), so that its scores are
 * never taken for Core ML's.
 *
 * @throws {InvalidInputError} when an option is out of range.
 */
export function coreml(options: CoreMlOptions = {}): Backend {
  checkOptions(options);
  const name = nameOf(options);
  return {
    specificationVersion: "v1",
    name,
    families: ["cross-encoder", "bi-encoder"],
    load: (request) => load(name, options, request),
    diagnose: async () =>
      options.reference === undefined ? diagnoseNative() : diagnoseReference(options.reference),
  };
}

function nameOf({ reference }: CoreMlOptions): string {
  if (reference === undefined) return "coreml";
  return reference.arithmetic === "half" ? "coreml:reference-half" : "coreml:reference";
}

async function diagnoseReference({ backend }: ReferenceOptions): Promise<BackendDiagnosis> {
  const { available, runtime, detail } = await backend.diagnose();
  return {
    available,
    ...(runtime === undefined ? {} : { runtime: referenceRuntime(runtime) }),
    detail: `packages are translated to ONNX, without Core ML; ${backend.name}: ${detail}`,
  };
}

async function load(backend: string, options: CoreMlOptions, request: LoadRequest): Promise<BackendSession> {
  const { files, signal } = request;
  signal?.throwIfAborted();
  const wish = artifactWish(options.file, request);
  const choice = choosePackages(files.id, await files.list({ signal }), wish);
  const read = await readPackages(backend, choice, request);
  const { plans, output } = planAll(backend, read, request, {
    config: await readConfig(files, signal),
    statesIdentity: await statesIdentity(request),
  });
  // A package that the caller named is taken alone.
  if (wish.file === undefined) {
    const set = read.map(({ choice: { path }, package: { model } }, index) => ({
      path,
      model,
      lengths: plans[index]?.lengths ?? [],
    }));
    requireWholeSet({ model: files.id, backend }, set);
  }
  const packages: OpenPackage[] = [];
  try {
    for (const [index, one] of read.entries()) {
      const predictor = await openPredictor(backend, one, { options, output, request });
      packages.push({ predictor, lengths: plans[index]?.lengths ?? [] });
    }
    const [plan] = plans as [PackagePlan, ...PackagePlan[]];
    const { runtime, settings } = (packages as [OpenPackage, ...OpenPackage[]])[0].predictor;
    const artifact = await describeArtifact(files, choice, signal);
    return new CoreMlSession({
      info: { name: backend, runtime },
      artifact,
      capabilities: capabilitiesOf(plans, output, packages),
      settings,
      bounds: boundsFor(artifact.dtype),
      packages,
      inputs: plan.inputs,
      output,
      rows: plan.rows,
    });
  } catch (error) {
    // The first failure is the one to tell of.
    await closeAll(packages).catch(() => undefined);
    throw error;
  }
}

interface ReadPackage {
  readonly choice: PackageChoice;
  readonly package: ModelPackage;
}

async function readPackages(
  backend: string,
  { packages }: ArtifactChoice,
  { files, signal, onProgress }: LoadRequest,
): Promise<readonly ReadPackage[]> {
  const read: ReadPackage[] = [];
  for (const choice of packages) {
    const folder = await fetchPackage(files, choice, backend, { signal, onProgress });
    try {
      read.push({ choice, package: await openModelPackage(folder, { signal }) });
    } catch (error) {
      signal?.throwIfAborted();
      throw modelLoadError({ model: files.id, backend, file: choice.path }, error);
    }
  }
  return read;
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

function planAll(
  backend: string,
  read: readonly ReadPackage[],
  { files, output: { kinds }, profile: { head } }: LoadRequest,
  facts: { readonly config: unknown; readonly statesIdentity: boolean },
): { readonly plans: readonly PackagePlan[]; readonly output: PlannedOutput } {
  const plans: PackagePlan[] = [];
  let output: PlannedOutput | undefined;
  for (const { choice, package: one } of read) {
    const refuse = (problem: Problem): ModelLoadError =>
      new ModelLoadError({ model: files.id, backend, file: choice.path, ...problem });
    const found = planOutput(one.model, kinds);
    const planned =
      found === undefined || "problem" in found ? found : plainOutput(one.model, found, head, facts);
    if (planned === undefined) {
      throw new IncompatibleModelError({
        model: files.id,
        backend,
        capability: `an output of ${choice.path}`,
        wanted: kinds.join('" or "'),
        supported: one.model.outputs.map(describeFeature),
      });
    }
    if ("problem" in planned) throw refuse(planned);
    const plan = planPackage(one.model);
    if ("problem" in plan) throw refuse(plan);
    const wrong =
      findNarrowedIds(one.model) ??
      judgeDefaults(one.model, facts.config) ??
      judgeTable(one.model, facts.config);
    if (wrong !== undefined) throw refuse(wrong);
    const [first] = plans;
    if (first !== undefined && (!isLike(first, plan) || planned.name !== output?.name)) {
      const problem = "it has other inputs, rows or outputs than the packages of the other lengths";
      throw refuse({ problem, fix: "Convert the model again, all lengths together" });
    }
    const twice = plan.lengths.find((length) => plans.some(({ lengths }) => lengths.includes(length)));
    if (twice !== undefined) {
      const problem = `it takes length ${twice}, as another package of this model does`;
      throw refuse({ problem, fix: "Remove one of them" });
    }
    output ??= planned;
    plans.push(plan);
  }
  return { plans, output: output as PlannedOutput };
}

/** The output, or in its place the one that holds its logits; a sigmoid or the like is none. */
function plainOutput(
  model: CoreMlModel,
  planned: PlannedOutput,
  head: Head,
  { statesIdentity }: { readonly statesIdentity: boolean },
): PlannedOutput | Problem {
  if (planned.kind !== "class-logits") return planned;
  const trace = new OutputTrace(model);
  const activated = trace.activationOf(planned.name);
  if (activated === undefined || isRead(activated, head, statesIdentity)) return planned;
  const [plain] = trace.plainOf(activated, model.outputs);
  const renamed =
    plain === undefined
      ? undefined
      : planOutput({ ...model, outputs: [{ ...plain, name: planned.name }] }, [planned.kind]);
  if (plain === undefined || renamed === undefined || "problem" in renamed) {
    return activatedProblem(planned.name, activated, head, "mlpackage");
  }
  return { ...renamed, name: plain.name };
}

function isLike(a: PackagePlan, b: PackagePlan): boolean {
  const inputs = (plan: PackagePlan): string =>
    plan.inputs
      .map(({ name, rank }) => `${name} ${rank}`)
      .sort()
      .join();
  return a.rows === b.rows && inputs(a) === inputs(b);
}

async function openPredictor(
  backend: string,
  { choice, package: one }: ReadPackage,
  facts: {
    readonly options: CoreMlOptions;
    readonly output: PlannedOutput;
    readonly request: LoadRequest;
  },
): Promise<Predictor> {
  const { options, output, request } = facts;
  const { files, profile, signal } = request;
  const { computeUnits, cacheFolder, reference } = options;
  try {
    if (reference === undefined) {
      return await openNativePredictor(one.path, { computeUnits, cacheFolder, signal });
    }
    const { arithmetic = "single" } = reference;
    return await openReferencePredictor(reference.backend, one, {
      output: output.name,
      arithmetic,
      profile,
      signal,
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw modelLoadError({ model: files.id, backend, file: choice.path }, error);
  }
}

function capabilitiesOf(
  plans: readonly PackagePlan[],
  output: PlannedOutput,
  packages: readonly OpenPackage[],
): Capabilities {
  const lengths = plans.flatMap((plan) => plan.lengths).sort((a, b) => a - b);
  const longest = lengths.at(-1) ?? 0;
  const [plan] = plans as [PackagePlan, ...PackagePlan[]];
  return {
    output: output.kind,
    maxSequenceLength: longest,
    sequenceLengths: lengths,
    batchSize: { exactly: plan.rows },
    // Every row is computed, filled or not.
    batchPreference: { rows: plan.rows, tokens: plan.rows * longest, padding: 1 },
    segmentIds: plan.inputs.some(({ source }) => source === "segmentIds"),
    concurrentRuns: Math.min(...packages.map(({ predictor }) => predictor.concurrentRuns ?? 1)),
    rowsAffectScores: packages.some(({ predictor }) => predictor.rowsAffectScores ?? false),
    cancelsWithinBatch: false,
  };
}

/**
 * The Neural Engine computes in half precision throughout. With every intermediate number rounded so, Core ML packages
 * of the conformance fixtures are off by up to 3.2e-2, 2.6e-3 of a cosine (docs/guides/coreml.md).
 */
function boundsFor(dtype: string): NumericBounds | undefined {
  if (precisionClassOf(dtype) !== "fp16") return undefined;
  return {
    logit: 4e-2,
    cosine: 1e-2,
    reason: "what runs packages of half precision, the Neural Engine, rounds every intermediate number to it",
  };
}
