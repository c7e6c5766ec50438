import type { InferenceSession, Tensor } from "onnxruntime-common";
import { gather } from "./gather.js";
import type { PlannedInput } from "./graph-plan.js";
import { KeptPasts, type Past } from "./kept-pasts.js";
import type { RunArgument, RunResult } from "./protocol.js";

type Runtime = typeof import("onnxruntime-common");

type Session = Pick<InferenceSession, "run">;

/**
 * Runs one batch on a session, and returns what core asked for of its output.
 *
 * @param pasts what the session computed before, for batches behind a beginning that their rows share.
 * @throws {Error} when the runtime fails.
 */
export async function runBatch(
  runtime: Runtime,
  session: Session,
  batch: RunArgument,
  pasts: KeptPasts = new KeptPasts(),
): Promise<RunResult> {
  const { shared } = batch;
  if (shared === undefined) return runRows(runtime, session, batch, undefined);
  const past = await pasts.of(shared, batch.plan, (outputs) =>
    runGraph(runtime, session, beginningOf(shared, batch), { outputs, keptColumns: 1, past: undefined }),
  );
  return past === undefined
    ? runRows(runtime, session, behind(shared, batch), undefined)
    : runRows(runtime, session, batch, copiesOf(past, batch.rows, runtime));
}

async function runRows(
  runtime: Runtime,
  session: Session,
  batch: RunArgument,
  past: Past | undefined,
): Promise<RunResult> {
  const groups = batch.plan.output.unpadded ? groupsOfEqualLength(batch) : [];
  if (groups.length === 0) {
    return runWhole(runtime, session, batch, past);
  }
  const parts: { rows: readonly number[]; result: RunResult }[] = [];
  for (const { rows, batch: unpadded } of groups) {
    const own = past === undefined ? undefined : firstOf(past, rows.length, runtime);
    parts.push({ rows, result: await runWhole(runtime, session, unpadded, own) });
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
  session: Session,
  batch: RunArgument,
  past: Past | undefined,
): Promise<RunResult> {
  const { inputs, output } = batch.plan;
  const keepsSome = output.kind === "token-logits" && inputs.some(({ source }) => source === "logitsToKeep");
  const keptColumns = keepsSome ? columnsFromShortestEnd(batch) : undefined;
  const results = await runGraph(runtime, session, batch, { outputs: [output.name], keptColumns, past });
  const result = results[output.name];
  if (result === undefined) {
    throw new Error(`the graph returned no "${output.name}"`);
  }
  return gather(result, output, batch, keptColumns);
}

/** How a run's inputs are made beside the batch itself. */
interface RunFacts {
  readonly keptColumns: number | undefined;
  /** Keys and values of the tokens before the batch's, for each of its rows; undefined where it has them all. */
  readonly past: Past | undefined;
}

async function runGraph(
  runtime: Runtime,
  session: Session,
  batch: RunArgument,
  { outputs, ...facts }: RunFacts & { readonly outputs: readonly string[] },
): Promise<Readonly<Record<string, Tensor>>> {
  const feeds: Record<string, Tensor> = {};
  for (const input of batch.plan.inputs) {
    feeds[input.name] = tensorFor(runtime, input, batch, facts);
  }
  return session.run(feeds, outputs);
}

/**
 * Halves as 16 bits each: where JavaScript has a Float16Array a tensor holds one, of which onnxruntime-node 1.30 reads
 * nothing ("not enough space").
 */
function withBits(tensor: Tensor): Tensor {
  const { type, data } = tensor;
  if (type !== "float16" || data instanceof Uint16Array) return tensor;
  const { buffer, byteOffset, length } = data as unknown as Uint16Array;
  return Object.defineProperty(tensor, "data", { value: new Uint16Array(buffer, byteOffset, length) });
}

function tensorFor(
  runtime: Runtime,
  input: PlannedInput,
  batch: RunArgument,
  { keptColumns, past }: RunFacts,
): Tensor {
  const { rows, columns, arrays, plan } = batch;
  const earlier = past === undefined ? 0 : (batch.shared?.length ?? 0);
  switch (input.source) {
    case "past": {
      const known = past?.[input.name];
      if (known !== undefined) return withBits(known);
      const values = input.type === "float32" ? new Float32Array(0) : new Uint16Array(0);
      return withBits(new runtime.Tensor(input.type, values, [rows, input.heads, 0, input.size]));
    }
    case "cacheBranch":
      return new runtime.Tensor("bool", Uint8Array.of(0), input.shape);
    case "logitsToKeep":
      return integers(runtime, input.type, Int32Array.of(keptColumns ?? 0), []);
    case "positions":
      return integers(runtime, input.type, positions(batch, earlier), [rows, columns]);
    case "attentionMask": {
      const decodes = plan.inputs.some(({ source }) => source === "past");
      const mask = decodes ? withoutEmptyRows(batch) : arrays.attentionMask;
      return integers(runtime, input.type, maskBehind(mask, batch, earlier), [rows, earlier + columns]);
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

/** The tokens that a batch's rows share, as a batch of one row. */
function beginningOf(shared: Int32Array, { plan }: RunArgument): RunArgument {
  const arrays = { inputIds: shared, attentionMask: new Int32Array(shared.length).fill(1) };
  const lengths = Int32Array.of(shared.length);
  return { plan, rows: 1, columns: shared.length, arrays, lengths };
}

/** The batch with every token in its rows. */
function behind(shared: Int32Array, batch: RunArgument): RunArgument {
  const { plan, rows } = batch;
  const columns = shared.length + batch.columns;
  const joined = (fill: (row: Int32Array, own: Int32Array) => void, values: Int32Array): Int32Array => {
    const all = new Int32Array(rows * columns);
    for (let row = 0; row < rows; row += 1) {
      const own = values.subarray(row * batch.columns, (row + 1) * batch.columns);
      fill(all.subarray(row * columns, (row + 1) * columns), own);
    }
    return all;
  };
  const inputIds = joined((row, own) => {
    row.set(shared);
    row.set(own, shared.length);
  }, batch.arrays.inputIds);
  const attentionMask = joined((row, own) => {
    row.fill(1, 0, shared.length);
    row.set(own, shared.length);
  }, batch.arrays.attentionMask);
  const lengths = batch.lengths.map((length) => shared.length + length);
  return { plan, rows, columns, arrays: { inputIds, attentionMask }, lengths };
}

/** Keys and values for so many rows that all begin with the same tokens. */
function copiesOf(past: Past, rows: number, runtime: Runtime): Past {
  if (rows === 1) return past;
  const copies = Object.entries(past).map(([name, { type, data, dims }]) => {
    // Halves are copied as what they are.
    const one = data as Float32Array;
    const Numbers = one.constructor as Float32ArrayConstructor;
    const all = new Numbers(rows * one.length);
    for (let row = 0; row < rows; row += 1) all.set(one, row * one.length);
    return [name, new runtime.Tensor(type as "float32", all, [rows, ...dims.slice(1)])] as const;
  });
  return Object.fromEntries(copies);
}

/** Of copies for many rows, those for so many. */
function firstOf(past: Past, rows: number, runtime: Runtime): Past {
  const parts = Object.entries(past).map(([name, { type, data, dims }]) => {
    const all = data as Float32Array;
    const numbers = (all.length / (dims[0] as number)) * rows;
    return [
      name,
      new runtime.Tensor(type as "float32", all.subarray(0, numbers), [rows, ...dims.slice(1)]),
    ] as const;
  });
  return Object.fromEntries(parts);
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
    const { plan, shared } = batch;
    return { rows, batch: { plan, rows: rows.length, columns: length, shared, arrays, lengths } };
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

/** One place after the other in every row, from the first behind earlier tokens; padding is on the right, where the mask hides it. */
function positions({ rows, columns }: RunArgument, earlier: number): Int32Array {
  return Int32Array.from({ length: rows * columns }, (_, index) => earlier + (index % columns));
}

/** The mask with the earlier tokens before each row, all of them real. */
function maskBehind(mask: Int32Array, { rows, columns }: RunArgument, earlier: number): Int32Array {
  if (earlier === 0) return mask;
  const all = new Int32Array(rows * (earlier + columns)).fill(1);
  for (let row = 0; row < rows; row += 1) {
    all.set(mask.subarray(row * columns, (row + 1) * columns), row * (earlier + columns) + earlier);
  }
  return all;
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
