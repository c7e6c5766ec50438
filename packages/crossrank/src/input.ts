import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { CommandError, describeSystemError } from "./failure.js";

export const inputFormats = ["text", "jsonl"] as const;
export type InputFormat = (typeof inputFormats)[number];

export interface InputDocument {
  /** What is scored. */
  readonly text: string;
  /** What `--return-documents` gives back: the input's own object, or `{ text }` for a line of text. */
  readonly original: { readonly text: string };
}

/**
 * Documents of a file, or of standard input for `"-"`. Blank lines are no documents.
 *
 * @throws {CommandError} naming file and line; a file with one bad line gives no documents at all.
 */
export async function readDocuments(
  source: string,
  options: { readonly format?: InputFormat | undefined; readonly signal: AbortSignal },
): Promise<InputDocument[]> {
  const name = source === "-" ? "standard input" : source;
  const bytes = await readBytes(source, name, options.signal);
  const lines = decode(bytes, name).split("\n");
  const format = options.format ?? detectFormat(lines, name);
  const documents: InputDocument[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    if (format === "jsonl") {
      documents.push(parseDocument(line, `${name}:${index + 1}`));
    } else {
      const text = line.endsWith("\r") ? line.slice(0, -1) : line;
      documents.push({ text, original: { text } });
    }
  }
  return documents;
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

function detectFormat(lines: readonly string[], name: string): InputFormat {
  if (/\.(jsonl|ndjson)$/i.test(name)) return "jsonl";
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

function parseDocument(line: string, place: string): InputDocument {
  const value = parse(line);
  const fail = (problem: string): never => {
    throw new CommandError(
      `${place}: ${problem}; nothing was scored. Each line must be an object like {"text": "…"}; pass --input text for plain lines`,
    );
  };
  if (!isObject(value)) return fail(value === undefined ? "not valid JSON" : "not a JSON object");
  const { text, title } = value;
  if (typeof text !== "string") return fail(text === undefined ? 'no "text"' : '"text" is not a string');
  if (title !== undefined && title !== null && typeof title !== "string")
    return fail('"title" is not a string');
  return {
    // As BEIR joins them, so that scores on its corpora are comparable.
    text: typeof title === "string" ? `${title} ${text}`.trim() : text,
    original: { ...value, text },
  };
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
