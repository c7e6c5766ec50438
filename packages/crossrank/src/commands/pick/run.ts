import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeWholeFile } from "@crossrank/disk";
import type { EvaluationSubject } from "@crossrank/eval";
import { type Context, print } from "../../context.js";
import { entryOf, stageBackend } from "../../evaluation/cascade-sweep.js";
import { stageSubject } from "../../evaluation/host.js";
import { showProgress } from "../../evaluation/progress-line.js";
import type { EvaluationOptions, SystemChoice } from "../../evaluation-options.js";
import { CommandError, UsageError } from "../../failure.js";
import { proposeConfig, writeConfig } from "../../pick/config-file.js";
import type { FirstStage } from "../../pick/pick-cascade.js";
import { runPick } from "../../pick/run-pick.js";
import { createProgress } from "../../progress.js";
import type { ServedModelChoice } from "../serve/model-option.js";
import { pickJson, pickMarkdown, pickTable } from "./table.js";

export interface PickCommandOptions
  extends Omit<EvaluationOptions, "backend" | "reference" | "file" | "longDocuments" | "task"> {
  readonly task: string;
  readonly maxLoss: number;
  /** Seconds. */
  readonly time: number;
  readonly backend?: readonly SystemChoice[];
  readonly reference?: SystemChoice;
  readonly cascade?: ServedModelChoice;
  readonly depth?: number;
  readonly retrieve?: true;
  readonly excludeIdenticalIds?: true;
  readonly seed: number;
  readonly report?: string;
  readonly write?: true;
  readonly format: "table" | "json" | "markdown";
}

export async function runPickCommand(options: PickCommandOptions, { signal }: Context): Promise<void> {
  const subject = subjectOf(options);
  const first = await firstStage(options, subject);
  const progress = createProgress(process.stderr);
  try {
    const report = await runPick({
      subject,
      maxLoss: options.maxLoss,
      seconds: options.time,
      backends: options.backend,
      reference: options.reference,
      cascade: first,
      folder: options.report,
      seed: options.seed,
      progress,
      onEvaluation: showProgress(progress),
      signal,
    });
    const proposal = await proposeConfig(report, subject, ".", first);
    const written = proposal !== undefined && options.write === true && (await writeConfig(proposal));
    if (options.report !== undefined) {
      await mkdir(options.report, { recursive: true });
      await writeWholeFile(join(options.report, "report.json"), `${JSON.stringify(report, undefined, 2)}\n`);
    }
    progress.clear();
    const shown = { json: pickJson, markdown: pickMarkdown, table: pickTable }[options.format];
    await print(shown(report, proposal, written));
    if (report.choice === null)
      throw new CommandError("nothing that was timed keeps the quality; see the reasons above");
  } catch (error) {
    if (signal.aborted) {
      progress.clear();
      process.stderr.write("crossrank: stopped; what was scored is kept, and the same command goes on\n");
    }
    throw error;
  } finally {
    progress.clear();
  }
}

async function firstStage(
  { cascade }: PickCommandOptions,
  subject: EvaluationSubject,
): Promise<FirstStage | undefined> {
  if (cascade === undefined) return undefined;
  const entry = entryOf(cascade);
  return { ...entry, backend: await stageBackend(cascade, stageSubject(subject, entry)) };
}

function subjectOf(options: PickCommandOptions): EvaluationSubject {
  const { model, revision, offline, lock, base, convert, profile, maxLength, truncation, instruction } =
    options;
  const { threads, workers, task, split, subset, candidates, depth, retrieve, excludeIdenticalIds, limit } =
    options;
  if (retrieve && candidates !== undefined) {
    throw new UsageError(
      "--retrieve searches the whole corpus and --candidates gives documents to rerank; give one of them",
    );
  }
  return {
    model: {
      ...{ model, revision, offline, lock, base, convert, profile },
      ...{ maxLength, truncation, instruction, threads, workers },
    },
    task: { task, split, subset, candidates, depth, retrieve, excludeIdenticalIds, limit },
  };
}
