import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { writeWholeFile } from "@crossrank/disk";
import {
  createRandom,
  type EvaluationSubject,
  quantile,
  type ScorerDescription,
  type Task,
} from "@crossrank/eval";
import type { Pair } from "../bench/texts.js";
import { targetOf } from "../evaluation/host.js";
import { openBenchProcess, type TurnProcess } from "../scoring-process.js";
import { fewestRounds, type RoundTimes } from "./recommend.js";

/** In each all systems have a turn, so that a busy minute is everybody's. */
const rounds = 10;

/** Pairs of a call: what a search hands on. */
const mostPairs = 20;
const fewestPairs = 4;

/** Calls of a turn together take about so many milliseconds: a clock that ticks every 10 ms tells them apart. */
const turnMilliseconds = 150;
const mostCalls = 50;

/** Part of the memory that is free which all models together may have. */
const memoryShare = 0.7;

export interface TimedSystem {
  readonly name: string;
  readonly description: ScorerDescription;
  /** Bytes at most; null where that is not known. */
  readonly memory: number | null;
}

export interface TimingRun {
  readonly subject: EvaluationSubject;
  readonly task: Task;
  readonly systems: readonly TimedSystem[];
  /** Queries that were scored. */
  readonly limit: number | undefined;
  /** Milliseconds that are left; {@link fewestRounds} rounds are run in any case. */
  readonly available: number;
  /** Milliseconds of a pair on the slowest of them, as scoring took them; undefined where that is not known. */
  readonly millisecondsPerPair: number | undefined;
  readonly seed: number;
  /** Where the rounds are kept. */
  readonly path: string;
  readonly signal: AbortSignal | undefined;
  readonly onStep: (what: string) => void;
}

export interface Timings {
  readonly systems: readonly RoundTimes[];
  readonly rounds: number;
  readonly pairs: number;
  readonly loadedAtOnce: boolean;
  readonly startedAt: string;
  readonly load: { readonly before: number; readonly after: number };
  /** Those that ended in the middle, by name. */
  readonly failed: ReadonlyMap<string, unknown>;
}

/** What the file of rounds holds: it is written anew after each round, as a whole. */
interface Kept {
  /** Of what the numbers depend on. */
  readonly key: string;
  readonly startedAt: string;
  readonly load: { readonly before: number; readonly after: number };
  /** One a round: name → wall-clock and processor time of a call. */
  readonly rounds: readonly Readonly<
    Record<string, { readonly wall: number; readonly processor: number | null }>
  >[];
}

/**
 * Times the systems in turn on the task's own texts. In a round each scores the same query's documents; who begins
 * changes from round to round. Rounds of a run that was stopped count, where nothing has changed since.
 */
export async function timeSystems(run: TimingRun): Promise<Timings> {
  const { systems, signal } = run;
  const pairs = pairsPerCall(run);
  const calls = await sampleCalls(run, pairs);
  const loadedAtOnce = fitsIntoMemory(systems);
  const failed = new Map<string, unknown>();
  let kept = await readKept(run, keyOf(run, calls));
  const ended = performance.now() + run.available;
  const opened = new Map<string, TurnProcess>();
  try {
    for (let round = kept.rounds.length; round < rounds; round += 1) {
      if (round >= fewestRounds && performance.now() >= ended) break;
      const { length } = systems;
      const order = systems.map((_, index) => systems[(index + round) % length] as TimedSystem);
      const times: Record<string, { wall: number; processor: number | null }> = {};
      for (const { name } of order) {
        signal?.throwIfAborted();
        if (failed.has(name)) continue;
        run.onStep(`timing ${name}, round ${round + 1} of ${rounds}`);
        try {
          const isCold = !opened.has(name);
          const process =
            opened.get(name) ?? (await openBenchProcess(await targetOf(run.subject, name), { signal }));
          opened.set(name, process);
          times[name] = await takeTurn(process, calls[round % calls.length] ?? [], isCold);
        } catch (error) {
          signal?.throwIfAborted();
          failed.set(name, error);
        }
        const process = opened.get(name);
        if (process !== undefined && (!loadedAtOnce || failed.has(name))) {
          opened.delete(name);
          await process.close();
        }
      }
      if (Object.keys(times).length === 0) break;
      const load = { before: kept.load.before, after: loadOfLastMinute() };
      kept = { ...kept, load, rounds: [...kept.rounds, times] };
      await writeWholeFile(run.path, `${JSON.stringify(kept)}\n`);
    }
  } finally {
    await Promise.all([...opened.values()].map((process) => process.close()));
  }
  const alive = systems.filter(({ name }) => !failed.has(name));
  return {
    systems: alive.map(({ name }) => {
      const own = kept.rounds.map((round) => round[name] ?? { wall: 0, processor: null });
      const processor = own.flatMap((one) => one.processor ?? []);
      return {
        name,
        wall: own.map(({ wall }) => wall),
        processor: processor.length < own.length ? undefined : processor,
      };
    }),
    rounds: kept.rounds.length,
    pairs,
    loadedAtOnce,
    startedAt: kept.startedAt,
    load: kept.load,
    failed,
  };
}

async function takeTurn(
  process: TurnProcess,
  pairs: readonly Pair[],
  isCold: boolean,
): Promise<{ wall: number; processor: number | null }> {
  // The first call tells how many fit into a turn; it also brings the model's memory back after the others' turns.
  const first = await process.turn({ pairs, warmUp: isCold ? 1 : 0, calls: 1 });
  const [once = turnMilliseconds] = first.milliseconds;
  const calls = Math.min(mostCalls, Math.max(1, Math.round(turnMilliseconds / Math.max(0.01, once))));
  const { milliseconds, processorMilliseconds } = await process.turn({ pairs, warmUp: 0, calls });
  return {
    wall: quantile(milliseconds, 0.5),
    processor: processorMilliseconds === undefined ? null : processorMilliseconds / calls,
  };
}

/** Fewer where even the fewest rounds would take longer than there is time. */
function pairsPerCall({ systems, available, millisecondsPerPair }: TimingRun): number {
  if (millisecondsPerPair === undefined || millisecondsPerPair <= 0) return mostPairs;
  // Two calls of each system in each round, at least.
  const fitting = available / (millisecondsPerPair * systems.length * 2 * fewestRounds);
  return Math.max(fewestPairs, Math.min(mostPairs, Math.floor(fitting)));
}

/** Queries drawn at random, each with its first documents. */
async function sampleCalls({ task, limit, seed }: TimingRun, pairs: number): Promise<readonly Pair[][]> {
  const all = [...task.queries].slice(0, limit);
  const random = createRandom(seed);
  const calls: Pair[][] = [];
  while (calls.length < rounds && all.length > 0) {
    const [drawn] = all.splice(random.below(all.length), 1);
    if (drawn === undefined) break;
    const [id, query] = drawn;
    const own = task.candidates?.queries.get(id)?.documents ?? [...task.documents.ids()];
    const documents = await task.documents.texts(own.slice(0, pairs));
    if (documents.length > 0) calls.push(documents.map((document) => ({ query, document })));
  }
  return calls;
}

function fitsIntoMemory(systems: readonly TimedSystem[]): boolean {
  const together = systems.reduce((sum, { memory }) => sum + (memory ?? 0), 0);
  return together <= process.availableMemory() * memoryShare;
}

/** What the numbers of a round depend on. */
function keyOf({ systems, subject, seed }: TimingRun, calls: readonly Pair[][]): string {
  const whole = {
    systems: systems.map(({ name, description: { system } }) => [
      name,
      system.artifact,
      system.backend,
      system.settings,
    ]),
    settings: [subject.model.threads, subject.model.workers, subject.model.maxLength, seed],
    calls,
  };
  return createHash("sha256").update(JSON.stringify(whole)).digest("hex");
}

async function readKept({ path, systems }: TimingRun, key: string): Promise<Kept> {
  const load = loadOfLastMinute();
  const none: Kept = {
    key,
    startedAt: new Date().toISOString(),
    load: { before: load, after: load },
    rounds: [],
  };
  try {
    const found = JSON.parse(await readFile(path, "utf8")) as Kept;
    // A round without one of them was of a run in which it failed.
    const isWhole = found.rounds.every((round) =>
      systems.every(({ name }) => typeof round[name]?.wall === "number"),
    );
    return found.key === key && isWhole ? found : none;
  } catch {
    return none;
  }
}

function loadOfLastMinute(): number {
  return loadavg()[0] ?? 0;
}
