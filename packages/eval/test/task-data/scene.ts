import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { openFolder } from "@crossrank/hub";
import { afterEach } from "vitest";
import { type OpenTaskOptions, openTask, type Task } from "../../src/tasks/index.js";

export type Files = Readonly<Record<string, string | Uint8Array>>;

export interface Folders {
  /** A folder of its own with these files. */
  write(files: Files): Promise<string>;
  /** The task that these files are; disposed of after the test. */
  open(files: Files, options?: OpenTaskOptions): Promise<Task>;
  /** What opening them rejects with. */
  failure(files: Files, options?: OpenTaskOptions): Promise<unknown>;
}

export function useFolders(): Folders {
  const folders: string[] = [];
  const tasks: Task[] = [];
  afterEach(async () => {
    for (const task of tasks.splice(0)) await task[Symbol.asyncDispose]();
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
  });
  const write = async (files: Files): Promise<string> => {
    const folder = await mkdtemp(join(tmpdir(), "crossrank-eval-"));
    folders.push(folder);
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), content);
    }
    return folder;
  };
  const open = async (files: Files, options?: OpenTaskOptions): Promise<Task> => {
    const task = await openTask(await openFolder(await write(files)), options);
    tasks.push(task);
    return task;
  };
  return {
    write,
    open,
    async failure(files, options) {
      try {
        await open(files, options);
      } catch (error) {
        return error;
      }
      throw new Error("did not fail");
    },
  };
}

export function jsonl(...rows: readonly unknown[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}

export function lines(...rows: readonly string[]): string {
  return rows.map((row) => `${row}\n`).join("");
}

/** A small BEIR folder without faults. */
export const beir: Record<"corpus.jsonl" | "queries.jsonl" | "qrels/test.tsv" | "candidates.trec", string> = {
  "corpus.jsonl": jsonl(
    { _id: "d1", title: "Tea", text: "Tea is made of leaves." },
    { _id: "d2", title: "", text: " Coffee is made of beans. ☕ " },
    { _id: "d3", text: "Water is only water." },
  ),
  "queries.jsonl": jsonl({ _id: "q1", text: "what is tea" }, { _id: "q2", text: "what is coffee" }),
  "qrels/test.tsv": lines("query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\td3\t0", "q2\td2\t1"),
  "candidates.trec": lines(
    "q1 Q0 d3 1 2.5 bm25",
    "q1 Q0 d1 2 1.25 bm25",
    "q2 Q0 d2 1 3e-1 bm25",
    "q2 Q0 d1 2 0.1 bm25",
  ),
};

/** The same maps and lists in plain form, for one look at all. */
export function plain(task: Task): {
  queries: Record<string, string>;
  qrels: Record<string, Record<string, number>>;
  candidates: Record<string, [string, number][]> | undefined;
} {
  return {
    queries: Object.fromEntries(task.queries),
    qrels: Object.fromEntries([...task.qrels].map(([query, row]) => [query, Object.fromEntries(row)])),
    candidates:
      task.candidates === undefined
        ? undefined
        : Object.fromEntries(
            [...task.candidates.queries].map(([query, { documents, scores }]) => [
              query,
              documents.map((document, index) => [document, scores[index] ?? Number.NaN]),
            ]),
          ),
  };
}

export function counts(task: Task): Record<string, number> {
  return Object.fromEntries(task.warnings.map(({ code, count }) => [code, count]));
}

export async function allTexts(task: Task): Promise<Record<string, string>> {
  const texts: Record<string, string> = {};
  for await (const { id, text } of task.documents) texts[id] = text;
  return texts;
}
