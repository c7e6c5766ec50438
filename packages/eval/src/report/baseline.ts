import { CrossrankError, type Settings } from "@crossrank/core";
import { canonicalJson } from "../canonical.js";
import { type GateResult, judgeNonInferiority } from "../compare/gates.js";
import { compareBytes } from "../metrics/ranking.js";
import { nonInferiority } from "../statistics/bootstrap.js";
import { pairByQuery } from "../statistics/paired.js";
import { holm, signFlipTest } from "../statistics/significance.js";
import { mean } from "../statistics/summary.js";
import { showSettings } from "./figures.js";
import type { EvaluationReport, StageModel, SystemModel, SystemReport } from "./report-data.js";

/**
 * What a later evaluation is held against: hashes of everything that decides whether the two can be compared, and one
 * value a query and metric. A file that people read in a review: sorted keys, one line a list of values.
 */
export interface Baseline {
  readonly specificationVersion: "1";
  /** ISO 8601; of the report that it was made from. */
  readonly created: string;
  readonly task: BaselineTask;
  readonly model: { readonly id: string; readonly revision: string | null };
  /** Package → version. A difference is said, and compared nevertheless. */
  readonly packages: Readonly<Record<string, string>>;
  readonly primaryMetric: string;
  /** System name → what ran and what it got: the reference and the candidates. */
  readonly systems: Readonly<Record<string, BaselineSystem>>;
}

export interface BaselineTask {
  readonly id: string;
  readonly kind: "reranking" | "retrieval";
  readonly revision: string | null;
  readonly split: string | null;
  readonly subset: string | null;
  /** Null for a retrieval. */
  readonly candidatesSha256: string | null;
  /** Role → sha256 of the task's files of that role, in the order they were read; the card and candidates aside. */
  readonly files: Readonly<Record<string, readonly string[]>>;
  /** Ids of the evaluated queries; the values of every system are in this order. */
  readonly queries: readonly string[];
}

export interface BaselineSystem extends BaselineModel {
  readonly role: "reference" | "candidate";
  /** What stands before it in a cascade; left out where it scores all documents itself. */
  readonly cascade?:
    | {
        readonly keep: readonly number[];
        readonly stages: readonly (BaselineModel & { readonly model: string })[];
      }
    | undefined;
  readonly metrics: Readonly<Record<string, { readonly mean: number; readonly values: readonly number[] }>>;
}

/** A model as it ran. */
export interface BaselineModel {
  readonly backend: string;
  readonly runtime: { readonly name: string; readonly version: string };
  readonly artifact: {
    readonly format: string;
    readonly dtype: string;
    /** Path → sha256. */
    readonly files: Readonly<Record<string, string>>;
  };
  /** Of the backend: all that can change a number. Another setting makes another system. */
  readonly settings: Settings;
  readonly input: BaselineInput;
}

/** What decides which tokens the model reads. */
export interface BaselineInput {
  readonly tokenizerSha256: string | null;
  readonly template: string;
  readonly maxLength: number;
  readonly truncation: string;
  /** How long documents were scored by passages, as JSON; left out where they were cut. */
  readonly longDocuments?: string | undefined;
  readonly instruction: string | null;
  readonly queryPrefix: string;
  readonly documentPrefix: string;
}

/** A text that is no baseline of this version. */
export class BaselineFormatError extends CrossrankError<"baseline-format"> {
  static override readonly code = "baseline-format";

  readonly problem: string;

  constructor(problem: string, cause?: unknown) {
    super(
      "baseline-format",
      `This is no baseline that can be read: ${problem}. crossrank ci --update-baseline writes a new one.`,
      cause === undefined ? undefined : { cause },
    );
    this.problem = problem;
  }
}

/** The report as a baseline, as the text of its file. The same report gives the same bytes. */
export function updateBaseline(report: EvaluationReport): string {
  return formatBaseline(baselineOf(report));
}

/** Reads what {@link updateBaseline} wrote. @throws {BaselineFormatError} */
export function parseBaseline(text: string): Baseline {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BaselineFormatError("it is not JSON", error);
  }
  const found = record(value, "it");
  if (found["specificationVersion"] !== "1") {
    throw new BaselineFormatError(
      `its specificationVersion is ${JSON.stringify(found["specificationVersion"])}, expected "1"`,
    );
  }
  const task = record(found["task"], "task");
  record(found["model"], "model");
  record(found["packages"], "packages");
  record(task["files"], "task.files");
  if (!Array.isArray(task["queries"])) throw new BaselineFormatError("task.queries is no list");
  const queries: readonly unknown[] = task["queries"];
  for (const [name, system] of Object.entries(record(found["systems"], "systems"))) {
    const facts = record(system, name);
    record(record(facts["artifact"], `${name}.artifact`)["files"], `${name}.artifact.files`);
    record(facts["input"], `${name}.input`);
    record(facts["runtime"], `${name}.runtime`);
    record(facts["settings"], `${name}.settings`);
    if (facts["cascade"] !== undefined) checkCascade(record(facts["cascade"], `${name}.cascade`), name);
    for (const [metric, result] of Object.entries(record(facts["metrics"], `${name}.metrics`))) {
      const values = record(result, metric)["values"];
      const good =
        Array.isArray(values) &&
        values.length === queries.length &&
        values.every((entry) => typeof entry === "number" && Number.isFinite(entry));
      if (!good) {
        throw new BaselineFormatError(`${name} has not one number a query for ${metric}`);
      }
    }
  }
  return value as Baseline;
}

/** @throws {BaselineFormatError} */
function checkCascade({ keep, stages }: Readonly<Record<string, unknown>>, name: string): void {
  if (!Array.isArray(keep) || !Array.isArray(stages))
    throw new BaselineFormatError(`${name}.cascade has not keep and stages as lists`);
  for (const [index, one] of stages.entries()) {
    const place = `${name}.cascade.stages[${index}]`;
    const stage = record(one, place);
    for (const part of ["artifact", "input", "runtime", "settings"]) record(stage[part], `${place}.${part}`);
  }
}

function record(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new BaselineFormatError(`${where} is no object`);
}

/** Why two evaluations, or one system of them, are not compared. */
export interface BaselineObstacle {
  readonly what:
    | "task"
    | "revision"
    | "split"
    | "files"
    | "candidates"
    | "queries"
    | "model"
    | "metric"
    | "tokenizer"
    | "input"
    | "dtype"
    | "settings"
    | "missing";
  /** Which, then and now. */
  readonly sentence: string;
}

export interface BaselineChange {
  readonly metric: string;
  readonly before: number;
  readonly now: number;
  /** Mean of now − before over queries, and its one-sided lower bound, which needs two queries. */
  readonly mean: number;
  readonly lowerBound: number | null;
  /** Two-sided paired randomisation test; adjusted after Holm over all changes of the comparison. */
  readonly pValue: number;
  readonly adjustedPValue: number;
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
}

export interface BaselineSystemComparison {
  readonly name: string;
  /** `new`: the baseline does not have it, so that there is nothing to say of it. */
  readonly status: "compared" | "not comparable" | "new";
  /** Of a system that is not comparable. */
  readonly obstacles: readonly BaselineObstacle[];
  /** What else differs and is meant to: another artifact, another runtime version. */
  readonly notes: readonly string[];
  readonly changes: readonly BaselineChange[];
  /** Non-inferiority of the primary metric with the report's margin; null where nothing was compared. */
  readonly gate: GateResult | null;
}

export interface BaselineComparison {
  /** `failed`: something got worse, or the sample cannot rule it out. `not comparable` wins over `passed` only. */
  readonly outcome: "passed" | "failed" | "not comparable";
  /** Of the evaluations as a whole; then no system is compared. */
  readonly obstacles: readonly BaselineObstacle[];
  readonly notes: readonly string[];
  readonly systems: readonly BaselineSystemComparison[];
  /** One each: what is not comparable, what failed, what passed. For a terminal or a summary. */
  readonly sentences: readonly string[];
}

/**
 * Holds a report against a baseline, query by query. Anything that would make the difference one of something else than
 * the model (other candidates, judgements, queries, tokenizer, template, lengths) is said instead of being compared.
 * Another artifact, runtime or package version is what a regression test is for: noted, and compared.
 */
export function compareWithBaseline(report: EvaluationReport, baseline: Baseline): BaselineComparison {
  const now = baselineOf(report);
  const obstacles = taskObstacles(now, baseline);
  const notes = wholeNotes(now, baseline);
  if (obstacles.length > 0) {
    return {
      outcome: "not comparable",
      obstacles,
      notes,
      systems: [],
      sentences: obstacles.map(({ sentence }) => `Not comparable with the baseline: ${sentence}`),
    };
  }
  const pending: PendingChange[] = [];
  const names = [...new Set([...Object.keys(now.systems), ...Object.keys(baseline.systems)])];
  const systems = names.map((name) => compareSystem(name, now, baseline, report, pending));
  const adjusted = holm(pending.map(({ change }) => change.pValue));
  pending.forEach(({ change }, index) => {
    change.adjustedPValue = adjusted[index] ?? change.pValue;
  });

  const failed = systems.some(({ gate }) => gate?.outcome === "failed");
  const lost = systems.some(({ status }) => status === "not comparable");
  const compared = systems.some(({ status }) => status === "compared");
  return {
    outcome: failed ? "failed" : lost || !compared ? "not comparable" : "passed",
    obstacles,
    notes,
    systems,
    sentences: systems.flatMap(sentencesOf),
  };
}

interface PendingChange {
  readonly change: { -readonly [Key in keyof BaselineChange]: BaselineChange[Key] };
}

function baselineOf(report: EvaluationReport): Baseline {
  const { task, model } = report;
  const files: Record<string, string[]> = {};
  for (const { role, sha256 } of task.files) {
    // Candidates have a hash of their own that does not depend on how a file is written; a card says nothing.
    if (role === "card" || role === "candidates") continue;
    files[role] = [...(files[role] ?? []), sha256];
  }
  return {
    specificationVersion: "1",
    created: report.created,
    task: {
      id: task.id,
      kind: task.kind,
      revision: task.revision,
      split: task.split,
      subset: task.subset,
      candidatesSha256: task.candidates?.sha256 ?? null,
      files,
      queries: task.queryIds,
    },
    model: { id: model.id, revision: model.revision },
    packages: report.environment.packages,
    primaryMetric: report.settings.primaryMetric,
    systems: Object.fromEntries(
      report.systems.flatMap((system) => {
        const { role, model: ran } = system;
        if (ran === null || (role !== "reference" && role !== "candidate")) return [];
        return [[system.name, systemOf(system, role, ran)]];
      }),
    ),
  };
}

function systemOf(system: SystemReport, role: "reference" | "candidate", ran: SystemModel): BaselineSystem {
  const { cascade } = ran;
  return {
    role,
    ...modelOf(ran),
    ...(cascade === undefined
      ? {}
      : {
          cascade: {
            keep: cascade.keep,
            stages: cascade.stages.map((stage) => ({ ...modelOf(stage), model: stage.model.id })),
          },
        }),
    metrics: Object.fromEntries(
      system.metrics.map(({ name, expected, values }) => [name, { mean: expected, values }]),
    ),
  };
}

function modelOf(ran: Omit<SystemModel, "cascade"> | StageModel): BaselineModel {
  const { artifact, backend } = ran;
  return {
    backend: backend.name,
    runtime: { name: backend.runtime.name, version: backend.runtime.version },
    artifact: {
      format: artifact.format,
      dtype: artifact.dtype,
      files: Object.fromEntries(artifact.files.map(({ path, sha256 }) => [path, sha256])),
    },
    settings: ran.settings,
    input: {
      tokenizerSha256: ran.tokenizerSha256,
      template: ran.template,
      maxLength: ran.maxLength,
      truncation: ran.truncation,
      ...(ran.longDocuments === undefined ? {} : { longDocuments: canonicalJson(ran.longDocuments) }),
      instruction: ran.instruction,
      queryPrefix: ran.queryPrefix,
      documentPrefix: ran.documentPrefix,
    },
  };
}

function taskObstacles(now: Baseline, then: Baseline): readonly BaselineObstacle[] {
  const obstacles: BaselineObstacle[] = [];
  const differ = (what: BaselineObstacle["what"], name: string, before: unknown, after: unknown) => {
    if (canonicalJson(before) === canonicalJson(after)) return;
    obstacles.push({ what, sentence: `the ${name} was ${quote(before)} and is ${quote(after)}.` });
  };
  // A folder has no name that lasts: another path may hold the same files, which their hashes tell.
  if (then.task.revision !== null || now.task.revision !== null) {
    differ("task", "task", then.task.id, now.task.id);
  }
  differ("task", "task's kind", then.task.kind, now.task.kind);
  differ("revision", "task's revision", then.task.revision, now.task.revision);
  differ("split", "split", then.task.split, now.task.split);
  differ("split", "subset", then.task.subset, now.task.subset);
  if (then.model.revision !== null || now.model.revision !== null) {
    differ("model", "model", then.model.id, now.model.id);
  }
  const roles = new Set([...Object.keys(then.task.files), ...Object.keys(now.task.files)]);
  for (const role of [...roles].sort()) {
    differ(
      "files",
      `sha256 of the task's ${role}`,
      then.task.files[role] ?? null,
      now.task.files[role] ?? null,
    );
  }
  differ("candidates", "sha256 of the candidates", then.task.candidatesSha256, now.task.candidatesSha256);
  const before = new Set(then.task.queries);
  const after = new Set(now.task.queries);
  const gone = then.task.queries.filter((query) => !after.has(query));
  const fresh = now.task.queries.filter((query) => !before.has(query));
  if (gone.length > 0 || fresh.length > 0) {
    obstacles.push({
      what: "queries",
      sentence:
        `the baseline has ${before.size} queries and this evaluation ${after.size}: ` +
        `${gone.length} are gone${example(gone)}, ${fresh.length} are new${example(fresh)}; is there another limit?`,
    });
  }
  return obstacles;
}

function wholeNotes(now: Baseline, then: Baseline): readonly string[] {
  const note = (name: string, before: string | null, after: string | null): readonly string[] =>
    before === after ? [] : [`The ${name} was ${quote(before)} and is ${quote(after)}.`];
  const packages = [...new Set([...Object.keys(then.packages), ...Object.keys(now.packages)])]
    .sort()
    .filter((name) => then.packages[name] !== now.packages[name])
    .map(
      (name) => `${name} was ${then.packages[name] ?? "absent"} and is ${now.packages[name] ?? "absent"}.`,
    );
  return [
    ...note("task's id", then.task.id, now.task.id),
    ...note("model's id", then.model.id, now.model.id),
    ...note("model's revision", then.model.revision, now.model.revision),
    ...packages,
  ];
}

function compareSystem(
  name: string,
  now: Baseline,
  then: Baseline,
  report: EvaluationReport,
  pending: PendingChange[],
): BaselineSystemComparison {
  const before = then.systems[name];
  const after = now.systems[name];
  const base = { name, obstacles: [], notes: [], changes: [], gate: null };
  if (after === undefined) {
    const sentence = "the baseline has it and this evaluation does not.";
    return { ...base, status: "not comparable", obstacles: [{ what: "missing", sentence }] };
  }
  if (before === undefined) return { ...base, status: "new" };
  const obstacles = systemObstacles(before, after, now.primaryMetric);
  if (obstacles.length > 0) return { ...base, status: "not comparable", obstacles };

  const { seed, resamples, level, margin } = report.settings;
  const changes: BaselineChange[] = [];
  let gate: GateResult | null = null;
  for (const metric of report.settings.metrics) {
    const was = before.metrics[metric];
    const is = after.metrics[metric];
    if (was === undefined || is === undefined) continue;
    const { differences } = pairByQuery(
      byQuery(now.task.queries, is.values),
      byQuery(then.task.queries, was.values),
    );
    const test =
      differences.length < 2 ? undefined : nonInferiority(differences, { margin, level, seed, resamples });
    const change = {
      metric,
      before: was.mean,
      now: is.mean,
      mean: mean(differences),
      lowerBound: test?.lowerBound ?? null,
      pValue: signFlipTest(differences, { seed, resamples }).pValue,
      adjustedPValue: 1,
      wins: differences.filter((value) => value > 0).length,
      losses: differences.filter((value) => value < 0).length,
      ties: differences.filter((value) => value === 0).length,
    };
    changes.push(change);
    pending.push({ change });
    if (metric === now.primaryMetric) {
      gate =
        test === undefined
          ? {
              level: "L3",
              check: `${metric} non-inferiority`,
              outcome: "failed",
              value: undefined,
              bound: -margin,
              sentence: `L3 ${metric} failed: one query has no spread, so that no bound can be computed.`,
            }
          : judgeNonInferiority(metric, test);
    }
  }
  return { ...base, status: "compared", notes: artifactNotes(before, after), changes, gate };
}

function systemObstacles(
  before: BaselineSystem,
  after: BaselineSystem,
  primary: string,
): readonly BaselineObstacle[] {
  const obstacles = [...modelObstacles(before, after, "the"), ...cascadeObstacles(before, after)];
  if (before.metrics[primary] === undefined) {
    const known = Object.keys(before.metrics).join(", ");
    obstacles.push({ what: "metric", sentence: `the baseline has no ${primary}, but ${known}.` });
  }
  return obstacles;
}

/** Other documents go on, or another number of them: another system. */
function cascadeObstacles(before: BaselineSystem, after: BaselineSystem): readonly BaselineObstacle[] {
  const keepOf = ({ cascade }: BaselineSystem): string =>
    cascade === undefined ? "none" : `of keep ${cascade.keep.join(", ")}`;
  const [was, is] = [keepOf(before), keepOf(after)];
  if (was !== is) return [{ what: "settings", sentence: `the cascade was ${was} and is ${is}.` }];
  return (after.cascade?.stages ?? []).flatMap((stage, index) => {
    const then = before.cascade?.stages[index];
    const of = `${stageName(index)}'s`;
    return then === undefined
      ? [{ what: "settings" as const, sentence: `the baseline's cascade has no ${stageName(index)}.` }]
      : modelObstacles(then, stage, of);
  });
}

function stageName(index: number): string {
  return `stage ${index + 1}`;
}

/** @param of whose they are: `"the"`, or `"stage 1's"`. */
function modelObstacles(before: BaselineModel, after: BaselineModel, of: string): BaselineObstacle[] {
  const obstacles: BaselineObstacle[] = [];
  const differ = (what: BaselineObstacle["what"], name: string, was: unknown, is: unknown) => {
    if (was === is) return;
    obstacles.push({ what, sentence: `${of} ${name} was ${quote(was)} and is ${quote(is)}.` });
  };
  differ("tokenizer", "tokenizer's sha256", before.input.tokenizerSha256, after.input.tokenizerSha256);
  differ("input", "template", before.input.template, after.input.template);
  differ("input", "maximum length", before.input.maxLength, after.input.maxLength);
  differ("input", "truncation", before.input.truncation, after.input.truncation);
  differ("input", "way with long documents", before.input.longDocuments, after.input.longDocuments);
  differ("input", "instruction", before.input.instruction, after.input.instruction);
  differ("input", "prefix of queries", before.input.queryPrefix, after.input.queryPrefix);
  differ("input", "prefix of documents", before.input.documentPrefix, after.input.documentPrefix);
  differ("dtype", "dtype", before.artifact.dtype, after.artifact.dtype);
  if (canonicalJson(before.settings) !== canonicalJson(after.settings)) {
    const [was, is] = [before.settings, after.settings].map(showSettings);
    obstacles.push({
      what: "settings",
      sentence: `${of} backend's settings were ${was} and are ${is}, which makes it another system.`,
    });
  }
  return obstacles;
}

function artifactNotes(before: BaselineSystem, after: BaselineSystem): readonly string[] {
  const notes: string[] = [];
  const note = (name: string, was: unknown, is: unknown) => {
    if (canonicalJson(was) !== canonicalJson(is)) {
      notes.push(`The ${name} was ${quote(was)} and is ${quote(is)}.`);
    }
  };
  note("artifact", before.artifact, after.artifact);
  note("backend", before.backend, after.backend);
  note("runtime", before.runtime, after.runtime);
  for (const [index, stage] of (after.cascade?.stages ?? []).entries()) {
    const then = before.cascade?.stages[index];
    const of = `${stageName(index)}'s`;
    note(`${of} model`, then?.model, stage.model);
    note(`${of} artifact`, then?.artifact, stage.artifact);
    note(`${of} backend`, then?.backend, stage.backend);
    note(`${of} runtime`, then?.runtime, stage.runtime);
  }
  return notes;
}

function sentencesOf(system: BaselineSystemComparison): readonly string[] {
  const { name, status, obstacles, gate, notes } = system;
  if (status === "new") return [`${name} is not in the baseline.`];
  if (status === "not comparable") {
    return obstacles.map(({ sentence }) => `${name} cannot be compared with the baseline: ${sentence}`);
  }
  return [
    ...(gate === null ? [] : [`${name} against the baseline: ${gate.sentence}`]),
    ...notes.map((note) => `${name}: ${note}`),
  ];
}

function byQuery(queries: readonly string[], values: readonly number[]): ReadonlyMap<string, number> {
  return new Map(queries.map((query, index) => [query, values[index] ?? 0]));
}

/** JSON, indented, with every list on one line. */
export function formatBaseline(value: unknown): string {
  const write = (entry: unknown, indent: string): string => {
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) return JSON.stringify(entry);
    const rows = Object.entries(entry)
      .sort(([a], [b]) => compareBytes(a, b))
      .map(([key, inner]) => `${indent}  ${JSON.stringify(key)}: ${write(inner, `${indent}  `)}`);
    return rows.length === 0 ? "{}" : `{\n${rows.join(",\n")}\n${indent}}`;
  };
  return `${write(value, "")}\n`;
}

function quote(value: unknown): string {
  return value === null || value === undefined ? "none" : JSON.stringify(value);
}

function example(queries: readonly string[]): string {
  return queries.length === 0 ? "" : ` (e.g. ${JSON.stringify(queries[0])})`;
}
