import { isUtf8 } from "node:buffer";
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
import { type Context, print } from "../../context.js";
import { benchProcessOf, defaultSystem } from "../../evaluation/host.js";
import { environmentOf } from "../../evaluation/versions.js";
import { type EvaluationOptions, subjectOf, systemsOf } from "../../evaluation-options.js";
import { CommandError, describeSystemError, UsageError } from "../../failure.js";
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

const begin = "<!-- crossrank bench: begin -->";
const end = "<!-- crossrank bench: end -->";

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
  if (options.updateCard !== undefined) await readCard(options.updateCard);
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
      await writeWholeFile(options.updateCard, withSection(card, benchMarkdown(report, verdicts)));
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

/** The card's text; empty where there is none yet. @throws {CommandError | UsageError} where it cannot be changed in place. */
async function readCard(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw new CommandError(`cannot read --update-card ${path}: ${describeSystemError(cause)}`, { cause });
  }
  // Read leniently, what is no UTF-8 would be written back as other characters.
  if (!isUtf8(bytes)) throw new CommandError(`--update-card ${path} is no UTF-8 text. Save it as UTF-8`);
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  const parts = [text.split(begin).length - 1, text.split(end).length - 1];
  if (parts.some((count) => count > 1) || parts[0] !== parts[1] || text.indexOf(end) < text.indexOf(begin)) {
    throw new UsageError(
      `--update-card ${path} has its marks not once each and in order. Leave one ${begin} before one ${end}, or none`,
    );
  }
  return text;
}

/** What stands between the marks is replaced; a card without marks gets the section at its end. */
function withSection(card: string, section: string): string {
  const marked = `${begin}\n\n${section.trim()}\n\n${end}`;
  const from = card.indexOf(begin);
  if (from >= 0) return card.slice(0, from) + marked + card.slice(card.indexOf(end) + end.length);
  const before = card.trimEnd();
  return `${before === "" ? "" : `${before}\n\n`}## Performance\n\n${marked}\n`;
}
