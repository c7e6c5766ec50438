import type { Attention, AttentionPositions, Linear } from "../source/description.js";
import type { Emitter } from "./emitter.js";
import type { Sequence } from "./sequence.js";

/** Beyond any index; 32 bits for runtimes that have no more. */
const end = 2 ** 31 - 1;

type Disentangled = Extract<AttentionPositions, { kind: "disentangled" }>;

interface Place {
  readonly emitter: Emitter;
  readonly sequence: Sequence;
  readonly attention: Attention;
  readonly positions: Disentangled;
  /** (batch, heads, length, headSize), scaled already. */
  readonly query: string;
  /** (batch, heads, length, headSize). */
  readonly key: string;
  /** Only the first row is asked for: `query` is the first token's alone. */
  readonly keepsFirst: boolean;
  readonly name: string;
}

/**
 * DeBERTa's two products with relative positions, scaled: (batch, heads, length, length), where entry (i, j) is
 * query i · k(i − j) + key j · q(i − j).
 *
 * A relative position's row depends on i − j alone. So each product is made for the 2 · length differences that there
 * are, and its rows are then shifted against each other by reading the same numbers in rows that are one shorter (as
 * Transformer-XL does, Dai et al. 2019, appendix B): no gather, and no index as large as the scores.
 */
export function relativeScores(place: Place): string | undefined {
  const { emitter, sequence, attention, positions, query, key, keepsFirst, name } = place;
  const { graph } = emitter;
  const { heads, scale } = attention;
  const parts: string[] = [];
  if (positions.key !== undefined) {
    const rows = relativeRows(place, positions.key, keepsFirst ? "fromFirst" : "falling", "key");
    const turned = emitter.transpose(rows, [0, 1, 3, 2], `${rows}.turned`);
    const product = graph.node("MatMul", [query, turned], `${name}.c2p`);
    parts.push(keepsFirst ? product : shifted(emitter, sequence, product, heads));
  }
  if (positions.query !== undefined) {
    const rows = relativeRows(place, positions.query, keepsFirst ? "fromFirst" : "rising", "query");
    const scaled = graph.node("Mul", [rows, emitter.number(scale)], `${rows}.scaled`);
    if (keepsFirst) {
      // Every key has one row to meet, its own.
      const products = graph.node("Mul", [key, scaled], `${name}.p2c.products`);
      const attributes = { keepdims: { integer: 0 } };
      const sums = graph.node("ReduceSum", [products, graph.integers([-1])], `${name}.p2c`, { attributes });
      parts.push(graph.node("Unsqueeze", [sums, graph.integers([2])], `${name}.p2c.turned`));
    } else {
      const turned = emitter.transpose(scaled, [0, 1, 3, 2], `${rows}.turned`);
      const product = graph.node("MatMul", [key, turned], `${name}.p2c`);
      const byKey = shifted(emitter, sequence, product, heads);
      parts.push(emitter.transpose(byKey, [0, 1, 3, 2], `${name}.p2c.turned`));
    }
  }
  const [first, second] = parts;
  if (first === undefined || second === undefined) return first;
  return graph.node("Add", [first, second], `${name}.relative`);
}

/**
 * Differences i − j in the order in which a product needs them.
 * - `rising`: −length … length − 1, for a row of one key j and all queries i.
 * - `falling`: length … 1 − length, for a row of one query i and all keys j.
 * - `fromFirst`: 0 … 1 − length, of the first query.
 */
type Differences = "rising" | "falling" | "fromFirst";

/** The projected rows of the differences: (1, heads, differences, headSize), as deep as what they meet: MNN needs that. */
function relativeRows(
  { emitter, sequence, attention: { heads, headSize }, positions, name }: Place,
  linear: Linear,
  differences: Differences,
  what: string,
): string {
  const table = emitter.constantLinear(
    relativeTable(emitter, sequence, positions),
    linear,
    `${name}.relative.${what}`,
  );
  const indices = differenceRows(emitter, sequence, positions, differences);
  const rows = emitter.graph.node("Gather", [table, indices], `${table}.rows`);
  return emitter.transpose(
    emitter.reshape(rows, [1, -1, heads, headSize], `${rows}.apart`),
    [0, 2, 1, 3],
    `${rows}.heads`,
  );
}

/** The table of relative positions, (2 · span, hidden). */
function relativeTable(
  emitter: Emitter,
  sequence: Sequence,
  { relative, relativeNorm }: Disentangled,
): string {
  return sequence.shared("relative", () => {
    const table = emitter.matrixAsIs(relative, "relative");
    return relativeNorm === undefined ? table : emitter.norm(table, relativeNorm, "relative.norm");
  });
}

/** The table's row of each difference. */
function differenceRows(
  emitter: Emitter,
  sequence: Sequence,
  positions: Disentangled,
  order: Differences,
): string {
  const { graph } = emitter;
  const name = `differences.${order}`;
  return sequence.shared(name, () => {
    const { length } = sequence;
    if (order === "fromFirst") {
      const falling = differenceRows(emitter, sequence, positions, "falling");
      return emitter.slice(falling, [length, graph.integers([end])], 0, name);
    }
    const rising = sequence.shared("differences", () => {
      const twice = graph.node("Add", [length, length], "length.twice");
      return graph.node("Sub", [sequence.range(twice, "differences.range"), length], "differences");
    });
    const ordered = order === "rising" ? rising : graph.node("Neg", [rising], `${name}.values`);
    const { reach, rows } = rowsByDifference(positions);
    const low = graph.node("Max", [ordered, graph.integer(-reach)], `${name}.low`);
    const bounded = graph.node("Min", [low, graph.integer(reach)], `${name}.bounded`);
    const index = graph.node("Add", [bounded, graph.integer(reach)], `${name}.index`);
    return graph.node("Gather", [emitter.integerTable("differences.table", rows), index], name);
  });
}

/**
 * (batch, heads, length, 2 · length) → (batch, heads, length, length): entry (r, c) is that of column c − r + length.
 * Row-major, that is number length + r · (2 · length − 1) + c.
 */
function shifted(emitter: Emitter, sequence: Sequence, x: string, heads: number): string {
  const { graph } = emitter;
  const { length } = sequence;
  const flat = emitter.reshape(x, [0, heads, -1], `${x}.flat`);
  const rest = emitter.slice(flat, [length, graph.integers([end])], 2, `${x}.rest`);
  const shape = sequence.shared("shifted.shape", () =>
    graph.node("Concat", [graph.integers([0, heads]), length, graph.integers([-1])], "shifted.shape", {
      attributes: { axis: { integer: 0 } },
    }),
  );
  const rows = graph.node("Reshape", [rest, shape], `${x}.shorter`);
  return emitter.slice(rows, [graph.integers([0]), length], 3, `${x}.shifted`);
}

/** Rows of the table for differences −reach … reach; beyond, those of the ends. */
export function rowsByDifference(
  positions: Pick<Disentangled, "span" | "buckets" | "maxRelativePositions">,
): {
  readonly reach: number;
  readonly rows: readonly number[];
} {
  const last = 2 * positions.span - 1;
  const rowOf = (difference: number): number =>
    Math.min(last, Math.max(0, bucketOf(difference, positions) + positions.span));
  // Twice as far every distance has the row of the ends, also where rounding or few buckets leave the last one out.
  const most = 2 * positions.maxRelativePositions;
  let reach = 1;
  while (reach < most && (rowOf(reach) < last || rowOf(-reach) > 0)) reach += 1;
  return { reach, rows: Array.from({ length: 2 * reach + 1 }, (_, index) => rowOf(index - reach)) };
}

/**
 * Exact up to half of the buckets, logarithmic beyond. As `make_log_bucket_position` of transformers'
 * `models/deberta_v2/modeling_deberta_v2.py` computes it, in float32 throughout: a difference that falls between two
 * buckets would otherwise take the wrong one.
 */
function bucketOf(
  difference: number,
  { buckets, maxRelativePositions }: Pick<Disentangled, "buckets" | "maxRelativePositions">,
): number {
  const distance = Math.abs(difference);
  const middle = buckets === undefined ? Number.POSITIVE_INFINITY : Math.floor(buckets / 2);
  if (distance <= middle) return difference;
  const { fround } = Math;
  const logarithm = (value: number): number => fround(Math.log(fround(value)));
  const share = fround(logarithm(distance / middle) / logarithm((maxRelativePositions - 1) / middle));
  return Math.sign(difference) * (Math.ceil(fround(share * (middle - 1))) + middle);
}
