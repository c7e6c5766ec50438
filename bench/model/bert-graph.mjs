/** @import { Shape } from "../types.js" */
/** @import { WeightTensor } from "./random-weights.mjs" */
import { elementType, modelFile, node, tensor, valueInfo } from "./onnx-writer.mjs";

/** As BERT's configuration has it; LayerNormalization's and config.json's. */
export const normalisationEpsilon = 1e-12;

/**
 * BERT with a classification head as an ONNX graph of standard operators (opset 17): additive mask, erf GELU,
 * LayerNormalization, tanh pooler. Inputs of transformers' exports, output `logits` (batch, 1).
 *
 * @param {Shape} shape
 * @param {readonly WeightTensor[]} weights
 * @returns {Buffer} the .onnx file
 */
export function bertOnnx(shape, weights) {
  const { hidden, heads } = shape;
  const headSize = hidden / heads;
  const graph = new GraphBuilder(weights);
  const add = graph.add.bind(graph);

  /** @type {(value: string, name: string) => string} */
  const linear = (value, name) =>
    add("Add", [add("MatMul", [value, graph.transposed(`${name}.weight`)]), graph.weight(`${name}.bias`)]);
  /** @type {(value: string, residual: string, name: string) => string} */
  const normalise = (value, residual, name) =>
    add(
      "LayerNormalization",
      [add("Add", [value, residual]), graph.weight(`${name}.weight`), graph.weight(`${name}.bias`)],
      { axis: -1, epsilon: normalisationEpsilon },
    );
  /** @type {(value: string) => string} */
  const gelu = (value) => {
    const error = add("Erf", [add("Div", [value, graph.number("root_of_two", Math.SQRT2)])]);
    const product = add("Mul", [value, add("Add", [error, graph.number("one", 1)])]);
    return add("Mul", [product, graph.number("half", 0.5)]);
  };

  const tables = "bert.embeddings";
  const words = add("Gather", [graph.weight(`${tables}.word_embeddings.weight`), "input_ids"]);
  const segments = add("Gather", [graph.weight(`${tables}.token_type_embeddings.weight`), "token_type_ids"]);
  const columns = add("Shape", ["input_ids"], { start: 1, end: 2 });
  const zero = graph.integers("ints_0", [0]);
  const positions = add("Slice", [graph.weight(`${tables}.position_embeddings.weight`), zero, columns, zero]);
  let value = normalise(add("Add", [words, segments]), positions, `${tables}.LayerNorm`);

  const present = add("Cast", ["attention_mask"], { to: elementType.float });
  const absent = add("Sub", [graph.number("one", 1), present]);
  const additive = add("Mul", [absent, graph.number("minus_many", -1e4)]);
  const mask = add("Unsqueeze", [additive, graph.integers("ints_1_2", [1, 2])]);

  for (let layer = 0; layer < shape.layers; layer++) {
    const prefix = `bert.encoder.layer.${layer}`;
    /** @type {(part: string, perm: readonly number[]) => string} */
    const byHead = (part, perm) => {
      const shaped = graph.integers("by_head", [0, 0, heads, headSize]);
      return add("Transpose", [add("Reshape", [linear(value, `${prefix}.attention.self.${part}`), shaped])], {
        perm,
      });
    };
    const query = byHead("query", [0, 2, 1, 3]);
    const key = byHead("key", [0, 2, 3, 1]);
    const scores = add("Mul", [add("MatMul", [query, key]), graph.number("factor", 1 / Math.sqrt(headSize))]);
    const probabilities = add("Softmax", [add("Add", [scores, mask])], { axis: -1 });
    const mixed = add("MatMul", [probabilities, byHead("value", [0, 2, 1, 3])]);
    const context = add("Reshape", [
      add("Transpose", [mixed], { perm: [0, 2, 1, 3] }),
      graph.integers("together", [0, 0, hidden]),
    ]);
    const attended = linear(context, `${prefix}.attention.output.dense`);
    value = normalise(attended, value, `${prefix}.attention.output.LayerNorm`);
    const raised = gelu(linear(value, `${prefix}.intermediate.dense`));
    value = normalise(linear(raised, `${prefix}.output.dense`), value, `${prefix}.output.LayerNorm`);
  }

  const first = add("Gather", [value, graph.integers("zero", 0)], { axis: 1 });
  const logits = linear(add("Tanh", [linear(first, "bert.pooler.dense")]), "classifier");
  graph.addNamed("Identity", [logits], "logits");

  const names = ["input_ids", "attention_mask", "token_type_ids"];
  return modelFile({
    nodes: graph.nodes,
    initializers: [...graph.initializers.values()],
    inputs: names.map((name) => valueInfo(name, elementType.int64, ["batch", "sequence"])),
    outputs: [valueInfo("logits", elementType.float, ["batch", 1])],
  });
}

/** Collects nodes and initializers, and names the values between them. */
class GraphBuilder {
  /** @type {Buffer[]} */
  nodes = [];
  /** @type {Map<string, Buffer>} */
  initializers = new Map();
  /** @type {ReadonlyMap<string, WeightTensor>} */
  #weights;

  /** @param {readonly WeightTensor[]} weights */
  constructor(weights) {
    this.#weights = new Map(weights.map((weight) => [weight.name, weight]));
  }

  /**
   * @param {string} operator
   * @param {readonly string[]} inputs
   * @param {Readonly<Record<string, number | readonly number[]>>} attributes
   */
  add(operator, inputs, attributes = {}) {
    return this.addNamed(operator, inputs, `${operator}_${this.nodes.length}`, attributes);
  }

  /**
   * @param {string} operator
   * @param {readonly string[]} inputs
   * @param {string} output
   * @param {Readonly<Record<string, number | readonly number[]>>} attributes
   */
  addNamed(operator, inputs, output, attributes = {}) {
    this.nodes.push(node(operator, inputs, output, attributes));
    return output;
  }

  /** @param {string} name */
  weight(name) {
    const { dims, values } = this.#find(name);
    return this.#initializer(name, dims, values);
  }

  /**
   * A linear layer's weight as MatMul takes it: (in, out).
   *
   * @param {string} name
   */
  transposed(name) {
    const { dims, values } = this.#find(name);
    const [rows = 0, columns = 0] = dims;
    const turned = new Float32Array(values.length);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        turned[column * rows + row] = /** @type {number} */ (values[row * columns + column]);
      }
    }
    return this.#initializer(name, [columns, rows], turned);
  }

  /**
   * @param {string} name
   * @param {number} value
   */
  number(name, value) {
    return this.#initializer(name, [], Float32Array.of(value));
  }

  /**
   * @param {string} name
   * @param {number | readonly number[]} values a number is a scalar
   */
  integers(name, values) {
    const list = typeof values === "number" ? [values] : values;
    return this.#initializer(
      name,
      typeof values === "number" ? [] : [list.length],
      BigInt64Array.from(list, BigInt),
    );
  }

  /** @param {string} name */
  #find(name) {
    const found = this.#weights.get(name);
    if (found === undefined) throw new Error(`no weight is called ${name}`);
    return found;
  }

  /**
   * @param {string} name
   * @param {readonly number[]} dims
   * @param {Float32Array | BigInt64Array} values
   */
  #initializer(name, dims, values) {
    if (!this.initializers.has(name)) this.initializers.set(name, tensor(name, dims, values));
    return name;
  }
}
