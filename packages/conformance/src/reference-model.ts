import type { ModelFiles } from "@crossrank/core";
import { openSafetensors, type Tensor } from "@crossrank/core/files";

/**
 * BERT, RoBERTa and XLM-RoBERTa as plain float64 arithmetic, written to be read: the definition that a backend is
 * compared with. The rules are those of transformers 5.23.0, `models/bert/modeling_bert.py` and
 * `models/roberta/modeling_roberta.py` (XLM-RoBERTa's file is RoBERTa's), in evaluation mode, where dropout does
 * nothing.
 */
export interface ReferenceModel {
  /** Whether there are embeddings for more than one segment (config.json, type_vocab_size). */
  readonly readsSegments: boolean;
  /** Longest sequence that the position table holds, in tokens. */
  readonly maxPositions: number;
  /** Class logits of a sequence from its last hidden states; undefined where the model is an encoder alone. */
  readonly classify: ((hidden: readonly Float64Array[]) => Float64Array) | undefined;
  /** Last hidden state of every token, in order. No padding goes in. */
  encode(tokens: readonly ReferenceToken[]): Float64Array[];
}

export interface ReferenceToken {
  readonly id: number;
  readonly segment: number;
  /** Column of the row that it stands in, from 0. BERT's position; RoBERTa counts tokens instead. */
  readonly column: number;
  /** Whether other tokens attend to it; itself it attends to all that are attended. */
  readonly isAttended: boolean;
}

/** The file does not describe a model that is written down here. */
export class UnsupportedArchitectureError extends Error {
  readonly found: string;
  constructor(found: string) {
    super(`the reference knows ${referenceArchitectures.join(", ")}, and this is ${found}`);
    this.found = found;
  }
}

export const referenceArchitectures: readonly string[] = ["bert", "roberta", "xlm-roberta"];

type Vector = Float64Array;
type Step = (vector: Vector) => Vector;
type Read = (name: string) => Tensor;

/**
 * @throws {UnsupportedArchitectureError} when config.json describes another model.
 * @throws {ModelFileNotFoundError} when config.json or the weights are missing.
 * @throws {ModelProfileError} when the weights are damaged.
 */
export async function openReferenceModel(
  files: ModelFiles,
  weights: string,
  signal: AbortSignal | undefined,
): Promise<ReferenceModel> {
  const config = readConfig(JSON.parse(await files.readText("config.json", { signal })));
  const file = await openSafetensors(files, weights, { signal });
  const tensors = new Map<string, Tensor>();
  // Also those that are not needed here, so that a file that was cut short is noticed.
  for (const name of file.names) tensors.set(name, await file.read(name));
  const read = (name: string): Tensor => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new RangeError(`${weights} has no tensor ${name}`);
    return tensor;
  };

  // A model with a head keeps its encoder under a prefix; saved alone, the encoder has none.
  const isRoberta = config.architecture !== "bert";
  const named = isRoberta ? "roberta." : "bert.";
  const prefix = file.names.some((name) => name.startsWith(named)) ? named : "";
  const embed = embeddings(read, `${prefix}embeddings`, config, isRoberta);
  const layers = Array.from({ length: config.layers }, (_, layer) =>
    encoderLayer(read, `${prefix}encoder.layer.${layer}`, config),
  );
  const positions = read(`${prefix}embeddings.position_embeddings.weight`).shape[0] as number;
  return {
    readsSegments: config.segments > 1,
    maxPositions: isRoberta ? positions - config.paddingId - 1 : positions,
    classify: classifier(read, file.names, prefix, isRoberta),
    encode: (tokens) =>
      layers.reduce(
        (hidden, layer) =>
          layer(
            hidden,
            tokens.map(({ isAttended }) => isAttended),
          ),
        embed(tokens),
      ),
  };
}

interface Config {
  readonly architecture: string;
  readonly layers: number;
  readonly heads: number;
  readonly epsilon: number;
  readonly paddingId: number;
  readonly segments: number;
}

function readConfig(json: Record<string, unknown>): Config {
  const number = (name: string): number => {
    const value = json[name];
    if (typeof value !== "number") throw new UnsupportedArchitectureError(`a config.json without ${name}`);
    return value;
  };
  const architecture = String(json["model_type"]);
  if (!referenceArchitectures.includes(architecture)) throw new UnsupportedArchitectureError(architecture);
  for (const [name, known] of [
    ["hidden_act", "gelu"],
    ["position_embedding_type", "absolute"],
  ] as const) {
    const value = json[name] ?? known;
    if (value !== known)
      throw new UnsupportedArchitectureError(`${architecture} with ${name} ${String(value)}`);
  }
  return {
    architecture,
    layers: number("num_hidden_layers"),
    heads: number("num_attention_heads"),
    epsilon: number("layer_norm_eps"),
    paddingId: number("pad_token_id"),
    segments: number("type_vocab_size"),
  };
}

/** `BertEmbeddings`: word + segment + position, then layer norm. */
function embeddings(
  read: Read,
  name: string,
  { paddingId, epsilon }: Config,
  isRoberta: boolean,
): (tokens: readonly ReferenceToken[]) => Vector[] {
  const words = rows(read(`${name}.word_embeddings.weight`));
  const segments = rows(read(`${name}.token_type_embeddings.weight`));
  const positions = rows(read(`${name}.position_embeddings.weight`));
  const normalise = layerNorm(read, `${name}.LayerNorm`, epsilon);
  return (tokens) => {
    let counted = 0;
    return tokens.map(({ id, segment, column }) => {
      // `create_position_ids_from_input_ids`: tokens other than padding are counted from padding id + 1 on.
      if (id !== paddingId) counted += 1;
      const position = isRoberta ? (id === paddingId ? paddingId : counted + paddingId) : column;
      return normalise(add(add(words(id), segments(segment)), positions(position)));
    });
  };
}

/** `BertLayer`: attention and feed-forward, each added to its input and normalised afterwards (post-LN). */
function encoderLayer(
  read: Read,
  name: string,
  { heads, epsilon }: Config,
): (hidden: readonly Vector[], isAttended: readonly boolean[]) => Vector[] {
  const query = linear(read, `${name}.attention.self.query`);
  const key = linear(read, `${name}.attention.self.key`);
  const value = linear(read, `${name}.attention.self.value`);
  const afterAttention = linear(read, `${name}.attention.output.dense`);
  const attentionNorm = layerNorm(read, `${name}.attention.output.LayerNorm`, epsilon);
  const widen = linear(read, `${name}.intermediate.dense`);
  const narrow = linear(read, `${name}.output.dense`);
  const outputNorm = layerNorm(read, `${name}.output.LayerNorm`, epsilon);
  return (hidden, isAttended) => {
    // Softmax gives a masked token the weight 0 for all others, so it can be left out.
    const attended = hidden.filter((_, token) => isAttended[token]);
    const keys = attended.map(key);
    const values = attended.map(value);
    return hidden.map((x) => {
      const mixed = attention(query(x), keys, values, heads);
      const y = attentionNorm(add(x, afterAttention(mixed)));
      return outputNorm(add(y, narrow(widen(y).map(gelu))));
    });
  };
}

/** Each head: softmax(q · k / √width) over all tokens, times v. */
function attention(query: Vector, keys: readonly Vector[], values: readonly Vector[], heads: number): Vector {
  const result = new Float64Array(query.length);
  const width = query.length / heads;
  const weights = new Float64Array(keys.length);
  for (let start = 0; start < query.length; start += width) {
    for (let token = 0; token < keys.length; token += 1) {
      weights[token] = dot(query, keys[token] as Vector, start, start + width) / Math.sqrt(width);
    }
    softmax(weights);
    for (let token = 0; token < keys.length; token += 1) {
      const value = values[token] as Vector;
      const weight = at(weights, token);
      for (let i = start; i < start + width; i += 1) result[i] = at(result, i) + weight * at(value, i);
    }
  }
  return result;
}

/**
 * The head on the first token. BERT: pooler (dense, tanh), then `classifier`. RoBERTa: `classifier.dense`, tanh,
 * `classifier.out_proj` (`RobertaClassificationHead`). Undefined where there is none.
 */
function classifier(
  read: Read,
  names: readonly string[],
  prefix: string,
  isRoberta: boolean,
): ReferenceModel["classify"] {
  const last = isRoberta ? "classifier.out_proj" : "classifier";
  if (!names.includes(`${last}.weight`)) return undefined;
  const dense = linear(read, isRoberta ? "classifier.dense" : `${prefix}pooler.dense`);
  const project = linear(read, last);
  return (hidden) => project(dense(hidden[0] as Vector).map(Math.tanh));
}

/** W x + b, with W of shape (outputs, inputs). */
function linear(read: Read, name: string): Step {
  const { shape, data } = read(`${name}.weight`);
  const weight = Float64Array.from(data);
  const bias = Float64Array.from(read(`${name}.bias`).data);
  const [outputs = 0, inputs = 0] = shape;
  return (x) => {
    const result = bias.slice();
    // Four rows at a time: sums that do not wait for each other, and stay in registers.
    let row = 0;
    for (; row + 4 <= outputs; row += 4) {
      let [a, b, c, d] = [at(bias, row), at(bias, row + 1), at(bias, row + 2), at(bias, row + 3)];
      const start = row * inputs;
      for (let i = 0; i < inputs; i += 1) {
        const factor = at(x, i);
        a += at(weight, start + i) * factor;
        b += at(weight, start + inputs + i) * factor;
        c += at(weight, start + 2 * inputs + i) * factor;
        d += at(weight, start + 3 * inputs + i) * factor;
      }
      result[row] = a;
      result[row + 1] = b;
      result[row + 2] = c;
      result[row + 3] = d;
    }
    for (; row < outputs; row += 1) {
      let sum = at(bias, row);
      for (let i = 0; i < inputs; i += 1) sum += at(weight, row * inputs + i) * at(x, i);
      result[row] = sum;
    }
    return result;
  };
}

/** torch.nn.LayerNorm: the variance is that of the whole, not of a sample. */
function layerNorm(read: Read, name: string, epsilon: number): Step {
  const weight = read(`${name}.weight`).data;
  const bias = read(`${name}.bias`).data;
  return (x) => {
    const { length } = x;
    let mean = 0;
    for (let i = 0; i < length; i += 1) mean += at(x, i) / length;
    let variance = 0;
    for (let i = 0; i < length; i += 1) variance += (at(x, i) - mean) ** 2 / length;
    const scale = 1 / Math.sqrt(variance + epsilon);
    const result = new Float64Array(length);
    for (let i = 0; i < length; i += 1) {
      result[i] = (at(x, i) - mean) * scale * (weight[i] as number) + (bias[i] as number);
    }
    return result;
  };
}

/** torch.nn.GELU's default, the exact one. */
function gelu(x: number): number {
  return (x / 2) * (1 + erf(x / Math.SQRT2));
}

/**
 * The error function to float64's precision: Maclaurin's series, for larger arguments Laplace's continued fraction of
 * its complement (NIST Digital Library of Mathematical Functions, 7.6.1 and 7.9.1).
 */
export function erf(x: number): number {
  if (x < 0) return -erf(-x);
  if (x > 6) return 1;
  if (x > 2.5) {
    let tail = x;
    for (let k = 80; k >= 1; k -= 1) tail = x + k / 2 / tail;
    return 1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
  }
  // Terms (−1)^n x^(2n+1) / (n! (2n+1)); `power` is x^(2n+1) / n! with its sign.
  let power = x;
  let sum = x;
  for (let n = 1; Math.abs(power) > 1e-18; n += 1) {
    power *= (-x * x) / n;
    sum += power / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

/** In place. */
function softmax(logits: Vector): void {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i += 1) largest = Math.max(largest, at(logits, i));
  let sum = 0;
  for (let i = 0; i < logits.length; i += 1) {
    logits[i] = Math.exp(at(logits, i) - largest);
    sum += at(logits, i);
  }
  for (let i = 0; i < logits.length; i += 1) logits[i] = at(logits, i) / sum;
}

function add(a: Vector, b: Vector): Vector {
  const sum = new Float64Array(a.length);
  for (let i = 0; i < a.length; i += 1) sum[i] = at(a, i) + at(b, i);
  return sum;
}

function dot(a: Vector, b: Vector, start: number, end: number): number {
  let sum = 0;
  for (let i = start; i < end; i += 1) sum += at(a, i) * at(b, i);
  return sum;
}

/** The rows of a table, by number. @throws {RangeError} for a number that it does not have. */
function rows({ shape, data }: Tensor): (row: number) => Vector {
  const [count = 0, width = 0] = shape;
  return (row) => {
    if (!(row >= 0 && row < count)) throw new RangeError(`row ${row} of a table of ${count}`);
    return new Float64Array(data.subarray(row * width, (row + 1) * width));
  };
}

function at(vector: Vector, index: number): number {
  return vector[index] as number;
}
