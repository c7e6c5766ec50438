import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { ModelFiles } from "@crossrank/core";
import { excludingOthers } from "@crossrank/disk";
import type {
  Engine,
  EngineFacts,
  FineTuneProgress,
  GateOutcome,
  HeldOutPoint,
  TrainingReport,
  TrainingSet,
} from "@crossrank/train";
import { type Context, print } from "../../context.js";
import { formatDuration } from "../../evaluation/progress-line.js";
import { CommandError, UsageError } from "../../failure.js";
import { openModelFiles } from "../../model.js";
import { createProgress, type Progress } from "../../progress.js";
import { formatCount, toSingleLine } from "../../text.js";
import { chooseArtifacts, requireWritable, type WantedArtifact, writeArtifact } from "./artifacts.js";
import { judgeArtifact, measureBase } from "./gate.js";
import { type OpenedData, openData } from "./open-data.js";
import { readSettings, type TrainCommandOptions, type TrainSettings } from "./settings.js";
import { dryRunTable, trainingTable } from "./table.js";
import { loadTraining, type TrainingPackage } from "./training-package.js";

/** Everything that the steps of a training share. */
interface Run {
  readonly training: TrainingPackage;
  readonly settings: TrainSettings;
  readonly options: TrainCommandOptions;
  readonly model: ModelFiles;
  readonly data: OpenedData;
  readonly examples: TrainingSet;
  readonly engine: Engine;
  readonly artifacts: readonly WantedArtifact[];
  /** Where everything is until it has passed. */
  readonly work: string;
  readonly progress: Progress;
  readonly context: Context;
}

export async function runTrainCommand(
  source: string | undefined,
  options: TrainCommandOptions,
  context: Context,
): Promise<void> {
  const training = await loadTraining("train");
  const settings = await readSettings(training, source, options);
  const output = resolve(settings.output);
  if (await exists(output)) {
    throw new CommandError(`${settings.output} is there already. Name another --output, or delete it`);
  }
  const work = `${output}.training`;
  const progress = createProgress(process.stderr);
  let data: OpenedData | undefined;
  try {
    const artifacts = await chooseArtifacts(settings.to);
    const model = await openModelFiles(settings.model, { ...options, convert: false }, context.signal);
    await requireWritable(model, artifacts, context.signal);
    const engine = await openEngine(training, settings, options);
    data = await openData(training, settings, options, progress, context.signal);
    const { loss } = settings.config;
    const { texts, groups } = data.training;
    const { listSize, config } = settings;
    const examples = training.createTrainingSet(texts, groups, {
      loss: loss ?? "bce",
      listSize,
      seed: config.seed,
    });
    progress.step("checking the model");
    const facts = await engine.check({ config, model, examples, signal: context.signal });
    const run = {
      ...{ training, settings, options, model, data, examples, engine, artifacts, work, progress, context },
    };
    if (options.dryRun) await showDryRun(run, facts);
    else {
      await mkdir(dirname(work), { recursive: true });
      const busy = (): Error => new CommandError(`another process trains into ${settings.output}`);
      await excludingOthers(work, 0, busy, () => train(run));
    }
  } catch (error) {
    if (context.signal.aborted) {
      progress.clear();
      const note = `stopped; what was done is in ${settings.output}.training, and the same command goes on`;
      process.stderr.write(`crossrank: ${toSingleLine(note)}\n`);
    }
    throw error;
  } finally {
    progress.clear();
    await data?.dispose();
  }
}

async function openEngine(
  training: TrainingPackage,
  { engine }: TrainSettings,
  { python, threads }: TrainCommandOptions,
): Promise<Engine> {
  if (engine === "torch") return training.openTorchEngine({ python, threads });
  if (python !== undefined)
    throw new UsageError("--python is of --engine torch; leave it out, or name the engine");
  return training.openMlxEngine({ threads });
}

async function train(run: Run): Promise<void> {
  const { training, settings, options, model, data, examples, engine, work, progress, context } = run;
  const { signal } = context;
  if (options.fresh) await rm(work, { recursive: true, force: true });
  await rm(join(work, "finished"), { recursive: true, force: true });
  const { config, keep } = settings;
  const outcome = await training.fineTune({
    ...{ engine, config, model, examples, keep, signal },
    validation: data.validation,
    folder: work,
    resume: true,
    onProgress: showTraining(progress),
  });
  const { mergedFolder, adapterFolder, ...result } = outcome.result;
  const { bestStep } = result;
  const report = (gates: readonly GateOutcome[], passed: boolean | null): TrainingReport => ({
    specificationVersion: "1",
    created: new Date().toISOString(),
    model: { id: model.id, revision: model.revision ?? null },
    config,
    data: data.training.report,
    heldOut: { validation: factsOf(data.validation), gate: factsOf(data.gate) },
    result,
    curve: outcome.curve,
    gates,
    passed,
  });
  const reject = async (gates: readonly GateOutcome[], problem: string): Promise<never> => {
    for (const folder of [mergedFolder, adapterFolder]) {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    }
    await training.writeTrainingReport(work, report(gates, false));
    throw new CommandError(
      `${problem}. Nothing is in ${settings.output}; see ${settings.output}.training/report.html`,
    );
  };
  if (bestStep === 0 && keep === "best") {
    await reject([], "no step ranks the held-out queries better than the base model does");
  }
  const { gates, unfaithful } = await judge(run, mergedFolder);
  const failed = [
    ...unfaithful,
    ...gates.flatMap(({ passed, artifact, sentence }) => (passed ? [] : [`${artifact}: ${sentence}`])),
  ];
  if (failed.length > 0) {
    const many = `${failed.length} ${failed.length === 1 ? "gate" : "gates"} failed`;
    await reject(gates, `${many}. ${failed.join(" ").replace(/\.$/, "")}`);
  }
  const whole = report(gates, true);
  const finished = join(work, "finished");
  await mkdir(finished, { recursive: true });
  await training.writeTrainingReport(finished, whole);
  await rename(mergedFolder, join(finished, "model"));
  if (adapterFolder !== undefined) await rename(adapterFolder, join(finished, "adapter"));
  await rename(finished, resolve(settings.output));
  await rm(work, { recursive: true, force: true });
  progress.clear();
  await print(
    options.format === "json"
      ? `${JSON.stringify({ output: settings.output, ...whole }, undefined, 2)}\n`
      : trainingTable(whole, settings.output),
  );
}

interface Judgement {
  readonly gates: readonly GateOutcome[];
  /** Of artifacts that do not give what the weights give, why. */
  readonly unfaithful: readonly string[];
}

async function judge(run: Run, folder: string): Promise<Judgement> {
  const { settings, options, artifacts, data, progress, context, training } = run;
  const { signal } = context;
  const { backend, revision, offline } = options;
  const shared = {
    training,
    gate: data.gate,
    margin: settings.gate,
    maxLength: settings.config.maxTokens,
    progress,
    signal,
  };
  const base = await measureBase({ ...shared, model: settings.model, backend, revision, offline });
  const gates: GateOutcome[] = [];
  const unfaithful: string[] = [];
  if (artifacts.length === 0) {
    gates.push(await judgeArtifact({ ...shared, base, name: "merged weights", model: folder, backend }));
  }
  for (const artifact of artifacts) {
    progress.step(`writing ${artifact.name}`);
    const { name, dtype } = artifact;
    const problem = await writeArtifact(folder, artifact, progress, signal);
    if (problem !== undefined) {
      unfaithful.push(`${name}: ${problem}`);
      continue;
    }
    const runs = { name: artifact.backend, dtype };
    gates.push(await judgeArtifact({ ...shared, base, name, model: folder, backend: runs }));
  }
  return { gates, unfaithful };
}

async function showDryRun(run: Run, facts: EngineFacts): Promise<void> {
  const { settings, data, examples, engine } = run;
  const value = {
    model: settings.model,
    engine: engine.name,
    ...facts,
    examples: examples.size,
    config: settings.config,
    data: data.training.report,
    heldOut: { validation: factsOf(data.validation), gate: factsOf(data.gate) },
    to: settings.to,
  };
  run.progress.clear();
  await print(
    run.options.format === "json" ? `${JSON.stringify(value, undefined, 2)}\n` : dryRunTable(value),
  );
}

function factsOf({ name, queries, pairs }: OpenedData["validation"]): {
  name: string;
  queries: number;
  pairs: number;
} {
  return { name, queries, pairs };
}

/** A line that tells how far it is, and one that stays for each evaluation. */
function showTraining(progress: Progress): (now: FineTuneProgress) => void {
  let shown: HeldOutPoint | undefined;
  return (now) => {
    if (now.heldOut !== undefined && now.heldOut !== shown) {
      shown = now.heldOut;
      progress.clear();
      process.stderr.write(`${evaluationLine(now)}\n`);
    }
    progress.step(trainingLine(now));
  };
}

function trainingLine({ phase, step, steps, loss, secondsLeft, pairs, heldOut }: FineTuneProgress): string {
  if (phase === "evaluating") {
    const done =
      pairs === undefined ? "" : `: ${formatCount(pairs.done)} of ${formatCount(pairs.total)} pairs`;
    return `held-out queries at step ${step}${done}`;
  }
  if (steps === 0) return "loading the model for training";
  const left = secondsLeft === undefined ? "" : `, ${formatDuration(secondsLeft)} left`;
  const value = heldOut === undefined ? "" : `, nDCG@10 ${heldOut.mean.toFixed(4)}`;
  return `step ${step} of ${steps}, loss ${loss?.toFixed(4) ?? "–"}${value}${left}`;
}

function evaluationLine({ step, steps, loss, heldOut, secondsLeft }: FineTuneProgress): string {
  if (heldOut === undefined) return "";
  const { mean, lower, upper, change, best } = heldOut;
  const of = steps === 0 ? "" : ` of ${steps}`;
  const changed =
    change === null
      ? ""
      : `, ${change.mean >= 0 ? "+" : "−"}${Math.abs(change.mean).toFixed(4)} against the base`;
  const ofLoss = loss === undefined ? "" : `, loss ${loss.toFixed(4)}`;
  const left = secondsLeft === undefined ? "" : `, ${formatDuration(secondsLeft)} left`;
  return `step ${step}${of}: nDCG@10 ${mean.toFixed(4)} (${lower.toFixed(4)} to ${upper.toFixed(4)})${changed}${best ? ", the best so far" : ""}${ofLoss}${left}`;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
}
