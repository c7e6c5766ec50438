import type { ByteSource } from "../byte-source.js";
import { type Field, MessageReader, UnreadableMessage, varintAt } from "./message-reader.js";

/** An input or output, as the graph declares it. */
export interface GraphPort {
  readonly name: string;
  /** ONNX's name of the element type, e.g. `"int64"`; undefined for what is no tensor. */
  readonly type: string | undefined;
  /** A number where a dimension is fixed, else its name, `""` where it has none; undefined where none is declared. */
  readonly shape: readonly (number | string)[] | undefined;
}

/** A node of those operators by which a graph's precision is told. */
export interface QuantisingNode {
  /** With its domain, where that is not ONNX's own: `"com.microsoft.MatMulNBits"`. */
  readonly operator: string;
  readonly inputs: readonly string[];
  /** Attributes that are whole numbers. */
  readonly integers: ReadonlyMap<string, number>;
}

/** A tensor of the file, without its numbers. */
export interface GraphTensorFacts {
  readonly type: string;
  readonly dimensions: readonly number[];
  /** Of its numbers, wherever they are. */
  readonly bytes: number;
  /** Undefined where they do not lie as bytes one behind the other. */
  readonly place: TensorPlace | undefined;
}

/** Where a tensor's numbers lie, as its file says. */
export interface TensorPlace {
  /** As {@link ExternalData.location}; undefined where they lie in the .onnx itself. */
  readonly location: string | undefined;
  /** Bytes of that file, from `start` to `end` (not included). */
  readonly start: number;
  readonly end: number;
}

/** Weights that lie in a file of their own. */
export interface ExternalData {
  /** As the graph writes it: relative to the graph's folder. Anybody may have written it. */
  readonly location: string;
  /** How far into the file the graph reads, in bytes. */
  readonly bytes: number;
}

/** What a graph is, without its weights. */
export interface GraphSummary {
  readonly irVersion: number | undefined;
  /** What wrote the file, with its version. */
  readonly producer: string | undefined;
  /** Versions of the operators, by domain; `""` is ONNX's own. */
  readonly opsets: ReadonlyMap<string, number>;
  /** `metadata_props`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Those that have to be fed. */
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  /** How often each operator occurs, in subgraphs and functions too; with its domain, where that is not ONNX's own. */
  readonly operators: ReadonlyMap<string, number>;
  readonly quantising: readonly QuantisingNode[];
  /** Weights and constants by name. */
  readonly tensors: ReadonlyMap<string, GraphTensorFacts>;
  /** One a file, in the graph's order. */
  readonly external: readonly ExternalData[];
  /** Short lists of whole numbers, as shapes are, that lie in such a file too. */
  readonly externalShapes: readonly string[];
}

/** Field numbers: onnx/onnx.proto of the ONNX project. */
const model = { irVersion: 1, producer: 2, version: 3, graph: 7, opset: 8, metadata: 14, function: 25 };
const opset = { domain: 1, version: 2 };
const entry = { key: 1, value: 2 };
const graph = { node: 1, initializer: 5, input: 11, output: 12, sparse: 15 };
const functionNode = 7;
const sparse = { values: 1, indices: 2 };
const nodeFields = { input: 1, output: 2, operator: 4, attribute: 5, domain: 7 };
const attribute = { name: 1, integer: 3, tensor: 5, graph: 6, tensors: 10, graphs: 11, sparse: 22 };
const port = { name: 1, type: 2 };
const portType = { tensor: 1 };
const tensorType = { element: 1, shape: 2 };
const dimension = { value: 1, parameter: 2 };
const tensor = { dimension: 1, type: 2, name: 8, raw: 9, external: 13, location: 14 };

/** `TensorProto.DataType`: name and bits of each. Strings have no size of their own. */
const elements: Readonly<Record<number, readonly [name: string, bits: number]>> = {
  1: ["float32", 32],
  2: ["uint8", 8],
  3: ["int8", 8],
  4: ["uint16", 16],
  5: ["int16", 16],
  6: ["int32", 32],
  7: ["int64", 64],
  8: ["string", 0],
  9: ["bool", 8],
  10: ["float16", 16],
  11: ["float64", 64],
  12: ["uint32", 32],
  13: ["uint64", 64],
  14: ["complex64", 64],
  15: ["complex128", 128],
  16: ["bfloat16", 16],
  17: ["float8e4m3fn", 8],
  18: ["float8e4m3fnuz", 8],
  19: ["float8e5m2", 8],
  20: ["float8e5m2fnuz", 8],
  21: ["uint4", 4],
  22: ["int4", 4],
  23: ["float4e2m1", 4],
  24: ["float8e8m0", 8],
  25: ["uint2", 2],
  26: ["int2", 2],
};

/** Operators whose nodes say how a graph is quantised. */
const quantisingOperator =
  /[Qq]uantiz|^QLinear|^com\.microsoft\.(QLinear|QAttention|QGemm|QMoE|MatMulNBits|MatMulBnb4|MatMulFpQ4)|MatMulInteger|ConvInteger/;

const externalLocation = 1;
const deepestGraph = 16;
const mostDimensions = 64;
/** Of names that are kept: a file may have any number. */
const mostKept = 1 << 18;
/** Longer ones are no name. */
const longestName = 4096;
const longestText = 64 << 10;
const mostMetadata = 1024;

/**
 * Reads what a graph is, in windows, and steps over its weights: of a file of gigabytes some megabytes at most, where
 * its nodes are no larger.
 *
 * @returns undefined where the file is no ONNX model that can be followed to its end.
 */
export async function readGraph(source: ByteSource): Promise<GraphSummary | undefined> {
  try {
    const reading = new GraphReading(new MessageReader(source));
    await reading.model(0, source.size);
    return reading.summary();
  } catch (error) {
    if (error instanceof UnreadableMessage) return undefined;
    throw error;
  }
}

class GraphReading {
  readonly #reader: MessageReader;
  readonly #opsets = new Map<string, number>();
  readonly #metadata = new Map<string, string>();
  readonly #inputs: GraphPort[] = [];
  readonly #outputs: GraphPort[] = [];
  readonly #operators = new Map<string, number>();
  readonly #quantising: QuantisingNode[] = [];
  readonly #tensors = new Map<string, GraphTensorFacts>();
  readonly #external = new Map<string, number>();
  readonly #externalShapes: string[] = [];
  readonly #producer: string[] = [];
  #irVersion: number | undefined;
  #hasGraph = false;
  #unnamed = 0;

  constructor(reader: MessageReader) {
    this.#reader = reader;
  }

  summary(): GraphSummary | undefined {
    if (!this.#hasGraph) return undefined;
    return {
      irVersion: this.#irVersion,
      producer: this.#producer.length === 0 ? undefined : this.#producer.join(" "),
      opsets: this.#opsets,
      metadata: this.#metadata,
      // Until IR version 4 weights were inputs, too.
      inputs: this.#inputs.filter(({ name }) => !this.#tensors.has(name)),
      outputs: this.#outputs,
      operators: this.#operators,
      quantising: this.#quantising,
      tensors: this.#tensors,
      external: [...this.#external].map(([location, bytes]) => ({ location, bytes })),
      externalShapes: this.#externalShapes,
    };
  }

  async model(start: number, end: number): Promise<void> {
    await this.#each({ start, end }, async (field) => {
      switch (field.number) {
        case model.irVersion:
          this.#irVersion = field.value;
          return;
        case model.producer:
        case model.version: {
          const text = await this.#text(field);
          if (text !== "") this.#producer.push(text);
          return;
        }
        case model.graph:
          this.#hasGraph = true;
          return this.#graph(field, 0);
        case model.opset: {
          const { texts, numbers } = await this.#simple(field);
          this.#opsets.set(texts.get(opset.domain) ?? "", numbers.get(opset.version) ?? Number.NaN);
          return;
        }
        case model.metadata: {
          if (this.#metadata.size >= mostMetadata) return;
          const { texts } = await this.#simple(field);
          this.#metadata.set(texts.get(entry.key) ?? "", texts.get(entry.value) ?? "");
          return;
        }
        case model.function:
          return this.#each(field, async (inner) => {
            if (inner.number === functionNode) await this.#node(inner, 0);
          });
      }
    });
  }

  async #graph(range: Range, depth: number): Promise<void> {
    if (depth > deepestGraph) throw new UnreadableMessage("its graphs lie too deep in each other");
    await this.#each(range, async (field) => {
      switch (field.number) {
        case graph.node:
          return this.#node(field, depth);
        case graph.initializer:
          return this.#tensor(field);
        case graph.sparse:
          return this.#sparse(field);
        case graph.input:
        case graph.output: {
          // Those of subgraphs are nobody's to feed.
          if (depth > 0) return;
          const ports = field.number === graph.input ? this.#inputs : this.#outputs;
          if (ports.length >= mostKept) throw new UnreadableMessage("it has too many inputs");
          ports.push(await this.#port(field));
        }
      }
    });
  }

  async #node(range: Range, depth: number): Promise<void> {
    let operator = "";
    let domain = "";
    const inputs: string[] = [];
    const outputs: string[] = [];
    const integers = new Map<string, number>();
    await this.#each(range, async (field) => {
      switch (field.number) {
        case nodeFields.operator:
          operator = await this.#text(field);
          return;
        case nodeFields.domain:
          domain = await this.#text(field);
          return;
        case nodeFields.input:
          inputs.push(await this.#text(field));
          return;
        case nodeFields.output:
          outputs.push(await this.#text(field));
          return;
        case nodeFields.attribute: {
          const { name, integer, tensor: constant } = await this.#attribute(field, depth);
          if (integer !== undefined) integers.set(name, integer);
          // The output of a Constant is a weight by another name.
          if (constant !== undefined) this.#keep(outputs[0] ?? "", constant);
        }
      }
    });
    const name = domain === "" || domain === "ai.onnx" ? operator : `${domain}.${operator}`;
    if (this.#operators.size < mostKept) this.#operators.set(name, (this.#operators.get(name) ?? 0) + 1);
    if (quantisingOperator.test(name) && this.#quantising.length < mostKept) {
      this.#quantising.push({ operator: name, inputs, integers });
    }
  }

  async #attribute(
    range: Range,
    depth: number,
  ): Promise<{
    readonly name: string;
    readonly integer: number | undefined;
    readonly tensor: GraphTensorFacts | undefined;
  }> {
    let name = "";
    let integer: number | undefined;
    let constant: GraphTensorFacts | undefined;
    await this.#each(range, async (field) => {
      switch (field.number) {
        case attribute.name:
          name = await this.#text(field);
          return;
        case attribute.integer:
          integer = field.value;
          return;
        case attribute.tensor:
          constant = (await this.#tensorFacts(field)).facts;
          return;
        case attribute.tensors:
          this.#keep("", (await this.#tensorFacts(field)).facts);
          return;
        case attribute.sparse:
          return this.#sparse(field);
        case attribute.graph:
        case attribute.graphs:
          return this.#graph(field, depth + 1);
      }
    });
    return { name, integer, tensor: constant };
  }

  async #sparse(range: Range): Promise<void> {
    await this.#each(range, async (field) => {
      if (field.number === sparse.values || field.number === sparse.indices) await this.#tensor(field);
    });
  }

  async #tensor(range: Range): Promise<void> {
    const { name, facts } = await this.#tensorFacts(range);
    this.#keep(name, facts);
  }

  #keep(name: string, facts: GraphTensorFacts): void {
    if (this.#tensors.size >= mostKept) throw new UnreadableMessage("it has too many tensors");
    // A name without a tensor's, so that all are counted.
    const key = name === "" || this.#tensors.has(name) ? `\0${this.#unnamed++}` : name;
    this.#tensors.set(key, facts);
  }

  async #tensorFacts(range: Range): Promise<{ readonly name: string; readonly facts: GraphTensorFacts }> {
    let name = "";
    let code = 0;
    let isExternal = false;
    const dimensions: number[] = [];
    const external = new Map<string, string>();
    let raw: Range | undefined;
    await this.#each(range, async (field) => {
      switch (field.number) {
        case tensor.dimension:
          for (const size of await this.#integers(field)) dimensions.push(size);
          if (dimensions.length > mostDimensions)
            throw new UnreadableMessage("a tensor has too many dimensions");
          return;
        case tensor.type:
          code = field.value;
          return;
        case tensor.name:
          name = await this.#text(field);
          return;
        case tensor.external: {
          const { texts } = await this.#simple(field);
          external.set(texts.get(entry.key) ?? "", texts.get(entry.value) ?? "");
          return;
        }
        case tensor.raw:
          raw = { start: field.start, end: field.end };
          return;
        case tensor.location:
          isExternal = field.value === externalLocation;
      }
    });
    const [type = `type ${code}`, bits = 0] = elements[code] ?? [];
    const count = dimensions.reduce((product, size) => product * size, 1);
    const bytes = Math.ceil((count * bits) / 8);
    if (!Number.isSafeInteger(bytes)) throw new UnreadableMessage("a tensor's size is no number");
    const outside = isExternal ? this.#keepPlace(external, bytes) : undefined;
    const place = outside ?? (raw === undefined ? undefined : { location: undefined, ...raw });
    const isShape = isExternal && (type === "int64" || type === "int32") && count <= mostDimensions;
    if (isShape && this.#externalShapes.length < mostMetadata) this.#externalShapes.push(name);
    return { name, facts: { type, dimensions, bytes, place } };
  }

  #keepPlace(place: ReadonlyMap<string, string>, bytes: number): TensorPlace {
    const location = place.get("location") ?? "";
    const number = (key: string, fallback: number): number => {
      const text = place.get(key);
      if (text === undefined) return fallback;
      const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isSafeInteger(value)) throw new UnreadableMessage(`a tensor's ${key} is no number`);
      return value;
    };
    const start = number("offset", 0);
    const end = start + number("length", bytes);
    this.#external.set(location, Math.max(end, this.#external.get(location) ?? 0));
    return { location, start, end };
  }

  async #port(range: Range): Promise<GraphPort> {
    let name = "";
    let type: string | undefined;
    let shape: (number | string)[] | undefined;
    await this.#each(range, async (field) => {
      if (field.number === port.name) name = await this.#text(field);
      if (field.number !== port.type) return;
      await this.#each(field, async (kind) => {
        if (kind.number !== portType.tensor) return;
        await this.#each(kind, async (part) => {
          if (part.number === tensorType.element) type = elements[part.value]?.[0] ?? `type ${part.value}`;
          if (part.number !== tensorType.shape) return;
          const sizes: (number | string)[] = [];
          await this.#each(part, async (size) => {
            const { texts, numbers } = await this.#simple(size);
            sizes.push(numbers.get(dimension.value) ?? texts.get(dimension.parameter) ?? "");
            if (sizes.length > mostDimensions) throw new UnreadableMessage("a shape has too many dimensions");
          });
          shape = sizes;
        });
      });
    });
    return { name, type, shape };
  }

  /** Numbers of a field, which protobuf writes one by one, or packed. */
  async #integers(field: Field): Promise<readonly number[]> {
    if (field.start === field.end && !Number.isNaN(field.value)) return [field.value];
    const bytes = await this.#reader.bytes(field, mostDimensions * 10);
    const numbers: number[] = [];
    for (let place = 0; place < bytes.length; ) {
      const number = varintAt(bytes, place);
      numbers.push(number.value);
      place += number.bytes;
    }
    return numbers;
  }

  /** A message of texts and numbers alone, the last of each field. */
  async #simple(
    range: Range,
  ): Promise<{ readonly texts: ReadonlyMap<number, string>; readonly numbers: ReadonlyMap<number, number> }> {
    const texts = new Map<number, string>();
    const numbers = new Map<number, number>();
    await this.#each(range, async (field) => {
      if (!Number.isNaN(field.value)) numbers.set(field.number, field.value);
      // Exporters write whole programs into metadata.
      else if (field.number <= 2 && field.end - field.start <= longestText) {
        texts.set(field.number, await this.#reader.text(field, longestText));
      }
    });
    return { texts, numbers };
  }

  #text(field: Field): Promise<string> {
    return this.#reader.text(field, longestName);
  }

  async #each({ start, end }: Range, use: (field: Field) => Promise<void> | undefined): Promise<void> {
    for await (const fields of this.#reader.fields(start, end)) {
      for (const field of fields) await use(field);
    }
  }
}

interface Range {
  readonly start: number;
  readonly end: number;
}
