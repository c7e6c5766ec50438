import { styleText } from "node:util";
import {
  type ComparisonReport,
  EvaluationSetupError,
  type RunComparisonOptions,
  runComparison,
  type Task,
  withFirstStage,
} from "@crossrank/eval";
import { type Context, print } from "../../context.js";
import { failOfGates, readGate } from "../../evaluation/gate-option.js";
import { openTaskOf, systemOf } from "../../evaluation/host.js";
import { showProgress } from "../../evaluation/progress-line.js";
import { environmentOf } from "../../evaluation/versions.js";
import { type EvaluationOptions, subjectOf, systemsOf } from "../../evaluation-options.js";
import { CommandError, UsageError } from "../../failure.js";
import { createProgress, type Progress } from "../../progress.js";
import { readPairs } from "./pairs.js";
import { comparisonTable } from "./table.js";

export interface CompareCommandOptions extends EvaluationOptions {
  readonly pairs?: string;
  readonly depth: number;
  readonly top: number;
  readonly gate?: string | true;
  readonly format: "table" | "json";
}

type Material = Pick<RunComparisonOptions, "queries" | "documents" | "pairs" | "relevant">;

export async function runCompareCommand(options: CompareCommandOptions, context: Context): Promise<void> {
  const { material, report } = await compare(options, context);
  if (options.format === "json")
    await print(`${JSON.stringify(withTexts(report, material), undefined, 2)}\n`);
  else {
    const emphasise = (text: string): string =>
      process.stdout.isTTY && !process.env["NO_COLOR"] ? styleText("bold", text) : text;
    await print(
      comparisonTable(report, material, {
        top: options.top,
        columns: process.stdout.columns || 100,
        emphasise,
      }),
    );
  }
  failOfGates(report.systems);
}

async function compare(
  options: CompareCommandOptions,
  { signal }: Context,
): Promise<{ material: Material; report: ComparisonReport }> {
  // Two are needed, so that a default is of no use.
  const { systems, reference } = await systemsOf(options, async () => "onnx");
  if (systems.length < 2) {
    throw new UsageError(
      "a comparison needs two backends: give --backend twice, or --backend and --reference",
    );
  }
  // A margin is of a metric, and judged alone: it would pass whatever the scores are.
  if (options.gate !== undefined && options.gate !== true && Number.isFinite(Number(options.gate))) {
    throw new UsageError(
      `--gate ${options.gate} is a loss of a metric, which crossrank eval judges; here it takes a file or nothing`,
    );
  }
  const gates =
    options.gate === undefined ? undefined : options.gate === true ? {} : await readGate(options.gate);
  const progress = createProgress(process.stderr);
  try {
    const material =
      options.pairs === undefined
        ? await pairsOfTask(options, progress, signal)
        : await readPairs(options.pairs, signal);
    const { task } = options;
    const { model } = subjectOf(options, task ?? "");
    const subject = task === undefined ? { model } : { model, task: { task } };
    const report = await runComparison({
      ...material,
      systems: systems.map(({ label }) => systemOf(subject, label, progress)),
      reference,
      gates,
      environment: environmentOf(systems.map(({ name }) => name)),
      signal,
      onProgress: showProgress(progress),
    });
    return { material, report };
  } catch (error) {
    if (EvaluationSetupError.isInstance(error))
      throw new CommandError(error.message.replace(/\.$/, ""), { cause: error });
    throw error;
  } finally {
    progress.clear();
  }
}

async function pairsOfTask(
  options: CompareCommandOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<Material> {
  let task: Task = await openTaskOf(subjectOf(options, options.task ?? ""), progress, signal);
  try {
    if (task.candidates === undefined) {
      progress.step(`searching ${task.id} with BM25`);
      task = await withFirstStage(task, { depth: options.depth, signal });
    }
    const chosen = [...task.queries].slice(0, options.limit ?? task.queries.size);
    const pairs = new Map<string, readonly string[]>();
    const relevant = new Map<string, string[]>();
    const ids = new Set<string>();
    for (const [query] of chosen) {
      const documents = task.candidates?.queries.get(query)?.documents.slice(0, options.depth) ?? [];
      pairs.set(query, documents);
      const right = [...(task.qrels.get(query) ?? [])]
        .filter(([id, grade]) => grade > 0 && task.documents.has(id))
        .map(([id]) => id);
      if (right.length > 0) relevant.set(query, right);
      for (const id of [...documents, ...right]) ids.add(id);
    }
    const texts = await task.documents.texts([...ids]);
    const documents = new Map([...ids].map((id, index) => [id, texts[index] ?? ""]));
    return { queries: new Map(chosen), documents, pairs, relevant };
  } finally {
    await task[Symbol.asyncDispose]();
  }
}

/** The texts beside the ids: who reads the scores of a pairs file knows no ids. */
function withTexts(report: ComparisonReport, { queries, documents }: Material): object {
  const pairs = report.pairs.map(({ query, document, ...rest }) => ({
    query: { id: query, text: queries.get(query) },
    document: { id: document, text: documents.get(document) },
    ...rest,
  }));
  return { ...report, pairs };
}
