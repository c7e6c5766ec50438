import { findAddon } from "@crossrank/backend-kit/runtime";
import manifest from "../package.json" with { type: "json" };

/** The addon (native/src/lib.rs). Its promises reject with messages that begin with a code and a colon. */
export interface Addon {
  /** MLX's version, e.g. `"0.32.4"`. */
  version(): string;
  /** Whether MLX computes on a GPU here. */
  onGpu(): boolean;
  /** The processor whose kernels multiply matrices, as OpenBLAS names it; null where another BLAS does. */
  blasProcessor(): string | null;
  /** Threads that multiply matrices; null where another BLAS does. */
  blasThreads(): number | null;
  /** Names of a program's operations, in the order of their numbers. */
  operations(): readonly string[];
  load(model: AddonModelFacts): Promise<AddonModel>;
}

/** A model's weights and its program. */
export interface AddonModelFacts {
  /** Absolute paths. */
  readonly files: readonly string[];
  readonly weights: readonly AddonWeight[];
  readonly program: Float64Array;
}

export interface AddonWeight {
  /** For messages. */
  readonly name: string;
  /** One; or the packed numbers, scales and biases of a quantised matrix. */
  readonly tensors: readonly AddonTensor[];
  /** What its floats become; `stored` leaves them. */
  readonly target: Compute | "stored";
  /** To add to every number, in float32. */
  readonly plus: number;
  /** Of one tensor: how to quantise it, 0 not at all. Of three: how they are quantised. */
  readonly bits: number;
  readonly group: number;
  /** Three: unfold them when they are loaded. */
  readonly unfold: boolean;
}

export interface AddonTensor {
  readonly type: "F64" | "F32" | "F16" | "BF16" | "U32" | "I32";
  readonly shape: readonly number[];
  /** Its bytes, one part after the other. */
  readonly parts: readonly FilePart[];
  /** Its bytes themselves, in place of parts. */
  readonly data?: Uint8Array | undefined;
}

export interface FilePart {
  /** Place among the files. */
  readonly file: number;
  /** The first byte, and that behind the last. */
  readonly start: number;
  readonly end: number;
}

/** In what a model computes. */
export type Compute = "float32" | "float16" | "bfloat16";

export interface AddonBatch {
  readonly rows: number;
  readonly columns: number;
  /** Places of each row. */
  readonly picked: number;
  readonly ids: Int32Array;
  readonly segments: Int32Array;
  readonly lengths: Int32Array;
  readonly extents: Int32Array;
  readonly places: Int32Array;
}

/** A model, on a thread of its own. */
export interface AddonModel {
  /** The arrays are copied before it returns. */
  run(batch: AddonBatch): Promise<{ readonly data: Float32Array; readonly shape: readonly number[] }>;
  /** Frees the model after the runs that it still has. */
  close(): Promise<void>;
  /** Once: some of its weights are trained from here on. */
  train(facts: AddonTraining): Promise<void>;
  /** Adds a batch's gradients to the step. @returns the batch's loss. The arrays are copied before it returns. */
  accumulate(batch: AddonBatch, wanted: AddonWanted): Promise<number>;
  /** One step of AdamW. @returns the gradient's norm before clipping; no finite number: nothing was changed. */
  apply(rate: number, clip: number): Promise<number>;
  /** @param at place among the trained weights. */
  kept(at: number, kept: Kept): Promise<{ readonly data: Float32Array; readonly shape: readonly number[] }>;
  keep(at: number, kept: Exclude<Kept, "gradient">, data: Float32Array): Promise<void>;
  /** How many steps are done, for AdamW. Gradients are let go. */
  setSteps(steps: number): Promise<void>;
}

/** What is kept of a trained weight: its value in float32, AdamW's two means, and the step's gradient so far. */
export type Kept = "value" | "mean" | "square" | "gradient";

export interface AddonTraining {
  /** Places among the model's weights. */
  readonly weights: Int32Array;
  /** 1 where AdamW's decay holds. */
  readonly decays: Uint8Array;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly decay: number;
  /** Steps of the program that begin a part whose activations are computed again. */
  readonly parts: Uint32Array;
}

/**
 * What a batch's output should have been. A row's score is the logit `positive`, less `negative` where that is not -1.
 * `binary`: cross-entropy of each row's score and label. Groups of rows: `listwise`, softmax cross-entropy with the labels
 * as shares; `margins`, squared error of differences to the first row; `divergence`, from the labels' softmax. `sum`: the
 * output's numbers times the labels, for checks of gradients.
 */
export interface AddonWanted {
  readonly loss: "binary" | "listwise" | "margins" | "divergence" | "sum";
  readonly positive: number;
  readonly negative: number;
  readonly groups: number;
  readonly most: number;
  /** (groups, most): rows, -1 behind a group's last. */
  readonly members: Int32Array;
  readonly labels: Float32Array;
  /** What the batch's mean counts in the step's loss, above 0 to 1. */
  readonly share: number;
  /** Of dropout, two numbers of 32 bits; none without. */
  readonly seed?: Uint32Array | undefined;
}

/** The addon is not there, or does not load. The message says what was tried and what to do. */
export class AddonMissingError extends Error {
  /** What was tried, and what came of it. */
  readonly attempts: readonly string[];
  constructor(attempts: readonly string[], fix: string, options?: { cause?: unknown }) {
    super(`the addon for ${platformName()} is not there (${attempts.join("; ")}). ${fix}`, options);
    this.name = "AddonMissingError";
    this.attempts = attempts;
  }
}

/** As @napi-rs/cli names the packages of these platforms. MLX itself is built for no other. */
const packaged: readonly string[] = ["darwin-arm64", "linux-x64-gnu", "linux-arm64-gnu", "win32-x64-msvc"];

let loaded: Addon | undefined;

/**
 * The addon: of this platform's package, else as scripts/build-native.mjs built it.
 *
 * @throws {AddonMissingError} when there is none.
 */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  const name = platformName();
  const found = findAddon<Addon>({
    owner: { name: manifest.name, version: manifest.version, module: import.meta.url },
    built: `native/crossrank-backend-mlx.${name}.node`,
    packageName: `@crossrank/backend-mlx-${name}`,
  });
  if (!("addon" in found)) throw new AddonMissingError(found.attempts, fixFor(name), { cause: found.cause });
  loaded = found.addon;
  return loaded;
}

/** E.g. `"darwin-arm64"`, as @napi-rs/cli has it. */
export function platformName(): string {
  const { platform, arch } = process;
  if (platform === "linux") return `linux-${arch}-${isMusl() ? "musl" : "gnu"}`;
  return platform === "win32" ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}

function isMusl(): boolean {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime === undefined;
}

function fixFor(name: string): string {
  if (!packaged.includes(name)) return `MLX has no library for this platform: take another backend`;
  return (
    "Install @crossrank/backend-mlx with its optional dependencies, or build it with `node " +
    "node_modules/@crossrank/backend-mlx/scripts/build-native.mjs`, which needs cargo (Rust 1.88 or later), a C++ " +
    "compiler and pip, and names the one that is missing"
  );
}
