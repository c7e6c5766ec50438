/** @import { InferenceSession } from "onnxruntime-node" */
import { Tensor } from "onnxruntime-node";

/** @typedef {{ readonly ids: Int32Array, readonly segmentIds: Int32Array }} Sequence */

/**
 * One padded batch through a session.
 *
 * @param {InferenceSession} session
 * @param {readonly Sequence[]} sequences
 * @returns {Promise<number[]>} a logit for each
 */
export async function runBatch(session, sequences) {
  const rows = sequences.length;
  const columns = Math.max(...sequences.map(({ ids }) => ids.length));
  /** @type {(valuesOf: (sequence: Sequence) => Int32Array) => Int32Array} */
  const padded = (valuesOf) => {
    const values = new Int32Array(rows * columns);
    sequences.forEach((sequence, row) => {
      values.set(valuesOf(sequence), row * columns);
    });
    return values;
  };
  /** @type {Record<string, Int32Array>} */
  const arrays = {
    input_ids: padded(({ ids }) => ids),
    attention_mask: padded(({ ids }) => new Int32Array(ids.length).fill(1)),
    token_type_ids: padded(({ segmentIds }) => segmentIds),
  };
  /** @type {Record<string, Tensor>} */
  const feeds = {};
  for (const input of session.inputMetadata) {
    const values = arrays[input.name];
    if (values === undefined || !input.isTensor) throw new Error(`the graph has an input ${input.name}`);
    feeds[input.name] =
      input.type === "int32"
        ? new Tensor("int32", values, [rows, columns])
        : new Tensor("int64", BigInt64Array.from(values, BigInt), [rows, columns]);
  }
  const outputs = await session.run(feeds);
  const logits = outputs[/** @type {string} */ (session.outputNames[0])]?.data;
  if (!(logits instanceof Float32Array) || logits.length !== rows)
    throw new Error("the graph returns no logits");
  return [...logits];
}
