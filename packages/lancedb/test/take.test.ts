import {
  Binary,
  Bool,
  type DataType,
  DateMillisecond,
  Decimal,
  Dictionary,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float16,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  LargeUtf8,
  List,
  Null,
  Struct,
  TimestampNanosecond,
  Uint8,
  Uint64,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import { describe, expect, test } from "vitest";
import { numbersLike, type RowOf, take } from "../src/take.js";

/** A generator of numbers from 0 to 1 with a seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Random = () => number;
const whole = (random: Random, below: number): number => Math.floor(random() * below);
const bytes = (random: Random, length: number): Uint8Array =>
  Uint8Array.from({ length }, () => whole(random, 256));
const word = (random: Random): string => "é𝄞ab c".repeat(3).slice(0, 2 * whole(random, 6));
const item = (type: DataType): Field => new Field("item", type, true);
const maybe = <T>(random: Random, value: T): T | null => (random() < 0.2 ? null : value);

const kinds: readonly [name: string, type: DataType, value: (random: Random) => unknown][] = [
  ["Int8", new Int8(), (random) => whole(random, 256) - 128],
  ["Int16", new Int16(), (random) => whole(random, 60_000) - 30_000],
  ["Int32", new Int32(), (random) => whole(random, 2 ** 31)],
  ["Int64", new Int64(), (random) => BigInt(whole(random, 2 ** 31)) * -(2n ** 30n)],
  ["Uint8", new Uint8(), (random) => whole(random, 256)],
  ["Uint64", new Uint64(), (random) => 2n ** 63n + BigInt(whole(random, 2 ** 31))],
  ["Float16", new Float16(), (random) => whole(random, 100) / 4],
  ["Float32", new Float32(), (random) => Math.fround(random())],
  ["Float64", new Float64(), (random) => random()],
  ["Bool", new Bool(), (random) => random() < 0.5],
  ["Utf8", new Utf8(), word],
  ["LargeUtf8", new LargeUtf8(), word],
  ["Binary", new Binary(), (random) => bytes(random, whole(random, 9))],
  ["FixedSizeBinary", new FixedSizeBinary(3), (random) => bytes(random, 3)],
  [
    "Decimal",
    new Decimal(2, 20, 128),
    (random) => Uint32Array.from({ length: 4 }, () => whole(random, 2 ** 31)),
  ],
  ["Date", new DateMillisecond(), (random) => new Date(86_400_000 * whole(random, 20_000))],
  ["Timestamp", new TimestampNanosecond(), (random) => 1_700_000_000_000 + whole(random, 10_000)],
  ["Null", new Null(), () => null],
  ["Dictionary", new Dictionary(new Utf8(), new Int32()), word],
  [
    "vectors",
    new FixedSizeList(3, item(new Float32())),
    (random) => Array.from({ length: 3 }, () => Math.fround(random())),
  ],
  [
    "lists of lists",
    new List(item(new List(item(new Utf8())))),
    (random) =>
      Array.from({ length: whole(random, 4) }, () =>
        maybe(
          random,
          Array.from({ length: whole(random, 3) }, () => maybe(random, word(random))),
        ),
      ),
  ],
  [
    "structs",
    new Struct([
      new Field("name", new Utf8(), true),
      new Field("at", new FixedSizeList(2, item(new Float64())), true),
      new Field("flags", new List(item(new Bool())), true),
    ]),
    (random) => ({
      name: maybe(random, word(random)),
      at: [random(), random()],
      flags: Array.from({ length: whole(random, 4) }, () => maybe(random, random() < 0.5)),
    }),
  ],
];

/** A value as text, which is the same for equal values of Arrow's own classes. */
const plain = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) =>
    typeof one === "bigint"
      ? `${one}n`
      : ArrayBuffer.isView(one)
        ? [...(one as Uint8Array)].map(String)
        : one,
  ) ?? "undefined";

describe("rows of several batches", () => {
  test.each(kinds)("%s", (_, type, value) => {
    const random = randomOf(7);
    for (let time = 0; time < 20; time += 1) {
      const sources = Array.from({ length: 1 + whole(random, 3) }, () => {
        const values = Array.from({ length: 4 + whole(random, 40) }, () => maybe(random, value(random)));
        const vector = vectorFromArray(values, type);
        // A slice has an offset inside of its buffers.
        const start = time % 2 === 0 ? 0 : whole(random, 4);
        return (start === 0 ? vector : vector.slice(start)) as Vector;
      });
      const picks = Array.from({ length: whole(random, 50) }, (): RowOf | undefined => {
        if (random() < 0.1) return undefined;
        const source = whole(random, sources.length);
        return { source, row: whole(random, sources[source]?.length ?? 1) };
      });
      const data = take(
        sources.map((vector) => vector.data[0] as (typeof vector.data)[number]),
        picks,
        "column",
      );
      const taken = new Vector([data]);
      expect(taken.length).toBe(picks.length);
      for (const [index, pick] of picks.entries()) {
        const stored = pick === undefined ? null : sources[pick.source]?.get(pick.row);
        expect(plain(taken.get(index)), `${time}, row ${index}`).toBe(plain(stored));
      }
    }
  });
});

test("numbers with gaps", () => {
  const [like] = vectorFromArray([1, 2], new Float32()).data;
  if (like === undefined) throw new Error("a vector has data");
  const numbers = [0.5, null, -1, null, 0, 1, 2, 3, 4, null];
  const vector = new Vector([numbersLike(like, numbers)]);
  expect([...vector]).toEqual(numbers);
  expect(vector.nullCount).toBe(3);
});
