import { requireOptions } from "@crossrank/backend-kit";
import { type Backend, InvalidInputError, type OptionNames } from "@crossrank/core";
import { type ComputeUnits, computeUnits } from "./compute-units.js";
import type { Arithmetic } from "./reference/translation.js";

/** How {@link coreml} runs packages. */
export interface CoreMlOptions {
  /**
   * The .mlpackage to run, relative to the model, for names outside the usual table. Overrides `dtype`. Default: chosen
   * by `dtype`.
   */
  readonly file?: string | undefined;
  /** What Core ML may run on. Default: `"cpuAndNeuralEngine"`. Of no effect with `reference`. */
  readonly computeUnits?: ComputeUnits | undefined;
  /**
   * Absolute path of a folder for compiled models, made once for each package and system. Default: a folder of the
   * user's caches. Of no effect with `reference`.
   */
  readonly cacheFolder?: string | undefined;
  /**
   * Runs the package without Core ML, on any machine: its program is translated to ONNX, and run by this backend. Shows
   * what the artifact computes (weights, graph, shapes), not how Apple's kernels compute it.
   */
  readonly reference?: ReferenceOptions | undefined;
}

export interface ReferenceOptions {
  /** A backend for ONNX files, e.g. `onnx({ workers: 1 })`; without a `file` of its own. Its files are removed once it has loaded them. */
  readonly backend: Backend;
  /**
   * `"single"`: float32 throughout, with the artifact's weights. `"half"`: what the program declares as fp16 is rounded
   * to half precision after every operation. Default: `"single"`.
   */
  readonly arithmetic?: Arithmetic | undefined;
}

const arithmetics: readonly string[] = ["single", "half"];

const names: OptionNames<CoreMlOptions> = {
  file: "name",
  computeUnits: true,
  cacheFolder: "name",
  reference: true,
};

/** @throws {InvalidInputError} naming the option at fault. */
export function checkOptions(options: CoreMlOptions): void {
  requireOptions("coreml()", options, names);
  const { file, computeUnits: units, reference } = options;
  if (file !== undefined && !file.endsWith(".mlpackage")) {
    throw new InvalidInputError("file", `must name a .mlpackage of the model, not ${JSON.stringify(file)}`);
  }
  requireOneOf("computeUnits", units, computeUnits);
  if (reference === undefined) return;
  requireOptions("reference", reference, { backend: true, arithmetic: true });
  requireOneOf("reference.arithmetic", reference.arithmetic, arithmetics);
  if (typeof reference.backend?.load !== "function") {
    throw new InvalidInputError("reference.backend", "must be a backend for ONNX files, e.g. onnx()");
  }
}

function requireOneOf(path: string, value: string | undefined, allowed: readonly string[]): void {
  if (value !== undefined && !allowed.includes(value)) {
    throw new InvalidInputError(path, `must be one of ${allowed.join(", ")}, not ${JSON.stringify(value)}`);
  }
}
