import type { RowFault } from "./errors.js";

/**
 * How the rows of a file say what is relevant:
 * `pairs` `{query, document, label}`; `triplets` `{query, positive, negative}`; `lists` `{query, documents: [{text,
 * label, teacher}]}`; `clicks` `{query, results: [{text, position, clicked}]}`.
 */
export type DataForm = "pairs" | "triplets" | "lists" | "clicks";

/** One thing that a row says. */
export type Statement =
  | {
      readonly kind: "label";
      readonly document: string;
      readonly label: number;
      readonly teacher: number | undefined;
    }
  | { readonly kind: "triplet"; readonly positive: string; readonly negative: string | undefined }
  | { readonly kind: "seen"; readonly document: string; readonly clicked: boolean };

export interface JudgedRow {
  readonly query: string;
  readonly statements: readonly Statement[];
}

/** UTF-16 units of a text, at most. */
export const mostTextLength: number = 2 ** 20;
/** Documents of one row, at most. */
export const mostRowDocuments = 1000;
/** A grade above it is a mistake: no scale of judgements goes so far. */
export const highestLabel = 1000;

/** A row that cannot be used; caught where rows are read. */
export class RowProblem {
  readonly fault: RowFault;
  readonly problem: string;

  constructor(fault: RowFault, problem: string) {
    this.fault = fault;
    this.problem = problem;
  }
}

type Fields = Readonly<Record<string, unknown>>;

const names = {
  query: ["query", "anchor"],
  document: ["document", "text", "passage"],
  label: ["label", "relevance", "relevant", "grade"],
  positive: ["positive", "positives"],
  negative: ["negative", "negatives"],
  results: ["results", "shown"],
} as const;

/** @throws {RowProblem} */
export function parseRow(text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new RowProblem("malformed", `is not JSON (${(error as Error).message})`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RowProblem("malformed", "is no JSON object");
  }
  return value as Fields;
}

/** The form that a row has by the names in it; undefined where it has none. */
export function formOf(row: Fields): DataForm | undefined {
  const has = (list: readonly string[]): boolean => list.some((name) => row[name] !== undefined);
  if (!has(names.query)) return undefined;
  if (has(names.results)) return "clicks";
  if (row["documents"] !== undefined) return "lists";
  if (has(names.positive)) return "triplets";
  return has(names.document) ? "pairs" : undefined;
}

/** @throws {RowProblem} */
export function readRow(row: Fields, form: DataForm): JudgedRow {
  const own = formOf(row);
  if (own !== form) {
    const found = own === undefined ? "has no form that is known" : `is of the form ${own}`;
    throw new RowProblem("malformed", `${found}, and the file's rows are ${form}`);
  }
  const query = textOf(one(row, names.query), '"query"');
  switch (form) {
    case "pairs": {
      const document = textOf(one(row, names.document), '"document"');
      const label = labelOf(one(row, names.label));
      return { query, statements: [{ kind: "label", document, label, teacher: teacherOf(row["teacher"]) }] };
    }
    case "triplets":
      return { query, statements: readTriplets(row) };
    case "lists":
      return { query, statements: listOf(row["documents"], '"documents"').map(readListed) };
    case "clicks":
      return { query, statements: readClicks(listOf(one(row, names.results), '"results"')) };
  }
}

function readTriplets(row: Fields): Statement[] {
  const positives = textsOf(one(row, names.positive), '"positive"');
  const negatives = isGiven(row, names.negative) ? textsOf(one(row, names.negative), '"negative"', true) : [];
  const both = positives.find((text) => negatives.includes(text));
  if (both !== undefined) {
    throw new RowProblem("contradiction", `names one text as positive and as negative: ${show(both)}`);
  }
  return positives.flatMap((positive): Statement[] =>
    negatives.length === 0
      ? [{ kind: "triplet", positive, negative: undefined }]
      : negatives.map((negative) => ({ kind: "triplet", positive, negative })),
  );
}

function readListed(entry: unknown, index: number): Statement {
  const place = `documents[${index}]`;
  if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
    throw new RowProblem("malformed", `${place} is ${show(entry)}, and not {"text": …, "label": …}`);
  }
  const fields = entry as Fields;
  return {
    kind: "label",
    document: textOf(one(fields, names.document), place),
    label: labelOf(one(fields, names.label)),
    teacher: teacherOf(fields["teacher"]),
  };
}

/**
 * What a click says: a result that was clicked is relevant; one that stood above the last click and was not clicked was
 * seen and passed over, so it is not. Of those beneath the last click nobody knows whether they were seen: they say
 * nothing, as do results of which none was clicked.
 */
function readClicks(entries: readonly unknown[]): Statement[] {
  const results = entries.map((entry, index) => {
    const place = `results[${index}]`;
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
      throw new RowProblem(
        "malformed",
        `${place} is ${show(entry)}, and not {"text": …, "position": …, "clicked": …}`,
      );
    }
    const fields = entry as Fields;
    const { position = index + 1, clicked } = fields;
    if (typeof position !== "number" || !Number.isSafeInteger(position) || position < 1) {
      throw new RowProblem("malformed", `${place}.position is ${show(position)}, and positions count from 1`);
    }
    if (typeof clicked !== "boolean") {
      throw new RowProblem("bad-label", `${place}.clicked is ${show(clicked)}, and must be true or false`);
    }
    return { document: textOf(one(fields, names.document), place), position, clicked };
  });
  const positions = new Set(results.map(({ position }) => position));
  if (positions.size < results.length) throw new RowProblem("malformed", "has two results at one position");
  const last = results.reduce(
    (most, { clicked, position }) => (clicked ? Math.max(most, position) : most),
    0,
  );
  return results.flatMap(({ document, position, clicked }) =>
    position > last ? [] : [{ kind: "seen" as const, document, clicked }],
  );
}

function isGiven(row: Fields, list: readonly string[]): boolean {
  return list.some((name) => row[name] !== undefined);
}

function one(row: Fields, list: readonly string[]): unknown {
  const given = list.filter((name) => row[name] !== undefined);
  if (given.length > 1) throw new RowProblem("malformed", `has both "${given[0]}" and "${given[1]}"`);
  const [name] = given;
  if (name === undefined) throw new RowProblem("malformed", `has no "${list[0]}"`);
  return row[name];
}

/** @throws {RowProblem} */
export function textOf(value: unknown, what: string): string {
  const text = typeof value === "object" && value !== null ? Reflect.get(value, "text") : value;
  if (typeof text !== "string") throw new RowProblem("malformed", `${what} is ${show(value)}, and no text`);
  if (text.trim() === "") throw new RowProblem("empty", `${what} is empty`);
  if (text.length > mostTextLength) {
    throw new RowProblem("too-large", `${what} has ${text.length} letters, and may have ${mostTextLength}`);
  }
  if (!text.isWellFormed()) throw new RowProblem("malformed", `${what} holds half of a surrogate pair`);
  return text;
}

function textsOf(value: unknown, what: string, mayBeEmpty = false): string[] {
  if (!Array.isArray(value)) return [textOf(value, what)];
  if (value.length === 0 && mayBeEmpty) return [];
  return [...new Set(listOf(value, what).map((entry) => textOf(entry, what)))];
}

function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new RowProblem("malformed", `${what} is ${show(value)}, and no array`);
  if (value.length === 0) throw new RowProblem("empty", `${what} is empty`);
  if (value.length > mostRowDocuments) {
    throw new RowProblem(
      "too-large",
      `${what} has ${value.length} entries, and may have ${mostRowDocuments}`,
    );
  }
  return value;
}

function labelOf(value: unknown): number {
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "number" && value >= 0 && value <= highestLabel) return value;
  throw new RowProblem(
    "bad-label",
    `"label" is ${show(value)}, and must be true, false or a number of 0 to ${highestLabel}`,
  );
}

function teacherOf(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isFinite(value) && Math.abs(value) <= 1e6) return value;
  throw new RowProblem("bad-label", `"teacher" is ${show(value)}, and must be a finite number`);
}

function show(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
