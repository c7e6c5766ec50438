import { InvalidInputError } from "@crossrank/core";
import type { EvaluationReport, SystemReport } from "./report-data.js";

/**
 * A result file as mteb 2.x reads it (`mteb.results.TaskResult`), with one key more, `crossrank`, which mteb passes over:
 * what ran, and the tie-aware values beside mteb's.
 */
export interface MtebTaskResult {
  readonly dataset_revision: string;
  readonly task_name: string;
  /** Null: the numbers were not made by mteb. */
  readonly mteb_version: null;
  /** Split → one entry a subset. */
  readonly scores: Readonly<Record<string, readonly [MtebScores]>>;
  /** Seconds. */
  readonly evaluation_time: number | null;
  readonly kg_co2_emissions: null;
  readonly date: string;
  readonly crossrank: MtebExtension;
}

/** `ndcg_at_10` and its like stand beside these. */
export interface MtebScores {
  readonly main_score: number;
  readonly hf_subset: string;
  readonly languages: readonly string[];
  readonly [metric: string]: number | string | readonly string[];
}

export interface MtebExtension {
  readonly specificationVersion: "1";
  readonly task: Pick<
    EvaluationReport["task"],
    "id" | "kind" | "source" | "license" | "counts" | "candidates"
  >;
  readonly model: EvaluationReport["model"];
  readonly system: Pick<
    SystemReport,
    "name" | "role" | "model" | "speed" | "memory" | "warnings" | "runFile"
  >;
  readonly settings: EvaluationReport["settings"];
  readonly environment: EvaluationReport["environment"];
  /** Key of `scores` that `main_score` is. */
  readonly mainScore: string;
  /** Ours by our names, over ties, with intervals. */
  readonly metrics: Readonly<
    Record<
      string,
      {
        readonly trec: number | null;
        readonly expected: number;
        readonly worst: number;
        readonly best: number;
        readonly lower: number | null;
        readonly upper: number | null;
      }
    >
  >;
  /** Query id → value by metric, in the order of `queries`. */
  readonly perQuery: {
    readonly queries: readonly string[];
    readonly values: Readonly<Record<string, readonly number[]>>;
  };
  readonly gates: SystemReport["gates"];
}

export interface MtebResultOptions {
  /** Mteb's name of the task, e.g. `"SciFact"`. Default: the report's name of it. */
  readonly taskName?: string | undefined;
  /** Key of the main score, e.g. `"ndcg_at_10"`. Default: what mteb has for this dataset, else `ndcg_at_10`. */
  readonly mainScore?: string | undefined;
  /** As mteb writes them, e.g. `["eng-Latn"]`; at least one. A report does not know them: default `["und-Zyyy"]`. */
  readonly languages?: readonly string[] | undefined;
}

/**
 * One system's result in MTEB's form.
 * @throws {InvalidInputError} for a system that the report does not have or that has no such main score, and for a
 *   dataset whose main score in mteb is none that is measured here, unless `mainScore` is given.
 */
export function mtebTaskResult(
  report: EvaluationReport,
  systemName: string,
  options: MtebResultOptions = {},
): MtebTaskResult {
  const system = report.systems.find(({ name }) => name === systemName);
  if (system === undefined) {
    const names = report.systems.map(({ name }) => name).join(", ");
    throw new InvalidInputError("system", `is ${JSON.stringify(systemName)}; the report has ${names}`);
  }
  const mainScore = options.mainScore ?? mainScoreOf(report.task.id);
  const main = mainScore === undefined ? undefined : system.mteb[mainScore];
  if (mainScore === undefined || main === undefined) {
    throw new InvalidInputError(
      "mainScore",
      mainScore === undefined
        ? `must be given: mteb ranks ${report.task.id} by a measure that is not made here`
        : `is ${JSON.stringify(mainScore)}; ${systemName} has ${Object.keys(system.mteb).join(", ") || "none"}`,
    );
  }
  const { task, model, settings, environment } = report;
  return {
    dataset_revision: task.revision ?? revisionNotApplicable,
    task_name: options.taskName ?? task.name,
    mteb_version: null,
    scores: {
      [task.split ?? "test"]: [
        {
          ...system.mteb,
          main_score: main,
          hf_subset: task.subset ?? "default",
          languages: options.languages ?? undetermined,
        },
      ],
    },
    evaluation_time: system.speed === null ? null : system.speed.milliseconds / 1000,
    kg_co2_emissions: null,
    date: report.created,
    crossrank: {
      specificationVersion: "1",
      task: {
        id: task.id,
        kind: task.kind,
        source: task.source,
        license: task.license,
        counts: task.counts,
        candidates: task.candidates,
      },
      model,
      system: {
        name: system.name,
        role: system.role,
        model: system.model,
        speed: system.speed,
        memory: system.memory,
        warnings: system.warnings,
        runFile: system.runFile,
      },
      settings,
      environment,
      mainScore,
      metrics: Object.fromEntries(
        system.metrics.map(({ name, trec, expected, worst, best, interval }) => [
          name,
          {
            trec,
            expected,
            worst,
            best,
            lower: interval?.lower ?? null,
            upper: interval?.upper ?? null,
          },
        ]),
      ),
      perQuery: {
        queries: task.queryIds,
        values: Object.fromEntries(system.metrics.map(({ name, values }) => [name, values])),
      },
      gates: system.gates,
    },
  };
}

/**
 * Language and script undetermined (ISO 639-3, ISO 15924). An empty list would not do: mteb's `get_score` passes over
 * entries without a language and then gives no number.
 */
const undetermined: readonly string[] = ["und-Zyyy"];

/** What mteb itself writes for data without a revision. */
const revisionNotApplicable = "revision_not_applicable";

function mainScoreOf(dataset: string): string | undefined {
  const name = (dataset.split("/").at(-1) ?? dataset).toLowerCase();
  const found = Object.entries(mainScores).find(([, names]) => names.includes(name));
  if (found === undefined) return "ndcg_at_10";
  return found[0] === "none of ours" ? undefined : found[0];
}

/**
 * Text reranking tasks of mteb 2.26.24 whose `main_score` is not `ndcg_at_10`: last part of the dataset's id in lower
 * case, by main score. Read from its task metadata.
 */
const mainScores: Readonly<Record<string, readonly string[]>> = {
  map_at_1000: [
    "alloprofreranking",
    "askubuntudupquestions",
    "askubuntudupquestions-vn",
    "builtbenchreranking",
    "cmedqav1-reranking",
    "cmedqav2-reranking",
    "escireranking",
    "humecore17instructionreranking",
    "humenews21instructionreranking",
    "humerobust04instructionreranking",
    "humewikipediarerankingmultilingual",
    "jacwirreranking",
    "jqarareranking",
    "mmarcoreranking",
    "namaamrtydireranking",
    "reranking-skquad",
    "rubqreranking",
    "scidocsrr",
    "scidocsrr-vn",
    "slovak-pharmacy-drmax-reranking",
    "slovak-pharmacy-mojalekaren-reranking",
    "stackoverflowdupquestions",
    "stackoverflowdupquestions-vn",
    "syntecreranking",
    "t2reranking",
    "voyagemmarcoreranking",
    "wikipediarerankingmultilingual",
    "xgluewprreranking",
  ],
  map_at_10: ["coreb-c2c-reranking", "coreb-c2t-reranking", "coreb-t2c-reranking"],
  mrr_at_10: ["weblinxcandidatesreranking"],
  ndcg_at_5: ["eressreranking"],
  recall_at_10: [
    "locbenchrr",
    "multiswebenchrr",
    "swebenchliterr",
    "swebenchmultilingualrr",
    "swebenchverifiedrr",
    "swepolybenchrr",
  ],
  "none of ours": ["colder", "mindsmallreranking", "nevir-mteb"],
};
