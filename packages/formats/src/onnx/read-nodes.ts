import type { ByteSource } from "../byte-source.js";
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
  /** Those of the graph itself. */
  readonly own: readonly AttributedNode[];
  /** By the operator that calls them. */
  readonly functions: ReadonlyMap<string, GraphFunction>;
  /** Short tables of float32 that lie in the file itself, wherever in it. */
  readonly tables: readonly FloatTable[];
}

/** A function of the model: a node that names it stands for its nodes. */
export interface GraphFunction {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly nodes: readonly AttributedNode[];
}

export interface FloatTable {
  readonly name: string;
  readonly numbers: readonly number[];
}

/** Field numbers: onnx/onnx.proto of the ONNX project. */
const model = { graph: 7, opset: 8, function: 25 };
const opset = { domain: 1, version: 2 };
const graphNode = 1;
const graphInitializer = 5;
const functionNode = 7;
const functionFields = { name: 1, input: 4, output: 5, domain: 10 };
const nodeFields = { input: 1, output: 2, operator: 4, attribute: 5, domain: 7 };
const attribute = { name: 1, float: 2, integer: 3, text: 4, tensor: 5, graph: 6, graphs: 11 };
const tensor = { type: 2, floats: 4, name: 8, raw: 9 };
const float32 = 1;

const deepestGraph = 16;
const mostNodes = 1 << 18;
const mostTables = 1 << 14;
/** Numbers of a table; a head's rotations are at most half as many as it is wide. */
const shortest = 4;
const longest = 512;
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
    const { opset: version, nodes, own, functions, tables } = reading;
    return { opset: version, nodes, own, functions, tables };
  } catch (error) {
    if (error instanceof UnreadableMessage) return undefined;
    throw error;
  }
}

class NodeReading {
  readonly #reader: MessageReader;
  readonly nodes: AttributedNode[] = [];
  readonly own: AttributedNode[] = [];
  readonly functions: Map<string, GraphFunction> = new Map();
  readonly tables: FloatTable[] = [];
  opset: number | undefined;

  constructor(reader: MessageReader) {
    this.#reader = reader;
  }

  async model(range: Range): Promise<void> {
    await this.#each(range, async (field) => {
      if (field.number === model.graph) return this.#graph(field, graphNode, 0);
      if (field.number === model.function) return this.#function(field);
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

  async #function(range: Range): Promise<void> {
    const first = this.nodes.length;
    await this.#graph(range, functionNode, 1);
    const nodes = this.nodes.slice(first);
    let name = "";
    let domain = "";
    const inputs: string[] = [];
    const outputs: string[] = [];
    await this.#each(range, async (field) => {
      if (field.number === functionFields.name) name = await this.#text(field);
      else if (field.number === functionFields.domain) domain = await this.#text(field);
      else if (field.number === functionFields.input) inputs.push(await this.#text(field));
      else if (field.number === functionFields.output) outputs.push(await this.#text(field));
    });
    this.functions.set(qualified(name, domain), { inputs, outputs, nodes });
  }

  async #graph(range: Range, node: number, depth: number): Promise<void> {
    if (depth > deepestGraph) throw new UnreadableMessage("its graphs lie too deep in each other");
    await this.#each(range, async (field) => {
      if (field.number === node) await this.#node(field, depth);
      else if (field.number === graphInitializer && node === graphNode) await this.#table(field);
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
    const read = { operator: qualified(operator, domain), inputs, outputs, attributes };
    this.nodes.push(read);
    if (depth === 0) this.own.push(read);
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
        case attribute.tensor:
          return this.#table(field);
        case attribute.graph:
        case attribute.graphs:
          return this.#graph(field, graphNode, depth + 1);
      }
    });
    return [name, value];
  }

  /** Keeps a tensor that is a short table of float32. */
  async #table(range: Range): Promise<void> {
    if (this.tables.length >= mostTables) return;
    let name = "";
    let type = 0;
    let content: Field | undefined;
    await this.#each(range, async (field) => {
      if (field.number === tensor.name) name = await this.#text(field);
      else if (field.number === tensor.type) type = field.value;
      else if (field.number === tensor.raw || field.number === tensor.floats) content = field;
    });
    if (type !== float32 || content === undefined) return;
    const count = (content.end - content.start) / 4;
    if (!Number.isInteger(count) || count < shortest || count > longest) return;
    const bytes = await this.#reader.bytes(content, 4 * longest);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.tables.push({
      name,
      numbers: Array.from({ length: count }, (_, index) => view.getFloat32(4 * index, true)),
    });
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

function qualified(operator: string, domain: string): string {
  return domain === "" || domain === "ai.onnx" ? operator : `${domain}.${operator}`;
}
