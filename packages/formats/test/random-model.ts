import { fromHalf } from "../src/index.js";
import {
  type BlobElement,
  type BlobTensor,
  type Block,
  type CoreMlModel,
  type ElementType,
  type Feature,
  type MultiArrayType,
  type NamedType,
  type Operation,
  planBlobs,
  type TensorType,
  type Value,
} from "../src/mlpackage/index.js";

/** Numbers from 0 to 1 that a seed determines: mulberry32. */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A model that means nothing and uses every part of the form. */
export function randomModel(seed: number): {
  readonly model: CoreMlModel;
  readonly tensors: readonly BlobTensor[];
} {
  const random = randomSource(seed);
  const below = (end: number): number => Math.floor(random() * end);
  const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)] as Item;
  const many = <Item>(most: number, make: () => Item): Item[] =>
    Array.from({ length: below(most + 1) }, make);
  // Keys that objects treat on their own, and text that is no ASCII.
  const word = (): string =>
    pick(["a", "main", "__proto__", "constructor", "toString", "größe", "名前", "", "0", "x".repeat(200)]);
  const record = <Item>(most: number, make: () => Item): Record<string, Item> =>
    Object.fromEntries(many(most, () => [word(), make()] as const));

  const ranges: Readonly<Record<string, readonly [number, number]>> = {
    int8: [-128, 127],
    uint8: [0, 255],
    int16: [-(2 ** 15), 2 ** 15 - 1],
    uint16: [0, 2 ** 16 - 1],
    int32: [-(2 ** 31), 2 ** 31 - 1],
    uint32: [0, 2 ** 32 - 1],
    int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    uint64: [0, Number.MAX_SAFE_INTEGER],
  };
  const half = (): number => {
    const number = fromHalf(below(2 ** 16));
    return Number.isNaN(number) ? 0 : number;
  };
  const makers: Readonly<Record<string, () => number | boolean | string>> = {
    bool: () => random() < 0.5,
    string: word,
    fp16: half,
    fp32: () => Math.fround((random() - 0.5) * 10 ** (below(60) - 30)),
    fp64: () => (random() - 0.5) * 10 ** (below(400) - 200),
    ...Object.fromEntries(
      Object.entries(ranges).map(([element, [lowest, highest]]) => [
        element,
        () => pick([lowest, highest, 0, lowest + below(highest - lowest)]),
      ]),
    ),
  };
  const dimensions = (): number[] => many(3, () => below(4));
  const elementsIn = (sizes: readonly number[]): number => sizes.reduce((product, size) => product * size, 1);

  const immediate = (): Value => {
    const element = pick(Object.keys(makers)) as ElementType;
    const sizes = dimensions();
    const values = Array.from({ length: elementsIn(sizes) }, () => (makers[element] as () => never)());
    return { type: { kind: "tensor", element, dimensions: sizes }, content: { kind: "immediate", values } };
  };

  const tensors: BlobTensor[] = Array.from({ length: 1 + below(5) }, (_, index) => {
    const element = pick<BlobElement>([
      "fp16",
      "fp32",
      "int8",
      "uint8",
      "int16",
      "int32",
      "uint4",
      "uint1",
      "bf16",
    ]);
    const sizes = [1 + below(5), 1 + below(40)];
    const bits = {
      fp16: 16,
      fp32: 32,
      int8: 8,
      uint8: 8,
      int16: 16,
      int32: 32,
      uint4: 4,
      uint1: 1,
      bf16: 16,
    };
    const width = bits[element as keyof typeof bits];
    const bytes = Uint8Array.from({ length: Math.ceil((elementsIn(sizes) * width) / 8) }, () => below(256));
    return {
      name: `tensor ${index}`,
      element,
      dimensions: sizes,
      async *chunks() {
        yield bytes;
      },
    };
  });
  const plan = planBlobs(tensors);
  const stored = (tensor: BlobTensor): Value => ({
    type: { kind: "tensor", element: tensor.element, dimensions: tensor.dimensions },
    content: plan.values.get(tensor.name) as Value["content"],
  });
  const value = (): Value => (random() < 0.3 ? stored(pick(tensors)) : immediate());

  const type = (): TensorType => ({
    kind: "tensor",
    element: pick<ElementType>(["fp16", "int32", "bool", "unknown-99", "int4", "bf16"]),
    dimensions: many(4, () => (random() < 0.2 ? undefined : below(2 ** 40))),
  });
  const named = (): NamedType => ({ name: word(), type: type() });
  const operation = (depth: number): Operation => ({
    type: word(),
    inputs: record(3, () => many(3, () => (random() < 0.5 ? { name: word() } : { value: value() }))),
    outputs: many(2, named),
    blocks: depth > 3 ? [] : many(1, () => block(depth + 1)),
    attributes: record(2, value),
  });
  const block = (depth: number): Block => ({
    inputs: many(2, named),
    outputs: many(2, word),
    operations: many(6, () => operation(depth)),
    attributes: record(1, value),
  });
  const all: Block = {
    inputs: [],
    outputs: [],
    attributes: {},
    // Each tensor is named at least once.
    operations: tensors.map((tensor) => ({ ...operation(0), attributes: { val: stored(tensor) } })),
  };

  const flexibility = (): MultiArrayType["flexibility"] =>
    pick([
      { kind: "enumerated", shapes: many(3, dimensions) },
      {
        kind: "range",
        ranges: many(3, () => ({ lower: below(9), upper: random() < 0.5 ? undefined : below(99) })),
      },
    ] as const);
  const feature = (): Feature => {
    const element = pick<MultiArrayType["element"]>(["int32", "float16", "float32", "float64", "unknown-12"]);
    const plain = { kind: "multi-array", element, shape: dimensions() } as const;
    return {
      name: word(),
      description: word(),
      optional: random() < 0.5,
      type: random() < 0.5 ? plain : { ...plain, flexibility: flexibility() },
    };
  };
  const model: CoreMlModel = {
    specificationVersion: 1 + below(12),
    defaultFunction: pick(["main", "all", "größe", "__proto__"]),
    inputs: many(3, feature),
    outputs: many(3, feature),
    metadata: {
      shortDescription: word(),
      version: word(),
      author: word(),
      license: word(),
      userDefined: record(4, word),
    },
    kind: "mlProgram",
    program: {
      version: 1,
      functions: {
        ...record(2, () => ({
          inputs: many(2, named),
          opset: word(),
          blocks: record(2, () => block(1)),
          attributes: record(1, value),
        })),
        all: { inputs: [], opset: "CoreML8", blocks: { CoreML8: all }, attributes: {} },
      },
      attributes: record(2, value),
    },
  };
  return { model, tensors };
}
