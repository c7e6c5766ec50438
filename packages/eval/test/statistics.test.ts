import { InvalidInputError } from "@crossrank/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bootstrapInterval,
  bootstrapMeans,
  createRandom,
  holm,
  mean,
  nonInferiority,
  pairByQuery,
  quantile,
  queriesNeeded,
  signFlipTest,
  smallestDetectableDrop,
  standardDeviation,
  sum,
  UnpairedQueriesError,
} from "../src/index.js";
import { randomFromState } from "../src/statistics/random.js";

/** Box and Muller's normal numbers. */
function normal(random: { uniform(): number }): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

describe("random numbers", () => {
  it("are those of the authors' C code", () => {
    // Test vector "starstar" of the repository edorfaus/xoshiro-6502, test-rom/testdata.asm, made with that code.
    const random = randomFromState([0x964d4a0c, 0xd40ab895, 0xad7fdecb, 0x3006f0f0]);
    expect(Array.from({ length: 4 }, random.nextUint32)).toEqual([
      0xf1391922, 0x6fe53806, 0xa5be2840, 0xf510ee70,
    ]);
  });

  it("are the same for the same seed, and those of lab/eval/random_source.py", () => {
    const draw = (seed: number) => Array.from({ length: 5 }, createRandom(seed).nextUint32);
    expect(draw(42)[0]).toBe(1776835114);
    expect(draw(42)).toEqual(draw(42));
    expect(draw(43)).not.toEqual(draw(42));
  });

  it("are spread evenly", () => {
    const random = createRandom(1);
    const counts = new Array<number>(7).fill(0);
    for (let index = 0; index < 70_000; index++) {
      const drawn = random.below(7);
      counts[drawn] = (counts[drawn] ?? 0) + 1;
    }
    // Six degrees of freedom: above 22.5 once in a thousand seeds.
    expect(counts.reduce((total, count) => total + (count - 10_000) ** 2 / 10_000, 0)).toBeLessThan(22.5);
    const uniforms = Array.from({ length: 20_000 }, random.uniform);
    expect(Math.abs(mean(uniforms) - 0.5)).toBeLessThan(0.01);
    expect(Math.min(...uniforms)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...uniforms)).toBeLessThan(1);
  });

  it("have no bias where the limit does not divide 2^32", () => {
    // A remainder alone would give the lower half two thirds of the draws.
    const random = createRandom(5);
    const limit = 3 * 2 ** 30;
    let low = 0;
    for (let index = 0; index < 20_000; index++) if (random.below(limit) < limit / 3) low++;
    expect(Math.abs(low / 20_000 - 1 / 3)).toBeLessThan(0.02);
  });
});

describe("summaries", () => {
  it("lose nothing to large terms", () => {
    expect(sum([1, 1e100, 1, -1e100])).toBe(2);
    expect(sum(Array.from({ length: 10 }, () => 0.1))).toBe(1);
    expect(sum([])).toBe(0);
  });

  it("are the sample's", () => {
    expect(standardDeviation([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(Math.sqrt(32 / 7), 12);
    expect(standardDeviation([1e9 + 1, 1e9 + 2, 1e9 + 3])).toBeCloseTo(1, 12);
    expect(standardDeviation([3])).toBe(0);
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    // numpy.quantile([1, 2, 3, 4], 0.05) is 1.15.
    expect(quantile([1, 2, 3, 4], 0.05)).toBeCloseTo(1.15, 12);
    expect(quantile([1, 2], 1)).toBe(2);
    expect(() => mean([])).toThrow(InvalidInputError);
    expect(() => quantile([1], 1.1)).toThrow(InvalidInputError);
  });
});

describe("pairs", () => {
  it("are candidate − reference, by query, whatever the order of either", () => {
    const paired = pairByQuery(
      new Map([
        ["b", 0.75],
        ["a", 0.5],
      ]),
      new Map([
        ["a", 0.25],
        ["b", 1],
      ]),
    );
    expect(paired.queries).toEqual(["a", "b"]);
    expect([...paired.differences]).toEqual([0.25, -0.25]);
  });

  it("need the same queries", () => {
    expect(() => pairByQuery(new Map([["a", 1]]), new Map([["b", 1]]))).toThrow(UnpairedQueriesError);
    expect(() => pairByQuery(new Map(), new Map([["b", 1]]))).toThrow(
      /1 in the reference alone \(e\.g\. "b"\)/,
    );
  });
});

describe("bootstrap", () => {
  it("draw the same positions for every sample of a size, kept or not", () => {
    const drawn = (values: readonly number[], resamples: number, seed: number): Float64Array => {
      const random = createRandom(seed);
      const means = Array.from({ length: resamples }, () => {
        let total = 0;
        for (let index = 0; index < values.length; index += 1)
          total += values[random.below(values.length)] ?? 0;
        return total / values.length;
      });
      return Float64Array.from(means).sort();
    };
    const wave = (count: number, by: number): number[] =>
      Array.from({ length: count }, (_, at) => Math.sin(at * by));
    for (const [count, resamples, seed, by] of [
      [40, 100, 1, 1],
      [40, 100, 1, 2],
      [40, 100, 2, 1],
      [41, 100, 2, 1],
      [40, 101, 1, 1],
      // Too many to keep: by their product, and by the sample alone.
      [9000, 1000, 1, 1],
      [70_000, 2, 1, 1],
      [40, 100, 1, 1],
    ] as const)
      expect(bootstrapMeans(wave(count, by), { resamples, seed })).toEqual(
        drawn(wave(count, by), resamples, seed),
      );
  });

  it("draws every value as often, with replacement", () => {
    // Two values: a mean is 0, ½ or 1 with chances ¼, ½, ¼.
    const means = bootstrapMeans([0, 1], { resamples: 20_000, seed: 3 });
    for (const [value, chance] of [
      [0, 0.25],
      [0.5, 0.5],
      [1, 0.25],
    ]) {
      expect(Math.abs(means.filter((found) => found === value).length / 20_000 - (chance ?? 0))).toBeLessThan(
        0.015,
      );
    }
    expect([...means]).toEqual([...means].sort((a, b) => a - b));
  });

  it("covers the true mean as often as it says", () => {
    const random = createRandom(11);
    let covered = 0;
    for (let trial = 0; trial < 300; trial++) {
      const sample = Array.from({ length: 60 }, () => normal(random));
      const { lower, upper } = bootstrapInterval(sample, { resamples: 500, seed: trial });
      if (lower <= 0 && 0 <= upper) covered++;
    }
    // 95 % of 300 is 285; the percentile interval is a little narrow at 60 values.
    expect(covered).toBeGreaterThan(270);
    expect(covered).toBeLessThan(297);
  });

  it("agrees with the normal interval on a large sample", () => {
    const random = createRandom(2);
    const sample = Array.from({ length: 2000 }, () => 1 + 2 * normal(random));
    const interval = bootstrapInterval(sample, { resamples: 4000 });
    const half = (1.96 * standardDeviation(sample)) / Math.sqrt(2000);
    expect(Math.abs(interval.lower - (mean(sample) - half))).toBeLessThan(0.01);
    expect(Math.abs(interval.upper - (mean(sample) + half))).toBeLessThan(0.01);
    expect(interval).toEqual(bootstrapInterval(sample, { resamples: 4000 }));
  });
});

describe("non-inferiority", () => {
  const random = createRandom(8);
  const noise = Array.from({ length: 400 }, () => 0.02 * normal(random));
  const around = (center: number) => noise.map((value) => value - mean(noise) + center);

  it("bounds the mean from below, one-sided", () => {
    const test = nonInferiority(around(0), { margin: 0.005 });
    expect(test.passed).toBe(true);
    // The 5 % point of the normal distribution is 1.645 standard errors below.
    expect(test.lowerBound).toBeCloseTo((-1.645 * test.deviation) / Math.sqrt(400), 3);
    expect(Math.abs(test.lowerBound + (1.645 * test.deviation) / Math.sqrt(400))).toBeLessThan(1.5e-4);
    expect(test).toMatchObject({ count: 400, margin: 0.005, level: 0.95 });
  });

  it("fails a loss beyond the margin, and one that the sample cannot rule out", () => {
    expect(nonInferiority(around(-0.006), { margin: 0.005 }).passed).toBe(false);
    expect(nonInferiority(around(-0.004), { margin: 0.005 }).passed).toBe(false);
    expect(nonInferiority(around(-0.003), { margin: 0.005 }).passed).toBe(true);
    // No significant difference, and no proof either.
    expect(nonInferiority([0.1, -0.1, 0.09, -0.09], { margin: 0.005 }).passed).toBe(false);
  });

  it("asks for strictly better than −margin", () => {
    expect(nonInferiority([-0.5, -0.5, -0.5], { margin: 0.5 }).passed).toBe(false);
    expect(nonInferiority([0, 0, 0], { margin: 0.005 }).passed).toBe(true);
  });

  it("refuses what cannot be tested", () => {
    expect(() => nonInferiority([0.1], { margin: 0.005 })).toThrow(InvalidInputError);
    expect(() => nonInferiority([0.1, Number.NaN], { margin: 0.005 })).toThrow(/values\[1\]/);
    expect(() => nonInferiority([0.1, 0.2], { margin: -1 })).toThrow(/margin/);
    expect(() => nonInferiority([0.1, 0.2], { margin: 0.1, resamples: 0 })).toThrow(/resamples/);
    expect(() => nonInferiority([0.1, 0.2], { margin: 0.1, level: 1 })).toThrow(/level/);
  });
});

describe("smallest detectable drop", () => {
  it("is 0.018 for 50 queries at sd .05", () => {
    expect(smallestDetectableDrop(0.05, 50)).toBeCloseTo(0.018, 3);
    expect(queriesNeeded(0.05, 0.005)).toBe(Math.ceil((2.486 * 10) ** 2));
    expect(smallestDetectableDrop(0.05, queriesNeeded(0.05, 0.005))).toBeLessThanOrEqual(0.005);
  });

  it("is found in four of five samples", () => {
    const random = createRandom(21);
    const drop = smallestDetectableDrop(0.05, 100);
    let found = 0;
    for (let trial = 0; trial < 400; trial++) {
      const sample = Array.from({ length: 100 }, () => -drop + 0.05 * normal(random));
      if ((mean(sample) / standardDeviation(sample)) * 10 < -1.645) found++;
    }
    expect(Math.abs(found / 400 - 0.8)).toBeLessThan(0.06);
  });
});

describe("sign-flip test", () => {
  /** Share of all 2^n sign assignments at least as extreme. */
  function exact(differences: readonly number[], extremity: (value: number) => number): number {
    const observed = extremity(differences.reduce((a, b) => a + b, 0));
    let count = 0;
    for (let signs = 0; signs < 2 ** differences.length; signs++) {
      const total = differences.reduce(
        (sumSoFar, value, bit) => sumSoFar + (signs & (1 << bit) ? value : -value),
        0,
      );
      if (extremity(total) >= observed - 1e-9) count++;
    }
    return count / 2 ** differences.length;
  }

  it("comes to the exact p-value", () => {
    const differences = [0.3, 0.1, 0.2, -0.05, 0.15, 0.1, -0.1, 0.2];
    const twoSided = signFlipTest(differences, { resamples: 20_000, seed: 2 });
    const greater = signFlipTest(differences, { resamples: 20_000, seed: 2, alternative: "greater" });
    expect(Math.abs(twoSided.pValue - exact(differences, Math.abs))).toBeLessThan(0.007);
    expect(Math.abs(greater.pValue - exact(differences, (value) => value))).toBeLessThan(0.007);
    expect(twoSided.mean).toBeCloseTo(0.1125, 12);
  });

  it("flips beyond the 32nd query too", () => {
    const differences = new Array<number>(100).fill(0);
    differences[70] = 1;
    expect(signFlipTest(differences, { alternative: "greater", resamples: 4000 }).pValue).toBeGreaterThan(
      0.45,
    );
  });

  it("is never 0, and 1 where nothing differs", () => {
    const clear = new Array<number>(60).fill(0.1);
    expect(signFlipTest(clear, { resamples: 999 }).pValue).toBe(1 / 1000);
    expect(signFlipTest([0, 0, 0]).pValue).toBe(1);
  });

  it("counts equal sums as equal in spite of rounding", () => {
    // All signs alike: 2 of 8 assignments are as extreme, in any order of summation.
    const { pValue } = signFlipTest([0.1, 0.2, 0.3], { resamples: 20_000 });
    expect(Math.abs(pValue - 0.25)).toBeLessThan(0.015);
  });

  it("calls chance significant as rarely as it says", () => {
    const random = createRandom(31);
    let significant = 0;
    for (let trial = 0; trial < 400; trial++) {
      const sample = Array.from({ length: 30 }, () => normal(random));
      if (signFlipTest(sample, { resamples: 400, seed: trial }).pValue <= 0.05) significant++;
    }
    expect(significant).toBeLessThan(36);
    expect(significant).toBeGreaterThan(6);
  });
});

describe("Holm", () => {
  it("multiplies the i-th smallest by m − i + 1, in steps that never fall", () => {
    // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02.
    const adjusted = holm([0.01, 0.04, 0.03, 0.005]);
    [0.03, 0.06, 0.06, 0.02].forEach((expected, index) => {
      expect(adjusted[index]).toBeCloseTo(expected, 12);
    });
    expect(holm([0.9, 0.8])).toEqual([1, 1]);
    expect(holm([])).toEqual([]);
    expect(() => holm([1.2])).toThrow(InvalidInputError);
  });

  it("keeps the order of the values, and lies between them and Bonferroni's", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 }), (values) => {
        const adjusted = holm(values);
        values.forEach((value, index) => {
          expect(adjusted[index]).toBeGreaterThanOrEqual(value);
          expect(adjusted[index]).toBeLessThanOrEqual(Math.min(1, value * values.length));
          values.forEach((other, position) => {
            if (value < other) expect(adjusted[index]).toBeLessThanOrEqual(adjusted[position] ?? 0);
          });
        });
      }),
    );
  });
});
