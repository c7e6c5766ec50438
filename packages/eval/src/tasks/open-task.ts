import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { FileProgress, ModelFile, ModelFiles } from "@crossrank/core";
import { hashFile } from "@crossrank/disk";
import type { Qrels } from "../metrics/trec-data.js";
import { createCandidates } from "./candidates.js";
import type { DatasetCard } from "./dataset-card.js";
import type { DocumentStore } from "./document-store.js";
import { TaskDataError } from "./errors.js";
import { findLayout, type Layout, type TaskParts } from "./layout.js";
import { checkPool } from "./pool.js";
import {
  type OpenDocuments,
  type Reading,
  readDocuments,
  readQrels,
  readQueries,
  readRerankingRows,
  readTopRanked,
} from "./read-parts.js";
import { formatOf, type LocalFile } from "./rows.js";
import { type Candidates, candidateWarnings, type Task, type TaskFile, WarningCounter } from "./task.js";
import { documentText } from "./text.js";
import { readRunFile } from "./trec-run.js";

export interface OpenTaskOptions {
  /** Split of the judgements. Default: `test`, else the only one. */
  readonly split?: string | undefined;
  /** Subset of a dataset that has several, e.g. a language. */
  readonly subset?: string | undefined;
  /** For tables. Default: the card's `pretty_name`, else the last part of the id. */
  readonly name?: string | undefined;
  /** Paths of the parts, where the files' names do not tell. */
  readonly parts?: TaskParts | undefined;
  /**
   * A TREC run file on this machine whose documents are the candidates, in place of the task's own. With candidates of
   * either, judgements may be of documents that have no text here (a pool): they count in the ideal ranking, as in
   * trec_eval, and a warning says how many there are.
   */
  readonly run?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Of downloads. */
  readonly onProgress?: ((progress: FileProgress) => void) | undefined;
}

/**
 * Opens an evaluation task from the files of a folder or of a dataset on the hub. The layout is told from the files:
 * BEIR, MTEB retrieval (also with `top_ranked`), MTEB reranking, or a TREC run with text. Everything is checked; the
 * corpus stays on disk (see {@link DocumentStore}). Dispose of the task when it is no longer needed: parts that had to
 * be unpacked are then removed.
 *
 * @throws {TaskLayoutError} when the files are of no known layout, or split or subset are not there.
 * @throws {TaskDataError} for the first row that cannot be used, with file and line.
 * @throws what `files` throws when a file cannot be had.
 */
export async function openTask(files: ModelFiles, options: OpenTaskOptions = {}): Promise<Task> {
  const { signal } = options;
  const list = await files.list({ signal });
  const source = new TaskSource(files, list, options);
  const card = await source.card();
  const layout = findLayout(files.id, list, card, options);
  const counter = new WarningCounter();
  const reading: Reading = { task: files.id, counter, signal };
  const parts =
    layout.layout === "mteb-reranking"
      ? await openRows(source, layout, reading)
      : await openParts(source, layout, reading);
  try {
    await noteQueries(parts, counter);
  } catch (error) {
    await parts.documents.remove();
    throw error;
  }
  const { documents, queries, qrels, candidates } = parts;
  const task: Task = {
    id: files.id,
    name: options.name ?? card?.name ?? basename(files.id),
    kind: candidates === undefined ? "retrieval" : "reranking",
    queries,
    documents: documents.store,
    qrels,
    candidates,
    provenance: {
      source: files.id,
      revision: files.revision,
      layout: layout.layout,
      split: layout.split,
      subset: layout.subset,
      license: card?.license,
      citation: card?.citation,
      files: source.read,
    },
    warnings: counter.list(),
    [Symbol.asyncDispose]: () => documents.remove(),
  };
  if (options.run === undefined) return task;
  try {
    return await withRunFile(task, options.run, signal);
  } catch (error) {
    await documents.remove();
    throw error;
  }
}

/**
 * The task with the candidates of a TREC run file in place of its own. Dispose of the original.
 * @param path on this machine.
 * @throws {TaskDataError} for the first line that cannot be used.
 */
export async function withRunFile(task: Task, path: string, signal?: AbortSignal): Promise<Task> {
  const counter = new WarningCounter();
  const run = await readRunFile(
    { path, localPath: path },
    counter,
    (query) => task.queries.has(query),
    (document) => (task.documents.has(document) ? document : undefined),
    signal,
  );
  const name = basename(path);
  noteMissingCandidates(task.queries, run.queries, counter);
  return {
    ...task,
    candidates: createCandidates({ origin: name, ranked: run.ranked, queries: run.queries }),
    provenance: {
      ...task.provenance,
      files: [
        ...task.provenance.files.filter(({ role }) => role !== "candidates"),
        { path: name, role: "candidates", ...(await describe(path)) },
      ],
    },
    warnings: [...task.warnings.filter(({ code }) => !candidateWarnings.has(code)), ...counter.list()],
    [Symbol.asyncDispose]: () => task[Symbol.asyncDispose](),
  };
}

/** Fetches a task's files and notes what was read. */
class TaskSource {
  readonly read: TaskFile[] = [];
  readonly #files: ModelFiles;
  readonly #list: ReadonlyMap<string, ModelFile>;
  readonly #options: OpenTaskOptions;

  constructor(files: ModelFiles, list: readonly ModelFile[], options: OpenTaskOptions) {
    this.#files = files;
    this.#list = new Map(list.map((file) => [file.path, file]));
    this.#options = options;
  }

  /** Whether the caller gives candidates. */
  get hasRun(): boolean {
    return this.#options.run !== undefined;
  }

  async card(): Promise<DatasetCard | undefined> {
    if (!this.#list.has("README.md")) return undefined;
    const [file] = await this.local(["README.md"], "card");
    if (file === undefined) return undefined;
    // Loaded where there is a card: a parser of YAML takes longer to load than most processes have need of.
    const { readCard } = await import("./dataset-card.js");
    return readCard(await this.#files.readText("README.md"));
  }

  async local(paths: readonly string[], role: TaskFile["role"]): Promise<LocalFile[]> {
    const { signal, onProgress } = this.#options;
    const found: LocalFile[] = [];
    for (const path of paths) {
      const localPath = await this.#files.localPath(path, { signal, onProgress });
      const facts = await describe(localPath, signal);
      const listed = this.#list.get(path)?.sha256;
      // A cached file is not read again by whoever holds the cache, and a report must not name a hash on trust.
      if (listed !== undefined && listed !== facts.sha256) {
        throw new TaskDataError({
          fault: "malformed",
          file: path,
          problem: `has sha256 ${facts.sha256}, and the source lists ${listed}`,
          fix: `The copy ${localPath} is damaged: delete it and run again.`,
        });
      }
      this.read.push({ path, role, ...facts });
      found.push({ path, localPath });
    }
    return found;
  }
}

async function describe(path: string, signal?: AbortSignal): Promise<{ size: number; sha256: string }> {
  const { size } = await stat(path);
  return { size, sha256: await hashFile(path, { signal }) };
}

interface Parts {
  readonly documents: OpenDocuments;
  readonly queries: ReadonlyMap<string, string>;
  readonly qrels: Qrels;
  readonly candidates: Candidates | undefined;
}

async function openRows(source: TaskSource, layout: Layout, reading: Reading): Promise<Parts> {
  const files = await source.local(layout.rows, "rows");
  const rows = await readRerankingRows(files, layout.split ?? "test", reading);
  const candidates = createCandidates({
    origin: layout.rows.join(", "),
    ranked: false,
    queries: rows.candidates,
  });
  return { ...rows, candidates };
}

async function openParts(source: TaskSource, layout: Layout, reading: Reading): Promise<Parts> {
  const { counter } = reading;
  const documents = await readDocuments(await source.local(layout.documents, "documents"), reading);
  try {
    const all = await readQueries(await source.local(layout.queries, "queries"), reading);
    const qrelsFiles = await source.local(layout.qrels, "qrels");
    const judgements = await readQrels(qrelsFiles, all.texts, documents.store, reading);
    const { qrels } = judgements;
    counter.outOf("unknown-judged-documents", judgements.count);
    if (qrelsFiles.length === 0) counter.add("no-judgements");
    const queries = new Map<string, string>();
    for (const [id, text] of all.texts) {
      if (qrelsFiles.length === 0 || qrels.has(id)) queries.set(id, text);
      else counter.add("unjudged-queries");
    }
    for (const [id, { file, line }] of all.empty) {
      if (!queries.has(id)) continue;
      throw new TaskDataError({
        fault: "empty",
        file,
        line,
        problem: `the query ${JSON.stringify(id)} has no text`,
      });
    }
    if (queries.size === 0) {
      throw new TaskDataError({ fault: "empty", file: layout.queries[0] ?? "", problem: "holds no query" });
    }
    const candidates = await openCandidates(source, layout, queries, qrels, documents, reading);
    const given = candidates !== undefined || source.hasRun;
    checkPool(judgements, given ? "given" : "to be searched for");
    if (candidates !== undefined) noteMissingCandidates(queries, candidates.queries, counter);
    return { documents, queries, qrels, candidates };
  } catch (error) {
    await documents.remove();
    throw error;
  }
}

async function openCandidates(
  source: TaskSource,
  layout: Layout,
  queries: ReadonlyMap<string, string>,
  qrels: Qrels,
  documents: OpenDocuments,
  reading: Reading,
): Promise<Candidates | undefined> {
  const files = await source.local(layout.candidates, "candidates");
  const [first] = files;
  if (first === undefined) return undefined;
  const origin = layout.candidates.join(", ");
  const format = formatOf(first.path);
  const { store } = documents;
  const lists =
    format === "parquet" || format === "jsonl"
      ? await readTopRanked(files, queries, qrels, store, reading)
      : await readRunFile(
          first,
          reading.counter,
          (query) => queries.has(query),
          (document) => store.intern(document),
          reading.signal,
        );
  return createCandidates({ origin, ...lists });
}

function noteMissingCandidates(
  queries: ReadonlyMap<string, string>,
  candidates: ReadonlyMap<string, unknown>,
  counter: WarningCounter,
): void {
  for (const query of queries.keys()) {
    if (!candidates.has(query)) counter.add("queries-without-candidates", query);
  }
}

async function noteQueries(parts: Parts, counter: WarningCounter): Promise<void> {
  const { queries, qrels, documents } = parts;
  const suspects = [...queries.keys()].filter((query) => documents.store.has(query));
  const texts = await (documents.store as DocumentStore).texts(suspects);
  suspects.forEach((query, index) => {
    if (documentText("", queries.get(query) ?? "") === texts[index]) counter.add("queries-in-corpus", query);
  });
  for (const [query, judgements] of qrels) {
    if (![...judgements.values()].some((grade) => grade > 0)) counter.add("queries-without-relevant", query);
  }
}
