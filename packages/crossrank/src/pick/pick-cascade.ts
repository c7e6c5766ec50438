import {
  type CascadeEntry,
  type CascadeReport,
  cascadeHeadline,
  type EvaluationSubject,
  runCascadeSweep,
  type SystemSource,
} from "@crossrank/eval";
import { defaultSystem, stageSubject, systemOf } from "../evaluation/host.js";
import { timeCascade } from "../evaluation/time-cascade.js";
import { environmentOf } from "../evaluation/versions.js";
import { nameOfModel } from "../model-name.js";
import type { Progress } from "../progress.js";
import type { PickCascade } from "./report.js";
import {
  isEverybodys,
  metric,
  OutOfTimeError,
  onDemand,
  type Scored,
  type ScoringRun,
} from "./score-candidate.js";

/** A small model that pick tries before what it recommends. */
export type FirstStage = Omit<CascadeEntry, "keep" | "name" | "large">;

export interface PickCascadeRun {
  readonly scoring: ScoringRun;
  readonly first: FirstStage;
  /** What it stands before, and what all is held against. Both are scored. */
  readonly large: Scored;
  readonly reference: Scored;
  /** Queries that were scored; undefined for all. */
  readonly limit: number | undefined;
  /** Milliseconds that it may take. */
  readonly share: number;
  readonly progress: Progress;
}

/**
 * Scores the small model on the task, finds the smallest `keep` whose cascade keeps the quality against the reference,
 * with every larger one, and times whole calls of it in turns with the large model alone. Scores of the others are those
 * that were kept.
 *
 * @throws what is everybody's, and the signal's reason; what is wrong with the small model is a reason in the result.
 */
export async function pickCascade(run: PickCascadeRun): Promise<PickCascade> {
  const { scoring, first, large, share } = run;
  const ending = new AbortController();
  const timer = setTimeout(
    () => ending.abort(new OutOfTimeError("out of time")),
    Math.max(1, Math.min(share, 2 ** 31 - 1)),
  );
  const signal =
    scoring.signal === undefined ? ending.signal : AbortSignal.any([scoring.signal, ending.signal]);
  const base = { small: nameOfModel(first.model), large: large.candidate.name };
  try {
    const small = stageSubject(scoring.subject, first);
    const backend = first.backend ?? (await defaultSystem(small, signal));
    const name = `${base.small} on ${backend}`;
    const report = await sweep(run, { small, backend, name, signal });
    return found({ small: name, backend, large: base.large }, report);
  } catch (error) {
    scoring.signal?.throwIfAborted();
    if (isEverybodys(error)) throw error;
    const reason = ending.signal.aborted
      ? `it was out of time after ${Math.round(share / 1000)} s. Give it more (--time): the same call goes on from there`
      : error instanceof Error
        ? error.message
        : String(error);
    return { ...base, backend: first.backend ?? null, ...nothing, reason: `It was not measured: ${reason}` };
  } finally {
    clearTimeout(timer);
  }
}

const nothing = { keep: null, ndcg: null, change: null, time: null, recommended: false } as const;

function sweep(
  { scoring, large, reference, limit, progress }: PickCascadeRun,
  stage: {
    readonly small: EvaluationSubject;
    readonly backend: string;
    readonly name: string;
    readonly signal: AbortSignal;
  },
): Promise<CascadeReport> {
  const { subject, task, folder, seed, maxLoss, onProgress, onStep } = scoring;
  const { small, backend, name, signal } = stage;
  const kept = ({ candidate, description }: Scored): SystemSource => {
    const source = systemOf(subject, candidate.name, progress);
    return { ...source, open: async (options) => onDemand(description, () => source.open(options)) };
  };
  return runCascadeSweep({
    ...{ task, folder, limit, seed, signal, onProgress, metric },
    margin: maxLoss,
    small: { ...systemOf(small, backend, progress), name },
    large: kept(large),
    reference: reference === large ? undefined : kept(reference),
    environment: environmentOf([]),
    measure: (lists, keeps) =>
      timeCascade({
        ...{ subject, backend: large.candidate.name, small, smallBackend: backend },
        ...{ lists, keeps, signal, onStep },
      }),
  });
}

/** It is recommended where it keeps the quality, and the interval of its speed lies above that of the large model. */
export function found(
  names: Pick<PickCascade, "small" | "large" | "backend">,
  report: CascadeReport,
): PickCascade {
  const { rows, smallestSafe, timings } = report;
  const longest = rows.at(-1)?.keep;
  const row = rows.find(({ keep }) => keep === smallestSafe);
  if (row === undefined || !row.passed || smallestSafe === longest)
    return { ...names, ...nothing, reason: cascadeHeadline(report) };
  const time = timings.find(({ keep }) => keep === smallestSafe) ?? null;
  const isFaster = time !== null && time.wall.lower > 1;
  return {
    ...names,
    keep: smallestSafe,
    ndcg: row.value,
    change: { mean: row.change.mean, lowerBound: row.lowerBound },
    time,
    recommended: isFaster,
    reason: isFaster
      ? `keep ${smallestSafe} is the smallest that keeps the quality, with every larger one, and it is faster than ${names.large} alone.`
      : time === null
        ? `keep ${smallestSafe} keeps the quality, and was not timed.`
        : `keep ${smallestSafe} keeps the quality, and is not faster than ${names.large} alone beyond what noise can make.`,
  };
}
