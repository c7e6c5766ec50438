import type { WireType } from "@bufbuild/protobuf/wire";
import { decodeEntry } from "./decode-value.js";
import { beyond, type Decoder, MessageProblem, once } from "./decoder.js";
import { mainFunction } from "./default-function.js";
import {
  arrayElements,
  arrayFields,
  descriptionFields,
  featureFields,
  featureKinds,
  featureTypeFields,
  flexibilityFields,
  functionDescriptionFields,
  metadataFields,
  nameOf,
} from "./fields.js";
import type { Feature, FeatureType, ModelMetadata, MultiArrayType } from "./model.js";

export interface Description {
  readonly defaultFunction: string;
  readonly inputs: readonly Feature[];
  readonly outputs: readonly Feature[];
  readonly metadata: ModelMetadata;
}

export const noDescription: Description = {
  defaultFunction: mainFunction,
  inputs: [],
  outputs: [],
  metadata: { shortDescription: "", version: "", author: "", license: "", userDefined: {} },
};

/** ModelDescription, the message that the decoder's whole input is. */
export function decodeDescription(decoder: Decoder): Description {
  const inputs: Feature[] = [];
  const outputs: Feature[] = [];
  let metadata: ModelMetadata | undefined;
  let defaultFunction = mainFunction;
  const functions = new Map<string, Pick<Description, "inputs" | "outputs">>();
  decoder.root((field, wire) => {
    if (field === descriptionFields.input) inputs.push(decodeFeature(decoder, wire));
    else if (field === descriptionFields.output) outputs.push(decodeFeature(decoder, wire));
    else if (field === descriptionFields.functions) decodeFunction(decoder, wire, functions);
    else if (field === descriptionFields.defaultFunctionName)
      defaultFunction = decoder.text(wire) || mainFunction;
    else if (field === descriptionFields.metadata)
      metadata = once("metadata", metadata, decodeMetadata(decoder, wire));
    else return false;
  });
  // A model of several functions describes each, and the model as a whole has no inputs of its own.
  const features = functions.get(defaultFunction) ?? { inputs, outputs };
  return { defaultFunction, ...features, metadata: metadata ?? noDescription.metadata };
}

function decodeFunction(
  decoder: Decoder,
  wire: WireType,
  into: Map<string, Pick<Description, "inputs" | "outputs">>,
): void {
  decoder.count("entries");
  let name = "";
  const inputs: Feature[] = [];
  const outputs: Feature[] = [];
  decoder.message(wire, (field, inner) => {
    if (field === functionDescriptionFields.name) name = decoder.text(inner);
    else if (field === functionDescriptionFields.input) inputs.push(decodeFeature(decoder, inner));
    else if (field === functionDescriptionFields.output) outputs.push(decodeFeature(decoder, inner));
    else return false;
  });
  into.set(name, { inputs, outputs });
}

function decodeMetadata(decoder: Decoder, wire: WireType): ModelMetadata {
  const texts = { shortDescription: "", version: "", author: "", license: "" };
  const userDefined = new Map<string, string>();
  decoder.message(wire, (field, inner) => {
    if (field === metadataFields.shortDescription) texts.shortDescription = decoder.text(inner);
    else if (field === metadataFields.version) texts.version = decoder.text(inner);
    else if (field === metadataFields.author) texts.author = decoder.text(inner);
    else if (field === metadataFields.license) texts.license = decoder.text(inner);
    else if (field === metadataFields.userDefined) {
      decodeEntry(decoder, inner, userDefined, (innermost) => decoder.text(innermost));
    } else return false;
  });
  return { ...texts, userDefined: Object.fromEntries(userDefined) };
}

function decodeFeature(decoder: Decoder, wire: WireType): Feature {
  decoder.count("entries");
  let name = "";
  let description = "";
  let found: { readonly type: FeatureType; readonly optional: boolean } | undefined;
  decoder.message(wire, (field, inner) => {
    if (field === featureFields.name) name = decoder.text(inner);
    else if (field === featureFields.shortDescription) description = decoder.text(inner);
    else if (field === featureFields.type) found = once("type", found, decodeFeatureType(decoder, inner));
    else return false;
  });
  return { name, description, optional: found?.optional ?? false, type: found?.type ?? noType };
}

const noType: FeatureType = { kind: "other", as: "" };

function decodeFeatureType(
  decoder: Decoder,
  wire: WireType,
): { readonly type: FeatureType; readonly optional: boolean } {
  let type: FeatureType | undefined;
  let optional = false;
  decoder.message(wire, (field, inner) => {
    if (field === featureTypeFields.multiArray) type = once("type", type, decodeArray(decoder, inner));
    else if (field === featureTypeFields.isOptional) optional = decoder.boolean(inner);
    else if (featureKinds[field] !== undefined) {
      type = once("type", type, { kind: "other", as: featureKinds[field] });
      return false;
    } else return false;
  });
  return { type: type ?? noType, optional };
}

function decodeArray(decoder: Decoder, wire: WireType): MultiArrayType {
  const shape: number[] = [];
  let element = 0;
  let flexibility: MultiArrayType["flexibility"];
  decoder.message(wire, (field, inner) => {
    if (field === arrayFields.shape) decodeSizes(decoder, inner, shape);
    else if (field === arrayFields.dataType) element = decoder.integer32(inner);
    else if (field === arrayFields.enumeratedShapes)
      flexibility = once("flexibility", flexibility, decodeEnumerated(decoder, inner));
    else if (field === arrayFields.shapeRange)
      flexibility = once("flexibility", flexibility, decodeRanges(decoder, inner));
    else return false;
  });
  const known = { kind: "multi-array", element: nameOf(arrayElements, element), shape } as const;
  return flexibility === undefined ? known : { ...known, flexibility };
}

function decodeEnumerated(decoder: Decoder, wire: WireType): MultiArrayType["flexibility"] {
  const shapes: number[][] = [];
  decoder.message(wire, (field, inner) => {
    if (field !== flexibilityFields.shapes) return false;
    decoder.count("entries");
    const shape: number[] = [];
    decoder.message(inner, (part, innermost) => {
      if (part !== flexibilityFields.shape) return false;
      decodeSizes(decoder, innermost, shape);
    });
    shapes.push(shape);
  });
  return { kind: "enumerated", shapes };
}

function decodeRanges(decoder: Decoder, wire: WireType): MultiArrayType["flexibility"] {
  const ranges: { lower: number; upper: number | undefined }[] = [];
  decoder.message(wire, (field, inner) => {
    if (field !== flexibilityFields.sizeRanges) return false;
    decoder.count("entries");
    let lower = 0;
    let upper = 0;
    decoder.message(inner, (part, innermost) => {
      if (part === flexibilityFields.lowerBound) lower = decoder.integer64(innermost, false);
      else if (part === flexibilityFields.upperBound) upper = decoder.integer64(innermost, true);
      else return false;
    });
    // Below nothing: no end (SizeRange of FeatureTypes.proto).
    ranges.push({ lower, upper: upper < 0 ? undefined : upper });
  });
  return { kind: "range", ranges };
}

function decodeSizes(decoder: Decoder, wire: WireType, into: number[]): void {
  decoder.numbers(wire, "int64", (size) => {
    decoder.count("entries");
    if (size < 0) throw new MessageProblem(`is damaged: a dimension is ${size}`);
    into.push(size);
    if (into.length > decoder.limits.rank)
      throw beyond(`has an array of more than ${decoder.limits.rank} dimensions`, "rank");
  });
}
