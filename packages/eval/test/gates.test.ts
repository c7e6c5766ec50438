import { describe, expect, it } from "vitest";
import {
  compareScores,
  createRandom,
  type GateResult,
  gateBounds,
  judgeChange,
  judgeNonInferiority,
  judgeNumerics,
  judgeQuality,
  judgeScores,
  nonInferiority,
  precisionClassOf,
  type ScoreTable,
  UnknownPrecisionError,
} from "../src/index.js";

const outcomes = (results: readonly GateResult[]) =>
  Object.fromEntries(results.map(({ check, outcome }) => [check, outcome]));
const sentenceOf = (results: readonly GateResult[], check: string) =>
  results.find((result) => result.check === check)?.sentence ?? "";

function scoreTable(name: string, rows: readonly (readonly number[])[]): ScoreTable {
  return {
    name,
    scale: "logit",
    values: new Map(
      rows.map((row, query) => [`q${query}`, new Map(row.map((v, index) => [`d${index}`, v]))]),
    ),
  };
}

describe("precision class of a dtype", () => {
  it.each([
    ["fp32", "fp32"],
    ["F16", "fp16"],
    ["bf16", "fp16"],
    ["int8", "8-bit"],
    ["uint8", "8-bit"],
    ["q8", "8-bit"],
    ["Q8_0", "8-bit"],
    ["quantized", "8-bit"],
    ["Q4_K_M", "4-bit"],
    ["q4f16", "4-bit"],
    ["bnb4", "4-bit"],
    ["IQ3_XS", "4-bit"],
    ["4-bit", "4-bit"],
    ["8-bit", "8-bit"],
  ])("%s: %s", (dtype, expected) => {
    expect(precisionClassOf(dtype)).toBe(expected);
  });

  it("refuses to guess", () => {
    expect(() => precisionClassOf("fp64x")).toThrow(UnknownPrecisionError);
    expect(() => precisionClassOf("q16")).toThrow(/fp32, fp16, 8-bit, 4-bit/);
  });
});

it("the bounds are those of the specification", () => {
  expect(gateBounds.fp32.numerics.maximum).toBe(1e-4);
  expect(gateBounds.fp16.numerics.maximum).toBe(2e-2);
  expect(gateBounds["8-bit"].numerics.median).toBe(0.15);
  expect(gateBounds.fp16.scores).toEqual({ tau: 0.99, topOne: 0.98 });
  expect(gateBounds["8-bit"].scores).toEqual({ tau: 0.95, topOne: 0.92 });
  expect(gateBounds["4-bit"].scores).toEqual({ tau: undefined, topOne: undefined });
  expect([0.999, 0.999, 0.99, 0.97]).toEqual(
    (["fp32", "fp16", "8-bit", "4-bit"] as const).map((name) => gateBounds[name].quality.retention),
  );
});

describe("L1", () => {
  const reference = [3, -2, 0.1, -7];

  it("bounds every difference, or their median and the signs", () => {
    const candidate = [3.01, -2.01, 0.1, -7.019];
    expect(outcomes(judgeNumerics({ reference, candidate }, "fp32"))).toEqual({
      "max |Δ logit|": "failed",
      "median |Δ logit|": "reported",
    });
    expect(outcomes(judgeNumerics({ reference, candidate }, "fp16"))["max |Δ logit|"]).toBe("passed");
    expect(outcomes(judgeNumerics({ reference, candidate }, "8-bit"))).toEqual({
      "max |Δ logit|": "reported",
      "median |Δ logit|": "passed",
      "changed signs": "passed",
    });
    expect(sentenceOf(judgeNumerics({ reference, candidate }, "fp32"), "max |Δ logit|")).toMatch(
      /failed: 0\.019 is above the most allowed, 0\.0001, by 0\.0189 \(over 4 pairs\)/,
    );
  });

  it("takes the middle of an even and of an odd number for the median", () => {
    const median = (candidate: number[]) =>
      judgeNumerics({ reference: candidate.map(() => 0), candidate }, "8-bit").find(({ check }) =>
        check.startsWith("median"),
      )?.value;
    expect(median([1, 2, 4, 9])).toBe(3);
    expect(median([1, 2, 9])).toBe(2);
    expect(median([5])).toBe(5);
  });

  it("lets a sign change near 0 alone", () => {
    const signs = (candidate: number[]) =>
      outcomes(judgeNumerics({ reference, candidate }, "8-bit"))["changed signs"];
    expect(signs([3, -2, -0.1, -7])).toBe("passed");
    expect(signs([3, 0.1, 0.1, -7])).toBe("failed");
  });

  it("fails what is no number, and what is not as many", () => {
    expect(outcomes(judgeNumerics({ reference, candidate: [3, Number.NaN, 0, 0] }, "4-bit"))).toEqual({
      finite: "failed",
    });
    expect(judgeNumerics({ reference, candidate: [3] }, "4-bit")[0]?.sentence).toMatch(/1 logits for 4/);
    expect(judgeNumerics({ reference: [], candidate: [] }, "4-bit")[0]?.outcome).toBe("failed");
  });
});

describe("L2", () => {
  const random = createRandom(4);
  const rows = Array.from({ length: 100 }, () => Array.from({ length: 20 }, () => 10 * random.uniform()));
  const judged = (noise: number, precision: "fp16" | "8-bit" | "4-bit", queries = 100) =>
    judgeScores(
      compareScores({
        reference: scoreTable("a", rows.slice(0, queries)),
        candidate: scoreTable(
          "b",
          rows.slice(0, queries).map((row) => row.map((value) => value + noise * (random.uniform() - 0.5))),
        ),
      }),
      precision,
    );

  it("judges τ-b and the top document by precision", () => {
    expect(outcomes(judged(0, "fp16"))).toEqual({
      "unmatched pairs": "passed",
      "τ-b": "passed",
      "top-1 overlap": "passed",
    });
    expect(outcomes(judged(0.6, "fp16"))["τ-b"]).toBe("failed");
    expect(outcomes(judged(0.3, "8-bit"))["τ-b"]).toBe("passed");
    expect(outcomes(judged(5, "8-bit"))).toMatchObject({ "τ-b": "failed", "top-1 overlap": "failed" });
    expect(outcomes(judged(5, "4-bit"))).toMatchObject({ "τ-b": "reported", "top-1 overlap": "reported" });
  });

  it("says when one query alone decides", () => {
    expect(sentenceOf(judged(0, "fp16", 20), "top-1 overlap")).toMatch(
      /one query alone is 0\.05.*at least 50/,
    );
    expect(sentenceOf(judged(0, "fp16", 60), "top-1 overlap")).not.toMatch(/one query alone/);
  });

  it("fails a candidate without an order, and pairs that do not match", () => {
    const reference = scoreTable("a", rows);
    const constant = scoreTable(
      "b",
      rows.map((row) => row.map(() => 1)),
    );
    expect(outcomes(judgeScores(compareScores({ reference, candidate: constant }), "8-bit"))).toMatchObject({
      "τ-b": "failed",
      "top-1 overlap": "failed",
    });
    const short = scoreTable("b", rows.slice(1));
    expect(
      outcomes(judgeScores(compareScores({ reference, candidate: short }), "4-bit"))["unmatched pairs"],
    ).toBe("failed");
  });

  it("judges pairs of one document a query by τ-b over all", () => {
    const single = (shift: (index: number) => number) =>
      scoreTable(
        "a",
        rows.slice(0, 30).map((row, index) => [(row[0] ?? 0) + shift(index)]),
      );
    const compared = compareScores({
      reference: single(() => 0),
      candidate: single((index) => (index % 2) * 9),
    });
    expect(outcomes(judgeScores(compared, "8-bit"))).toMatchObject({
      "τ-b": "failed",
      "top-1 overlap": "reported",
    });
    const agreeing = compareScores({ reference: single(() => 0), candidate: single(() => 0.5) });
    expect(outcomes(judgeScores(agreeing, "8-bit"))["τ-b"]).toBe("passed");
  });
});

describe("L3", () => {
  const differences = (count: number, center: number, deviation: number) =>
    Array.from({ length: count }, (_, index) => center + (index % 2 === 0 ? deviation : -deviation));
  const quality = (candidate: number, precision: "fp16" | "8-bit" | "4-bit", floor = 0.2) =>
    judgeQuality(
      {
        metric: "ndcg@10",
        candidate,
        reference: 0.8,
        random: floor,
        constant: 0.1,
        nonInferiority: nonInferiority(differences(1000, candidate - 0.8, 0.01), {
          margin: 0.005,
          resamples: 1000,
        }),
      },
      precision,
    );

  it("asks for the share of the reference by precision, and calls 4-bit degraded", () => {
    expect(outcomes(quality(0.8, "fp16"))).toEqual({
      "ndcg@10 retention": "passed",
      "ndcg@10 non-inferiority": "passed",
      "ndcg@10 above random order": "passed",
      "ndcg@10 above constant score": "passed",
    });
    expect(outcomes(quality(0.798, "fp16"))["ndcg@10 retention"]).toBe("failed");
    expect(outcomes(quality(0.798, "8-bit"))["ndcg@10 retention"]).toBe("passed");
    expect(outcomes(quality(0.79, "8-bit"))["ndcg@10 retention"]).toBe("failed");
    expect(outcomes(quality(0.79, "4-bit"))["ndcg@10 retention"]).toBe("degraded");
    expect(outcomes(quality(0.798, "4-bit"))["ndcg@10 retention"]).toBe("passed");
    expect(outcomes(quality(0.77, "4-bit"))["ndcg@10 retention"]).toBe("failed");
  });

  it("asks for more than chance", () => {
    expect(outcomes(quality(0.8, "fp16", 0.8))["ndcg@10 above random order"]).toBe("failed");
    expect(sentenceOf(quality(0.8, "fp16", 0.81), "ndcg@10 above random order")).toMatch(
      /0\.8 is not above the 0\.81/,
    );
  });

  it("says by how much, and what the sample could have seen", () => {
    const large = judgeNonInferiority(
      "ndcg@10",
      nonInferiority(differences(10_000, 0, 0.05), { margin: 0.005, resamples: 2000 }),
    );
    expect(large.outcome).toBe("passed");
    expect(large.sentence).toMatch(/A drop of 0\.005 would be seen/);

    const small = judgeNonInferiority("ndcg@10", nonInferiority(differences(50, 0, 0.05), { margin: 0.005 }));
    expect(small.outcome).toBe("failed");
    expect(small.sentence).toMatch(/the sample cannot rule the loss out; about 6\d\d queries could/);
    expect(small.sentence).toMatch(/with 50 queries only one of 0\.01776 or more is found/);

    const worse = judgeNonInferiority(
      "ndcg@10",
      nonInferiority(differences(50, -0.1, 0.05), { margin: 0.005 }),
    );
    expect(worse.sentence).toMatch(
      /changes by −0\.1 over 50 queries.*the mean change itself loses that much/,
    );

    const quiet = judgeNonInferiority("ndcg@10", nonInferiority([0, 0, 0], { margin: 0.005 }));
    expect(quiet.sentence).not.toMatch(/−0[^.]/);
  });

  it.each([
    [new Array(12).fill(0), /No query changes in this sample of 12: without spread it does not say whether/],
    [new Array(300).fill(0), /No query changes in this sample of 300/],
    [new Array(7).fill(0.1), /All queries change alike in this sample of 7/],
    // Whose mean is no exact tenth, so that a deviation would be a rounding error.
    [new Array(49).fill(-0.1), /All queries change alike in this sample of 49/],
  ])("claims nothing of a sample without spread: %j", (values, sentence) => {
    const test = nonInferiority(values, { margin: 0.005, resamples: 200 });
    expect(test).toMatchObject({ detectableDrop: undefined, queriesNeeded: undefined });
    const judged = judgeNonInferiority("ndcg@10", test);
    expect(judged.outcome).toBe(values[0] < 0 ? "failed" : "passed");
    expect(judged.sentence).toMatch(sentence);
    expect(judged.sentence).not.toMatch(/80 %|would be seen in|queries could/);
  });

  it.each([
    [0.7415, "passed", "0.7415 against 0.741, 0.0005, is below 0.005 to either side"],
    [0.737, "passed", "−0.004, is below"],
    [0.736, "failed", "−0.005, is not below"],
    [0.747, "failed", "0.006, is not below"],
    [Number.NaN, "failed", "is not below"],
  ])("holds a change to a bound on either side: %f", (candidate, outcome, sentence) => {
    const result = judgeChange({ metric: "ndcg@10", candidate, reference: 0.741 }, 0.005);
    expect(result).toMatchObject({ level: "L3", check: "ndcg@10 change", outcome, bound: 0.005 });
    expect(result.sentence).toContain(sentence);
  });

  it("fails a reference without quality", () => {
    const [kept] = judgeQuality(
      {
        metric: "map",
        candidate: 0.1,
        reference: 0,
        random: 0,
        constant: 0,
        nonInferiority: nonInferiority([0, 0], { margin: 0.1 }),
      },
      "4-bit",
    );
    expect(kept).toMatchObject({ outcome: "failed", value: undefined });
  });
});
