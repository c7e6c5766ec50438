import type { WireType } from "@bufbuild/protobuf/wire";
import { decodeEntry, decodeNamedType, decodeValue } from "./decode-value.js";
import { beyond, type Decoder, MessageProblem, once } from "./decoder.js";
import { argumentFields, blockFields, functionFields, operationFields, programFields } from "./fields.js";
import type {
  Argument,
  Binding,
  Block,
  FunctionDefinition,
  NamedType,
  Operation,
  Program,
  Value,
} from "./program.js";

/** MILSpec.Program, the message that the decoder's whole input is. */
export function decodeProgram(decoder: Decoder): Program {
  let version = 0;
  const functions = new Map<string, FunctionDefinition>();
  const attributes = new Map<string, Value>();
  decoder.root((field, wire) => {
    if (field === programFields.version) version = decoder.integer64(wire, true);
    else if (field === programFields.functions)
      decodeEntry(decoder, wire, functions, (inner) => decodeFunction(decoder, inner));
    else if (field === programFields.attributes) decodeAttribute(decoder, wire, attributes);
    else return false;
  });
  return { version, functions: Object.fromEntries(functions), attributes: Object.fromEntries(attributes) };
}

function decodeFunction(decoder: Decoder, wire: WireType): FunctionDefinition {
  const inputs: NamedType[] = [];
  let opset = "";
  const blocks = new Map<string, Block>();
  const attributes = new Map<string, Value>();
  decoder.message(wire, (field, inner) => {
    if (field === functionFields.inputs) inputs.push(decodeNamedType(decoder, inner));
    else if (field === functionFields.opset) opset = decoder.text(inner);
    else if (field === functionFields.blocks)
      decodeEntry(decoder, inner, blocks, (innermost) => decodeBlock(decoder, innermost, 1));
    else if (field === functionFields.attributes) decodeAttribute(decoder, inner, attributes);
    else return false;
  });
  return {
    inputs,
    opset,
    blocks: Object.fromEntries(blocks),
    attributes: Object.fromEntries(attributes),
  };
}

function decodeBlock(decoder: Decoder, wire: WireType, depth: number): Block {
  decoder.count("entries");
  if (depth > decoder.limits.depth)
    throw beyond(`has blocks nested more than ${decoder.limits.depth} deep`, "depth");
  const inputs: NamedType[] = [];
  const outputs: string[] = [];
  const operations: Operation[] = [];
  const attributes = new Map<string, Value>();
  decoder.message(wire, (field, inner) => {
    if (field === blockFields.inputs) inputs.push(decodeNamedType(decoder, inner));
    else if (field === blockFields.outputs) {
      decoder.count("entries");
      outputs.push(decoder.text(inner));
    } else if (field === blockFields.operations) operations.push(decodeOperation(decoder, inner, depth));
    else if (field === blockFields.attributes) decodeAttribute(decoder, inner, attributes);
    else return false;
  });
  return { inputs, outputs, operations, attributes: Object.fromEntries(attributes) };
}

function decodeOperation(decoder: Decoder, wire: WireType, depth: number): Operation {
  decoder.count("operations");
  let type = "";
  const inputs = new Map<string, Argument>();
  const outputs: NamedType[] = [];
  const blocks: Block[] = [];
  const attributes = new Map<string, Value>();
  decoder.message(wire, (field, inner) => {
    if (field === operationFields.type) type = decoder.text(inner);
    else if (field === operationFields.inputs)
      decodeEntry(decoder, inner, inputs, (innermost) => decodeArgument(decoder, innermost));
    else if (field === operationFields.outputs) outputs.push(decodeNamedType(decoder, inner));
    else if (field === operationFields.blocks) blocks.push(decodeBlock(decoder, inner, depth + 1));
    else if (field === operationFields.attributes) decodeAttribute(decoder, inner, attributes);
    else return false;
  });
  return {
    type,
    inputs: Object.fromEntries(inputs),
    outputs,
    blocks,
    attributes: Object.fromEntries(attributes),
  };
}

function decodeArgument(decoder: Decoder, wire: WireType): Argument {
  const bindings: Binding[] = [];
  decoder.message(wire, (field, inner) => {
    if (field !== argumentFields.arguments) return false;
    decoder.count("entries");
    let binding: Binding | undefined;
    decoder.message(inner, (part, innermost) => {
      if (part === argumentFields.name) binding = once("binding", binding, { name: decoder.text(innermost) });
      else if (part === argumentFields.value)
        binding = once("binding", binding, { value: decodeValue(decoder, innermost) });
      else return false;
    });
    if (binding === undefined) throw new MessageProblem("is damaged: an operation's input is empty");
    bindings.push(binding);
  });
  return bindings;
}

function decodeAttribute(decoder: Decoder, wire: WireType, into: Map<string, Value>): void {
  decodeEntry(decoder, wire, into, (inner) => decodeValue(decoder, inner));
}
