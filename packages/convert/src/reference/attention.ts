import type { Attention, AttentionPositions } from "../source/description.js";
import { relativeBucket } from "../source/relative-bucket.js";
import { frequenciesOf } from "../source/rope.js";
import { multiply, normalise, project, readAll, type Vectors, vectors } from "./matrix.js";
import type { Pace } from "./pace.js";

/** Where each sequence is among the stacked tokens. */
export interface Span {
  readonly start: number;
  readonly length: number;
  /** Tokens at the front that all others see. Default all. */
  readonly attended?: number | undefined;
}

/**
 * Self-attention of every sequence by itself.
 * @param hidden tokens of all sequences, stacked.
 * @param relative what {@link relativeRows} gave.
 */
export async function attend(
  hidden: Vectors,
  spans: readonly Span[],
  attention: Attention,
  relative: Vectors | undefined,
  pace: Pace,
): Promise<Vectors> {
  const { heads, headSize, positions } = attention;
  const query = await project(hidden, attention.query, pace);
  const key = await project(hidden, attention.key, pace);
  const value = await project(hidden, attention.value, pace);
  if (attention.queryNorm !== undefined) await normalise(query, attention.queryNorm, headSize);
  if (attention.keyNorm !== undefined) await normalise(key, attention.keyNorm, headSize);
  if (positions.kind === "rotary" || positions.kind === "scaled-rotary") {
    const frequencies = frequenciesOf(positions, headSize);
    rotate(query, spans, headSize, frequencies);
    rotate(key, spans, headSize, frequencies);
  }
  const bias = await relativeBias(attention, relative, spans, pace);
  const context = vectors(hidden.count, heads * headSize);
  for (const span of spans) {
    for (let head = 0; head < heads; head += 1) {
      attendHead(query, key, value, context, span, head, attention, bias);
      await pace.rest();
    }
  }
  return project(context, attention.output, pace);
}

/** What positions say about a query and a key, at these places of their numbers, besides their own product. */
type Bias = (
  query: Vectors,
  key: Vectors,
  queryAt: number,
  keyAt: number,
  column: number,
  distance: number,
) => number;

/** Queries that are worked on at once. */
const queriesAtOnce = 64;

function attendHead(
  query: Vectors,
  key: Vectors,
  value: Vectors,
  context: Vectors,
  { start, length, attended = length }: Span,
  head: number,
  { heads, keyValueHeads, headSize, scale, cap, causal, reach = length }: Attention,
  bias: Bias | undefined,
): void {
  const column = head * headSize;
  const shared = Math.floor((head * keyValueHeads) / heads) * headSize;
  for (let from = 0; from < length; from += queriesAtOnce) {
    const to = Math.min(length, from + queriesAtOnce);
    // All keys that one of these queries sees.
    const low = Math.max(0, from - reach);
    const high = Math.min(attended, causal ? to : Math.min(length, to + reach));
    if (from - reach >= attended || high <= low) throw noneSeen(reach);
    const queries = columnsOf(query, start + from, start + to, column, headSize);
    const keys = columnsOf(key, start + low, start + high, shared, headSize);
    const values = columnsOf(value, start + low, start + high, shared, headSize);
    const weights = vectors(to - from, high - low);
    multiply(queries, keys.data, weights, 0);
    for (let i = from; i < to; i += 1) {
      const row = weights.data.subarray((i - from) * weights.width, (i - from + 1) * weights.width);
      const first = Math.max(low, i - reach) - low;
      const last = Math.min(high - 1, causal ? i : i + reach) - low;
      if (last < first) throw noneSeen(reach);
      if (bias !== undefined) {
        const queryAt = (start + i) * query.width + column;
        for (let j = first; j <= last; j += 1) {
          const keyAt = (start + low + j) * key.width + shared;
          row[j] = (row[j] as number) + bias(query, key, queryAt, keyAt, column, i - low - j);
        }
      }
      if (cap !== undefined) {
        // The products are scaled behind this.
        const largest = cap / scale;
        for (let j = first; j <= last; j += 1) row[j] = largest * Math.tanh((row[j] as number) / largest);
      }
      softmax(row, first, last, scale);
    }
    const mixed = vectors(to - from, headSize);
    multiply(weights, transpose(values), mixed, 0);
    for (let i = from; i < to; i += 1) {
      const vector = mixed.data.subarray((i - from) * headSize, (i - from + 1) * headSize);
      context.data.set(vector, (start + i) * context.width + column);
    }
  }
}

function noneSeen(reach: number): RangeError {
  return new RangeError(
    `a token that is not attended sees ${reach} places to either side, and no attended token is there`,
  );
}

/** In place, of the numbers `first` to `last` times `scale`; the others become 0. */
function softmax(row: Float64Array, first: number, last: number, scale: number): void {
  let largest = Number.NEGATIVE_INFINITY;
  for (let j = first; j <= last; j += 1) largest = Math.max(largest, (row[j] as number) * scale);
  let total = 0;
  for (let j = first; j <= last; j += 1) {
    const power = Math.exp((row[j] as number) * scale - largest);
    row[j] = power;
    total += power;
  }
  for (let j = first; j <= last; j += 1) row[j] = (row[j] as number) / total;
  row.fill(0, 0, first);
  row.fill(0, last + 1);
}

/** A copy of some columns of the vectors `from` to `to` (not included). */
function columnsOf(
  { data, width }: Vectors,
  from: number,
  to: number,
  column: number,
  count: number,
): Vectors {
  const part = vectors(to - from, count);
  for (let i = from; i < to; i += 1) {
    const at = i * width + column;
    part.data.set(data.subarray(at, at + count), (i - from) * count);
  }
  return part;
}

/** The numbers of (count, width) as (width, count). */
function transpose({ data, count, width }: Vectors): Float64Array {
  const result = new Float64Array(data.length);
  for (let i = 0; i < count; i += 1) {
    for (let k = 0; k < width; k += 1) result[k * count + i] = data[i * width + k] as number;
  }
  return result;
}

/**
 * Rotary positions in place. Frequencies and angles are rounded to float32, as the models' own code has them
 * (transformers `modeling_rope_utils.py`, compute_default_rope_parameters): at place 8,000 the rounding itself moves
 * an angle by 5e-4, and a model is trained with it.
 */
function rotate(x: Vectors, spans: readonly Span[], headSize: number, frequencies: readonly number[]): void {
  const half = headSize / 2;
  const longest = Math.max(0, ...spans.map(({ length }) => length));
  const cosines = new Float64Array(longest * half);
  const sines = new Float64Array(longest * half);
  for (let i = 0; i < half; i += 1) {
    const frequency = frequencies[i] as number;
    for (let place = 0; place < longest; place += 1) {
      const angle = Math.fround(place * frequency);
      cosines[place * half + i] = Math.cos(angle);
      sines[place * half + i] = Math.sin(angle);
    }
  }
  const { data, width } = x;
  for (const { start, length } of spans) {
    for (let place = 0; place < length; place += 1) {
      const at = (start + place) * width;
      for (let head = at; head < at + width; head += headSize) {
        for (let i = 0; i < half; i += 1) {
          const cosine = cosines[place * half + i] as number;
          const sine = sines[place * half + i] as number;
          const a = data[head + i] as number;
          const b = data[head + half + i] as number;
          data[head + i] = a * cosine - b * sine;
          data[head + half + i] = b * cosine + a * sine;
        }
      }
    }
  }
}

type Disentangled = Extract<AttentionPositions, { kind: "disentangled" }>;

/** DeBERTa's table of relative positions behind its norm; shared by all layers, so read once a batch. */
export async function relativeRows({ relative, relativeNorm }: Disentangled): Promise<Vectors> {
  const [count = 0, width = 0] = relative.shape;
  const rows = vectors(count, width);
  rows.data.set(await readAll(relative));
  if (relativeNorm !== undefined) await normalise(rows, relativeNorm);
  return rows;
}

/**
 * Content to position and position to content: q · K_r[δ] + k · Q_r[δ], δ the bucket of the distance from query to key
 * (transformers `models/deberta_v2/modeling_deberta_v2.py`, disentangled_attention_bias).
 */
async function relativeBias(
  { positions, headSize, scale }: Attention,
  relative: Vectors | undefined,
  spans: readonly Span[],
  pace: Pace,
): Promise<Bias | undefined> {
  if (positions.kind === "bucketed") {
    const heads = positions.bias.shape[1] as number;
    const biases = await readAll(positions.bias);
    return (_query, _key, _queryAt, _keyAt, column, distance) => {
      const bucket = relativeBucket(-distance, positions);
      // The product is scaled after this is added, and this is not to be.
      return (biases[bucket * heads + column / headSize] as number) / scale;
    };
  }
  if (positions.kind !== "disentangled" || relative === undefined) return undefined;
  const longest = Math.max(1, ...spans.map(({ length }) => length));
  const rowOf = Int32Array.from({ length: 2 * longest - 1 }, (_, index) =>
    relativeRow(index - (longest - 1), positions),
  );
  // Only the rows that so short a sequence can meet.
  const first = rowOf[0] as number;
  const used: Vectors = {
    count: (rowOf.at(-1) as number) - first + 1,
    width: relative.width,
    data: relative.data.subarray(first * relative.width, ((rowOf.at(-1) as number) + 1) * relative.width),
  };
  const keys = positions.key === undefined ? undefined : await project(used, positions.key, pace);
  const queries = positions.query === undefined ? undefined : await project(used, positions.query, pace);
  return (query, key, queryAt, keyAt, column, distance) => {
    const row = (rowOf[distance + longest - 1] as number) - first;
    return (
      (keys === undefined ? 0 : dot(query, queryAt, keys, row * keys.width + column, headSize)) +
      (queries === undefined ? 0 : dot(key, keyAt, queries, row * queries.width + column, headSize))
    );
  };
}

function dot(a: Vectors, aAt: number, b: Vectors, bAt: number, length: number): number {
  const [left, right] = [a.data, b.data];
  let sum = 0;
  for (let k = 0; k < length; k += 1) sum += (left[aAt + k] as number) * (right[bAt + k] as number);
  return sum;
}

/**
 * The row of the relative table for a distance. Near ones have a row each, beyond half of the buckets they share rows
 * by their logarithm, in float32 as the reference computes it (make_log_bucket_position). Rises with the distance.
 */
export function relativeRow(
  distance: number,
  { span, buckets, maxRelativePositions }: Pick<Disentangled, "span" | "buckets" | "maxRelativePositions">,
): number {
  const bucket = buckets === undefined ? distance : logBucket(distance, buckets, maxRelativePositions);
  return Math.min(2 * span - 1, Math.max(0, bucket + span));
}

function logBucket(distance: number, buckets: number, maxRelativePositions: number): number {
  const { fround, log } = Math;
  const middle = Math.floor(buckets / 2);
  const far = Math.abs(distance);
  if (far <= middle) return distance;
  const share = fround(
    fround(log(fround(far / middle))) / fround(log(fround((maxRelativePositions - 1) / middle))),
  );
  return Math.sign(distance) * (Math.ceil(fround(share * (middle - 1))) + middle);
}
