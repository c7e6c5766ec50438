import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { refusedWrite, writeInWhole } from "@crossrank/disk";
import { canonicalJson } from "../canonical.js";
import { ScoreIdentityError, ScoreStoreError } from "./errors.js";

/** What a run's numbers depend on, by name, each as text. Equal identities mean that work can be continued. */
export type Identity = Readonly<Record<string, string>>;

const format = 2;

/** Hexadecimal digits of a line's checksum: 128 bits of a sha256. */
const checksumDigits = 32;

/** Bytes. A row of a query with a million candidates has a tenth of it. */
const longestLine = 256 << 20;

/** A line, as far as the file holds it. */
interface Line {
  /** From 1. */
  readonly number: number;
  /** Undefined of a line that is too long. */
  readonly text: string | undefined;
  /** Bytes of the file, the line's end among them. */
  readonly start: number;
  readonly end: number;
}

/**
 * Rows of JSON that are only ever appended, under a header that says what they are of.
 *
 * Each line begins with a checksum over the identity and its own content: a line that was changed, or that belongs to
 * another system, task or setting, is known as such, and is left out. What a row is about must therefore stand in the
 * row. Whoever is killed while writing leaves at most one torn line, which is dropped when the file is opened again.
 */
export class LineStore<Row> {
  readonly path: string;
  /** Lines that were not what had been written, and were removed. A torn last line is none of them. */
  readonly damagedLines: number;
  readonly #handle: FileHandle;
  readonly #key: string;

  private constructor(path: string, handle: FileHandle, key: string, damagedLines: number) {
    this.path = path;
    this.#handle = handle;
    this.#key = key;
    this.damagedLines = damagedLines;
  }

  /**
   * Opens the file, or begins it, and hands over the rows that are there.
   *
   * @param options.fresh begins anew, whatever is there.
   * @param options.accept one call a row, in order. False, or an error, drops the row as damaged.
   * @throws {ScoreIdentityError} when the rows are of something else; {ScoreStoreError} when the file is none of this
   *   version's; {FileWriteError}.
   */
  static async open<Row>(
    path: string,
    identity: Identity,
    options: { readonly fresh: boolean; readonly accept: (row: Row) => boolean },
  ): Promise<LineStore<Row>> {
    const refused = (error: unknown): never => {
      throw refusedWrite(path, error);
    };
    const key = canonicalJson(identity);
    const header = lineOf(key, { crossrankScores: format, identity });
    await mkdir(dirname(path), { recursive: true }).catch(refused);
    let handle = await open(path, options.fresh ? "w+" : "a+").catch(refused);
    try {
      const kept: Line[] = [];
      let damaged = 0;
      let hasHeader = false;
      const end = await readLines(handle, (line) => {
        if (line.number === 1) {
          hasHeader = checkHeader(path, line, identity);
          if (!hasHeader) damaged += 1;
        } else if (isWholeRow<Row>(key, line, options.accept)) kept.push(line);
        else damaged += 1;
      });
      if (damaged > 0) {
        await writeInWhole(path, linesOf(handle, header, kept));
        await handle.close();
        handle = await open(path, "a+").catch(refused);
      } else {
        await handle.truncate(end).catch(refused);
        if (!hasHeader) await handle.appendFile(header).catch(refused);
      }
      return new LineStore<Row>(path, handle, key, damaged);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** In one write. @throws {FileWriteError} */
  async append(row: Row): Promise<void> {
    await this.#handle.appendFile(lineOf(this.#key, row)).catch((error: unknown) => {
      throw refusedWrite(this.path, error);
    });
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

function lineOf(key: string, value: unknown): string {
  const text = JSON.stringify(value);
  return `${checksumOf(key, text)} ${text}\n`;
}

function checksumOf(key: string, text: string): string {
  return createHash("sha256").update(`${key}\n${text}`).digest("hex").slice(0, checksumDigits);
}

/** The content of a line whose checksum is right. */
function contentOf(key: string, text: string | undefined): string | undefined {
  if (text?.[checksumDigits] !== " ") return undefined;
  const content = text.slice(checksumDigits + 1);
  return checksumOf(key, content) === text.slice(0, checksumDigits) ? content : undefined;
}

function isWholeRow<Row>(key: string, { text }: Line, accept: (row: Row) => boolean): boolean {
  const content = contentOf(key, text);
  if (content === undefined) return false;
  try {
    return accept(JSON.parse(content) as Row);
  } catch {
    return false;
  }
}

/** @returns false when it is damaged. Rows answer for themselves, whatever became of the header. */
function checkHeader(path: string, { text = "" }: Line, identity: Identity): boolean {
  const content = text.startsWith("{") ? text : text.slice(checksumDigits + 1);
  let header: { crossrankScores?: unknown; identity?: Identity } | null;
  try {
    header = JSON.parse(content) as typeof header;
  } catch {
    return false;
  }
  const { crossrankScores: version, identity: before } = header ?? {};
  if (typeof before !== "object" || before === null) return false;
  // Under its own identity: one that was changed on the disk is damage, and no other run's.
  const isWhole = contentOf(canonicalJson(before), text) !== undefined;
  // The first version had no checksums.
  if (version !== format && (isWhole || version === 1)) {
    throw new ScoreStoreError({
      path,
      line: 1,
      problem: "is not the beginning of stored scores of this version",
      fix: "Remove the file, or score anew with the option `fresh`, which does.",
    });
  }
  if (!isWhole) return false;
  const names = new Set([...Object.keys(before), ...Object.keys(identity)]);
  const differences = [...names]
    .filter((name) => before[name] !== identity[name])
    .map((what) => ({ what, before: before[what] ?? "unknown", now: identity[what] ?? "unknown" }));
  if (differences.length > 0) throw new ScoreIdentityError({ path, differences });
  return true;
}

/** Whole lines from the beginning. @returns the byte after the last one. */
async function readLines(handle: FileHandle, take: (line: Line) => void): Promise<number> {
  const block = Buffer.allocUnsafe(1 << 20);
  let rest: Buffer[] = [];
  let restLength = 0;
  let position = 0;
  let number = 0;
  let start = 0;
  for (;;) {
    const { bytesRead } = await handle.read(block, 0, block.length, position);
    if (bytesRead === 0) return start;
    let from = 0;
    for (let at = block.indexOf(10); at >= 0 && at < bytesRead; at = block.indexOf(10, from)) {
      number += 1;
      const end = position + at + 1;
      const isTooLong = end - start > longestLine;
      const text = isTooLong
        ? undefined
        : Buffer.concat([...rest, block.subarray(from, at)]).toString("utf8");
      take({ number, text, start, end });
      rest = [];
      restLength = 0;
      start = end;
      from = at + 1;
    }
    position += bytesRead;
    restLength += bytesRead - from;
    if (restLength > longestLine) rest = [];
    else rest.push(Buffer.from(block.subarray(from, bytesRead)));
  }
}

async function* linesOf(
  handle: FileHandle,
  header: string,
  lines: readonly Line[],
): AsyncGenerator<string | Uint8Array> {
  yield header;
  for (const { start, end } of lines) {
    const bytes = new Uint8Array(end - start);
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
      if (bytesRead === 0) throw new RangeError(`a file of scores became shorter while it was read`);
      filled += bytesRead;
    }
    yield bytes;
  }
}
