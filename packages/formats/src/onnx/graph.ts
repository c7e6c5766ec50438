import { integerTensor, type StoredTensor } from "./tensor.js";

/** ONNX's own operators, and those of ONNX Runtime. */
export const domains = { onnx: "", microsoft: "com.microsoft" } as const;

/** An attribute's value, by its type in AttributeProto. */
export type Attribute =
  | { readonly integer: number }
  | { readonly integers: readonly number[] }
  | { readonly float: number }
  | { readonly text: string }
  /** A branch: it reads what the graph around it made before, and has no weights of its own. */
  | { readonly graph: Graph };

export interface GraphNode {
  readonly kind: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** An input or output: a dimension with a name is free. */
export interface GraphValue {
  readonly name: string;
  readonly type: "float32" | "int32" | "int64";
  readonly shape: readonly (number | string)[];
}

interface NodeOptions {
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

/** Collects nodes and weights, in the order in which they are written: a node's inputs come before it. */
export class Graph {
  readonly nodes: GraphNode[] = [];
  readonly tensors: Map<string, StoredTensor> = new Map();
  readonly inputs: GraphValue[] = [];
  readonly outputs: GraphValue[] = [];
  readonly #made = new Set<string>();

  /** A node with one output, which is named `output`. */
  node(kind: string, inputs: readonly string[], output: string, options: NodeOptions = {}): string {
    this.nodeOfMany(kind, inputs, [output], options);
    return output;
  }

  /** A node with several outputs. */
  nodeOfMany<const Outputs extends readonly string[]>(
    kind: string,
    inputs: readonly string[],
    outputs: Outputs,
    options: NodeOptions = {},
  ): Outputs {
    const { domain = domains.onnx, attributes = {} } = options;
    for (const output of outputs) {
      // A name with two makers is an invalid file; better found here.
      if (this.tensors.has(output) || this.#made.has(output))
        throw new Error(`two values are named ${output}`);
      this.#made.add(output);
    }
    this.nodes.push({ kind, domain, inputs, outputs, attributes });
    return outputs;
  }

  /** A weight or constant; one that is there already is kept. */
  tensor(tensor: StoredTensor): string {
    if (this.#made.has(tensor.name)) throw new Error(`two values are named ${tensor.name}`);
    if (!this.tensors.has(tensor.name)) this.tensors.set(tensor.name, tensor);
    return tensor.name;
  }

  /** A vector of int64, for shapes, axes and bounds. */
  integers(values: readonly number[]): string {
    return this.tensor(integerTensor(`int64.[${values.join(",")}]`, values, [values.length]));
  }

  /** An int64 without dimensions. */
  integer(value: number): string {
    return this.tensor(integerTensor(`int64.${value}`, [value], []));
  }

  /** Domains that the nodes use, those of branches too. */
  get domains(): readonly string[] {
    const used = this.nodes.flatMap(({ domain, attributes }) => [
      domain,
      ...Object.values(attributes).flatMap((value) => ("graph" in value ? value.graph.domains : [])),
    ]);
    return [...new Set(used)].sort();
  }
}
