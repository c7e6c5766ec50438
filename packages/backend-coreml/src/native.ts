import { findAddon } from "@crossrank/backend-kit/runtime";
import manifest from "../package.json" with { type: "json" };
import type { ComputeUnits } from "./compute-units.js";
import { NativeError } from "./native-error.js";

/** The addon (native/src/addon.rs). Its promises reject with messages that begin with a code and a colon. */
export interface Addon {
  system(): AddonSystem;
  /** @returns the compiled model's folder in a temporary place, which is the caller's to move away. */
  compile(packagePath: string): Promise<string>;
  load(compiledPath: string, computeUnits: ComputeUnits): Promise<AddonModel>;
  /** @param functionName of the default function, which Core ML plans for. */
  computePlan(
    compiledPath: string,
    computeUnits: ComputeUnits,
    functionName: string,
  ): Promise<readonly AddonOperation[]>;
}

export interface AddonSystem {
  /** The addon's own version. */
  readonly addon: string;
  /** Of macOS, e.g. `"15.1"`. */
  readonly product?: string | null;
  /** Of macOS, e.g. `"24B83"`. */
  readonly build?: string | null;
  /** E.g. `"Apple M3"`. */
  readonly chip?: string | null;
}

export interface AddonFeature {
  readonly name: string;
  readonly type: "int32" | "float16" | "float32" | "float64" | "other";
  /** The one that is declared first; empty where none is. */
  readonly shape: readonly number[];
  /** All that are declared, where the model lists them. */
  readonly shapes: readonly (readonly number[])[];
}

export interface AddonOperation {
  readonly operator: string;
  readonly outputs: readonly string[];
  readonly preferred?: "neuralEngine" | "gpu" | "cpu" | null;
  readonly supported: readonly ("neuralEngine" | "gpu" | "cpu")[];
  readonly cost?: number | null;
}

/** A model, on a thread of its own. */
export interface AddonModel {
  readonly inputs: readonly AddonFeature[];
  readonly outputs: readonly AddonFeature[];
  /** The arrays are copied before it returns. */
  predict(
    inputs: readonly { readonly name: string; readonly shape: number[]; readonly data: Int32Array }[],
    output: string,
  ): Promise<{ readonly shape: readonly number[]; readonly data: Float32Array }>;
  /** Frees the model after the predictions that it still has. */
  close(): Promise<void>;
}

const build =
  "build it with `node node_modules/@crossrank/backend-coreml/scripts/build-native.mjs`, which needs cargo (Rust 1.88 " +
  "or later) and Apple's command line tools, and names the one that is missing";

let loaded: Addon | undefined;

/**
 * The addon: as scripts/build-native.mjs built it, else of this Mac's package.
 *
 * @throws {NativeError} with code `addon-missing` when there is none. The message says what was tried and what to do.
 */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  const platform = `${process.platform}-${process.arch}`;
  if (process.platform !== "darwin") {
    throw new NativeError("addon-missing", `Core ML is on macOS only, and this is ${platform}`, {
      fix: "Use coreml({ reference }), which computes the same package through ONNX, or another backend",
    });
  }
  const found = findAddon<Addon>({
    owner: { name: manifest.name, version: manifest.version, module: import.meta.url },
    built: `native/crossrank-backend-coreml.${platform}.node`,
    packageName: `@crossrank/backend-coreml-${platform}`,
  });
  if (!("addon" in found)) {
    const fix = `Install @crossrank/backend-coreml with its optional dependencies, or ${build}`;
    const problem = `the addon for ${platform} is not there (${found.attempts.join("; ")})`;
    throw new NativeError("addon-missing", problem, { fix, cause: found.cause });
  }
  loaded = found.addon;
  return loaded;
}
