import type {
  Activation,
  Attention,
  AttentionPositions,
  Embeddings,
  FeedForward,
  Layer,
  Linear,
  ModelDescription,
  Norm,
  Weight,
} from "@crossrank/convert";
import type { OutputKind } from "@crossrank/core";
import type { GraphChanges, MadeWeight } from "./changes.js";
import {
  bucketTable,
  longestSequence,
  type RotaryPositions,
  relativeTable,
  rotaryPeriods,
} from "./places.js";
import { ProgramBuilder, type Value } from "./program.js";

/** A weight of a program. */
export type ProgramWeight =
  | { readonly kind: "model"; readonly weight: Weight; readonly use: WeightUse }
  /** Some rows of a matrix, one below the other. */
  | { readonly kind: "rows"; readonly weight: Weight; readonly rows: readonly number[] }
  /** Not of the model's files. */
  | { readonly kind: "made"; readonly weight: MadeWeight; readonly use: WeightUse }
  /** Numbers that follow from config.json. */
  | { readonly kind: "constant"; readonly name: string; readonly data: Float32Array | Int32Array };

/** `matrix`: may be quantised. `head`: stays float32, since few numbers decide everything there. */
export type WeightUse = "matrix" | "head" | "other";

export interface Graph {
  readonly weights: readonly ProgramWeight[];
  readonly program: Float64Array;
  /** Where layers and the head begin among its steps. */
  readonly parts: readonly number[];
}

/** What a graph is to give. */
export type GraphOutput = Extract<
  OutputKind,
  "class-logits" | "hidden-states" | "token-logits" | "marked-states"
>;

/**
 * A model's graph as a program of the addon. What is read of the last hidden states stands in the batch's `places`.
 *
 * @param tokens of `token-logits`.
 * @param changes to what the model's files say.
 * @throws {RangeError} for a token that the vocabulary does not have.
 */
export function emitGraph(
  description: ModelDescription,
  output: GraphOutput,
  tokens: readonly number[] = [],
  changes: GraphChanges = {},
): Graph {
  const builder = new ProgramBuilder<ProgramWeight>();
  const emitter = new Emitter(builder, description, changes);
  const finished = builder.finish(emitter.output(output, tokens), {
    ids: description.vocabularySize,
    segments: Math.max(1, description.embeddings.segment?.shape[0] ?? 1),
    columns: longestSequence(description),
  });
  return { ...finished, parts: emitter.parts };
}

class Emitter {
  readonly #builder: ProgramBuilder<ProgramWeight>;
  readonly #description: ModelDescription;
  readonly #changes: GraphChanges;
  /** Of each dropout its place. */
  readonly #dropouts = new Map<string, number>();
  readonly parts: number[] = [];

  constructor(builder: ProgramBuilder<ProgramWeight>, description: ModelDescription, changes: GraphChanges) {
    this.#builder = builder;
    this.#description = description;
    this.#changes = changes;
  }

  output(kind: GraphOutput, tokens: readonly number[]): Value {
    const { head } = this.#description;
    const states = this.#states();
    this.parts.push(this.#builder.length);
    if (kind === "hidden-states") return states;
    if (kind === "marked-states") return this.#picked(states);
    if (kind === "token-logits" && head.kind === "vocabulary") {
      const [vocabulary = 0] = head.projection.shape;
      const unknown = tokens.find((token) => !(Number.isInteger(token) && token >= 0 && token < vocabulary));
      if (unknown !== undefined)
        throw new RangeError(`it has ${vocabulary} tokens, and ${unknown} is asked for`);
      if (this.#changes.wholeVocabulary === true) {
        const matrix = head.tied ? this.#description.embeddings.word : head.projection;
        const chosen = this.#builder.add("choose-rows", [this.#weight(matrix, "matrix")], tokens);
        return this.#builder.add("linear", [this.#picked(states), chosen]);
      }
      const rows = this.#builder.weight(`rows ${tokens.join()}`, () => ({
        kind: "rows",
        weight: head.projection,
        rows: tokens,
      }));
      const logits = this.#builder.add("linear", [this.#picked(states), rows]);
      return head.cap === undefined ? logits : this.#capped(logits, head.cap);
    }
    if (head.kind !== "classifier") throw new TypeError(`${kind} of a head ${head.kind}`);
    let current =
      head.pooling === "mean"
        ? this.#builder.add("mean", [states, this.#builder.input("lengths")])
        : this.#picked(states);
    const lastLinear = head.steps.findLastIndex((step) => step.kind === "linear");
    for (const [place, step] of head.steps.entries()) {
      if (place === 0 && lastLinear > 0)
        current = this.#drop(current, "head input", this.#changes.dropout?.headInput);
      if (place === lastLinear) current = this.#drop(current, "head", this.#changes.dropout?.head);
      current =
        step.kind === "norm"
          ? this.#norm(current, step.norm, "head")
          : this.#activate(step.activation, this.#linear(current, step.linear, "head"));
    }
    return current;
  }

  #picked(states: Value): Value {
    return this.#builder.add("pick", [states, this.#builder.input("places")]);
  }

  #states(): Value {
    const { embeddings, layers, finalNorm } = this.#description;
    let current = this.#embed(embeddings);
    for (const [place, layer] of layers.entries()) {
      this.parts.push(this.#builder.length);
      current = this.#layer(current, layer, place);
    }
    return finalNorm === undefined ? current : this.#norm(current, finalNorm);
  }

  #embed({ word, position, segment, norm, projection, scale, zeroPadding = false }: Embeddings): Value {
    const builder = this.#builder;
    let sum = builder.add("take", [this.#weight(word, "matrix"), builder.input("ids")]);
    if (segment !== undefined) {
      const rows = builder.add("take", [this.#weight(segment), builder.input("segments")]);
      sum = builder.add("add", [sum, rows]);
    }
    if (position !== undefined) {
      const rows = builder.add("rows", [this.#weight(position), builder.input("ids")]);
      sum = builder.add("add", [sum, rows]);
    }
    if (scale !== undefined && scale !== 1) sum = builder.add("scale", [sum], [scale]);
    if (norm !== undefined) sum = this.#norm(sum, norm);
    if (zeroPadding) sum = builder.add("zero-padding", [sum, builder.input("lengths")]);
    sum = this.#drop(sum, "embeddings", this.#changes.dropout?.embeddings);
    return projection === undefined ? sum : this.#linear(sum, projection);
  }

  #layer(x: Value, layer: Layer, place: number): Value {
    const { placement, attention, attentionNorm, attentionAfter } = layer;
    const { feedForward, feedForwardNorm, feedForwardAfter } = layer;
    const builder = this.#builder;
    const after = (value: Value, norm: Norm | undefined): Value =>
      norm === undefined ? value : this.#norm(value, norm);
    const chances = this.#changes.dropout;
    const attend = (from: Value): Value =>
      this.#drop(this.#attend(from, attention, place), `attention ${place}`, chances?.attention);
    const feed = (from: Value): Value =>
      this.#drop(this.#feed(from, feedForward, place), `feed-forward ${place}`, chances?.feedForward);
    if (placement === "post") {
      const attended = builder.add("add", [x, attend(x)]);
      const first = attentionNorm === undefined ? attended : this.#norm(attended, attentionNorm);
      return this.#norm(builder.add("add", [first, feed(first)]), feedForwardNorm);
    }
    const normed = attentionNorm === undefined ? x : this.#norm(x, attentionNorm);
    const first = builder.add("add", [x, after(attend(normed), attentionAfter)]);
    const fed = feed(this.#norm(first, feedForwardNorm));
    return builder.add("add", [first, after(fed, feedForwardAfter)]);
  }

  /** cap · tanh(x / cap). */
  #capped(x: Value, cap: number): Value {
    const builder = this.#builder;
    return builder.add("scale", [builder.add("tanh", [builder.add("scale", [x], [1 / cap])])], [cap]);
  }

  #feed(x: Value, { gate, up, down, activation }: FeedForward, place: number): Value {
    let inner = this.#activate(activation, this.#linear(x, gate ?? up));
    if (gate !== undefined) inner = this.#builder.add("multiply", [inner, this.#linear(x, up)]);
    return this.#linear(this.#drop(inner, `inner ${place}`, this.#changes.dropout?.inner), down);
  }

  #attend(x: Value, attention: Attention, place: number): Value {
    const builder = this.#builder;
    const { heads, keyValueHeads, headSize, scale, cap, positions, causal, reach, queryNorm, keyNorm } =
      attention;
    const isRotary = positions.kind === "rotary" || positions.kind === "scaled-rotary";
    const headsOf = (flat: Value, count: number, norm?: Norm, turns = isRotary): Value => {
      const apart = builder.add("split-heads", [flat], [count]);
      const normed = norm === undefined ? apart : this.#norm(apart, norm);
      return turns && isRotary ? builder.add("rope", [normed, this.#periods(positions, headSize)]) : normed;
    };
    const query = headsOf(this.#linear(x, attention.query), heads, queryNorm);
    const flatKey = this.#linear(x, attention.key);
    const key = headsOf(flatKey, keyValueHeads, keyNorm);
    const value = headsOf(this.#linear(x, attention.value), keyValueHeads, undefined, false);
    const seen = builder.add(
      "attention-mask",
      [builder.input("lengths"), builder.input("extents")],
      [Number(causal), reach ?? -1],
    );
    // Capped scores are made by themselves and added to products that are 0: fused attention caps none.
    const added =
      cap === undefined
        ? this.#placed(attention, query, key)
        : this.#cappedScores(query, headsOf(this.#repeated(flatKey, attention), heads, keyNorm), scale, cap);
    const mask = added === undefined ? seen : builder.add("hide", [added, seen]);
    const products = cap === undefined ? query : builder.add("scale", [query], [0]);
    const chance = this.#changes.dropout?.shares ?? 0;
    const dropping = chance === 0 ? 0 : this.#placeOf(`shares ${place}`);
    const mixed = builder.add("attention", [products, key, value, mask], [scale, chance, dropping]);
    return this.#linear(builder.add("merge-heads", [mixed]), attention.output);
  }

  #cappedScores(query: Value, key: Value, scale: number, cap: number): Value {
    const builder = this.#builder;
    return this.#capped(builder.add("scale", [builder.add("matmul", [query, key])], [scale]), cap);
  }

  /** Keys of heads that several queries share, once for each of them, by a matrix of zeros and ones. */
  #repeated(flat: Value, { heads, keyValueHeads, headSize }: Attention): Value {
    if (heads === keyValueHeads) return flat;
    const [outputs, inputs] = [heads * headSize, keyValueHeads * headSize];
    const repeats = this.#made(
      {
        name: `repeats ${heads} ${keyValueHeads} ${headSize}`,
        shape: [outputs, inputs],
        read: () => {
          const matrix = new Float32Array(outputs * inputs);
          for (let row = 0; row < outputs; row += 1) {
            const head = Math.floor((Math.floor(row / headSize) * keyValueHeads) / heads);
            matrix[row * inputs + head * headSize + (row % headSize)] = 1;
          }
          return matrix;
        },
      },
      "other",
    );
    return this.#builder.add("linear", [flat, repeats]);
  }

  /** What positions add to the scaled products; undefined where they add nothing. */
  #placed({ positions, heads, scale }: Attention, query: Value, key: Value): Value | undefined {
    const builder = this.#builder;
    if (positions.kind === "bucketed") {
      const distances = this.#distances(`buckets ${positions.buckets} ${positions.maxDistance}`, {
        table: () => bucketTable(positions, longestSequence(this.#description)),
        below: positions.bias.shape[0] ?? 0,
      });
      const biases = builder.add("take", [this.#weight(positions.bias), distances]);
      return builder.add("expand", [builder.add("transpose", [biases], [2, 0, 1])], [0]);
    }
    if (positions.kind !== "disentangled") return undefined;
    return this.#disentangled(positions, { query, key, heads, scale });
  }

  /** DeBERTa's: query i · k(i − j) and key j · q(i − j), both scaled. */
  #disentangled(
    positions: Extract<AttentionPositions, { kind: "disentangled" }>,
    {
      query,
      key,
      heads,
      scale,
    }: { readonly query: Value; readonly key: Value } & Pick<Attention, "heads" | "scale">,
  ): Value | undefined {
    const builder = this.#builder;
    const distances = this.#distances(
      `relative ${positions.span} ${positions.buckets} ${positions.maxRelativePositions}`,
      {
        table: () => relativeTable(positions, longestSequence(this.#description)),
        below: 2 * positions.span,
      },
    );
    const rows = (linear: Linear): Value => {
      const table = builder.add("expand", [this.#weight(positions.relative)], [0]);
      const normed = positions.relativeNorm === undefined ? table : this.#norm(table, positions.relativeNorm);
      return builder.add("split-heads", [this.#linear(normed, linear)], [heads]);
    };
    const parts: Value[] = [];
    if (positions.key !== undefined) {
      const products = builder.add("matmul", [query, rows(positions.key)]);
      parts.push(builder.add("take-along", [products, distances]));
    }
    if (positions.query !== undefined) {
      const products = builder.add("matmul", [key, rows(positions.query)]);
      const byKey = builder.add("take-along", [products, builder.add("transpose", [distances], [1, 0])]);
      parts.push(builder.add("transpose", [byKey], [0, 1, 3, 2]));
    }
    const [first, second] = parts;
    if (first === undefined) return undefined;
    const sum = second === undefined ? first : builder.add("add", [first, second]);
    return builder.add("scale", [sum], [scale]);
  }

  #distances(key: string, given: { readonly table: () => Int32Array; readonly below: number }): Value {
    const table = this.#builder.weight(key, () => ({ kind: "constant", name: key, data: given.table() }));
    return this.#builder.add("distances", [table, this.#builder.input("ids")], [given.below]);
  }

  #periods(positions: RotaryPositions, headSize: number): Value {
    const turns = positions.kind === "rotary" ? positions.theta : positions.frequencies.join();
    const key = `rotary ${turns} ${headSize}`;
    return this.#builder.weight(key, () => ({
      kind: "constant",
      name: key,
      data: rotaryPeriods(positions, headSize),
    }));
  }

  #linear(x: Value, { weight, bias }: Linear, use: WeightUse = "matrix"): Value {
    const others = use === "matrix" ? "other" : use;
    const inputs = [
      x,
      this.#weight(weight, use),
      ...(bias === undefined ? [] : [this.#weight(bias, others)]),
    ];
    return this.#raise(x, weight, this.#builder.add("linear", inputs));
  }

  /** What a matrix gives, and what its low rank adds. */
  #raise(x: Value, weight: Weight, y: Value): Value {
    const lowRank = this.#changes.lowRankOf?.(weight);
    if (lowRank === undefined) return y;
    const builder = this.#builder;
    const { a, b, scale } = lowRank;
    const dropped = this.#drop(x, a.name, this.#changes.lowRankDropout);
    const low = builder.add("linear", [dropped, this.#made(a, "other")]);
    const added = builder.add("linear", [low, this.#made(b, "other")]);
    return builder.add("add", [y, builder.add("scale", [added], [scale])]);
  }

  #drop(x: Value, name: string, chance = 0): Value {
    return chance === 0 ? x : this.#builder.add("dropout", [x], [chance, this.#placeOf(name)]);
  }

  /** By which a dropout's own numbers differ from those of others: the order in which they come. */
  #placeOf(name: string): number {
    const place = this.#dropouts.get(name) ?? this.#dropouts.size;
    this.#dropouts.set(name, place);
    return place;
  }

  #made(weight: MadeWeight, use: WeightUse): Value {
    return this.#builder.weight(`made ${weight.name}`, () => ({ kind: "made", weight, use }));
  }

  #norm(x: Value, { kind, weight, bias, epsilon }: Norm, use: WeightUse = "other"): Value {
    const inputs = [x, this.#weight(weight, use), ...(bias === undefined ? [] : [this.#weight(bias, use)])];
    return this.#builder.add(kind, inputs, [epsilon]);
  }

  #activate(activation: Activation, x: Value): Value {
    return activation === "identity" ? x : this.#builder.add(activation, [x]);
  }

  #weight(weight: Weight, use: WeightUse = "other"): Value {
    const instead = this.#changes.insteadOf?.(weight);
    if (instead !== undefined) return this.#made(instead, use);
    return this.#builder.weight(weight, () => ({ kind: "model", weight, use }));
  }
}
