import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { TrainedParameter } from "@crossrank/backend-mlx/training";
import type { ModelFiles } from "@crossrank/core";
import { openSafetensors } from "@crossrank/core/files";
import { writeWholeFile } from "@crossrank/disk";
import { encodeNumbers, widths } from "./numbers.js";
import { sortParameters, type TrainedValues, wholeB } from "./trained.js";

/**
 * Writes the model with what was trained inside, as a folder like the base's, in place of what is there: weights in the
 * base's own types and layout, configuration and tokenizer as they are.
 */
export async function writeMerged(
  folder: string,
  model: ModelFiles,
  parameters: readonly TrainedParameter[],
  values: TrainedValues,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const { signal } = options;
  const { matrices, tensors } = sortParameters(parameters);
  const weights = new Set([...matrices, ...tensors].map(({ tensor }) => tensor.path));
  const staged = `${folder}.${process.pid}.tmp`;
  await rm(staged, { recursive: true, force: true });
  await mkdir(staged, { recursive: true });
  const listed = (await model.list({ signal })).map(({ path }) => path);
  const indexed = listed.includes("model.safetensors") ? undefined : "model.safetensors.index.json";
  for (const path of listed) {
    const isShard =
      indexed !== undefined && listed.includes(indexed) && /-\d+-of-\d+\.safetensors$/.test(path);
    if (!weights.has(path) && !isShard && !isCompanion(path)) continue;
    signal?.throwIfAborted();
    const from = await model.localPath(path, { signal });
    await mkdir(dirname(join(staged, path)), { recursive: true });
    if (path === "crossrank.json") {
      await writeWholeFile(join(staged, path), withoutExpectations(await model.readText(path, { signal })));
      continue;
    }
    await pipeline(createReadStream(from), createWriteStream(join(staged, path), { flags: "wx" }));
  }
  for (const path of weights) {
    signal?.throwIfAborted();
    const file = await openSafetensors(model, path, { signal });
    const target = await open(join(staged, path), "r+");
    try {
      for (const { tensor, place } of tensors.filter((one) => one.tensor.path === path)) {
        const data = await values(place);
        const stored = tensor.plus === 0 ? data : data.map((value) => value - tensor.plus);
        await writeAt(target, encodeNumbers(stored, tensor.dtype), tensor.start);
      }
      for (const matrix of matrices.filter((one) => one.tensor.path === path)) {
        const { name, shape, dtype } = matrix.tensor;
        const [rows = 1, columns = 1] = shape;
        const [a, b] = [await values(matrix.a), await wholeB(matrix, values)];
        const { start } = file.place(name);
        const atOnce = Math.max(1, Math.floor(2 ** 22 / columns));
        for (let row = 0; row < rows; row += atOnce) {
          const end = Math.min(rows, row + atOnce);
          const merged = await file.rows(name, row, end, { signal });
          addProduct(merged, b.subarray(row * matrix.rank, end * matrix.rank), a, matrix);
          const width = (widths[dtype] as number) * columns;
          await writeAt(target, encodeNumbers(merged, dtype), start + row * width);
        }
      }
      await target.sync();
    } finally {
      await target.close();
    }
  }
  await rm(folder, { recursive: true, force: true });
  await rename(staged, folder);
}

async function writeAt(
  file: Awaited<ReturnType<typeof open>>,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** rows += scale · b a, each sum in float64. */
function addProduct(
  rows: Float32Array,
  b: Float32Array,
  a: Float32Array,
  { rank, scale }: { readonly rank: number; readonly scale: number },
): void {
  const columns = a.length / rank;
  const sum = new Float64Array(columns);
  for (let row = 0; row * columns < rows.length; row += 1) {
    sum.fill(0);
    for (let at = 0; at < rank; at += 1) {
      const factor = (b[row * rank + at] as number) * scale;
      if (factor === 0) continue;
      for (let column = 0; column < columns; column += 1)
        sum[column] = (sum[column] as number) + factor * (a[at * columns + column] as number);
    }
    for (let column = 0; column < columns; column += 1)
      rows[row * columns + column] = (rows[row * columns + column] as number) + (sum[column] as number);
  }
}

/** Configuration and vocabulary; neither other forms of the weights nor what is told about the base. */
function isCompanion(path: string): boolean {
  if (/^(onnx|openvino|coreml|mnn|mlx|ctranslate2|\.git|\.cache)\//.test(path)) return false;
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (/^adapter_/.test(name) || /^(training_args|trainer_state|optimizer)/.test(name)) return false;
  if (name === "golden.json" || name === "provenance.json") return false;
  return /\.(json|jinja|model)$/.test(name) || /^(vocab|merges|added_tokens|LICENSE)(\.txt)?$/.test(name);
}

/** Logits that the base gives say nothing about the trained model. */
export function withoutExpectations(text: string): string {
  const { expectations: _, calibration: __, ...others } = JSON.parse(text) as Record<string, unknown>;
  return `${JSON.stringify(others, undefined, 2)}\n`;
}
