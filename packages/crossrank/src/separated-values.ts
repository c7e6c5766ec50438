/** What is wrong with a file of values, and where. */
export class SeparatedValuesError extends Error {
  /** From 1. */
  readonly line: number;
  constructor(line: number, problem: string) {
    super(problem);
    this.line = line;
  }
}

/** A record, and the line that it begins in, from 1. */
export interface ValueRecord {
  readonly line: number;
  readonly values: readonly string[];
}

/** Most columns: beyond any table, and within memory. */
const mostColumns = 4096;

/**
 * Records of a CSV or TSV file as RFC 4180 has them: a value in quotes may hold separators, line ends and doubled quotes,
 * and one without quotes holds none of these. Line ends are LF or CRLF. Blank lines are no records. In a TSV file, where
 * tabs keep values apart and many files have no quoting at all, a value that does not begin with a quote may have some:
 * every reader takes them as they stand. One that begins with a quote is in quotes, or refused.
 *
 * @throws {SeparatedValuesError} for quotes that are where none can be, or that do not end.
 */
export function* readSeparatedValues(text: string, separator: "," | "\t"): Generator<ValueRecord> {
  const plain = separator === "," ? /[",\r\n]/g : /[\t\r\n]/g;
  let line = 1;
  for (let position = 0; position < text.length; ) {
    const values: string[] = [];
    const first = line;
    let isQuoted = false;
    for (let isDone = false; !isDone; ) {
      if (values.length >= mostColumns)
        throw new SeparatedValuesError(first, `more than ${mostColumns} columns`);
      if (text.charAt(position) === '"') {
        const read = readQuoted(text, position, line);
        values.push(read.value);
        [position, line, isQuoted] = [read.end, read.line, true];
      } else {
        plain.lastIndex = position;
        const end = plain.exec(text)?.index ?? text.length;
        if (text.charAt(end) === '"') {
          throw new SeparatedValuesError(
            line,
            'a quote within a value that does not begin with one. Put the value in quotes, and write "" for each quote in it',
          );
        }
        values.push(text.slice(position, end));
        position = end;
      }
      if (text.charAt(position) === separator) {
        position += 1;
        continue;
      }
      position = behindLineEnd(text, position, line);
      line += 1;
      isDone = true;
    }
    const isBlank = values.length === 1 && values[0]?.trim() === "" && !isQuoted;
    if (!isBlank) yield { line: first, values };
  }
}

function readQuoted(
  text: string,
  start: number,
  startLine: number,
): { readonly value: string; readonly end: number; readonly line: number } {
  const parts: string[] = [];
  let line = startLine;
  for (let from = start + 1; ; ) {
    const quote = text.indexOf('"', from);
    if (quote < 0) throw new SeparatedValuesError(startLine, "a quote that does not end");
    const part = text.slice(from, quote);
    parts.push(part);
    for (let at = part.indexOf("\n"); at >= 0; at = part.indexOf("\n", at + 1)) line += 1;
    if (text.charAt(quote + 1) !== '"') return { value: parts.join('"'), end: quote + 1, line };
    from = quote + 2;
  }
}

function behindLineEnd(text: string, position: number, line: number): number {
  if (position >= text.length) return position;
  if (text.charAt(position) === "\n") return position + 1;
  if (text.startsWith("\r\n", position)) return position + 2;
  // The last line's own end may be half of one.
  if (text.charAt(position) === "\r" && position + 1 === text.length) return position + 1;
  throw new SeparatedValuesError(
    line,
    text.charAt(position) === "\r"
      ? "a carriage return without a line feed. End lines with LF or CRLF"
      : 'text behind a quoted value. Write "" for each quote in a value',
  );
}
