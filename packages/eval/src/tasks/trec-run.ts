import { InvalidInputError } from "@crossrank/core";
import { writeInWhole } from "@crossrank/disk";
import { TaskDataError } from "./errors.js";
import { type LocalFile, malformed, readLines } from "./rows.js";
import type { CandidateList, WarningCounter } from "./task.js";

/** A query's documents with scores, best first. A map's order counts among equal scores. */
export type RunRows = Iterable<readonly [query: string, documents: Iterable<readonly [string, number]>]>;

/**
 * Lines of a TREC run file (`query Q0 document rank score tag`), without line ends. Ranks are from 1 by score
 * descending, equal scores in the order given, so that reading gives the same order again. (trec_eval itself reads
 * no ranks and orders equal scores by id.) Scores have the digits that give the same float64 when read.
 *
 * @param rows a `Run` is one.
 * @param tag names the system that made the run.
 * @throws {InvalidInputError} for an id or tag that is empty or holds white space, which the format cannot express,
 *   and for a score that is not finite.
 */
export function* formatRun(rows: RunRows, tag: string): Generator<string> {
  checkWord("tag", tag);
  for (const [query, documents] of rows) {
    checkWord("query id", query);
    const sorted = [...documents].sort(([, left], [, right]) => right - left);
    let rank = 0;
    for (const [document, score] of sorted) {
      checkWord("document id", document);
      if (!Number.isFinite(score)) {
        throw new InvalidInputError(
          "rows",
          `gives document ${document} of query ${query} the score ${score}; a run holds finite scores`,
        );
      }
      rank += 1;
      yield `${query} Q0 ${document} ${rank} ${Object.is(score, -0) ? "-0" : score} ${tag}`;
    }
  }
}

function checkWord(what: string, word: string): void {
  if (word !== "" && !/[\s\0]/u.test(word)) return;
  throw new InvalidInputError(
    "rows",
    `have the ${what} ${JSON.stringify(word)}, which a TREC run file cannot hold: its columns are separated by white space`,
  );
}

/**
 * Writes a run file as {@link formatRun} formats it; the file is there whole or not at all.
 * @throws {InvalidInputError} as `formatRun`; {FileWriteError}.
 */
export async function writeRunFile(path: string, rows: RunRows, tag: string): Promise<void> {
  await writeInWhole(path, blocksOf(formatRun(rows, tag)));
}

function* blocksOf(lines: Iterable<string>): Generator<string> {
  let block: string[] = [];
  for (const line of lines) {
    block.push(line);
    if (block.length < 10_000) continue;
    yield `${block.join("\n")}\n`;
    block = [];
  }
  if (block.length > 0) yield `${block.join("\n")}\n`;
}

interface ReadRow {
  readonly document: string;
  readonly rank: number;
  readonly score: number;
}

/**
 * A TREC run file: six columns separated by white space. The order is by score descending, then by rank, then by
 * place in the file. A document that stands twice under a query keeps its best place, which is counted.
 *
 * @param keep which queries to read; others are counted.
 * @param intern the one string to keep for a document's id; undefined for an id that no document has.
 * @throws {TaskDataError} for a malformed line, a score that is not finite, and a document that `intern` does not know.
 */
export async function readRunFile(
  file: LocalFile,
  counter: WarningCounter,
  keep: (query: string) => boolean,
  intern: (document: string) => string | undefined,
  signal?: AbortSignal,
): Promise<{ queries: Map<string, CandidateList>; ranked: boolean }> {
  const rows = new Map<string, ReadRow[]>();
  for await (const batch of readLines(file, signal)) {
    for (const { value, line } of batch) {
      const columns = value.trim().split(/\s+/);
      const [query, , id, rankText, scoreText] = columns;
      if (columns.length !== 6 || query === undefined || id === undefined) {
        throw malformed(
          file.path,
          line,
          `has ${columns.length} columns, expected 6 (query Q0 document rank score tag)`,
        );
      }
      if (!/^[+-]?\d+$/.test(rankText ?? "")) throw malformed(file.path, line, `the rank is ${rankText}`);
      const score = readScore(file.path, line, scoreText ?? "");
      if (!keep(query)) {
        counter.add("unjudged-candidates", query);
        continue;
      }
      const document = intern(id);
      if (document === undefined) {
        throw new TaskDataError({
          fault: "unknown-document",
          file: file.path,
          line,
          problem: `the corpus has no document ${JSON.stringify(id)}`,
          fix: "Check that run and corpus are of one data set.",
        });
      }
      const row = { document, rank: Number(rankText), score };
      const list = rows.get(query);
      if (list === undefined) rows.set(query, [row]);
      else list.push(row);
    }
  }
  const queries = new Map<string, CandidateList>();
  let ranked = false;
  for (const [query, list] of rows) {
    list.sort((left, right) => right.score - left.score || left.rank - right.rank);
    if (list.some((row, index) => row.rank < (list[index - 1]?.rank ?? row.rank))) {
      counter.add("ranks-contradict-scores", query);
    }
    const seen = new Set<string>();
    const kept = list.filter(({ document }) => {
      if (!seen.has(document)) return seen.add(document);
      counter.add("duplicate-candidates", `${query} ${document}`);
      return false;
    });
    if (kept.some(({ score }) => score !== kept[0]?.score)) ranked = true;
    queries.set(query, {
      documents: kept.map(({ document }) => document),
      scores: Float64Array.from(kept, ({ score }) => score),
    });
  }
  return { queries, ranked };
}

function readScore(file: string, line: number, text: string): number {
  if (/^[+-]?(?:nan|inf(?:inity)?)$/i.test(text)) {
    throw new TaskDataError({
      fault: "non-finite",
      file,
      line,
      problem: `the score is ${text}`,
      fix: "Nothing is computed from such a run: find out why the system gave it.",
    });
  }
  if (!/^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text)) {
    throw malformed(file, line, `the score ${JSON.stringify(text)} is no number`);
  }
  const score = Number(text);
  if (Number.isFinite(score)) return score;
  throw new TaskDataError({ fault: "non-finite", file, line, problem: `the score ${text} is out of range` });
}
