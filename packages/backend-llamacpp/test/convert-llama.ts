import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelFiles, ModelProfile } from "@crossrank/core";
import {
  type ControlledEvaluateInputItem,
  getLlama,
  type Llama,
  LlamaLogLevel,
  type LlamaModel,
  type Token,
} from "node-llama-cpp";
import { onTestFinished } from "vitest";
import { ggufWriter } from "../../convert/src/gguf/write-gguf.js";
import { describeModel } from "../../convert/src/source/describe-model.js";
import type { ModelDescription } from "../../convert/src/source/description.js";

// llama.cpp itself over what convert writes, without this package's backend: who is wrong is then plain.

let shared: Promise<Llama> | undefined;

/** Real llama.cpp on the processor, one for all tests of a file. */
export function llama(): Promise<Llama> {
  shared ??= getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1 });
  return shared;
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-gguf-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a model as GGUF. */
export async function convert(
  files: ModelFiles,
  profile: ModelProfile,
  dtype: string,
  change: (description: ModelDescription) => ModelDescription = (description) => description,
): Promise<string> {
  const path = join(await temporaryFolder(), `model-${dtype}.gguf`);
  const description = change(await describeModel(files, profile));
  await ggufWriter.write({ files, description, profile, dtype, path, metadata: { id: files.id } });
  return path;
}

export async function loadModel(path: string): Promise<LlamaModel> {
  const model = await (await llama()).loadModel({
    modelPath: path,
    gpuLayers: 0,
    // Keys and values in F32: flash attention has them in F16, and so has the cache by default.
    defaultContextFlashAttention: false,
    experimentalDefaultContextKvCacheKeyType: "F32",
    experimentalDefaultContextKvCacheValueType: "F32",
  });
  onTestFinished(() => model.dispose());
  return model;
}

/** A metadata value of the file, read by node-llama-cpp. */
export function metadataOf(model: LlamaModel, ...path: string[]): unknown {
  let value: unknown = model.fileInfo.metadata;
  for (const key of path) value = (value as Record<string, unknown> | undefined)?.[key];
  return value;
}

/** The logit of one sequence of ids, by the ranking context. */
export async function createLogits(
  model: LlamaModel,
  longest: number,
): Promise<(ids: readonly number[]) => Promise<number>> {
  const context = await model.createRankingContext({
    template: "{{query}}{{document}}",
    contextSize: longest + 1,
    batchSize: longest,
    threads: 1,
  });
  onTestFinished(() => context.dispose());
  return async (ids) => {
    const probability = await context.rank([...ids] as Token[], []);
    return Math.log(probability / (1 - probability));
  };
}

/** The pooled vector of one sequence of ids. */
export async function createVectors(
  model: LlamaModel,
  longest: number,
): Promise<(ids: readonly number[]) => Promise<readonly number[]>> {
  const context = await model.createEmbeddingContext({
    contextSize: longest + 1,
    batchSize: longest,
    threads: 1,
  });
  onTestFinished(() => context.dispose());
  return async (ids) => (await context.getEmbeddingFor([...ids] as Token[])).vector;
}

/** Logits of some tokens behind a sequence. */
export async function createTokenLogits(
  model: LlamaModel,
  longest: number,
  tokens: readonly number[],
): Promise<(ids: readonly number[]) => Promise<readonly number[]>> {
  const context = await model.createContext({
    contextSize: longest + 1,
    batchSize: longest,
    threads: 1,
    sequences: 1,
  });
  onTestFinished(() => context.dispose());
  const sequence = context.getSequence();
  return async (ids) => {
    await sequence.clearHistory();
    const filter = { tokens: tokens as Token[] };
    const input = ids.map(
      (id, index): ControlledEvaluateInputItem =>
        index < ids.length - 1 ? (id as Token) : [id as Token, { generateNext: { logits: { filter } } }],
    );
    const output = await sequence.controlledEvaluate(input);
    const found = output.at(-1)?.next.logits;
    return tokens.map((token) => found?.get(token as Token) ?? Number.NaN);
  };
}

/** Ids as the file wants them fed. */
export function feed(model: LlamaModel, ids: readonly number[], segmentIds: readonly number[]): number[] {
  const size = metadataOf(model, "crossrank", "segment_vocabulary");
  return ids.map((id, index) => id + (segmentIds[index] ?? 0) * (typeof size === "number" ? size : 0));
}
