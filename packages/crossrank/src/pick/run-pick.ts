import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Release, tryExclude, writeWholeFile } from "@crossrank/disk";
import {
  type EvaluationProgress,
  type EvaluationSubject,
  limitQueries,
  type Task,
  withFirstStage,
} from "@crossrank/eval";
import { readEnvironment } from "@crossrank/hub";
import { loadBackends } from "../backends.js";
import { familyOf, openFiles, openTaskOf } from "../evaluation/host.js";
import { environmentOf } from "../evaluation/versions.js";
import type { SystemChoice } from "../evaluation-options.js";
import { CommandError, UsageError } from "../failure.js";
import type { Progress } from "../progress.js";
import { adviceOf } from "./advice.js";
import { type Candidate, findCandidates } from "./candidates.js";
import { type FirstStage, pickCascade } from "./pick-cascade.js";
import { reasonOf } from "./reasons.js";
import { choose, timesOf } from "./recommend.js";
import type { LeftOut, PickReport, PickSystem, PickTask } from "./report.js";
import { cheapFirst, referenceOrder, Schedule } from "./schedule.js";
import {
  isEverybodys,
  metric,
  OutOfTimeError,
  type Scored,
  type ScoringRun,
  scoreCandidate,
} from "./score-candidate.js";
import { type Timings, timeSystems } from "./time-systems.js";

export interface PickRun {
  readonly subject: EvaluationSubject;
  /** Accepted loss of nDCG@10, above 0 and below 1. */
  readonly maxLoss: number;
  /** Seconds. */
  readonly seconds: number;
  /** Default: all that works here. */
  readonly backends?: readonly SystemChoice[] | undefined;
  /** Default: the most exact that works here. */
  readonly reference?: SystemChoice | undefined;
  /** A small model to try before the recommended system. Default: none. */
  readonly cascade?: FirstStage | undefined;
  /** Of the scores. Default: one of its own in the cache. */
  readonly folder?: string | undefined;
  readonly seed: number;
  readonly progress: Progress;
  readonly onEvaluation: (progress: EvaluationProgress) => void;
  readonly signal: AbortSignal | undefined;
}

/** Part of the time that is kept for a cascade, where one is asked for. */
const cascadeShare = 0.25;

/** Queries that tell how fast the reference is, before it is settled how many there is time for. */
const probedQueries = 8;

/**
 * Scores every runtime and precision that works here, drops what does not keep the quality, times the rest in turn, and
 * recommends one. See {@link PickReport}.
 *
 * @throws {CommandError} where nothing works here, or no reference could be scored; what opening model or task throws.
 */
export async function runPick(run: PickRun): Promise<PickReport> {
  const { subject, progress, signal, maxLoss, seed } = run;
  const schedule = new Schedule(run.seconds * (run.cascade === undefined ? 1 : 1 - cascadeShare));
  await loadBackends();
  const files = await openFiles(subject, signal);
  const family = await familyOf(subject, signal);
  if (run.cascade !== undefined && (family === "bi-encoder" || subject.task.retrieve === true)) {
    throw new UsageError(
      "--cascade goes before a model that scores pairs, and this one embeds each text once. Leave it out",
    );
  }
  const task = await openWhole(subject, family, progress, signal);
  const folder = resolve(run.folder ?? (await defaultFolder(subject, task)));
  let release: Release | undefined;
  try {
    const only = run.backends === undefined ? undefined : withOne(run.backends, run.reference);
    const { candidates, leftOut: unfit } = await findCandidates({
      files,
      family,
      only,
      convert: subject.model.convert !== false,
      signal,
      onStep: progress.step,
    });
    if (candidates.length === 0) throw new CommandError(nothingHere(files.id, unfit));
    await mkdir(folder, { recursive: true });
    release = await tryExclude(join(folder, "pick"));
    if (release === undefined)
      throw new CommandError(
        `another pick writes into ${folder}. Wait for it, or take another folder (--report)`,
      );
    const scoring: ScoringRun = {
      ...{ subject, task, family, maxLoss, folder, seed, signal },
      files: await files.list({ signal }),
      onProgress: run.onEvaluation,
      onStep: progress.step,
    };
    const picker = new Picker(run, scoring, schedule, [...unfit]);
    await picker.scoreAll(candidates);
    const timings = await picker.time();
    const model = { id: files.id, revision: files.revision ?? null, family };
    const results = picker.results(timings, taskReport(task, subject, picker.queries));
    const cascade = await picker.cascade(results.choice);
    return {
      specificationVersion: "1",
      created: new Date().toISOString(),
      model,
      ...results,
      advice: adviceOf({ model, ...results }),
      cascade,
      time: { limit: run.seconds, spent: schedule.spent },
      settings: {
        seed,
        threads: subject.model.threads ?? null,
        workers: subject.model.workers ?? null,
        maxLength: subject.model.maxLength ?? null,
      },
      environment: environmentOf([...new Set(candidates.map(({ backend }) => backend))]),
      folder,
    };
  } finally {
    await release?.();
    await task[Symbol.asyncDispose]();
  }
}

class Picker {
  readonly #run: PickRun;
  readonly #scoring: ScoringRun;
  readonly #schedule: Schedule;
  readonly #leftOut: LeftOut[];
  readonly #scored: Scored[] = [];
  #limit: number | undefined;

  constructor(run: PickRun, scoring: ScoringRun, schedule: Schedule, leftOut: LeftOut[]) {
    this.#run = run;
    this.#scoring = scoring;
    this.#schedule = schedule;
    this.#leftOut = leftOut;
  }

  /** Queries that were scored. */
  get queries(): number {
    return this.#scored[0]?.report.task.counts.queries ?? 0;
  }

  /** The reference, then the others, the cheap ones first. What goes wrong with one is a reason in the table. */
  async scoreAll(candidates: readonly Candidate[]): Promise<void> {
    const asked = this.#run.reference;
    const isAsked = ({ name, backend, dtype }: Candidate): boolean =>
      name === asked?.label || (backend === asked?.name && dtype === asked.dtype);
    const order = referenceOrder(candidates).filter((one) => asked === undefined || isAsked(one));
    const tried = new Set<Candidate>();
    for (const candidate of order) {
      tried.add(candidate);
      // It is what everything else is held against: it may take half of the time.
      const share = this.#schedule.shareOf(Math.min(2, candidates.length));
      const scored = await this.#try(candidate, () =>
        this.#scoreReference(candidate, candidates.length, share),
      );
      if (scored !== undefined) break;
    }
    const [reference] = this.#scored;
    if (reference === undefined) {
      const reasons = this.#leftOut.filter(({ name }) => order.some((one) => one.name === name));
      const told = reasons.map(({ name, detail }) => `${name}: ${detail}`).join("; ");
      throw new CommandError(
        asked === undefined || order.length > 0
          ? `nothing could be scored that the others could be held against. ${told}`
          : `the reference ${asked.label} is none of what works here: ${candidates.map(({ name }) => name).join(", ")}`,
      );
    }
    const others = cheapFirst(candidates.filter((one) => !tried.has(one)));
    for (const [index, candidate] of others.entries()) {
      const share = this.#schedule.shareOf(others.length - index);
      await this.#try(candidate, () => this.#scoreOne(candidate, reference, share));
    }
  }

  /** Undefined where it failed; the reason is in the table. */
  async #try(candidate: Candidate, score: () => Promise<Scored>): Promise<Scored | undefined> {
    const { signal } = this.#scoring;
    signal?.throwIfAborted();
    try {
      const scored = await score();
      this.#scored.push(scored);
      return scored;
    } catch (error) {
      signal?.throwIfAborted();
      if (isEverybodys(error)) throw error;
      this.#leave(candidate.name, error);
      return undefined;
    }
  }

  #leave(name: string, error: unknown): void {
    const reason =
      error instanceof OutOfTimeError
        ? { reason: "out-of-time" as const, detail: error.message, value: null }
        : reasonOf(error);
    this.#leftOut.push({ name, ...reason });
  }

  #scoreOne(candidate: Candidate, reference: Scored | undefined, share: number): Promise<Scored> {
    return scoreCandidate(this.#scoring, candidate, { reference, limit: this.#limit, share });
  }

  /** First a few queries, whose time tells how many there is time for; those are not scored again. */
  async #scoreReference(candidate: Candidate, count: number, share: number): Promise<Scored> {
    const { task, family, subject, folder } = this.#scoring;
    const asked = subject.task.limit;
    const all = Math.min(asked ?? Number.POSITIVE_INFINITY, task.queries.size);
    this.#limit = asked;
    // A bi-encoder's texts are embedded once, whatever the number of queries.
    if (family === "bi-encoder" || all <= probedQueries) return this.#scoreOne(candidate, undefined, share);
    const path = join(folder, "pace.json");
    const started = performance.now();
    let pace = await readPace(path, candidate.name);
    if (pace === undefined) {
      this.#limit = probedQueries;
      const probe = await this.#scoreOne(candidate, undefined, share);
      pace = probe.millisecondsPerQuery ?? probe.system.speed?.perQuery?.p50 ?? 0;
      await writeWholeFile(path, `${JSON.stringify({ system: candidate.name, pace })}\n`);
    }
    const queries = this.#schedule.queriesFor(count, pace, all);
    this.#limit = queries < task.queries.size ? queries : undefined;
    return this.#scoreOne(candidate, undefined, Math.max(1, share - (performance.now() - started)));
  }

  /** In turn, those that passed. */
  async time(): Promise<Timings | undefined> {
    const { subject, task, folder, signal, seed } = this.#scoring;
    const passed = this.#scored.filter(({ system }) => system.passed !== false);
    const paces = this.#scored.flatMap(({ system }) =>
      system.speed === null || system.speed.documents === 0 ? [] : [1000 / system.speed.documentsPerSecond],
    );
    const timings = await timeSystems({
      ...{ subject, task, seed, signal },
      systems: passed.map(({ candidate, description, memory }) => ({
        name: candidate.name,
        description,
        memory,
      })),
      limit: this.#limit,
      available: this.#schedule.forTiming(),
      millisecondsPerPair: paces.length === 0 ? undefined : Math.max(...paces),
      path: join(folder, "rounds.json"),
      onStep: this.#run.progress.step,
    });
    for (const [name, error] of timings.failed) this.#leave(name, error);
    return timings;
  }

  /** A small model before what is recommended; null where none is asked for. */
  async cascade(choice: PickReport["choice"]): Promise<PickReport["cascade"]> {
    const { cascade: first, progress, seconds } = this.#run;
    const large = this.#scored.find(({ candidate }) => candidate.name === choice?.recommended);
    const [reference] = this.#scored;
    if (first === undefined || large === undefined || reference === undefined) return null;
    const share = 1000 * (seconds - this.#schedule.spent);
    return pickCascade({
      ...{ scoring: this.#scoring, first, large, reference, limit: this.#limit, progress },
      share,
    });
  }

  results(
    timings: Timings | undefined,
    task: PickTask,
  ): Pick<PickReport, "reference" | "systems" | "leftOut" | "choice" | "timing" | "task" | "maxLoss"> {
    const { maxLoss, seed } = this.#run;
    const reference = this.#scored[0]?.candidate.name ?? "";
    const times = timesOf(timings?.systems ?? [], seed);
    const systems = this.#scored.map((scored): PickSystem => {
      const { candidate, system, description, bytes, memory } = scored;
      const isReference = candidate.name === reference;
      const [gate] = system.gates;
      const [measured] = system.metrics;
      const change = measured?.change ?? null;
      const { artifact, backend, settings } = description.system;
      return {
        name: candidate.name,
        runtime: backend.runtime,
        settings,
        artifact: {
          format: artifact.format,
          dtype: artifact.dtype,
          bytes: bytes ?? null,
          sha256: artifact.files[0]?.sha256 ?? null,
          converted: candidate.converts,
        },
        precision: description.system.precision ?? candidate.precision,
        ndcg: measured?.expected ?? null,
        change: isReference || change === null ? null : { mean: change.mean, lowerBound: change.lowerBound },
        distance: isReference ? 0 : (system.scores?.delta?.mean ?? null),
        gate: isReference
          ? { passed: true, sentence: "It is what the others are held against." }
          : { passed: gate?.passed ?? false, sentence: gate?.sentence ?? `There is no ${metric} to judge.` },
        memory,
        time: times.get(candidate.name) ?? null,
      };
    });
    const failed = systems
      .filter(({ gate }) => !gate.passed)
      .map(
        ({ name, gate, change }): LeftOut => ({
          name,
          reason: "gate",
          detail: gate.sentence,
          value: change?.lowerBound ?? null,
        }),
      );
    return {
      ...{ reference, systems, task, maxLoss },
      leftOut: [...failed, ...this.#leftOut],
      choice: choose(systems, reference),
      timing:
        timings === undefined || timings.rounds === 0
          ? null
          : {
              rounds: timings.rounds,
              pairs: timings.pairs,
              loadedAtOnce: timings.loadedAtOnce,
              startedAt: timings.startedAt,
              load: timings.load,
            },
    };
  }
}

/** The task with candidates, found once for all systems; a bi-encoder searches where there are none. */
async function openWhole(
  subject: EvaluationSubject,
  family: string,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<Task> {
  const task = await openTaskOf(subject, progress, signal);
  const { retrieve, depth, excludeIdenticalIds } = subject.task;
  if (task.candidates !== undefined || retrieve === true || family === "bi-encoder") return task;
  try {
    progress.step(`searching ${task.id} with BM25`);
    return await withFirstStage(task, { depth, excludeIdenticalIds, signal });
  } catch (error) {
    await task[Symbol.asyncDispose]();
    throw error;
  }
}

function taskReport(whole: Task, { task: { limit } }: EvaluationSubject, queries: number): PickTask {
  const task = limitQueries(whole, Math.max(1, Math.min(limit ?? queries, queries)));
  const lists = [...(task.candidates?.queries.values() ?? [])];
  return {
    id: whole.id,
    sha256: hashOf(whole),
    queries,
    allQueries: whole.queries.size,
    pairs:
      whole.candidates === undefined
        ? queries * whole.documents.size
        : lists.reduce((sum, { documents }) => sum + documents.length, 0),
    candidates: whole.candidates?.origin ?? null,
  };
}

function hashOf({ provenance, candidates }: Task): string {
  const files = provenance.files.map(({ role, sha256 }) => [role, sha256]);
  return createHash("sha256")
    .update(JSON.stringify([files, candidates?.sha256 ?? null]))
    .digest("hex");
}

/** One a model, task and setting: the same call goes on where it was. */
async function defaultFolder({ model, task }: EvaluationSubject, opened: Task): Promise<string> {
  const { cacheFolder } = await readEnvironment();
  // Whether the number of queries is limited changes no score.
  const { limit: _limit, ...settings } = task;
  const place = (source: string): string => (/^\.{0,2}[\\/]/.test(source) ? resolve(source) : source);
  const whole = [
    { ...model, model: place(model.model) },
    { ...settings, task: place(task.task) },
    hashOf(opened),
  ];
  const key = createHash("sha256").update(JSON.stringify(whole)).digest("hex").slice(0, 32);
  return join(cacheFolder, "..", "crossrank", "picks", key);
}

async function readPace(path: string, system: string): Promise<number | undefined> {
  try {
    const kept = JSON.parse(await readFile(path, "utf8")) as {
      readonly system?: unknown;
      readonly pace?: unknown;
    };
    return kept.system === system && typeof kept.pace === "number" && kept.pace > 0 ? kept.pace : undefined;
  } catch {
    return undefined;
  }
}

function withOne(
  backends: readonly SystemChoice[],
  reference: SystemChoice | undefined,
): readonly SystemChoice[] {
  return reference === undefined ? backends : [...backends, reference];
}

function nothingHere(model: string, leftOut: readonly LeftOut[]): string {
  const told = leftOut.map(({ name, detail }) => `${name}: ${detail.replace(/\.$/, "")}`).join("; ");
  return `nothing runs ${model} here. ${told}`;
}
