import { createHash } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { InvalidInputError, type TruncationStrategy } from "@crossrank/core";
import { removeUnfinished } from "@crossrank/disk";
import { canonicalJson } from "../canonical.js";
import type { ScoreComparison } from "../compare/compare-scores.js";
import { type Metric, parseMetric } from "../metrics/metric-names.js";
import { showSettings } from "../report/figures.js";
import type {
  EnvironmentReport,
  EvaluationReport,
  GateReport,
  MemoryReport,
  ReportWarning,
  SystemModel,
  SystemReport,
  TaskReport,
} from "../report/report-data.js";
import { searchBm25 } from "../tasks/bm25.js";
import { limitQueries } from "../tasks/candidates.js";
import { refusePool } from "../tasks/pool.js";
import type { CandidateList, Task } from "../tasks/task.js";
import { type RunRows, writeRunFile } from "../tasks/trec-run.js";
import { EvaluationSetupError } from "./errors.js";
import { lockFolder } from "./file-lock.js";
import { checkGateSystems, type GateFile, judgeSystem, marginFor, rulesFor } from "./gate-rules.js";
import type { Identity } from "./line-store.js";
import { type ProgressListener, phaseProgress } from "./progress.js";
import { measureConstantCorpus, measureRun, type RowMetrics } from "./row-metrics.js";
import { scoreCandidates } from "./score-candidates.js";
import { compareSystems, type ScoredSystem, scoreReport } from "./score-report.js";
import { constantRunOf, firstStageRun, rankingRun, type ScoredLists } from "./scored-lists.js";
import type { Scorer, ScorerDescription } from "./scorer.js";
import { type MeasuredRow, statisticsOfRows } from "./statistics-of-rows.js";
import { Tally } from "./tally.js";
import { compareStoredVectors, type SystemVectors, scoreLists, searchVectors } from "./vector-search.js";
import { embedTexts } from "./vector-store.js";

/** A model on a backend, still to be loaded. */
export interface SystemSource {
  /** Unique, e.g. `"onnx:int8"`. */
  readonly name: string;
  /** Versions of the packages that its scores depend on. Default: all of the environment's. */
  readonly packages?: Readonly<Record<string, string>> | undefined;
  /** Loads it; its `close` frees it. */
  open(options: { readonly signal?: AbortSignal | undefined }): Promise<Scorer>;
}

export interface RunEvaluationOptions {
  /** Opened by the caller, who disposes of it. Needs judgements, and candidates unless the corpus is searched. */
  readonly task: Task;
  /** One model, on different backends or at different precisions. */
  readonly systems: readonly SystemSource[];
  /** Name of the one that the others are held against. Default: the first. */
  readonly reference?: string | undefined;
  /** Folder for scores, run files and vectors. Scores that are there, of the same identity, are not made again. */
  readonly folder: string;
  /** Removes earlier scores of these systems. Default false. */
  readonly fresh?: boolean | undefined;
  /** Whole corpus instead of candidates; bi-encoders only. Default: where the task has no candidates. */
  readonly search?: boolean | undefined;
  /** Leaves out the document with a query's own id when the corpus is searched. Default false. */
  readonly excludeIdenticalIds?: boolean | undefined;
  /** First n queries alone. */
  readonly limit?: number | undefined;
  /** The first one is the primary metric. Default {@link defaultMetrics}. */
  readonly metrics?: readonly string[] | undefined;
  readonly gates?: GateFile | undefined;
  /** What the systems were opened with, for the report. */
  readonly settings?: {
    readonly maxLength?: number | undefined;
    readonly truncation?: TruncationStrategy | undefined;
    readonly instruction?: string | undefined;
    readonly threads?: number | undefined;
    readonly workers?: number | undefined;
  };
  /** Default 1. */
  readonly seed?: number | undefined;
  readonly environment: EnvironmentReport;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

export const defaultMetrics: readonly string[] = ["ndcg@10", "mrr@10", "map", "recall@10"];

/** Documents kept of each query when the corpus is searched: the most that MTEB's metrics look at. */
const retrievalDepth = 1000;

/** Of a search, the reference's best documents of each query stand in the score table. */
const comparedDepth = 100;

const resamples = 10_000;
const level = 0.95;

/** One system after scoring. */
interface Outcome {
  readonly name: string;
  readonly description: ScorerDescription;
  readonly lists: ScoredLists;
  readonly tally: Tally;
  readonly vectors: SystemVectors | undefined;
  readonly memory: MemoryReport | null;
  readonly loadMilliseconds: number;
}

/**
 * Scores a task with every system, one after the other, and says what it amounts to. Scores are stored as they come,
 * so that a run that was aborted or killed goes on where it was.
 *
 * Memory: eight bytes a pair and system for the logits, and for the score table of one candidate at a time some sixty
 * bytes a pair; no texts but those of one call. A search holds twelve bytes for each document kept.
 *
 * @throws {EvaluationSetupError}, {InvalidInputError}, {UnknownMetricError}, {GateRulesError} before anything is scored;
 *   {TaskDataError} where a pool would be searched.
 * @throws {ScoreIdentityError}, {ScoreStoreError}, {NonFiniteSystemScoreError}, what a system throws, and the signal's
 *   reason.
 */
export async function runEvaluation(options: RunEvaluationOptions): Promise<EvaluationReport> {
  const plan = planOf(options);
  const release = await lockFolder(join(options.folder, "scores", "lock"));
  const outcomes: Outcome[] = [];
  try {
    // Whoever was killed while it wrote is gone, as the lock is free.
    for (const part of ["scores", "runs"]) await removeUnfinished(join(options.folder, part));
    for (const [index, source] of plan.systems.entries()) {
      options.signal?.throwIfAborted();
      outcomes.push(await runSystem(plan, source, index));
    }
    return await report(plan, outcomes);
  } finally {
    for (const { vectors } of outcomes) {
      vectors?.queries.close();
      vectors?.documents.close();
    }
    await release();
  }
}

interface Plan {
  readonly options: RunEvaluationOptions;
  /** Under the limit. */
  readonly task: Task;
  readonly search: boolean;
  readonly metrics: readonly Metric[];
  /** The reference first. */
  readonly systems: readonly SystemSource[];
  /** Name → file name without ending. */
  readonly fileNames: ReadonlyMap<string, string>;
  readonly identity: Identity;
}

function planOf(options: RunEvaluationOptions): Plan {
  const { task: whole, systems, limit, gates } = options;
  const names = systems.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new EvaluationSetupError(`${twice} is there twice. Name each system once.`);
  const reference = options.reference ?? names[0];
  if (reference === undefined) throw new EvaluationSetupError("There is no system to evaluate.");
  if (!names.includes(reference)) {
    throw new EvaluationSetupError(`The reference ${reference} is none of the systems: ${names.join(", ")}.`);
  }
  const metrics = (options.metrics ?? defaultMetrics).map(parseMetric);
  if (metrics.length === 0) throw new InvalidInputError("metrics", "must name at least one metric");
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) {
    throw new InvalidInputError("limit", `must be a whole number above 0, not ${limit}`);
  }
  if (gates !== undefined) {
    checkGateSystems(
      gates,
      names.filter((name) => name !== reference),
    );
    if (names.length < 2) {
      throw new EvaluationSetupError(
        `A gate holds a candidate against a reference, and ${reference} is the only system. Name another backend.`,
      );
    }
  }
  const search = options.search ?? whole.candidates === undefined;
  if (!search && whole.candidates === undefined) {
    throw new EvaluationSetupError(
      `${whole.id} has no candidates to rerank. Give it a run file or a first stage, or search the corpus.`,
    );
  }
  if (whole.qrels.size === 0) {
    throw new EvaluationSetupError(
      `${whole.id} has no judgements, so that no ranking can be measured. Scores can be compared: crossrank compare.`,
    );
  }
  if (search) refusePool(whole);
  const task = limit === undefined ? whole : limitQueries(whole, limit);
  const ordered = [...systems].sort(
    (left, right) => Number(right.name === reference) - Number(left.name === reference),
  );
  return {
    options,
    task,
    search,
    metrics,
    systems: ordered,
    fileNames: fileNamesOf(ordered.map(({ name }) => name)),
    identity: taskIdentity(whole, search),
  };
}

/** What every system's scores depend on, the limit aside: a run without one goes on where a limited one was. */
export function taskIdentity(task: Task, search: boolean): Identity {
  const texts = task.provenance.files
    .filter(({ role }) => role === "documents" || role === "queries" || role === "rows")
    .map(({ role, sha256 }) => [role, sha256]);
  return {
    "texts of the task": createHash("sha256").update(JSON.stringify(texts)).digest("hex"),
    candidates: search ? "the whole corpus" : (task.candidates?.sha256 ?? ""),
  };
}

export function systemIdentity({ system, profileSha256 }: ScorerDescription, packages: Identity): Identity {
  const { cascade } = system;
  return {
    ...modelIdentity(system, profileSha256),
    // Left out where there is one model, as above.
    ...(cascade === undefined
      ? {}
      : {
          cascade: canonicalJson({
            keep: cascade.keep,
            stages: cascade.stages.map((stage) => modelIdentity(stage, stage.profileSha256)),
          }),
        }),
    packages: Object.entries(packages)
      .map((entry) => entry.join(" "))
      .join(", "),
  };
}

function modelIdentity(system: Omit<SystemModel, "cascade">, profileSha256: string): Identity {
  const { artifact, backend } = system;
  return {
    artifact: `${artifact.format} ${artifact.dtype} ${artifact.files.map(({ sha256 }) => sha256).join(" ")}`,
    backend: `${backend.name} (${backend.runtime.name} ${backend.runtime.version})`,
    "backend's settings": showSettings(system.settings),
    tokenizer: system.tokenizerSha256 ?? "part of the artifact",
    template: system.template,
    "maximum length": String(system.maxLength),
    truncation: system.truncation,
    // Left out where documents are cut: scores of versions that knew nothing else go on.
    ...(system.longDocuments === undefined ? {} : { "long documents": canonicalJson(system.longDocuments) }),
    instruction: system.instruction ?? "none",
    "query prefix": system.queryPrefix,
    "document prefix": system.documentPrefix,
    "model profile": profileSha256,
  };
}

/** `onnx:int8` → `onnx-int8`, each once. */
export function fileNamesOf(names: readonly string[]): Map<string, string> {
  const taken = new Set<string>();
  return new Map(
    names.map((name) => {
      const stem = name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-.]+/, "") || "system";
      let fileName = stem;
      // File systems that ignore case are common.
      for (let count = 2; taken.has(fileName.toLowerCase()); count += 1) fileName = `${stem}-${count}`;
      taken.add(fileName.toLowerCase());
      return [name, fileName];
    }),
  );
}

async function runSystem(plan: Plan, source: SystemSource, index: number): Promise<Outcome> {
  const { options, task } = plan;
  const { signal, onProgress, folder } = options;
  const { name } = source;
  onProgress?.({
    system: name,
    phase: "loading",
    completed: index,
    total: plan.systems.length,
    resumed: 0,
    secondsLeft: undefined,
  });
  const scorer = await source.open({ signal });
  try {
    const { description } = scorer;
    const { cascade } = description.system;
    if (plan.search && cascade !== undefined) {
      throw new EvaluationSetupError(
        `${name} is a cascade, which reranks and searches no corpus. Give the task candidates.`,
      );
    }
    if (plan.search && description.family !== "bi-encoder") {
      throw new EvaluationSetupError(
        `${description.model.id} is a ${description.family}, and only a bi-encoder can search a corpus. Give the task candidates.`,
      );
    }
    const identity = {
      system: name,
      ...plan.identity,
      ...systemIdentity(description, source.packages ?? options.environment.packages),
    };
    const path = join(folder, "scores", plan.fileNames.get(name) ?? name);
    const fresh = options.fresh ?? false;
    if (fresh) await rm(`${path}.jsonl`, { force: true });
    const common = { system: name, scorer, identity, fresh, signal, onProgress };
    let scored: { lists: ScoredLists; tally: Tally; resumed: number; vectors?: SystemVectors };
    if (description.family === "bi-encoder" && cascade === undefined)
      scored = await scoreByVectors(plan, { ...common, path });
    else scored = await scoreCandidates({ ...common, task, path: `${path}.jsonl` });
    const memory = await scorer.memory();
    return {
      name,
      description,
      lists: scored.lists,
      tally: scored.tally,
      vectors: scored.vectors,
      memory: memory === undefined ? null : { ...memory, wholeRun: scored.resumed === 0 },
      loadMilliseconds: description.loadMilliseconds,
    };
  } finally {
    await scorer.close();
  }
}

/** A bi-encoder: each text is embedded once, whatever the number of its pairs. */
async function scoreByVectors(
  plan: Plan,
  facts: {
    readonly system: string;
    readonly scorer: Scorer;
    readonly path: string;
    readonly identity: Identity;
    readonly fresh: boolean;
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ProgressListener | undefined;
  },
): Promise<{ lists: ScoredLists; tally: Tally; resumed: number; vectors: SystemVectors }> {
  const { task, search, options } = plan;
  const { system, signal, onProgress } = facts;
  const tally = new Tally();
  const queryIds = [...task.queries.keys()];
  const documentIds = search
    ? [...task.documents.ids()]
    : candidateIds(task.candidates?.queries ?? new Map());
  const queries = await embedTexts({
    ...facts,
    as: "query",
    path: `${facts.path}.queries`,
    ids: queryIds,
    textsOf: async (ids) => ids.map((id) => task.queries.get(id) ?? ""),
    tally,
  });
  const documents = await embedTexts({
    ...facts,
    as: "document",
    path: `${facts.path}.documents`,
    ids: documentIds,
    textsOf: (ids) => task.documents.texts(ids),
    tally,
  });
  const vectors = { queries: queries.vectors, documents: documents.vectors, queryIds, documentIds };
  const resumed = queries.resumed + documents.resumed;
  const candidates = task.candidates?.queries;
  if (!search && candidates !== undefined) {
    return { lists: scoreLists(vectors, candidates), tally, resumed, vectors };
  }
  const onDocuments = phaseProgress(onProgress, {
    system,
    phase: "searching",
    total: documentIds.length,
    resumed: 0,
  });
  const { excludeIdenticalIds = false } = options;
  const lists = await searchVectors(vectors, {
    depth: retrievalDepth,
    excludeIdenticalIds,
    signal,
    onDocuments,
  });
  return { lists, tally, resumed, vectors };
}

/** Each document once, where it first stands: the first queries' documents come first, whatever the limit. */
function candidateIds(candidates: ReadonlyMap<string, CandidateList>): string[] {
  const ids = new Set<string>();
  for (const { documents } of candidates.values()) for (const id of documents) ids.add(id);
  return [...ids];
}

async function report(plan: Plan, outcomes: readonly Outcome[]): Promise<EvaluationReport> {
  const { options, task, metrics, search } = plan;
  const { qrels } = task;
  const { gates, seed = 1, folder, settings = {} } = options;
  const [reference] = outcomes;
  if (reference === undefined) throw new EvaluationSetupError("There is no system to evaluate.");
  const queryIds = [...task.queries.keys()];

  const constant = constantRow(plan);
  const firstStage = await firstStageOf(plan);
  const rows: MeasuredRow[] = [
    { role: "random", metrics: { ...constant, mteb: constant.expectedMteb }, margin: 0 },
    { role: "constant", metrics: constant, margin: 0 },
    ...(firstStage === undefined
      ? []
      : [{ role: "first-stage" as const, metrics: measureRun(qrels, firstStage.run, metrics), margin: 0 }]),
    ...outcomes.map(({ name, lists }, index) => ({
      role: index === 0 ? ("reference" as const) : ("candidate" as const),
      metrics: measureRun(qrels, rankingRun(lists), metrics),
      margin: marginFor(gates, name),
    })),
  ];
  const total = rows.length * metrics.length;
  const measured = phaseProgress(options.onProgress, {
    system: reference.name,
    phase: "measuring",
    total,
    resumed: 0,
  });
  let steps = 0;
  const statistics = await statisticsOfRows(rows, queryIds, { seed, resamples, level }, () => {
    options.signal?.throwIfAborted();
    measured(steps);
    steps += 1;
  });

  const systems: SystemReport[] = [];
  for (const [index, row] of rows.entries()) {
    const outcome = outcomes[index - (rows.length - outcomes.length)];
    const { metrics: metricReports = [], nonInferiority = [] } = statistics[index] ?? {};
    const isCandidate = outcome !== undefined && row.role === "candidate";
    // A cascade leaves most documents without a score: what it has is no table beside the reference's.
    const isTable = isCandidate && outcome.description.system.cascade === undefined;
    const tables = isTable ? scoreTables(plan, reference, outcome) : undefined;
    const comparison = tables === undefined ? undefined : compareSystems(tables.reference, tables.candidate);
    const gateReports =
      isCandidate && gates !== undefined
        ? judge(plan, outcome, comparison, {
            measured: metricReports,
            test: nonInferiority[0],
            rows,
            base: rows.find(({ role }) => role === "reference"),
          })
        : [];
    const name = outcome?.name ?? (row.role === "first-stage" ? "first stage" : row.role);
    const file =
      outcome !== undefined
        ? plan.fileNames.get(name)
        : row.role === "first-stage"
          ? "first-stage"
          : undefined;
    const run = outcome !== undefined ? rankingRun(outcome.lists) : firstStage?.run;
    const written = file === undefined || run === undefined ? undefined : await writeRun(folder, file, run);
    systems.push({
      role: row.role,
      name,
      model: outcome?.description.system ?? null,
      runFile: written?.path ?? null,
      metrics: metricReports,
      mteb: row.metrics.mteb,
      scores:
        tables !== undefined && comparison !== undefined
          ? scoreReport(comparison, tables.reference, tables.candidate, queryIds)
          : null,
      vectors: vectorReport(outcome, isCandidate ? reference : undefined),
      speed: outcome?.tally.speed(outcome.loadMilliseconds) ?? null,
      memory: outcome?.memory ?? null,
      warnings: [
        ...(outcome === undefined ? [] : [...missingWarning(row.metrics), ...outcome.tally.warnings()]),
        ...(written?.warnings ?? []),
      ],
      gates: gateReports,
      passed: gateReports.length === 0 ? null : gateReports.every(({ passed }) => passed),
    });
  }
  const { id, revision } = reference.description.model;
  return {
    specificationVersion: "1",
    created: new Date().toISOString(),
    environment: options.environment,
    task: taskReport(plan),
    model: { id, revision, family: reference.description.family },
    settings: {
      maxLength: settings.maxLength ?? null,
      truncation: settings.truncation ?? null,
      instruction: settings.instruction ?? null,
      metrics: metrics.map(({ name }) => name),
      primaryMetric: metrics[0]?.name ?? "",
      seed,
      resamples,
      level,
      margin: marginFor(gates, ""),
      limit: options.limit ?? null,
      retrievalDepth: search ? retrievalDepth : null,
      threads: settings.threads ?? null,
      workers: settings.workers ?? null,
    },
    systems,
    warnings: [...task.warnings, ...runWarnings(plan, systems)],
    passed: gates === undefined ? null : systems.every(({ passed }) => passed !== false),
  };
}

function constantRow({ search, task, metrics }: Plan): RowMetrics {
  const { qrels, documents, candidates } = task;
  return search || candidates === undefined
    ? measureConstantCorpus(qrels, documents.ids(), metrics)
    : measureRun(qrels, constantRunOf(candidates.queries), metrics);
}

/** Undefined for a pool without an order. Beside a search, BM25 over the same corpus is what it has to beat. */
async function firstStageOf({
  search,
  task,
  options,
}: Plan): Promise<{ run: ReturnType<typeof firstStageRun> } | undefined> {
  const { candidates, documents, queries } = task;
  if (!search) return candidates?.ranked ? { run: firstStageRun(candidates.queries) } : undefined;
  const { excludeIdenticalIds, signal } = options;
  return {
    run: firstStageRun(
      await searchBm25(documents, queries, { depth: retrievalDepth, excludeIdenticalIds, signal }),
    ),
  };
}

/** Scores of the same pairs: the candidates, or what the reference found when it searched. */
function scoreTables(
  { search }: Plan,
  reference: Outcome,
  candidate: Outcome,
): { readonly reference: ScoredSystem; readonly candidate: ScoredSystem } {
  const found = new Map(
    Array.from(reference.lists, ([query, { documents }]) => [
      query,
      { documents: documents.slice(0, comparedDepth) },
    ]),
  );
  const tableOf = ({ name, lists, vectors, description }: Outcome): ScoredSystem => ({
    name,
    lists: search && vectors !== undefined ? scoreLists(vectors, found) : lists,
    model: description.system,
  });
  return { reference: tableOf(reference), candidate: tableOf(candidate) };
}

function judge(
  { options: { gates = {} }, metrics }: Plan,
  { name, description }: Outcome,
  comparison: ScoreComparison | undefined,
  facts: {
    readonly measured: SystemReport["metrics"];
    readonly test: Parameters<typeof judgeSystem>[1]["quality"]["nonInferiority"] | undefined;
    readonly rows: readonly MeasuredRow[];
    readonly base: MeasuredRow | undefined;
  },
): GateReport[] {
  const { measured, test, rows, base } = facts;
  if (test === undefined) {
    throw new EvaluationSetupError(
      "A gate needs at least two judged queries: one has no spread to tell chance from loss.",
    );
  }
  const meanOf = (row: MeasuredRow | undefined) => row?.metrics.results[0]?.mean;
  const { cascade } = description.system;
  const rules = rulesFor(gates, name);
  // The bounds of a precision are on what rounding does; of a cascade the loss says all.
  const quality = rules.quality === undefined ? false : rules.quality;
  const results = judgeSystem(cascade === undefined ? rules : { ...rules, scores: false, quality }, {
    system: name,
    precision: description.system.precision,
    comparison,
    quality: {
      metric: metrics[0]?.name ?? "",
      candidate: measured[0]?.expected ?? 0,
      reference: meanOf(base)?.expected ?? 0,
      random: meanOf(rows.find(({ role }) => role === "random"))?.expected ?? 0,
      constant: meanOf(rows.find(({ role }) => role === "constant"))?.trec ?? 0,
      nonInferiority: test,
    },
  });
  return results.map((result) => gateReport(result));
}

export function gateReport(result: ReturnType<typeof judgeSystem>[number]): GateReport {
  const { level: gateLevel, check, outcome, value, bound, sentence } = result;
  return {
    level: gateLevel,
    check,
    outcome,
    passed: outcome !== "failed",
    value: value ?? null,
    bound: bound ?? null,
    sentence,
  };
}

async function writeRun(
  folder: string,
  file: string,
  run: RunRows,
): Promise<{ path?: string; warnings: ReportWarning[] }> {
  const path = `runs/${file}.trec`;
  await mkdir(join(folder, "runs"), { recursive: true });
  try {
    await writeRunFile(join(folder, path), run, file);
    return { path, warnings: [] };
  } catch (error) {
    // Ids with white space are fine everywhere but in this format.
    if (!InvalidInputError.isInstance(error)) throw error;
    return {
      warnings: [{ code: "no-run-file", count: 1, message: `There is no run file: ${error.message}.` }],
    };
  }
}

function vectorReport(outcome: Outcome | undefined, reference: Outcome | undefined): SystemReport["vectors"] {
  if (outcome?.vectors === undefined) return null;
  const { documents, documentIds, queryIds } = outcome.vectors;
  const sameLength = reference?.vectors?.documents.dimensions === documents.dimensions;
  return {
    dimensions: documents.dimensions,
    texts: documentIds.length + queryIds.length,
    agreement:
      reference?.vectors !== undefined && sameLength
        ? compareStoredVectors(reference.vectors, outcome.vectors)
        : null,
  };
}

function missingWarning({ missingQueries }: RowMetrics): ReportWarning[] {
  const { length: count } = missingQueries;
  if (count === 0) return [];
  const such = missingQueries.slice(0, 3).join(", ");
  return [
    {
      code: "missing-queries",
      count,
      message: `${count} judged queries have no result and count 0 (e.g. ${such}).`,
    },
  ];
}

function runWarnings({ options, task }: Plan, systems: readonly SystemReport[]): ReportWarning[] {
  const warnings: ReportWarning[] = [];
  const { queries } = options.task;
  if (task.queries.size < queries.size) {
    warnings.push({
      code: "limited",
      count: task.queries.size,
      message: `Only the first ${task.queries.size} of ${queries.size} queries, in the order of the task's file, were evaluated.`,
    });
  }
  const random = systems.find(({ role }) => role === "random")?.metrics[0]?.expected ?? 0;
  for (const { name, role, metrics } of systems) {
    if ((role !== "reference" && role !== "candidate") || (metrics[0]?.expected ?? 0) > random) continue;
    warnings.push({
      code: "not-above-random",
      count: 1,
      message: `${name} ranks no better than a random order: check the model before anything is concluded from it.`,
    });
  }
  return warnings;
}

function taskReport({ options, task, search }: Plan): TaskReport {
  const { provenance, candidates } = task;
  const lengths = [...task.queries.keys()].map(
    (query) => candidates?.queries.get(query)?.documents.length ?? 0,
  );
  const pairs = lengths.reduce((total, length) => total + length, 0);
  let judgements = 0;
  for (const row of task.qrels.values()) judgements += row.size;
  return {
    id: task.id,
    name: task.name,
    kind: search ? "retrieval" : "reranking",
    source: provenance.source,
    revision: provenance.revision ?? null,
    layout: provenance.layout,
    split: provenance.split ?? null,
    subset: provenance.subset ?? null,
    license: provenance.license ?? null,
    citation: provenance.citation ?? null,
    files: provenance.files,
    counts: {
      queries: task.queries.size,
      allQueries: options.task.queries.size,
      documents: task.documents.size,
      judgements,
      pairs: search ? task.queries.size * task.documents.size : pairs,
    },
    queryIds: [...task.queries.keys()],
    candidates:
      search || candidates === undefined
        ? null
        : {
            origin: candidates.origin,
            sha256: options.task.candidates?.sha256 ?? candidates.sha256,
            depth: {
              minimum: lengths.reduce((least, length) => Math.min(least, length), Number.POSITIVE_INFINITY),
              mean: pairs / Math.max(1, lengths.length),
              maximum: lengths.reduce((most, length) => Math.max(most, length), 0),
            },
            ranked: candidates.ranked,
          },
  };
}
