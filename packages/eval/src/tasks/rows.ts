import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { TaskDataError } from "./errors.js";

/** A file of a task, found and on this machine. */
export interface LocalFile {
  /** As it should stand in messages. */
  readonly path: string;
  readonly localPath: string;
}

/** One line of a text file, or one row of a parquet file. */
export interface Row<Value> {
  readonly value: Value;
  /** From 1. */
  readonly line: number;
  /** Place of the line's bytes in a file that is not compressed; of no meaning otherwise. */
  readonly start: number;
  readonly length: number;
}

export type Fields = Readonly<Record<string, unknown>>;

export function isCompressed(path: string): boolean {
  return path.endsWith(".gz");
}

/** The extension without `.gz`, e.g. `"jsonl"`; `""` where there is none. */
export function formatOf(path: string): string {
  const name = (path.split("/").at(-1) ?? "").replace(/\.gz$/, "");
  return name.includes(".") ? (name.split(".").at(-1) ?? "").toLowerCase() : "";
}

/**
 * The lines of a text file (also `.gz`), in batches, without their ends and without empty ones. `\r\n` and a byte
 * order mark are taken off.
 * @throws {TaskDataError} for bytes that are not UTF-8 and for a damaged archive.
 */
export async function* readLines(file: LocalFile, signal?: AbortSignal): AsyncGenerator<Row<string>[]> {
  const source = createReadStream(file.localPath, { highWaterMark: 1 << 20 });
  const stream: Readable = isCompressed(file.path) ? pipeline(source, createGunzip(), () => {}) : source;
  let rest: Buffer[] = [];
  let restLength = 0;
  let restStart = 0;
  let line = 0;
  const take = (bytes: Buffer, start: number): Row<string> | undefined => {
    line += 1;
    let from = 0;
    let to = bytes.length;
    if (line === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) from = 3;
    if (bytes[to - 1] === 0x0d) to -= 1;
    if (to <= from) return undefined;
    const content = bytes.subarray(from, to);
    if (!isUtf8(content)) {
      throw new TaskDataError({ fault: "malformed", file: file.path, line, problem: "is not UTF-8" });
    }
    return { value: content.toString("utf8"), line, start: start + from, length: to - from };
  };
  try {
    for await (const piece of stream) {
      signal?.throwIfAborted();
      const chunk = piece as Buffer;
      const batch: Row<string>[] = [];
      let at = 0;
      for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, at)) {
        const tail = chunk.subarray(at, end);
        const bytes = rest.length === 0 ? tail : Buffer.concat([...rest, tail]);
        const row = take(bytes, restStart);
        if (row !== undefined) batch.push(row);
        restStart += restLength + tail.length + 1;
        rest = [];
        restLength = 0;
        at = end + 1;
      }
      if (at < chunk.length) {
        rest.push(chunk.subarray(at));
        restLength += chunk.length - at;
      }
      if (batch.length > 0) yield batch;
    }
  } catch (error) {
    if (!(error instanceof Error && "code" in error && String(error.code).startsWith("Z_"))) throw error;
    throw new TaskDataError(
      { fault: "malformed", file: file.path, problem: `cannot be unpacked (${error.message})` },
      { cause: error },
    );
  } finally {
    source.destroy();
  }
  const last = restLength === 0 ? undefined : take(Buffer.concat(rest), restStart);
  if (last !== undefined) yield [last];
}

/** One line of a jsonl file. */
export function parseFields(file: string, line: number, text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw malformed(file, line, `is not JSON (${error instanceof Error ? error.message : error})`, error);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  const hint = Array.isArray(value) ? "; a JSON array must be rewritten with one object a line" : "";
  throw malformed(file, line, `is not a JSON object${hint}`);
}

/**
 * Rows of a jsonl, tsv or parquet file, in batches.
 * @param columns of a tsv file without a header, by the number of its columns; a first row that is all column names
 *   is a header.
 * @throws {TaskDataError}
 */
export async function* readRows(
  file: LocalFile,
  columns: readonly (readonly string[])[],
  signal?: AbortSignal,
): AsyncGenerator<Row<Fields>[]> {
  const format = formatOf(file.path);
  if (format === "parquet") return yield* readParquet(file, signal);
  if (format === "jsonl" || format === "json" || format === "ndjson") {
    for await (const batch of readLines(file, signal)) {
      yield batch.map((row) => ({ ...row, value: parseFields(file.path, row.line, row.value) }));
    }
    return;
  }
  let names: readonly string[] | undefined;
  for await (const batch of readLines(file, signal)) {
    const rows: Row<Fields>[] = [];
    for (const row of batch) {
      const cells = row.value.split("\t");
      if (names === undefined) {
        if (cells.every((cell) => knownColumns.has(cell.trim().toLowerCase()))) {
          names = cells.map((cell) => cell.trim().toLowerCase());
          continue;
        }
        names = columns.find((candidate) => candidate.length === cells.length);
      }
      if (names === undefined || cells.length !== names.length) {
        const wanted =
          names?.length ??
          columns.map((candidate) => `${candidate.length} (${candidate.join(", ")})`).join(" or ");
        throw malformed(file.path, row.line, `has ${cells.length} tab-separated columns, expected ${wanted}`);
      }
      const fields: Record<string, string> = {};
      names.forEach((name, index) => {
        fields[name] = cells[index] ?? "";
      });
      rows.push({ ...row, value: fields });
    }
    if (rows.length > 0) yield rows;
  }
}

/**
 * A row group at a time: that is what is in memory at once. Integers of 64 bits come as bigint, see {@link asId}.
 * `line` is the row's number.
 */
async function* readParquet(file: LocalFile, signal: AbortSignal | undefined): AsyncGenerator<Row<Fields>[]> {
  // Loaded where there is such a file: many processes read none.
  const [{ asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects }, { compressors }] =
    await Promise.all([import("hyparquet"), import("hyparquet-compressors")]);
  const buffer = await asyncBufferFromFile(file.localPath);
  const damaged = (error: unknown): TaskDataError =>
    malformed(file.path, undefined, `cannot be read as parquet (${reasonOf(error)})`, error);
  const metadata = await parquetMetadataAsync(buffer).catch((error: unknown) => {
    throw damaged(error);
  });
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    signal?.throwIfAborted();
    const rowEnd = rowStart + Number(group.num_rows);
    if (rowEnd === rowStart) continue;
    const rows: Fields[] = await parquetReadObjects({
      file: buffer,
      metadata,
      compressors,
      rowStart,
      rowEnd,
    }).catch((error: unknown) => {
      throw damaged(error);
    });
    if (rows.length !== rowEnd - rowStart) {
      throw damaged(new Error(`${rows.length} rows where its footer says ${rowEnd - rowStart}`));
    }
    const first = rowStart + 1;
    yield rows.map((value, index) => ({ value, line: first + index, start: 0, length: 0 }));
    rowStart = rowEnd;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function malformed(
  file: string,
  line: number | undefined,
  problem: string,
  cause?: unknown,
): TaskDataError {
  return new TaskDataError({ fault: "malformed", file, line, problem }, { cause });
}

/**
 * Columns by which the layouts name their fields, the first that a row has. BEIR: `_id`, `query-id`, `corpus-id`,
 * `score`. MTEB: `id` as well. ir_datasets and MS MARCO: the others.
 */
export const documentIdColumns = ["_id", "id", "docid", "doc_id", "docno", "pid", "corpus-id"] as const;
export const queryIdColumns = ["_id", "id", "qid", "query_id", "query-id"] as const;
export const documentTextColumns = ["text", "contents", "body", "passage"] as const;
export const queryTextColumns = ["text", "query", "title"] as const;
export const judgementColumns = {
  query: ["query-id", "query_id", "qid"],
  document: ["corpus-id", "corpus_id", "doc_id", "docid", "docno", "pid"],
  grade: ["score", "relevance", "grade", "label", "rel"],
} as const;

const knownColumns: ReadonlySet<string> = new Set<string>([
  ...documentIdColumns,
  ...queryIdColumns,
  ...documentTextColumns,
  ...queryTextColumns,
  ...judgementColumns.query,
  ...judgementColumns.document,
  ...judgementColumns.grade,
  "title",
  "iteration",
]);

/** The first of the columns that the row has. */
export function pick(fields: Fields, columns: readonly string[]): unknown {
  for (const column of columns) if (fields[column] !== undefined) return fields[column];
  return undefined;
}

/**
 * An id as text: a string as it is, a whole number as its digits (MTEB casts them so).
 * @throws {TaskDataError} for anything else and for an empty one.
 */
export function asId(file: string, line: number, what: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  if (typeof value === "bigint" || (typeof value === "number" && Number.isSafeInteger(value)))
    return String(value);
  const found = value === undefined ? "is missing" : `is ${show(value)}`;
  throw malformed(file, line, `the ${what} ${found}; it must be a text or a whole number`);
}

/** @throws {TaskDataError} unless it is a string. */
export function asText(file: string, line: number, what: string, value: unknown): string {
  if (typeof value === "string") return value;
  throw malformed(
    file,
    line,
    `the ${what} ${value === undefined ? "is missing" : `is ${show(value)}`}, not a text`,
  );
}

/** A grade: a whole number, also as text or as a float (`1.0`). */
export function asGrade(file: string, line: number, value: unknown): number {
  const grade =
    typeof value === "number"
      ? value
      : typeof value === "bigint" || (typeof value === "string" && /^[+-]?\d+(?:\.0*)?$/.test(value))
        ? Number(value)
        : Number.NaN;
  if (Number.isSafeInteger(grade)) return grade === 0 ? 0 : grade;
  throw malformed(file, line, `the grade is ${show(value)}; it must be a whole number`);
}

function show(value: unknown): string {
  const text = typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
