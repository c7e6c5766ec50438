import { type Deed, type MakerOf, OutputTrace as Trace } from "@crossrank/backend-kit";
import {
  type Binding,
  bodyOf,
  type CoreMlModel,
  defaultFunctionOf,
  type Operation,
} from "@crossrank/formats/mlpackage";

const deeds: ReadonlyMap<string, Deed> = new Map(
  Object.entries({
    sigmoid: ["sigmoid"],
    "hard sigmoid": ["sigmoid_hard"],
    softmax: ["softmax"],
    softplus: ["softplus"],
    tanh: ["tanh"],
    reshape: ["identity", "cast", "squeeze", "expand_dims", "reshape", "transpose"],
    choose: [
      "slice_by_index",
      "slice_by_size",
      "gather",
      "gather_along_axis",
      "gather_nd",
      "split",
      "clip",
      "quantize",
      "dequantize",
    ],
    largest: ["reduce_max"],
    merge: ["concat", "select", "maximum", "minimum"],
    add: ["add"],
    subtract: ["sub"],
    multiply: ["mul"],
    divide: ["real_div"],
    reciprocal: ["inverse"],
    exponential: ["exp"],
    logarithm: ["log"],
    sum: ["reduce_sum"],
    "log-sum-exp": ["reduce_log_sum_exp"],
    constant: ["const"],
  } satisfies Partial<Record<Deed, readonly string[]>>).flatMap(([deed, types]) =>
    types.map((type) => [type, deed as Deed]),
  ),
);

/** How an output of a package comes from its operations, read backwards. */
export class OutputTrace extends Trace {
  constructor(model: CoreMlModel) {
    super(makerOf(model));
  }
}

function makerOf(model: CoreMlModel): MakerOf {
  const definition = defaultFunctionOf(model);
  const body = definition === undefined ? undefined : bodyOf(definition);
  const makers = new Map(
    (body?.operations ?? []).flatMap((operation) =>
      operation.outputs.map(({ name }) => [name, operation] as const),
    ),
  );
  return (value) => {
    const operation = makers.get(value);
    if (operation === undefined) return undefined;
    const does = deedOf(operation.type);
    return { does, operands: operandsOf(operation, does) };
  };
}

function deedOf(type: string): Deed {
  return type.startsWith("constexpr_") ? "constant" : (deeds.get(type) ?? "other");
}

function operandsOf(operation: Operation, does: Deed): readonly string[] {
  if (does === "merge") return ["values", "x", "y", "a", "b"].flatMap((name) => namesOf(operation, name));
  return ["x", "y"].map((name) => namesOf(operation, name)[0] ?? "");
}

/** Of what an argument is bound to; a value that is written in place has none. */
function namesOf({ inputs }: Operation, argument: string): readonly string[] {
  const bindings: readonly Binding[] = Object.hasOwn(inputs, argument) ? (inputs[argument] ?? []) : [];
  return bindings.flatMap((binding) => ("name" in binding ? [binding.name] : []));
}
