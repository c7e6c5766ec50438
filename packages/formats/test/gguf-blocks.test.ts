import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { encodeNumbers, type TensorType } from "../src/gguf/tensor-type.js";

// The blocks of ggml's own quantisers, of numbers of every kind: lab/gguf/check_quantisers.py --goldens, which makes the
// same numbers. What its digests hold, it can also show block by block.

const goldens: Readonly<Record<string, Readonly<Record<string, string>>>> = JSON.parse(
  await readFile(new URL("fixtures/gguf-blocks.json", import.meta.url), "utf8"),
);

/** Numbers of each kind: 16 blocks of 256. */
const count = 16 * 256;

/** 32 bits of a place in a kind: the finaliser of MurmurHash3. */
function mix(place: number, salt: number): number {
  let hashed = (place + Math.imul(salt, 0x9e37_79b1)) >>> 0;
  hashed = Math.imul(hashed ^ (hashed >>> 16), 0x85eb_ca6b);
  hashed = Math.imul(hashed ^ (hashed >>> 13), 0xc2b2_ae35);
  return (hashed ^ (hashed >>> 16)) >>> 0;
}

/** From −1 to 1, exactly. */
const share = (place: number, salt: number): number => (mix(place, salt) | 0) / 2 ** 31;
const choice = (place: number, salt: number, among: number): number => mix(place, salt) % among;
const bell = (place: number, salt: number): number =>
  share(place, salt) + share(place, salt + 1) + share(place, salt + 2) + share(place, salt + 3);
const run = (place: number, length: number): number => Math.floor(place / length);

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);
function ofBits(number: number): number {
  bits[0] = number;
  return float[0] as number;
}
/** A sign and a fraction. */
const fraction = (place: number, salt: number): number => mix(place, salt) & 0x807f_ffff;

const kinds: Readonly<Record<string, (place: number) => number>> = {
  bell: (i) => bell(i, 1) / 25,
  "heavy tails": (i) => (bell(i, 11) / 25) * 2 ** (choice(i, 15, 3) * choice(i, 16, 5)),
  "one outlier in 64": (i) => bell(i, 21) * (choice(i, 25, 64) === 0 ? 40 : 0.02),
  zeros: () => 0,
  "zeros of both signs": (i) => (choice(i, 31, 2) === 0 ? 0 : -0),
  "one number a block": (i) => bell(run(i, 256), 41),
  "one number a run of 32": (i) => bell(run(i, 32), 51),
  positive: (i) => Math.abs(bell(i, 61)),
  negative: (i) => -Math.abs(bell(i, 71)),
  "far below zero": (i) => -1000 + bell(i, 81) * 2 ** -choice(run(i, 32), 85, 30),
  "far above zero": (i) => 1000 + bell(i, 91) * 2 ** -choice(run(i, 32), 95, 30),
  subnormal: (i) => ofBits(fraction(i, 101)),
  "small and subnormal": (i) => ofBits(fraction(i, 111) + (choice(run(i, 32), 112, 16) << 23)),
  "about 1e-15": (i) => bell(i, 121) * 2 ** (-50 + choice(run(i, 16), 125, 3)),
  "runs of many magnitudes": (i) => bell(i, 131) * 2 ** (choice(run(i, 32), 135, 54) - 42),
  "every exponent to 2^15": (i) => ofBits(fraction(i, 141) + (choice(i, 142, 142) << 23)),
  "whole numbers": (i) => choice(i, 151, 17) - 8,
  "halves of a level": (i) => (choice(i, 161, 63) - 31) / 2,
  "mostly zeros": (i) => (choice(i, 171, 16) === 0 ? bell(i, 172) : 0),
  large: (i) => share(i, 181) * 65_000,
  rising: (i) => (i % 256) / 256 - share(run(i, 256), 191) / 2,
};

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex").slice(0, 16);

test.each(Object.keys(goldens))("%s: every type is ggml's, byte for byte", (kind) => {
  const { numbers: ofNumbers, ...wanted } = goldens[kind] ?? {};
  const numbers = Float32Array.from({ length: count }, (_, place) => kinds[kind]?.(place) ?? Number.NaN);
  expect(digest(new Uint8Array(numbers.buffer))).toBe(ofNumbers);
  const found = Object.keys(wanted).map((type) => [type, digest(encodeNumbers(type as TensorType, numbers))]);
  expect(found).toHaveLength(7);
  expect(Object.fromEntries(found)).toEqual(wanted);
});

const blockTypes: readonly TensorType[] = ["Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_0"];

test.each(blockTypes)("%s refuses what no block holds, at any place", (type) => {
  for (const place of [0, 1, 31, 100, 255]) {
    for (const number of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const numbers = new Float32Array(256).fill(0.5);
      numbers[place] = number;
      expect(() => encodeNumbers(type, numbers)).toThrow(RangeError);
    }
    // A scale beyond half precision.
    const numbers = new Float32Array(256).fill(0.5);
    numbers[place] = -3e38;
    expect(() => encodeNumbers(type, numbers)).toThrow(RangeError);
  }
});
