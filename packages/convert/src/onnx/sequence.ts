import type { Emitter } from "./emitter.js";

/** What masks add to the scores of hidden tokens: e^-10000 is 0 in every precision, and half precision can hold it. */
const hidden = -10_000;

/**
 * What depends on the batch's shape and attention mask alone, made when first asked for and shared by all layers.
 * Masks are added to scores (no Where), so that a row of padding alone stays finite.
 */
export class Sequence {
  readonly #emitter: Emitter;
  readonly #made = new Map<string, string>();
  readonly #aliases = new Map<string, string[]>();

  constructor(emitter: Emitter) {
    this.#emitter = emitter;
  }

  /** The length, as a vector of one int64. */
  get length(): string {
    return this.#once("length", () => {
      return this.#emitter.slice(
        this.#shape,
        [this.#graph.integers([1]), this.#graph.integers([2])],
        0,
        "length",
      );
    });
  }

  /** 0, 1 … length − 1, int64. */
  get positions(): string {
    return this.#once("positions", () => this.range(this.length, "positions"));
  }

  /** 0, 1 … count − 1 of a vector of one int64. */
  range(count: string, output: string): string {
    const end = this.#graph.node("Squeeze", [count, this.#graph.integers([0])], `${output}.count`);
    return this.#graph.node("Range", [this.#graph.integer(0), end, this.#graph.integer(1)], output);
  }

  /**
   * A zero point for every token, or for the first of each row.
   * @returns (tokens) uint8, all `zero`.
   */
  zeroPoints(zero: number, first: boolean): string {
    const name = `zeros.${zero}${first ? ".first" : ""}`;
    return this.#once(name, () => {
      const graph = this.#graph;
      const count = first ? this.batch : this.#once("tokens", () => this.#tokens());
      return graph.node("Expand", [this.#emitter.byte(zero), count], name);
    });
  }

  #tokens(): string {
    const size = this.#graph.node("Size", ["input_ids"], "tokens.count");
    return this.#emitter.reshape(size, [1], "tokens");
  }

  /** The batch's rows, as a vector of one int64. */
  get batch(): string {
    return this.#once("batch", () => {
      const bounds = [this.#graph.integers([0]), this.#graph.integers([1])] as const;
      return this.#emitter.slice(this.#shape, bounds, 0, "rows");
    });
  }

  /** (batch, length, width), or (batch, 1, width) of first tokens, as a vector of int64. */
  shapeOf(width: number, first: boolean): string {
    if (first) return this.#graph.integers([-1, 1, width]);
    const name = `shape.${width}`;
    return this.#once(name, () =>
      this.#graph.node("Concat", [this.#shape, this.#graph.integers([width])], name, {
        attributes: { axis: { integer: 0 } },
      }),
    );
  }

  get #shape(): string {
    return this.#once("shape", () => this.#graph.node("Shape", ["input_ids"], "shape"));
  }

  /** The attention mask as (batch, length) int32, as ONNX Runtime's own operators take it. */
  get rawMask(): string {
    return this.#once("rawMask", () => this.#emitter.cast("attention_mask", "int32", "mask.int32"));
  }

  /** Whether no row of the batch has padding: a bool without dimensions. */
  get unpadded(): string {
    return this.#once("unpadded", () => {
      const options = { attributes: { keepdims: { integer: 0 } } };
      const least = this.#graph.node("ReduceMin", [this.rawMask], "mask.least", options);
      const real = this.#emitter.cast(least, "float32", "mask.least.float");
      return this.#graph.node("Greater", [real, this.#emitter.number(0)], "mask.unpadded");
    });
  }

  /** (batch, length) of 1 and 0, float32. */
  get tokenWeights(): string {
    return this.#once("tokenWeights", () => this.#emitter.cast("attention_mask", "float32", "mask.float"));
  }

  /** (batch, 1, 1, length): 0 for a token, a large negative number for padding. */
  get paddingMask(): string {
    return this.#once("paddingMask", () => {
      const padding = this.#graph.node("Sub", [this.#emitter.number(1), this.tokenWeights], "mask.padding");
      const scaled = this.#graph.node("Mul", [padding, this.#emitter.number(hidden)], "mask.scaled");
      return this.#emitter.graph.node("Unsqueeze", [scaled, this.#graph.integers([1, 2])], "mask.additive");
    });
  }

  /**
   * (1, 1, length, length): 0 where a token sees another, a large negative number where not.
   * @param reach most places away; undefined: any.
   * @param first only the first row: (1, 1, 1, length).
   */
  placeMask(causal: boolean, reach: number | undefined, first: boolean): string | undefined {
    if (!causal && reach === undefined) return undefined;
    if (first) {
      const whole = this.placeMask(causal, reach, false) as string;
      const bounds = [this.#graph.integers([0]), this.#graph.integers([1])] as const;
      return this.#once(`${whole}.first`, () => this.#emitter.slice(whole, bounds, 2, `${whole}.first`));
    }
    const name = `places${causal ? ".causal" : ""}${reach === undefined ? "" : `.reach${reach}`}`;
    return this.#once(name, () => {
      const ahead = this.placesAhead;
      const parts: string[] = [];
      if (reach !== undefined) {
        const away = this.#graph.node("Abs", [ahead], `${name}.away`);
        parts.push(this.#graph.node("Sub", [away, this.#emitter.number(reach)], `${name}.beyond`));
      }
      // One place ahead is hidden already.
      if (causal) parts.push(ahead);
      const [first = ahead, second] = parts;
      const worst = second === undefined ? first : this.#graph.node("Max", [first, second], `${name}.worst`);
      const bounds = [this.#emitter.number(0), this.#emitter.number(1)];
      const flags = this.#graph.node("Clip", [worst, ...bounds], `${name}.hidden`);
      const scaled = this.#graph.node("Mul", [flags, this.#emitter.number(hidden)], `${name}.scaled`);
      return this.#graph.node("Unsqueeze", [scaled, this.#graph.integers([0, 1])], name);
    });
  }

  /** (length, length), float32: the column's place less the row's. */
  get placesAhead(): string {
    return this.#once("ahead", () => {
      const places = this.#emitter.cast(this.positions, "float32", "positions.float");
      const rows = this.#graph.node("Unsqueeze", [places, this.#graph.integers([1])], "positions.rows");
      const columns = this.#graph.node("Unsqueeze", [places, this.#graph.integers([0])], "positions.columns");
      return this.#graph.node("Sub", [columns, rows], "places.ahead");
    });
  }

  /** Any further value that all layers share. */
  shared(name: string, make: () => string): string {
    return this.#once(`shared.${name}`, make);
  }

  /** A short name for a long key: the prefix for the first one, and numbered from the second on. */
  alias(prefix: string, key: string): string {
    const known = this.#aliases.get(prefix) ?? [];
    this.#aliases.set(prefix, known);
    const index = known.includes(key) ? known.indexOf(key) : known.push(key) - 1;
    return index === 0 ? prefix : `${prefix}.${index + 1}`;
  }

  get #graph(): Emitter["graph"] {
    return this.#emitter.graph;
  }

  #once(name: string, make: () => string): string {
    const made = this.#made.get(name) ?? make();
    this.#made.set(name, made);
    return made;
  }
}
