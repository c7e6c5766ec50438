import { mkdir, open, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ModelProfile } from "@crossrank/core";
import type { ArtifactWriter, StoredTensorFacts, WriteRequest } from "../artifact-writer.js";
import { batchUses } from "../batch-use.js";
import { ExternalConverterError, UnsupportedConversionError } from "../errors.js";
import { createOnnxWriter } from "../onnx/write-onnx.js";
import type { ModelDescription } from "../source/description.js";
import { findConverter, lastLine, type MnnConverter, runConverter } from "./converter.js";
import { halvedRotation } from "./halved-rotation.js";
import { IncompleteFileError, readStoredTensors } from "./stored-tensors.js";

export interface MnnWriterOptions {
  /**
   * A Python with the package MNN 3.6, by name or path. Default: the environment's PYTHON, else `python3` (`python` on
   * Windows).
   */
  readonly python?: string | undefined;
}

/**
 * What the converter is given, by precision. It cuts floats off to halves, so halves are rounded here and stay as they
 * are. Its 8 bits are symmetric, a scale an output.
 */
const precisions: Readonly<
  Record<string, { readonly onnx: "fp32" | "fp16"; readonly options: readonly string[] }>
> = {
  fp32: { onnx: "fp32", options: [] },
  fp16: { onnx: "fp16", options: ["--fp16"] },
  int8: { onnx: "fp32", options: ["--weightQuantBits", "8"] },
};

/**
 * .mnn files: our own ONNX (`target: "mnn"`), read by MNN's own converter, which is part of its Python package.
 * - `fp32`.
 * - `fp16`: all constants but biases and norms stored as halves, and computed in float32. Refused where rotary
 *   positions would turn by it.
 * - `int8`: matrices in 8 bits, also the head's. Tables, biases and norms stay float32.
 *
 * No recipe makes the converter reliable: it reports success where it wrote nothing, and for some graphs where it wrote
 * another model. `convert` verifies every file; one that was written with `verify: false` has been seen by nobody.
 */
export function createMnnWriter(options: MnnWriterOptions = {}): ArtifactWriter {
  let converter: MnnConverter | undefined;
  const find = async (signal: AbortSignal | undefined): Promise<MnnConverter> => {
    converter ??= await findConverter(options.python, signal);
    return converter;
  };
  return {
    format: "mnn",
    dtypes: Object.keys(precisions),
    path: (dtype) => `mnn/model${dtype === "fp32" ? "" : `_${dtype}`}.mnn`,
    // MNN works out a graph's shapes anew for each batch, and is wrong in the second for some graphs: DeBERTa's, where
    // the first had one row (MNN 3.6.1). So one row at a time comes first, then padded batches, then what it chooses.
    batches: [...batchUses, undefined],
    check,
    prepare: async (signal) => (await find(signal)).versions,
    async write(request) {
      request.signal?.throwIfAborted();
      check(request.description, request.profile, request.dtype);
      return write(request, await find(request.signal));
    },
  };
}

/** Radians. The bound on logits in half precision, too; texts as long as a model takes are not among the goldens. */
const mostTurned = 0.02;

export const mnnWriter: ArtifactWriter = createMnnWriter();

async function write(request: WriteRequest, converter: MnnConverter): Promise<readonly string[]> {
  const { description, dtype, path, signal } = request;
  const precision = precisions[dtype];
  if (precision === undefined) {
    const fix = `Take one of ${Object.keys(precisions).join(", ")}.`;
    throw refusal(description, `there is no dtype ${JSON.stringify(dtype)}`, fix);
  }
  // Beside the artifact, so that what a killed process leaves goes with its folder.
  const folder = `${path}.parts`;
  await mkdir(folder, { recursive: true });
  try {
    const graph = join(folder, "model.onnx");
    await writeGraph(request, { dtype: precision.onnx, path: graph });
    const made = ["-f", "ONNX", "--modelFile", graph, "--MNNModel", path, "--bizCode", "crossrank"];
    const output = await runConverter(converter, [...made, ...precision.options], { folder, signal });
    await requireOneFile(description, path);
    for (const tensor of await readTensors(path, output)) request.onTensor?.(tensor);
    return [path];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function writeGraph(
  request: WriteRequest,
  { dtype, path }: { readonly dtype: "fp32" | "fp16"; readonly path: string },
): Promise<void> {
  try {
    await createOnnxWriter({ target: "mnn" }).write({ ...request, dtype, path, onTensor: undefined });
  } catch (error) {
    if (!UnsupportedConversionError.isInstance(error)) throw error;
    throw refusal(request.description, error.problem, "Take dtype fp32 or int8.");
  }
}

/** From 2 GiB on, where FlatBuffers end, the converter puts the weights into a second file. */
async function requireOneFile(description: ModelDescription, path: string): Promise<void> {
  const second = `${path}.weight`;
  if ((await stat(second).catch(() => undefined)) === undefined) return;
  await rm(second);
  throw refusal(
    description,
    "it is larger than one .mnn file can be, and crossrank loads no model of two",
    "Take another dtype, or onnx.",
  );
}

/** What is in the file, which also shows whether there is one, and all of it. */
async function readTensors(path: string, output: string): Promise<StoredTensorFacts[]> {
  const failed = (problem: string, fix: string): ExternalConverterError =>
    new ExternalConverterError({ converter: "MNN", reason: "failed", problem, fix, output });
  const size = (await stat(path).catch(() => undefined))?.size ?? 0;
  if (size === 0) {
    const fix = "Its output is in the error's `output`";
    throw failed(`MNN's converter wrote no file: ${lastLine({ output })}`, fix);
  }
  const handle = await open(path);
  try {
    return await readStoredTensors(handle);
  } catch (error) {
    if (!(error instanceof IncompleteFileError)) throw error;
    throw failed(
      `MNN's converter wrote ${size} bytes and not the whole file (${error.message})`,
      `Look whether the disk of ${dirname(path)} is full`,
    );
  } finally {
    await handle.close();
  }
}

function check(description: ModelDescription, profile: ModelProfile, dtype?: string): void {
  if (profile.family === "listwise") {
    throw refusal(
      description,
      "it reads many documents in one sequence, and its long causal sequences have no graph here",
      "Use its own ONNX export, where there is one.",
    );
  }
  if (profile.family === "causal-lm" || description.head.kind === "vocabulary") {
    throw refusal(
      description,
      "it is a language model, whose shared prompt MNN would compute again for every document",
      "Convert it to gguf.",
    );
  }
  if (description.layers.some(({ attention }) => attention.positions.kind === "disentangled")) {
    throw refusal(
      description,
      "after a batch of one row MNN computes DeBERTa's attention wrongly in larger ones, and sometimes crashes",
      "Convert it to onnx.",
    );
  }
  const turned = dtype === "fp16" ? halvedRotation(description, profile.maxLength) : 0;
  if (turned > mostTurned) {
    throw refusal(
      description,
      "with --fp16 MNN's converter also halves the frequencies of rotary positions, which turns tokens " +
        `${profile.maxLength} apart by up to ${turned.toFixed(2)} radians`,
      "Take dtype fp32 or int8.",
    );
  }
}

function refusal(description: ModelDescription, problem: string, fix: string): UnsupportedConversionError {
  return new UnsupportedConversionError({ model: description.model, format: "mnn", problem, fix });
}
