import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { styleText } from "node:util";
import { type EvaluationReport, EvaluationSetupError, evaluateTask, renderMarkdown } from "@crossrank/eval";
import { type Context, print } from "../../context.js";
import { failOfGates, readGate } from "../../evaluation/gate-option.js";
import { createHost, defaultSystem } from "../../evaluation/host.js";
import { showProgress } from "../../evaluation/progress-line.js";
import { type EvaluationOptions, subjectOf, systemsOf } from "../../evaluation-options.js";
import { CommandError, UsageError } from "../../failure.js";
import { createProgress } from "../../progress.js";
import { toSingleLine } from "../../text.js";
import { evaluationTable } from "./table.js";

export interface EvalCommandOptions extends EvaluationOptions {
  readonly task: string;
  readonly depth?: number;
  readonly retrieve?: true;
  readonly excludeIdenticalIds?: true;
  readonly metric?: readonly string[];
  readonly gate?: string;
  readonly report?: string;
  readonly fresh?: true;
  readonly seed?: number;
  readonly format: "table" | "json" | "markdown";
}

export async function runEvalCommand(options: EvalCommandOptions, context: Context): Promise<void> {
  const report = await evaluate(options, context);
  await print(format(report, options.format));
  failOfGates(report.systems);
}

async function evaluate(options: EvalCommandOptions, { signal, log }: Context): Promise<EvaluationReport> {
  const {
    task,
    depth,
    retrieve,
    excludeIdenticalIds,
    limit,
    report: kept,
    fresh,
    seed,
    metric: metrics,
  } = options;
  const subject = subjectOf(options, task);
  const { systems } = await systemsOf(options, () => defaultSystem(subject, signal));
  if (retrieve && options.candidates !== undefined) {
    throw new UsageError(
      "--retrieve searches the whole corpus and --candidates gives documents to rerank; give one of them",
    );
  }
  const gates = options.gate === undefined ? undefined : await readGate(options.gate);
  if (gates !== undefined && systems.length < 2) {
    throw new UsageError("--gate holds a backend against the reference; give a second --backend");
  }
  const progress = createProgress(process.stderr);
  const folder = kept ?? (await mkdtemp(join(tmpdir(), "crossrank-eval-")));
  try {
    return await evaluateTask(createHost(progress), {
      model: subject.model,
      task: { ...subject.task, depth, retrieve, excludeIdenticalIds, limit },
      backends: systems.map(({ label }) => label),
      metrics,
      gates,
      seed,
      fresh,
      folder,
      writesReport: kept !== undefined,
      signal,
      onProgress: showProgress(progress),
      onStep: (step) => {
        log(step);
        progress.step(step);
      },
    });
  } catch (error) {
    if (signal.aborted) {
      progress.clear();
      const note =
        kept === undefined
          ? "nothing is kept without --report"
          : `what was scored is in ${kept}; the same command goes on`;
      process.stderr.write(`crossrank: stopped; ${toSingleLine(note)}\n`);
    }
    if (EvaluationSetupError.isInstance(error))
      throw new CommandError(error.message.replace(/\.$/, ""), { cause: error });
    throw error;
  } finally {
    progress.clear();
    if (kept === undefined) await rm(folder, { recursive: true, force: true });
  }
}

function format(report: EvaluationReport, as: EvalCommandOptions["format"]): string {
  if (as === "json") return `${JSON.stringify(report, undefined, 2)}\n`;
  if (as === "markdown") return renderMarkdown(report);
  const emphasise = (text: string): string =>
    process.stdout.isTTY && !process.env["NO_COLOR"] ? styleText("bold", text) : text;
  return evaluationTable(report, emphasise);
}
