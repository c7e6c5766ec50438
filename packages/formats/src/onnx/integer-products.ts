import type { GraphSummary, GraphTensorFacts, TensorPlace } from "./read-graph.js";
import type { AttributedNode, GraphNodes } from "./read-nodes.js";

/** A signed weight of 8 bits that is multiplied by unsigned bytes, as ONNX Runtime computes the graph. */
export interface SignedProduct {
  readonly operator: string;
  /** The weight's name. */
  readonly tensor: string;
  /** Undefined where its numbers are not found. */
  readonly place: TensorPlace | undefined;
  /** Matrices of the weight, one behind the other. */
  readonly matrices: number;
  /** Numbers that are added up. */
  readonly depth: number;
  /** From one of them to the next. */
  readonly stride: number;
  /** Whether a kernel may pair them otherwise than 2k with 2k + 1. */
  readonly isLoose: boolean;
}

const microsoft = "com.microsoft.";

/** Where operators of integers have their weight, what it is multiplied by, and that one's zero point. */
const products: Readonly<Record<string, readonly Inputs[]>> = {
  MatMulInteger: [{ weight: 1, other: 0, zero: 2 }],
  MatMulIntegerToFloat: [{ weight: 1, other: 0, zero: 4 }],
  // They quantise their input themselves, to unsigned bytes.
  DynamicQuantizeMatMul: [{ weight: 1 }],
  DynamicQuantizeLSTM: [{ weight: 1 }, { weight: 2 }],
  QAttention: [{ weight: 1, other: 0, zero: 6 }],
  QLinearMatMul: [{ weight: 3, other: 0, zero: 2 }],
  QGemm: [{ weight: 3, other: 0, zero: 2 }],
  QLinearConv: [{ weight: 3, other: 0, zero: 2 }],
};

interface Inputs {
  readonly weight: number;
  readonly other?: number;
  readonly zero?: number;
}

/** Operators of floats that become such of integers where what they read was integers before. */
const fused = ["MatMul", "Gemm", "Conv"];

/** What hands numbers on as they are. */
const passing = [
  "Transpose",
  "Reshape",
  "Identity",
  "Squeeze",
  "Unsqueeze",
  "Flatten",
  "Slice",
  "Gather",
  "Split",
];
const mostSteps = 16;

/**
 * The weights of a graph whose products with unsigned bytes ONNX Runtime adds up by pairs. On x64 without VNNI that is
 * done in 16 bits that saturate: vpmaddubsw, in mlas/lib/amd64's QgemmU8S8KernelAvx2.asm, QgemvU8S8KernelAvx2.asm,
 * QgemmU8S8KernelAvx512Core.asm and ConvSymKernelAvx2.asm. Unsigned weights, and signed activations that no
 * QuantizeLinear and DequantizeLinear surround, have kernels of 32 bits (MlasGemmQuantGetDispatch); so have ConvInteger,
 * whose weights come first, and weights in blocks.
 */
export function signedProducts(
  { nodes }: Pick<GraphNodes, "nodes">,
  { tensors }: Pick<GraphSummary, "tensors">,
): readonly SignedProduct[] {
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  const found = new Map<string, SignedProduct>();
  for (const node of nodes) {
    const operator = node.operator.replace(microsoft, "");
    const inputs = Object.hasOwn(products, operator) ? (products[operator] ?? []) : [];
    for (const { weight, other, zero } of inputs) {
      const name = node.inputs[weight] ?? "";
      const facts = tensors.get(name);
      if (facts?.type !== "int8") continue;
      const isSigned =
        tensors.get(node.inputs[zero ?? -1] ?? "")?.type === "int8" ||
        madeSigned(node.inputs[other ?? -1] ?? "", makers, tensors);
      if (!isSigned) keep(found, { node, operator, name, facts, turns: 0 });
    }
    if (fused.includes(operator)) {
      const source = dequantised(node.inputs[1] ?? "", makers);
      const facts = tensors.get(source?.name ?? "");
      // Weights alone are turned back into floats before anything is multiplied.
      const other = dequantised(node.inputs[0] ?? "", makers);
      if (source === undefined || facts?.type !== "int8" || other === undefined || tensors.has(other.name))
        continue;
      keep(found, { node, operator, name: source.name, facts, turns: source.turns });
    }
  }
  return [...found.values()];
}

type Makers = ReadonlyMap<string, AttributedNode>;

/** Whether the bytes are signed, as far as the graph says. */
function madeSigned(value: string, makers: Makers, tensors: GraphSummary["tensors"]): boolean {
  const maker = follow(value, makers)?.node;
  return (
    maker?.operator.replace(microsoft, "") === "QuantizeLinear" &&
    tensors.get(maker.inputs[2] ?? "")?.type === "int8"
  );
}

/** The integers that a value of floats was made of; undefined where it was not. */
function dequantised(
  value: string,
  makers: Makers,
): { readonly name: string; readonly turns: number } | undefined {
  const made = follow(value, makers);
  if (made?.node.operator.replace(microsoft, "") !== "DequantizeLinear") return undefined;
  return { name: made.node.inputs[0] ?? "", turns: made.turns };
}

/** What made a value, behind operators that hand it on, and how often it was transposed. */
function follow(
  value: string,
  makers: Makers,
): { readonly node: AttributedNode; readonly turns: number } | undefined {
  let node = makers.get(value);
  let turns = 0;
  for (
    let steps = 0;
    steps < mostSteps && node !== undefined && passing.includes(node.operator);
    steps += 1
  ) {
    if (node.operator === "Transpose") turns += 1;
    node = makers.get(node.inputs[0] ?? "");
  }
  return node === undefined ? undefined : { node, turns };
}

function keep(
  found: Map<string, SignedProduct>,
  {
    node,
    operator,
    name,
    facts,
    turns,
  }: {
    readonly node: AttributedNode;
    readonly operator: string;
    readonly name: string;
    readonly facts: GraphTensorFacts;
    readonly turns: number;
  },
): void {
  const { dimensions, place } = facts;
  const isTransposed = (turns + Number(node.attributes.get("transB") === 1)) % 2 === 1;
  const layout = operator.includes("Conv") ? ofFilters(dimensions) : ofMatrix(dimensions, isTransposed);
  found.set(`${name}\0${layout.stride}`, { operator: node.operator, tensor: name, place, ...layout });
}

type Layout = Pick<SignedProduct, "matrices" | "depth" | "stride" | "isLoose">;

/** (…, depth, columns); the other way round where it is transposed. */
function ofMatrix(dimensions: readonly number[], isTransposed: boolean): Layout {
  const columns = dimensions.length < 2 ? 1 : (dimensions.at(-1) as number);
  const rows = dimensions.at(dimensions.length < 2 ? -1 : -2) ?? 1;
  const before = productOf(dimensions.slice(0, -2));
  return isTransposed
    ? { matrices: before * rows, depth: columns, stride: 1, isLoose: false }
    : { matrices: before, depth: rows, stride: columns, isLoose: false };
}

/** (filters, channels, places…): the channels of a place lie beside each other in MLAS, and behind them those of the next. */
function ofFilters([filters = 1, channels = 1, ...places]: readonly number[]): Layout {
  return { matrices: filters, depth: channels, stride: productOf(places), isLoose: channels % 2 === 1 };
}

function productOf(sizes: readonly number[]): number {
  return sizes.reduce((product, size) => product * size, 1);
}

/** What was found of {@link SignedProduct}s. */
export interface Overflow {
  /** The first whose pairs can overflow; undefined where none was found. */
  readonly found: SignedProduct | undefined;
  /** Whether all of their numbers were read, up to the one that was found. */
  readonly isWhole: boolean;
}

/** 255 · 128 is within 16 bits, and 255 · 129 is not. */
const mostTogether = 128;
/** Of a number whose neighbour is not known. */
const mostAlone = 64;
const windowBytes = 1 << 20;
const mostProducts = 1 << 14;

/**
 * Looks for two weights whose sums can overflow: those that are multiplied by a pair of bytes are 2k and 2k + 1 of the
 * numbers that are added up.
 *
 * @param read bytes of the .onnx, or of the file that the graph calls `location`.
 * @param most bytes to read at most, of all products together.
 */
export async function findOverflow(
  all: readonly SignedProduct[],
  read: (location: string | undefined, start: number, end: number) => Promise<Uint8Array>,
  most: number,
): Promise<Overflow> {
  let left = most;
  let isWhole = all.length <= mostProducts;
  for (const product of all.slice(0, mostProducts)) {
    const { place, matrices, depth, stride, isLoose } = product;
    const length = matrices * depth * stride;
    if (length === 0 || (depth < 2 && !isLoose)) continue;
    if (place === undefined || place.end - place.start < length || stride > windowBytes) {
      isWhole = false;
      continue;
    }
    for (const { at, ...part } of windowsOf(product)) {
      const size = part.matrices * part.depth * stride;
      left -= size;
      if (left < 0) return { found: undefined, isWhole: false };
      const start = place.start + at;
      const bytes = await read(place.location, start, start + size);
      if (bytes.length < size) return { found: undefined, isWhole: false };
      const numbers = new Int8Array(bytes.buffer, bytes.byteOffset, size);
      if (isLoose ? hasLarge(numbers) : hasOverflow(numbers, { ...part, stride })) {
        return { found: product, isWhole };
      }
    }
  }
  return { found: undefined, isWhole };
}

interface Part {
  /** Bytes from the weight's beginning. */
  readonly at: number;
  readonly matrices: number;
  readonly depth: number;
}

/** A weight in parts that begin with a pair: whole matrices, or rows of one. */
function* windowsOf({ matrices, depth, stride }: Layout): Generator<Part> {
  const matrix = depth * stride;
  if (matrix <= windowBytes) {
    const many = Math.floor(windowBytes / matrix);
    for (let first = 0; first < matrices; first += many) {
      yield { at: first * matrix, matrices: Math.min(many, matrices - first), depth };
    }
    return;
  }
  const rows = 2 * Math.max(1, Math.floor(windowBytes / (2 * stride)));
  for (let first = 0; first < matrices; first += 1) {
    for (let row = 0; row < depth; row += rows) {
      yield { at: first * matrix + row * stride, matrices: 1, depth: Math.min(rows, depth - row) };
    }
  }
}

function hasOverflow(
  numbers: Int8Array,
  { matrices, depth, stride }: Omit<Part, "at"> & { readonly stride: number },
): boolean {
  for (let first = 0; first < matrices; first += 1) {
    // The last of an odd number has no neighbour.
    for (let row = 0; row + 1 < depth; row += 2) {
      const start = (first * depth + row) * stride;
      const end = start + stride;
      for (let at = start; at < end; at += 1) {
        // Of different signs they are less than either of them.
        const sum = (numbers[at] as number) + (numbers[at + stride] as number);
        if (sum > mostTogether || sum < -mostTogether) return true;
      }
    }
  }
  return false;
}

function hasLarge(numbers: Int8Array): boolean {
  return numbers.some((number) => number > mostAlone || number < -mostAlone);
}
