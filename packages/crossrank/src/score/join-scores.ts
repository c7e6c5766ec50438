import { createHash } from "node:crypto";
import { ScoreJobError } from "./errors.js";
import { errorsName, scoresName, shardName, shardsFolder, summaryName } from "./manifest.js";
import { requireSameJob, rowsOf, type ScoreJob } from "./score-job.js";

/** What a whole job came to; summary.json of its folder. */
export interface ScoreSummary {
  /** The folder of the job. */
  readonly output: string;
  readonly rows: number;
  /** Rows with a score. */
  readonly scored: number;
  /** Rows of errors.jsonl. */
  readonly failed: number;
  /** Of scores.jsonl. */
  readonly sha256: string;
}

/** Bytes of a summary. */
const mostBytes = 4096;

/**
 * Writes scores.jsonl, the shards in input order, and errors.jsonl, those of its lines that have an error.
 * @throws {ScoreJobError} where a shard is missing, or has other rows than it should.
 */
export async function joinScores(job: ScoreJob, signal?: AbortSignal): Promise<ScoreSummary> {
  const { manifest, output } = job;
  await requireSameJob(job);
  const hash = createHash("sha256");
  let failed = 0;
  await output.write(
    scoresName,
    pieces(job, (piece) => hash.update(piece), signal),
  );
  await output.write(
    errorsName,
    (async function* () {
      for await (const line of linesOf(pieces(job, () => undefined, signal))) {
        // Only a name has such quotes: within a text they are escaped.
        if (!line.includes('"error":{')) continue;
        failed += 1;
        yield `${line}\n`;
      }
    })(),
  );
  const { rows } = manifest.input;
  const summary = { rows, scored: rows - failed, failed, sha256: hash.digest("hex") };
  // Last: where it stands the others are whole.
  await output.write(summaryName, [`${JSON.stringify(summary, undefined, 2)}\n`]);
  // All is scored, so that nobody writes shards who would be missed.
  await output.removeUnfinished(shardsFolder);
  return { output: output.place, ...summary };
}

/** The summary of a job that was joined; undefined where it is not. */
export async function readSummary({ manifest, output }: ScoreJob): Promise<ScoreSummary | undefined> {
  const bytes = await output.read(summaryName, mostBytes);
  if (bytes === undefined) return undefined;
  try {
    const value = JSON.parse(Buffer.from(bytes).toString("utf8")) as Omit<ScoreSummary, "output">;
    const { rows, scored, failed, sha256 } = value;
    const isWhole = rows === manifest.input.rows && scored + failed === rows && typeof sha256 === "string";
    return isWhole ? { output: output.place, rows, scored, failed, sha256 } : undefined;
  } catch {
    return undefined;
  }
}

async function* pieces(
  { manifest, output }: ScoreJob,
  see: (piece: Uint8Array) => void,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for (let shard = 0; shard < manifest.shards; shard += 1) {
    signal?.throwIfAborted();
    let lines = 0;
    for await (const piece of output.stream(shardName(shard), signal)) {
      for (let at = piece.indexOf(0x0a); at >= 0; at = piece.indexOf(0x0a, at + 1)) lines += 1;
      see(piece);
      yield piece;
    }
    const expected = rowsOf(manifest, shard);
    if (lines !== expected) {
      throw new ScoreJobError(
        "output",
        `${output.place}/${shardName(shard)}`,
        `has ${lines} lines, and should have ${expected}. Remove this file, and run it again`,
      );
    }
  }
}

async function* linesOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of source) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
