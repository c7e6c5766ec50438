import type { Task } from "@crossrank/eval";
import { type BadRow, mostNamed, TrainingDataError } from "./errors.js";
import { formOf, parseRow, RowProblem, readRow, textOf } from "./forms.js";
import { readLines } from "./lines.js";
import { TextStore } from "./text-store.js";

/** Documents of a corpus, at most: about 200 bytes of memory each. */
export const mostDocuments = 20_000_000;

/**
 * Documents of JSONL files and tasks, each text once. A row is `{"text": …}`, with a title before it where there is
 * one, as MTEB joins them; or one of the forms of training data, whose documents are taken.
 *
 * @throws {TrainingDataError} naming the lines that cannot be used.
 */
export async function readCorpus(
  sources: readonly (string | Task)[],
  {
    signal,
    onProgress,
  }: { signal?: AbortSignal | undefined; onProgress?: ((rows: number) => void) | undefined } = {},
): Promise<TextStore> {
  const store = await TextStore.create();
  const bad: BadRow[] = [];
  let badCount = 0;
  let rows = 0;
  try {
    const add = async (text: string): Promise<void> => {
      await store.add(text);
      if (store.size <= mostDocuments) return;
      throw new TrainingDataError({
        problem: `The corpus has more than ${mostDocuments} documents`,
        fix: "Mine in a part of it.",
      });
    };
    for (const source of sources) {
      if (typeof source !== "string") {
        for await (const { text } of source.documents) if (text.trim() !== "") await add(text);
        continue;
      }
      for await (const found of readLines(source, signal)) {
        rows += 1;
        if (rows % 1000 === 0) onProgress?.(rows);
        try {
          if ("fault" in found) throw new RowProblem(found.fault, found.problem);
          for (const text of documentsOf(found.text)) await add(text);
        } catch (error) {
          if (!(error instanceof RowProblem)) throw error;
          // Public corpora have such documents, and nobody takes them for a negative.
          if (error.fault === "empty") continue;
          badCount += 1;
          const { fault, problem } = error;
          if (bad.length < mostNamed) bad.push({ file: source, line: found.line, fault, problem });
        }
      }
    }
    if (badCount > 0) {
      throw new TrainingDataError({
        problem: `${badCount} ${badCount === 1 ? "row" : "rows"} of the corpus cannot be used`,
        fix: 'Correct them: a row is {"text": …}, or one of the forms of training data.',
        rows: bad,
        count: badCount,
      });
    }
    if (store.size === 0) {
      throw new TrainingDataError({
        problem: "The corpus has no documents",
        fix: "Name files that have some.",
      });
    }
    return store;
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}

function documentsOf(line: string): string[] {
  const row = parseRow(line);
  const form = formOf(row);
  if (form !== undefined) {
    return readRow(row, form).statements.flatMap((statement) =>
      statement.kind === "triplet"
        ? [statement.positive, ...(statement.negative === undefined ? [] : [statement.negative])]
        : [statement.document],
    );
  }
  const { title = "", text } = row;
  if (typeof title !== "string") throw new RowProblem("malformed", '"title" is no text');
  return [textOf(typeof text === "string" ? `${title} ${text}`.trim() : text, '"text"')];
}
