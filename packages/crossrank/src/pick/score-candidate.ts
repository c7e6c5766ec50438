import { rm } from "node:fs/promises";
import type { ModelFile } from "@crossrank/core";
import {
  type EvaluateTaskOptions,
  type EvaluationHost,
  type EvaluationReport,
  type EvaluationSubject,
  evaluateTask,
  marginGate,
  ScoreIdentityError,
  type Scorer,
  type ScorerDescription,
  type SystemReport,
  type Task,
} from "@crossrank/eval";
import { targetOf } from "../evaluation/host.js";
import { environmentOf, versionsBehind } from "../evaluation/versions.js";
import { askOnce, openScoringProcess } from "../scoring-process.js";
import type { Candidate } from "./candidates.js";

/** The metric of the gate, and what the table shows. */
export const metric = "ndcg@10";

/** Codes of errors that are of the task, of the folder or of the caller, and no candidate's. */
const everybodys: readonly string[] = [
  "evaluation-setup",
  "score-store",
  "file-write",
  "task-data",
  "task-layout",
  "gate-rules",
];

export interface ScoringRun {
  readonly subject: EvaluationSubject;
  /** With its candidates; whoever opened it disposes of it. */
  readonly task: Task;
  readonly family: Awaited<ReturnType<EvaluationHost["familyOf"]>>;
  readonly maxLoss: number;
  readonly folder: string;
  /** The model's own. */
  readonly files: readonly ModelFile[];
  readonly seed: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: NonNullable<EvaluateTaskOptions["onProgress"]>;
  readonly onStep: (what: string) => void;
}

/** A candidate after scoring. */
export interface Scored {
  readonly candidate: Candidate;
  readonly description: ScorerDescription;
  /** Of an evaluation beside the reference. */
  readonly report: EvaluationReport;
  readonly system: SystemReport;
  /** Milliseconds of scoring a query; undefined where all of it was kept from an earlier run. */
  readonly millisecondsPerQuery: number | undefined;
  readonly memory: number | null;
  /** Of the artifact's files; undefined where they lie elsewhere. */
  readonly bytes: number | undefined;
}

/** A candidate had no more time: what it scored is kept. */
export class OutOfTimeError extends Error {}

/**
 * Converts where that is needed, scores what is not scored yet, and holds it against the reference, by eval's own rules.
 *
 * @param reference scored before; undefined for the reference itself.
 * @param share milliseconds that it may take.
 * @throws {OutOfTimeError}, what is wrong with the candidate, and the signal's reason.
 */
export async function scoreCandidate(
  run: ScoringRun,
  candidate: Candidate,
  options: {
    readonly reference: Scored | undefined;
    readonly limit: number | undefined;
    readonly share: number;
  },
): Promise<Scored> {
  const { reference, limit, share } = options;
  const ending = new AbortController();
  const timer = setTimeout(
    () => ending.abort(new OutOfTimeError("out of time")),
    Math.min(share, 2 ** 31 - 1),
  );
  const signal = run.signal === undefined ? ending.signal : AbortSignal.any([run.signal, ending.signal]);
  let scored = { completed: 0, total: 0 };
  const watched: ScoringRun = {
    ...run,
    signal,
    onProgress: (progress) => {
      if (progress.phase === "scoring" || progress.phase === "embedding") scored = progress;
      run.onProgress(progress);
    },
  };
  try {
    let { files } = run;
    if (candidate.converts) {
      run.onStep(`converting to ${candidate.name}`);
      const target = await targetOf(run.subject, candidate.name);
      files = await askOnce<readonly ModelFile[]>({ ask: "convert", target }, signal);
    }
    const attempt = (): Promise<Scored> => evaluate({ ...watched, files }, candidate, reference, limit);
    return await attempt().catch(async (error: unknown) => {
      if (!ScoreIdentityError.isInstance(error)) throw error;
      // Of another version of a package, or of the model: those numbers are nobody's any more.
      await rm(error.path, { force: true });
      return attempt();
    });
  } catch (error) {
    run.signal?.throwIfAborted();
    if (!ending.signal.aborted) throw error;
    const seconds = Math.round(share / 1000);
    const done =
      scored.total === 0 ? "nothing was scored" : `${scored.completed} of ${scored.total} pairs were scored`;
    throw new OutOfTimeError(
      `${done} in its share of ${seconds} s. Give it more time (--time): the same call goes on from there`,
    );
  } finally {
    clearTimeout(timer);
  }
}

/** Whether an error says that no other candidate would do better. */
export function isEverybodys(error: unknown): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  return typeof code === "string" && everybodys.includes(code);
}

async function evaluate(
  run: ScoringRun,
  candidate: Candidate,
  reference: Scored | undefined,
  limit: number | undefined,
): Promise<Scored> {
  const { subject, task, family, maxLoss, folder, files, seed, signal, onProgress, onStep } = run;
  let description: ScorerDescription | undefined;
  let memory: number | null = null;
  let resumed = 0;
  const started = performance.now();
  let opened = started;
  const host: EvaluationHost = {
    // Opened once for all candidates.
    openTask: async () => ({ ...task, [Symbol.asyncDispose]: async () => undefined }),
    familyOf: async () => family,
    environment: (names) => environmentOf(names.map((name) => backendOf(name, candidate, reference))),
    systemOf: (_subject, name) => ({
      name,
      packages: versionsBehind(backendOf(name, candidate, reference)),
      open: async ({ signal: ending }) => {
        const open = async (): Promise<Scorer> =>
          openScoringProcess(await targetOf(subject, name), { signal: ending });
        if (name !== candidate.name && reference !== undefined) return onDemand(reference.description, open);
        const scorer = await open();
        description = scorer.description;
        opened = performance.now();
        return {
          ...scorer,
          memory: async () => {
            const found = await scorer.memory();
            memory = found?.peakBytes ?? null;
            return found;
          },
        };
      },
    }),
  };
  let scoringEnded = opened;
  const report = await evaluateTask(host, {
    model: subject.model,
    task: { ...subject.task, limit },
    backends: [...(reference === undefined ? [] : [reference.candidate.name]), candidate.name],
    metrics: [metric],
    gates: reference === undefined ? undefined : marginGate(maxLoss),
    seed,
    folder,
    writesReport: false,
    signal,
    onStep,
    onProgress: (progress) => {
      if (progress.system === candidate.name && progress.phase !== "measuring") {
        resumed = progress.resumed;
        scoringEnded = performance.now();
      }
      onProgress(progress);
    },
  });
  const system = report.systems.find(({ name }) => name === candidate.name);
  if (system === undefined || description === undefined)
    throw new TypeError(`${candidate.name} is not in its own report`);
  const { queries } = report.task.counts;
  return {
    candidate,
    description,
    report,
    system,
    millisecondsPerQuery: resumed > 0 || queries === 0 ? undefined : (scoringEnded - opened) / queries,
    memory,
    bytes: bytesOf(description, files),
  };
}

function backendOf(name: string, candidate: Candidate, reference: Scored | undefined): string {
  return name === candidate.name ? candidate.backend : (reference?.candidate.backend ?? name);
}

/** A scorer of what is scored already: the model is loaded where something is missing all the same. */
export function onDemand(description: ScorerDescription, open: () => Promise<Scorer>): Scorer {
  let opening: Promise<Scorer> | undefined;
  const opened = (): Promise<Scorer> => {
    opening ??= open();
    return opening;
  };
  return {
    description,
    score: async (pairs, options) => (await opened()).score(pairs, options),
    embed: async (texts, options) => (await opened()).embed(texts, options),
    memory: async () => undefined,
    close: async () => (await opening)?.close(),
  };
}

/** Bytes of the artifact's files; undefined where one of them is not among the model's. */
function bytesOf({ system }: ScorerDescription, files: readonly ModelFile[]): number | undefined {
  const sizes = system.artifact.files.map(({ path }) => files.find((file) => file.path === path)?.size);
  if (sizes.length === 0) return undefined;
  return sizes.reduce(
    (sum: number | undefined, size) => (sum === undefined || size === undefined ? undefined : sum + size),
    0,
  );
}
