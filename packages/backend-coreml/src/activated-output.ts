import {
  type Binding,
  bodyOf,
  type CoreMlModel,
  defaultFunctionOf,
  type Operation,
} from "@crossrank/formats/mlpackage";
import type { Activated } from "@crossrank/formats/onnx";

const activations: Readonly<Record<string, Activated["by"]>> = {
  sigmoid: "sigmoid",
  sigmoid_hard: "hard sigmoid",
  softmax: "softmax",
  tanh: "tanh",
};

/** What gives the numbers of `x` as they are, in another form. */
const reshaping = ["identity", "cast", "squeeze", "expand_dims", "reshape", "transpose"];
/** What gives some of them, or nearly them. */
const choosing = [
  "slice_by_index",
  "slice_by_size",
  "gather",
  "gather_along_axis",
  "gather_nd",
  "split",
  "reduce_max",
  "clip",
  "quantize",
  "dequantize",
];
const scaling = ["mul", "real_div", "add", "sub"];
const merging = ["concat", "select", "maximum", "minimum"];

/** Values that are followed for one output. */
const mostValues = 256;

/** How an output of a package comes from its operations, read backwards. */
export class OutputTrace {
  readonly #makers: ReadonlyMap<string, Operation>;

  constructor(model: CoreMlModel) {
    const definition = defaultFunctionOf(model);
    const body = definition === undefined ? undefined : bodyOf(definition);
    this.#makers = new Map(
      (body?.operations ?? []).flatMap((operation) =>
        operation.outputs.map(({ name }) => [name, operation] as const),
      ),
    );
  }

  /** @returns undefined where the output is made by another operation than one of logits. */
  activationOf(output: string): Activated | undefined {
    const seen = new Set<string>();
    const open = [{ value: output, scaled: false, log: false }];
    while (open.length > 0 && seen.size < mostValues) {
      const { value, scaled, log } = open.pop() as (typeof open)[number];
      const maker = this.#makers.get(value);
      if (seen.has(value) || maker === undefined) continue;
      seen.add(value);
      const { type } = maker;
      const [first = ""] = namesOf(maker, "x");
      const by = this.#activationBy(maker);
      if (by !== undefined) {
        // Logits that are capped are tanh(logits / cap) · cap, and are logits.
        if (by.by === "tanh" && scaled) continue;
        return { ...by, by: log && by.by === "softmax" ? "log-softmax" : by.by, scaled };
      }
      if (reshaping.includes(type) || choosing.includes(type)) open.push({ value: first, scaled, log });
      else if (type === "log") open.push({ value: first, scaled, log: true });
      else if (merging.includes(type)) {
        const inputs = ["values", "x", "y", "a", "b"].flatMap((argument) => namesOf(maker, argument));
        open.push(...inputs.map((input) => ({ value: input, scaled, log })));
      } else if (scaling.includes(type)) {
        const inputs = ["x", "y"].flatMap((argument) => namesOf(maker, argument));
        const computed = inputs.filter((input) => this.#isComputed(input));
        if (computed.length === 1) open.push({ value: computed[0] as string, scaled: true, log });
      }
    }
    return undefined;
  }

  /** The value whose numbers these are, whatever their form. */
  originOf(value: string): string {
    let origin = value;
    for (let steps = 0; steps < mostValues; steps += 1) {
      const maker = this.#makers.get(origin);
      if (maker === undefined || !reshaping.includes(maker.type)) break;
      origin = namesOf(maker, "x")[0] ?? "";
    }
    return origin;
  }

  #activationBy(operation: Operation): Pick<Activated, "by" | "logits"> | undefined {
    const { type } = operation;
    const by = Object.hasOwn(activations, type) ? activations[type] : undefined;
    if (by !== undefined) return { by, logits: namesOf(operation, "x")[0] ?? "" };
    // Written out: 1 / (1 + exp(-x)) and exp(x) / Σ exp(x).
    const below = type === "inverse" ? "x" : type === "real_div" ? "y" : undefined;
    const sum = below === undefined ? undefined : this.#maker(operation, below);
    if (sum === undefined || (sum.type !== "add" && sum.type !== "reduce_sum")) return undefined;
    const power = ["x", "y"].map((argument) => this.#maker(sum, argument)).find((one) => one?.type === "exp");
    if (power === undefined) return undefined;
    return {
      by: sum.type === "add" ? "sigmoid" : "softmax",
      logits: namesOf(power, "x")[0] ?? "",
    };
  }

  #maker(operation: Operation, argument: string): Operation | undefined {
    const [name] = namesOf(operation, argument);
    return name === undefined ? undefined : this.#makers.get(this.originOf(name));
  }

  #isComputed(value: string): boolean {
    const maker = this.#makers.get(this.originOf(value));
    return maker !== undefined && maker.type !== "const" && !maker.type.startsWith("constexpr_");
  }
}

/** Of what an argument is bound to; a value that is written in place has none. */
function namesOf({ inputs }: Operation, argument: string): readonly string[] {
  const bindings: readonly Binding[] = Object.hasOwn(inputs, argument) ? (inputs[argument] ?? []) : [];
  return bindings.flatMap((binding) => ("name" in binding ? [binding.name] : []));
}
