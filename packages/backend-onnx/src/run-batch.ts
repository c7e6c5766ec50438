import type { InferenceSession, Tensor } from "onnxruntime-common";
import { gather } from "./gather.js";
import type { PlannedInput } from "./graph-plan.js";
import type { RunArgument, RunResult } from "./protocol.js";

type Runtime = typeof import("onnxruntime-common");

/** Runs one batch on a session, and returns what core asked for of its output. @throws {Error} when the runtime fails. */
export async function runBatch(
  runtime: Runtime,
  session: Pick<InferenceSession, "run">,
  batch: RunArgument,
): Promise<RunResult> {
  const groups = batch.plan.output.unpadded ? groupsOfEqualLength(batch) : [];
  if (groups.length === 0) {
    return runWhole(runtime, session, batch);
  }
  const parts: { rows: readonly number[]; result: RunResult }[] = [];
  for (const { rows, batch: unpadded } of groups) {
    parts.push({ rows, result: await runWhole(runtime, session, unpadded) });
  }
  const width = parts[0]?.result.shape[1] ?? 0;
  const data = new Float32Array(batch.rows * width);
  for (const { rows, result } of parts) {
    for (const [index, row] of rows.entries()) {
      data.set(result.data.subarray(index * width, (index + 1) * width), row * width);
    }
  }
  return { data, shape: [batch.rows, width] };
}

async function runWhole(
  runtime: Runtime,
  session: Pick<InferenceSession, "run">,
  batch: RunArgument,
): Promise<RunResult> {
  const { inputs, output } = batch.plan;
  const keepsSome = output.kind === "token-logits" && inputs.some(({ source }) => source === "logitsToKeep");
  const keptColumns = keepsSome ? columnsFromShortestEnd(batch) : undefined;
  const feeds: Record<string, Tensor> = {};
  for (const input of inputs) {
    feeds[input.name] = tensorFor(runtime, input, batch, keptColumns);
  }
  const result = (await session.run(feeds, [output.name]))[output.name];
  if (result === undefined) {
    throw new Error(`the graph returned no "${output.name}"`);
  }
  return gather(result, output, batch, keptColumns);
}

function tensorFor(
  runtime: Runtime,
  input: PlannedInput,
  batch: RunArgument,
  keptColumns: number | undefined,
): Tensor {
  const { rows, columns, arrays, plan } = batch;
  switch (input.source) {
    case "emptyPast": {
      const values = input.type === "float32" ? new Float32Array(0) : new Uint16Array(0);
      return new runtime.Tensor(input.type, values, [rows, input.heads, 0, input.size]);
    }
    case "cacheBranch":
      return new runtime.Tensor("bool", Uint8Array.of(0), input.shape);
    case "logitsToKeep":
      return integers(runtime, input.type, Int32Array.of(keptColumns ?? 0), []);
    case "positions":
      return integers(runtime, input.type, positions(rows, columns), [rows, columns]);
    case "attentionMask": {
      const decodes = plan.inputs.some(({ source }) => source === "emptyPast");
      const mask = decodes ? withoutEmptyRows(batch) : arrays.attentionMask;
      return integers(runtime, input.type, mask, [rows, columns]);
    }
    default: {
      const values = arrays[input.source];
      if (values === undefined) {
        throw new Error(`input "${input.name}" was not sent`);
      }
      return integers(runtime, input.type, values, [rows, columns]);
    }
  }
}

/** The rows that hold tokens, by their length: each group a batch without padding. */
function groupsOfEqualLength(
  batch: RunArgument,
): { readonly rows: readonly number[]; readonly batch: RunArgument }[] {
  const byLength = new Map<number, number[]>();
  for (const [row, length] of batch.lengths.entries()) {
    if (length > 0) {
      byLength.set(length, [...(byLength.get(length) ?? []), row]);
    }
  }
  return [...byLength].map(([length, rows]) => {
    const only = (values: Int32Array): Int32Array => {
      const kept = new Int32Array(rows.length * length);
      for (const [index, row] of rows.entries()) {
        kept.set(values.subarray(row * batch.columns, row * batch.columns + length), index * length);
      }
      return kept;
    };
    const { inputIds, attentionMask, segmentIds } = batch.arrays;
    const arrays = {
      inputIds: only(inputIds),
      attentionMask: only(attentionMask),
      ...(segmentIds === undefined ? {} : { segmentIds: only(segmentIds) }),
    };
    const lengths = new Int32Array(rows.length).fill(length);
    return { rows, batch: { plan: batch.plan, rows: rows.length, columns: length, arrays, lengths } };
  });
}

/** Columns from the last token of the shortest row on: so many have the logits that are read. */
function columnsFromShortestEnd({ columns, lengths }: RunArgument): number {
  const shortest = lengths.reduce((least, length) => (length > 0 ? Math.min(least, length) : least), columns);
  return columns - shortest + 1;
}

/** The mask with one token in each padding row: GroupQueryAttention fails on a sequence of none (onnxruntime 1.30). */
function withoutEmptyRows({ columns, lengths, arrays }: RunArgument): Int32Array {
  const mask = arrays.attentionMask.slice();
  for (const [row, length] of lengths.entries()) {
    if (length === 0) {
      mask[row * columns] = 1;
    }
  }
  return mask;
}

/** 0, 1, 2 … in every row; padding is on the right, where the mask hides it. */
function positions(rows: number, columns: number): Int32Array {
  return Int32Array.from({ length: rows * columns }, (_, index) => index % columns);
}

function integers(
  runtime: Runtime,
  type: "int32" | "int64",
  values: Int32Array,
  shape: readonly number[],
): Tensor {
  return type === "int32"
    ? new runtime.Tensor("int32", values, shape)
    : new runtime.Tensor("int64", int64(values), shape);
}

/** Non-negative integers as little-endian 64-bit ones; every platform of ONNX Runtime is little-endian. */
function int64(values: Int32Array): BigInt64Array {
  const words = new Int32Array(values.length * 2);
  for (let index = 0; index < values.length; index++) {
    words[index * 2] = values[index] ?? 0;
  }
  return new BigInt64Array(words.buffer);
}
