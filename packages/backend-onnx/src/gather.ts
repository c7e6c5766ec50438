import type { Tensor } from "onnxruntime-common";
import { float16ToFloat32 } from "./float16.js";
import type { PlannedOutput } from "./graph-plan.js";
import type { RunArgument, RunResult } from "./protocol.js";

/**
 * What core asked for, out of a graph's output: all of it, or the few numbers of it that matter, so that the rest
 * never leaves the worker.
 *
 * @param keptColumns how many of the last columns the graph was asked for logits of; undefined for all.
 * @throws {Error} when the output has not the shape that its kind should have.
 */
export function gather(
  output: Tensor,
  plan: PlannedOutput,
  batch: RunArgument,
  keptColumns: number | undefined,
): RunResult {
  switch (plan.kind) {
    case "token-logits":
      return tokenLogits(output, plan, batch, keptColumns);
    case "marked-states":
      return markedStates(output, plan, batch);
    case "hidden-states":
      requireShape(output, plan, batch, output.dims.length === 3 && output.dims[1] === batch.columns);
      return { data: ownFloats(output), shape: [...output.dims] };
    case "class-logits":
    case "pooled": {
      // Some exports squeeze a lone class away.
      const squeezed = plan.kind === "class-logits" && output.dims.length === 1;
      requireShape(output, plan, batch, squeezed || output.dims.length === 2);
      return { data: ownFloats(output), shape: squeezed ? [...output.dims, 1] : [...output.dims] };
    }
  }
}

function tokenLogits(
  output: Tensor,
  plan: PlannedOutput,
  batch: RunArgument,
  keptColumns: number | undefined,
): RunResult {
  const { rows, columns, lengths } = batch;
  const [, positions = 0, vocabulary = 0] =
    output.dims.length === 2 ? [rows, 1, output.dims[1]] : output.dims;
  // All columns, the last ones that were asked for, or the last one alone.
  const known = [columns, keptColumns, 1].includes(positions);
  requireShape(output, plan, batch, (output.dims.length === 2 || output.dims.length === 3) && known);
  const { tokens } = plan;
  if (tokens.some((token) => token >= vocabulary)) {
    throw new Error(
      `output "${plan.name}" has ${vocabulary} logits a token; there is none for ${tokens.join(", ")}`,
    );
  }
  const data = new Float32Array(rows * tokens.length);
  for (const [row, length] of lengths.entries()) {
    const position = length - 1 - (columns - positions);
    if (length > 0 && position < 0) {
      throw new Error(
        `output "${plan.name}" has the last ${positions} of ${columns} columns, and row ${row} ends before them; ` +
          "export the graph with logits at every position",
      );
    }
    for (const [index, token] of length > 0 ? tokens.entries() : []) {
      const place = (row * positions + position) * vocabulary + token;
      data[row * tokens.length + index] = floats(output, place, place + 1)[0] as number;
    }
  }
  return { data, shape: [rows, tokens.length] };
}

function markedStates(output: Tensor, plan: PlannedOutput, batch: RunArgument): RunResult {
  const { rows, columns, lengths, arrays } = batch;
  const [, , width = 0] = output.dims;
  requireShape(output, plan, batch, output.dims.length === 3 && output.dims[1] === columns);
  const marks = Array.from(lengths, (length, row) =>
    Array.from({ length }, (_, column) => row * columns + column).filter((place) =>
      plan.tokens.includes(arrays.inputIds[place] as number),
    ),
  );
  const most = Math.max(0, ...marks.map((places) => places.length));
  requireRoom(rows * most * width, plan);
  const data = new Float32Array(rows * most * width);
  for (const [row, places] of marks.entries()) {
    for (const [mark, place] of places.entries()) {
      data.set(floats(output, place * width, (place + 1) * width), (row * most + mark) * width);
    }
  }
  return { data, shape: [rows, most, width] };
}

/** Of a result, so that a graph cannot fill the caller's memory: 268 MB of float32. */
const mostNumbers = 1 << 26;

function requireRoom(numbers: number, plan: PlannedOutput): void {
  if (numbers <= mostNumbers) return;
  throw new Error(`output "${plan.name}" has ${numbers} numbers for one batch, more than ${mostNumbers}`);
}

function requireShape({ dims, size }: Tensor, plan: PlannedOutput, batch: RunArgument, fits: boolean): void {
  const numbers = dims.reduce((product, dimension) => product * dimension, 1);
  if (!fits || dims[0] !== batch.rows || numbers !== size) {
    throw new Error(
      `output "${plan.name}" has shape [${dims.join(", ")}] for ${batch.rows} rows of ${batch.columns} tokens`,
    );
  }
  if (plan.kind !== "token-logits" && plan.kind !== "marked-states") requireRoom(size, plan);
}

/** The whole output as float32, in a buffer of its own, to be handed to another thread. */
function ownFloats(output: Tensor): Float32Array {
  const values = floats(output, 0, output.size);
  return values.byteLength === values.buffer.byteLength ? values : values.slice();
}

/** Part of an output, as float32; a view where it is float32 already. */
function floats({ data, type }: Tensor, start: number, end: number): Float32Array {
  if (data instanceof Float32Array) {
    return data.subarray(start, end);
  }
  // Halves arrive as Uint16Array, or as Float16Array where JavaScript has it.
  if (type === "float16" && data instanceof Uint16Array) {
    return float16ToFloat32(data.subarray(start, end));
  }
  if (ArrayBuffer.isView(data) && "subarray" in data) {
    return Float32Array.from((data as Float64Array).subarray(start, end));
  }
  throw new Error(`the graph returned ${type}, which is no number`);
}
