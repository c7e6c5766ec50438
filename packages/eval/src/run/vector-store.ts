import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { NonFiniteScoreError } from "@crossrank/core";
import { refusedWrite } from "@crossrank/disk";
import { NonFiniteSystemScoreError } from "./errors.js";
import { type Identity, LineStore } from "./line-store.js";
import { type ProgressListener, phaseProgress } from "./progress.js";
import type { Scorer } from "./scorer.js";
import { type CallRow, callRow, type Tally } from "./tally.js";

/** Texts of one call. */
const textsTogether = 256;

/** Numbers of a vector; no embedding model comes near. */
const mostDimensions = 1 << 20;

/** A call's vectors, as they are noted beside the file that holds them. */
interface VectorBlock {
  /** Position of its first text among all texts. */
  readonly first: number;
  readonly rows: number;
  readonly dimensions: number;
  /** Byte of the file where they begin. */
  readonly offset: number;
  /** Of their bytes. */
  readonly sha256: string;
  /** Positions within the block of texts that were cut. */
  readonly cut?: readonly number[];
  readonly call: CallRow;
}

/** Vectors on disk, float32. Blocks lie in the order in which they were made. */
export class StoredVectors {
  readonly rows: number;
  readonly dimensions: number;
  readonly #file: number;
  /** By their first row, without a gap up to `rows`. */
  readonly #blocks: readonly VectorBlock[];

  constructor(path: string, rows: number, blocks: readonly VectorBlock[]) {
    this.rows = rows;
    this.dimensions = blocks[0]?.dimensions ?? 0;
    this.#blocks = blocks;
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
    const { dimensions } = this;
    let row = first;
    const end = first + vectors.length / dimensions;
    while (row < end) {
      const block = this.#blockOf(row);
      const count = Math.min(end, block.first + block.rows) - row;
      const start = (row - first) * dimensions * 4;
      const bytes = new Uint8Array(vectors.buffer, vectors.byteOffset + start, count * dimensions * 4);
      if (!readWhole(this.#file, bytes, block.offset + (row - block.first) * dimensions * 4)) {
        throw new RangeError(`row ${row} lies beyond the ${this.rows} stored vectors`);
      }
      row += count;
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  #blockOf(row: number): VectorBlock {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#blocks[middle]?.first ?? 0) <= row) low = middle;
      else high = middle - 1;
    }
    const block = this.#blocks[low];
    if (block !== undefined && row >= block.first && row < block.first + block.rows) return block;
    throw new RangeError(`row ${row} is none of the ${this.rows} stored vectors`);
  }
}

/**
 * Embeds the texts whose vectors the file does not hold yet, and appends as it goes: each text once, and memory for one
 * call's texts. The note of a call is written after its vectors, with their checksum: what is noted and does not fit it
 * is embedded again.
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
  const { system, ids, tally, signal } = facts;
  const path = `${facts.path}.f32`;
  const refused = (error: unknown): never => {
    throw refusedWrite(path, error);
  };
  await mkdir(dirname(path), { recursive: true }).catch(refused);
  const file = await open(path, facts.fresh ? "w+" : "a+").catch(refused);
  let notes: LineStore<VectorBlock> | undefined;
  try {
    const blocks: VectorBlock[] = [];
    let end = 0;
    notes = await LineStore.open<VectorBlock>(
      `${facts.path}.jsonl`,
      { ...facts.identity, "texts are": facts.as },
      {
        fresh: facts.fresh,
        accept: (block) => {
          // Those beyond the limit are looked at when it is gone.
          if (block.first < ids.length && !isSound(file.fd, block)) return false;
          blocks.push(block);
          end = Math.max(end, block.offset + bytesOf(block));
          return true;
        },
      },
    );
    tally.warn({ "damaged-scores": notes.damagedLines });
    // What was written and not noted.
    await file.truncate(end).catch(refused);
    const covered = coverage(blocks, ids.length);
    const resumed = covered.reduce((sum, block) => sum + rowsWithin(block, ids.length), 0);
    const report = phaseProgress(facts.onProgress, {
      system,
      phase: "embedding",
      total: ids.length,
      resumed,
    });
    for (const block of covered) count(tally, facts.as, block, rowsWithin(block, ids.length));
    let completed = resumed;
    for (const { first, rows } of gapsOf(covered, ids.length)) {
      signal?.throwIfAborted();
      const before = completed;
      const made = await embedBlock(facts, first, rows, (done) => report(before + done));
      const { bytes, ...block } = { ...made, offset: end };
      await writeAll(file, bytes).catch(refused);
      end += bytes.length;
      await notes.append(block);
      covered.push(block);
      count(tally, facts.as, block, rows);
      completed += rows;
      report(completed);
    }
    covered.sort((left, right) => left.first - right.first);
    return { vectors: new StoredVectors(path, ids.length, covered), resumed };
  } finally {
    await file.close();
    await notes?.close();
  }
}

async function embedBlock(
  facts: Parameters<typeof embedTexts>[0],
  first: number,
  rows: number,
  onTexts: (completed: number) => void,
): Promise<Omit<VectorBlock, "offset"> & { readonly bytes: Uint8Array }> {
  const { system, scorer, as, signal } = facts;
  const ids = facts.ids.slice(first, first + rows);
  const texts = await facts.textsOf(ids);
  const started = performance.now();
  const result = await scorer
    .embed(texts, { as, signal, onProgress: ({ completed }) => onTexts(completed) })
    .catch((error: unknown) => {
      if (!NonFiniteScoreError.isInstance(error)) throw error;
      const id = as === "document" ? { document: ids[error.index] } : {};
      throw new NonFiniteSystemScoreError({ system, ...id, value: error.value }, { cause: error });
    });
  const milliseconds = performance.now() - started;
  const dimensions = result.vectors[0]?.length ?? 0;
  const vectors = new Float32Array(rows * dimensions);
  result.vectors.forEach((vector, index) => {
    vectors.set(vector, index * dimensions);
  });
  const bytes = new Uint8Array(vectors.buffer);
  const cut = Array.from(result.truncatedTokens).flatMap((tokens, index) => (tokens > 0 ? [index] : []));
  return {
    first,
    rows,
    dimensions,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    ...(cut.length === 0 ? {} : { cut }),
    call: callRow({
      // Queries are not what a speed in documents counts.
      documents: as === "document" ? rows : 0,
      tokens: as === "document" ? result.usage.tokens : 0,
      milliseconds: as === "document" ? milliseconds : 0,
      alone: false,
      warnings: [],
    }),
    bytes,
  };
}

const bytesOf = ({ rows, dimensions }: VectorBlock): number => rows * dimensions * 4;

/** Rows that a list of so many texts has of the block. */
const rowsWithin = ({ first, rows }: VectorBlock, total: number): number => Math.min(rows, total - first);

/** Whether the file holds what was noted. */
function isSound(file: number, block: VectorBlock): boolean {
  const { first, rows, dimensions, offset, sha256 } = block;
  const isCount = (value: number, most: number): boolean =>
    Number.isSafeInteger(value) && value > 0 && value <= most;
  if (!isCount(first + 1, Number.MAX_SAFE_INTEGER) || !isCount(offset + 1, Number.MAX_SAFE_INTEGER))
    return false;
  if (!isCount(rows, textsTogether) || !isCount(dimensions, mostDimensions)) return false;
  const bytes = new Uint8Array(bytesOf(block));
  return readWhole(file, bytes, offset) && createHash("sha256").update(bytes).digest("hex") === sha256;
}

/** @returns false where the file ends before. */
function readWhole(file: number, bytes: Uint8Array, start: number): boolean {
  let filled = 0;
  while (filled < bytes.length) {
    const read = readSync(file, bytes, filled, bytes.length - filled, start + filled);
    if (read === 0) return false;
    filled += read;
  }
  return true;
}

/** To the end of the file; a disk may take a part of it. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written);
    written += bytesWritten;
  }
}

/** Blocks of the first `total` texts, in order, none over another; all of one length of vector. */
function coverage(blocks: readonly VectorBlock[], total: number): VectorBlock[] {
  const chosen: VectorBlock[] = [];
  let end = 0;
  for (const block of blocks.toSorted((left, right) => left.first - right.first)) {
    const fits = block.first >= end && block.first < total;
    if (!fits || block.dimensions !== (chosen[0] ?? block).dimensions) continue;
    chosen.push(block);
    end = block.first + block.rows;
  }
  return chosen;
}

/** What they leave out of the first `total` texts, in pieces for one call. */
function* gapsOf(
  blocks: readonly VectorBlock[],
  total: number,
): Generator<{ readonly first: number; readonly rows: number }> {
  let at = 0;
  for (const { first, rows } of [...blocks, { first: total, rows: 0 }]) {
    for (; at < first; at += Math.min(textsTogether, first - at)) {
      yield { first: at, rows: Math.min(textsTogether, first - at) };
    }
    at = first + rows;
  }
}

function count(tally: Tally, as: "query" | "document", { call, cut = [] }: VectorBlock, rows: number): void {
  const documents = as === "document" ? rows : 0;
  const share = call.documents === 0 ? 1 : documents / call.documents;
  tally.add(call, { documents, tokens: Math.round(share * call.tokens) });
  const code = as === "document" ? "documents-truncated" : "query-truncated";
  tally.warn({ [code]: cut.filter((position) => position < rows).length });
}
