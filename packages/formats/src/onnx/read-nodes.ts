import type { ByteSource } from "./byte-source.js";
import { type Field, MessageReader, UnreadableMessage } from "./message-reader.js";

/** A node with its attributes: numbers and texts; of another kind it is only there. */
export interface AttributedNode {
  /** With its domain, where that is not ONNX's own: `"com.microsoft.Attention"`. */
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, number | string | undefined>;
}

export interface GraphNodes {
  /** The version of ONNX's own operators; undefined where the file states none. */
  readonly opset: number | undefined;
  /** Of the graph, its subgraphs and the model's functions. */
  readonly nodes: readonly AttributedNode[];
}

/** Field numbers: onnx/onnx.proto of the ONNX project. */
const model = { graph: 7, opset: 8, function: 25 };
const opset = { domain: 1, version: 2 };
const graphNode = 1;
const functionNode = 7;
const nodeFields = { input: 1, output: 2, operator: 4, attribute: 5, domain: 7 };
const attribute = { name: 1, float: 2, integer: 3, text: 4, graph: 6, graphs: 11 };

const deepestGraph = 16;
const mostNodes = 1 << 18;
const longestName = 4096;

interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * Reads the nodes of a graph, and steps over its weights.
 *
 * @returns undefined where the file is no ONNX model that can be followed to its end.
 */
export async function readNodes(source: ByteSource): Promise<GraphNodes | undefined> {
  try {
    const reading = new NodeReading(new MessageReader(source));
    await reading.model({ start: 0, end: source.size });
    return { opset: reading.opset, nodes: reading.nodes };
  } catch (error) {
    if (error instanceof UnreadableMessage) return undefined;
    throw error;
  }
}

class NodeReading {
  readonly #reader: MessageReader;
  readonly nodes: AttributedNode[] = [];
  opset: number | undefined;

  constructor(reader: MessageReader) {
    this.#reader = reader;
  }

  async model(range: Range): Promise<void> {
    await this.#each(range, async (field) => {
      if (field.number === model.graph) return this.#graph(field, graphNode, 0);
      if (field.number === model.function) return this.#graph(field, functionNode, 0);
      if (field.number !== model.opset) return;
      let domain = "";
      let version: number | undefined;
      await this.#each(field, async (part) => {
        if (part.number === opset.domain) domain = await this.#text(part);
        if (part.number === opset.version) version = part.value;
      });
      if (domain === "" || domain === "ai.onnx") this.opset = version;
    });
  }

  async #graph(range: Range, node: number, depth: number): Promise<void> {
    if (depth > deepestGraph) throw new UnreadableMessage("its graphs lie too deep in each other");
    await this.#each(range, async (field) => {
      if (field.number === node) await this.#node(field, depth);
    });
  }

  async #node(range: Range, depth: number): Promise<void> {
    let operator = "";
    let domain = "";
    const inputs: string[] = [];
    const outputs: string[] = [];
    const attributes = new Map<string, number | string | undefined>();
    await this.#each(range, async (field) => {
      if (field.number === nodeFields.operator) operator = await this.#text(field);
      else if (field.number === nodeFields.domain) domain = await this.#text(field);
      else if (field.number === nodeFields.input) inputs.push(await this.#text(field));
      else if (field.number === nodeFields.output) outputs.push(await this.#text(field));
      else if (field.number === nodeFields.attribute) {
        const [name, value] = await this.#attribute(field, depth);
        attributes.set(name, value);
      }
    });
    if (this.nodes.length >= mostNodes) throw new UnreadableMessage("it has too many nodes");
    this.nodes.push({
      operator: domain === "" || domain === "ai.onnx" ? operator : `${domain}.${operator}`,
      inputs,
      outputs,
      attributes,
    });
  }

  async #attribute(range: Range, depth: number): Promise<readonly [string, number | string | undefined]> {
    let name = "";
    let value: number | string | undefined;
    await this.#each(range, async (field) => {
      switch (field.number) {
        case attribute.name:
          name = await this.#text(field);
          return;
        case attribute.float: {
          // Of four bytes that stand before the field's end.
          const bytes = await this.#reader.bytes({ ...field, start: field.end - 4 }, 4);
          value = new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
          return;
        }
        case attribute.integer:
          value = field.value;
          return;
        case attribute.text:
          if (field.end - field.start <= longestName) value = await this.#text(field);
          return;
        case attribute.graph:
        case attribute.graphs:
          return this.#graph(field, graphNode, depth + 1);
      }
    });
    return [name, value];
  }

  #text(field: Field): Promise<string> {
    return this.#reader.text(field, longestName);
  }

  async #each({ start, end }: Range, use: (field: Field) => Promise<void>): Promise<void> {
    for await (const fields of this.#reader.fields(start, end)) {
      for (const field of fields) await use(field);
    }
  }
}
