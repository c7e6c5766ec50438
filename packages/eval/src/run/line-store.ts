import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { ScoreIdentityError, ScoreStoreError } from "./errors.js";

/** What a run's numbers depend on, by name, each as text. Equal identities mean that work can be continued. */
export type Identity = Readonly<Record<string, string>>;

const format = 1;

/**
 * Rows of JSON that are only ever appended, under a header that says what they are of. Whoever is killed while writing
 * leaves at most one torn line, which is dropped when the file is opened again. Rows survive the process, whatever ends
 * it; a power failure may cost those that the system had not written yet.
 */
export class LineStore<Row> {
  readonly path: string;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /**
   * Opens the file, or begins it, and hands over the rows that are there.
   *
   * @param options.fresh begins anew, whatever is there.
   * @param options.onRow one call a row, in order. What it throws is reported with the line.
   * @throws {ScoreIdentityError} when the rows are of something else; {ScoreStoreError} when they cannot be read, or
   *   another process is writing.
   */
  static async open<Row>(
    path: string,
    identity: Identity,
    options: { readonly fresh: boolean; readonly onRow: (row: Row) => void },
  ): Promise<LineStore<Row>> {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(path, options.fresh ? "w+" : "a+");
    try {
      const end = await readLines(handle, (text, line) => {
        const value = parse(path, line, text);
        if (line === 1) checkHeader(path, value, identity);
        else {
          try {
            options.onRow(value as Row);
          } catch (cause) {
            throw damaged(path, line, `is not a row of this run (${(cause as Error).message})`, cause);
          }
        }
      });
      await handle.truncate(end);
      if (end === 0) await handle.appendFile(`${JSON.stringify({ crossrankScores: format, identity })}\n`);
      return new LineStore<Row>(path, handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** In one write: the rows of one call are torn at one place at most. */
  async append(rows: readonly Row[]): Promise<void> {
    await this.#handle.appendFile(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** Whole lines from the beginning. @returns the byte after the last one. */
async function readLines(handle: FileHandle, take: (text: string, line: number) => void): Promise<number> {
  const block = Buffer.allocUnsafe(1 << 20);
  let rest = Buffer.alloc(0);
  let position = 0;
  let line = 0;
  for (;;) {
    const { bytesRead } = await handle.read(block, 0, block.length, position);
    if (bytesRead === 0) return position - rest.length;
    position += bytesRead;
    let bytes =
      rest.length === 0 ? block.subarray(0, bytesRead) : Buffer.concat([rest, block.subarray(0, bytesRead)]);
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
      line += 1;
      take(bytes.toString("utf8", 0, end), line);
      bytes = bytes.subarray(end + 1);
    }
    rest = Buffer.from(bytes);
  }
}

function parse(path: string, line: number, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw damaged(path, line, "is not JSON", cause);
  }
}

function checkHeader(path: string, header: unknown, identity: Identity): void {
  const { crossrankScores, identity: before } = (header ?? {}) as {
    crossrankScores?: unknown;
    identity?: Identity;
  };
  if (crossrankScores !== format || typeof before !== "object" || before === null) {
    throw damaged(path, 1, "is not the beginning of stored scores of this version");
  }
  const names = new Set([...Object.keys(before), ...Object.keys(identity)]);
  const differences = [...names]
    .filter((name) => before[name] !== identity[name])
    .map((what) => ({ what, before: before[what] ?? "unknown", now: identity[what] ?? "unknown" }));
  if (differences.length > 0) throw new ScoreIdentityError({ path, differences });
}

function damaged(path: string, line: number, problem: string, cause?: unknown): ScoreStoreError {
  return new ScoreStoreError(
    { path, line, problem, fix: "Remove the file, or score anew (--fresh), which does." },
    { cause },
  );
}
