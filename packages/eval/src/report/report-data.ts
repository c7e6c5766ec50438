import type {
  ArtifactInfo,
  BackendInfo,
  ChunkingProvenance,
  Family,
  Scale,
  Settings,
  TruncationStrategy,
} from "@crossrank/core";
import type { DiagnosisKind } from "../compare/diagnosis.js";
import type { GateResult, PrecisionClass } from "../compare/gates.js";
import type { TaskLayout } from "../tasks/task.js";

/**
 * Everything that an evaluation came to, as plain JSON: what is not known is null, never left out, so that writing and
 * reading give the same value again. Every renderer reads this, and the run files beside it, alone.
 *
 * Metrics are 0 to 1, times in milliseconds, sizes in bytes, hashes lower-case hex sha256.
 */
export interface EvaluationReport {
  /** Lets a second form live beside the first. */
  readonly specificationVersion: "1";
  /** ISO 8601, UTC. */
  readonly created: string;
  readonly environment: EnvironmentReport;
  readonly task: TaskReport;
  readonly model: { readonly id: string; readonly revision: string | null; readonly family: Family };
  readonly settings: SettingsReport;
  /** In this order: random, constant, first stage (where there is one), reference, candidates as they were asked for. */
  readonly systems: readonly SystemReport[];
  /** Of the run as a whole: of the task, of the limit. Those of a system are with it. */
  readonly warnings: readonly ReportWarning[];
  /** False when a gate of any system failed; null when no gate was asked for. */
  readonly passed: boolean | null;
}

export interface EnvironmentReport {
  /** E.g. `"v20.19.0"`. */
  readonly node: string;
  /** E.g. `"linux x64"`. */
  readonly platform: string;
  /** The processor's name as the system tells it; null where it does not. */
  readonly cpu: string | null;
  /** Logical processors that the process may use. */
  readonly cores: number;
  /** Bytes of the machine. */
  readonly memory: number;
  /** Package → version, ours first. Runtimes stand with each system. */
  readonly packages: Readonly<Record<string, string>>;
}

export interface TaskReport {
  readonly id: string;
  readonly name: string;
  /** `reranking`: the candidates were ordered. `retrieval`: the whole corpus was searched, by a bi-encoder. */
  readonly kind: "reranking" | "retrieval";
  readonly source: string;
  readonly revision: string | null;
  readonly layout: TaskLayout;
  readonly split: string | null;
  readonly subset: string | null;
  readonly license: string | null;
  /** BibTeX. */
  readonly citation: string | null;
  readonly files: readonly {
    readonly path: string;
    readonly role: string;
    readonly size: number;
    readonly sha256: string;
  }[];
  readonly counts: {
    /** Queries that were evaluated. */
    readonly queries: number;
    /** Queries of the task; more than `queries` under a limit. */
    readonly allQueries: number;
    readonly documents: number;
    /** Judgements of the evaluated queries. */
    readonly judgements: number;
    /** Pairs of query and candidate that are scored; of a retrieval, queries × documents. */
    readonly pairs: number;
  };
  /**
   * Ids of the evaluated queries, in the task's order. Every list of values a query in this report is in this order.
   */
  readonly queryIds: readonly string[];
  /** What was reranked; null for a retrieval. */
  readonly candidates: {
    /** A file, or a first stage with its parameters. */
    readonly origin: string;
    /** Of the task's candidates, the limit aside. */
    readonly sha256: string;
    /** Candidates of a query. */
    readonly depth: { readonly minimum: number; readonly mean: number; readonly maximum: number };
    /** Whether their order is that of a first stage. If not, there is no first-stage row. */
    readonly ranked: boolean;
  } | null;
}

export interface SettingsReport {
  /** Tokens; null for the model's own. What came of it stands with each system. */
  readonly maxLength: number | null;
  readonly truncation: TruncationStrategy | null;
  /** Null for the model's own, `""` for none. */
  readonly instruction: string | null;
  /** Names as `parseMetric` reads them, the primary one first. */
  readonly metrics: readonly string[];
  /** The one that gates, sorting and plots are made on. One of `metrics`. */
  readonly primaryMetric: string;
  /** Of every bootstrap and randomisation. */
  readonly seed: number;
  readonly resamples: number;
  /** Level of the two-sided intervals and of the one-sided lower bounds, e.g. 0.95. */
  readonly level: number;
  /** Loss in the primary metric that is accepted; the margin of the non-inferiority test. */
  readonly margin: number;
  /** First n queries of the task; null for all. */
  readonly limit: number | null;
  /** Documents kept of each query's retrieval; null where candidates were reranked. */
  readonly retrievalDepth: number | null;
  /** Threads of each worker; null for the backend's own choice. */
  readonly threads: number | null;
  readonly workers: number | null;
}

/**
 * - `random`: the expected value over all orders, in closed form.
 * - `constant`: one score for every document: what a broken model looks like. Its trec value is that of an order by id.
 * - `first-stage`: the candidates as they came, or BM25 beside a retrieval.
 * - `reference`: what candidates are held against.
 */
export type SystemRole = "random" | "constant" | "first-stage" | "reference" | "candidate";

export interface SystemReport {
  readonly role: SystemRole;
  /** Unique within the report: `"random"`, `"constant"`, `"first stage"`, `"onnx:fp32"`, `"onnx:int8"`. */
  readonly name: string;
  /** What ran; null for the rows that are no model. */
  readonly model: SystemModel | null;
  /** TREC run file, relative to the report's folder, with forward slashes; null where none was written. */
  readonly runFile: string | null;
  /** One a metric of the settings, in their order. */
  readonly metrics: readonly MetricReport[];
  /**
   * MTEB's metrics by MTEB's names (`ndcg_at_10`), unrounded, in trec_eval's order with scores as float32 where MTEB
   * takes them so (nDCG, MAP, recall, precision).
   */
  readonly mteb: Readonly<Record<string, number>>;
  /** Scores against the reference's; null for rows that are no candidate. */
  readonly scores: ScoreReport | null;
  /** Vectors against the reference's and what they find; null where the model is no bi-encoder. */
  readonly vectors: VectorReport | null;
  readonly speed: SpeedReport | null;
  readonly memory: MemoryReport | null;
  readonly warnings: readonly ReportWarning[];
  /** Empty for rows that are no candidate, and where no gate was asked for. */
  readonly gates: readonly GateReport[];
  /** False when a gate failed; null when none was judged. */
  readonly passed: boolean | null;
}

export interface SystemModel {
  readonly backend: BackendInfo;
  readonly artifact: ArtifactInfo;
  /** Of the backend: all that it was told, or chose itself, that can change a number. */
  readonly settings: Settings;
  /** Which gates apply; null for a dtype that is of no known class. */
  readonly precision: PrecisionClass | null;
  /** Of tokenizer.json; null where the tokenizer is part of the artifact. */
  readonly tokenizerSha256: string | null;
  /** The sequence that the model reads, as text: special tokens as they are spelled, texts in braces. */
  readonly template: string;
  /** Tokens, as it was run. */
  readonly maxLength: number;
  readonly truncation: TruncationStrategy;
  /** How documents that are longer than the model were scored by passages; left out where they were cut. */
  readonly longDocuments?: ChunkingProvenance | undefined;
  readonly instruction: string | null;
  readonly queryPrefix: string;
  readonly documentPrefix: string;
  readonly scale: Scale;
  readonly activation: "identity" | "sigmoid" | "tanh";
  /** `listwise`: a score depends on the other candidates of its query, too. */
  readonly scoring: "pointwise" | "listwise";
  /** The smaller models before this one; left out where it scores all documents itself. */
  readonly cascade?: CascadeModel | undefined;
}

/** What stands before the last stage of a cascade. */
export interface CascadeModel {
  /** Documents of a query that go on from each of the stages. */
  readonly keep: readonly number[];
  /** In their order, the last one left out. */
  readonly stages: readonly StageModel[];
}

/** A stage of a cascade that is not the last. */
export interface StageModel extends Omit<SystemModel, "cascade"> {
  readonly model: { readonly id: string; readonly revision: string | null };
  /** Of the facts of its profile that a score depends on. */
  readonly profileSha256: string;
}

export interface MetricReport {
  /** E.g. `"ndcg@10"`. */
  readonly name: string;
  /** In trec_eval's order; null for the random row, which has no order. */
  readonly trec: number | null;
  /** Mean over the orders of tied documents. Intervals, comparisons and gates are made on it. */
  readonly expected: number;
  readonly worst: number;
  readonly best: number;
  /** Two-sided, over queries; null for fewer than two. */
  readonly interval: { readonly lower: number; readonly upper: number; readonly level: number } | null;
  /** Expected value of each query, in the order of `task.queryIds`. */
  readonly values: readonly number[];
  /** Against the reference; null for the reference itself, and for the random and constant rows. */
  readonly change: ChangeReport | null;
}

/** Candidate − reference, paired by query, on the expected values. */
export interface ChangeReport {
  readonly mean: number;
  /** System / reference; null where the reference is 0. */
  readonly retention: number | null;
  /** One-sided lower bound of the mean; null for fewer than two queries, like what follows from it. */
  readonly lowerBound: number | null;
  /** Standard deviation over queries. */
  readonly deviation: number | null;
  /** The smallest true drop that this sample finds in 80 % of cases; null too where all queries change alike. */
  readonly detectableDrop: number | null;
  /** Two-sided paired randomisation test. */
  readonly pValue: number;
  /** After Holm, over all candidates and metrics of the report; null for the first stage, which is no candidate. */
  readonly adjustedPValue: number | null;
  /** Queries by their change. */
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
}

/** L2 statistics over all pairs that both scored. Logits (cosines of a bi-encoder), never rounded scores. */
export interface ScoreReport {
  readonly pairs: number;
  /** Pairs that only one of the two has. */
  readonly unmatched: { readonly reference: number; readonly candidate: number };
  readonly delta: {
    readonly maximum: number;
    readonly mean: number;
    readonly median: number;
    readonly p99: number;
  } | null;
  /** Mean of candidate − reference. */
  readonly meanShift: number | null;
  readonly spread: { readonly reference: number; readonly candidate: number } | null;
  /** candidate ≈ intercept + slope · reference. */
  readonly fit: {
    readonly slope: number;
    readonly intercept: number;
    readonly rSquared: number;
    readonly residualDeviation: number;
  } | null;
  readonly spearman: { readonly pooled: number | null; readonly withinQueries: number | null };
  readonly kendall: { readonly pooled: number | null; readonly withinQueries: number | null };
  /** Overlap 0 to 1, null where no query has more than k pairs. */
  readonly top: readonly { readonly k: number; readonly overlap: number | null; readonly queries: number }[];
  /** Different scores / pairs. */
  readonly distinctShare: { readonly reference: number; readonly candidate: number };
  /** Shares of scores at a limit of their scale. */
  readonly saturated: { readonly reference: SaturationReport; readonly candidate: SaturationReport };
  readonly signAgreement: number | null;
  readonly diagnosis: {
    readonly kind: DiagnosisKind;
    readonly sentence: string;
    readonly likelyCause: string;
    readonly fewPairs: boolean;
  };
  /** For a scatter plot: evenly spaced pairs, at most 2,000, in the order of queries and candidates. */
  readonly sample: {
    /** Position in `task.queryIds`. */
    readonly query: readonly number[];
    readonly document: readonly string[];
    readonly reference: readonly number[];
    readonly candidate: readonly number[];
  };
}

export interface SaturationReport {
  readonly exact: number;
  readonly float32: number;
  readonly float16: number;
}

/** Of a bi-encoder. */
export interface VectorReport {
  readonly dimensions: number;
  /** Distinct texts that were embedded. */
  readonly texts: number;
  /** Cosine of the same text's vectors in candidate and reference; null for the reference. */
  readonly agreement: {
    readonly mean: number;
    readonly fifthPercentile: number;
    readonly minimum: number;
    /** Id of the text with the least. */
    readonly minimumText: string;
    readonly texts: number;
  } | null;
}

export interface SpeedReport {
  /** Pairs (documents, in a retrieval) that were timed. */
  readonly documents: number;
  /** Of calls with many queries at once, loading excluded. */
  readonly documentsPerSecond: number;
  readonly tokensPerSecond: number;
  /** Real tokens run, padding not counted, over everything scored. */
  readonly tokens: number;
  /** Wall-clock milliseconds of scoring, over everything scored, runs that were resumed included. */
  readonly milliseconds: number;
  /** Of queries that were scored alone, each with all of its candidates; null where none was. */
  readonly perQuery: { readonly p50: number; readonly p95: number; readonly queries: number } | null;
  /** Milliseconds until the model could score; null where everything was scored before. */
  readonly loadMilliseconds: number | null;
}

export interface MemoryReport {
  /** Largest resident size of the process that holds the model, with those that it starts, in bytes. */
  readonly peakBytes: number;
  /** The same before the model was loaded: the language runtime and our code. */
  readonly beforeLoadBytes: number;
  /** Where the number is from, e.g. `"VmHWM of a process of its own and its children"`. */
  readonly method: string;
  /** False when part of the scores came from an earlier run, so that the peak is of the rest. */
  readonly wholeRun: boolean;
}

export interface ReportWarning {
  /** E.g. `"missing-queries"`, `"documents-truncated"`, `"query-overflow"`, `"duplicate-candidates"`. */
  readonly code: string;
  readonly count: number;
  /** One sentence. */
  readonly message: string;
}

/** As {@link GateResult}, in JSON. */
export interface GateReport {
  readonly level: GateResult["level"];
  readonly check: string;
  readonly outcome: GateResult["outcome"];
  /** False when it failed. What is only reported, or degraded, passes. */
  readonly passed: boolean;
  readonly value: number | null;
  readonly bound: number | null;
  readonly sentence: string;
}
