import type { HeldOutSet, QueryGroup, TrainingData } from "@crossrank/train";
import type { Progress } from "../../progress.js";
import { formatCount } from "../../text.js";
import type { TrainCommandOptions, TrainSettings } from "./settings.js";
import { disposeSources, type OpenedSource, openSources, openTaskSource } from "./sources.js";
import { openScoringModel, requireLogits } from "./teacher.js";
import type { TrainingPackage } from "./training-package.js";

/** What is trained on, and what is not. */
export interface OpenedData {
  readonly training: Pick<TrainingData, "texts" | "groups" | "report">;
  readonly validation: HeldOutSet;
  readonly gate: HeldOutSet;
  dispose(): Promise<void>;
}

export async function openData(
  training: TrainingPackage,
  settings: TrainSettings,
  options: TrainCommandOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<OpenedData> {
  const { heldOutQueries: limit, depth, config } = settings;
  const held = { limit, depth, seed: config.seed, signal };
  const opened: OpenedSource[] = [];
  const { offline } = options;
  let data: TrainingData | undefined;
  const dispose = async (): Promise<void> => {
    await data?.[Symbol.asyncDispose]();
    await disposeSources(opened);
  };
  const openTask = async (name: string) => {
    const task = await openTaskSource(name, { split: settings.heldOutSplit, offline }, progress, signal);
    opened.push(task);
    return task;
  };
  try {
    const { heldOut, gateTask } = settings;
    let validation: HeldOutSet | undefined;
    let gate: HeldOutSet | undefined;
    if (gateTask !== undefined) gate = await training.heldOutOfTask(await openTask(gateTask), held);
    if (heldOut !== undefined) {
      const task = await openTask(heldOut);
      const isOwn = gateTask !== undefined;
      validation = await training.heldOutOfTask(task, { ...held, part: isOwn ? undefined : "validation" });
      gate ??= await training.heldOutOfTask(task, { ...held, part: "gate" });
    }
    const sources = await openSources(settings.data, { split: settings.split, offline }, progress, signal);
    opened.push(...sources);
    data = await training.readTrainingData(sources, {
      badRows: options.skipBadRows ? "skip" : "fail",
      // All queries of the tasks, also those that a limit leaves out.
      heldOut: new Set([...(validation?.reserved ?? []), ...(gate?.reserved ?? [])]),
      signal,
      onProgress: (rows) => progress.step(`reading, ${formatCount(rows)} rows`),
    });
    let groups: readonly QueryGroup[] = data.groups;
    if (validation === undefined) {
      const split = training.splitByQuery(data.groups, settings.heldOutShare, config.seed);
      groups = split.training;
      progress.step("looking for candidates of the held-out queries");
      const { texts, groups: all } = data;
      validation = await training.heldOutOfGroups(texts, split.validation, all, {
        ...held,
        name: "of the data, validation",
      });
      gate ??= await training.heldOutOfGroups(texts, split.gate, all, { ...held, name: "of the data, gate" });
    }
    groups = await withTeacher(groups, { training, settings, options, data, progress, signal });
    return {
      training: { texts: data.texts, groups, report: data.report },
      validation,
      gate: gate as HeldOutSet,
      dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** The documents with a teacher's scores, where one is named. */
async function withTeacher(
  groups: readonly QueryGroup[],
  facts: {
    readonly training: TrainingPackage;
    readonly settings: TrainSettings;
    readonly options: TrainCommandOptions;
    readonly data: TrainingData;
    readonly progress: Progress;
    readonly signal: AbortSignal;
  },
): Promise<readonly QueryGroup[]> {
  const { training, settings, options, data, progress, signal } = facts;
  const { loss } = settings.config;
  if (settings.teacher === undefined || loss === undefined || !training.needsTeacher(loss)) return groups;
  const { offline } = options;
  const teacher = await openScoringModel(settings.teacher, { offline }, progress, signal);
  try {
    requireLogits(teacher, settings.teacher, `the loss ${loss}`);
    return await training.scoreByTeacher(data.texts, groups, teacher.score, {
      signal,
      onProgress: (done) =>
        progress.step(`asking the teacher: ${formatCount(done)} of ${formatCount(groups.length)} queries`),
    });
  } finally {
    await teacher.dispose();
  }
}
