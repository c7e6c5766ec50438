/** Numbers in double precision, row-major. */
export interface Array64 {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export type Forward = (weights: Readonly<Record<"x" | "y" | "z" | "w", Array64>>) => Array64;

export function array64(shape: readonly number[], data: ArrayLike<number>): Array64 {
  return { shape, data: Float64Array.from(data) };
}

const count = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Each place of an array of this shape. */
function* places(shape: readonly number[]): Generator<readonly number[]> {
  const total = count(shape);
  for (let flat = 0; flat < total; flat += 1) {
    const place: number[] = [];
    let rest = flat;
    for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
      const size = shape[axis] as number;
      place.unshift(rest % size);
      rest = Math.floor(rest / size);
    }
    yield place;
  }
}

/** Missing dimensions in front, and those of 1, are repeated. */
function at({ shape, data }: Array64, place: readonly number[]): number {
  const skipped = place.length - shape.length;
  let flat = 0;
  for (const [axis, size] of shape.entries())
    flat = flat * size + (size === 1 ? 0 : (place[axis + skipped] as number));
  return data[flat] as number;
}

function make(shape: readonly number[], value: (place: readonly number[]) => number): Array64 {
  return array64(shape, Array.from(places(shape), value));
}

/** Abramowitz and Stegun 7.1.6: a series that converges for the arguments here. */
function erf(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n += 1) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** What each number of an array counts behind a dropout: 0, or what makes up for those that are dropped. */
export type Dropped = (place: number) => number;

/**
 * The rule of native/shim/kernels.hpp, in whole numbers.
 *
 * @param seed of the batch, its high 32 bits first.
 * @param place of the dropout in its program.
 */
export function droppedBy([high, low]: readonly [number, number], place: number, chance: number): Dropped {
  const word = (bits: bigint): bigint => BigInt.asUintN(64, bits);
  let key = word((BigInt(high) << 32n) + BigInt(low) + 0x9e3779b97f4a7c15n * BigInt(place + 1));
  key = word((key ^ (key >> 30n)) * 0xbf58476d1ce4e5b9n);
  key = word((key ^ (key >> 27n)) * 0x94d049bb133111ebn);
  key ^= key >> 31n;
  const mixed = (bits: number): number => {
    const first = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
    const second = Math.imul(first ^ (first >>> 13), 0xc2b2ae35);
    return second ^ (second >>> 16);
  };
  const [lower, upper] = [Number(key & 0xffffffffn), Number(key >> 32n)];
  return (at) =>
    mixed(mixed(at ^ lower) ^ upper) >>> 0 < Math.floor(chance * 2 ** 32) ? 0 : 1 / (1 - chance);
}

type Seen = (row: number, query: number, key: number) => boolean;
/** Whether a query of a row sees a key. */
type Masks = (causal: boolean, reach: number) => Seen;

interface Operations {
  readonly take: (x: Array64) => Array64;
  readonly rows: (x: Array64) => Array64;
  readonly add: (x: Array64, y: Array64) => Array64;
  readonly subtract: (x: Array64, y: Array64) => Array64;
  readonly multiply: (x: Array64, y: Array64) => Array64;
  readonly scale: (x: Array64, factor: number) => Array64;
  /** x yᵀ of the last two dimensions; y's may lack those in front. */
  readonly linear: (x: Array64, y: Array64) => Array64;
  readonly normalise: (x: Array64, epsilon: number, centred: boolean) => Array64;
  readonly gelu: (x: Array64) => Array64;
  readonly geluTanh: (x: Array64) => Array64;
  readonly silu: (x: Array64) => Array64;
  readonly relu: (x: Array64) => Array64;
  readonly tanh: (x: Array64) => Array64;
  readonly splitHeads: (x: Array64, heads: number) => Array64;
  readonly mergeHeads: (x: Array64) => Array64;
  /** In halves. */
  readonly rope: (x: Array64, periods: Float32Array) => Array64;
  readonly attention: (
    x: Array64,
    y: Array64,
    z: Array64,
    facts: {
      readonly scale: number;
      readonly seen: Seen;
      readonly added?: Array64;
      readonly dropped?: Dropped;
    },
  ) => Array64;
  readonly dropout: (x: Array64, dropped: Dropped) => Array64;
  readonly takeAlong: (x: Array64, table: Int32Array) => Array64;
  readonly distances: (x: Array64) => Array64;
  readonly transpose: (x: Array64, axes: readonly number[]) => Array64;
  readonly pick: (x: Array64) => Array64;
  readonly mean: (x: Array64) => Array64;
  readonly zeroPadding: (x: Array64) => Array64;
  readonly chooseRows: (x: Array64, chosen: readonly number[]) => Array64;
}

/**
 * What the interpreter's operations mean, written from their descriptions (src/graph/operations.ts), in double precision.
 * For one batch.
 */
export function reference({
  rows,
  columns,
  lengths,
  ids,
  places: picked,
}: {
  readonly rows: number;
  readonly columns: number;
  readonly lengths: readonly number[];
  readonly ids: Int32Array;
  readonly places: Int32Array;
}): { readonly masks: Masks; readonly operations: Operations } {
  const lengthOf = (row: number): number => lengths[row] as number;
  const each = ({ shape, data }: Array64, value: (x: number) => number): Array64 =>
    array64(shape, data.map(value));
  const both =
    (value: (x: number, y: number) => number) =>
    (x: Array64, y: Array64): Array64 =>
      make(x.shape, (place) => value(at(x, place), at(y, place)));
  const masks: Masks =
    (causal, reach) =>
    (row: number, query: number, key: number): boolean => {
      const seen =
        key < lengthOf(row) && (!causal || key <= query) && (reach < 0 || Math.abs(query - key) <= reach);
      return seen || (query >= lengthOf(row) && query === key);
    };
  const operations: Operations = {
    take: (x: Array64) =>
      make([rows, columns, x.shape[1] as number], ([row = 0, column = 0, one = 0]) =>
        at(x, [ids[row * columns + column] as number, one]),
      ),
    rows: (x: Array64) =>
      make([1, columns, x.shape[1] as number], ([, column = 0, one = 0]) => at(x, [column, one])),
    add: both((x, y) => x + y),
    subtract: both((x, y) => x - y),
    multiply: both((x, y) => x * y),
    scale: (x: Array64, factor: number) => each(x, (value) => value * factor),
    linear: (x: Array64, y: Array64) =>
      make([...x.shape.slice(0, -1), y.shape.at(-2) as number], (place) => {
        const front = place.slice(0, -1);
        let sum = 0;
        for (let one = 0; one < (x.shape.at(-1) as number); one += 1) {
          const other = y.shape.length === 2 ? [] : front.slice(0, -1);
          sum += at(x, [...front, one]) * at(y, [...other, place.at(-1) as number, one]);
        }
        return sum;
      }),
    normalise: (x: Array64, epsilon: number, centred: boolean) =>
      make(x.shape, (place) => {
        const width = x.shape.at(-1) as number;
        const row = Array.from({ length: width }, (_, one) => at(x, [...place.slice(0, -1), one]));
        const mean = centred ? row.reduce((sum, value) => sum + value, 0) / width : 0;
        const square = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
        return (at(x, place) - mean) / Math.sqrt(square + epsilon);
      }),
    gelu: (x: Array64) => each(x, (value) => (value * (1 + erf(value / Math.SQRT2))) / 2),
    geluTanh: (x: Array64) =>
      each(
        x,
        (value) => (value * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (value + 0.044715 * value ** 3)))) / 2,
      ),
    silu: (x: Array64) => each(x, (value) => value / (1 + Math.exp(-value))),
    relu: (x: Array64) => each(x, (value) => Math.max(0, value)),
    tanh: (x: Array64) => each(x, Math.tanh),
    splitHeads: (x: Array64, heads: number) => {
      const size = (x.shape[2] as number) / heads;
      return make([rows, heads, columns, size], ([row = 0, head = 0, column = 0, one = 0]) =>
        at(x, [row, column, head * size + one]),
      );
    },
    mergeHeads: (x: Array64) => {
      const [, heads = 1, , size = 1] = x.shape;
      return make([rows, columns, heads * size], ([row = 0, column = 0, one = 0]) =>
        at(x, [row, Math.floor(one / size), column, one % size]),
      );
    },
    rope: (x: Array64, periods: Float32Array) =>
      make(x.shape, ([row = 0, head = 0, column = 0, one = 0]) => {
        const half = periods.length;
        const angle = column / (periods[one % half] as number);
        const other = at(x, [row, head, column, (one + half) % (2 * half)]);
        const own = at(x, [row, head, column, one]) * Math.cos(angle);
        return one < half ? own - other * Math.sin(angle) : own + other * Math.sin(angle);
      }),
    attention: (
      x: Array64,
      y: Array64,
      z: Array64,
      {
        scale,
        seen,
        added,
        dropped = () => 1,
      }: { scale: number; seen: Seen; added?: Array64; dropped?: Dropped },
    ) => {
      const shared = (x.shape[1] as number) / (y.shape[1] as number);
      return make(x.shape, ([row = 0, head = 0, query = 0, one = 0]) => {
        const other = Math.floor(head / shared);
        let [total, sum] = [0, 0];
        for (let key = 0; key < columns; key += 1) {
          if (!seen(row, query, key)) continue;
          let product = 0;
          for (let at1 = 0; at1 < (x.shape[3] as number); at1 += 1)
            product += at(x, [row, head, query, at1]) * at(y, [row, other, key, at1]);
          const part = Math.exp(
            product * scale + (added === undefined ? 0 : at(added, [row, head, query, key])),
          );
          total += part;
          const flat = ((row * (x.shape[1] as number) + head) * columns + query) * columns + key;
          sum += part * dropped(flat) * at(z, [row, other, key, one]);
        }
        return sum / total;
      });
    },
    dropout: ({ shape, data }: Array64, dropped: Dropped) =>
      array64(
        shape,
        data.map((value, place) => value * dropped(place)),
      ),
    takeAlong: (x: Array64, table: Int32Array) =>
      make([...x.shape.slice(0, -1), columns], (place) => {
        const [query = 0, key = 0] = place.slice(-2);
        return at(x, [...place.slice(0, -1), table[query - key + (table.length - 1) / 2] as number]);
      }),
    distances: (x: Array64) =>
      make([columns, columns], ([query = 0, key = 0]) => at(x, [query - key + (x.data.length - 1) / 2])),
    transpose: (x: Array64, axes: readonly number[]) =>
      make(
        axes.map((axis) => x.shape[axis] as number),
        (place) =>
          at(
            x,
            x.shape.map((_, axis) => place[axes.indexOf(axis)] as number),
          ),
      ),
    pick: (x: Array64) =>
      make([rows, 1, x.shape[2] as number], ([row = 0, , one = 0]) =>
        at(x, [row, picked[row] as number, one]),
      ),
    mean: (x: Array64) =>
      make([rows, 1, x.shape[2] as number], ([row = 0, , one = 0]) => {
        let sum = 0;
        for (let column = 0; column < lengthOf(row); column += 1) sum += at(x, [row, column, one]);
        return sum / lengthOf(row);
      }),
    zeroPadding: (x: Array64) =>
      make(x.shape, (place) => ((place[1] as number) < lengthOf(place[0] as number) ? at(x, place) : 0)),
    chooseRows: (x: Array64, chosen: readonly number[]) =>
      make([chosen.length, x.shape[1] as number], ([row = 0, one = 0]) =>
        at(x, [chosen[row] as number, one]),
      ),
  };
  return { masks, operations };
}
