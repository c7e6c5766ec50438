/**
 * Field numbers of the messages that are read or written. Source: coremltools 9.0 (BSD-3), mlmodel/format/Model.proto,
 * FeatureTypes.proto and MIL.proto; the Python package holds them as coremltools/proto/*_pb2.py. Each table names its
 * message.
 */

/** Model. */
export const modelFields = { specificationVersion: 1, description: 2, mlProgram: 502 } as const;

/** ModelDescription. */
export const descriptionFields = {
  input: 1,
  output: 10,
  functions: 20,
  defaultFunctionName: 21,
  metadata: 100,
} as const;

/** FunctionDescription. */
export const functionDescriptionFields = { name: 1, input: 2, output: 3 } as const;

/** Metadata. */
export const metadataFields = {
  shortDescription: 1,
  version: 2,
  author: 3,
  license: 4,
  userDefined: 100,
} as const;

/** FeatureDescription. */
export const featureFields = { name: 1, shortDescription: 2, type: 3 } as const;

/** FeatureType: its other members are named in {@link featureKinds}. */
export const featureTypeFields = { multiArray: 5, isOptional: 1000 } as const;

/** ArrayFeatureType. */
export const arrayFields = { shape: 1, dataType: 2, enumeratedShapes: 21, shapeRange: 31 } as const;

/** ArrayFeatureType.EnumeratedShapes, ArrayFeatureType.Shape, ArrayFeatureType.ShapeRange, SizeRange. */
export const flexibilityFields = {
  shapes: 1,
  shape: 1,
  sizeRanges: 1,
  lowerBound: 1,
  upperBound: 2,
} as const;

/** MILSpec.Program. */
export const programFields = { version: 1, functions: 2, attributes: 4 } as const;

/** MILSpec.Function. */
export const functionFields = { inputs: 1, opset: 2, blocks: 3, attributes: 4 } as const;

/** MILSpec.Block. */
export const blockFields = { inputs: 1, outputs: 2, operations: 3, attributes: 4 } as const;

/** MILSpec.Operation. */
export const operationFields = { type: 1, inputs: 2, outputs: 3, blocks: 4, attributes: 5 } as const;

/** MILSpec.Argument and MILSpec.Argument.Binding. */
export const argumentFields = { arguments: 1, name: 1, value: 2 } as const;

/** MILSpec.NamedValueType. */
export const namedTypeFields = { name: 1, type: 2 } as const;

/** MILSpec.ValueType: its other members are named in {@link valueTypeKinds}. */
export const valueTypeFields = { tensor: 1 } as const;

/** MILSpec.TensorType. */
export const tensorTypeFields = { dataType: 1, rank: 2, dimensions: 3 } as const;

/** MILSpec.Dimension and MILSpec.Dimension.ConstantDimension. */
export const dimensionFields = { constant: 1, unknown: 2, size: 1 } as const;

/** MILSpec.Value. */
export const valueFields = { type: 2, immediate: 3, blob: 5 } as const;

/** MILSpec.Value.ImmediateValue: its other members are named in {@link immediateKinds}. */
export const immediateFields = { tensor: 1 } as const;

/** MILSpec.Value.BlobFileValue. */
export const blobFields = { fileName: 1, offset: 2 } as const;

/** MILSpec.TensorValue, and the one field of each of its members. */
export const tensorValueFields = {
  floats: 1,
  ints: 2,
  bools: 3,
  strings: 4,
  longInts: 5,
  doubles: 6,
  bytes: 7,
  values: 1,
} as const;

/** Key and value of a map's entry (the protobuf encoding of `map`). */
export const entryFields = { key: 1, value: 2 } as const;

/** Members of Model's `Type`. */
export const modelKinds: Readonly<Record<number, string>> = {
  200: "pipelineClassifier",
  201: "pipelineRegressor",
  202: "pipeline",
  300: "glmRegressor",
  301: "supportVectorRegressor",
  302: "treeEnsembleRegressor",
  303: "neuralNetworkRegressor",
  304: "bayesianProbitRegressor",
  400: "glmClassifier",
  401: "supportVectorClassifier",
  402: "treeEnsembleClassifier",
  403: "neuralNetworkClassifier",
  404: "kNearestNeighborsClassifier",
  500: "neuralNetwork",
  501: "itemSimilarityRecommender",
  502: "mlProgram",
  555: "customModel",
  556: "linkedModel",
  560: "classConfidenceThresholding",
  600: "oneHotEncoder",
  601: "imputer",
  602: "featureVectorizer",
  603: "dictVectorizer",
  604: "scaler",
  606: "categoricalMapping",
  607: "normalizer",
  609: "arrayFeatureExtractor",
  610: "nonMaximumSuppression",
  900: "identity",
  2000: "textClassifier",
  2001: "wordTagger",
  2002: "visionFeaturePrint",
  2003: "soundAnalysisPreprocessing",
  2004: "gazetteer",
  2005: "wordEmbedding",
  2006: "audioFeaturePrint",
  3000: "serializedModel",
};

/** Members of FeatureType's `Type`, but for multi-arrays. */
export const featureKinds: Readonly<Record<number, string>> = {
  1: "int64Type",
  2: "doubleType",
  3: "stringType",
  4: "imageType",
  6: "dictionaryType",
  7: "sequenceType",
  8: "stateType",
};

/** Members of ValueType's `type`, but for tensors. */
export const valueTypeKinds: Readonly<Record<number, string>> = {
  2: "listType",
  3: "tupleType",
  4: "dictionaryType",
  5: "stateType",
};

/** Members of ImmediateValue's `value`, but for tensors. */
export const immediateKinds: Readonly<Record<number, string>> = { 2: "tuple", 3: "list", 4: "dictionary" };

/** ArrayFeatureType.ArrayDataType. */
export const arrayElements = {
  float32: 65_568,
  float64: 65_600,
  int32: 131_104,
  int8: 131_080,
  float16: 65_552,
} as const;

/** MILSpec.DataType. */
export const elementCodes = {
  bool: 1,
  string: 2,
  fp16: 10,
  fp32: 11,
  fp64: 12,
  bf16: 13,
  int8: 21,
  int16: 22,
  int32: 23,
  int64: 24,
  int4: 25,
  uint8: 31,
  uint16: 32,
  uint32: 33,
  uint64: 34,
  uint4: 35,
  uint2: 36,
  uint1: 37,
  uint6: 38,
  uint3: 39,
} as const;

/** The name of an enumeration's value. */
export function nameOf<Name extends string>(
  codes: Readonly<Record<Name, number>>,
  code: number,
): Name | `unknown-${number}` {
  for (const name of Object.keys(codes) as Name[]) if (codes[name] === code) return name;
  return `unknown-${code}`;
}

/** The value of a name that {@link nameOf} gave. @returns undefined for no such name. */
export function codeOf(codes: Readonly<Record<string, number>>, name: string): number | undefined {
  const known = Object.hasOwn(codes, name) ? codes[name] : undefined;
  return known ?? (/^unknown-\d+$/.test(name) ? Number(name.slice("unknown-".length)) : undefined);
}
