import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { joinFields, type TextSource } from "@crossrank/core";
import { CommandError, describeSystemError } from "./failure.js";
import type { InputFormat } from "./input-formats.js";
import { readSeparatedValues, SeparatedValuesError } from "./separated-values.js";

export interface InputDocument {
  /** What is scored. */
  readonly text: string;
  /** What `--return-documents` gives back: the input's own object, or `{ text }` for a line of text. */
  readonly original: Readonly<Record<string, unknown>>;
}

/** Documents, and how their texts were made of them; undefined where a document is its text. */
export interface Input {
  readonly documents: readonly InputDocument[];
  readonly source: TextSource | undefined;
}

/** As BEIR joins them, so that scores on its corpora are comparable. */
const beirFields = ["title", "text"] as const;

/**
 * Documents of a file, or of standard input for `"-"`. Blank lines are no documents.
 *
 * @throws {CommandError} naming file and line; a file with one bad line gives no documents at all.
 */
export async function readDocuments(
  source: string,
  options: {
    readonly format?: InputFormat | undefined;
    /** Fields that the text is made of. Default: `title`, where there is one, and `text`. */
    readonly fields?: readonly string[] | undefined;
    readonly signal: AbortSignal;
  },
): Promise<Input> {
  const name = source === "-" ? "standard input" : source;
  const bytes = await readBytes(source, name, options.signal);
  const text = decode(bytes, name);
  const named = options.format ?? formatOfName(name);
  if (named === "csv" || named === "tsv") return readTable(text, named, name, options.fields);
  const lines = text.split("\n");
  const format = named ?? detectFormat(lines, name);
  if (format === "text" && options.fields !== undefined) {
    throw new CommandError(
      `${name} is read as plain lines, which have no fields for --text-field. Pass --input jsonl, csv or tsv`,
    );
  }
  const fields = options.fields ?? beirFields;
  const documents: InputDocument[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    if (format === "jsonl") {
      documents.push(parseDocument(line, `${name}:${index + 1}`, options.fields));
    } else {
      const own = line.endsWith("\r") ? line.slice(0, -1) : line;
      documents.push({ text: own, original: { text: own } });
    }
  }
  return { documents, source: format === "jsonl" ? sourceOf(fields) : undefined };
}

function sourceOf(fields: readonly string[]): TextSource {
  return { kind: "fields", fields, separator: " " };
}

/** Rows of a table with a heading. */
function readTable(
  text: string,
  format: "csv" | "tsv",
  name: string,
  given: readonly string[] | undefined,
): Input {
  const documents: InputDocument[] = [];
  let heading: readonly string[] | undefined;
  let fields = given ?? beirFields;
  const fail = (line: number, problem: string): never => {
    throw new CommandError(`${name}:${line}: ${problem}; nothing was scored`);
  };
  try {
    for (const { line, values } of readSeparatedValues(text, format === "csv" ? "," : "\t")) {
      if (heading === undefined) {
        heading = values.map((value) => value.trim());
        const repeated = heading.find((value, index) => heading?.indexOf(value) !== index);
        if (repeated !== undefined) fail(line, `two columns are named ${JSON.stringify(repeated)}`);
        const known = heading;
        const columns = known.map((value) => JSON.stringify(value)).join(", ");
        const missing = given?.find((field) => !known.includes(field));
        if (missing !== undefined)
          fail(line, `no column ${JSON.stringify(missing)}. The first line names ${columns}`);
        if (given === undefined && !known.includes("text"))
          fail(line, `no column "text". Say with --text-field which of ${columns} to read`);
        fields = fields.filter((field) => known.includes(field));
        continue;
      }
      if (values.length !== heading.length)
        fail(line, `${values.length} values, and the first line names ${heading.length} columns`);
      const original = Object.fromEntries(heading.map((column, index) => [column, values[index] as string]));
      documents.push({ original, text: joinFields(original, fields, (_, problem) => fail(line, problem)) });
    }
  } catch (error) {
    if (!(error instanceof SeparatedValuesError)) throw error;
    return fail(error.line, error.message);
  }
  return { documents, source: sourceOf(fields) };
}

async function readBytes(source: string, name: string, signal: AbortSignal): Promise<Buffer> {
  try {
    return source === "-" ? await readStandardInput(signal) : await readFile(source, { signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw new CommandError(
      `cannot read ${name}: ${describeSystemError(cause)}. Pass --documents a file of documents, or - for standard input`,
      { cause },
    );
  }
}

async function readStandardInput(signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  // A read that waits for the terminal does not see the signal by itself.
  const stop = (): void => {
    process.stdin.destroy(signal.reason);
  };
  signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  } finally {
    signal.removeEventListener("abort", stop);
  }
  return Buffer.concat(chunks);
}

/** UTF-8, without its byte order mark. */
function decode(bytes: Buffer, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    if (isUtf8(bytes)) throw new CommandError(`${name} is too large to be read at once. Split it`, { cause });
    throw new CommandError(
      `${name}:${firstBadLine(bytes)} is not valid UTF-8; nothing was scored. Convert the file to UTF-8, e.g. with iconv`,
      { cause },
    );
  }
}

function firstBadLine(bytes: Buffer): number {
  for (let line = 1, start = 0; ; line += 1) {
    const end = bytes.indexOf(0x0a, start);
    if (end === -1 || !isUtf8(bytes.subarray(start, end))) return line;
    start = end + 1;
  }
}

/** A table is told by its name alone: a line of prose may have commas. */
function formatOfName(name: string): InputFormat | undefined {
  const [, ending = ""] = /\.(jsonl|ndjson|csv|tsv)$/i.exec(name) ?? [];
  if (ending === "") return undefined;
  return ending.toLowerCase() === "ndjson" ? "jsonl" : (ending.toLowerCase() as InputFormat);
}

function detectFormat(lines: readonly string[], name: string): InputFormat {
  const first = lines.find((line) => line.trim() !== "") ?? "";
  if (isObject(parse(first))) return "jsonl";
  // Neither reading is safe here: plain text would score the markup of what was meant as JSON.
  if (/\.json$/i.test(name) || /^\s*\{\s*"/.test(first)) {
    throw new CommandError(
      `${name} looks like JSON, and its first line is no JSON object; nothing was scored. ` +
        "Pass JSON Lines, one object a line (jq -c '.[]' makes them of an array), or say what it is with --input",
    );
  }
  return "text";
}

function parseDocument(line: string, place: string, fields: readonly string[] | undefined): InputDocument {
  const value = parse(line);
  const fail = (problem: string): never => {
    const form = `{${(fields ?? ["text"]).map((field) => `${JSON.stringify(field)}: "…"`).join(", ")}}`;
    throw new CommandError(
      `${place}: ${problem}; nothing was scored. Each line must be an object like ${form}; pass --input text for plain lines`,
    );
  };
  if (!isObject(value)) return fail(value === undefined ? "not valid JSON" : "not a JSON object");
  const { text, title } = value;
  if (fields === undefined) {
    if (typeof text !== "string") return fail(text === undefined ? 'no "text"' : '"text" is not a string');
    if (title !== undefined && title !== null && typeof title !== "string")
      return fail('"title" is not a string');
  }
  const asked = fields ?? (typeof title === "string" ? beirFields : ["text"]);
  const joined = joinFields(value, asked, (field, problem) =>
    fail(field === undefined ? problem : `${JSON.stringify(field)} ${problem}`),
  );
  return { text: joined, original: value };
}

/** Undefined when it is not JSON, which has no such value. */
function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
