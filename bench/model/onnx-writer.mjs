// The few messages of ONNX's protobuf format that a graph needs, and no more. Field numbers and types are those of
// onnx/onnx.proto (onnx 1.16); the wire format is protobuf's: a tag (field number × 8 + wire type), then a varint
// (type 0), 4 bytes (type 5), or a length and so many bytes (type 2).

/** TensorProto.DataType. */
export const elementType = /** @type {const} */ ({ float: 1, int64: 7 });
/** AttributeProto.AttributeType. */
const attributeType = /** @type {const} */ ({ float: 1, int: 2, ints: 7 });

/** @typedef {Buffer} Message bytes of one field or several */

/**
 * @param {number | bigint} value negative ones take ten bytes, as protobuf writes an int64
 * @returns {Message}
 */
function varint(value) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** @type {(number: number, value: number) => Message} */
const integerField = (number, value) => Buffer.concat([varint(number * 8), varint(value)]);

/** @type {(number: number, ...content: Uint8Array[]) => Message} */
const bytesField = (number, ...content) => {
  const size = content.reduce((total, part) => total + part.byteLength, 0);
  return Buffer.concat([varint(number * 8 + 2), varint(size), ...content]);
};

/** @type {(number: number, value: string) => Message} */
const textField = (number, value) => bytesField(number, Buffer.from(value));

/** @type {(number: number, value: number) => Message} */
const floatField = (number, value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([varint(number * 8 + 5), bytes]);
};

/**
 * TensorProto: dims 1, data_type 2, name 8, raw_data 9.
 *
 * @param {string} name
 * @param {readonly number[]} dims
 * @param {Float32Array | BigInt64Array} values little-endian in memory, as every platform of ONNX Runtime is
 * @returns {Message}
 */
export function tensor(name, dims, values) {
  return Buffer.concat([
    ...dims.map((size) => integerField(1, size)),
    integerField(2, values instanceof Float32Array ? elementType.float : elementType.int64),
    textField(8, name),
    bytesField(9, new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
  ]);
}

/**
 * NodeProto: input 1, output 2, name 3, op_type 4, attribute 5. AttributeProto: name 1, f 2, i 3, ints 8, type 20.
 *
 * @param {string} operator
 * @param {readonly string[]} inputs
 * @param {string} output
 * @param {Readonly<Record<string, number | readonly number[]>>} attributes `epsilon` is a float, other numbers are integers
 * @returns {Message}
 */
export function node(operator, inputs, output, attributes = {}) {
  return Buffer.concat([
    ...inputs.map((input) => textField(1, input)),
    textField(2, output),
    textField(3, output),
    textField(4, operator),
    ...Object.entries(attributes).map(([name, value]) =>
      bytesField(5, textField(1, name), attribute(name, value)),
    ),
  ]);
}

/**
 * @param {string} name
 * @param {number | readonly number[]} value
 * @returns {Message}
 */
function attribute(name, value) {
  if (typeof value !== "number") {
    return Buffer.concat([...value.map((one) => integerField(8, one)), integerField(20, attributeType.ints)]);
  }
  return name === "epsilon"
    ? Buffer.concat([floatField(2, value), integerField(20, attributeType.float)])
    : Buffer.concat([integerField(3, value), integerField(20, attributeType.int)]);
}

/**
 * ValueInfoProto: name 1, type 2. TypeProto: tensor_type 1. Tensor: elem_type 1, shape 2. TensorShapeProto: dim 1.
 * Dimension: dim_value 1, dim_param 2.
 *
 * @param {string} name
 * @param {number} type
 * @param {readonly (number | string)[]} dims a name stands for any size
 * @returns {Message}
 */
export function valueInfo(name, type, dims) {
  const shape = dims.map((dim) =>
    bytesField(1, typeof dim === "number" ? integerField(1, dim) : textField(2, dim)),
  );
  return Buffer.concat([
    textField(1, name),
    bytesField(2, bytesField(1, integerField(1, type), bytesField(2, ...shape))),
  ]);
}

/**
 * ModelProto: ir_version 1, producer_name 2, graph 7, opset_import 8. GraphProto: node 1, name 2, initializer 5,
 * input 11, output 12. OperatorSetIdProto: domain 1 (the empty default), version 2.
 *
 * @param {{ nodes: readonly Message[], initializers: readonly Message[], inputs: readonly Message[], outputs: readonly Message[] }} graph
 * @returns {Buffer} the .onnx file
 */
export function modelFile(graph) {
  return Buffer.concat([
    integerField(1, 8),
    textField(2, "crossrank-bench"),
    bytesField(
      7,
      ...graph.nodes.map((message) => bytesField(1, message)),
      textField(2, "bert"),
      ...graph.initializers.map((message) => bytesField(5, message)),
      ...graph.inputs.map((message) => bytesField(11, message)),
      ...graph.outputs.map((message) => bytesField(12, message)),
    ),
    bytesField(8, integerField(2, 17)),
  ]);
}
