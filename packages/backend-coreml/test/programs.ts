import type {
  CoreMlModel,
  ElementType,
  Feature,
  FunctionDefinition,
  Operation,
  TensorType,
  Value,
} from "@crossrank/formats/mlpackage";

export type Immediate = readonly number[] | readonly boolean[] | readonly string[];

export function tensorType(element: ElementType, dimensions: readonly (number | undefined)[]): TensorType {
  return { kind: "tensor", element, dimensions };
}

export function constant(
  name: string,
  element: ElementType,
  values: Immediate,
  dimensions: readonly number[] = [],
): Operation {
  const type = tensorType(element, dimensions);
  const val: Value = { type, content: { kind: "immediate", values } };
  return { type: "const", inputs: {}, outputs: [{ name, type }], blocks: [], attributes: { val } };
}

/** An operation of named arguments; a list where it takes several. */
export function operation(
  type: string,
  inputs: Readonly<Record<string, string | readonly string[]>>,
  outputs: Readonly<Record<string, TensorType>>,
): Operation {
  return {
    type,
    inputs: Object.fromEntries(
      Object.entries(inputs).map(([name, values]) => [
        name,
        [values].flat().map((value) => ({ name: value })),
      ]),
    ),
    outputs: Object.entries(outputs).map(([name, outputType]) => ({ name, type: outputType })),
    blocks: [],
    attributes: {},
  };
}

/** A model whose inputs are (rows, length) and whose only output is `output`, float32. */
export function modelOf(facts: {
  readonly rows: number;
  readonly length: number;
  readonly operations: readonly Operation[];
  readonly output?: string;
}): CoreMlModel {
  const { rows, length, operations, output = "logit" } = facts;
  const names = ["input_ids", "attention_mask"];
  const main: FunctionDefinition = {
    inputs: names.map((name) => ({ name, type: tensorType("int32", [rows, length]) })),
    opset: "CoreML8",
    blocks: { CoreML8: { inputs: [], outputs: [output], operations, attributes: {} } },
    attributes: {},
  };
  const feature = (name: string, element: "int32" | "float32", shape: readonly number[]): Feature => ({
    name,
    description: "",
    optional: false,
    type: { kind: "multi-array", element, shape },
  });
  return {
    specificationVersion: 9,
    inputs: names.map((name) => feature(name, "int32", [rows, length])),
    outputs: [feature(output, "float32", [])],
    metadata: { shortDescription: "", version: "", author: "", license: "", userDefined: {} },
    kind: "mlProgram",
    program: { version: 1, functions: { main }, attributes: {} },
  };
}
