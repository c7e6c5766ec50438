import { valuesOf } from "./blobs.js";
import { bodyOf, defaultFunctionOf, mainFunction } from "./default-function.js";
import type { CoreMlModel, Feature, ModelMetadata } from "./model.js";
import { type NarrowedIds, narrowedIds } from "./narrowed-ids.js";
import type { BlobContent, ModelPackage } from "./package.js";
import type { Block, ElementType, FunctionDefinition, ValueType } from "./program.js";

/** What there is to say of a package, as plain JSON. */
export interface PackageReport {
  readonly path: string;
  /** The field's name in Model.proto: `"mlProgram"`, `"neuralNetwork"` … */
  readonly kind: string;
  readonly specificationVersion: number;
  /** Operation sets of the program's functions, e.g. `["CoreML8"]`. Empty where there is no program. */
  readonly opsets: readonly string[];
  /** The default function's, as the description gives them. */
  readonly inputs: readonly DescribedFeature[];
  readonly outputs: readonly DescribedFeature[];
  /** Undefined where there is no program, or the program lacks its default function. */
  readonly function: DescribedFunction | undefined;
  /** Where token ids are cut to a type that cannot hold them; undefined where this was not found. */
  readonly narrowedIds: NarrowedIds | undefined;
  /**
   * How often each type of operation occurs in what the default function runs and its nested blocks, `const` included;
   * most frequent first.
   */
  readonly operations: Readonly<Record<string, number>>;
  /** Weights in blob files, of all functions, by element type, most bytes first. A place that several values name counts once. */
  readonly weights: readonly WeightType[];
  readonly metadata: ModelMetadata;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

/** The default function as its program has it, whatever the description says. */
export interface DescribedFunction {
  readonly name: string;
  /** Names of the program's other functions. */
  readonly others: readonly string[];
  /** The operation set that it runs with. */
  readonly opset: string;
  /** False: it has no body for that operation set, and cannot run. */
  readonly hasBody: boolean;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export interface DescribedFeature extends Feature {
  /**
   * The tensor's type in the default function, which also says what the description leaves out. Undefined: that
   * function is not given it, or does not give it, or it is no tensor. Null: a dimension that is not fixed.
   */
  readonly inProgram:
    | { readonly element: ElementType; readonly dimensions: readonly (number | null)[] }
    | undefined;
}

export interface WeightType {
  readonly element: ElementType;
  readonly tensors: number;
  readonly bytes: number;
}

/** Reads nothing but what opening read already. */
export async function describeModelPackage(modelPackage: ModelPackage): Promise<PackageReport> {
  const { path, model, files } = modelPackage;
  const { program, kind, specificationVersion, metadata } = model;
  const definition = defaultFunctionOf(model);
  const body = definition && bodyOf(definition);
  const functions = Object.values(program?.functions ?? {});
  return {
    path,
    kind,
    specificationVersion,
    opsets: [...new Set(functions.map(({ opset }) => opset))].sort(),
    inputs: withTypes(model.inputs, definition && inputTypes(definition)),
    outputs: withTypes(model.outputs, definition && outputTypes(definition)),
    function: describeFunction(model),
    narrowedIds: definition && narrowedIds(definition),
    operations: countOperations(body === undefined ? [] : [body]),
    weights: await weightTypes(modelPackage),
    metadata,
    files,
  };
}

function countOperations(blocks: readonly Block[]): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  const count = (block: Block): void => {
    for (const operation of block.operations) {
      counts.set(operation.type, (counts.get(operation.type) ?? 0) + 1);
      for (const inner of operation.blocks) count(inner);
    }
  };
  for (const block of blocks) count(block);
  const order = [...counts].sort(
    ([oneType, one], [otherType, other]) => other - one || (oneType < otherType ? -1 : 1),
  );
  return Object.fromEntries(order);
}

async function weightTypes(modelPackage: ModelPackage): Promise<readonly WeightType[]> {
  const { program } = modelPackage.model;
  const places = new Map<string, BlobContent>();
  for (const { content } of program === undefined ? [] : valuesOf(program))
    if (content.kind === "blob") places.set(`${content.offset} ${content.file}`, content);
  const types = new Map<ElementType, { tensors: number; bytes: number }>();
  for (const content of places.values()) {
    const { element, byteLength } = await modelPackage.blob(content);
    const type = types.get(element) ?? { tensors: 0, bytes: 0 };
    types.set(element, { tensors: type.tensors + 1, bytes: type.bytes + byteLength });
  }
  return [...types]
    .map(([element, type]) => ({ element, ...type }))
    .sort((one, other) => other.bytes - one.bytes || (one.element < other.element ? -1 : 1));
}

function describeFunction(model: CoreMlModel): DescribedFunction | undefined {
  const { program, defaultFunction: name = mainFunction } = model;
  const definition = defaultFunctionOf(model);
  if (program === undefined || definition === undefined) return undefined;
  const body = bodyOf(definition);
  return {
    name,
    others: Object.keys(program.functions)
      .filter((other) => other !== name)
      .sort(),
    opset: definition.opset,
    hasBody: body !== undefined,
    inputs: definition.inputs.map((input) => input.name),
    outputs: body?.outputs ?? [],
  };
}

/** Types of what a function is given. */
function inputTypes({ inputs }: FunctionDefinition): ReadonlyMap<string, ValueType> {
  return new Map(inputs.map(({ name, type }) => [name, type]));
}

/** Types of what a function gives. */
function outputTypes(definition: FunctionDefinition): ReadonlyMap<string, ValueType> {
  const body = bodyOf(definition);
  const types = new Map(inputTypes(definition));
  for (const { outputs } of body?.operations ?? [])
    for (const { name, type } of outputs) types.set(name, type);
  return new Map([...types].filter(([name]) => body?.outputs.includes(name)));
}

function withTypes(
  features: readonly Feature[],
  types: ReadonlyMap<string, ValueType> = new Map(),
): readonly DescribedFeature[] {
  return features.map((feature) => {
    const type = types.get(feature.name);
    const inProgram =
      type?.kind === "tensor"
        ? { element: type.element, dimensions: type.dimensions.map((size) => size ?? null) }
        : undefined;
    return { ...feature, inProgram };
  });
}
