import {
  type ByteSource,
  CTranslate2FormatError,
  type CTranslate2Header,
  type CTranslate2Type,
  type CTranslate2Variable,
  readCTranslate2Header,
  readNumbers,
  variableOf,
} from "@crossrank/formats/ctranslate2";

/** An encoder, as its model.bin has it: everything that CTranslate2 would believe without looking. */
export interface EncoderFacts {
  /** As the tables and matrices are stored. */
  readonly dtype: "fp32" | "fp16" | "int8";
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  /** Numbers in the middle of the feed-forward part. */
  readonly inner: number;
  /** Rows of the tokens' table. */
  readonly vocabulary: number;
  /** Tokens of a sequence at most. */
  readonly longest: number;
  /** The second table, where there is one: its rows, and what it is looked up by. */
  readonly second: { readonly rows: number; readonly by: "segments" | "positions" } | undefined;
  readonly activation: EncoderActivation;
  /** What the pooler ends in; undefined where there is no pooler. */
  readonly pooler: EncoderActivation | undefined;
}

export type EncoderActivation = "relu" | "gelu-tanh" | "silu" | "gelu" | "gelu-sigmoid" | "tanh" | "sigmoid";

/** `ActivationType` in CTranslate2's ops/activation.h. */
const activations: readonly EncoderActivation[] = [
  "relu",
  "gelu-tanh",
  "silu",
  "gelu",
  "gelu-sigmoid",
  "tanh",
  "sigmoid",
];

const specName = "TransformerEncoderSpec";
const mostLayers = 256;
const mostHeads = 1024;
/** Its largest integer is then float32's largest number. */
const smallestScale = Math.fround(127 / 3.4028234663852886e38);
/** MPNet's, the only ones that CTranslate2's buckets were held against. */
const [relativeBuckets, farthest] = [32, 128];

/**
 * Reads and judges a model.bin: variables of a post-norm encoder, all that belong to one, each of the shape that the
 * others say, and no other.
 *
 * @throws {CTranslate2FormatError} with what is wrong, as a clause.
 */
export async function readEncoder(source: ByteSource): Promise<EncoderFacts> {
  const header = await readCTranslate2Header(source);
  if (header.spec !== specName || header.revision !== 1) {
    throw new CTranslate2FormatError(
      `it is of spec ${header.spec} ${header.revision}, and encoders (${specName} 1) are run`,
    );
  }
  const judge = new Judge(source, header);
  const facts = await judgeEncoder(judge);
  judge.requireNoOther();
  return facts;
}

async function judgeEncoder(judge: Judge): Promise<EncoderFacts> {
  for (const [name, wanted] of [
    ["encoder/pre_norm", 0],
    ["encoder/scale_embeddings", 0],
    ["encoder/multi_query_attention", 0],
  ] as const) {
    const found = await judge.scalar(name, "int8");
    if (found !== wanted) throw new CTranslate2FormatError(`${name} is ${found}, and ${wanted} is run`);
  }
  const heads = await judge.scalar("encoder/num_heads", "int16");
  const activation = await judge.activation("encoder/activation");
  const [vocabulary, hidden] = await judge.table("encoder/embeddings_0/weight");
  if (heads < 1 || heads > mostHeads || hidden % heads !== 0) {
    throw new CTranslate2FormatError(`it has ${heads} heads for ${hidden} numbers`);
  }
  judge.norm("encoder/layernorm_embedding", hidden);
  const layers = judge.layers();
  const [first] = layers;
  if (first === undefined) throw new CTranslate2FormatError("it has no layers");
  const inners = new Set<number>();
  for (const scope of layers) {
    await judge.linear(`${scope}/self_attention/linear_0`, 3 * hidden, hidden);
    await judge.linear(`${scope}/self_attention/linear_1`, hidden, hidden);
    judge.norm(`${scope}/self_attention/layer_norm`, hidden);
    const inner = await judge.linear(`${scope}/ffn/linear_0`, undefined, hidden);
    await judge.linear(`${scope}/ffn/linear_1`, hidden, inner);
    judge.norm(`${scope}/ffn/layer_norm`, hidden);
    inners.add(inner);
  }
  const places = await judgePlaces(judge, layers, { heads, hidden });
  let pooler: EncoderActivation | undefined;
  if (judge.has("pooler_dense/weight")) {
    await judge.linear("pooler_dense", hidden, hidden);
    pooler = await judge.activation("pooler_activation");
  } else if (judge.has("pooler_activation")) await judge.activation("pooler_activation");
  return {
    dtype: judge.dtype,
    hidden,
    layers: layers.length,
    heads,
    inner: Math.max(...inners),
    vocabulary,
    ...places,
    activation,
    pooler,
  };
}

/** Segments and places, or MPNet's relative positions, whose places are looked up as segments are. */
async function judgePlaces(
  judge: Judge,
  layers: readonly string[],
  { heads, hidden }: { readonly heads: number; readonly hidden: number },
): Promise<Pick<EncoderFacts, "longest" | "second">> {
  const second = judge.has("encoder/embeddings_1/weight")
    ? await judge.table("encoder/embeddings_1/weight", hidden)
    : undefined;
  const merge = await judge.scalar("encoder/embeddings_merge", "int8");
  if (merge !== 1 && second !== undefined) throw new CTranslate2FormatError("its tables are not added");
  const bias = (scope: string): string => `${scope}/self_attention/relative_attention_bias`;
  const isRelative = layers.some((scope) => judge.has(bias(scope)));
  if (!isRelative) {
    const [longest] = judge.floats("encoder/position_encodings/encodings", [undefined, hidden]);
    return {
      longest: longest as number,
      second: second === undefined ? undefined : { rows: second[0], by: "segments" },
    };
  }
  if (second === undefined)
    throw new CTranslate2FormatError("it has relative positions, and no table of places");
  for (const scope of layers) {
    judge.floats(bias(scope), [relativeBuckets, heads]);
    const distance = `${scope}/self_attention/relative_attention_max_distance`;
    const found = await judge.scalar(distance, "int32");
    if (found !== farthest)
      throw new CTranslate2FormatError(`${distance} is ${found}, and ${farthest} is run`);
  }
  judge.requireOne(layers.map(bias));
  return { longest: second[0], second: { rows: second[0], by: "positions" } };
}

/** Takes variables one after the other, and knows at the end which nobody asked for. */
class Judge {
  readonly #source: ByteSource;
  readonly #header: CTranslate2Header;
  readonly #taken = new Set<string>();
  #tables: CTranslate2Type | undefined;

  constructor(source: ByteSource, header: CTranslate2Header) {
    this.#source = source;
    this.#header = header;
  }

  get dtype(): EncoderFacts["dtype"] {
    if (this.#tables === "int8") return "int8";
    return this.#tables === "float16" ? "fp16" : "fp32";
  }

  has(name: string): boolean {
    return variableOf(this.#header, name) !== undefined;
  }

  /** Scopes of the layers, which are counted without a gap. */
  layers(): readonly string[] {
    const scopes: string[] = [];
    while (this.has(`encoder/layer_${scopes.length}/self_attention/linear_0/weight`)) {
      if (scopes.length === mostLayers)
        throw new CTranslate2FormatError(`it has more than ${mostLayers} layers`);
      scopes.push(`encoder/layer_${scopes.length}`);
    }
    return scopes;
  }

  #take(name: string): CTranslate2Variable {
    const variable = variableOf(this.#header, name);
    if (variable === undefined) throw new CTranslate2FormatError(`it has no variable ${name}`);
    this.#taken.add(name);
    return variable;
  }

  async scalar(name: string, type: CTranslate2Type): Promise<number> {
    const variable = this.#take(name);
    if (variable.shape.length > 0 || variable.type !== type) {
      throw new CTranslate2FormatError(`${name} is no single ${type}`);
    }
    const [value] = await readNumbers(this.#source, variable);
    return value as number;
  }

  async activation(name: string): Promise<EncoderActivation> {
    const code = await this.scalar(name, "int8");
    const activation = activations[code];
    if (activation === undefined) throw new CTranslate2FormatError(`${name} is ${code}, which is none`);
    return activation;
  }

  /** Numbers that are never quantised. @returns the shape. */
  floats(name: string, shape: readonly (number | undefined)[]): readonly number[] {
    const variable = this.#take(name);
    if (variable.type !== "float32" && variable.type !== "float16") {
      throw new CTranslate2FormatError(`${name} is of type ${variable.type}`);
    }
    requireShape(name, variable, shape);
    return variable.shape;
  }

  norm(scope: string, hidden: number): void {
    this.floats(`${scope}/gamma`, [hidden]);
    this.floats(`${scope}/beta`, [hidden]);
  }

  /** A matrix, in the type of all. @returns rows and columns. */
  async table(name: string, columns?: number, rows?: number): Promise<readonly [number, number]> {
    const variable = this.#take(name);
    const { type } = variable;
    if (type !== "float32" && type !== "float16" && type !== "int8") {
      throw new CTranslate2FormatError(`its weights are of type ${type}; float32, float16 and int8 are run`);
    }
    this.#tables ??= type;
    if (type !== this.#tables)
      throw new CTranslate2FormatError(`its weights are partly ${this.#tables}, partly ${type}`);
    requireShape(name, variable, [rows, columns]);
    const [count = 0, width = 0] = variable.shape;
    if (type === "int8") await this.#scales(`${name}_scale`, count);
    return [count, width];
  }

  /** What the rows are divided by. */
  async #scales(name: string, rows: number): Promise<void> {
    const variable = this.#take(name);
    requireShape(name, variable, [rows]);
    if (variable.type !== "float32") throw new CTranslate2FormatError(`${name} is of type ${variable.type}`);
    const scales = await readNumbers(this.#source, variable);
    // Of a smaller one the row's numbers are infinite.
    const place = scales.findIndex((scale) => !(scale >= smallestScale && scale < Number.POSITIVE_INFINITY));
    if (place >= 0) throw new CTranslate2FormatError(`${name} has ${scales[place]}, which is no scale`);
  }

  /** @returns outputs. */
  async linear(scope: string, outputs: number | undefined, inputs: number): Promise<number> {
    const [rows] = await this.table(`${scope}/weight`, inputs, outputs);
    if (this.has(`${scope}/bias`)) this.floats(`${scope}/bias`, [rows]);
    return rows;
  }

  /** That all names are of one variable: CTranslate2 computes what depends on it once. */
  requireOne(names: readonly string[]): void {
    const [first] = names;
    const { aliases } = this.#header;
    const own = new Set(names.map((name) => aliases.get(name) ?? name));
    if (own.size > 1) throw new CTranslate2FormatError(`not all layers share ${first}`);
  }

  requireNoOther(): void {
    const { variables, aliases } = this.#header;
    const other = [...variables.keys(), ...aliases.keys()].find(
      (name) =>
        !this.#taken.has(name) &&
        ![...aliases].some(([alias, own]) => own === name && this.#taken.has(alias)),
    );
    if (other !== undefined)
      throw new CTranslate2FormatError(`it has a variable ${other}, which is not known here`);
  }
}

function requireShape(
  name: string,
  { shape }: CTranslate2Variable,
  wanted: readonly (number | undefined)[],
): void {
  const fits =
    shape.length === wanted.length &&
    shape.every((length, axis) => wanted[axis] === undefined || length === wanted[axis]);
  if (fits) return;
  const text = wanted.map((length) => length ?? "any").join(" × ");
  throw new CTranslate2FormatError(`${name} has shape ${shape.join(" × ")}, and ${text} belongs there`);
}
