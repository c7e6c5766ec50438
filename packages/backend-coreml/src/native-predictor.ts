import { basename } from "node:path";
import { messageOf } from "@crossrank/backend-kit/runtime";
import { type BackendDiagnosis, untilAborted } from "@crossrank/core";
import { ModelPackageError, openModelPackage } from "@crossrank/formats/mlpackage";
import { type CompileRequest, defaultCompiledModelFolder, useCompiledModel } from "./compiled-model-cache.js";
import type { ComputePlan } from "./compute-plan.js";
import { type ComputeUnits, defaultComputeUnits } from "./compute-units.js";
import { type Addon, type AddonModel, type AddonSystem, loadAddon } from "./native.js";
import { fromAddon, NativeError } from "./native-error.js";
import type { Predictor, PredictorInput, PredictorOutput } from "./predictor.js";

export interface NativeOptions {
  /** What Core ML may run on. Default `"cpuAndNeuralEngine"`. */
  readonly computeUnits?: ComputeUnits | undefined;
  /** Where compiled models are kept. Default as `defaultCompiledModelFolder` says. */
  readonly cacheFolder?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * Called when a step begins: `read` (the package, for its hash), `compile` (only the first time), `load` (the first
   * load for the Neural Engine takes tens of seconds, in which the system prepares the model).
   */
  readonly onProgress?: ((step: NativeStep) => void) | undefined;
}

export type NativeStep = "read" | "compile" | "load";

/**
 * Compiles a package where it was not compiled before, and loads it into Core ML.
 *
 * @param packagePath a `.mlpackage` folder, or a `.mlmodel` file.
 * @throws {NativeError}, see `NativeErrorCode`.
 * @throws the signal's reason once it is aborted.
 */
export async function openNativePredictor(
  packagePath: string,
  options: NativeOptions = {},
): Promise<Predictor> {
  const started = start();
  const { computeUnits = defaultComputeUnits, signal, onProgress } = options;
  const request = compileRequest(started, packagePath, options);
  const model = await useCompiledModel(request, async (compiledPath) => {
    onProgress?.("load");
    const loading = asNative(() => started.addon.load(compiledPath, computeUnits));
    try {
      return await untilAborted(loading, signal);
    } catch (error) {
      // Loading cannot be stopped: a model that comes after nobody waits for it is freed.
      loading.then((late) => late.close()).catch(() => undefined);
      throw error;
    }
  });
  return new NativePredictor(model, runtimeOf(started.system), { computeUnits });
}

/**
 * Where Core ML means to run each operation of a package's default function. Needs macOS 14.4 or later.
 *
 * @throws {NativeError}, see `NativeErrorCode`.
 * @throws the signal's reason once it is aborted.
 */
export async function planNative(packagePath: string, options: NativeOptions = {}): Promise<ComputePlan> {
  const started = start();
  const { computeUnits = defaultComputeUnits, signal, onProgress } = options;
  const request = compileRequest(started, packagePath, options);
  const planned = await defaultFunctionName(packagePath, signal);
  const operations = await useCompiledModel(request, async (compiledPath) => {
    onProgress?.("load");
    return untilAborted(
      asNative(() => started.addon.computePlan(compiledPath, computeUnits, planned)),
      signal,
    );
  });
  return {
    schema: "crossrank.compute-plan/1",
    model: basename(packagePath),
    computeUnits,
    system: describeSystem(started.system),
    operations: operations.map(({ operator, outputs, preferred, supported, cost }) => ({
      operator,
      outputs,
      preferred: preferred ?? null,
      supported,
      cost: cost ?? null,
    })),
  };
}

async function defaultFunctionName(packagePath: string, signal: AbortSignal | undefined): Promise<string> {
  try {
    const { model } = await openModelPackage(packagePath, { signal });
    return model.defaultFunction ?? "main";
  } catch (error) {
    if (!ModelPackageError.isInstance(error)) throw error;
    throw new NativeError("cache", error.problem, { fix: error.fix, cause: error });
  }
}

/** Whether Core ML can be used here, without loading a model. Never throws. */
export function diagnoseNative(): BackendDiagnosis {
  try {
    const { system } = start();
    const runtime = { name: "Core ML", version: versionOf(system) };
    return { available: true, runtime, detail: describeSystem(system) };
  } catch (error) {
    return { available: false, detail: messageOf(error) };
  }
}

/** The first macOS that has `cpuAndNeuralEngine`, and reads the oldest packages that crossrank writes. */
const oldestSystem = 13;

interface Started {
  readonly addon: Addon;
  readonly system: AddonSystem;
}

function start(): Started {
  const addon = loadAddon();
  const system = addon.system();
  if (Number.parseInt(system.product ?? "", 10) < oldestSystem) {
    const problem = `this is macOS ${system.product}, and Core ML as crossrank uses it needs macOS ${oldestSystem}`;
    throw new NativeError("unsupported", problem, { fix: "Update macOS, or use coreml({ reference })" });
  }
  return { addon, system };
}

function compileRequest(
  { addon, system }: Started,
  packagePath: string,
  { cacheFolder = defaultCompiledModelFolder(), signal, onProgress }: NativeOptions,
): CompileRequest {
  return {
    packagePath,
    cacheFolder,
    dependsOn: [`macOS ${system.build ?? system.product ?? "?"}`, `addon ${system.addon}`],
    compile: async (path) => asNative(() => addon.compile(path)),
    signal,
    onProgress,
  };
}

/** `"macOS 15.1 (24B83), Apple M3"`. */
function describeSystem(system: AddonSystem): string {
  const { build, chip } = system;
  const version = build ? `${versionOf(system)} (${build})` : versionOf(system);
  return chip ? `${version}, ${chip}` : version;
}

export function runtimeOf(system: AddonSystem): Predictor["runtime"] {
  return { name: "Core ML", version: versionOf(system) };
}

function versionOf({ product }: AddonSystem): string {
  return `macOS ${product ?? "?"}`;
}

class NativePredictor implements Predictor {
  readonly runtime: Predictor["runtime"];
  readonly settings: Predictor["settings"];
  readonly #model: AddonModel;
  readonly #inputs: ReadonlySet<string>;

  constructor(model: AddonModel, runtime: Predictor["runtime"], settings: Predictor["settings"]) {
    this.settings = settings;
    this.#model = model;
    this.#inputs = new Set(model.inputs.map(({ name }) => name));
    this.runtime = runtime;
  }

  async predict(inputs: readonly PredictorInput[], output: string): Promise<PredictorOutput> {
    const given = inputs.map(({ name }) => name);
    // Core ML refuses a missing input, and says nothing of one too many.
    const unknown = given.filter((name) => !this.#inputs.has(name));
    if (unknown.length > 0) {
      const message = `the model has no input ${unknown.join(", ")}; it has ${[...this.#inputs].join(", ")}`;
      throw new NativeError("invalid-input", message);
    }
    const fed = inputs.map(({ name, shape, data }) => ({ name, shape: [...shape], data }));
    return asNative(() => this.#model.predict(fed, output));
  }

  async close(): Promise<void> {
    await asNative(() => this.#model.close());
  }
}

/** What the addon throws or rejects with, as a NativeError. */
async function asNative<Result>(call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    throw fromAddon(error);
  }
}
