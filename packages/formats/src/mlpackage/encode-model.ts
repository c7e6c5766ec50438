import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { mainFunction } from "./default-function.js";
import { encodeArgument, encodeNamedType, encodeValue, map, nested, text } from "./encode-value.js";
import {
  arrayElements,
  arrayFields,
  blockFields,
  codeOf,
  descriptionFields,
  featureFields,
  featureTypeFields,
  flexibilityFields,
  functionDescriptionFields,
  functionFields,
  metadataFields,
  modelFields,
  operationFields,
  programFields,
} from "./fields.js";
import type { CoreMlModel, Feature, ModelMetadata, MultiArrayType } from "./model.js";
import type { Block, FunctionDefinition, Operation, Program } from "./program.js";

/** The message Model, as model.mlmodel holds it. @throws {Error} for what is not written, or contradicts itself. */
export function encodeModel(model: CoreMlModel): Uint8Array {
  const { program } = model;
  if (program === undefined || model.kind !== "mlProgram")
    throw new Error(`only models with an ML Program are written, and this is a ${model.kind}`);
  const writer = new BinaryWriter();
  writer.tag(modelFields.specificationVersion, WireType.Varint).int32(model.specificationVersion);
  nested(writer, modelFields.description, () => {
    encodeFeatures(writer, model);
    nested(writer, descriptionFields.metadata, () => encodeMetadata(writer, model.metadata));
  });
  nested(writer, modelFields.mlProgram, () => encodeProgram(writer, program));
  return writer.finish();
}

/**
 * A function of another name than "main" is described as one of several, as coremltools does it
 * (`save_multifunction` of coremltools 9.0): the model as a whole has no inputs of its own then.
 */
function encodeFeatures(
  writer: BinaryWriter,
  { defaultFunction = mainFunction, ...model }: CoreMlModel,
): void {
  const features = (fields: { readonly input: number; readonly output: number }): void => {
    for (const input of model.inputs) encodeFeature(writer, fields.input, input);
    for (const output of model.outputs) encodeFeature(writer, fields.output, output);
  };
  if (defaultFunction === mainFunction) {
    features(descriptionFields);
    return;
  }
  nested(writer, descriptionFields.functions, () => {
    text(writer, functionDescriptionFields.name, defaultFunction);
    features(functionDescriptionFields);
  });
  text(writer, descriptionFields.defaultFunctionName, defaultFunction);
}

function encodeMetadata(writer: BinaryWriter, metadata: ModelMetadata): void {
  for (const name of ["shortDescription", "version", "author", "license"] as const)
    if (metadata[name] !== "") text(writer, metadataFields[name], metadata[name]);
  map(writer, metadataFields.userDefined, metadata.userDefined, (field, value) => text(writer, field, value));
}

function encodeFeature(writer: BinaryWriter, field: number, feature: Feature): void {
  const { name, description, optional, type } = feature;
  if (type.kind !== "multi-array") throw new Error(`${name} is a ${type.as}, which is not written`);
  nested(writer, field, () => {
    text(writer, featureFields.name, name);
    if (description !== "") text(writer, featureFields.shortDescription, description);
    nested(writer, featureFields.type, () => {
      nested(writer, featureTypeFields.multiArray, () => encodeArray(writer, name, type));
      if (optional) writer.tag(featureTypeFields.isOptional, WireType.Varint).bool(true);
    });
  });
}

function encodeArray(
  writer: BinaryWriter,
  name: string,
  { element, shape, flexibility }: MultiArrayType,
): void {
  const code = codeOf(arrayElements, element);
  if (code === undefined) throw new Error(`${name} has the type ${element}, which is not known`);
  encodeShape(writer, arrayFields.shape, shape);
  writer.tag(arrayFields.dataType, WireType.Varint).int32(code);
  if (flexibility?.kind === "enumerated") {
    nested(writer, arrayFields.enumeratedShapes, () => {
      for (const one of flexibility.shapes)
        nested(writer, flexibilityFields.shapes, () => encodeShape(writer, flexibilityFields.shape, one));
    });
  } else if (flexibility?.kind === "range") {
    nested(writer, arrayFields.shapeRange, () => {
      for (const { lower, upper } of flexibility.ranges) {
        nested(writer, flexibilityFields.sizeRanges, () => {
          writer.tag(flexibilityFields.lowerBound, WireType.Varint).uint64(lower);
          writer.tag(flexibilityFields.upperBound, WireType.Varint).int64(upper ?? -1);
        });
      }
    });
  }
}

function encodeShape(writer: BinaryWriter, field: number, shape: readonly number[]): void {
  if (shape.length === 0) return;
  nested(writer, field, () => {
    for (const size of shape) writer.int64(size);
  });
}

function encodeProgram(writer: BinaryWriter, program: Program): void {
  writer.tag(programFields.version, WireType.Varint).int64(program.version);
  map(writer, programFields.functions, program.functions, (field, definition) =>
    encodeFunction(writer, field, definition),
  );
  map(writer, programFields.attributes, program.attributes, (field, value) =>
    encodeValue(writer, field, value, "an attribute of the program"),
  );
}

function encodeFunction(writer: BinaryWriter, field: number, definition: FunctionDefinition): void {
  nested(writer, field, () => {
    for (const input of definition.inputs) encodeNamedType(writer, functionFields.inputs, input);
    text(writer, functionFields.opset, definition.opset);
    map(writer, functionFields.blocks, definition.blocks, (inner, block) =>
      encodeBlock(writer, inner, block),
    );
    map(writer, functionFields.attributes, definition.attributes, (inner, value) =>
      encodeValue(writer, inner, value, "an attribute of a function"),
    );
  });
}

function encodeBlock(writer: BinaryWriter, field: number, block: Block): void {
  nested(writer, field, () => {
    for (const input of block.inputs) encodeNamedType(writer, blockFields.inputs, input);
    for (const output of block.outputs) text(writer, blockFields.outputs, output);
    for (const operation of block.operations) encodeOperation(writer, blockFields.operations, operation);
    map(writer, blockFields.attributes, block.attributes, (inner, value) =>
      encodeValue(writer, inner, value, "an attribute of a block"),
    );
  });
}

function encodeOperation(writer: BinaryWriter, field: number, operation: Operation): void {
  const { type, inputs, outputs, blocks, attributes } = operation;
  const name = `${type} ${outputs[0]?.name ?? ""}`;
  nested(writer, field, () => {
    text(writer, operationFields.type, type);
    map(writer, operationFields.inputs, inputs, (inner, argument) =>
      encodeArgument(writer, inner, argument, name),
    );
    for (const output of outputs) encodeNamedType(writer, operationFields.outputs, output);
    for (const block of blocks) encodeBlock(writer, operationFields.blocks, block);
    map(writer, operationFields.attributes, attributes, (inner, value) =>
      encodeValue(writer, inner, value, name),
    );
  });
}
