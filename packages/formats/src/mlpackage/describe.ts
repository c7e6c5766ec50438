import { valuesOf } from "./blobs.js";
import type { Feature, ModelMetadata } from "./model.js";
import type { BlobContent, ModelPackage } from "./package.js";
import type { Block, ElementType, Program, ValueType } from "./program.js";

/** What there is to say of a package, as plain JSON. */
export interface PackageReport {
  readonly path: string;
  /** The field's name in Model.proto: `"mlProgram"`, `"neuralNetwork"` … */
  readonly kind: string;
  readonly specificationVersion: number;
  /** Operation sets of the program's functions, e.g. `["CoreML8"]`. Empty where there is no program. */
  readonly opsets: readonly string[];
  readonly inputs: readonly Feature[];
  readonly outputs: readonly DescribedOutput[];
  /**
   * How often each type of operation occurs, in all functions and nested blocks, `const` included; most frequent
   * first.
   */
  readonly operations: Readonly<Record<string, number>>;
  /** Weights in blob files by element type, most bytes first. A place that several values name counts once. */
  readonly weights: readonly WeightType[];
  readonly metadata: ModelMetadata;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

export interface DescribedOutput extends Feature {
  /**
   * The type in the program, which also says what the description leaves out; undefined where there is no program.
   * Null: a dimension that is not fixed.
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
  const { program, kind, specificationVersion, inputs, metadata } = model;
  const functions = Object.values(program?.functions ?? {});
  return {
    path,
    kind,
    specificationVersion,
    opsets: [...new Set(functions.map(({ opset }) => opset))].sort(),
    inputs,
    outputs: model.outputs.map((output) => ({ ...output, inProgram: typeInProgram(program, output.name) })),
    operations: countOperations(functions.flatMap(({ blocks }) => Object.values(blocks))),
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

/** The type of what the first function (`main`, where it has that name) gives under a name. */
function typeInProgram(program: Program | undefined, name: string): DescribedOutput["inProgram"] {
  const definition = program?.functions["main"] ?? Object.values(program?.functions ?? {})[0];
  const block = definition?.blocks[definition.opset];
  let type: ValueType | undefined;
  for (const { outputs } of block?.operations ?? [])
    type = outputs.find((output) => output.name === name)?.type ?? type;
  if (type?.kind !== "tensor") return undefined;
  return { element: type.element, dimensions: type.dimensions.map((size) => size ?? null) };
}
