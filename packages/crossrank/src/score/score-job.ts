import { createHash } from "node:crypto";
import { InvalidInputError, type Reranker } from "@crossrank/core";
import manifestOfPackage from "../../package.json" with { type: "json" };
import { ScoreJobError } from "./errors.js";
import { type IndexFacts, indexOf, readIndex } from "./index-file.js";
import { jsonlPairs } from "./jsonl-pairs.js";
import {
  errorsName,
  hash,
  indexName,
  jobIdentity,
  manifestName,
  readManifest,
  requireSame,
  type ScoreCallOptions,
  type ScoreManifest,
  scoresName,
  shardName,
  shardOf,
  shardsFolder,
  summaryName,
} from "./manifest.js";
import { changed, formatOf, type PairFile } from "./pair-file.js";
import { openParquet } from "./parquet-pairs.js";
import { type ShardCounts, scoreShard } from "./score-shard.js";
import type { InputFile, OutputFolder, Storage } from "./storage.js";

/** What scores: a model that is open, and what its calls are told. */
export interface JobScorer {
  readonly reranker: Reranker;
  readonly call: ScoreCallOptions;
  readonly facts: Pick<ScoreManifest, "model" | "backend" | "settings" | "scale">;
}

/**
 * What a model's scores depend on.
 * @throws {InvalidInputError} for a listwise model, whose scores depend on who stands beside them.
 */
export async function scorerOf(reranker: Reranker, call: ScoreCallOptions): Promise<JobScorer> {
  const { model, backend, settings, scale, scoring, cacheKey } = await reranker.score([], {
    ...call,
    returnCacheKey: true,
  });
  if (scoring === "listwise") {
    throw new InvalidInputError(
      "model",
      "scores the documents of a query together, and a shard has some of them only. Choose a model that scores each pair by itself",
    );
  }
  const { id, revision = null, artifact } = model;
  const fingerprint = hash([cacheKey, manifestOfPackage.version]);
  return {
    reranker,
    call,
    facts: { model: { id, revision, artifact, fingerprint }, backend, settings, scale },
  };
}

export interface PlanOptions {
  readonly pairs: string;
  readonly output: string;
  readonly queryField: string;
  readonly textFields: readonly string[] | null;
  readonly shardPairs: number;
  readonly batchPairs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onRead?: ((bytes: number, total: number) => void) | undefined;
}

/** A job whose plan is written: shards can be scored in any order, by anyone. */
export interface ScoreJob {
  readonly manifest: ScoreManifest;
  readonly output: OutputFolder;
  readonly pairs: PairFile;
  /** Of the job: model, pairs, options and place. */
  readonly id: string;
}

/**
 * Begins a job, or goes on with the one that is there.
 * @throws {ScoreJobError} where that one is of other pairs, another model or other options.
 */
export async function planJob(
  scorer: JobScorer,
  storage: { readonly input: Storage; readonly output: Storage },
  options: PlanOptions,
): Promise<ScoreJob> {
  const { signal, queryField, textFields, shardPairs, batchPairs } = options;
  const input = await storage.input.openInput(options.pairs);
  const output = await storage.output.openOutput(options.output);
  const before = await readManifest(output);
  if (before === undefined) await requireUnused(output);
  const hasIndex = before !== undefined && (await output.has(indexName));
  const index: Uint8Array[] = [];
  const format = await formatOf(input, signal);
  const onRead = (bytes: number): void => options.onRead?.(bytes, input.size);
  const facts: IndexFacts = { rows: 0, sha256: "", index: "" };
  let found: { readonly sha256: string | null; readonly rows: number; readonly index: string | null };
  if (format === "jsonl") {
    const pieces = indexOf(input, shardPairs, facts, { signal, onRead });
    for await (const piece of pieces) if (!hasIndex) index.push(piece);
    found = facts;
  } else {
    const { rows } = await openParquet(input, signal);
    found = { rows, sha256: await hashOf(input, signal, onRead), index: null };
  }
  const manifest: ScoreManifest = {
    version: 1,
    ...scorer.facts,
    input: {
      place: input.place,
      format,
      size: input.size,
      mark: input.mark,
      sha256: found.sha256,
      rows: found.rows,
    },
    options: { queryField, textFields, shardPairs, batchPairs },
    shards: Math.ceil(found.rows / shardPairs),
    index: found.index,
  };
  if (before === undefined) {
    // Two that begin at once, on two machines: the first one's stays, and the other goes on with it or is refused.
    await output.writeOnce(manifestName, [`${JSON.stringify(manifest, undefined, 2)}\n`]);
  }
  requireSame(before ?? (await readManifest(output)) ?? manifest, manifest, output.place);
  // Behind the manifest, so that it is the index of this job and no other; a kill between the two is mended here.
  if (index.length > 0 && (before === undefined || !(await hasShards(output)))) {
    await output.write(indexName, index);
  }
  return openPlanned(manifest, input, output, signal);
}

/**
 * A job that somebody has begun, for who scores shards of it.
 * @throws {ScoreJobError} where there is none, its pairs have changed, or the model is another than the job's.
 */
export async function openJob(
  scorer: JobScorer,
  place: string,
  {
    storageOf,
    requireInput,
  }: {
    readonly storageOf: (place: string) => Promise<Storage>;
    /** Throws where the pairs may not be read. */
    readonly requireInput: (place: string) => Promise<void>;
  },
  signal?: AbortSignal,
): Promise<ScoreJob> {
  const output = await (await storageOf(place)).openOutput(place);
  const manifest = await readManifest(output);
  if (manifest === undefined) throw new ScoreJobError("output", place, "holds no job of score");
  requireSame(manifest, { ...manifest, ...scorer.facts }, output.place);
  await requireInput(manifest.input.place);
  const input = await (await storageOf(manifest.input.place)).openInput(manifest.input.place);
  return openPlanned(manifest, input, output, signal);
}

/**
 * Results without a manifest are of a job that nobody knows.
 * @throws {ScoreJobError}
 */
async function requireUnused(output: OutputFolder): Promise<void> {
  const fail = (name: string): never => {
    throw new ScoreJobError(
      "output",
      output.place,
      `has ${name} and no ${manifestName}, so that nobody knows what it was scored with. Name another folder, or empty this one`,
    );
  };
  for (const name of [scoresName, errorsName, summaryName]) if (await output.has(name)) fail(name);
  if (await hasShards(output)) fail(shardsFolder);
}

async function hasShards(output: OutputFolder): Promise<boolean> {
  for await (const name of output.names(shardsFolder)) if (shardOf(name) !== undefined) return true;
  return false;
}

async function openPlanned(
  manifest: ScoreManifest,
  input: InputFile,
  output: OutputFolder,
  signal: AbortSignal | undefined,
): Promise<ScoreJob> {
  const { queryField, textFields, shardPairs } = manifest.options;
  const options = { queryField, textFields, shardPairs };
  const { format, size, sha256, mark } = manifest.input;
  if (input.size !== size || (mark.etag !== undefined && mark.etag !== input.mark.etag)) throw changed(input);
  const id = jobIdentity(manifest, output.place);
  if (format === "jsonl") {
    const index = await readIndex(output, manifest);
    return { manifest, output, id, pairs: jsonlPairs(input, index, options) };
  }
  // A shard of JSONL has its own digest; of Parquet the file has one, read again where the time says that it may be another.
  const isTouched = mark.modified !== undefined && mark.modified !== input.mark.modified;
  if (isTouched && sha256 !== (await hashOf(input, signal))) throw changed(input);
  const parquet = await openParquet(input, signal);
  return { manifest, output, id, pairs: parquet.pairs(options) };
}

async function hashOf(
  input: InputFile,
  signal: AbortSignal | undefined,
  onRead?: (bytes: number) => void,
): Promise<string> {
  const whole = createHash("sha256");
  let position = 0;
  for await (const piece of input.read(0, input.size, signal)) {
    whole.update(piece);
    position += piece.length;
    onRead?.(position);
  }
  if (position !== input.size) throw changed(input);
  return whole.digest("hex");
}

/** Scores one shard and writes it. */
export async function runShard(
  { manifest, output, pairs }: ScoreJob,
  { reranker, call }: JobScorer,
  shard: number,
  signal?: AbortSignal,
  onCounts?: (counts: ShardCounts) => void,
): Promise<ShardCounts> {
  const counts: ShardCounts = { rows: 0, failed: 0 };
  const work = { reranker, pairs, batchPairs: manifest.options.batchPairs, call };
  const pieces = scoreShard(work, shard, counts, signal);
  async function* watched(): AsyncGenerator<string> {
    for await (const piece of pieces) {
      signal?.throwIfAborted();
      onCounts?.(counts);
      yield piece;
    }
    if (counts.rows !== rowsOf(manifest, shard)) {
      throw new ScoreJobError("input", manifest.input.place, `has ${counts.rows} rows in shard ${shard}`);
    }
  }
  await output.writeOnce(shardName(shard), watched());
  return counts;
}

/**
 * That the folder still holds the job: somebody may have emptied it and begun another one.
 * @throws {ScoreJobError}
 */
export async function requireSameJob({ id, output }: Pick<ScoreJob, "id" | "output">): Promise<void> {
  const now = await readManifest(output);
  if (now !== undefined && jobIdentity(now, output.place) === id) return;
  throw new ScoreJobError(
    "output",
    output.place,
    `${now === undefined ? "holds no job any more" : "holds another job than it did"}, so that its shards are not this one's. Run it again into a folder of its own`,
  );
}

/** Rows of a shard: all are full but the last. */
export function rowsOf({ shards, options, input }: ScoreManifest, shard: number): number {
  return shard < shards - 1 ? options.shardPairs : input.rows - shard * options.shardPairs;
}

/** A shard's name in a queue: the same shard of the same job is never there twice. */
export function shardIdentity({ id, manifest }: Pick<ScoreJob, "id" | "manifest">, shard: number): string {
  // No colon, which BullMQ has for itself.
  return hash([id, shard * manifest.options.shardPairs, rowsOf(manifest, shard)]);
}

/** A bit a shard: which are done. */
export async function doneShards({ manifest, output }: Pick<ScoreJob, "manifest" | "output">): Promise<{
  readonly isDone: (shard: number) => boolean;
  readonly count: number;
}> {
  const bits = new Uint8Array(manifest.shards);
  let count = 0;
  for await (const name of output.names(shardsFolder)) {
    const shard = shardOf(name);
    if (shard === undefined || shard >= manifest.shards || bits[shard] === 1) continue;
    bits[shard] = 1;
    count += 1;
  }
  return { isDone: (shard) => bits[shard] === 1, count };
}
