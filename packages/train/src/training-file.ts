import { z } from "zod";
import { defaultConfig } from "./config.js";
import { TrainingSetupError } from "./errors.js";
import { loraTargets, type TrainingConfig, trainingLosses, trainingMethods } from "./types.js";

const share = z.number().min(0).lt(1);
const count = z.int().min(1).max(1_000_000_000);

const configShape = {
  method: z.enum(trainingMethods),
  loss: z.enum(trainingLosses),
  loraRank: z.int().min(1).max(1024),
  loraAlpha: z.number().gt(0).max(65_536),
  loraDropout: share,
  targets: z
    .array(z.enum(loraTargets))
    .min(1)
    .refine((list) => new Set(list).size === list.length, "names one twice"),
  batchSize: z.int().min(1).max(4096),
  accumulation: z.int().min(1).max(4096),
  epochs: z.int().min(1).max(1000),
  maxSteps: count,
  learningRate: z.number().gt(0).max(1),
  warmup: z.number().min(0).max(1),
  schedule: z.enum(["linear", "cosine", "constant"]),
  weightDecay: z.number().min(0).max(1),
  clip: z.number().min(0).max(1e6),
  dropout: z.union([share, z.literal("model")]),
  maxTokens: z.int().min(8).max(131_072),
  gradientCheckpointing: z.boolean(),
  dtype: z.enum(["float32", "bfloat16"]),
  lengthBuckets: z.boolean(),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1),
  evaluateEvery: count,
  checkpointEvery: count,
  patience: z.int().min(0).max(1000),
};

/** Sets of values to start from. `default` is small adapters and small batches; the others change what they name. */
export const trainingPresets: Readonly<Record<TrainingPreset, Partial<TrainingConfig>>> = {
  default: {},
  full: { method: "full", batchSize: 16, accumulation: 2, epochs: 1 },
  distill: { loss: "kl", batchSize: 2, accumulation: 8, learningRate: 5e-5 },
};

export type TrainingPreset = "default" | "full" | "distill";

const names = Object.keys(trainingPresets) as TrainingPreset[];
const sources = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

const fileShape = z.strictObject({
  ...z.strictObject(configShape).partial().shape,
  preset: z.enum(names).optional(),
  model: z.string().min(1).optional(),
  data: sources.optional(),
  split: z.string().min(1).optional(),
  heldOut: z.string().min(1).optional(),
  heldOutSplit: z.string().min(1).optional(),
  gateTask: z.string().min(1).optional(),
  heldOutShare: z.number().gt(0).max(0.5).optional(),
  heldOutQueries: z.int().min(2).max(1_000_000).optional(),
  depth: z.int().min(2).max(1000).optional(),
  listSize: z.int().min(2).max(1000).optional(),
  keep: z.enum(["best", "last"]).optional(),
  engine: z.enum(["mlx", "torch"]).optional(),
  to: sources.optional(),
  gate: z.number().min(0).max(1).optional(),
  teacher: z.string().min(1).optional(),
  output: z.string().min(1).optional(),
});

/** A configuration file: values of {@link TrainingConfig}, and what the options of `crossrank train` are called. */
export type TrainingFile = { readonly [Name in keyof TrainingConfig]?: TrainingConfig[Name] | undefined } & {
  readonly preset?: TrainingPreset | undefined;
  readonly model?: string | undefined;
  readonly data?: string | readonly string[] | undefined;
  readonly split?: string | undefined;
  readonly heldOut?: string | undefined;
  readonly heldOutSplit?: string | undefined;
  readonly gateTask?: string | undefined;
  readonly heldOutShare?: number | undefined;
  readonly heldOutQueries?: number | undefined;
  readonly depth?: number | undefined;
  readonly listSize?: number | undefined;
  readonly keep?: "best" | "last" | undefined;
  readonly engine?: "mlx" | "torch" | undefined;
  readonly to?: string | readonly string[] | undefined;
  readonly gate?: number | undefined;
  readonly teacher?: string | undefined;
  readonly output?: string | undefined;
};

/**
 * @param file its name, for messages.
 * @throws {TrainingSetupError} for a name that is none and for a value out of its range.
 */
export function parseTrainingFile(value: unknown, file: string): TrainingFile {
  const parsed = fileShape.safeParse(value);
  if (parsed.success) return parsed.data;
  throw faultOf(parsed.error, file);
}

/**
 * The values of a training: the preset's, then those that are given.
 * @throws {TrainingSetupError} for a value out of its range.
 */
export function readTrainingConfig(
  given: { readonly [Name in keyof TrainingConfig]?: TrainingConfig[Name] | undefined },
  preset: TrainingPreset = "default",
): TrainingConfig {
  const own = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const rank = own["loraRank"];
  // A change of rank alone is none of the adapters' scale.
  const alpha = typeof rank === "number" && own["loraAlpha"] === undefined ? { loraAlpha: 2 * rank } : {};
  const config = { ...defaultConfig, ...trainingPresets[preset], ...own, ...alpha };
  const { loss, maxSteps, maxTokens, evaluateEvery, checkpointEvery, ...needed } = configShape;
  const optional = z.strictObject({ loss, maxSteps, maxTokens, evaluateEvery, checkpointEvery }).partial();
  const parsed = z.strictObject({ ...needed, ...optional.shape }).safeParse(config);
  if (parsed.success) return parsed.data;
  throw faultOf(parsed.error, "The configuration");
}

function faultOf(error: z.ZodError, file: string): TrainingSetupError {
  const problems = error.issues.slice(0, 5).map(({ path, message }) => {
    const place = path.map(String).join(".");
    return place === "" ? message : `${place}: ${message}`;
  });
  return new TrainingSetupError(
    {
      subject: file,
      problem: `has values that cannot be: ${problems.join("; ")}`,
      fix: "Correct them; docs/guides/training.md lists the names and ranges",
    },
    { cause: error },
  );
}
