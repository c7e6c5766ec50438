import { cpus } from "node:os";
import { join } from "node:path";
import {
  type DropoutChances,
  describeTraining,
  MlxTrainingError,
  openTraining,
  type TrainingOptions,
  type TrainingPlan,
  type TrainingSession,
  UntrainableError,
} from "@crossrank/backend-mlx/training";
import { createReranker, type ModelProfile, type Reranker, readProfile } from "@crossrank/core";
import { writeAdapter } from "../adapters/write-adapter.js";
import { writeMerged } from "../adapters/write-merged.js";
import { Checkpoint, type TrainingState } from "../checkpoint/checkpoint.js";
import { TrainingCheckpointError, TrainingFailedError, TrainingSetupError } from "../errors.js";
import { ExampleEncoder } from "../loop/encode.js";
import { countSteps, type MicroBatch, stepsOfEpoch } from "../loop/order.js";
import { learningRateAt } from "../loop/schedule.js";
import { targetOf } from "../losses/target.js";
import {
  type Engine,
  type EngineFacts,
  isListwise,
  needsTeacher,
  type ScorePairs,
  type TrainingConfig,
  type TrainingExample,
  type TrainingLoss,
  type TrainingRequest,
  type TrainingResult,
} from "../types.js";

/** How the engine runs. Nothing here changes what is computed, save the last bits. */
export interface MlxEngineOptions {
  /** Where MLX runs: in a process of its own (the default), or in this one. */
  readonly isolation?: "process" | "thread" | undefined;
  /** Of OpenBLAS, where there is no GPU. With 1 every run of the same training is the same to the last bit. */
  readonly threads?: number | undefined;
  /** Milliseconds that one batch may take. Default: an hour. */
  readonly patience?: number | undefined;
  /** Bits of matrices that `qlora` does not train. Default: 4. */
  readonly bits?: 8 | 4 | undefined;
}

type Described = Omit<TrainingRequest, "folder" | "resume">;

/** Examples whose texts are read and tokenised at once to know their lengths. */
const readAtOnce = 256;

/** @param onGpu whether MLX computes on a GPU here. */
export function createMlxEngine(options: MlxEngineOptions = {}, onGpu = false): Engine {
  const given = { ...options, onGpu };
  return {
    name: "mlx",
    check: (request) => check(request, given),
    train: (request) => train(request, given),
  };
}

interface Given extends MlxEngineOptions {
  readonly onGpu: boolean;
}

async function check(request: Described, options: Given): Promise<EngineFacts> {
  const setup = await prepare(request, options);
  const { config, examples } = request;
  const plan = await described(setup.training);
  await ExampleEncoder.open(request.model, setup, mostTokens(config, setup, plan.longest));
  return {
    family: plan.architecture,
    loss: setup.loss,
    parameters: plan.modelParameters,
    trainedParameters: countNumbers(plan.parameters),
    steps: stepsOf(config, examples.size),
    device: deviceName(setup.onGpu),
  };
}

interface Setup {
  readonly profile: ModelProfile;
  readonly tokenizerJson: unknown;
  readonly loss: TrainingLoss;
  readonly training: TrainingOptions;
  readonly onGpu: boolean;
}

async function prepare(request: Described, options: Given): Promise<Setup> {
  const { config, model, examples, signal } = request;
  signal?.throwIfAborted();
  if (examples.size === 0)
    throw new TrainingSetupError({
      subject: "The training data",
      problem: "has no examples",
      fix: "Give some, with relevant and irrelevant documents",
    });
  const { onGpu } = options;
  if (config.dtype === "bfloat16" && !onGpu)
    throw new TrainingSetupError({
      subject: "The option dtype",
      problem: "is bfloat16, which this machine's processor only computes slower",
      fix: "Take float32",
    });
  const { profile, tokenizerJson } = await readProfile(model, undefined, signal);
  const loss = config.loss ?? (profile.family === "causal-lm" ? "yes-no" : "bce");
  if ((loss === "yes-no") !== (profile.family === "causal-lm") && !isListwise(loss))
    throw new TrainingSetupError({
      subject: "The loss",
      problem: `is ${loss}, and ${model.id} is a ${profile.family}`,
      fix: "Take bce for cross-encoders and yes-no for decoders, or a listwise loss",
    });
  const training: TrainingOptions = {
    model,
    profile,
    method: config.method === "full" ? "full" : "lora",
    bits: config.method === "qlora" ? (options.bits ?? 4) : undefined,
    rank: config.loraRank,
    alpha: config.loraAlpha,
    targets: config.targets,
    dropout: config.dropout,
    lowRankDropout: config.method === "full" ? 0 : config.loraDropout,
    seed: config.seed,
    compute: config.dtype,
    decay: config.weightDecay,
    checkpointing: config.gradientCheckpointing,
    isolation: options.isolation,
    threads: options.threads,
    deadlines: { run: options.patience ?? 3_600_000, load: 3_600_000 },
    signal,
  };
  return { profile, tokenizerJson, loss, training, onGpu };
}

async function described(training: TrainingOptions): Promise<TrainingPlan> {
  try {
    return await describeTraining(training);
  } catch (error) {
    throw setupError(error);
  }
}

function setupError(error: unknown): unknown {
  if (!UntrainableError.isInstance(error)) return error;
  const [problem = error.message, ...rest] = error.message.slice(error.model.length + 1).split(". ");
  const fix = rest.join(". ").replace(/\.$/, "") || "Take another model";
  return new TrainingSetupError({ subject: error.model, problem, fix }, { cause: error });
}

async function train(request: TrainingRequest, options: Given): Promise<TrainingResult> {
  const setup = await prepare(request, options);
  const session = await openTraining(setup.training).catch((error: unknown) => {
    throw setupError(error);
  });
  try {
    return await new Run(request, setup, session).train();
  } catch (error) {
    if (MlxTrainingError.isInstance(error)) {
      const [problem = error.message, ...rest] = error.message.split(". ");
      throw new TrainingFailedError(
        {
          reason: error.reason === "memory" ? "memory" : "runtime",
          problem,
          fix: rest.join(". ").replace(/\.$/, ""),
        },
        { cause: error },
      );
    }
    throw error;
  } finally {
    await session.dispose();
  }
}

class Run {
  readonly #request: TrainingRequest;
  readonly #setup: Setup;
  readonly #session: TrainingSession;
  readonly #steps: number;
  readonly #checkpoint: Checkpoint;
  #examplesDone = 0;
  #state: TrainingState = { step: 0, bestStep: -1, tokens: 0, trainingMs: 0, stopped: false };
  /** Of this process. */
  #own = { tokens: 0, trainingMs: 0 };

  constructor(request: TrainingRequest, setup: Setup, session: TrainingSession) {
    const { config, model, examples, folder } = request;
    this.#request = request;
    this.#setup = setup;
    this.#session = session;
    this.#steps = stepsOf(config, examples.size);
    const { checkpointEvery: _, patience: __, ...decisive } = config;
    this.#checkpoint = new Checkpoint(join(folder, "checkpoint"), session, {
      config: decisive,
      model: [model.id, model.revision ?? null],
      examples: [examples.size, examples.sha256],
      loss: setup.loss,
      bits: setup.training.bits ?? null,
    });
  }

  async train(): Promise<TrainingResult> {
    const { config, examples, resume, signal, onStart } = this.#request;
    if (resume) this.#state = (await this.#checkpoint.restore()) ?? this.#state;
    else if (await this.#checkpoint.exists())
      throw new TrainingCheckpointError({
        path: join(this.#request.folder, "checkpoint"),
        problem: "holds a checkpoint",
        fix: "Go on from it with resume, or name another folder",
      });
    else await this.#checkpoint.clear();
    await onStart?.(this.#state.step);
    const maxTokens = mostTokens(config, this.#setup, this.#session.longest);
    const encoder = await ExampleEncoder.open(this.#request.model, this.#setup, maxTokens);
    const lengths = await this.#measure(encoder);
    const reranker = await createReranker({
      model: this.#request.model,
      backend: this.#session.backend,
      maxLength: maxTokens,
      probe: false,
      signal,
    });
    try {
      if (this.#state.step === 0) await this.#evaluate(0, reranker);
      const perEpoch = countSteps(examples.size, config);
      while (this.#state.step < this.#steps && !this.#state.stopped) {
        const epoch = Math.floor(this.#state.step / perEpoch);
        const steps = stepsOfEpoch(lengths, config, epoch);
        for (const batches of steps.slice(this.#state.step - epoch * perEpoch)) {
          if (this.#state.step >= this.#steps || this.#state.stopped) break;
          await this.#step(batches, encoder, perEpoch);
          await this.#after(perEpoch, reranker);
        }
      }
      return await this.#finish();
    } finally {
      await reranker.dispose();
    }
  }

  /** Tokens of the longest sequence of each example. */
  async #measure(encoder: ExampleEncoder): Promise<Int32Array> {
    const { examples, config, signal } = this.#request;
    const { loss } = this.#setup;
    const lengths = new Int32Array(examples.size);
    for (let from = 0; from < examples.size; from += readAtOnce) {
      signal?.throwIfAborted();
      const places = Array.from({ length: Math.min(readAtOnce, examples.size - from) }, (_, at) => from + at);
      for (const [at, example] of (await examples.read(places, signal)).entries()) {
        requireFit(example, loss);
        lengths[from + at] = config.lengthBuckets
          ? Math.max(...encoder.encode(example).map(({ ids }) => ids.length))
          : 0;
      }
    }
    return lengths;
  }

  async #step(batches: readonly MicroBatch[], encoder: ExampleEncoder, perEpoch: number): Promise<void> {
    const { config, examples, signal, onProgress } = this.#request;
    const { step } = this.#state;
    const begin = performance.now();
    const total = batches.reduce((sum, { length }) => sum + length, 0);
    let [loss, tokens] = [0, 0];
    for (const [place, batch] of batches.entries()) {
      signal?.throwIfAborted();
      const read = await examples.read(batch, signal);
      const sequences = read.flatMap((example) => encoder.encode(example));
      const share = batch.length / total;
      const seed = [config.seed >>> 0, (step * config.accumulation + place) >>> 0] as const;
      const target = { ...targetOf(read, this.#setup.loss), share, seed };
      loss += share * (await this.#session.accumulate(encoder.batchOf(sequences), target));
      tokens += sequences.reduce((sum, { ids }) => sum + ids.length, 0);
    }
    signal?.throwIfAborted();
    const rate = learningRateAt(config, step, this.#steps);
    const gradientNorm = await this.#session.apply(rate, config.clip);
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm))
      throw new TrainingFailedError({
        reason: "diverged",
        problem: `at step ${step + 1} the loss is ${loss} and the gradient's norm ${gradientNorm}`,
        fix: "Take a lower learning rate, a longer warm-up, or a clip of 1",
      });
    const took = performance.now() - begin;
    this.#own = { tokens: this.#own.tokens + tokens, trainingMs: this.#own.trainingMs + took };
    this.#examplesDone += total;
    this.#state = {
      ...this.#state,
      step: step + 1,
      tokens: this.#state.tokens + tokens,
      trainingMs: this.#state.trainingMs + took,
    };
    onProgress?.({
      step: step + 1,
      steps: this.#steps,
      epoch: (step + 1) / perEpoch,
      loss,
      learningRate: rate,
      gradientNorm,
      tokens: this.#own.tokens,
      trainingMs: this.#own.trainingMs,
      examples: this.#examplesDone,
    });
  }

  /** Evaluates and keeps the state where it is time. */
  async #after(perEpoch: number, reranker: Reranker): Promise<void> {
    const { evaluateEvery = perEpoch, checkpointEvery } = this.#request.config;
    const { step } = this.#state;
    const isLast = step === this.#steps;
    const evaluates = isLast || step % evaluateEvery === 0;
    if (evaluates) await this.#evaluate(step, reranker);
    const keeps = checkpointEvery === undefined ? evaluates : step % checkpointEvery === 0;
    if (isLast || this.#state.stopped || keeps) await this.#checkpoint.write(this.#state);
  }

  async #evaluate(step: number, reranker: Reranker): Promise<void> {
    const { heldOut, signal } = this.#request;
    signal?.throwIfAborted();
    const score: ScorePairs = async (pairs, stop) => {
      const { scores } = await reranker.score(pairs, { signal: stop ?? signal });
      return Float64Array.from(scores, ({ logit }, place) => {
        if (logit !== null) return logit;
        throw new TrainingSetupError({
          subject: `The held-out query "${(pairs[place]?.query ?? "").slice(0, 60)}"`,
          problem: "fills the whole sequence and leaves no room for a document",
          fix: "Leave it out, or raise the most tokens of a pair",
        });
      });
    };
    const { best, stop } = (await heldOut?.(step, score)) ?? { best: true, stop: false };
    if (heldOut === undefined && step < this.#steps) return;
    if (best) {
      await this.#checkpoint.writeBest(step);
      this.#state = { ...this.#state, bestStep: step };
    }
    if (stop && step > 0) this.#state = { ...this.#state, stopped: true };
  }

  async #finish(): Promise<TrainingResult> {
    const { config, model, folder, signal } = this.#request;
    const { step, bestStep, tokens, trainingMs, stopped } = this.#state;
    const best = bestStep < 0 ? step : bestStep;
    const values = await (bestStep < 0
      ? Promise.resolve((place: number) => this.#session.read(place, "value"))
      : this.#checkpoint.readBest(bestStep));
    const { parameters, version, onGpu } = this.#session;
    const isFull = config.method === "full";
    const adapterFolder = join(folder, "adapter");
    if (!isFull)
      await writeAdapter(adapterFolder, parameters, values, {
        base: model.id,
        revision: model.revision,
        rank: config.loraRank,
        alpha: config.loraAlpha,
        dropout: config.loraDropout,
        task: this.#setup.profile.family === "causal-lm" ? "CAUSAL_LM" : "SEQ_CLS",
      });
    const mergedFolder = join(folder, "merged");
    await writeMerged(mergedFolder, model, parameters, values, { signal });
    return {
      steps: step,
      bestStep: best,
      stoppedEarly: stopped,
      tokens,
      trainingMs,
      adapterFolder: isFull ? undefined : adapterFolder,
      mergedFolder,
      engine: {
        name: "mlx",
        version,
        device: deviceName(onGpu),
        dtype: config.dtype,
        // What config.json says is nowhere else in a report.
        ...(config.dropout === "model" ? { dropout: sentenceOf(this.#session.dropout) } : {}),
      },
      trainedParameters: countNumbers(parameters),
    };
  }
}

function mostTokens({ maxTokens }: TrainingConfig, { profile }: Setup, longest: number): number {
  return Math.min(maxTokens ?? profile.maxLength, profile.maxLength, longest);
}

function requireFit({ query, documents }: TrainingExample, loss: TrainingLoss): void {
  const subject = `The example of the query "${query.slice(0, 60)}"`;
  if (isListwise(loss) && documents.length < 2)
    throw new TrainingSetupError({
      subject,
      problem: `has ${documents.length} documents, and the loss ${loss} compares several`,
      fix: "Give at least two, or take a pointwise loss",
    });
  if (
    needsTeacher(loss) &&
    documents.some(({ teacher }) => teacher === undefined || !Number.isFinite(teacher))
  )
    throw new TrainingSetupError({
      subject,
      problem: `has a document without a teacher's score, which the loss ${loss} needs`,
      fix: "Have a teacher score the examples, or take another loss",
    });
}

function stepsOf(config: TrainingConfig, examples: number): number {
  const steps = config.epochs * countSteps(examples, config);
  return Math.min(steps, config.maxSteps ?? steps);
}

function countNumbers(parameters: readonly { readonly shape: readonly number[] }[]): number {
  return parameters.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}

/** The places that drop something, e.g. `embeddings 0.1, shares 0.1`. */
function sentenceOf(dropout: DropoutChances): string {
  const places = Object.entries(dropout).filter(([, chance]) => chance > 0);
  return places.length === 0 ? "none" : places.map(([place, chance]) => `${place} ${chance}`).join(", ");
}

function deviceName(onGpu: boolean): string {
  const model = cpus()[0]?.model.trim() ?? "processor";
  return onGpu ? `GPU of ${model}` : `CPU (${model})`;
}
