import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { type CreateRerankerOptions, createReranker, type ModelFiles, type Reranker } from "@crossrank/core";
import { openFolder } from "@crossrank/hub";
import { afterAll, beforeAll } from "vitest";
import { createScorer, type EnvironmentReport, type Scorer, type SystemSource } from "../../src/index.js";
import { jsonl, lines } from "../task-data/scene.js";

const fixtures = fileURLToPath(new URL("../../../backend-onnx/test/fixtures", import.meta.url));

export function fixture(name: string): string {
  return join(fixtures, name);
}

const int8 = fileURLToPath(new URL("./model_int8.onnx", import.meta.url));

/** The model that ships with crossrank, at int8. */
const nano = fileURLToPath(new URL("../../../model-nano/model", import.meta.url));

/** A folder for all tests of a file, and in it one model at three precisions. */
export function useModels(): {
  readonly tiny: string;
  readonly nano: string;
  readonly folder: (name: string) => string;
} {
  let root = "";
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "crossrank-eval-run-"));
    const tiny = join(root, "tiny");
    await cp(fixture("cross-encoder"), tiny, { recursive: true });
    await cp(
      join(fixture("cross-encoder-fp16"), "onnx", "model.onnx"),
      join(tiny, "onnx", "model_fp16.onnx"),
    );
    await cp(int8, join(tiny, "onnx", "model_int8.onnx"));
  });
  afterAll(async () => {
    await rm(root, { recursive: true, force: true });
  });
  return {
    get tiny() {
      return join(root, "tiny");
    },
    nano,
    folder: (name) => join(root, name),
  };
}

type RerankerOptions = Omit<CreateRerankerOptions, "model" | "backend"> & {
  /** Default: the backend's own. */
  readonly batch?: NonNullable<Parameters<typeof onnx>[0]>["batch"];
};

export async function load(model: string, options: RerankerOptions = {}): Promise<[ModelFiles, Reranker]> {
  const { batch, ...rerankerOptions } = options;
  const files = await openFolder(model);
  // What is tried is what an evaluation makes of scores; in this process a model loads in milliseconds.
  const backend = onnx({
    workers: 1,
    threads: 1,
    isolation: "thread",
    ...(batch === undefined ? {} : { batch }),
  });
  return [files, await createReranker({ model: files, backend, ...rerankerOptions })];
}

/** What a source's scorers were asked to do. */
export interface Asked {
  pairs: number;
  queryTexts: number;
  documentTexts: number;
  opened: number;
  closed: number;
}

/** A real model on the real runtime, whose calls are counted and may be looked at. */
export function source(
  name: string,
  model: string,
  options: RerankerOptions & { readonly onCall?: (call: number) => void } = {},
): SystemSource & { readonly asked: Asked } {
  const { onCall, ...rerankerOptions } = options;
  const asked: Asked = { pairs: 0, queryTexts: 0, documentTexts: 0, opened: 0, closed: 0 };
  let calls = 0;
  return {
    name,
    asked,
    open: async () => {
      const [files, reranker] = await load(model, rerankerOptions);
      const scorer = await createScorer(files, reranker, 1);
      asked.opened += 1;
      const counted: Scorer = {
        ...scorer,
        score: (pairs, scoreOptions) => {
          asked.pairs += pairs.length;
          calls += 1;
          onCall?.(calls);
          return scorer.score(pairs, scoreOptions);
        },
        embed: (texts, embedOptions) => {
          if (embedOptions.as === "query") asked.queryTexts += texts.length;
          else asked.documentTexts += texts.length;
          calls += 1;
          onCall?.(calls);
          return scorer.embed(texts, embedOptions);
        },
        close: async () => {
          asked.closed += 1;
          await scorer.close();
        },
      };
      return counted;
    },
  };
}

export const environment: EnvironmentReport = {
  node: process.version,
  platform: "test",
  cpu: null,
  cores: 1,
  memory: 1,
  packages: { "@crossrank/core": "0.0.0", "@crossrank/eval": "0.0.0" },
};

const subjects = "cat dog river bank money water rain snow sun moon star city".split(" ");
const places = "paris france berlin capital engine motor car bicycle train plane tea coffee bread".split(" ");
const verbs = "grow bake wash fix read write open close".split(" ");

/**
 * Twelve queries, thirty-six documents, ten candidates a query, in the fixtures' own words. `relevant` says which
 * document is right for a query; default: one that shares its word.
 */
export function wordTask(relevant: (query: number) => number = (query) => query * 3): Record<string, string> {
  const documents = subjects.flatMap((subject, index) =>
    [0, 1, 2].map((kind) => ({
      _id: `d${index * 3 + kind}`,
      title: kind === 0 ? `the ${subject}` : "",
      text: `${subject} and ${places[(index + kind * 5) % places.length]} ${verbs[(index * 3 + kind) % verbs.length]} the old ${places[(index * 2 + kind) % places.length]}`,
    })),
  );
  const queries = subjects.map((subject, index) => ({
    _id: `q${index}`,
    text: `how does the ${subject} ${verbs[index % verbs.length]}`,
  }));
  const candidates = queries.flatMap(({ _id }, query) =>
    Array.from(
      { length: 10 },
      (_, rank) => `${_id} Q0 d${(query * 3 + rank * 5) % 36} ${rank + 1} ${10 - rank} made`,
    ),
  );
  return {
    "corpus.jsonl": jsonl(...documents),
    "queries.jsonl": jsonl(...queries),
    "qrels/test.tsv": lines(
      "query-id\tcorpus-id\tscore",
      ...queries.map(({ _id }, query) => `${_id}\td${relevant(query)}\t1`),
    ),
    "candidates.trec": lines(...candidates),
  };
}

const words =
  "cat dog river bank money water rain snow sun moon star city tea coffee train engine paris".split(" ");
const word = (at: number): string => words[at % words.length] ?? "";

/** 34 queries with nine candidates each: twenty are scored alone, the others in one call. */
export function manyQueries(): Record<string, string> {
  const documents = Array.from({ length: 60 }, (_, at) => ({
    _id: `d${at}`,
    text: `${word(at)} and the old ${word(at * 3 + 1)} with ${word(at * 7 + 2)}${" and tea".repeat(at % 4)}`,
  }));
  const queries = Array.from({ length: 34 }, (_, at) => ({
    _id: `q${at}`,
    text: `how does the ${word(at)} grow ${word(at * 5)}`,
  }));
  return {
    "corpus.jsonl": jsonl(...documents),
    "queries.jsonl": jsonl(...queries),
    "qrels/test.tsv": lines(
      "query-id\tcorpus-id\tscore",
      ...queries.map(({ _id }, at) => `${_id}\td${(at * 3 + (at % 9) * 5) % 60}\t1`),
    ),
    "candidates.trec": lines(
      ...queries.flatMap(({ _id }, at) =>
        Array.from(
          { length: 9 },
          (_, rank) => `${_id} Q0 d${(at * 3 + rank * 5) % 60} ${rank + 1} ${9 - rank} made`,
        ),
      ),
    ),
  };
}
