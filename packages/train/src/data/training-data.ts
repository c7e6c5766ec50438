import { createHash } from "node:crypto";
import type { Task } from "@crossrank/eval";
import { type BadRow, mostNamed, TrainingDataError } from "./errors.js";
import { type DataForm, formOf, parseRow, RowProblem, readRow, type Statement } from "./forms.js";
import { readLines } from "./lines.js";
import { TextStore } from "./text-store.js";

/** A document that somebody has judged for a query. */
export interface JudgedDocument {
  /** Its number in the store. */
  readonly text: number;
  /** 0 to 1: the row's label as a part of its file's highest, where that is above 1. */
  readonly label: number;
  readonly teacher: number | undefined;
  /** How many examples a pointwise loss gets of it: the triplets that hold it, else 1. */
  readonly times: number;
}

export interface QueryGroup {
  readonly query: number;
  /** Lower-case hex; the same for queries that differ in case, space or width of letters alone. */
  readonly key: string;
  /** In the order in which they came. */
  readonly documents: readonly JudgedDocument[];
}

/** Things that are no mistake of a row and that a reader should know. */
export type DataWarningCode =
  /** A row that says what an earlier one has said: it counts once. */
  | "duplicate-rows"
  /** Queries of the held-out set: nothing is trained on them. */
  | "held-out-queries"
  /** Queries all of whose documents have one label: a listwise loss learns nothing from them. */
  | "one-sided-queries"
  /** Judged documents without text. */
  | "unknown-documents"
  /** Bad rows that were left out because `badRows` is `skip`. */
  | "skipped-rows";

export interface DataWarning {
  readonly code: DataWarningCode;
  readonly count: number;
  /** With the first lines, where there are any. */
  readonly message: string;
}

export interface DataReport {
  readonly sources: readonly {
    readonly name: string;
    readonly form: DataForm | "task";
    readonly rows: number;
    /** By which its labels are divided; 1 where none is above it. */
    readonly highestLabel: number;
    /** Of the file's bytes as they are on disk, lower-case hex; undefined for a task. */
    readonly sha256: string | undefined;
  }[];
  readonly queries: number;
  readonly documents: number;
  readonly pairs: number;
  readonly relevant: number;
  readonly skipped: readonly BadRow[];
  readonly skippedCount: number;
  readonly warnings: readonly DataWarning[];
}

/** Judged queries whose texts lie on disk. Dispose of it when it is no longer needed. */
export interface TrainingData extends AsyncDisposable {
  readonly texts: TextStore;
  /** In the order in which they came. */
  readonly groups: readonly QueryGroup[];
  readonly report: DataReport;
}

export interface ReadDataOptions {
  /** What a row that cannot be used does. `fail` (default): nothing is read. `skip`: it is left out, up to a tenth. */
  readonly badRows?: "fail" | "skip" | undefined;
  /** Queries on which nothing may be trained, by {@link queryKey}. */
  readonly heldOut?: ReadonlySet<string> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the rows read. */
  readonly onProgress?: ((rows: number) => void) | undefined;
}

/** Pairs of a query and a document, at most: about 200 bytes of memory each. */
export const mostPairs = 4_000_000;
/** A file with more bad rows is another file than its reader thinks. */
const mostBadShare = 0.1;

/** The same for queries that a user would call the same. */
export function queryKey(query: string): string {
  const plain = query.normalize("NFKC").toLowerCase().replace(/\s+/gu, " ").trim();
  return createHash("sha256").update(plain).digest("hex");
}

/**
 * Reads judged queries from JSONL files (also packed with gzip) and tasks. What form a file has its first row says.
 *
 * @throws {TrainingDataError} naming the lines that cannot be used; nothing is kept of any file then.
 */
export async function readTrainingData(
  sources: readonly (string | Task)[],
  options: ReadDataOptions = {},
): Promise<TrainingData> {
  const reader = new Reader(await TextStore.create(), options);
  try {
    for (const source of sources) {
      if (typeof source === "string") await reader.file(source);
      else await reader.task(source);
    }
    return reader.end();
  } catch (error) {
    await reader.texts[Symbol.asyncDispose]();
    throw error;
  }
}

interface Judged {
  readonly text: number;
  label: number;
  teacher: number | undefined;
  times: number;
  readonly source: number;
  readonly line: number;
  /** Of a click log. */
  clicks: number;
  seen: number;
}

/** What a row says of one document. */
interface Claim {
  readonly kind: Statement["kind"];
  readonly document: string;
  readonly text: number;
  /** Of a click 1 or 0. */
  readonly label: number;
  readonly teacher: number | undefined;
}

interface Group {
  readonly query: number;
  readonly key: string;
  readonly documents: Map<number, Judged>;
  /** Triplets that were met, as `positive negative`. */
  readonly triplets: Set<string>;
}

interface Source {
  readonly name: string;
  form: DataForm | "task";
  rows: number;
  highest: number;
  sha256: string | undefined;
}

class Reader {
  readonly texts: TextStore;
  readonly #options: ReadDataOptions;
  readonly #groups = new Map<string, Group>();
  readonly #sources: Source[] = [];
  readonly #bad: BadRow[] = [];
  #badCount = 0;
  #rows = 0;
  #pairs = 0;
  /** Statements of two files about one pair, to be held against each other when both scales are known. */
  readonly #later: {
    readonly first: Judged;
    readonly label: number;
    readonly source: number;
    line: number;
  }[] = [];
  readonly #notes = new Map<DataWarningCode, { count: number; places: string[] }>();

  constructor(texts: TextStore, options: ReadDataOptions) {
    this.texts = texts;
    this.#options = options;
  }

  async file(path: string): Promise<void> {
    const source: Source = { name: path, form: "pairs", rows: 0, highest: 1, sha256: undefined };
    const number = this.#sources.push(source) - 1;
    let form: DataForm | undefined;
    for await (const found of readLines(path, this.#options.signal)) {
      const { line } = found;
      source.rows += 1;
      this.#rows += 1;
      if (this.#rows % 1000 === 0) this.#options.onProgress?.(this.#rows);
      try {
        if ("fault" in found) throw new RowProblem(found.fault, found.problem);
        const fields = parseRow(found.text);
        form ??= formOf(fields);
        if (form === undefined) throw noForm(path, line, fields);
        source.form = form;
        const row = readRow(fields, form);
        const key = queryKey(row.query);
        if (this.#options.heldOut?.has(key)) this.#note("held-out-queries", `${path}:${line}`);
        else await this.#take(key, row.query, row.statements, number, line);
      } catch (error) {
        if (!(error instanceof RowProblem)) throw error;
        this.#fault({ file: path, line, fault: error.fault, problem: error.problem });
      }
    }
    if (source.rows === 0) {
      throw new TrainingDataError({ problem: `${path} has no rows`, fix: "Name a file that has some." });
    }
    source.sha256 = await hashOf(path, this.#options.signal);
  }

  async task(task: Task): Promise<void> {
    const source: Source = { name: task.id, form: "task", rows: 0, highest: 1, sha256: undefined };
    const number = this.#sources.push(source) - 1;
    for (const [id, query] of task.queries) {
      this.#options.signal?.throwIfAborted();
      const judged = [...(task.qrels.get(id) ?? [])];
      const there = judged.filter(([document]) => task.documents.has(document));
      for (const [document] of judged.slice(0, judged.length - there.length)) {
        this.#note("unknown-documents", document);
      }
      const key = queryKey(query);
      if (this.#options.heldOut?.has(key)) {
        this.#note("held-out-queries", id);
        continue;
      }
      const texts = await task.documents.texts(there.map(([document]) => document));
      const statements = there.flatMap(([, grade], index): Statement[] => {
        const document = texts[index] ?? "";
        if (document.trim() === "" || query.trim() === "") return [];
        return [{ kind: "label", document, label: Math.max(0, grade), teacher: undefined }];
      });
      source.rows += statements.length;
      try {
        if (statements.length > 0) await this.#take(key, query, statements, number, 0);
      } catch (error) {
        // Two documents of one text with different grades, which no line of a JSONL file has said.
        if (!(error instanceof RowProblem)) throw error;
        this.#fault({ file: `${task.id}, query ${id}`, line: 0, fault: error.fault, problem: error.problem });
      }
    }
  }

  end(): TrainingData {
    for (const { first, label, source, line } of this.#later) {
      if (Math.abs(this.#scaled(first.label, first.source) - this.#scaled(label, source)) < 1e-9) continue;
      this.#fault({
        file: this.#sources[source]?.name ?? "",
        line,
        fault: "contradiction",
        problem: `has another label than ${this.#placeOf(first)} for the same query and document`,
      });
    }
    this.#judgeFaults();
    const groups: QueryGroup[] = [];
    const used = new Set<number>();
    let pairs = 0;
    let relevant = 0;
    let oneSided = 0;
    for (const { query, key, documents } of this.#groups.values()) {
      const list = Array.from(documents.values(), (judged): JudgedDocument => {
        const { text, teacher, times, seen, clicks, label, source } = judged;
        return { text, teacher, times, label: seen > 0 ? clicks / seen : this.#scaled(label, source) };
      });
      if (list.length === 0) continue;
      groups.push({ query, key, documents: list });
      pairs += list.reduce((sum, { times }) => sum + times, 0);
      relevant += list.filter(({ label }) => label > 0).length;
      for (const { text } of list) used.add(text);
      if (list.every(({ label }) => label === list[0]?.label)) oneSided += 1;
    }
    if (groups.length === 0) {
      throw new TrainingDataError({
        problem: "No judged query is left of the data",
        fix: "Give rows with judgements, of queries that are not held out.",
      });
    }
    if (oneSided > 0) this.#notes.set("one-sided-queries", { count: oneSided, places: [] });
    if (this.#badCount > 0) {
      const places = this.#bad.map(({ file, line }) => `${file}:${line}`);
      this.#notes.set("skipped-rows", { count: this.#badCount, places });
    }
    return {
      texts: this.texts,
      groups,
      report: {
        sources: this.#sources.map(({ highest, ...source }) => ({ ...source, highestLabel: highest })),
        queries: groups.length,
        documents: used.size,
        pairs,
        relevant,
        skipped: this.#bad,
        skippedCount: this.#badCount,
        warnings: Array.from(this.#notes, ([code, { count, places }]) => ({
          code,
          count,
          message: `${sentences[code](count)}${places.length === 0 ? "" : ` (${places.slice(0, 5).join(", ")}${count > 5 ? ", …" : ""})`}.`,
        })),
      },
      [Symbol.asyncDispose]: () => this.texts[Symbol.asyncDispose](),
    };
  }

  async #take(
    key: string,
    query: string,
    statements: readonly Statement[],
    source: number,
    line: number,
  ): Promise<void> {
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { query: await this.texts.add(query), key, documents: new Map(), triplets: new Set() };
      this.#groups.set(key, group);
    }
    // A row counts in whole or not at all: everything is checked before anything is taken.
    const claims = await this.#claimsOf(statements);
    const own = new Map<number, Claim>();
    for (const claim of claims) {
      this.#check(claim, group.documents.get(claim.text), own.get(claim.text), { source, line });
      own.set(claim.text, claim);
    }
    const of = this.#sources[source] as Source;
    for (const claim of claims) {
      of.highest = Math.max(of.highest, claim.label);
      const known = group.documents.get(claim.text);
      if (known === undefined) this.#add(group, claim, source, line);
      else {
        if (known.source !== source && claim.kind !== "seen") {
          this.#later.push({ first: known, label: claim.label, source, line });
        }
        known.teacher ??= claim.teacher;
        if (claim.kind === "label") this.#note("duplicate-rows", this.#place({ source, line }));
      }
      const judged = group.documents.get(claim.text) as Judged;
      if (claim.kind !== "seen") continue;
      judged.seen += 1;
      judged.clicks += claim.label;
    }
    for (const statement of statements) {
      if (statement.kind !== "triplet") continue;
      const pair = [statement.positive, statement.negative].flatMap((text) => {
        const claim = claims.find((one) => one.document === text);
        return claim === undefined ? [] : [claim.text];
      });
      const name = pair.join(" ");
      if (group.triplets.has(name)) {
        this.#note("duplicate-rows", this.#place({ source, line }));
        continue;
      }
      group.triplets.add(name);
      for (const text of pair) (group.documents.get(text) as Judged).times += 1;
    }
  }

  async #claimsOf(statements: readonly Statement[]): Promise<Claim[]> {
    const claims: Claim[] = [];
    const add = async (claim: Omit<Claim, "text">): Promise<void> => {
      claims.push({ ...claim, text: await this.texts.add(claim.document) });
    };
    const whole = new Set<string>();
    for (const statement of statements) {
      if (statement.kind === "triplet") {
        const { positive, negative } = statement;
        if (!whole.has(positive))
          await add({ kind: "triplet", document: positive, label: 1, teacher: undefined });
        whole.add(positive);
        if (negative === undefined || whole.has(negative)) continue;
        whole.add(negative);
        await add({ kind: "triplet", document: negative, label: 0, teacher: undefined });
      } else if (statement.kind === "seen") {
        const { document, clicked } = statement;
        await add({ kind: "seen", document, label: Number(clicked), teacher: undefined });
      } else await add(statement);
    }
    return claims;
  }

  /** @throws {RowProblem} when the claim contradicts an earlier one, of another row or its own. */
  #check(
    claim: Claim,
    known: Judged | undefined,
    own: Claim | undefined,
    { source }: { readonly source: number; readonly line: number },
  ): void {
    const isClick = claim.kind === "seen";
    if (own !== undefined && !isClick && (own.label !== claim.label || own.teacher !== claim.teacher)) {
      throw new RowProblem(
        "contradiction",
        `says two things of one document: ${own.label} and ${claim.label}`,
      );
    }
    if (known === undefined) return;
    if (isClick !== known.seen > 0) {
      throw new RowProblem(
        "contradiction",
        `judges by clicks what ${this.#placeOf(known)} judges by a label, or the other way round`,
      );
    }
    if (!isClick && known.source === source && known.label !== claim.label) {
      throw new RowProblem(
        "contradiction",
        `has the label ${claim.label}, and ${this.#placeOf(known)} has ${known.label} for the same query and document`,
      );
    }
    if (claim.teacher !== undefined && known.teacher !== undefined && known.teacher !== claim.teacher) {
      throw new RowProblem("contradiction", `has another teacher's score than ${this.#placeOf(known)}`);
    }
  }

  #add(group: Group, { text, label, teacher, kind }: Claim, source: number, line: number): void {
    this.#pairs += 1;
    if (this.#pairs > mostPairs) {
      throw new TrainingDataError({
        problem: `The data have more than ${mostPairs} pairs`,
        fix: "Train on a part of them: what a model learns from more is little.",
      });
    }
    const times = kind === "triplet" ? 0 : 1;
    group.documents.set(text, { text, label, teacher, source, line, times, clicks: 0, seen: 0 });
  }

  #scaled(label: number, source: number): number {
    return label / (this.#sources[source]?.highest ?? 1);
  }

  #placeOf({ source, line }: Judged): string {
    return this.#place({ source, line });
  }

  #place({ source, line }: { readonly source: number; readonly line: number }): string {
    const name = this.#sources[source]?.name ?? "";
    return line === 0 ? name : `${name}:${line}`;
  }

  #note(code: DataWarningCode, place: string): void {
    const note = this.#notes.get(code) ?? { count: 0, places: [] };
    note.count += 1;
    if (note.places.length < mostNamed) note.places.push(place);
    this.#notes.set(code, note);
  }

  #fault(row: BadRow): void {
    this.#badCount += 1;
    if (this.#bad.length < mostNamed) this.#bad.push(row);
  }

  #judgeFaults(): void {
    if (this.#badCount === 0) return;
    const skips = this.#options.badRows === "skip";
    if (skips && this.#badCount <= mostBadShare * this.#rows) return;
    const many = `${this.#badCount} ${this.#badCount === 1 ? "row" : "rows"} cannot be used`;
    throw new TrainingDataError({
      problem: skips ? `${many}, more than a tenth` : many,
      fix: skips
        ? "Correct the files."
        : "Correct the rows, or leave them out by asking that they be skipped.",
      rows: this.#bad,
      count: this.#badCount,
    });
  }
}

const sentences: Readonly<Record<DataWarningCode, (count: number) => string>> = {
  "duplicate-rows": (n) => `${n} rows say what an earlier one has said, and count once`,
  "held-out-queries": (n) => `${n} rows are of held-out queries, and nothing is trained on them`,
  "one-sided-queries": (n) => `${n} queries have documents of one label alone`,
  "unknown-documents": (n) => `${n} judged documents have no text, and are left out`,
  "skipped-rows": (n) => `${n} rows cannot be used, and were skipped as asked`,
};

function noForm(path: string, line: number, fields: Readonly<Record<string, unknown>>): TrainingDataError {
  const names = Object.keys(fields)
    .slice(0, 8)
    .map((name) => name.slice(0, 40));
  return new TrainingDataError({
    problem: `${path}:${line}: the first row has the names ${names.join(", ") || "(none)"}, and is of no form that is known`,
    fix: 'Write rows as {"query", "document", "label"}, {"query", "positive", "negative"}, {"query", "documents"} or {"query", "results"}.',
  });
}

async function hashOf(path: string, signal: AbortSignal | undefined): Promise<string> {
  const { createReadStream } = await import("node:fs");
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) {
    signal?.throwIfAborted();
    hash.update(piece as Buffer);
  }
  return hash.digest("hex");
}
