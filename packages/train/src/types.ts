import type { ModelFiles } from "@crossrank/core";

/** One document of an example. */
export interface TrainingDocument {
  readonly text: string;
  /** How relevant the document is: 0 (not at all) to 1 (as much as the data's highest grade says). Finite. */
  readonly label: number;
  /** The teacher's score before activation (a logit), where one was asked. Finite. */
  readonly teacher?: number | undefined;
}

/**
 * What the loss of one place of a batch is computed from. Pointwise losses get examples of one document each;
 * listwise ones get all documents of a query, the best label first.
 */
export interface TrainingExample {
  readonly query: string;
  /** At least one; at least two for a listwise loss. */
  readonly documents: readonly TrainingDocument[];
}

/** Examples that may lie on disk. Reading the same places gives the same examples. */
export interface TrainingSet {
  readonly size: number;
  /** Of the examples in order, lower-case hex: a checkpoint belongs to one set. */
  readonly sha256: string;
  /** @param places from 0, below `size`. */
  read(places: readonly number[], signal?: AbortSignal): Promise<readonly TrainingExample[]>;
}

export const trainingMethods = ["lora", "qlora", "full"] as const;
export type TrainingMethod = (typeof trainingMethods)[number];

/**
 * `bce`: binary cross-entropy of one logit and the label. `yes-no`: cross-entropy of a decoder's two answers. Both are
 * pointwise. `listwise`: softmax cross-entropy over a query's documents. `margin-mse`: squared error of the differences
 * to the first document, against the teacher's. `kl`: divergence from the teacher's softmax. These three are listwise.
 */
export const trainingLosses = ["bce", "yes-no", "listwise", "margin-mse", "kl"] as const;
export type TrainingLoss = (typeof trainingLosses)[number];

export function isListwise(loss: TrainingLoss): boolean {
  return loss === "listwise" || loss === "margin-mse" || loss === "kl";
}

/** Losses that need a teacher's scores. */
export function needsTeacher(loss: TrainingLoss): boolean {
  return loss === "margin-mse" || loss === "kl";
}

/** Everything that decides the result, together with the base model and the examples. All of it goes into reports. */
export interface TrainingConfig {
  readonly method: TrainingMethod;
  /** Undefined: the family's own (`bce` for cross-encoders, `yes-no` for decoders). */
  readonly loss?: TrainingLoss | undefined;
  /** Rank of the adapters; of no meaning for `full`. */
  readonly loraRank: number;
  /** The adapters' product is scaled by `loraAlpha / loraRank`. */
  readonly loraAlpha: number;
  /** 0 to below 1, on the adapters' input. */
  readonly loraDropout: number;
  /**
   * Which projections get adapters: `query`, `key`, `value`, `output`, `up`, `gate`, `down`. The head is always
   * trained.
   */
  readonly targets: readonly LoraTarget[];
  /** Examples of one forward pass. */
  readonly batchSize: number;
  /** Passes whose gradients make one step. */
  readonly accumulation: number;
  /** Passes over the examples. */
  readonly epochs: number;
  /** Ends after so many steps, also within an epoch. Undefined: by `epochs` alone. */
  readonly maxSteps?: number | undefined;
  readonly learningRate: number;
  /** Part of all steps, 0 to 1, in which the rate rises from 0. */
  readonly warmup: number;
  /** What the rate does after the warm-up. */
  readonly schedule: "linear" | "cosine" | "constant";
  readonly weightDecay: number;
  /** Largest norm of a step's gradient; 0 for none. */
  readonly clip: number;
  /**
   * The model's own dropout, also of attention's shares: a chance for every place where its class in transformers has
   * one, 0 to below 1; or `"model"`: each place's own of config.json.
   */
  readonly dropout: number | "model";
  /** Most tokens of a pair; longer ones are truncated as core truncates them. Undefined: the model's own. */
  readonly maxTokens?: number | undefined;
  /** Activations are computed again instead of being kept. */
  readonly gradientCheckpointing: boolean;
  readonly dtype: "float32" | "bfloat16";
  /** Examples of like length share a batch. */
  readonly lengthBuckets: boolean;
  /** 0 to 2^32 - 1. Order, dropout and first adapter weights. */
  readonly seed: number;
  /** Steps between two held-out evaluations; undefined: once an epoch. */
  readonly evaluateEvery?: number | undefined;
  /** Steps between two checkpoints; undefined: with each evaluation. */
  readonly checkpointEvery?: number | undefined;
  /** Evaluations without a better value after which training stops; 0 for never. */
  readonly patience: number;
}

export const loraTargets = ["query", "key", "value", "output", "up", "gate", "down"] as const;
export type LoraTarget = (typeof loraTargets)[number];

/** After each step. */
export interface TrainingProgress {
  /** Steps done, from 1. */
  readonly step: number;
  readonly steps: number;
  /** Epochs done, with the part of the one under way. */
  readonly epoch: number;
  /** Mean over the step's examples. */
  readonly loss: number;
  readonly learningRate: number;
  /** Norm before clipping. */
  readonly gradientNorm: number;
  /** Tokens without padding since the start of this process. */
  readonly tokens: number;
  /** Milliseconds of training since the start of this process, evaluations apart. */
  readonly trainingMs: number;
  /** Examples done since the start of this process. */
  readonly examples: number;
}

/** Scores of pairs with the weights as they are at this step: logits, one a pair, on the reranker's own scale. */
export type ScorePairs = (
  pairs: readonly { readonly query: string; readonly document: string }[],
  signal?: AbortSignal,
) => Promise<Float64Array>;

export interface HeldOutDecision {
  /** These are the best weights so far: keep them. */
  readonly best: boolean;
  /** Training ends here. */
  readonly stop: boolean;
}

export interface TrainingRequest {
  readonly config: TrainingConfig;
  /** The base model, in its published form. */
  readonly model: ModelFiles;
  readonly examples: TrainingSet;
  /**
   * The engine's own: `checkpoint/` while it trains, then `adapter/` (PEFT's layout; not for `full`) and `merged/`
   * (safetensors with config and tokenizer, a model folder like the base). Both hold the best weights.
   */
  readonly folder: string;
  /** Goes on from the checkpoint in `folder`; false starts anew, and refuses a folder that has one. */
  readonly resume: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: TrainingProgress) => void) | undefined;
  /** Before the first step: how many steps are behind (0 unless resumed). */
  readonly onStart?: ((stepsDone: number) => void | Promise<void>) | undefined;
  /**
   * Called before the first step (0), every `evaluateEvery` steps and after the last. The engine's random state does
   * not move meanwhile. Without it the last weights are the best.
   */
  readonly heldOut?: ((step: number, score: ScorePairs) => Promise<HeldOutDecision>) | undefined;
}

export interface TrainingResult {
  readonly steps: number;
  /** The step whose weights were kept. */
  readonly bestStep: number;
  readonly stoppedEarly: boolean;
  readonly tokens: number;
  readonly trainingMs: number;
  /** Undefined for `full`. */
  readonly adapterFolder: string | undefined;
  readonly mergedFolder: string;
  /** Engine, its version, device and number format, for reports. */
  readonly engine: Readonly<Record<string, string>>;
  /** Parameters that were trained. */
  readonly trainedParameters: number;
}

/** Runs the steps. Data, held-out evaluation, report and gates are not its own. */
export interface Engine {
  readonly name: "mlx" | "torch";
  /**
   * Refuses what it cannot run (platform, family, method, loss, dtype), by name, before anything is read in whole.
   * @returns facts for `--dry-run`: parameters that will be trained, steps, the family.
   * @throws {TrainingSetupError}
   */
  check(request: Omit<TrainingRequest, "folder" | "resume">): Promise<EngineFacts>;
  /** An abort rejects with the signal's reason and leaves the last checkpoint. */
  train(request: TrainingRequest): Promise<TrainingResult>;
}

export interface EngineFacts {
  readonly family: string;
  readonly loss: TrainingLoss;
  readonly parameters: number;
  readonly trainedParameters: number;
  readonly steps: number;
  /** E.g. `"CPU"`, `"Apple M2 Max"`. */
  readonly device: string;
}
