import type { MiningProgress, MiningResult } from "@crossrank/train";
import { type Context, print } from "../../context.js";
import { defaultModel } from "../../default-model.js";
import { formatDuration } from "../../evaluation/progress-line.js";
import { translateInputError, UsageError } from "../../failure.js";
import type { BackendChoice } from "../../options.js";
import { createProgress } from "../../progress.js";
import { alignColumns, formatCount, toSingleLine } from "../../text.js";
import { disposeSources, type OpenedSource, openSources } from "../train/sources.js";
import { openScoringModel, requireLogits, type ScoringModel } from "../train/teacher.js";
import { loadTraining } from "../train/training-package.js";

export interface MineCommandOptions {
  readonly queries: readonly string[];
  readonly corpus?: readonly string[];
  readonly output: string;
  readonly split?: string;
  readonly subset?: string;
  /** False with `--no-teacher`. */
  readonly teacher?: string | boolean;
  readonly backend?: BackendChoice;
  readonly form?: "triplets" | "lists";
  readonly negatives?: number;
  readonly depth?: number;
  readonly margin?: number;
  readonly skipTop?: number;
  readonly pick?: "hardest" | "random";
  readonly seed?: number;
  readonly skipBadRows?: true;
  readonly offline?: boolean;
  readonly convert?: boolean;
  readonly format: "table" | "json";
}

export async function runMineCommand(options: MineCommandOptions, context: Context): Promise<void> {
  const { output, form, teacher: named } = options;
  if (named === false && form === "lists") {
    throw new UsageError("--form lists holds a teacher's scores, and --no-teacher gives none; leave one out");
  }
  if (named === false && options.margin !== undefined) {
    throw new UsageError("--margin is of a teacher's scores, and --no-teacher gives none; leave one out");
  }
  const outcome = await mine(options, context);
  await print(
    options.format === "json"
      ? `${JSON.stringify({ ...outcome, output }, undefined, 2)}\n`
      : miningTable(outcome, output),
  );
}

async function mine(
  options: MineCommandOptions,
  { signal, log }: Context,
): Promise<MiningResult & { readonly notes: readonly string[] }> {
  const training = await loadTraining("mine");
  const progress = createProgress(process.stderr);
  const opened: OpenedSource[] = [];
  const disposable: AsyncDisposable[] = [];
  let teacher: ScoringModel | undefined;
  try {
    const { queries, corpus, output, split = "train", subset, offline, skipBadRows } = options;
    const task = { split, subset, offline };
    const onProgress = (rows: number): void => progress.step(`reading, ${formatCount(rows)} rows`);
    const sources = await openSources(queries, task, progress, signal);
    opened.push(...sources);
    const badRows = skipBadRows ? "skip" : "fail";
    const data = await training.readTrainingData(sources, { badRows, signal, onProgress });
    disposable.push(data);
    const corpusSources = corpus === undefined ? sources : await openSources(corpus, task, progress, signal);
    if (corpus !== undefined) opened.push(...corpusSources);
    const documents = await training.readCorpus(corpusSources, { signal, onProgress });
    disposable.push(documents);
    if (options.teacher !== false) {
      const name = typeof options.teacher === "string" ? options.teacher : defaultModel;
      const { backend, convert } = options;
      teacher = await openScoringModel(name, { backend, offline, convert }, progress, signal);
      if (options.form === "lists") requireLogits(teacher, name, "--form lists");
    }
    const { form, negatives, depth, skipTop, pick, seed } = options;
    const margin = options.margin ?? (teacher?.scale === "cosine" ? 0.05 : undefined);
    log(`mining ${data.report.queries} queries among ${documents.size} documents`);
    const result = await training
      .mineNegatives({
        ...{
          data,
          corpus: documents,
          teacher,
          output,
          form,
          negatives,
          depth,
          margin,
          skipTop,
          pick,
          seed,
          signal,
        },
        onProgress: (now) => progress.step(miningLine(now)),
      })
      .catch((error: unknown) => {
        throw translateInputError(error, {
          negatives: "--negatives",
          depth: "--depth",
          margin: "--margin",
          skipTop: "--skip-top",
          seed: "--seed",
          teacher: "the teacher",
        });
      });
    // Queries with positives alone are what is mined for.
    const warnings = data.report.warnings.filter(({ code }) => code !== "one-sided-queries");
    return { ...result, notes: warnings.map(({ message }) => message) };
  } catch (error) {
    if (signal.aborted) {
      progress.clear();
      const note = `stopped; what was done is in ${options.output}.part, and the same command goes on`;
      process.stderr.write(`crossrank: ${toSingleLine(note)}\n`);
    }
    throw error;
  } finally {
    progress.clear();
    await teacher?.dispose();
    for (const one of disposable) await one[Symbol.asyncDispose]();
    await disposeSources(opened);
  }
}

function miningLine({ phase, done, total, secondsLeft }: MiningProgress): string {
  const left = secondsLeft === undefined || done >= total ? "" : `, ${formatDuration(secondsLeft)} left`;
  return `${phase}: ${formatCount(done)} of ${formatCount(total)} queries${left}`;
}

function miningTable(
  {
    queries,
    rows,
    negatives,
    likelyRelevant,
    relevant,
    without,
    unscored,
    resumed,
    notes,
  }: Awaited<ReturnType<typeof mine>>,
  output: string,
): string {
  const facts = [
    ["queries", `${formatCount(queries)}, of which an earlier run had done ${formatCount(resumed)}`],
    ["rows", `${formatCount(rows)}, with ${formatCount(negatives)} negatives`],
    [
      "dropped",
      `${formatCount(likelyRelevant)} likely relevant by the teacher, ${formatCount(relevant)} positives`,
    ],
    [
      "without",
      `${formatCount(without)} queries have no negative, ${formatCount(unscored)} of them fill the teacher`,
    ],
    ["written to", toSingleLine(output)],
  ];
  const lines = [
    ...alignColumns(facts, ["left", "left"]),
    ...notes.map((note) => `note: ${toSingleLine(note)}`),
  ];
  return `${lines.join("\n")}\n`;
}
