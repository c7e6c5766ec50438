import { loadavg } from "node:os";
import { type EnvironmentReport, quantile } from "@crossrank/eval";
import type { BenchProcess } from "../scoring-process.js";
import { type Cell, nameOfCell, type Timing } from "./cell.js";
import type { BenchReport, CellResult, SystemResult } from "./report.js";

export interface BenchSystem {
  readonly name: string;
  open(): Promise<BenchProcess>;
}

export interface BenchOptions {
  /** As it is named in the report. */
  readonly model: string;
  readonly systems: readonly BenchSystem[];
  readonly cells: readonly Cell[];
  readonly warmUp: number;
  readonly iterations: number;
  readonly environment: EnvironmentReport;
  readonly signal: AbortSignal;
  readonly onProgress: (what: string) => void;
}

/** Counted calls are cut into so many rounds; in each, all systems have a turn, so that a busy minute is shared. */
const rounds = 10;

/**
 * Measures every cell on every system, each of which has a process of its own. One is at work at a time.
 *
 * @throws what opening a model or a cell throws; what was measured until then is lost. A cell that a model has no texts
 *   for is told before anything is measured.
 */
export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const { model, systems, cells, warmUp, iterations, environment, signal, onProgress } = options;
  const startedAt = new Date().toISOString();
  const loadBefore = loadOfLastMinute();
  const opened: { readonly name: string; readonly process: BenchProcess }[] = [];
  try {
    for (const { name, open } of systems) {
      onProgress(`loading ${name}`);
      opened.push({ name, process: await open() });
    }
    for (const { name, process } of opened) {
      for (const cell of cells) {
        signal.throwIfAborted();
        onProgress(`${name}, texts of ${nameOfCell(cell)}`);
        await process.time({ ...cell, warmUp: 0, iterations: 0 });
      }
    }
    const timings = new Map<string, Timing[]>();
    const steps = cells.length * rounds;
    let step = 0;
    for (const cell of cells) {
      for (let round = 0; round < rounds; round += 1) {
        step += 1;
        const share = shareOf(iterations, round);
        for (const { name, process } of opened) {
          signal.throwIfAborted();
          if (share === 0) continue;
          onProgress(`${name}, ${nameOfCell(cell)}, ${Math.floor((100 * (step - 1)) / steps)} %`);
          // One call after the others' turn brings the model's memory back; the first turn warms up in full.
          // Which is not the first round's, where there are fewer calls than rounds.
          const earlier = timings.get(keyOf(name, cell)) ?? [];
          const before = earlier.length === 0 ? warmUp : Math.min(1, warmUp);
          const timing = await process.time({ ...cell, warmUp: before, iterations: share });
          timings.set(keyOf(name, cell), [...earlier, timing]);
        }
      }
    }
    const results: SystemResult[] = [];
    for (const { name, process } of opened) {
      results.push({
        name,
        description: process.description,
        cells: cells.map((cell) => resultOf(cell, timings.get(keyOf(name, cell)) ?? [])),
        memory: await process.memory(),
      });
    }
    const load = { before: loadBefore, after: loadOfLastMinute() };
    return { model, warmUp, iterations, environment, load, startedAt, systems: results };
  } finally {
    await Promise.all(opened.map(({ process }) => process.close()));
  }
}

/** Calls of a round, which add up to all. */
function shareOf(iterations: number, round: number): number {
  return Math.floor((iterations * (round + 1)) / rounds) - Math.floor((iterations * round) / rounds);
}

function resultOf(cell: Cell, timings: readonly Timing[]): CellResult {
  const milliseconds = timings.flatMap((timing) => timing.milliseconds);
  const p50 = quantile(milliseconds, 0.5);
  const p95 = quantile(milliseconds, 0.95);
  const tokens = timings[0]?.tokens ?? 0;
  return {
    ...cell,
    p50,
    p95,
    p95PerPair: p95 / cell.batch,
    tokensPerSecond: (1000 * tokens) / p50,
    eventLoopDelay: Math.max(...timings.map(({ eventLoopDelay }) => eventLoopDelay)),
    milliseconds,
  };
}

function keyOf(name: string, { batch, length }: Cell): string {
  return `${batch} ${length} ${name}`;
}

function loadOfLastMinute(): number {
  return loadavg()[0] ?? 0;
}
