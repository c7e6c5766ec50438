import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { calibrationOf, withProbabilities } from "../src/calibration/calibration.js";
import { calibrationSchema } from "../src/calibration/schema.js";
import { CalibrationError, calibratedProbability, fitCalibration, type JudgedLogit } from "../src/index.js";

interface Case {
  readonly name: string;
  readonly logits: readonly number[];
  readonly relevant: readonly (0 | 1)[];
  readonly sklearn: { readonly slope: number; readonly intercept: number };
  readonly platt: Fit & { readonly intercept: number };
  readonly temperature: Fit;
  readonly before: Measure;
}
interface Measure {
  readonly logLoss: number;
  readonly calibrationError: number;
}
type Fit = Measure & { readonly slope: number };

const { cases } = JSON.parse(readFileSync(new URL("calibration-fits.json", import.meta.url), "utf8")) as {
  readonly cases: readonly Case[];
};

const judged = ({ logits, relevant }: Pick<Case, "logits" | "relevant">): JudgedLogit[] =>
  logits.map((logit, index) => ({ logit, relevant: relevant[index] === 1 }));

const near = (wanted: number, share = 1e-6): unknown => {
  const digits = -Math.log10(2 * share * Math.max(Math.abs(wanted), 1e-6));
  return expect.closeTo(wanted, digits);
};

const calibrationFailure = (run: () => unknown): CalibrationError => {
  try {
    run();
  } catch (error) {
    if (CalibrationError.isInstance(error)) return error;
    throw error;
  }
  throw new Error("it was fitted");
};

describe("the fit of scikit-learn and SciPy", () => {
  test.each(cases)("Platt: $name", ({ platt, sklearn, before, ...pairs }) => {
    const { calibration, binsAfter } = fitCalibration(judged(pairs));
    expect(calibration).toMatchObject({
      method: "platt",
      slope: near(platt.slope),
      intercept: near(platt.intercept),
      fit: {
        pairs: pairs.logits.length,
        relevant: pairs.relevant.filter((one) => one === 1).length,
        before: { logLoss: near(before.logLoss), calibrationError: near(before.calibrationError) },
        after: { logLoss: near(platt.logLoss), calibrationError: near(platt.calibrationError) },
      },
    });
    expect(calibration).toMatchObject({
      slope: near(sklearn.slope, 1e-5),
      intercept: near(sklearn.intercept, 1e-5),
    });
    expect(binsAfter.reduce((sum, { count }) => sum + count, 0)).toBe(pairs.logits.length);
  });

  test.each(cases.filter(({ temperature }) => temperature.slope > 0))(
    "temperature: $name",
    ({ temperature, ...pairs }) => {
      const { calibration } = fitCalibration(judged(pairs), { method: "temperature" });
      expect(calibration).toMatchObject({
        method: "temperature",
        temperature: near(1 / temperature.slope),
        fit: {
          after: { logLoss: near(temperature.logLoss), calibrationError: near(temperature.calibrationError) },
        },
      });
    },
  );

  test("of cosines there is no plain sigmoid to compare with", () => {
    const cosines = cases.find(({ name }) => name === "cosines") as Case;
    const { calibration, binsBefore } = fitCalibration(judged(cosines), { of: "cosine" });
    expect(calibration.fit.before).toBeNull();
    expect(binsBefore).toBeNull();
    expect(calibration.fit.heldOut).not.toBeNull();
  });
});

describe("refusals", () => {
  const pairs = (relevant: number, others: number, gap = 1): JudgedLogit[] => [
    ...Array.from({ length: relevant }, (_, index) => ({ logit: gap + index * 0.1, relevant: true })),
    ...Array.from({ length: others }, (_, index) => ({ logit: -gap - index * 0.1, relevant: false })),
  ];

  test.each([
    ["nothing", [], "too-few"],
    ["49 pairs", pairs(25, 24), "too-few"],
    ["9 relevant ones", pairs(9, 200), "too-few"],
    ["9 others", pairs(200, 9), "too-few"],
    ["relevant ones alone", pairs(100, 0), "one-class"],
    ["others alone", pairs(0, 3), "one-class"],
    ["the wrong order", pairs(50, 50, -20), "no-order"],
    ["logits that are all equal", pairs(50, 50).map((pair) => ({ ...pair, logit: 2 })), "no-convergence"],
    ["logits that are all 0", pairs(50, 50).map((pair) => ({ ...pair, logit: 0 })), "no-convergence"],
  ] as const)("%s: a typed error", (_, given, reason) => {
    const error = calibrationFailure(() => fitCalibration(given));
    expect(error).toMatchObject({ reason, pairs: given.length });
    expect(error.relevant).toBe(given.filter(({ relevant }) => relevant).length);
  });

  test.each([
    [[{ logit: Number.NaN, relevant: true }], {}],
    [[{ logit: Number.POSITIVE_INFINITY, relevant: true }], {}],
    [[{ logit: "1", relevant: true }], {}],
    [[{ logit: 1, relevant: 1 }], {}],
    [[{ logit: 1, relevant: true, group: 5 }], {}],
    [[null], {}],
    ["pairs", {}],
    [[], { method: "isotonic" }],
    [[], { of: "probability" }],
    [[], { methods: "platt" }],
    [[], { method: "temperature", of: "cosine" }],
  ])("%j with %j", (given, options) => {
    expect(() => fitCalibration(given as never, options as never)).toThrow(
      expect.objectContaining({ code: "invalid-input" }),
    );
  });
});

describe("any pairs", () => {
  const pairsOf = (logit: fc.Arbitrary<number>): fc.Arbitrary<JudgedLogit[]> =>
    fc.array(
      fc.record({
        logit,
        relevant: fc.boolean(),
        group: fc.option(fc.constantFrom("a", "b", "c", "d", "e", "f"), { nil: undefined }),
      }),
      { minLength: 45, maxLength: 120 },
    );
  const some = fc.oneof(
    pairsOf(fc.double({ noNaN: true, noDefaultInfinity: true })),
    pairsOf(fc.double({ min: -20, max: 20, noNaN: true })),
    pairsOf(fc.double({ min: 0, max: 1e-9, noNaN: true })),
    pairsOf(fc.integer({ min: -1, max: 1 })),
  );

  test("give a calibration that keeps the order, or a typed error", () => {
    let fitted = 0;
    fc.assert(
      fc.property(some, fc.constantFrom("platt", "temperature"), (pairs, method) => {
        try {
          const { calibration } = fitCalibration(pairs, { method: method as "platt" });
          fitted += 1;
          expect(calibrationSchema.safeParse(JSON.parse(JSON.stringify(calibration))).success).toBe(true);
          const ordered = pairs.map(({ logit }) => logit).sort((a, b) => a - b);
          const probabilities = ordered.map((logit) => calibratedProbability(logit, calibration));
          for (const [index, one] of probabilities.entries()) {
            expect(one).toBeGreaterThanOrEqual(index === 0 ? 0 : (probabilities[index - 1] as number));
            expect(one).toBeLessThanOrEqual(1);
          }
        } catch (error) {
          if (!CalibrationError.isInstance(error)) throw error;
        }
      }),
      { numRuns: 300, seed: 11, endOnFailure: true },
    );
    expect(fitted).toBeGreaterThan(30);
  });

  test("that a known line has drawn give that line back", () => {
    // A pair of each class at every probability of the line, in its proportion.
    const [slope, intercept] = [0.6, -1.2];
    const pairs: JudgedLogit[] = [];
    for (let step = -40; step <= 40; step += 1) {
      const logit = step / 5;
      const share = 1 / (1 + Math.exp(-(slope * logit + intercept)));
      for (let index = 0; index < 200; index += 1) pairs.push({ logit, relevant: index + 0.5 < share * 200 });
    }
    const { calibration } = fitCalibration(pairs);
    expect(calibration).toMatchObject({ slope: near(slope, 0.02), intercept: near(intercept, 0.02) });
    expect(calibration.fit.after.calibrationError).toBeLessThan(0.005);
    expect(calibration.fit.heldOut?.calibrationError).toBeLessThan(0.01);
    expect(calibration.fit.before?.calibrationError).toBeGreaterThan(0.05);
  });

  test("are held out by their group", () => {
    const groups = Array.from(
      { length: 100 },
      (_, index): JudgedLogit => ({
        logit: Math.sin(index * 12.9898) * 3 + (index % 2),
        relevant: index % 2 === 1,
        group: "one query",
      }),
    );
    expect(fitCalibration(groups).calibration.fit.heldOut).toBeNull();
    const two = groups.map((pair, index) => ({ ...pair, group: `${index % 10 < 5}` }));
    expect(fitCalibration(two).calibration.fit.heldOut).not.toBeNull();
  });
});

describe("in a result", () => {
  const logit = { head: { kind: "logit" }, activation: "identity" } as const;
  const cosine = { head: { kind: "cosine", pooling: "cls" }, activation: "identity" } as const;
  const scores = [
    { logit: 10, score: 10, tokens: 5, truncatedTokens: 0 },
    { logit: -5, score: -5, tokens: 5, truncatedTokens: 0 },
    { logit: null, score: null, tokens: 0, truncatedTokens: 0, queryOverflow: true as const },
  ];

  test("a card that divides by 5 is a temperature", () => {
    const calibration = { method: "temperature", temperature: 5 } as const;
    const applied = calibrationOf({ ...logit, calibration }, { calibration: "crossrank.json" });
    expect(applied).toEqual({ method: "temperature", slope: 0.2, intercept: 0, source: "crossrank.json" });
    expect(withProbabilities({ scores, scale: "logit" }, applied)).toEqual({
      scale: "probability",
      calibration: applied,
      scores: [
        { ...scores[0], score: 1 / (1 + Math.exp(-2)) },
        { ...scores[1], score: expect.closeTo(1 / (1 + Math.exp(1)), 15) },
        scores[2],
      ],
    });
  });

  test("the passages that decided have it too", () => {
    const relevantSpans = [
      { start: 0, end: 4, codePointStart: 0, codePointEnd: 4, logit: 10, score: 10 },
      { start: 5, end: 9, codePointStart: 5, codePointEnd: 9, logit: 0, score: 0 },
    ];
    const calibration = { method: "temperature", temperature: 5 } as const;
    const applied = calibrationOf({ ...logit, calibration }, {});
    const given = [{ ...(scores[0] as (typeof scores)[0]), relevantSpans: relevantSpans as never }];
    expect(withProbabilities({ scores: given }, applied).scores[0]?.relevantSpans).toEqual([
      { ...relevantSpans[0], score: 1 / (1 + Math.exp(-2)) },
      { ...relevantSpans[1], score: 0.5 },
    ]);
  });

  test("without one it is the sigmoid of a logit, and says so; of a cosine it is refused", () => {
    expect(calibrationOf({ ...logit, calibration: undefined }, {})).toMatchObject({
      method: "sigmoid",
      source: expect.stringContaining("not calibrated"),
    });
    expect(() => calibrationOf({ ...cosine, calibration: undefined }, {})).toThrow(
      expect.objectContaining({ code: "invalid-input", path: "activation" }),
    );
    const calibration = { method: "platt", slope: 20, intercept: -12 } as const;
    expect(calibrationOf({ ...cosine, calibration }, {})).toMatchObject({ method: "platt", slope: 20 });
  });

  test.each([
    [{ method: "temperature", temperature: 0 }],
    [{ method: "temperature", temperature: -5 }],
    [{ method: "temperature" }],
    [{ method: "temperature", temperature: 5, slope: 1 }],
    [{ method: "platt", slope: 1 }],
    [{ method: "platt", slope: 0, intercept: 0 }],
    [{ method: "platt", slope: 1, intercept: "0" }],
    [{ method: "isotonic", points: [] }],
    [{ temperature: 5 }],
    [5],
    [null],
  ])("%j is no calibration", (value) => {
    expect(calibrationSchema.safeParse(value).success).toBe(false);
  });
});
