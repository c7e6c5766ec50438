import { createHash } from "node:crypto";
import type { Qrels } from "../metrics/trec-data.js";
import { candidatesFromLists, unrankedList } from "./candidates.js";
import { DocumentSpool, FileDocumentStore } from "./document-store.js";
import { TaskDataError, TaskLayoutError } from "./errors.js";
import {
  asGrade,
  asId,
  asText,
  documentIdColumns,
  documentTextColumns,
  type Fields,
  formatOf,
  isCompressed,
  judgementColumns,
  type LocalFile,
  malformed,
  parseFields,
  pick,
  queryIdColumns,
  queryTextColumns,
  readLines,
  readRows,
} from "./rows.js";
import type { CandidateList, WarningCounter } from "./task.js";
import { documentText, strip } from "./text.js";

/** What the readers of the parts share. */
export interface Reading {
  readonly task: string;
  readonly counter: WarningCounter;
  readonly signal: AbortSignal | undefined;
}

export interface OpenDocuments {
  readonly store: FileDocumentStore;
  /** Removes what was written to read them. */
  remove(): Promise<void>;
}

/** The fields of a document, wherever they come from. */
function readDocument(file: string, line: number, fields: Fields): { id: string; text: string } {
  const title = fields["title"] ?? "";
  return {
    id: asId(file, line, "document's id", pick(fields, documentIdColumns)),
    text: documentText(
      asText(file, line, "title", title),
      asText(file, line, "document's text", pick(fields, documentTextColumns)),
    ),
  };
}

const documentColumns = [
  ["id", "text"],
  ["id", "title", "text"],
] as const;

/**
 * The corpus. One jsonl file that is not compressed stays where it is; anything else is unpacked into a temporary
 * file.
 */
export async function readDocuments(files: readonly LocalFile[], reading: Reading): Promise<OpenDocuments> {
  const [first] = files;
  if (first === undefined) throw new TypeError("no file of documents");
  const inPlace = files.length === 1 && formatOf(first.path) === "jsonl" && !isCompressed(first.path);
  if (inPlace) {
    const store = new FileDocumentStore({
      name: first.path,
      path: first.localPath,
      decode: (bytes) => readDocument(first.path, 0, JSON.parse(bytes.toString("utf8"))).text,
    });
    const collector = new DocumentCollector(reading.counter);
    for await (const batch of readLines(first, reading.signal)) {
      for (const { value, line, start, length } of batch) {
        const { id, text } = readDocument(first.path, line, parseFields(first.path, line, value));
        collector.note(store.add(id, start, length), { id, text, file: first.path, line });
      }
    }
    await store.seal();
    await collector.check(store);
    return { store, remove: async () => {} };
  }
  const spool = await DocumentSpool.create(first.path);
  try {
    const collector = new DocumentCollector(reading.counter);
    for (const file of files) {
      for await (const batch of readRows(file, documentColumns, reading.signal)) {
        for (const { value, line } of batch) {
          const { id, text } = readDocument(file.path, line, value);
          collector.note(await spool.add(id, text), { id, text, file: file.path, line });
        }
      }
    }
    await spool.seal();
    await collector.check(spool.store);
  } catch (error) {
    await spool.remove();
    throw error;
  }
  return { store: spool.store, remove: () => spool.remove() };
}

interface SeenDocument {
  readonly id: string;
  readonly text: string;
  readonly file: string;
  readonly line: number;
}

/** Counts empty documents, and tells a document that merely stands twice from an id with two texts. */
class DocumentCollector {
  readonly #counter: WarningCounter;
  readonly #duplicates: { id: string; digest: string; file: string; line: number }[] = [];

  constructor(counter: WarningCounter) {
    this.#counter = counter;
  }

  note(added: boolean, { id, text, file, line }: SeenDocument): void {
    if (!added) this.#duplicates.push({ id, digest: digestOf(text), file, line });
    else if (text === "") this.#counter.add("empty-documents", id);
  }

  async check(store: FileDocumentStore): Promise<void> {
    if (store.size === 0) {
      throw new TaskDataError({ fault: "empty", file: store.name, problem: "holds no document" });
    }
    for (const { id, digest, file, line } of this.#duplicates) {
      if (digestOf(await store.text(id)) !== digest) {
        throw new TaskDataError({
          fault: "duplicate",
          file,
          line,
          problem: `the document ${JSON.stringify(id)} stands earlier with another text`,
        });
      }
      this.#counter.add("duplicate-documents", id);
    }
  }
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}

export interface ReadQueries {
  readonly texts: Map<string, string>;
  /** Where the queries without text stand; an error only if they are evaluated. */
  readonly empty: ReadonlyMap<string, { readonly file: string; readonly line: number }>;
}

export async function readQueries(files: readonly LocalFile[], reading: Reading): Promise<ReadQueries> {
  const texts = new Map<string, string>();
  const empty = new Map<string, { file: string; line: number }>();
  for (const file of files) {
    for await (const batch of readRows(file, [["id", "text"]], reading.signal)) {
      for (const { value, line } of batch) {
        const id = asId(file.path, line, "query's id", pick(value, queryIdColumns));
        const text = asText(file.path, line, "query's text", pick(value, queryTextColumns));
        refuseInstruction(reading.task, value);
        const earlier = texts.get(id);
        if (earlier !== undefined && earlier !== text) {
          throw new TaskDataError({
            fault: "duplicate",
            file: file.path,
            line,
            problem: `the query ${JSON.stringify(id)} stands earlier with another text`,
          });
        }
        if (earlier !== undefined) reading.counter.add("duplicate-queries", id);
        texts.set(id, text);
        if (strip(text) === "") empty.set(id, { file: file.path, line });
      }
    }
  }
  return { texts, empty };
}

/** Scores without the instruction would not be the task's. */
function refuseInstruction(task: string, fields: Fields): void {
  const instruction = fields["instruction"];
  if (typeof instruction !== "string" || instruction.trim() === "") return;
  throw new TaskLayoutError({
    task,
    problem: "has instructions for its queries, which are not supported",
    expected: ["queries without a field instruction"],
    found: [JSON.stringify(instruction)],
    fix: "Scores without the instructions would not be this task's: choose another task.",
  });
}

export interface Judgements {
  readonly qrels: Qrels;
  /** Pairs of query and document. */
  readonly count: number;
  /** Those of them whose document has no text, and where the first one stands. */
  readonly unknown: number;
  readonly firstUnknown: { readonly file: string; readonly line: number; readonly id: string } | undefined;
}

/**
 * Judgements. Files of lines may be BEIR's (tab-separated query, document, grade, with or without a header) or TREC's
 * (query, iteration, document, grade). Whether documents without text may be judged is for {@link checkPool} to say.
 */
export async function readQrels(
  files: readonly LocalFile[],
  queries: ReadonlyMap<string, string>,
  documents: FileDocumentStore,
  reading: Reading,
): Promise<Judgements> {
  const qrels = new Map<string, Map<string, number>>();
  let count = 0;
  let unknown = 0;
  let firstUnknown: Judgements["firstUnknown"];
  for (const file of files) {
    for await (const batch of readJudgementRows(file, reading.signal)) {
      for (const { value, line } of batch) {
        const query = asId(file.path, line, "query's id", pick(value, judgementColumns.query));
        const id = asId(file.path, line, "document's id", pick(value, judgementColumns.document));
        const grade = asGrade(file.path, line, pick(value, judgementColumns.grade));
        if (!queries.has(query)) {
          throw new TaskDataError({
            fault: "unknown-query",
            file: file.path,
            line,
            problem: `there is no query ${JSON.stringify(query)}`,
            fix: "Check that queries and judgements are of one data set.",
          });
        }
        const document = documents.intern(id);
        const row = qrels.get(query) ?? new Map<string, number>();
        qrels.set(query, row);
        const earlier = row.get(id);
        if (earlier !== undefined) {
          const code = earlier === grade ? "duplicate-judgements" : "contradictory-judgements";
          reading.counter.add(code, `${query} ${id}`);
        } else {
          count += 1;
          if (document === undefined) {
            unknown += 1;
            firstUnknown ??= { file: file.path, line, id };
            reading.counter.add("unknown-judged-documents", id);
          }
        }
        row.set(document ?? id, grade);
      }
    }
  }
  if (files.length > 0 && count === 0) {
    throw new TaskDataError({ fault: "empty", file: files[0]?.path ?? "", problem: "holds no judgement" });
  }
  return { qrels, count, unknown, firstUnknown };
}

async function* readJudgementRows(
  file: LocalFile,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ value: Fields; line: number }[]> {
  const format = formatOf(file.path);
  if (format === "parquet" || format === "jsonl" || format === "json" || format === "ndjson") {
    return yield* readRows(file, [], signal);
  }
  let header: readonly string[] | undefined;
  let first = true;
  for await (const batch of readLines(file, signal)) {
    const rows: { value: Fields; line: number }[] = [];
    for (const { value: text, line } of batch) {
      const cells = text.includes("\t")
        ? text.split("\t").map((cell) => cell.trim())
        : text.trim().split(/\s+/);
      if (first && isJudgementHeader(cells)) header = cells.map((cell) => cell.toLowerCase());
      const isHeader = first && header !== undefined;
      first = false;
      if (isHeader) continue;
      const names = header ?? judgementNames[cells.length];
      if (names === undefined || names.length !== cells.length) {
        throw malformed(
          file.path,
          line,
          `has ${cells.length} columns, expected ${header?.length ?? "3 (query, document, grade) or 4 (query, iteration, document, grade)"}`,
        );
      }
      const fields: Record<string, string> = {};
      names.forEach((name, index) => {
        fields[name] = cells[index] ?? "";
      });
      rows.push({ value: fields, line });
    }
    if (rows.length > 0) yield rows;
  }
}

const judgementNames: Readonly<Record<number, readonly string[]>> = {
  3: ["query-id", "corpus-id", "score"],
  4: ["query-id", "iteration", "corpus-id", "score"],
};

function isJudgementHeader(cells: readonly string[]): boolean {
  const names = cells.map((cell) => cell.toLowerCase());
  return Object.values(judgementColumns).every((columns) => columns.some((column) => names.includes(column)));
}

/** MTEB's `top_ranked`: rows of a query and the list of its documents. */
export async function readTopRanked(
  files: readonly LocalFile[],
  queries: ReadonlyMap<string, string>,
  qrels: Qrels,
  documents: FileDocumentStore,
  reading: Reading,
): Promise<{ queries: Map<string, CandidateList>; ranked: boolean }> {
  const lists = new Map<string, string[]>();
  for (const file of files) {
    for await (const batch of readRows(file, [], reading.signal)) {
      for (const { value, line } of batch) {
        const query = asId(file.path, line, "query's id", pick(value, judgementColumns.query));
        const ids = value["corpus-ids"] ?? value["corpus_ids"];
        if (!Array.isArray(ids)) throw malformed(file.path, line, "has no list corpus-ids");
        if (!queries.has(query)) {
          for (const _ of ids) reading.counter.add("unjudged-candidates", query);
          continue;
        }
        const list = lists.get(query) ?? [];
        lists.set(query, list);
        const seen = new Set(list);
        for (const raw of ids) {
          const id = asId(file.path, line, "candidate's id", raw);
          const document = documents.intern(id);
          if (document === undefined) {
            throw new TaskDataError({
              fault: "unknown-document",
              file: file.path,
              line,
              problem: `the corpus has no document ${JSON.stringify(id)}`,
              fix: "Check that top_ranked and corpus are of one data set.",
            });
          }
          if (seen.has(document)) reading.counter.add("duplicate-candidates", `${query} ${id}`);
          else list.push(document);
          seen.add(document);
        }
      }
    }
  }
  return candidatesFromLists(lists, qrels);
}

/** What an MTEB reranking dataset's rows amount to. */
export interface RerankingRows {
  readonly documents: OpenDocuments;
  readonly queries: Map<string, string>;
  readonly qrels: Qrels;
  readonly candidates: Map<string, CandidateList>;
}

/**
 * Rows of `query`, `positive` and `negative`, with the ids that MTEB gives them (`mteb/abstasks/text/reranking.py`):
 * rows without a positive or without a negative are left out, the others are numbered, and their documents are
 * `apositive_<split>_query<row>_<five digits>` and `negative_…`. Positives stand first in such rows, so their order is
 * not taken as a ranking.
 */
export async function readRerankingRows(
  files: readonly LocalFile[],
  split: string,
  reading: Reading,
): Promise<RerankingRows> {
  const spool = await DocumentSpool.create(files[0]?.path ?? "rows");
  try {
    const queries = new Map<string, string>();
    const qrels = new Map<string, Map<string, number>>();
    const candidates = new Map<string, CandidateList>();
    for (const file of files) {
      for await (const batch of readRows(file, [], reading.signal)) {
        for (const { value, line } of batch) {
          const row = readRerankingRow(reading.task, file.path, line, value);
          if (row.positive.length === 0 || row.negative.length === 0) {
            reading.counter.add("one-sided-rows", `row ${line}`);
            continue;
          }
          const query = `${split}_query${queries.size}`;
          queries.set(query, row.query);
          const judged = new Map<string, number>();
          qrels.set(query, judged);
          for (const [side, texts, grade] of [
            ["apositive", row.positive, 1],
            ["negative", row.negative, 0],
          ] as const) {
            for (const [index, text] of texts.entries()) {
              const id = `${side}_${query}_${String(index).padStart(5, "0")}`;
              const stripped = documentText("", text);
              await spool.add(id, stripped);
              if (stripped === "") reading.counter.add("empty-documents", id);
              judged.set(id, grade);
            }
          }
          candidates.set(query, unrankedList(judged.keys()));
        }
      }
    }
    if (queries.size === 0) {
      throw new TaskDataError({
        fault: "empty",
        file: files[0]?.path ?? "",
        problem: "holds no row with a positive and a negative document",
      });
    }
    await spool.seal();
    return { documents: { store: spool.store, remove: () => spool.remove() }, queries, qrels, candidates };
  } catch (error) {
    await spool.remove();
    throw error;
  }
}

function readRerankingRow(
  task: string,
  file: string,
  line: number,
  fields: Fields,
): { query: string; positive: readonly string[]; negative: readonly string[] } {
  const columns = ["query", "positive", "negative"];
  if (columns.some((column) => fields[column] === undefined)) {
    throw new TaskLayoutError({
      task,
      problem: `is of no known layout: ${file} has other columns than those of a reranking dataset`,
      expected: [`rows of ${columns.join(", ")} in ${file}`, "files of another layout (see openTask)"],
      found: Object.keys(fields),
      fix: "Choose another subset or split, or name the parts in options.parts.",
    });
  }
  refuseInstruction(task, fields);
  const query = asText(file, line, "query", fields["query"]);
  if (strip(query) === "")
    throw new TaskDataError({ fault: "empty", file, line, problem: "the query is empty" });
  const list = (side: "positive" | "negative"): string[] => {
    const value = fields[side];
    if (!Array.isArray(value)) throw malformed(file, line, `${side} is not a list`);
    return value.map((text, index) => asText(file, line, `${side}[${index}]`, text));
  };
  return { query, positive: list("positive"), negative: list("negative") };
}
