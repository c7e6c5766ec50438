import { closeSync, openSync, readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { NonFiniteScoreError } from "@crossrank/core";
import { NonFiniteSystemScoreError, ScoreStoreError } from "./errors.js";
import { type Identity, LineStore } from "./line-store.js";
import { type ProgressListener, phaseProgress } from "./progress.js";
import type { Scorer } from "./scorer.js";
import { type CallRow, callRow, type Tally } from "./tally.js";

/** Texts of one call. */
const textsTogether = 256;

/** A call's vectors, as they are noted beside the file that holds them. */
interface VectorRow {
  readonly rows: number;
  readonly dimensions: number;
  readonly call: CallRow;
}

/** Vectors on disk, float32, one text after the other. */
export class StoredVectors {
  readonly rows: number;
  readonly dimensions: number;
  readonly #file: number;

  constructor(path: string, rows: number, dimensions: number) {
    this.rows = rows;
    this.dimensions = dimensions;
    this.#file = openSync(path, "r");
  }

  /** (count, dimensions), row-major. Reads as a whole or throws. */
  read(first: number, count: number): Float32Array {
    const vectors = new Float32Array(count * this.dimensions);
    this.readInto(vectors, first);
    return vectors;
  }

  /** As many rows as `vectors` has place for. */
  readInto(vectors: Float32Array, first: number): void {
    const bytes = new Uint8Array(vectors.buffer, vectors.byteOffset, vectors.byteLength);
    const start = first * this.dimensions * 4;
    let filled = 0;
    while (filled < bytes.length) {
      const read = readSync(this.#file, bytes, filled, bytes.length - filled, start + filled);
      if (read === 0) throw new RangeError(`row ${first} lies beyond the ${this.rows} stored vectors`);
      filled += read;
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

/**
 * Embeds the texts whose vectors the file does not hold yet, in order, and appends as it goes: each text once, and
 * memory for one call's texts. The note of a call is written after its vectors, so that what is noted is there.
 *
 * @param facts.path without an ending: `.f32` holds the vectors, `.jsonl` the notes.
 * @param facts.ids one a text, at least one. A longer list that begins alike continues the same file.
 * @param facts.textsOf texts of some of the ids, in their order.
 */
export async function embedTexts(facts: {
  readonly system: string;
  readonly scorer: Scorer;
  readonly as: "query" | "document";
  readonly path: string;
  readonly identity: Identity;
  readonly fresh: boolean;
  readonly ids: readonly string[];
  readonly textsOf: (ids: readonly string[]) => Promise<readonly string[]>;
  readonly tally: Tally;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}): Promise<{ readonly vectors: StoredVectors; readonly resumed: number }> {
  const { system, scorer, as, ids, tally, signal } = facts;
  let rows = 0;
  let dimensions = 0;
  const notes = await LineStore.open<VectorRow>(`${facts.path}.jsonl`, facts.identity, {
    fresh: facts.fresh,
    onRow: (row) => {
      rows += row.rows;
      dimensions = row.dimensions;
      tally.add(row.call);
    },
  });
  const path = `${facts.path}.f32`;
  let file: FileHandle | undefined;
  try {
    file = await open(path, rows === 0 ? "w" : "r+");
    const expected = rows * dimensions * 4;
    if ((await file.stat()).size < expected) {
      throw new ScoreStoreError({
        path,
        problem: `has fewer than the ${rows} vectors that were noted`,
        fix: "Remove the file and its notes, or score anew (--fresh), which does.",
      });
    }
    await file.truncate(expected);
    const resumed = Math.min(rows, ids.length);
    const report = phaseProgress(facts.onProgress, {
      system,
      phase: "embedding",
      total: ids.length,
      resumed,
    });
    while (rows < ids.length) {
      signal?.throwIfAborted();
      const window = ids.slice(rows, rows + textsTogether);
      const texts = await facts.textsOf(window);
      const before = rows;
      const started = performance.now();
      const result = await scorer
        .embed(texts, { as, signal, onProgress: ({ completed }) => report(before + completed) })
        .catch((error: unknown) => {
          if (!NonFiniteScoreError.isInstance(error)) throw error;
          const id = as === "document" ? { document: window[error.index] } : {};
          throw new NonFiniteSystemScoreError({ system, ...id, value: error.value }, { cause: error });
        });
      const milliseconds = performance.now() - started;
      dimensions = result.vectors[0]?.length ?? dimensions;
      const bytes = new Float32Array(window.length * dimensions);
      result.vectors.forEach((vector, index) => {
        bytes.set(vector, index * dimensions);
      });
      await file.write(new Uint8Array(bytes.buffer), 0, bytes.byteLength, rows * dimensions * 4);
      const cut = result.truncatedTokens.filter((tokens) => tokens > 0).length;
      const code = as === "document" ? ("documents-truncated" as const) : ("query-truncated" as const);
      const call = callRow({
        // Queries are not what a speed in documents counts.
        documents: as === "document" ? window.length : 0,
        tokens: as === "document" ? result.usage.tokens : 0,
        milliseconds: as === "document" ? milliseconds : 0,
        alone: false,
        warnings: cut === 0 ? [] : [{ code, message: "", count: cut, maxLength: 0 }],
      });
      await notes.append([{ rows: window.length, dimensions, call }]);
      tally.add(call);
      rows += window.length;
      report(rows);
    }
    return { vectors: new StoredVectors(path, rows, dimensions), resumed };
  } finally {
    await file?.close();
    await notes.close();
  }
}
