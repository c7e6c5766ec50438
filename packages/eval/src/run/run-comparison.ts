import { NonFiniteScoreError, type Pair } from "@crossrank/core";
import { type ScoreComparison, sigmoid } from "../compare/compare-scores.js";
import { compareVectors, retrievalTable } from "../compare/compare-vectors.js";
import type {
  EnvironmentReport,
  GateReport,
  ScoreReport,
  SystemModel,
  VectorReport,
} from "../report/report-data.js";
import { EvaluationSetupError, NonFiniteSystemScoreError } from "./errors.js";
import { checkGateSystems, type GateFile, judgeSystemScores, rulesFor } from "./gate-rules.js";
import { type ProgressListener, phaseProgress } from "./progress.js";
import { gateReport, type SystemSource } from "./run-evaluation.js";
import { compareSystems, type ScoredSystem, scoreReport } from "./score-report.js";
import type { ScoredList } from "./scored-lists.js";
import type { Scorer, ScorerDescription } from "./scorer.js";

/** Pairs of one call. */
const pairsTogether = 1024;

export interface RunComparisonOptions {
  /** Id → text. */
  readonly queries: ReadonlyMap<string, string>;
  /** Id → text, of the pairs and of what is relevant. */
  readonly documents: ReadonlyMap<string, string>;
  /** Query id → the documents to score it with. */
  readonly pairs: ReadonlyMap<string, readonly string[]>;
  /**
   * Query id → its right documents, where they are known: a bi-encoder then says what it finds among `documents`.
   */
  readonly relevant?: ReadonlyMap<string, readonly string[]> | undefined;
  readonly systems: readonly SystemSource[];
  /** Default: the first. */
  readonly reference?: string | undefined;
  /** Those of scores are judged. */
  readonly gates?: GateFile | undefined;
  readonly environment: EnvironmentReport;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/** Two or more systems' scores of the same pairs, as plain JSON; null is what is not known. */
export interface ComparisonReport {
  readonly specificationVersion: "1";
  /** ISO 8601, UTC. */
  readonly created: string;
  readonly environment: EnvironmentReport;
  readonly model: { readonly id: string; readonly revision: string | null };
  /** The reference first. */
  readonly systems: readonly ComparedSystem[];
  /** Each query's pairs together, in the order given. */
  readonly pairs: readonly {
    readonly query: string;
    readonly document: string;
    /** One a system, in their order. Null where the query was too long to be scored. */
    readonly logits: readonly (number | null)[];
    readonly scores: readonly (number | null)[];
  }[];
  readonly passed: boolean | null;
}

export interface ComparedSystem {
  readonly role: "reference" | "candidate";
  readonly name: string;
  readonly model: SystemModel;
  /** Against the reference; null for itself. */
  readonly scores: ScoreReport | null;
  readonly vectors: VectorReport | null;
  /** What a bi-encoder finds among the documents of the comparison. */
  readonly retrieval: {
    /** By k: 1, 3, 5, 10. */
    readonly recall: Readonly<Record<string, number>>;
    readonly mrr: number;
    readonly meanGoldCosine: number;
    readonly queries: number;
    readonly documents: number;
  } | null;
  readonly gates: readonly GateReport[];
}

interface Outcome {
  readonly name: string;
  readonly description: ScorerDescription;
  readonly lists: Map<string, ScoredList>;
  readonly vectors:
    | { readonly queries: Map<string, Float32Array>; readonly documents: Map<string, Float32Array> }
    | undefined;
}

/**
 * Scores the same pairs with every system and says how alike they are. Everything is held in memory: for pairs that
 * somebody chose, not for a whole task.
 */
export async function runComparison(options: RunComparisonOptions): Promise<ComparisonReport> {
  const names = options.systems.map(({ name }) => name);
  const reference = options.reference ?? names[0];
  if (names.length < 2)
    throw new EvaluationSetupError("A comparison needs two systems, a reference and a candidate.");
  if (new Set(names).size < names.length) throw new EvaluationSetupError("Each system must be named once.");
  if (reference === undefined || !names.includes(reference)) {
    throw new EvaluationSetupError(`The reference ${reference} is none of the systems: ${names.join(", ")}.`);
  }
  const { gates, signal } = options;
  if (gates !== undefined) {
    checkGateSystems(
      gates,
      names.filter((name) => name !== reference),
    );
  }
  const ordered = [...options.systems].sort(
    (left, right) => Number(right.name === reference) - Number(left.name === reference),
  );
  const outcomes: Outcome[] = [];
  for (const [index, source] of ordered.entries()) {
    signal?.throwIfAborted();
    options.onProgress?.({
      system: source.name,
      phase: "loading",
      completed: index,
      total: ordered.length,
      resumed: 0,
      secondsLeft: undefined,
    });
    const scorer = await source.open({ signal });
    try {
      const { description } = scorer;
      const scored = description.family === "bi-encoder" ? scoreByVectors : scoreByPairs;
      outcomes.push({ name: source.name, description, ...(await scored(options, source.name, scorer)) });
    } finally {
      await scorer.close();
    }
  }
  return reportOf(options, outcomes);
}

async function scoreByPairs(
  { queries, documents, pairs, signal, onProgress }: RunComparisonOptions,
  system: string,
  scorer: Scorer,
): Promise<Pick<Outcome, "lists" | "vectors">> {
  const places = Array.from(pairs, ([query, ids]) => ids.map((document) => ({ query, document }))).flat();
  const listwise = scorer.description.system.scoring === "listwise";
  const calls: (typeof places)[] = [];
  for (const place of places) {
    const last = calls.at(-1);
    const full =
      last === undefined || (listwise ? last[0]?.query !== place.query : last.length >= pairsTogether);
    if (full) calls.push([place]);
    else last.push(place);
  }
  const report = phaseProgress(onProgress, { system, phase: "scoring", total: places.length, resumed: 0 });
  const logits: number[] = [];
  for (const call of calls) {
    const texts = call.map(
      ({ query, document }): Pair => ({
        query: queries.get(query) ?? "",
        document: documents.get(document) ?? "",
      }),
    );
    const before = logits.length;
    const options = {
      signal,
      onProgress: ({ completed }: { completed: number }) => report(before + completed),
    };
    const { scores } = await scorer.score(texts, options).catch((error: unknown) => {
      if (!NonFiniteScoreError.isInstance(error)) throw error;
      throw new NonFiniteSystemScoreError(
        { system, ...call[error.index], value: error.value },
        { cause: error },
      );
    });
    for (const { logit } of scores) logits.push(logit ?? Number.NaN);
  }
  let next = 0;
  const lists = new Map<string, ScoredList>();
  for (const [query, ids] of pairs) {
    lists.set(query, { documents: ids, logits: Float64Array.from(logits.slice(next, next + ids.length)) });
    next += ids.length;
  }
  return { lists, vectors: undefined };
}

async function scoreByVectors(
  { queries, documents, pairs, signal, onProgress }: RunComparisonOptions,
  system: string,
  scorer: Scorer,
): Promise<Pick<Outcome, "lists" | "vectors">> {
  const total = queries.size + documents.size;
  const report = phaseProgress(onProgress, { system, phase: "embedding", total, resumed: 0 });
  let done = 0;
  const embedAll = async (
    texts: ReadonlyMap<string, string>,
    as: "query" | "document",
  ): Promise<Map<string, Float32Array>> => {
    const vectors = new Map<string, Float32Array>();
    const entries = [...texts];
    for (let start = 0; start < entries.length; start += pairsTogether) {
      const call = entries.slice(start, start + pairsTogether);
      const before = done;
      const found = await scorer
        .embed(
          call.map(([, text]) => text),
          { as, signal, onProgress: ({ completed }) => report(before + completed) },
        )
        .catch((error: unknown) => {
          if (!NonFiniteScoreError.isInstance(error)) throw error;
          const id = call[error.index]?.[0];
          throw new NonFiniteSystemScoreError({ system, [as]: id, value: error.value }, { cause: error });
        });
      call.forEach(([id], index) => {
        vectors.set(id, found.vectors[index] as Float32Array);
      });
      done += call.length;
    }
    return vectors;
  };
  const vectors = {
    queries: await embedAll(queries, "query"),
    documents: await embedAll(documents, "document"),
  };
  const lists = new Map<string, ScoredList>();
  for (const [query, ids] of pairs) {
    const left = vectors.queries.get(query) as Float32Array;
    const logits = Float64Array.from(ids, (id) => dot(left, vectors.documents.get(id) as Float32Array));
    lists.set(query, { documents: ids, logits });
  }
  return { lists, vectors };
}

function reportOf(options: RunComparisonOptions, outcomes: readonly Outcome[]): ComparisonReport {
  const { queries, pairs, gates } = options;
  const [reference] = outcomes as [Outcome, ...Outcome[]];
  const queryIds = [...queries.keys()];
  const systems = outcomes.map((outcome): ComparedSystem => {
    const { name, description } = outcome;
    const isReference = outcome === reference;
    const comparison = isReference ? undefined : compareSystems(tableOf(reference), tableOf(outcome));
    return {
      role: isReference ? "reference" : "candidate",
      name,
      model: description.system,
      scores:
        comparison === undefined
          ? null
          : scoreReport(comparison, tableOf(reference), tableOf(outcome), queryIds),
      vectors: vectorReport(outcome, isReference ? undefined : reference),
      retrieval: retrievalOf(options, outcome),
      gates: comparison === undefined || gates === undefined ? [] : judge(gates, outcome, comparison),
    };
  });
  const { id, revision } = reference.description.model;
  return {
    specificationVersion: "1",
    created: new Date().toISOString(),
    environment: options.environment,
    model: { id, revision },
    systems,
    pairs: Array.from(pairs, ([query, ids]) =>
      ids.map((document, index) => {
        const logits = outcomes.map(({ lists }) => {
          const logit = lists.get(query)?.logits[index] ?? Number.NaN;
          return Number.isNaN(logit) ? null : logit;
        });
        const scores = logits.map((logit, system) => {
          const activation = outcomes[system]?.description.system.activation;
          if (logit === null) return null;
          if (activation === "tanh") return Math.tanh(logit);
          return activation === "sigmoid" ? sigmoid(logit) : logit;
        });
        return { query, document, logits, scores };
      }),
    ).flat(),
    passed:
      gates === undefined ? null : systems.every((system) => system.gates.every(({ passed }) => passed)),
  };
}

function tableOf({ name, lists, description }: Outcome): ScoredSystem {
  return { name, lists, model: description.system };
}

function judge(gates: GateFile, { name, description }: Outcome, comparison: ScoreComparison): GateReport[] {
  const { precision } = description.system;
  return judgeSystemScores(rulesFor(gates, name), { system: name, precision, comparison }).map(gateReport);
}

function vectorReport({ vectors }: Outcome, reference: Outcome | undefined): VectorReport | null {
  if (vectors === undefined) return null;
  const all = ({ queries, documents }: NonNullable<Outcome["vectors"]>): Map<string, Float32Array> =>
    new Map([
      ...Array.from(queries, ([id, vector]) => [`query ${id}`, vector] as const),
      ...Array.from(documents, ([id, vector]) => [`document ${id}`, vector] as const),
    ]);
  const dimensions = vectors.documents.values().next().value?.length ?? 0;
  const before = reference?.vectors;
  const sameLength = before?.documents.values().next().value?.length === dimensions;
  return {
    dimensions,
    texts: vectors.queries.size + vectors.documents.size,
    agreement: before !== undefined && sameLength ? compareVectors(all(before), all(vectors)) : null,
  };
}

function retrievalOf({ relevant }: RunComparisonOptions, { vectors }: Outcome): ComparedSystem["retrieval"] {
  if (vectors === undefined || relevant === undefined || relevant.size === 0) return null;
  const { recall, ...rest } = retrievalTable({ ...vectors, gold: relevant });
  return { recall: Object.fromEntries(recall), ...rest };
}

function dot(a: Float32Array, b: Float32Array): number {
  let total = 0;
  for (let index = 0; index < a.length; index += 1) total += (a[index] as number) * (b[index] as number);
  return total;
}
