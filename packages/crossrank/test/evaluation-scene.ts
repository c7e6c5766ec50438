import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll } from "vitest";
import { fixture, type TemporaryFolder } from "./run-command.js";

const int8 = fileURLToPath(new URL("../../eval/test/run-data/model_int8.onnx", import.meta.url));

/** One tiny cross-encoder at three precisions. */
export function tinyModel(folder: TemporaryFolder): () => string {
  const model = (): string => folder.path("tiny");
  beforeAll(async () => {
    await cp(fixture("cross-encoder"), model(), { recursive: true });
    await cp(
      join(fixture("cross-encoder-fp16"), "onnx", "model.onnx"),
      join(model(), "onnx", "model_fp16.onnx"),
    );
    await cp(int8, join(model(), "onnx", "model_int8.onnx"));
  });
  return model;
}

export interface TaskShape {
  readonly queries: number;
  /** Candidates of each query; none leaves the file out. */
  readonly candidates: number;
  /** Words of each document. */
  readonly words: number;
  /** Document that is right for a query. Default its first candidate. */
  readonly relevant?: (query: number) => number;
}

const words =
  "cat dog river bank money water rain snow sun moon star city paris france berlin capital engine motor car bicycle train plane tea coffee bread cheese apple pear green red blue big small old new".split(
    " ",
  );

/** A BEIR folder in the fixtures' own words; the same for the same shape. */
export async function writeTask(folder: TemporaryFolder, name: string, shape: TaskShape): Promise<string> {
  const { queries, candidates, relevant = (query) => query } = shape;
  const count = Math.max(queries, candidates);
  const word = (position: number): string => words[position % words.length] ?? "";
  const documents = Array.from({ length: count }, (_, index) => ({
    _id: `d${index}`,
    title: word(index),
    text: Array.from({ length: shape.words }, (_, at) => word(index * 7 + at * (1 + (index % 5)))).join(" "),
  }));
  const asked = Array.from({ length: queries }, (_, index) => ({
    _id: `q${index}`,
    text: `what is the ${word(index)} in the ${word(index * 3 + 1)}`,
  }));
  const rows = (list: readonly object[]): string => list.map((row) => `${JSON.stringify(row)}\n`).join("");
  const path = folder.path(name);
  await mkdir(join(path, "qrels"), { recursive: true });
  await writeFile(join(path, "corpus.jsonl"), rows(documents));
  await writeFile(join(path, "queries.jsonl"), rows(asked));
  const judged = asked.map(({ _id }, index) => `${_id}\td${relevant(index)}\t1\n`);
  await writeFile(join(path, "qrels", "test.tsv"), `query-id\tcorpus-id\tscore\n${judged.join("")}`);
  if (candidates === 0) return path;
  const run = asked.flatMap(({ _id }, query) =>
    Array.from(
      { length: candidates },
      (_, rank) => `${_id} Q0 d${(query + rank) % count} ${rank + 1} ${candidates - rank} made\n`,
    ),
  );
  await writeFile(join(path, "candidates.trec"), run.join(""));
  return path;
}
