/** A source of random numbers that gives the same sequence for a seed on every machine. */
export interface RandomGenerator {
  /** 0 to 2^32 − 1. */
  nextUint32(): number;
  /** An integer of 0 to `limit` − 1, unbiased. `limit` is 1 to 2^32. */
  below(limit: number): number;
  /** 0 to 1, 1 excluded, 53 random bits. */
  uniform(): number;
}

/** The four 32-bit words of a state, not all 0. */
export type GeneratorState = readonly [number, number, number, number];

/**
 * xoshiro128** 1.1 by Blackman and Vigna ("Scrambled linear pseudorandom number generators", ACM TOMS 47, 2021;
 * prng.di.unimi.it), in 32-bit integer arithmetic alone. A seed becomes a state by two steps of SplitMix64, each
 * giving two words, the low one first, as its authors recommend.
 * @param seed an integer, taken modulo 2^64.
 */
export function createRandom(seed: number | bigint): RandomGenerator {
  return randomFromState(stateOf(BigInt(seed)));
}

export function randomFromState(state: GeneratorState): RandomGenerator {
  let [s0, s1, s2, s3] = state;
  const nextUint32 = (): number => {
    const scrambled = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    const shifted = s1 << 9;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= shifted;
    s3 = rotateLeft(s3, 11);
    return scrambled;
  };
  // Of the last limit: a caller draws many numbers below the same one, and the division costs more than the drawing.
  let divided = 1;
  let usable = 2 ** 32;
  return {
    nextUint32,
    below(limit) {
      // The last, incomplete stretch of `limit` numbers is drawn again; with a remainder alone the low ones came more often.
      if (limit !== divided) {
        divided = limit;
        usable = 2 ** 32 - (2 ** 32 % limit);
      }
      let drawn = nextUint32();
      while (drawn >= usable) drawn = nextUint32();
      return drawn % limit;
    },
    uniform: () => ((nextUint32() >>> 5) * 2 ** 26 + (nextUint32() >>> 6)) / 2 ** 53,
  };
}

function stateOf(seed: bigint): GeneratorState {
  let counter = BigInt.asUintN(64, seed);
  const words: number[] = [];
  while (words.length < 4) {
    counter = BigInt.asUintN(64, counter + 0x9e3779b97f4a7c15n);
    let mixed = counter;
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n);
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
    mixed ^= mixed >> 31n;
    words.push(Number(mixed & 0xffffffffn), Number(mixed >> 32n));
  }
  return [words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0];
}

function rotateLeft(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by));
}
