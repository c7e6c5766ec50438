import type {
  Binding,
  ModelPackage,
  NamedType,
  Operation,
  TensorType,
  Value,
} from "@crossrank/formats/mlpackage";
import { type Attribute, domains, floatTensor, type Graph } from "@crossrank/formats/onnx";
import { type Carrier, carrierOf, int32Tensor, storedConstant } from "./constant.js";
import { UntranslatableProgramError } from "./errors.js";

/**
 * - `single`: float32 throughout, with the artifact's own weights.
 * - `half`: the same, and every value that the program declares as fp16 is rounded to half precision once it is
 *   computed. What is summed within one operation is summed in float32.
 */
export type Arithmetic = "single" | "half";

/** Element types by their number in `TensorProto.DataType` of onnx.proto, for Cast. */
export const castTo = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
} as const;

/** A value of the program: what is known of it, and its name in the graph once it has one. */
interface Known {
  readonly type: TensorType;
  readonly constant?: Value;
  /** Holds the carrier's type. */
  name?: string;
  /** As stored, where that is not the carrier: halves. */
  stored?: string;
}

/** The values of a program on their way into an ONNX graph. */
export class Translation {
  readonly graph: Graph;
  readonly arithmetic: Arithmetic;
  readonly #package: ModelPackage;
  readonly #known = new Map<string, Known>();
  #inPlace = 0;

  constructor(facts: { graph: Graph; package: ModelPackage; arithmetic: Arithmetic }) {
    this.graph = facts.graph;
    this.#package = facts.package;
    this.arithmetic = facts.arithmetic;
  }

  /** Of a value in the graph; MIL's own names have no `%`, so nothing that is added can meet them. */
  static nameOf(value: string): string {
    return `%${value}`;
  }

  defineConstant(value: string, type: TensorType, constant: Value): void {
    this.#known.set(value, { type, constant });
  }

  define(value: string, type: TensorType, name: string): void {
    this.#known.set(value, { type, name });
  }

  /** The binding's value as a known one; a value written in place becomes known by a name of its own. */
  resolve(binding: Binding): string | undefined {
    if ("name" in binding) return this.#known.has(binding.name) ? binding.name : undefined;
    const { type } = binding.value;
    if (type.kind !== "tensor") return undefined;
    this.#inPlace += 1;
    const name = `in-place/${this.#inPlace}`;
    this.defineConstant(name, type, binding.value);
    return name;
  }

  typeOf(value: string): TensorType {
    return this.#get(value).type;
  }

  constantOf(value: string): Value | undefined {
    return this.#get(value).constant;
  }

  /** Name of the value in the graph, as its carrier. */
  tensor(value: string): string {
    const known = this.#get(value);
    if (known.name !== undefined) return known.name;
    const stored = this.storedTensor(value);
    if (known.name !== undefined) return known.name;
    const to = castTo[carrierOf(known.type.element) as Carrier];
    known.name = this.graph.node("Cast", [stored], Translation.nameOf(value), {
      attributes: { to: { integer: to } },
    });
    return known.name;
  }

  /** Whether the file holds it in half precision: a weight of the blob file. */
  isStoredAsHalves(value: string): boolean {
    const { type, constant } = this.#get(value);
    return type.element === "fp16" && constant?.content.kind === "blob";
  }

  /** Name of the value as it is stored: of a constant in halves, the halves. */
  storedTensor(value: string): string {
    const known = this.#get(value);
    if (known.stored !== undefined) return known.stored;
    if (known.name !== undefined) return known.name;
    const name = `${Translation.nameOf(value)}/stored`;
    const constant = storedConstant(this.#package, name, known.type, known.constant as Value);
    if (constant === undefined) {
      const problem = `it is a constant of type ${known.type.element}, or of no fixed shape`;
      throw new UntranslatableProgramError({ operation: "const", value, problem });
    }
    known.stored = this.graph.tensor(constant.tensor);
    if (constant.isCarrier) known.name = known.stored;
    return known.stored;
  }

  #get(value: string): Known {
    const known = this.#known.get(value);
    if (known === undefined) throw new Error(`no value "${value}"`);
    return known;
  }
}

/** One operation being translated: its arguments, and what it makes. Arguments that nothing asked for are an error. */
export class Call {
  readonly graph: Graph;
  readonly arithmetic: Arithmetic;
  readonly type: string;
  readonly outputs: readonly (NamedType & { readonly type: TensorType })[];
  readonly #translation: Translation;
  readonly #operation: Operation;
  readonly #read = new Set<string>();
  #made = 0;

  constructor(translation: Translation, operation: Operation) {
    this.#translation = translation;
    this.#operation = operation;
    this.graph = translation.graph;
    this.arithmetic = translation.arithmetic;
    this.type = operation.type;
    this.outputs = operation.outputs.map(({ name, type }) => {
      if (type.kind === "tensor") return { name, type };
      throw this.refusal(`it makes a ${type.as}, not a tensor`);
    });
  }

  get output(): NamedType & { readonly type: TensorType } {
    const [output, ...others] = this.outputs;
    if (output === undefined || others.length > 0)
      throw this.refusal(`it has ${this.outputs.length} outputs`);
    return output;
  }

  refusal(problem: string): UntranslatableProgramError {
    const value = this.#operation.outputs[0]?.name ?? "";
    return new UntranslatableProgramError({ operation: this.#operation.type, value, problem });
  }

  has(argument: string): boolean {
    return (this.#operation.inputs[argument]?.length ?? 0) > 0;
  }

  /** For what has no effect on numbers. */
  ignore(argument: string): void {
    this.#read.add(argument);
  }

  /** Name in the graph. */
  tensor(argument: string): string {
    return this.#translation.tensor(this.#value(argument));
  }

  optionalTensor(argument: string): string | undefined {
    return this.has(argument) ? this.tensor(argument) : undefined;
  }

  /** Name in the graph of what may be halves; see {@link Translation.storedTensor}. */
  storedTensor(argument: string): string {
    return this.#translation.storedTensor(this.#value(argument));
  }

  isStoredAsHalves(argument: string): boolean {
    return this.#translation.isStoredAsHalves(this.#value(argument));
  }

  tensors(argument: string): readonly string[] {
    return this.#values(argument).map((value) => this.#translation.tensor(value));
  }

  typeOf(argument: string): TensorType {
    return this.#translation.typeOf(this.#value(argument));
  }

  rankOf(argument: string): number {
    return this.typeOf(argument).dimensions.length;
  }

  isConstant(argument: string): boolean {
    return this.#translation.constantOf(this.#value(argument)) !== undefined;
  }

  numbers(argument: string, otherwise?: readonly number[]): readonly number[] {
    return this.#immediate(argument, otherwise, (value) => typeof value === "number");
  }

  number(argument: string, otherwise?: number): number {
    return this.#one(argument, this.numbers(argument, otherwise === undefined ? undefined : [otherwise]));
  }

  booleans(argument: string, otherwise?: readonly boolean[]): readonly boolean[] {
    return this.#immediate(argument, otherwise, (value) => typeof value === "boolean");
  }

  boolean(argument: string, otherwise?: boolean): boolean {
    return this.#one(argument, this.booleans(argument, otherwise === undefined ? undefined : [otherwise]));
  }

  text(argument: string, otherwise?: string): string {
    const values = otherwise === undefined ? undefined : [otherwise];
    return this.#one(
      argument,
      this.#immediate(argument, values, (value) => typeof value === "string"),
    );
  }

  /** Refuses every value of a parameter but one. */
  require(argument: string, only: boolean | number): void {
    const found = typeof only === "boolean" ? this.boolean(argument, only) : this.number(argument, only);
    if (found !== only) throw this.refusal(`${argument} = ${found} is not covered`);
  }

  /** A place counted from the end (negative) or the start, from the start. */
  axis(place: number, rank: number): number {
    const axis = place < 0 ? place + rank : place;
    if (Number.isInteger(axis) && axis >= 0 && axis < rank) return axis;
    throw this.refusal(`there is no axis ${place} among ${rank}`);
  }

  /** A vector for shapes and bounds: int64, as ONNX's operators want it. */
  int64(argument: string): string {
    if (this.isConstant(argument)) return this.graph.integers(this.numbers(argument));
    return this.cast(this.tensor(argument), "int64");
  }

  cast(x: string, type: keyof typeof castTo): string {
    return this.node("Cast", [x], { to: { integer: castTo[type] } });
  }

  float(value: number): string {
    return this.graph.tensor(floatTensor(`float.${value}`, [value], []));
  }

  int32(value: number): string {
    return this.graph.tensor(int32Tensor(`int32.${value}`, [value], []));
  }

  /** An intermediate value. */
  node(
    kind: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain: keyof typeof domains = "onnx",
  ): string {
    this.#made += 1;
    const name = `${Translation.nameOf(this.#operation.outputs[0]?.name ?? "")}/${this.#made}`;
    return this.graph.node(kind, inputs, name, { attributes, domain: domains[domain] });
  }

  /** Makes what the operation gives known, under names of its own. */
  finish(results: readonly string[]): void {
    const unread = Object.keys(this.#operation.inputs).filter((argument) => !this.#read.has(argument));
    if (unread.length > 0) throw this.refusal(`its argument ${unread.join(", ")} is not covered`);
    if (results.length !== this.outputs.length) {
      throw this.refusal(`it has ${this.outputs.length} outputs instead of ${results.length}`);
    }
    for (const [index, { name, type }] of this.outputs.entries()) {
      this.#translation.define(name, type, results[index] as string);
    }
  }

  #value(argument: string): string {
    const [value, ...others] = this.#values(argument);
    if (value === undefined || others.length > 0) {
      throw this.refusal(`its argument ${argument} has ${others.length + 1} values instead of one`);
    }
    return value;
  }

  #values(argument: string): readonly string[] {
    this.#read.add(argument);
    const bindings = this.#operation.inputs[argument] ?? [];
    if (bindings.length === 0) throw this.refusal(`it has no argument ${argument}`);
    return bindings.map((binding) => {
      const value = this.#translation.resolve(binding);
      if (value !== undefined) return value;
      const what = "name" in binding ? `"${binding.name}", which is not made before it` : "no tensor";
      throw this.refusal(`its argument ${argument} is ${what}`);
    });
  }

  #immediate<Type>(
    argument: string,
    otherwise: readonly Type[] | undefined,
    isWanted: (value: unknown) => boolean,
  ): readonly Type[] {
    if (otherwise !== undefined && !this.has(argument)) return otherwise;
    const constant = this.#translation.constantOf(this.#value(argument));
    const values: readonly unknown[] | undefined =
      constant?.content.kind === "immediate" ? constant.content.values : undefined;
    if (values?.every(isWanted) === true) return values as readonly Type[];
    throw this.refusal(`its argument ${argument} is not a constant of the kind that is covered`);
  }

  #one<Type>(argument: string, values: readonly Type[]): Type {
    const [value] = values;
    if (value !== undefined && values.length === 1) return value;
    throw this.refusal(`its argument ${argument} has ${values.length} values instead of one`);
  }
}
