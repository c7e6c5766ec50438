import { type HostOptions, type RuntimeClient, rememberFiles, settingsOf } from "@crossrank/backend-kit";
import {
  type Backend,
  type BackendSession,
  type Batch,
  DisposedError,
  type Head,
  InvalidInputError,
  type ModelFiles,
  type ModelProfile,
  untilAborted,
} from "@crossrank/core";
import { chooseWeights } from "../artifact.js";
import { addonBatch, batchProblem, placesRead } from "../batch.js";
import { openHost } from "../client.js";
import { diagnose } from "../diagnose.js";
import { boundsOf } from "../dtype.js";
import type { DropoutChances } from "../graph/changes.js";
import type { ProgramWeight } from "../graph/emit.js";
import { modelLoadError } from "../load-error.js";
import type { AddonWanted, Compute, Kept } from "../native.js";
import { type ModelPlan, prepareModel } from "../prepare.js";
import type { Calls } from "../protocol.js";
import { MlxSession } from "../session.js";
import { MlxTrainingError, trainingFailure, UntrainableError } from "./errors.js";
import { planTraining, type TrainedFacts, type TrainedParts, type TrainingChanges } from "./plan-training.js";

/** How {@link openTraining} trains a model. */
export interface TrainingOptions extends HostOptions, TrainedParts {
  readonly model: ModelFiles;
  readonly profile: ModelProfile;
  /** What matrices are kept in that are not trained themselves. `full` takes none. Default: their own floats. */
  readonly bits?: 8 | 4 | undefined;
  /** Columns that share a scale and a bias there: 32, 64 or 128. Default: 64. */
  readonly group?: 32 | 64 | 128 | undefined;
  readonly compute: Compute;
  /** AdamW's, of matrices. */
  readonly decay: number;
  /** Activations of layers are computed again instead of being kept. */
  readonly checkpointing: boolean;
  /** Of OpenBLAS, where there is no GPU. One makes every run the same to the last bit. */
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A weight that is trained. */
export type TrainedParameter = TrainedFacts & { readonly shape: readonly number[] };

/** What the rows of a batch should have been given. */
export interface TrainingTarget {
  /** `binary`: each row's label, from 0 to 1. The others are about groups of rows. */
  readonly loss: "binary" | "listwise" | "margins" | "divergence";
  /** Of each row. Of `listwise` a group's sum up to 1; of `margins` and `divergence` they are a teacher's scores. */
  readonly labels: Float32Array;
  /** Rows of each group, at least two; every row in one. None of `binary`. */
  readonly groups?: readonly (readonly number[])[] | undefined;
  /** What the batch's mean counts in the step's loss, above 0 to 1. */
  readonly share: number;
  /** Of dropout: two whole numbers of 32 bits. Nothing is dropped without. */
  readonly seed?: readonly [number, number] | undefined;
}

/** A model in MLX's memory that is trained. Calls are done one after the other. */
export interface TrainingSession extends AsyncDisposable {
  /** MLX's version, and where it computes. */
  readonly version: string;
  readonly onGpu: boolean;
  readonly parameters: readonly TrainedParameter[];
  /** Numbers of all weights of the model, trained or not, low ranks apart. */
  readonly modelParameters: number;
  readonly longest: number;
  readonly dropout: DropoutChances;
  /** Scores with the weights as they are when it is asked. Closing what it loads leaves the model. */
  readonly backend: Backend;
  /**
   * Adds a batch's gradients to the step.
   * @returns the batch's mean loss.
   * @throws {MlxTrainingError}
   */
  accumulate(batch: Batch, target: TrainingTarget): Promise<number>;
  /**
   * One step of AdamW (torch's rule), with the gradient shortened to the norm `clip` where it is longer; 0 for never.
   * @returns the norm before. No finite number: nothing was changed, and the gradients are let go.
   */
  apply(rate: number, clip: number): Promise<number>;
  /** @param place among `parameters`. */
  read(place: number, kept: Kept): Promise<Float32Array>;
  write(place: number, kept: Exclude<Kept, "gradient">, data: Float32Array): Promise<void>;
  setSteps(steps: number): Promise<void>;
  dispose(): Promise<void>;
}

/** What a training will be, read from headers alone. */
export interface TrainingPlan {
  readonly parameters: readonly TrainedParameter[];
  /** Numbers of all weights of the model, trained or not, low ranks apart. */
  readonly modelParameters: number;
  /** Longest sequence in tokens. */
  readonly longest: number;
  readonly dropout: DropoutChances;
  readonly architecture: string;
}

/** As {@link openTraining}, and nothing is loaded. @throws as that does. */
export async function describeTraining(options: TrainingOptions): Promise<TrainingPlan> {
  const { parameters, plan, weights, description, dropout } = await prepareTraining(options);
  return {
    parameters,
    modelParameters: countNumbers(weights),
    longest: plan.longest,
    dropout,
    architecture: description.architecture,
  };
}

async function prepareTraining(options: TrainingOptions) {
  const { model, profile, method, bits, group, compute, signal } = options;
  const score = scoreOf(profile.head, model.id);
  if (method === "full" && bits !== undefined)
    throw new InvalidInputError("bits", "must be left out with the method full, which trains floats");
  const dtype = bits === undefined ? "fp32" : `q${bits}`;
  const request = { files: model, profile, output: score.output, dtype, signal };
  const choice = await chooseWeights(
    model,
    { file: undefined, dtype, defaultDtype: undefined },
    { compute, group, signal },
  );
  if (choice.folder !== undefined)
    throw new UntrainableError({
      model: model.id,
      problem: "is quantised in its files, and what is trained is merged into floats at the end",
      fix: "Take the model's own weights: the method qlora quantises them when they are loaded",
    });
  let changes: TrainingChanges | undefined;
  const prepared = await prepareModel(choice, request, async (described) => {
    changes = await planTraining(described, choice.files, options, { signal });
    return changes;
  });
  const places: number[] = [];
  const parameters: TrainedParameter[] = [];
  for (const [place, one] of prepared.weights.entries()) {
    if (one.kind !== "model" && one.kind !== "made") continue;
    const found = changes?.factsOf(one.weight);
    if (found === undefined) continue;
    places.push(place);
    parameters.push({ ...found, shape: one.weight.shape });
  }
  if (changes === undefined) throw new TypeError("a model that was prepared without its changes");
  return { ...prepared, choice, score, dtype, places, parameters, dropout: changes.dropout };
}

/**
 * Loads a model to be trained: a cross-encoder with one logit or two classes, or a decoder that answers with two tokens.
 *
 * @throws {UntrainableError} for models and parts of them that are not trained.
 * @throws {ModelLoadError} when the model cannot be loaded.
 */
export async function openTraining(options: TrainingOptions): Promise<TrainingSession> {
  const { model, signal, checkpointing, decay } = options;
  const { plan, paths, facts, weights, parts, choice, score, dtype, places, parameters, dropout } =
    await prepareTraining(options);
  const local: string[] = [];
  for (const path of paths) local.push(await model.localPath(path, { signal }));
  const { isolation = "process", deadlines, threads } = options;
  const client = openHost({ isolation, deadlines, threads, checkUnchanged: await rememberFiles(local) });
  try {
    const loading = client.call("load", { ...facts, files: local }).catch((failure: unknown) => {
      throw modelLoadError(model.id, choice.path, failure);
    });
    const loaded = await untilAborted(loading, signal);
    await client
      .call("train", {
        weights: Int32Array.from(places),
        // As transformers' Trainer: neither biases nor norms.
        decays: Uint8Array.from(parameters, ({ shape }) => Number(shape.length > 1)),
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        decay,
        parts: Uint32Array.from(checkpointing ? parts : []),
      })
      .catch((failure: unknown) => {
        throw trainingFailure(failure);
      });
    return new MlxTraining({
      client,
      plan,
      score,
      parameters,
      options,
      loaded,
      dtype,
      dropout,
      modelParameters: countNumbers(weights),
    });
  } catch (error) {
    await (signal?.aborted === true ? client.abandon() : client.close());
    throw error;
  }
}

function countNumbers(weights: readonly ProgramWeight[]): number {
  let count = 0;
  for (const one of weights) {
    if (one.kind === "model") count += one.weight.shape.reduce((product, size) => product * size, 1);
  }
  return count;
}

/** Which logits make a score. */
interface ScoreRule {
  readonly output: {
    readonly kinds: readonly ["class-logits" | "token-logits"];
    readonly tokens?: readonly number[];
  };
  readonly positive: number;
  /** -1: none. */
  readonly negative: number;
}

function scoreOf(head: Head, model: string): ScoreRule {
  if (head.kind === "logit") return { output: { kinds: ["class-logits"] }, positive: 0, negative: -1 };
  if (head.kind === "two-class")
    return { output: { kinds: ["class-logits"] }, positive: head.positive, negative: 1 - head.positive };
  if (head.kind === "answer-tokens" && (head.temperature ?? 1) === 1) {
    const tokens = [head.positive, ...(head.negative === undefined ? [] : [head.negative])];
    const negative = head.negative === undefined ? -1 : 1;
    return { output: { kinds: ["token-logits"], tokens }, positive: 0, negative };
  }
  throw new UntrainableError({
    model,
    problem: `has a head of the kind "${head.kind}", which is not trained here`,
    fix: "Take a cross-encoder with one logit or two classes, or a decoder that answers yes or no",
  });
}

interface TrainingFacts {
  readonly client: RuntimeClient<Calls>;
  readonly plan: ModelPlan;
  readonly score: ScoreRule;
  readonly parameters: readonly TrainedParameter[];
  readonly options: TrainingOptions;
  readonly loaded: { readonly version: string; readonly onGpu: boolean };
  readonly dtype: string;
  readonly dropout: DropoutChances;
  readonly modelParameters: number;
}

class MlxTraining implements TrainingSession {
  readonly version: string;
  readonly onGpu: boolean;
  readonly parameters: readonly TrainedParameter[];
  readonly modelParameters: number;
  readonly longest: number;
  readonly dropout: DropoutChances;
  readonly backend: Backend;
  readonly #facts: TrainingFacts;
  /** Why nothing is trained any more: a runtime that is started anew has the base model's weights. */
  #failure: unknown;
  #disposal: Promise<void> | undefined;

  constructor(facts: TrainingFacts) {
    this.#facts = facts;
    this.version = facts.loaded.version;
    this.onGpu = facts.loaded.onGpu;
    this.parameters = facts.parameters;
    this.modelParameters = facts.modelParameters;
    this.longest = facts.plan.longest;
    this.dropout = facts.dropout;
    this.backend = {
      specificationVersion: "v1",
      name: "mlx",
      families: ["cross-encoder", "causal-lm"],
      load: async () => this.#session(),
      diagnose,
    };
  }

  async accumulate(batch: Batch, target: TrainingTarget): Promise<number> {
    const { plan, score } = this.#facts;
    const problem = filledProblem(batch) ?? batchProblem(batch, plan) ?? targetProblem(batch, target);
    if (problem !== undefined)
      throw new MlxTrainingError({ reason: "run", problem, fix: "Check how the batch was made" });
    const { groups = [], labels, loss, share, seed } = target;
    const most = Math.max(0, ...groups.map(({ length }) => length));
    const members = new Int32Array(groups.length * most).fill(-1);
    for (const [place, group] of groups.entries()) members.set(group, place * most);
    const { positive, negative } = score;
    const wanted: AddonWanted = {
      ...{ loss, positive, negative, groups: groups.length, most, members, labels, share },
      seed: seed === undefined ? undefined : Uint32Array.from(seed),
    };
    return this.#call("accumulate", { batch: addonBatch(batch, plan, placesRead(batch, plan)), wanted });
  }

  apply(rate: number, clip: number): Promise<number> {
    return this.#call("apply", { rate, clip });
  }

  async read(at: number, kept: Kept): Promise<Float32Array> {
    return (await this.#call("kept", { at, kept })).data;
  }

  async write(at: number, kept: Exclude<Kept, "gradient">, data: Float32Array): Promise<void> {
    await this.#call("keep", { at, kept, data });
  }

  async setSteps(steps: number): Promise<void> {
    await this.#call("setSteps", steps);
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#facts.client.close();
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #call<Kind extends keyof Calls>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
  ): Promise<Calls[Kind]["result"]> {
    if (this.#disposal !== undefined) throw new DisposedError("training");
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return await this.#facts.client.call(kind, argument);
    } catch (failure) {
      const error = trainingFailure(failure);
      // An input that was refused leaves the model as it was; so does a batch that found no memory.
      if (error instanceof MlxTrainingError && isDeath(failure)) this.#failure = error;
      throw error;
    }
  }

  #session(): BackendSession {
    const { plan, options, loaded, dtype } = this.#facts;
    const client: RuntimeClient<Calls> = {
      call: (kind, argument) => this.#call(kind, argument),
      close: async () => undefined,
      abandon: async () => undefined,
    };
    return new MlxSession({
      info: { name: "mlx", runtime: { name: "MLX", version: loaded.version } },
      artifact: { format: "safetensors", dtype, files: [] },
      capabilities: {
        output: plan.output,
        maxSequenceLength: plan.longest,
        sequenceLengths: "any",
        batchSize: { max: Number.MAX_SAFE_INTEGER },
        batchPreference: { rows: 16, tokens: 2048, padding: 0.1 },
        segmentIds: plan.segments > 1,
        unattendedStates: false,
        rowsAffectScores: false,
        concurrentRuns: 1,
        cancelsWithinBatch: false,
      },
      settings: settingsOf({ compute: options.compute, device: loaded.onGpu ? "gpu" : "cpu" }),
      bounds: boundsOf(options.compute),
      client,
      plan,
    });
  }
}

function isDeath(failure: unknown): boolean {
  const stage: unknown =
    typeof failure === "object" && failure !== null ? Reflect.get(failure, "stage") : undefined;
  return stage === "crash" || stage === "deadline" || stage === "limit";
}

function filledProblem({ rows, columns, inputIds, segmentIds, attentionMask }: Batch): string | undefined {
  const isFilled = [inputIds, segmentIds, attentionMask].every(({ length }) => length === rows * columns);
  return isFilled ? undefined : `an array that does not have ${rows} rows of ${columns} tokens`;
}

function targetProblem(
  { rows }: Batch,
  { loss, labels, groups = [], share }: TrainingTarget,
): string | undefined {
  if (labels.length !== rows) return `${labels.length} labels for ${rows} rows`;
  if (!labels.every((label) => Number.isFinite(label))) return "a label that is no finite number";
  if (!(share > 0 && share <= 1)) return `a share of ${share}`;
  if (loss === "binary")
    return labels.every((label) => label >= 0 && label <= 1) ? undefined : "a label that is not from 0 to 1";
  const members = groups.flat().sort((one, other) => one - other);
  const isWhole = members.length === rows && members.every((row, place) => row === place);
  return isWhole && groups.every(({ length }) => length >= 2)
    ? undefined
    : "groups that are not all rows, by two and more";
}
