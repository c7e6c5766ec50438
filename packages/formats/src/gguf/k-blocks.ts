import { fromHalf } from "../half.js";
import { nearest, single, writeHalf } from "./single.js";

// Blocks of 256 numbers whose scales are quantised themselves: `quantize_row_q4_K_ref`, `_q5_K_ref` and `_q6_K_ref` of
// ggml's ggml-quants.c, byte for byte, each sum in their order. They are as ggml is built for x86-64: a compiler that
// may fuse multiplications with additions (for ARM, say) rounds less often, and some blocks come out otherwise.

/** How a run of 32 numbers is fitted: `make_qkx2_quants`. */
interface RangeFit {
  /** The highest level. */
  readonly most: number;
  /** Spans to try, in levels: `most` and this at first, then a tenth more each time. */
  readonly start: number;
  readonly steps: number;
}

const fourBits: RangeFit = { most: 15, start: -1, steps: 20 };
const fiveBits: RangeFit = { most: 31, start: -0.5, steps: 15 };
const tenth = single(0.1);

function within(level: number, least: number, most: number): number {
  return level < least ? least : Math.min(level, most);
}

/** Of the block at hand: one is made at a time, from its beginning to its end. */
const levels = new Uint8Array(256);
const trial = new Uint8Array(32);
const weights = new Float32Array(32);
const scales = new Float32Array(16);
const minimums = new Float32Array(8);

/** Eight runs of 32 numbers, each with a scale and a minimum in six bits; a level has four bits. */
export function encodeQ4K(numbers: Float32Array, to: DataView): void {
  for (let first = 0, at = 0; first < numbers.length; first += 256, at += 144) {
    encodeRanges(numbers, first, fourBits, to, at);
    for (let pair = 0; pair < 4; pair++) writeNibbles(to, at + 16 + 32 * pair, 64 * pair);
  }
}

/** The same with levels of five bits: the fifth bits of the whole block come first. */
export function encodeQ5K(numbers: Float32Array, to: DataView): void {
  for (let first = 0, at = 0; first < numbers.length; first += 256, at += 176) {
    encodeRanges(numbers, first, fiveBits, to, at);
    for (let i = 0; i < 32; i++) {
      let fifth = 0;
      for (let run = 0; run < 8; run++) fifth |= ((levels[32 * run + i] as number) >> 4) << run;
      to.setUint8(at + 16 + i, fifth);
    }
    for (let pair = 0; pair < 4; pair++) writeNibbles(to, at + 48 + 32 * pair, 64 * pair);
  }
}

/** Two runs of levels, without a fifth bit: the first in the lower halves of 32 bytes. */
function writeNibbles(to: DataView, at: number, run: number): void {
  for (let i = 0; i < 32; i++) {
    const [low, high] = [levels[run + i] as number, levels[run + 32 + i] as number];
    to.setUint8(at + i, (low & 15) | ((high & 15) << 4));
  }
}

/** Scales and minimums of a block into its first 16 bytes, its levels into {@link levels}. */
function encodeRanges(numbers: Float32Array, first: number, fit: RangeFit, to: DataView, at: number): void {
  let [largestScale, largestMinimum] = [0, 0];
  for (let run = 0; run < 8; run++) {
    const scale = fitRange(numbers, first + 32 * run, fit, run);
    if (scale > largestScale) largestScale = scale;
    const minimum = minimums[run] as number;
    if (minimum > largestMinimum) largestMinimum = minimum;
  }
  const inverseScale = largestScale > 0 ? single(63 / largestScale) : 0;
  const inverseMinimum = largestMinimum > 0 ? single(63 / largestMinimum) : 0;
  const unit = fromHalf(writeHalf(to, at, single(largestScale / 63)));
  const minimumUnit = fromHalf(writeHalf(to, at + 2, single(largestMinimum / 63)));
  // Six bits of each: whole bytes of the first four runs, whose two upper bits are those of the last four.
  const packed = new Uint8Array(12);
  for (let run = 0; run < 8; run++) {
    // C's cast to a byte, before the bound.
    const scale = Math.min(63, nearest(single(inverseScale * (scales[run] as number))) & 255);
    const minimum = Math.min(63, nearest(single(inverseMinimum * (minimums[run] as number))) & 255);
    if (run < 4) {
      packed[run] = scale;
      packed[run + 4] = minimum;
    } else {
      packed[run + 4] = (scale & 15) | ((minimum & 15) << 4);
      packed[run - 4] = (packed[run - 4] as number) | ((scale >> 4) << 6);
      packed[run] = (packed[run] as number) | ((minimum >> 4) << 6);
    }
    const step = single(unit * scale);
    // The levels of the fit stay.
    if (step === 0) continue;
    const offset = single(minimumUnit * minimum);
    for (let i = 32 * run; i < 32 * run + 32; i++) {
      const level = nearest(single(single((numbers[first + i] as number) + offset) / step));
      levels[i] = within(level, 0, fit.most);
    }
  }
  for (let i = 0; i < 12; i++) to.setUint8(at + 4 + i, packed[i] as number);
}

/**
 * Scale and minimum by which levels 0 to `most` come closest to 32 numbers, in weighted squares: larger numbers weigh
 * more. Sets the run's scale, its minimum (as what is taken away, 0 and more) and its levels.
 *
 * @returns the scale.
 */
function fitRange(
  numbers: Float32Array,
  first: number,
  { most, start, steps }: RangeFit,
  run: number,
): number {
  let squares = 0;
  for (let i = first; i < first + 32; i++) {
    const number = numbers[i] as number;
    squares = single(squares + single(number * number));
  }
  const typical = single(Math.sqrt(single(squares / 32)));
  for (let i = 0; i < 32; i++) weights[i] = typical + Math.abs(numbers[first + i] as number);

  let [least, greatest] = [numbers[first] as number, numbers[first] as number];
  let weightSum = weights[0] as number;
  let numberSum = single(weightSum * least);
  for (let i = 1; i < 32; i++) {
    const number = numbers[first + i] as number;
    const weight = weights[i] as number;
    if (number < least) least = number;
    if (number > greatest) greatest = number;
    weightSum = single(weightSum + weight);
    numberSum = single(numberSum + single(weight * number));
  }
  if (least > 0) least = 0;
  const base = 32 * run;
  if (greatest === least) {
    for (let i = 0; i < 32; i++) levels[base + i] = 0;
    minimums[run] = -least;
    scales[run] = 0;
    return 0;
  }
  let inverse = single(most / single(greatest - least));
  let scale = single(1 / inverse);
  let smallest = 0;
  for (let i = 0; i < 32; i++) {
    const number = numbers[first + i] as number;
    const found = nearest(single(inverse * single(number - least)));
    const level = within(found, 0, most);
    levels[base + i] = level;
    const difference = single(single(single(scale * level) + least) - number);
    smallest = single(smallest + single((weights[i] as number) * single(difference * difference)));
  }
  for (let step = 0; step <= steps; step++) {
    // The least is that of the best fit so far.
    inverse = single(single(single(start + single(tenth * step)) + most) / single(greatest - least));
    let [levelSum, levelSquares, products] = [0, 0, 0];
    for (let i = 0; i < 32; i++) {
      const number = numbers[first + i] as number;
      const found = nearest(single(inverse * single(number - least)));
      const level = within(found, 0, most);
      trial[i] = level;
      const weighted = single((weights[i] as number) * level);
      levelSum = single(levelSum + weighted);
      levelSquares = single(levelSquares + single(weighted * level));
      products = single(products + single(weighted * number));
    }
    const determinant = single(single(weightSum * levelSquares) - single(levelSum * levelSum));
    if (!(determinant > 0)) continue;
    let newScale = single(single(single(weightSum * products) - single(numberSum * levelSum)) / determinant);
    let newLeast = single(
      single(single(levelSquares * numberSum) - single(levelSum * products)) / determinant,
    );
    if (newLeast > 0) {
      newLeast = 0;
      newScale = single(products / levelSquares);
    }
    let error = 0;
    for (let i = 0; i < 32; i++) {
      const fitted = single(single(newScale * (trial[i] as number)) + newLeast);
      const difference = single(fitted - (numbers[first + i] as number));
      error = single(error + single((weights[i] as number) * single(difference * difference)));
    }
    if (error < smallest) {
      levels.set(trial, base);
      smallest = error;
      scale = newScale;
      least = newLeast;
    }
  }
  minimums[run] = -least;
  scales[run] = scale;
  return scale;
}

/** Runs of 16 numbers whose largest magnitude is less are zeros: `GROUP_MAX_EPS`. */
const smallestMagnitude = single(1e-15);

/** Sixteen runs of 16 numbers, each with a scale in eight bits; a level has six. */
export function encodeQ6K(numbers: Float32Array, to: DataView): void {
  for (let first = 0, at = 0; first < numbers.length; first += 256, at += 210) {
    let extreme = 0;
    for (let run = 0; run < 16; run++) {
      const scale = fitAroundZero(numbers, first + 16 * run, run);
      if (Math.abs(scale) > Math.abs(extreme)) extreme = scale;
    }
    if (Math.abs(extreme) < smallestMagnitude) {
      for (let i = 0; i < 210; i++) to.setUint8(at + i, 0);
      continue;
    }
    const inverse = single(-128 / extreme);
    const unit = fromHalf(writeHalf(to, at + 208, single(1 / inverse)));
    for (let run = 0; run < 16; run++) {
      to.setInt8(at + 192 + run, Math.min(127, nearest(single(inverse * (scales[run] as number)))));
      const step = single(unit * to.getInt8(at + 192 + run));
      // The levels of the fit stay.
      if (step === 0) continue;
      for (let i = 16 * run; i < 16 * run + 16; i++) {
        const level = nearest(single((numbers[first + i] as number) / step));
        levels[i] = within(level, -32, 31) + 32;
      }
    }
    for (let half = 0; half < 2; half++) writeSixBits(to, at + 64 * half, at + 128 + 32 * half, 128 * half);
  }
}

/** 128 levels: their lower four bits into 64 bytes, their upper two into 32. */
function writeSixBits(to: DataView, lower: number, upper: number, first: number): void {
  for (let i = 0; i < 32; i++) {
    const [a, b] = [levels[first + i] as number, levels[first + i + 32] as number];
    const [c, d] = [levels[first + i + 64] as number, levels[first + i + 96] as number];
    to.setUint8(lower + i, (a & 15) | ((c & 15) << 4));
    to.setUint8(lower + 32 + i, (b & 15) | ((d & 15) << 4));
    to.setUint8(upper + i, (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((d >> 4) << 6));
  }
}

/**
 * The scale by which levels −32 to 31 come closest to 16 numbers, weighted by their squares: `make_qx_quants`. Sets the
 * run's scale and its levels, 32 more than they are.
 *
 * @returns the scale.
 */
function fitAroundZero(numbers: Float32Array, first: number, run: number): number {
  const base = 16 * run;
  let extreme = 0;
  for (let i = first; i < first + 16; i++) {
    const number = numbers[i] as number;
    if (Math.abs(number) > Math.abs(extreme)) extreme = number;
  }
  if (Math.abs(extreme) < smallestMagnitude) {
    for (let i = 0; i < 16; i++) levels[base + i] = 0;
    scales[run] = 0;
    return 0;
  }
  let [scale, best] = [0, 0];
  for (let step = 0; step <= 18; step++) {
    // Thirty-two levels to the extreme itself at first, then 31.1 to 32.9.
    const shift = step === 0 ? 0 : step < 10 ? step - 10 : step - 9;
    const inverse = single(-single(32 + single(tenth * shift)) / extreme);
    let [products, levelSquares] = [0, 0];
    for (let i = 0; i < 16; i++) {
      const number = numbers[first + i] as number;
      const found = nearest(single(inverse * number));
      const level = within(found, -32, 31);
      trial[i] = level + 32;
      const weight = single(number * number);
      products = single(products + single(single(weight * number) * level));
      levelSquares = single(levelSquares + single(single(weight * level) * level));
    }
    const isBetter =
      step === 0 || (levelSquares > 0 && single(products * products) > single(best * levelSquares));
    if (!isBetter) continue;
    for (let i = 0; i < 16; i++) levels[base + i] = trial[i] as number;
    scale = levelSquares === 0 ? 0 : single(products / levelSquares);
    best = single(scale * products);
  }
  // Where a number's cube is beyond float32.
  if (Number.isNaN(scale)) throw new RangeError(`${extreme} is beyond what six bits and a scale hold`);
  scales[run] = scale;
  return scale;
}
