import type { Qrels } from "../metrics/trec-data.js";
import type { DocumentStore } from "./document-store.js";

/** What is scored: queries, documents, judgements and, where there are any, the candidates to rerank. */
export interface Task extends AsyncDisposable {
  /** Dataset id (`"mteb/scifact"`) or folder, as the caller opened it. */
  readonly id: string;
  /** For tables: the card's `pretty_name`, else the last part of the id. */
  readonly name: string;
  /** `reranking`: the task brings its own candidates; `retrieval`: the whole corpus is searched. */
  readonly kind: "reranking" | "retrieval";
  /** Query id → text: the judged queries of the split (all of them where nothing is judged), in file order. */
  readonly queries: ReadonlyMap<string, string>;
  readonly documents: DocumentStore;
  /** Of the split. Empty only where the task has no judgements at all, which a warning says. */
  readonly qrels: Qrels;
  /** Undefined for a retrieval task until a first stage or a run file gives some. */
  readonly candidates: Candidates | undefined;
  readonly provenance: TaskProvenance;
  /** What real data sets have and a reader should know; at most one of each code. */
  readonly warnings: readonly TaskWarning[];
}

export interface Candidates {
  /** Where they come from: a file of the task, a run file, or a first stage with its parameters. */
  readonly origin: string;
  /**
   * False for a bare pool without a first stage: the scores of a query are all equal, and the order says nothing.
   */
  readonly ranked: boolean;
  /**
   * Lower-case hex. Of the lines `JSON.stringify([query, [document, …]]) + "\n"`, queries ascending by the bytes of
   * their ids, documents in order. Scores are left out, since programs write them with different digits.
   */
  readonly sha256: string;
  /** Query id → its documents. */
  readonly queries: ReadonlyMap<string, CandidateList>;
}

/** One query's candidates, best first, each document once. */
export interface CandidateList {
  readonly documents: readonly string[];
  /** The first stage's scores, finite and not ascending, one a document. */
  readonly scores: Float64Array;
}

export type TaskLayout = "beir" | "mteb-retrieval" | "mteb-reranking" | "trec";

/** Where the task's numbers come from; goes into every report. */
export interface TaskProvenance {
  readonly source: string;
  /** Commit hash; undefined for a plain folder. */
  readonly revision: string | undefined;
  readonly layout: TaskLayout;
  /** Of the judgements, e.g. `"test"`; undefined where the layout knows none. */
  readonly split: string | undefined;
  /** E.g. a language; undefined for a dataset that has no subsets. */
  readonly subset: string | undefined;
  /** As the dataset card's front matter says it. */
  readonly license: string | undefined;
  /** BibTeX, from the dataset card. */
  readonly citation: string | undefined;
  /** Every file that was read. */
  readonly files: readonly TaskFile[];
}

export interface TaskFile {
  readonly path: string;
  readonly role: "documents" | "queries" | "qrels" | "candidates" | "rows" | "card";
  /** Bytes. */
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** Each is met in published data sets, which is why it is no error; the cases are named beside the code. */
export type TaskWarningCode =
  /** The same candidate twice for a query: its best place counts (LiveQA's pools). */
  | "duplicate-candidates"
  /** The same judgement twice, with one grade (MIRACL, https://github.com/castorini/pyserini/issues/1902). */
  | "duplicate-judgements"
  /** A document judged twice with different grades: the last line counts, as with BEIR and MTEB (LiveQA). */
  | "contradictory-judgements"
  /** The same document twice, with one text (MIRACL again). */
  | "duplicate-documents"
  /**
   * Judgements of documents that the corpus lacks: they stay judged and count in the ideal ranking, as in trec_eval and
   * MTEB (ArguAna, https://github.com/beir-cellar/beir/issues/101). More than 5 % of the judgements are a pool where
   * candidates are given (TREC Deep Learning), and an error where they are not: a corpus of another version
   * (https://github.com/beir-cellar/beir/issues/11).
   */
  | "unknown-judged-documents"
  /** The same query twice, with one text. */
  | "duplicate-queries"
  /** Documents without text (BEIR's TREC-COVID and SciDocs). */
  | "empty-documents"
  /** Judged queries that have no candidate: they count 0. */
  | "queries-without-candidates"
  /** Judged queries without a relevant document: they count 0 whatever the model does (LiveQA). */
  | "queries-without-relevant"
  /** Queries without a judgement in this split are left out, as BEIR and MTEB do. */
  | "unjudged-queries"
  /** Candidates of queries that are not evaluated are left out. */
  | "unjudged-candidates"
  /** Rows of an MTEB reranking dataset without a positive or without a negative are left out, as MTEB does. */
  | "one-sided-rows"
  /** Queries of a run file whose ranks contradict their scores: scores decide, as in trec_eval. */
  | "ranks-contradict-scores"
  /**
   * Queries that are themselves documents, under one id and with one text (ArguAna, Quora). Published numbers leave
   * the document out; see `excludeIdenticalIds` of the first stage.
   */
  | "queries-in-corpus"
  /** There are no judgements: scores can be compared, rankings cannot be measured. */
  | "no-judgements";

export interface TaskWarning {
  readonly code: TaskWarningCode;
  /** How many. */
  readonly count: number;
  /** One sentence, with up to three examples. */
  readonly message: string;
}

/** Those about candidates, which go when a task gets others. */
export const candidateWarnings: ReadonlySet<TaskWarningCode> = new Set([
  "duplicate-candidates",
  "queries-without-candidates",
  "unjudged-candidates",
  "ranks-contradict-scores",
]);

/** Counts what is worth a warning. */
export class WarningCounter {
  readonly #counts = new Map<TaskWarningCode, { count: number; examples: string[] }>();
  readonly #totals = new Map<TaskWarningCode, number>();

  add(code: TaskWarningCode, example?: string): void {
    const entry = this.#counts.get(code) ?? { count: 0, examples: [] };
    entry.count += 1;
    if (example !== undefined && entry.examples.length < 3) entry.examples.push(example);
    this.#counts.set(code, entry);
  }

  /** Of how many the counted ones are, where the sentence says it. */
  outOf(code: TaskWarningCode, total: number): void {
    this.#totals.set(code, total);
  }

  list(): TaskWarning[] {
    return Array.from(this.#counts, ([code, { count, examples }]) => {
      const such = examples.length === 0 ? "" : ` (e.g. ${examples.join(", ")})`;
      return { code, count, message: `${sentences[code](count, this.#totals.get(code) ?? count)}${such}.` };
    });
  }
}

const sentences: Readonly<Record<TaskWarningCode, (count: number, total: number) => string>> = {
  "duplicate-candidates": (n) => `${n} candidates stand twice under one query; each counts once`,
  "duplicate-judgements": (n) => `${n} judgements stand twice with the same grade; each counts once`,
  "contradictory-judgements": (n) => `${n} judgements contradict an earlier one; the last one counts`,
  "duplicate-documents": (n) => `${n} documents stand twice with the same text; each counts once`,
  "duplicate-queries": (n) => `${n} queries stand twice with the same text; each counts once`,
  "unknown-judged-documents": (n, total) =>
    `${n} of ${total} judgements are of documents that the corpus lacks: nothing can find these, and they count in the ideal ranking, as in trec_eval`,
  "empty-documents": (n) => `${n} documents have no text`,
  "queries-without-candidates": (n) => `${n} judged queries have no candidates and count 0`,
  "queries-without-relevant": (n) => `${n} queries have no relevant document and count 0 with every model`,
  "unjudged-queries": (n) => `${n} queries have no judgement in this split and are left out`,
  "unjudged-candidates": (n) => `${n} candidates belong to queries that are not evaluated and are left out`,
  "one-sided-rows": (n) => `${n} rows have no positive or no negative document and are left out, as in MTEB`,
  "ranks-contradict-scores": (n) => `${n} queries have ranks that contradict their scores; the scores decide`,
  "queries-in-corpus": (n) => `${n} queries are documents of the corpus too, under the same id`,
  "no-judgements": () => "There are no judgements: no metric can be computed",
};
