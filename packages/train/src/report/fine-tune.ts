import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ModelFiles } from "@crossrank/core";
import { writeWholeFile } from "@crossrank/disk";
import { type HeldOutSet, measureOf } from "../data/held-out.js";
import { TrainingSetupError } from "../errors.js";
import type {
  Engine,
  HeldOutDecision,
  ScorePairs,
  TrainingConfig,
  TrainingProgress,
  TrainingResult,
  TrainingSet,
} from "../types.js";
import { Curve, type CurvePoint, type HeldOutPoint } from "./curve.js";

export interface FineTuneProgress extends Partial<TrainingProgress> {
  readonly phase: "evaluating" | "training";
  readonly step: number;
  /** 0 before the engine has said it. */
  readonly steps: number;
  /** Undefined before enough is known. */
  readonly secondsLeft: number | undefined;
  /** Of the evaluation under way: pairs scored, of how many. */
  readonly pairs?: { readonly done: number; readonly total: number } | undefined;
  /** The last held-out value. */
  readonly heldOut?: HeldOutPoint | undefined;
}

export interface FineTuneOptions {
  readonly engine: Engine;
  readonly config: TrainingConfig;
  readonly model: ModelFiles;
  readonly examples: TrainingSet;
  readonly validation: HeldOutSet;
  /** Everything that a training keeps: the engine's, the curve, the base's values. */
  readonly folder: string;
  readonly resume: boolean;
  /** Which weights count at the end. `best` (default): those of the best evaluation. `last`: the last step's. */
  readonly keep?: "best" | "last" | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: FineTuneProgress) => void) | undefined;
}

export interface FineTuneOutcome {
  readonly result: TrainingResult;
  readonly curve: readonly CurvePoint[];
}

/**
 * Trains with an engine, measures the held-out queries on the way, and stops when they get no better. The same folder
 * with `resume` goes on where a stopped or killed training was.
 *
 * @throws what the engine throws; the signal's reason after an abort, with the last checkpoint kept.
 */
export async function fineTune(options: FineTuneOptions): Promise<FineTuneOutcome> {
  const { engine, config, folder, resume, validation, keep = "best", signal, onProgress } = options;
  await mkdir(folder, { recursive: true });
  const startFile = join(folder, "start.json");
  let start: ReadonlyMap<string, number> | undefined;
  let curve = undefined as Curve | undefined;
  const clock = new Clock();
  let now: FineTuneProgress = { phase: "training", step: 0, steps: 0, secondsLeft: undefined };
  const show = (next: Partial<FineTuneProgress>): void => {
    now = { ...now, ...next };
    onProgress?.(now);
  };

  const heldOut = async (step: number, score: ScorePairs): Promise<HeldOutDecision> => {
    const began = performance.now();
    show({ phase: "evaluating", step, pairs: { done: 0, total: validation.pairs } });
    const values = await validation.measure(score, {
      signal,
      onProgress: (done) => show({ phase: "evaluating", step, pairs: { done, total: validation.pairs } }),
    });
    clock.evaluated(performance.now() - began);
    const kept = curve as Curve;
    if (step === 0) {
      start = values;
      await writeWholeFile(startFile, JSON.stringify([...values]));
    }
    start ??= await readStart(startFile, values);
    const { interval, change } = measureOf(values, step === 0 ? undefined : start);
    const before = kept.evaluations.filter((point) => point.step < step);
    const best = before.every(({ mean }) => interval.mean > mean);
    const { mean, lower, upper } = interval;
    const point: HeldOutPoint = {
      ...{ kind: "held-out", step, mean, lower, upper, queries: values.size, best },
      change: change === undefined ? null : { mean: change.mean, lowerBound: change.lowerBound },
    };
    await kept.add(point);
    show({ phase: "training", step, heldOut: point, pairs: undefined });
    const stop = config.patience > 0 && evaluationsSinceBest([...before, point]) >= config.patience;
    return { best: keep === "last" || best, stop };
  };

  const result = await engine.train({
    config,
    model: options.model,
    examples: options.examples,
    folder,
    resume,
    signal,
    heldOut,
    onStart: async (stepsDone) => {
      curve = await Curve.open(folder, stepsDone);
    },
    onProgress: (progress) => {
      const { step, epoch, loss, learningRate, gradientNorm } = progress;
      if (!Number.isFinite(loss)) return;
      void (curve as Curve).add({ kind: "loss", step, epoch, loss, learningRate, gradientNorm });
      const evaluations = config.evaluateEvery ?? Math.ceil(progress.steps / Math.max(1, config.epochs));
      show({ ...progress, phase: "training", secondsLeft: clock.left(progress, evaluations) });
    },
  });
  await curve?.written();
  return { result, curve: curve?.points ?? [] };
}

function evaluationsSinceBest(points: readonly HeldOutPoint[]): number {
  const last = points.findLastIndex(({ best }) => best);
  return points.length - 1 - last;
}

/** Of the base model, from the process that began. */
async function readStart(
  path: string,
  values: ReadonlyMap<string, number>,
): Promise<ReadonlyMap<string, number>> {
  let start: ReadonlyMap<string, number>;
  try {
    start = new Map(JSON.parse(await readFile(path, "utf8")) as [string, number][]);
  } catch (cause) {
    throw new TrainingSetupError(
      { subject: path, problem: "cannot be read", fix: "Start the training anew, in another folder." },
      { cause },
    );
  }
  if (start.size === values.size && [...values.keys()].every((query) => start.has(query))) return start;
  throw new TrainingSetupError({
    subject: path,
    problem: "holds the values of other held-out queries",
    fix: "Give the same data, held-out task and seed as before, or start anew in another folder.",
  });
}

/** How long a step and an evaluation take, by those of this process. */
class Clock {
  #evaluation: number | undefined;
  #before: number | undefined;

  evaluated(milliseconds: number): void {
    this.#evaluation = milliseconds;
  }

  /** Seconds. */
  left({ step, steps, trainingMs }: TrainingProgress, evaluateEvery: number): number {
    this.#before ??= step - 1;
    const done = Math.max(1, step - this.#before);
    const evaluations = Math.ceil((steps - step) / Math.max(1, evaluateEvery));
    const training = (trainingMs / done) * (steps - step);
    return (training + evaluations * (this.#evaluation ?? 0)) / 1000;
  }
}
