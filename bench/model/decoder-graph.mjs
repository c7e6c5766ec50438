// A causal reranker of Qwen3's build as an ONNX file with a cache, in the form in which optimum writes it: keys and values
// of earlier tokens come in as past_key_values.N.key and .value, and go out as present.N.key and .value. Random weights.
import { floatTensor, Graph, integerTensor, writeModelFile } from "@crossrank/formats/onnx";
import { randomNumbers } from "../random.mjs";

/**
 * @typedef {object} Shape
 * @property {number} vocabulary
 * @property {number} hidden
 * @property {number} layers
 * @property {number} heads
 * @property {number} keyHeads
 * @property {number} headSize
 * @property {number} intermediate
 */

/**
 * @param {string} path of the .onnx to write; its weights go beside it
 * @param {Shape} shape
 * @param {"every" | "kept"} logits at every position, as optimum's exports have them, or at as many of the last as the
 *   input num_logits_to_keep says
 * @param {string} seed
 */
export async function writeDecoder(path, shape, logits, seed) {
  const { vocabulary, hidden, layers, heads, keyHeads, headSize, intermediate } = shape;
  const graph = new Graph();
  let made = 0;
  /** @param {string} kind @param {readonly string[]} inputs @param {Record<string, unknown>} attributes @returns {string} */
  const add = (kind, inputs, attributes = {}) =>
    graph.node(kind, inputs, `v${made++}`, { attributes: /** @type {never} */ (attributes) });
  /** @param {readonly number[]} values */
  const list = (...values) => graph.integers(values);
  /** @param {number} value */
  const number = (value) => graph.tensor(floatTensor(`number.${value}`, [value], []));
  /** @param {string} name @param {readonly number[]} dimensions @param {number} gain */
  const weight = (name, dimensions, gain) => graph.tensor(randomTensor(name, dimensions, gain, seed));
  /** @param {string} value @param {string} name @param {number} from @param {number} to */
  const linear = (value, name, from, to) =>
    add("MatMul", [value, weight(name, [from, to], 1 / Math.sqrt(from))]);
  /** @param {string} value @param {string} name @param {number} size */
  const normalise = (value, name, size) => {
    const mean = add("ReduceMean", [add("Pow", [value, number(2)])], {
      axes: { integers: [-1] },
      keepdims: { integer: 1 },
    });
    const deviation = add("Sqrt", [add("Add", [mean, number(1e-6)])]);
    const scale = graph.tensor(floatTensor(name, new Float32Array(size).fill(1), [size]));
    return add("Mul", [add("Div", [value, deviation]), scale]);
  };
  /** @param {string} value @param {number} axis @param {number} start @param {number} end */
  const slice = (value, axis, start, end) => add("Slice", [value, list(start), list(end), list(axis)]);
  /** @param {string} value @param {readonly [string, string]} rotation */
  const rotate = (value, [cosine, sine]) => {
    const turned = add(
      "Concat",
      [add("Neg", [slice(value, 3, headSize / 2, headSize)]), slice(value, 3, 0, headSize / 2)],
      { axis: { integer: -1 } },
    );
    return add("Add", [add("Mul", [value, cosine]), add("Mul", [turned, sine])]);
  };
  /** @param {string} value @param {number} axis */
  const sizeOf = (value, axis) => add("Gather", [add("Shape", [value]), graph.integer(axis)]);

  for (const [name, length] of [
    ["input_ids", "sequence_length"],
    ["attention_mask", "total_length"],
    ["position_ids", "sequence_length"],
  ]) {
    graph.inputs.push({
      name: /** @type {string} */ (name),
      type: "int64",
      shape: ["batch_size", /** @type {string} */ (length)],
    });
  }
  const length = sizeOf("input_ids", 1);
  const total = sizeOf("attention_mask", 1);
  const queries = add("Range", [add("Sub", [total, length]), total, graph.integer(1)]);
  const keys = add("Range", [graph.integer(0), total, graph.integer(1)]);
  const causal = add("LessOrEqual", [keys, add("Unsqueeze", [queries, list(1)])]);
  const there = add("Unsqueeze", [add("Cast", ["attention_mask"], { to: { integer: 9 } }), list(1, 2)]);
  const mask = add("Where", [add("And", [there, causal]), number(0), number(-3e38)]);
  const frequencies = Float32Array.from(
    { length: headSize / 2 },
    (_, index) => 1e6 ** ((-2 * index) / headSize),
  );
  const places = add("Unsqueeze", [add("Cast", ["position_ids"], { to: { integer: 1 } }), list(1, 3)]);
  const angles = add("Mul", [places, graph.tensor(floatTensor("frequencies", frequencies, [headSize / 2]))]);
  const both = add("Concat", [angles, angles], { axis: { integer: -1 } });
  /** @type {[string, string]} */
  const rotation = [add("Cos", [both]), add("Sin", [both])];

  const embedding = weight("embedding", [vocabulary, hidden], 1);
  let value = add("Gather", [embedding, "input_ids"]);
  for (let layer = 0; layer < layers; layer += 1) {
    const normal = normalise(value, `${layer}.attention_norm`, hidden);
    /** @param {"query" | "key" | "value"} part @param {number} count */
    const project = (part, count) => {
      const split = add("Reshape", [
        linear(normal, `${layer}.${part}`, hidden, count * headSize),
        list(0, 0, count, headSize),
      ]);
      const even = part === "value" ? split : normalise(split, `${layer}.${part}_norm`, headSize);
      const turned = add("Transpose", [even], { perm: { integers: [0, 2, 1, 3] } });
      return part === "value" ? turned : rotate(turned, rotation);
    };
    /** @param {"key" | "value"} part */
    const withPast = (part) => {
      const past = `past_key_values.${layer}.${part}`;
      graph.inputs.push({
        name: past,
        type: /** @type {never} */ ("float32"),
        shape: ["batch_size", keyHeads, "past_length", headSize],
      });
      const present = graph.node("Concat", [past, project(part, keyHeads)], `present.${layer}.${part}`, {
        attributes: { axis: { integer: 2 } },
      });
      graph.outputs.push({
        name: present,
        type: "float32",
        shape: ["batch_size", keyHeads, "total_length", headSize],
      });
      if (keyHeads === heads) return present;
      const ones = list(1, 1, heads / keyHeads, 1, 1);
      const repeated = add("Expand", [add("Unsqueeze", [present, list(2)]), ones]);
      const rows = add("Reshape", [add("Shape", ["input_ids"], { end: { integer: 1 } }), list(1)]);
      const shape = add("Concat", [rows, list(heads), add("Reshape", [total, list(1)]), list(headSize)], {
        axis: { integer: 0 },
      });
      return add("Reshape", [repeated, shape]);
    };
    const query = project("query", heads);
    const [key, content] = [withPast("key"), withPast("value")];
    const scores = add("Mul", [
      add("MatMul", [query, add("Transpose", [key], { perm: { integers: [0, 1, 3, 2] } })]),
      number(headSize ** -0.5),
    ]);
    const chances = add("Softmax", [add("Add", [scores, mask])], { axis: { integer: -1 } });
    const mixed = add("Transpose", [add("MatMul", [chances, content])], { perm: { integers: [0, 2, 1, 3] } });
    const joined = add("Reshape", [mixed, list(0, 0, heads * headSize)]);
    value = add("Add", [value, linear(joined, `${layer}.output`, heads * headSize, hidden)]);
    const wide = normalise(value, `${layer}.feed_norm`, hidden);
    const gate = linear(wide, `${layer}.gate`, hidden, intermediate);
    const opened = add("Mul", [gate, add("Sigmoid", [gate])]);
    const raised = add("Mul", [opened, linear(wide, `${layer}.up`, hidden, intermediate)]);
    value = add("Add", [value, linear(raised, `${layer}.down`, intermediate, hidden)]);
  }
  value = normalise(value, "norm", hidden);
  if (logits === "kept") {
    graph.inputs.push({ name: "num_logits_to_keep", type: "int64", shape: [] });
    const start = add("Reshape", [add("Neg", ["num_logits_to_keep"]), list(1)]);
    value = add("Slice", [value, start, list(2 ** 31 - 1), list(1)]);
  }
  graph.node("MatMul", [value, add("Transpose", [embedding], { perm: { integers: [1, 0] } })], "logits");
  graph.outputs.unshift({
    name: "logits",
    type: "float32",
    shape: ["batch_size", logits === "kept" ? "kept" : "sequence_length", vocabulary],
  });
  await writeModelFile({
    path,
    graph,
    name: "decoder",
    opset: 17,
    metadata: {},
    externalFrom: 1e6,
    signal: undefined,
    onProgress: undefined,
  });
}

/** @param {string} name @param {readonly number[]} dimensions @param {number} gain @param {string} seed */
function randomTensor(name, dimensions, gain, seed) {
  const count = dimensions.reduce((product, size) => product * size, 1);
  return {
    ...integerTensor(name, [], dimensions),
    type: /** @type {const} */ ("float32"),
    async *chunks() {
      const random = randomNumbers(`${seed} ${name}`);
      for (let start = 0; start < count; start += 1 << 18) {
        // Uniform numbers of that deviation.
        const values = Float32Array.from(
          { length: Math.min(1 << 18, count - start) },
          () => (random() - 0.5) * gain * Math.sqrt(12),
        );
        yield new Uint8Array(values.buffer);
      }
    },
  };
}
