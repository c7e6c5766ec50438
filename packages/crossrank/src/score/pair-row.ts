import { joinFields, type Pair } from "@crossrank/core";

/** Bytes of the longest line that is read. A longer one fails. */
export const mostRowBytes: number = 16 * 1024 * 1024;

/** Why a row has no score. */
export interface RowFailure {
  /** `row` where the row itself is wrong, else the code of what refused it. */
  readonly code: string;
  readonly message: string;
}

/** A row of the input: a pair, or why it is none. */
export interface PairRow {
  /** From 0, among the rows. */
  readonly row: number;
  /** From 1: of JSONL the line, of Parquet the row. */
  readonly line: number;
  /** The row's own `id`, where it has one. */
  readonly id: string | number | undefined;
  readonly pair: Pair | undefined;
  readonly failure: RowFailure | undefined;
}

/** Which fields are read. */
export interface PairFields {
  readonly queryField: string;
  /** Null: `document`, a text or an object with a `text`, or `text`; a `title` is put before a text. */
  readonly textFields: readonly string[] | null;
}

/** Columns that {@link readPair} may look at. */
export function fieldsOf({ queryField, textFields }: PairFields): readonly string[] {
  return ["id", queryField, ...(textFields ?? ["document", "text", "title"])];
}

/** As BEIR joins them, and as `rerank` does. */
const beirFields = ["title", "text"] as const;

class RowError extends Error {}

/** Reads a row; what is wrong with it is a failure of this row alone. */
export function readPair(value: unknown, place: Pick<PairRow, "row" | "line">, fields: PairFields): PairRow {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return failedRow(place, "is no JSON object");
  }
  const given = value as Readonly<Record<string, unknown>>;
  const id = idOf(given["id"]);
  try {
    const query = own(given, fields.queryField);
    if (typeof query !== "string") throw new RowError(`has no text as ${JSON.stringify(fields.queryField)}`);
    if (query.trim() === "") throw new RowError(`has an empty ${JSON.stringify(fields.queryField)}`);
    const pair = { query, document: documentOf(given, fields.textFields) };
    return { ...place, id, pair, failure: undefined };
  } catch (error) {
    if (!(error instanceof RowError)) throw error;
    return { ...failedRow(place, error.message), id };
  }
}

function documentOf(given: Readonly<Record<string, unknown>>, textFields: readonly string[] | null): string {
  if (textFields !== null) return joined(given, textFields);
  const document = own(given, "document");
  if (typeof document === "string") return document;
  const isObject = typeof document === "object" && document !== null && !Array.isArray(document);
  const holder = isObject ? (document as Readonly<Record<string, unknown>>) : given;
  if (typeof own(holder, "text") !== "string") {
    throw new RowError(`has no text as ${isObject ? '"text" of its "document"' : '"document" or "text"'}`);
  }
  const title = own(holder, "title");
  return title === undefined || title === null ? joined(holder, ["text"]) : joined(holder, beirFields);
}

function joined(given: object, fields: readonly string[]): string {
  return joinFields(given, fields, (field, problem) => {
    throw new RowError(field === undefined ? problem : `${JSON.stringify(field)} ${problem}`);
  });
}

function own(given: object, field: string): unknown {
  return Object.hasOwn(given, field) ? Reflect.get(given, field) : undefined;
}

/** Of a number of 64 bits, as Parquet has them, the digits. */
function idOf(id: unknown): string | number | undefined {
  if (typeof id === "string" || (typeof id === "number" && Number.isFinite(id))) return id;
  if (typeof id !== "bigint") return undefined;
  return Number.isSafeInteger(Number(id)) ? Number(id) : String(id);
}

export function failedRow(place: Pick<PairRow, "row" | "line">, problem: string): PairRow {
  const { row, line } = place;
  return { row, line, id: undefined, pair: undefined, failure: { code: "row", message: problem } };
}
