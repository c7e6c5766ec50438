import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Attribute, Graph, GraphNode, GraphValue } from "./graph.js";
import { byteLength, elementTypes, type StoredTensor } from "./tensor.js";

/**
 * Protobuf messages of an ONNX file. Field numbers: onnx/onnx.proto of the ONNX project, messages ModelProto,
 * GraphProto, NodeProto, AttributeProto, ValueInfoProto, TensorProto and StringStringEntryProto.
 */
const fields = {
  model: { irVersion: 1, producer: 2, graph: 7, opset: 8, metadata: 14 },
  opset: { domain: 1, version: 2 },
  entry: { key: 1, value: 2 },
  graph: { node: 1, name: 2, initializer: 5, input: 11, output: 12 },
  node: { input: 1, output: 2, name: 3, kind: 4, attribute: 5, domain: 7 },
  attribute: { name: 1, float: 2, integer: 3, text: 4, graph: 6, integers: 8, type: 20 },
  value: { name: 1, type: 2 },
  type: { tensor: 1 },
  tensorType: { element: 1, shape: 2 },
  shape: { dimension: 1 },
  dimension: { value: 1, parameter: 2 },
  tensor: { dimension: 1, type: 2, name: 8, raw: 9, external: 13, location: 14 },
} as const;

/** `AttributeProto.AttributeType`. */
const attributeTypes = { float: 1, integer: 2, text: 3, graph: 5, integers: 7 } as const;

/** `TensorProto.DataLocation`. */
const externalLocation = 1;

/** IR 8 goes with opset 18 (onnx/docs/Versioning.md), and old readers know it. */
const irVersion = 8;

/** Where a tensor's bytes lie outside of the file. */
export interface ExternalPlace {
  readonly location: string;
  readonly offset: number;
}

/**
 * Everything of a file before its graph. The metadata comes first, so that the head of a file tells what it is.
 * @param graphLength bytes of the graph's message.
 */
export function modelHead(
  facts: { opset: number; domains: readonly string[]; metadata: Readonly<Record<string, string>> },
  graphLength: number,
): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(fields.model.irVersion, WireType.Varint).int64(irVersion);
  writer.tag(fields.model.producer, WireType.LengthDelimited).string("crossrank");
  for (const domain of ["", ...facts.domains.filter((name) => name !== "")]) {
    const version = domain === "" ? facts.opset : 1;
    writer.tag(fields.model.opset, WireType.LengthDelimited).fork();
    writer.tag(fields.opset.domain, WireType.LengthDelimited).string(domain);
    writer.tag(fields.opset.version, WireType.Varint).int64(version).join();
  }
  for (const key of Object.keys(facts.metadata).sort()) {
    writer.tag(fields.model.metadata, WireType.LengthDelimited).fork();
    writeEntry(writer, key, facts.metadata[key] as string);
    writer.join();
  }
  writer.tag(fields.model.graph, WireType.LengthDelimited).uint32(graphLength);
  return writer.finish();
}

/** The graph's message without its tensors. */
export function graphHead(graph: Graph, name: string): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(fields.graph.name, WireType.LengthDelimited).string(name);
  for (const value of graph.inputs) writeValue(writer, fields.graph.input, value);
  for (const value of graph.outputs) writeValue(writer, fields.graph.output, value);
  for (const node of graph.nodes) writeNode(writer, node);
  return writer.finish();
}

/** What precedes a tensor's bytes in the graph's message; with `external` that is all of it. */
export function tensorHead(tensor: StoredTensor, external?: ExternalPlace): Uint8Array {
  const inner = new BinaryWriter();
  for (const size of tensor.dimensions) inner.tag(fields.tensor.dimension, WireType.Varint).int64(size);
  inner.tag(fields.tensor.type, WireType.Varint).int32(elementTypes[tensor.type].code);
  inner.tag(fields.tensor.name, WireType.LengthDelimited).string(tensor.name);
  const length = byteLength(tensor);
  if (external === undefined) {
    inner.tag(fields.tensor.raw, WireType.LengthDelimited).uint32(length);
  } else {
    const facts = { location: external.location, offset: String(external.offset), length: String(length) };
    for (const [key, value] of Object.entries(facts)) {
      inner.tag(fields.tensor.external, WireType.LengthDelimited).fork();
      writeEntry(inner, key, value);
      inner.join();
    }
    inner.tag(fields.tensor.location, WireType.Varint).int32(externalLocation);
  }
  const head = inner.finish();
  const writer = new BinaryWriter();
  writer.tag(fields.graph.initializer, WireType.LengthDelimited);
  writer.uint32(head.length + (external === undefined ? length : 0)).raw(head);
  return writer.finish();
}

function writeNode(writer: BinaryWriter, node: GraphNode): void {
  writer.tag(fields.graph.node, WireType.LengthDelimited).fork();
  for (const input of node.inputs) writer.tag(fields.node.input, WireType.LengthDelimited).string(input);
  for (const output of node.outputs) writer.tag(fields.node.output, WireType.LengthDelimited).string(output);
  writer.tag(fields.node.name, WireType.LengthDelimited).string(node.outputs[0] as string);
  writer.tag(fields.node.kind, WireType.LengthDelimited).string(node.kind);
  for (const [name, attribute] of Object.entries(node.attributes)) writeAttribute(writer, name, attribute);
  if (node.domain !== "") writer.tag(fields.node.domain, WireType.LengthDelimited).string(node.domain);
  writer.join();
}

function writeAttribute(writer: BinaryWriter, name: string, attribute: Attribute): void {
  writer.tag(fields.node.attribute, WireType.LengthDelimited).fork();
  writer.tag(fields.attribute.name, WireType.LengthDelimited).string(name);
  let type: number;
  if ("float" in attribute) {
    type = attributeTypes.float;
    writer.tag(fields.attribute.float, WireType.Bit32).float(attribute.float);
  } else if ("integer" in attribute) {
    type = attributeTypes.integer;
    writer.tag(fields.attribute.integer, WireType.Varint).int64(attribute.integer);
  } else if ("text" in attribute) {
    type = attributeTypes.text;
    writer.tag(fields.attribute.text, WireType.LengthDelimited).string(attribute.text);
  } else if ("graph" in attribute) {
    type = attributeTypes.graph;
    const branch = graphHead(attribute.graph, name);
    writer.tag(fields.attribute.graph, WireType.LengthDelimited).bytes(branch);
  } else {
    type = attributeTypes.integers;
    for (const value of attribute.integers) {
      writer.tag(fields.attribute.integers, WireType.Varint).int64(value);
    }
  }
  writer.tag(fields.attribute.type, WireType.Varint).int32(type);
  writer.join();
}

function writeValue(writer: BinaryWriter, field: number, { name, type, shape }: GraphValue): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  writer.tag(fields.value.name, WireType.LengthDelimited).string(name);
  writer.tag(fields.value.type, WireType.LengthDelimited).fork();
  writer.tag(fields.type.tensor, WireType.LengthDelimited).fork();
  writer.tag(fields.tensorType.element, WireType.Varint).int32(elementTypes[type].code);
  writer.tag(fields.tensorType.shape, WireType.LengthDelimited).fork();
  for (const size of shape) {
    writer.tag(fields.shape.dimension, WireType.LengthDelimited).fork();
    if (typeof size === "number") writer.tag(fields.dimension.value, WireType.Varint).int64(size);
    else writer.tag(fields.dimension.parameter, WireType.LengthDelimited).string(size);
    writer.join();
  }
  writer.join().join().join().join();
}

function writeEntry(writer: BinaryWriter, key: string, value: string): void {
  writer.tag(fields.entry.key, WireType.LengthDelimited).string(key);
  writer.tag(fields.entry.value, WireType.LengthDelimited).string(value);
}
