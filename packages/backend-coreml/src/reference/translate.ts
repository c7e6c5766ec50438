import {
  type Block,
  defaultFunctionOf,
  type FunctionDefinition,
  type ModelPackage,
  type Operation,
} from "@crossrank/formats/mlpackage";
import { Graph } from "@crossrank/formats/onnx";
import { carrierOf, withParametersInPlace } from "./constant.js";
import { elementwise } from "./elementwise.js";
import { UntranslatableProgramError } from "./errors.js";
import { layout } from "./layout.js";
import { products } from "./products.js";
import type { Rules } from "./rule.js";
import { type Arithmetic, Call, Translation } from "./translation.js";

const rules: Rules = { ...elementwise, ...layout, ...products };

/** Types of operations that the reference execution knows, in alphabetical order. */
export const translatedOperations: readonly string[] = ["const", ...Object.keys(rules)].sort();

/** What a program is translated for. */
export interface TranslationRequest {
  /** Name of the output that is wanted; float32 of two dimensions. */
  readonly output: string;
  readonly arithmetic: Arithmetic;
}

/** The name under which every translated output stands in the graph; backend-onnx reads it as raw numbers of each row. */
export const graphOutput = "logits";

/**
 * The default function of an ML Program as an ONNX graph. Inputs keep their names and are int32 (rows, columns), whether the program has them
 * so or as (rows, 1, 1, columns); a dimension that the program leaves open is free.
 *
 * @param model of a package whose inputs and output were checked.
 * @throws {UntranslatableProgramError} for whatever is not covered, by name.
 */
export async function translate(
  model: ModelPackage,
  { output, arithmetic }: TranslationRequest,
): Promise<Graph> {
  const definition = functionOf(model);
  const block = definition.blocks[definition.opset];
  if (block === undefined) {
    throw new UntranslatableProgramError({ problem: `its function has no body for ${definition.opset}` });
  }
  const graph = new Graph();
  const translation = new Translation({ graph, package: model, arithmetic });
  defineInputs(definition, translation);
  for (const operation of block.operations) await translateOperation(model, translation, operation);
  defineOutput(block, translation, output);
  return graph;
}

function functionOf({ model }: ModelPackage): FunctionDefinition {
  const definition = defaultFunctionOf(model);
  if (definition !== undefined) return definition;
  const { program, kind, defaultFunction = "main" } = model;
  const problem =
    program === undefined
      ? `the model is a ${kind}, not an ML Program`
      : `it has no function "${defaultFunction}", only ${Object.keys(program.functions).join(", ")}`;
  throw new UntranslatableProgramError({ problem });
}

function defineInputs({ inputs }: FunctionDefinition, translation: Translation): void {
  const { graph } = translation;
  for (const { name, type } of inputs) {
    const rank = type.kind === "tensor" ? type.dimensions.length : 0;
    if (type.kind !== "tensor" || type.element !== "int32" || (rank !== 2 && rank !== 4)) {
      throw new UntranslatableProgramError({
        problem: `its input "${name}" is not int32 of 2 or 4 dimensions`,
      });
    }
    const [rows = "rows"] = type.dimensions;
    const columns = type.dimensions.at(-1) ?? "columns";
    graph.inputs.push({ name, type: "int32", shape: [rows, columns] });
    const inner = Translation.nameOf(name);
    if (rank === 4) graph.node("Unsqueeze", [name, graph.integers([1, 2])], inner);
    else graph.node("Identity", [name], inner);
    translation.define(name, type, inner);
  }
}

async function translateOperation(
  model: ModelPackage,
  translation: Translation,
  operation: Operation,
): Promise<void> {
  const { type, attributes, outputs, blocks } = operation;
  const call = new Call(translation, operation);
  const [first] = call.outputs;
  if (type === "const") {
    const constant = attributes["val"];
    if (constant === undefined || first === undefined) throw call.refusal("it has no value");
    translation.defineConstant(first.name, first.type, await withParametersInPlace(model, constant));
    return;
  }
  const rule = Object.hasOwn(rules, type) ? rules[type] : undefined;
  if (rule === undefined) throw unknown(type, outputs[0]?.name ?? "");
  if (blocks.length > 0) throw call.refusal("blocks within it are not covered");
  const strange = call.outputs.find((output) => carrierOf(output.type.element) === undefined);
  if (strange !== undefined) throw call.refusal(`computing in ${strange.type.element} is not covered`);
  const result = rule.translate(call);
  const results = typeof result === "string" ? [result] : result;
  call.finish(
    results.map((name, index) => {
      const isHalf = call.outputs[index]?.type.element === "fp16";
      return rule.rounds && isHalf && translation.arithmetic === "half" ? rounded(call, name) : name;
    }),
  );
}

/** To the nearest half and back. A number beyond the halves becomes an infinity, as it does where half is computed in. */
function rounded(call: Call, name: string): string {
  return call.cast(call.cast(name, "float16"), "float32");
}

function unknown(type: string, value: string): UntranslatableProgramError {
  const isCompressed = type.startsWith("constexpr_");
  return new UntranslatableProgramError({
    operation: type,
    value,
    problem: isCompressed
      ? "compressed weights are not covered"
      : "there is no translation of this operation",
    ...(isCompressed ? { fix: "Convert the model without compressing its weights" } : {}),
  });
}

function defineOutput({ outputs }: Block, translation: Translation, output: string): void {
  const { graph } = translation;
  const type = outputs.includes(output) ? translation.typeOf(output) : undefined;
  if (type === undefined) {
    throw new UntranslatableProgramError({
      problem: `it has no output "${output}", only ${outputs.join(", ")}`,
    });
  }
  if (type.element !== "fp32" || type.dimensions.length !== 2) {
    throw new UntranslatableProgramError({
      problem: `its output "${output}" is ${type.element} of ${type.dimensions.length} dimensions, not fp32 of 2`,
    });
  }
  const [rows = "rows", numbers = "numbers"] = type.dimensions;
  graph.node("Identity", [translation.tensor(output)], graphOutput);
  graph.outputs.push({ name: graphOutput, type: "float32", shape: [rows, numbers] });
}
