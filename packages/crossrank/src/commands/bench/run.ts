import { readFile } from "node:fs/promises";
import { writeWholeFile } from "@crossrank/disk";
import {
  type BenchGate,
  type BenchVerdict,
  judgeGates,
  parseGates,
  requireMeasured,
} from "../../bench/gates.js";
import { runBench } from "../../bench/run-bench.js";
import { readMarkedParts, withMarkedPart } from "../../card/markers.js";
import { readCard } from "../../card/write-card.js";
import { type Context, print } from "../../context.js";
import { benchProcessOf, defaultSystem } from "../../evaluation/host.js";
import { environmentOf } from "../../evaluation/versions.js";
import { type EvaluationOptions, subjectOf, systemsOf } from "../../evaluation-options.js";
import { CommandError, describeSystemError } from "../../failure.js";
import { createProgress } from "../../progress.js";
import { benchJson, benchMarkdown, benchTable } from "./table.js";

export interface BenchCommandOptions extends Omit<EvaluationOptions, "model"> {
  readonly batch: readonly number[];
  readonly length: readonly number[];
  readonly warmUp: number;
  readonly iterations: number;
  readonly gate?: string;
  readonly updateCard?: string;
  readonly format: "table" | "json" | "markdown";
}

export async function runBenchCommand(
  source: string,
  options: BenchCommandOptions,
  { signal }: Context,
): Promise<void> {
  const { model } = subjectOf({ ...options, model: source }, "");
  const subject = { model };
  const { systems } = await systemsOf({ ...options, model: source }, () => defaultSystem(subject, signal));
  const cells = options.length.flatMap((length) => options.batch.map((batch) => ({ batch, length })));
  // What is wrong with the gates or the card is told before the minutes of measuring.
  const gates = options.gate === undefined ? [] : await readGates(options.gate);
  const labels = systems.map(({ label }) => label);
  requireMeasured(gates, cells, labels);
  if (options.updateCard !== undefined)
    readMarkedParts(await readCard(options.updateCard), options.updateCard);
  const progress = createProgress(process.stderr);
  try {
    const report = await runBench({
      model: source,
      systems: labels.map((name) => ({ name, open: () => benchProcessOf(subject, name, progress, signal) })),
      cells,
      warmUp: options.warmUp,
      iterations: options.iterations,
      environment: environmentOf(systems.map(({ name }) => name)),
      signal,
      onProgress: progress.step,
    });
    progress.clear();
    const verdicts = judgeGates(gates, report);
    const written = { json: benchJson, markdown: benchMarkdown, table: benchTable }[options.format];
    await print(written(report, verdicts));
    if (options.updateCard !== undefined) {
      // As it is now: somebody may have written in it during the minutes of measuring.
      const card = await readCard(options.updateCard);
      await writeWholeFile(
        options.updateCard,
        withMarkedPart(card, options.updateCard, {
          name: "bench",
          title: "Performance",
          content: benchMarkdown(report, verdicts),
        }),
      );
    }
    failOf(verdicts);
  } finally {
    progress.clear();
  }
}

/** @throws {CommandError} that names the gates that failed. */
function failOf(verdicts: readonly BenchVerdict[]): void {
  const failed = verdicts.filter(({ passed }) => !passed);
  if (failed.length === 0) return;
  const named = failed.map(({ backend, gate }) => `${backend}: ${gate}`).join("; ");
  throw new CommandError(`${failed.length} of ${verdicts.length} gates failed: ${named}`);
}

async function readGates(path: string): Promise<BenchGate[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new CommandError(`cannot read --gate ${path}: ${describeSystemError(cause)}`, { cause });
  }
  return parseGates(text, path);
}
