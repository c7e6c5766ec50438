import { TaskDataError } from "./errors.js";
import type { Judgements } from "./read-parts.js";
import type { Task } from "./task.js";

/** Of the judgements, more than this share of documents without text is a pool, or another corpus. */
const toleratedShare = 0.05;
/** So many judgements without a single document that has a text are no pool beside this corpus. */
const telling = 20;

/**
 * A pool, TREC's judgements of a whole collection beside the texts of some, is right where candidates are given: each of
 * them has its text, and the others only make the ideal ranking. Where candidates are still to be searched for, what
 * the corpus lacks could not be found, and the same files look like a corpus of another version.
 *
 * @throws {TaskDataError} naming the first judgement of a document without text.
 */
export function checkPool(judgements: Judgements, candidates: "given" | "to be searched for"): void {
  const { count, unknown, firstUnknown } = judgements;
  if (firstUnknown === undefined || unknown <= count * toleratedShare) return;
  const given = candidates === "given";
  if (given && (unknown < count || count < telling)) return;
  const { file, line, id } = firstUnknown;
  const otherwise = given ? "" : `; ${ofPools}`;
  throw new TaskDataError({
    fault: "unknown-document",
    file,
    line,
    problem: `the corpus has no document ${JSON.stringify(id)}, and ${unknown} of ${count} judgements are such`,
    fix: `Check that corpus and judgements are of one version of one data set${otherwise}.`,
  });
}

/**
 * Before the texts of an open task are searched.
 *
 * @throws {TaskDataError} for a pool.
 */
export function refusePool({ id, qrels, documents, provenance }: Task): void {
  let count = 0;
  let unknown = 0;
  for (const row of qrels.values()) {
    for (const document of row.keys()) {
      count += 1;
      if (!documents.has(document)) unknown += 1;
    }
  }
  if (unknown <= count * toleratedShare) return;
  throw new TaskDataError({
    fault: "unknown-document",
    file: provenance.files.find(({ role }) => role === "qrels")?.path ?? id,
    problem: `is a pool, which cannot be searched: ${unknown} of ${count} judgements are of documents that the corpus lacks`,
    fix: `Take the whole corpus; ${ofPools}.`,
  });
}

const ofPools = "of a pool, rerank the documents of a run";
