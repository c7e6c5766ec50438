import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
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
  ModelLoadError,
  ModelProfileError,
  type OutputKind,
  type RawOutput,
  type Settings,
} from "@crossrank/core";
import {
  openReferenceModel,
  type ReferenceModel,
  type ReferenceToken,
  referenceArchitectures,
  UnsupportedArchitectureError,
} from "./reference-model.js";

/** What {@link referenceBackend} should declare about itself, and keep to. */
export interface ReferenceBackendOptions {
  /** Default: what the model's position table holds. */
  readonly maxSequenceLength?: number | undefined;
  /** Default `"any"`. */
  readonly sequenceLengths?: Capabilities["sequenceLengths"] | undefined;
  /** Default at most 64 rows. */
  readonly batchSize?: Capabilities["batchSize"] | undefined;
  /** Default 4 rows, 1024 tokens, half of it padding at most. */
  readonly batchPreference?: Capabilities["batchPreference"] | undefined;
  /** Default 1. */
  readonly concurrentRuns?: number | undefined;
}

const weightsFile = "model.safetensors";
const name = "reference";
const runtime: BackendInfo["runtime"] = { name: "plain TypeScript", version: "1" };
const kindsGiven: readonly OutputKind[] = ["class-logits", "hidden-states"];

/**
 * Runs BERT, RoBERTa and XLM-RoBERTa from model.safetensors in plain float64 TypeScript. Slow, exact and without any
 * native code: the backend that the conformance suite itself is tried on.
 */
export function referenceBackend(options: ReferenceBackendOptions = {}): Backend {
  return {
    specificationVersion: "v1",
    name,
    families: ["cross-encoder", "bi-encoder", "late-interaction"],
    load: (request) => load(options, request),
    diagnose: async () => ({ available: true, runtime, detail: "nothing to install: plain TypeScript" }),
  };
}

async function load(options: ReferenceBackendOptions, request: LoadRequest): Promise<BackendSession> {
  const { files, output, dtype, signal } = request;
  signal?.throwIfAborted();
  const listed = await files.list({ signal });
  const file = listed.find(({ path }) => path === weightsFile);
  if (file === undefined || (dtype ?? "fp32") !== "fp32") {
    throw new ModelFileNotFoundError({
      model: files.id,
      expected: [dtype === undefined ? weightsFile : `${weightsFile} of dtype ${dtype}`],
      found: file === undefined ? [] : [weightsFile],
      fix: "The reference reads model.safetensors as it is, dtype fp32.",
    });
  }
  const model = await openModel(request);
  const kind = output.kinds.find(
    (wanted) => wanted === "hidden-states" || (wanted === "class-logits" && model.classify !== undefined),
  );
  if (kind === undefined) {
    throw new IncompatibleModelError({
      model: files.id,
      backend: name,
      capability: "output",
      wanted: output.kinds.join('" or "'),
      supported: kindsGiven.filter((given) => given !== "class-logits" || model.classify !== undefined),
    });
  }
  const bytes = await files.readBytes(weightsFile, { start: 0, end: file.size }, { signal });
  const artifact: ArtifactInfo = {
    format: "safetensors",
    dtype: "fp32",
    files: [{ path: weightsFile, sha256: createHash("sha256").update(bytes).digest("hex") }],
  };
  const limit = Math.min(options.maxSequenceLength ?? model.maxPositions, model.maxPositions);
  return new ReferenceSession(model, artifact, {
    output: kind,
    maxSequenceLength: limit,
    sequenceLengths: options.sequenceLengths ?? "any",
    batchSize: options.batchSize ?? { max: 64 },
    batchPreference: options.batchPreference ?? { rows: 4, tokens: 1024, padding: 0.5 },
    segmentIds: model.readsSegments,
    rowsAffectScores: false,
    unattendedStates: true,
    concurrentRuns: options.concurrentRuns ?? 1,
    cancelsWithinBatch: true,
  });
}

async function openModel({ files, signal }: LoadRequest): Promise<ReferenceModel> {
  try {
    return await openReferenceModel(files, weightsFile, signal);
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof UnsupportedArchitectureError) {
      throw new IncompatibleModelError({
        model: files.id,
        backend: name,
        capability: "architecture",
        wanted: cause.found,
        supported: referenceArchitectures,
      });
    }
    if (CrossrankError.isInstance(cause) && !ModelProfileError.isInstance(cause)) throw cause;
    throw new ModelLoadError(
      {
        model: files.id,
        backend: name,
        file: weightsFile,
        problem: (cause as Error).message.replace(/\.$/, ""),
        fix: "Download it again.",
      },
      { cause },
    );
  }
}

class ReferenceSession implements BackendSession {
  readonly info: BackendInfo = { name, runtime };
  readonly artifact: ArtifactInfo;
  readonly capabilities: Capabilities;
  /** Limits and batches, the options of this backend, change no number: each row is computed by itself. */
  readonly settings: Settings = {};
  readonly #underWay = new Set<Promise<unknown>>();
  #model: ReferenceModel | undefined;
  #disposal: Promise<void> | undefined;

  constructor(model: ReferenceModel, artifact: ArtifactInfo, capabilities: Capabilities) {
    this.#model = model;
    this.artifact = artifact;
    this.capabilities = capabilities;
  }

  async run(batch: Batch, options?: { readonly signal?: AbortSignal | undefined }): Promise<RawOutput> {
    if (this.#disposal !== undefined || this.#model === undefined) throw new DisposedError("session");
    const running = this.#compute(this.#model, batch, options?.signal);
    this.#underWay.add(running);
    try {
      return await running;
    } finally {
      this.#underWay.delete(running);
    }
  }

  dispose(): Promise<void> {
    this.#disposal ??= Promise.allSettled(this.#underWay).then(() => {
      this.#model = undefined;
    });
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #compute(model: ReferenceModel, batch: Batch, signal: AbortSignal | undefined): Promise<RawOutput> {
    this.#check(batch);
    const outputs: Float64Array[][] = [];
    for (let row = 0; row < batch.rows; row += 1) {
      // A turn of the event loop a row: others run meanwhile, and an abort is noticed.
      await nextTurn();
      signal?.throwIfAborted();
      outputs.push(this.#computeRow(model, batch, row));
    }
    return this.capabilities.output === "class-logits" ? classLogits(outputs) : hiddenStates(outputs, batch);
  }

  /** Class logits (one vector), or one vector a column. Empty for a padding row. */
  #computeRow(model: ReferenceModel, batch: Batch, row: number): Float64Array[] {
    const tokens: ReferenceToken[] = [];
    for (let column = 0; column < batch.columns; column += 1) {
      const place = row * batch.columns + column;
      const isAttended = batch.attentionMask[place] === 1;
      const extent = batch.extents?.[row] ?? 0;
      if (!isAttended && column >= extent) continue;
      const segment = model.readsSegments ? (batch.segmentIds[place] as number) : 0;
      tokens.push({ id: batch.inputIds[place] as number, segment, column, isAttended });
    }
    if (tokens.length === 0) return [];
    const hidden = model.encode(tokens);
    if (this.capabilities.output === "hidden-states") return hidden;
    return model.classify === undefined ? [] : [model.classify(hidden)];
  }

  /** A caller that breaks what is declared would break a runtime that has no choice. */
  #check({ rows, columns, inputIds }: Batch): void {
    const { batchSize, sequenceLengths, maxSequenceLength } = this.capabilities;
    const rowsFit = "exactly" in batchSize ? rows === batchSize.exactly : rows > 0 && rows <= batchSize.max;
    const columnsFit =
      sequenceLengths === "any"
        ? columns <= (maxSequenceLength ?? Number.POSITIVE_INFINITY)
        : sequenceLengths.includes(columns);
    if (!rowsFit || !columnsFit) {
      throw new BackendRunError({
        backend: name,
        problem: `a batch of ${rows} × ${columns} was not declared`,
      });
    }
    if (inputIds.length !== rows * columns) {
      const problem = `${inputIds.length} ids for a batch of ${rows} × ${columns}`;
      throw new BackendRunError({ backend: name, problem });
    }
  }
}

function classLogits(outputs: readonly Float64Array[][]): RawOutput {
  const classes = Math.max(...outputs.map(([logits]) => logits?.length ?? 0));
  const data = new Float32Array(outputs.length * classes);
  for (const [row, [logits]] of outputs.entries()) data.set(logits ?? [], row * classes);
  return { kind: "class-logits", data, shape: [outputs.length, classes] };
}

/** Zeros on padding. Padding is on the right, so a token's place among the tokens is its column. */
function hiddenStates(outputs: readonly Float64Array[][], { columns }: Batch): RawOutput {
  const width = Math.max(...outputs.map(([first]) => first?.length ?? 0));
  const data = new Float32Array(outputs.length * columns * width);
  for (const [row, hidden] of outputs.entries()) {
    for (const [column, vector] of hidden.entries()) data.set(vector, (row * columns + column) * width);
  }
  return { kind: "hidden-states", data, shape: [outputs.length, columns, width] };
}
