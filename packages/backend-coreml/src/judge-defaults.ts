import type { Problem } from "@crossrank/backend-kit";
import {
  type Block,
  bodyOf,
  type CoreMlModel,
  defaultFunctionOf,
  type Operation,
} from "@crossrank/formats/mlpackage";

const epsilonNames = ["layer_norm_eps", "norm_eps", "rms_norm_eps", "layer_norm_epsilon"];
const tanhApproximations = ["gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh"];

/** Smaller ones than this change nothing: a variance is larger. */
const negligible = 1e-6;

/**
 * Holds what Core ML takes for an argument that an operation leaves out (MIL's own defaults, as coremltools documents
 * them) against the model's config.json.
 *
 * @param config the parsed config.json; undefined where there is none.
 * @returns what is wrong; undefined where nothing is.
 */
export function judgeDefaults(model: CoreMlModel, config: unknown): Problem | undefined {
  const definition = defaultFunctionOf(model);
  const body = definition === undefined ? undefined : bodyOf(definition);
  if (body === undefined) return undefined;
  const operations = operationsOf(body);
  const makers = new Map(
    operations.flatMap((operation) => operation.outputs.map(({ name }) => [name, operation] as const)),
  );
  for (const operation of operations) {
    const problem = problemOf(operation, makers, config);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function problemOf(
  operation: Operation,
  makers: ReadonlyMap<string, Operation>,
  config: unknown,
): Problem | undefined {
  switch (operation.type) {
    case "layer_norm":
      return epsilonProblem(operation, 1e-5, config);
    case "rsqrt":
      // Of a mean of squares, to which nothing was added.
      return makerOf(operation, "x", makers)?.type === "reduce_mean"
        ? epsilonProblem(operation, 1e-12, config)
        : undefined;
    case "gelu": {
      const activation = valueIn(config, ["hidden_activation", "hidden_act"], "string");
      if (Object.hasOwn(operation.inputs, "mode") || !tanhApproximations.includes(activation ?? ""))
        return undefined;
      return left(operation, "mode", '"EXACT"', `config.json has ${activation}`);
    }
    default:
      return undefined;
  }
}

function epsilonProblem(operation: Operation, assumed: number, config: unknown): Problem | undefined {
  const wanted = valueIn(config, epsilonNames, "number");
  if (wanted === undefined || Object.hasOwn(operation.inputs, "epsilon")) return undefined;
  if (Math.abs(assumed - wanted) <= 1e-6 * wanted || (assumed < negligible && wanted < negligible))
    return undefined;
  return left(operation, "epsilon", assumed, `config.json has ${wanted}`);
}

function makerOf(
  { inputs }: Operation,
  argument: string,
  makers: ReadonlyMap<string, Operation>,
): Operation | undefined {
  const [binding] = Object.hasOwn(inputs, argument) ? (inputs[argument] ?? []) : [];
  return binding !== undefined && "name" in binding ? makers.get(binding.name) : undefined;
}

/** Also those within other operations. */
function operationsOf({ operations }: Block): Operation[] {
  return operations.flatMap((operation) => [operation, ...operation.blocks.flatMap(operationsOf)]);
}

function left(
  { type, outputs }: Operation,
  argument: string,
  assumed: number | string,
  wanted: string,
): Problem {
  const name = (outputs[0]?.name ?? "").slice(0, 80);
  return {
    problem: `its ${type} ${JSON.stringify(name)} has no ${argument}, for which Core ML takes ${assumed}, and ${wanted}`,
    fix: "Convert the model again from its weights with `crossrank convert --to mlpackage`, or with a converter that writes it",
  };
}

function valueIn(config: unknown, names: readonly string[], type: "number"): number | undefined;
function valueIn(config: unknown, names: readonly string[], type: "string"): string | undefined;
function valueIn(config: unknown, names: readonly string[], type: string): unknown {
  if (typeof config !== "object" || config === null) return undefined;
  return names.map((name): unknown => Reflect.get(config, name)).find((value) => typeof value === type);
}
