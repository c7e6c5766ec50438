import { InvalidInputError, NonFiniteScoreError, type PairScore, type Reranker } from "@crossrank/core";
import type { ScoreCallOptions } from "./manifest.js";
import type { PairFile } from "./pair-file.js";
import type { PairRow, RowFailure } from "./pair-row.js";

/** Bytes of text, about, at which a call has enough pairs. */
const mostCallLength = 4 * 1024 * 1024;

export interface ShardWork {
  readonly reranker: Pick<Reranker, "score">;
  readonly pairs: PairFile;
  readonly batchPairs: number;
  readonly call: ScoreCallOptions;
}

/** What a shard came to. */
export interface ShardCounts {
  rows: number;
  failed: number;
}

/**
 * The lines of a shard, in pieces. They depend on the rows, the model and the options alone: which pairs share a call is
 * counted from the beginning of the shard.
 *
 * @param counts grow with each piece.
 */
export async function* scoreShard(
  { reranker, pairs, batchPairs, call }: ShardWork,
  shard: number,
  counts: ShardCounts,
  signal?: AbortSignal,
): AsyncGenerator<string> {
  let rows: PairRow[] = [];
  let length = 0;
  const flush = async (): Promise<string> => {
    const outcomes = await scoreRows(rows, (part) =>
      reranker.score(
        part.map(({ pair }) => pair as NonNullable<PairRow["pair"]>),
        { ...call, signal },
      ),
    );
    const lines = rows.map((row, index) => lineOf(row, outcomes[index] as Outcome));
    counts.rows += rows.length;
    counts.failed += lines.filter(({ isFailed }) => isFailed).length;
    rows = [];
    length = 0;
    return lines.map(({ text }) => text).join("");
  };
  for await (const row of pairs.rows(shard, signal)) {
    rows.push(row);
    length += (row.pair?.query.length ?? 0) + ((row.pair?.document as string | undefined)?.length ?? 0);
    if (rows.length >= batchPairs || length >= mostCallLength) yield await flush();
  }
  if (rows.length > 0) yield await flush();
}

type Outcome = PairScore | RowFailure;

/** Scores of rows, in their order; a pair that the model refuses fails alone. */
async function scoreRows(
  rows: readonly PairRow[],
  score: (rows: readonly PairRow[]) => Promise<{ readonly scores: readonly PairScore[] }>,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = rows.map(({ failure }) => failure ?? { code: "row", message: "has no pair" });
  const fill = async (indices: readonly number[]): Promise<void> => {
    if (indices.length === 0) return;
    try {
      const { scores } = await score(indices.map((index) => rows[index] as PairRow));
      indices.forEach((index, position) => {
        outcomes[index] = scores[position] as PairScore;
      });
    } catch (error) {
      // What is wrong with one pair fails the call of all: halves find out with which.
      const isOfPair = NonFiniteScoreError.isInstance(error) || isOfPairs(error);
      if (!isOfPair) throw error;
      const [only] = indices;
      if (indices.length === 1 && only !== undefined) {
        outcomes[only] = { code: error.code, message: error.message };
        return;
      }
      const middle = indices.length >> 1;
      await fill(indices.slice(0, middle));
      await fill(indices.slice(middle));
    }
  };
  await fill(rows.flatMap(({ pair }, index) => (pair === undefined ? [] : [index])));
  return outcomes;
}

/** An argument that is wrong may be an option, which is wrong for all. */
function isOfPairs(error: unknown): error is InvalidInputError {
  return InvalidInputError.isInstance(error) && error.path.startsWith("pairs[");
}

function lineOf(row: PairRow, outcome: Outcome): { readonly text: string; readonly isFailed: boolean } {
  const place = { row: row.row, ...(row.id === undefined ? {} : { id: row.id }) };
  const scored = "logit" in outcome ? outcome : undefined;
  const failure =
    "logit" in outcome
      ? outcome.logit === null
        ? { code: "query-overflow", message: "the query leaves no room for a document" }
        : undefined
      : outcome;
  const value = {
    ...place,
    logit: scored?.logit ?? null,
    score: scored?.score ?? null,
    ...(scored === undefined || scored.truncatedTokens === 0
      ? {}
      : { truncatedTokens: scored.truncatedTokens }),
    ...(scored?.truncatedTokensIsMinimum === true ? { truncatedTokensIsMinimum: true } : {}),
    ...(failure === undefined ? {} : { error: { line: row.line, ...failure } }),
  };
  return { text: `${JSON.stringify(value)}\n`, isFailed: failure !== undefined };
}
