import { createHash } from "node:crypto";
import {
  type ArtifactInfo,
  type Backend,
  type BackendInfo,
  BackendRunError,
  type BackendSession,
  type Batch,
  type Capabilities,
  CrossrankError,
  DisposedError,
  IncompatibleModelError,
  type LoadRequest,
  ModelFileNotFoundError,
  type ModelFiles,
  ModelLoadError,
  ModelProfileError,
  type OutputKind,
  type RawOutput,
  type Settings,
} from "@crossrank/core";
import { describeModel } from "../source/describe-model.js";
import type { ModelDescription } from "../source/description.js";
import { openWeights } from "../source/open-weights.js";
import { answer, classify, forward, type HiddenStates, type InputSequence } from "./forward.js";

const name = "source";
const runtime: BackendInfo["runtime"] = { name: "plain TypeScript", version: "1" };
const dtype = "fp32";

/** Tokens of a batch whose intermediate results stay within some hundred megabytes for the usual model. */
const tokensAtOnce = 2048;

/** Bytes of weights that are kept in memory from load on; larger ones are read again for every batch. */
const keptAtMost = 2 ** 27;

/**
 * Runs a model from its own safetensors weights, as its {@link ModelDescription} says, in plain float64 TypeScript:
 * what a converted artifact is compared with. Slow; large weights are read from the disk again for every batch, so that
 * a model needs little memory.
 */
export function sourceBackend(): Backend {
  return {
    specificationVersion: "v1",
    name,
    families: ["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"],
    load,
    diagnose: async () => ({ available: true, runtime, detail: "nothing to install: plain TypeScript" }),
  };
}

async function load({
  profile,
  output,
  dtype: wanted,
  signal,
  ...request
}: LoadRequest): Promise<BackendSession> {
  signal?.throwIfAborted();
  const { files: source } = request;
  const precision = wanted ?? profile.defaultDtype ?? dtype;
  if (precision !== dtype) {
    throw new ModelFileNotFoundError({
      model: source.id,
      expected: [`weights of dtype ${precision}`],
      found: [`${dtype} (the safetensors weights as they are)`],
      fix: `Pass dtype ${dtype}.`,
    });
  }
  try {
    const files = await keepSmall(source, signal);
    const description = await describeModel(files, profile, { signal });
    const given = givenBy(description, output.tokens);
    const kind = output.kinds.find((candidate) => given.includes(candidate));
    if (kind === undefined) {
      throw new IncompatibleModelError({
        model: files.id,
        backend: name,
        capability: "output",
        wanted: output.kinds.join('" or "'),
        supported: given,
      });
    }
    const tokens = output.tokens ?? [];
    const unknown = tokens.find((token) => !(token >= 0 && token < description.vocabularySize));
    if (unknown !== undefined)
      throw new RangeError(`it has ${description.vocabularySize} tokens, and ${unknown} is asked for`);
    const artifact: ArtifactInfo = { format: "safetensors", dtype, files: await hashWeights(files, signal) };
    return new SourceSession(description, artifact, kind, tokens);
  } catch (cause) {
    signal?.throwIfAborted();
    if (CrossrankError.isInstance(cause) && !ModelProfileError.isInstance(cause)) throw cause;
    throw new ModelLoadError(
      {
        model: source.id,
        backend: name,
        file: ModelProfileError.isInstance(cause) ? cause.file : undefined,
        problem: (cause as Error).message.replace(/\.$/, ""),
        fix: "Download the model again.",
      },
      { cause },
    );
  }
}

function givenBy({ head }: ModelDescription, tokens: readonly number[] | undefined): OutputKind[] {
  return [
    ...(head.kind === "classifier" ? (["class-logits"] as const) : []),
    ...(head.kind === "vocabulary" && tokens !== undefined ? (["token-logits"] as const) : []),
    "hidden-states",
    ...(tokens !== undefined ? (["marked-states"] as const) : []),
  ];
}

/** The same files, weights held in memory if they are few. */
async function keepSmall(files: ModelFiles, signal: AbortSignal | undefined): Promise<ModelFiles> {
  const { paths } = (await openWeights(files, { signal })).files;
  const weights = (await files.list({ signal })).filter(({ path }) => paths.includes(path));
  if (weights.reduce((sum, { size }) => sum + size, 0) > keptAtMost) return files;
  const kept = new Map<string, Uint8Array>();
  for (const { path, size } of weights)
    kept.set(path, await files.readBytes(path, { start: 0, end: size }, { signal }));
  return {
    id: files.id,
    revision: files.revision,
    list: (options) => files.list(options),
    readText: (path, options) => files.readText(path, options),
    localPath: (path, options) => files.localPath(path, options),
    async readBytes(path, range, options) {
      return kept.get(path)?.subarray(range.start, range.end) ?? files.readBytes(path, range, options);
    },
  };
}

/** Bytes that are hashed at once. */
const chunk = 2 ** 24;

async function hashWeights(
  files: ModelFiles,
  signal: AbortSignal | undefined,
): Promise<ArtifactInfo["files"]> {
  const known = new Map((await files.list({ signal })).map((file) => [file.path, file]));
  const hashed: { path: string; sha256: string }[] = [];
  for (const path of (await openWeights(files, { signal })).files.paths) {
    const { size = 0, sha256 } = known.get(path) ?? {};
    const hash = createHash("sha256");
    for (let start = 0; sha256 === undefined && start < size; start += chunk) {
      signal?.throwIfAborted();
      hash.update(await files.readBytes(path, { start, end: Math.min(size, start + chunk) }, { signal }));
    }
    hashed.push({ path, sha256: sha256 ?? hash.digest("hex") });
  }
  return hashed;
}

class SourceSession implements BackendSession {
  readonly info: BackendInfo = { name, runtime };
  readonly artifact: ArtifactInfo;
  readonly capabilities: Capabilities;
  /** Nothing can be set that changes a number. */
  readonly settings: Settings = {};
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #tokens: readonly number[];
  #description: ModelDescription | undefined;
  #disposal: Promise<void> | undefined;

  constructor(
    description: ModelDescription,
    artifact: ArtifactInfo,
    output: OutputKind,
    tokens: readonly number[],
  ) {
    this.#description = description;
    this.#tokens = tokens;
    this.artifact = artifact;
    this.capabilities = {
      output,
      maxSequenceLength: description.maxPositions,
      sequenceLengths: "any",
      batchSize: { max: 64 },
      // Sequences are computed without their padding, and together share one reading of the weights.
      batchPreference: { rows: 64, tokens: tokensAtOnce, padding: 1 },
      segmentIds: (description.embeddings.segment?.shape[0] ?? 0) > 1,
      rowsAffectScores: false,
      unattendedStates: true,
      concurrentRuns: 1,
      cancelsWithinBatch: true,
    };
  }

  async run(batch: Batch, options?: { readonly signal?: AbortSignal | undefined }): Promise<RawOutput> {
    if (this.#disposal !== undefined || this.#description === undefined) throw new DisposedError("session");
    const running = this.#compute(this.#description, batch, options?.signal);
    this.#underWay.add(running);
    try {
      return await running;
    } finally {
      this.#underWay.delete(running);
    }
  }

  dispose(): Promise<void> {
    this.#disposal ??= Promise.allSettled(this.#underWay).then(() => {
      this.#description = undefined;
    });
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #compute(
    description: ModelDescription,
    batch: Batch,
    signal: AbortSignal | undefined,
  ): Promise<RawOutput> {
    const { batchSize } = this.capabilities;
    const most = "max" in batchSize ? batchSize.max : batchSize.exactly;
    if (!(batch.rows > 0 && batch.rows <= most && batch.columns <= description.maxPositions)) {
      throw new BackendRunError({
        backend: name,
        problem: `a batch of ${batch.rows} × ${batch.columns} was not declared`,
      });
    }
    const numbers = batch.rows * batch.columns;
    const { inputIds, attentionMask, segmentIds } = batch;
    for (const [array, values] of Object.entries({ inputIds, attentionMask, segmentIds })) {
      if (values.length === numbers) continue;
      throw new BackendRunError({
        backend: name,
        problem: `a batch of ${batch.rows} × ${batch.columns} has ${values.length} numbers in ${array}, not ${numbers}`,
      });
    }
    try {
      return await this.#outputOf(description, batch, { signal });
    } catch (cause) {
      signal?.throwIfAborted();
      throw new BackendRunError({ backend: name, problem: (cause as Error).message }, { cause });
    }
  }

  async #outputOf(
    description: ModelDescription,
    batch: Batch,
    options: { readonly signal: AbortSignal | undefined },
  ): Promise<RawOutput> {
    const { head } = description;
    const kind = this.capabilities.output;
    const used = [...batch.lengths.keys()].filter((row) => (batch.lengths[row] as number) > 0);
    const sequences = used.map((row) => sequenceOf(batch, row));
    const hidden = await forward(description, sequences, options);
    if (kind === "class-logits" && head.kind === "classifier") {
      const { data, width } = await classify(head, hidden, options);
      return { kind, ...scatter(data, width, used, batch.rows) };
    }
    if (kind === "token-logits" && head.kind === "vocabulary") {
      const { data, width } = await answer(head, this.#tokens, hidden);
      return { kind, ...scatter(data, width, used, batch.rows) };
    }
    if (kind === "marked-states") {
      const marks = new Set(this.#tokens);
      const places = sequences.map(({ ids }) =>
        [...ids.keys()].filter((place) => marks.has(ids[place] as number)),
      );
      return { kind, ...statesAt(hidden, places, used, batch.rows) };
    }
    const places = sequences.map(({ ids }) => [...ids.keys()]);
    return { kind: "hidden-states", ...statesAt(hidden, places, used, batch.rows, batch.columns) };
  }
}

/** Padding is on the right, and nobody looks at it: it is left out. */
function sequenceOf(
  { columns, inputIds, segmentIds, lengths, extents = lengths }: Batch,
  row: number,
): InputSequence {
  const extent = extents[row] as number;
  const [start, end] = [row * columns, row * columns + extent];
  const unattended = extent - (lengths[row] as number);
  return { ids: inputIds.slice(start, end), segments: segmentIds.slice(start, end), unattended };
}

/** One vector a used row; zeros for padding rows. */
function scatter(
  data: Float64Array,
  width: number,
  used: readonly number[],
  rows: number,
): Pick<RawOutput, "data" | "shape"> {
  const result = new Float32Array(rows * width);
  for (const [index, row] of used.entries())
    result.set(data.subarray(index * width, (index + 1) * width), row * width);
  return { data: result, shape: [rows, width] };
}

/** Vectors of some of each used row's tokens, from left to right; zeros where a row has fewer. */
function statesAt(
  { states: { data, width }, spans }: HiddenStates,
  places: readonly (readonly number[])[],
  used: readonly number[],
  rows: number,
  columns: number = Math.max(0, ...places.map(({ length }) => length)),
): Pick<RawOutput, "data" | "shape"> {
  const result = new Float32Array(rows * columns * width);
  for (const [index, row] of used.entries()) {
    const start = spans[index]?.start ?? 0;
    for (const [column, place] of (places[index] ?? []).entries()) {
      const at = (start + place) * width;
      result.set(data.subarray(at, at + width), (row * columns + column) * width);
    }
  }
  return { data: result, shape: [rows, columns, width] };
}
