import { InvalidInputError, type Scale } from "@crossrank/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compareScores,
  compareVectors,
  createRandom,
  type Diagnosis,
  diagnose,
  fitLine,
  kendallTauB,
  logitOf,
  NonFiniteRunScoreError,
  type RandomGenerator,
  type Run,
  retrievalTable,
  type ScoreTable,
  saturationOf,
  sigmoid,
  spearman,
  topOverlap,
} from "../src/index.js";

function normal(random: RandomGenerator): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

/** Logits like a reranker's: most documents far below 0, a few above. */
function logits(queries: number, documents: number, seed = 1): number[][] {
  const random = createRandom(seed);
  return Array.from({ length: queries }, () =>
    Array.from({ length: documents }, () => 4 * normal(random) - 3),
  );
}

function scoreTable(name: string, rows: readonly (readonly number[])[], scale: Scale = "logit"): ScoreTable {
  const values: Run = new Map(
    rows.map((row, query) => [`q${query}`, new Map(row.map((value, index) => [`d${index}`, value]))]),
  );
  return { name, scale, values };
}

function diagnosed(reference: number[][], change: (logit: number) => number): Diagnosis {
  return diagnose(
    compareScores({
      reference: scoreTable("fp32", reference),
      candidate: scoreTable(
        "other",
        reference.map((row) => row.map(change)),
      ),
    }),
  );
}

describe("rank correlation", () => {
  function naiveTauB(x: readonly number[], y: readonly number[]): number | undefined {
    let [difference, untiedX, untiedY] = [0, 0, 0];
    for (let a = 0; a < x.length; a++) {
      for (let b = 0; b < a; b++) {
        const dx = Math.sign((x[a] ?? 0) - (x[b] ?? 0));
        const dy = Math.sign((y[a] ?? 0) - (y[b] ?? 0));
        difference += dx * dy;
        untiedX += Math.abs(dx);
        untiedY += Math.abs(dy);
      }
    }
    return untiedX === 0 || untiedY === 0 ? undefined : difference / Math.sqrt(untiedX * untiedY);
  }

  it("is τ-b as counted pair by pair, with many ties", () => {
    const level = fc.integer({ min: -4, max: 4 });
    fc.assert(
      fc.property(fc.array(fc.tuple(level, level), { maxLength: 40 }), (points) => {
        const x = points.map(([value]) => value);
        const y = points.map(([, value]) => value);
        const expected = naiveTauB(x, y);
        const found = kendallTauB(x, y);
        if (expected === undefined) expect(found).toBeUndefined();
        else expect(found).toBeCloseTo(expected, 12);
      }),
      { numRuns: 500 },
    );
  });

  it("agrees with scipy", () => {
    // scipy 1.17.1: kendalltau and spearmanr of these lists.
    const x = [12, 2, 1, 12, 2];
    const y = [1, 4, 7, 1, 0];
    expect(kendallTauB(x, y)).toBeCloseTo(-0.4714045207910316, 12);
    expect(spearman(x, y)).toBeCloseTo(-0.5407380704358752, 12);
  });

  it("knows its ends, and no number for a constant", () => {
    const x = [1, 2, 3, 4];
    expect(kendallTauB(x, [2, 4, 6, 9])).toBe(1);
    expect(kendallTauB(x, [4, 3, 2, 1])).toBe(-1);
    expect(spearman(x, [4, 3, 2, 1])).toBe(-1);
    expect(kendallTauB(x, [1, 1, 1, 1])).toBeUndefined();
    expect(spearman([5, 5], [1, 2])).toBeUndefined();
    expect(kendallTauB([], [])).toBeUndefined();
  });

  it("does a hundred thousand pairs in a moment", () => {
    const random = createRandom(1);
    const x = Float64Array.from({ length: 100_000 }, random.uniform);
    const y = x.map((value) => value + 0.1 * random.uniform());
    const start = performance.now();
    expect(kendallTauB(x, y)).toBeGreaterThan(0.9);
    // Pair by pair it were five billion comparisons.
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

describe("line", () => {
  it("is the least squares one", () => {
    // numpy: polyfit([1, 2, 4], [1, 3, 4], 1) is 0.92857143, 0.5, and the squared corrcoef 0.86224490.
    const fit = fitLine(Float64Array.of(1, 2, 4), Float64Array.of(1, 3, 4));
    expect(fit?.slope).toBeCloseTo(0.928571428571, 10);
    expect(fit?.intercept).toBeCloseTo(0.5, 10);
    expect(fit?.rSquared).toBeCloseTo(0.8622448979591834, 12);
    // Three points: one degree of freedom, so that it is the root of what r² leaves of 14/3.
    expect(fit?.residualDeviation).toBeCloseTo(Math.sqrt((1 - 0.8622448979591834) * (14 / 3)), 9);
    expect(fitLine(Float64Array.of(1, 1), Float64Array.of(1, 2))).toBeUndefined();
    expect(fitLine(Float64Array.of(1), Float64Array.of(1))).toBeUndefined();
  });
});

describe("top overlap", () => {
  it("is the shared part of the first k", () => {
    expect(topOverlap([4, 3, 2, 1], [4, 3, 2, 1], 2)).toBe(1);
    expect(topOverlap([4, 3, 2, 1], [4, 1, 2, 3], 2)).toBe(0.5);
    expect(topOverlap([4, 3, 2, 1], [1, 2, 3, 4], 2)).toBe(0);
    expect(topOverlap([4, 3], [1, 2], 2)).toBeUndefined();
  });

  it("gives ties the chance they have, and a constant that of a random order", () => {
    expect(topOverlap([4, 3, 2, 1], [0, 0, 0, 0], 1)).toBe(0.25);
    expect(topOverlap([4, 3, 2, 1], [0, 0, 0, 0], 2)).toBe(0.5);
    expect(topOverlap([9, 9, 1], [9, 9, 1], 1)).toBe(1);
    expect(topOverlap([9, 8, 1], [9, 9, 1], 1)).toBe(0.5);
  });
});

describe("saturation", () => {
  it("of probabilities: exact, and as single and half precision would write them", () => {
    const share = (logit: number) => saturationOf([sigmoid(logit)], "probability");
    expect(share(8.3)).toEqual({ exact: 0, float32: 0, float16: 0 });
    expect(share(8.32)).toEqual({ exact: 0, float32: 0, float16: 1 });
    expect(share(17.3)).toMatchObject({ exact: 0, float32: 0 });
    expect(share(17.33)).toMatchObject({ exact: 0, float32: 1 });
    expect(share(37)).toEqual({ exact: 1, float32: 1, float16: 1 });
    expect(share(-17.3)).toMatchObject({ float16: 0 });
    expect(share(-17.4)).toEqual({ exact: 0, float32: 0, float16: 1 });
    expect(share(-105)).toMatchObject({ exact: 0, float32: 1 });
  });

  it("of logits: the largest numbers of a type", () => {
    expect(saturationOf([65504, -65504, 65503, 0], "logit")).toEqual({ exact: 0, float32: 0, float16: 0.5 });
    expect(saturationOf([3.4028234663852886e38], "logit").float32).toBe(1);
    expect(saturationOf([1, -1, 0.5, 0], "cosine").exact).toBe(0.5);
  });

  it("of a table of logits that a sigmoid follows, is that of the probabilities", () => {
    const rows = [[40, 9, 0, -3]];
    const table = { ...scoreTable("a", rows), activation: "sigmoid" } as const;
    const compared = compareScores({ reference: scoreTable("b", rows), candidate: table });
    expect(compared.saturated.candidate).toEqual({ exact: 0.25, float32: 0.25, float16: 0.5 });
    expect(compared.saturated.reference.exact).toBe(0);
  });
});

describe("score comparison", () => {
  it("has the numbers of a table small enough to count by hand", () => {
    const compared = compareScores(
      {
        reference: scoreTable("fp32", [
          [3, 1, -1],
          [2, -2, 0.5],
        ]),
        candidate: scoreTable("int8", [
          [3.5, 1, -1.5],
          [-1, -2, 0.5],
        ]),
      },
      { k: 2 },
    );
    expect(compared).toMatchObject({
      pairs: 6,
      queries: 2,
      finitePairs: 6,
      unmatched: { reference: 0, candidate: 0 },
      topOne: { k: 1, overlap: 0.5, queries: 2 },
      topK: { k: 2, overlap: 1, queries: 2 },
      distinctShare: { reference: 1, candidate: 1 },
    });
    expect(compared.delta?.maximum).toBe(3);
    expect(compared.delta?.mean).toBeCloseTo(4 / 6, 12);
    expect(compared.delta?.median).toBe(0.25);
    expect(compared.delta?.p99).toBeCloseTo(0.5 + 2.5 * 0.95, 12);
    expect(compared.meanShift).toBeCloseTo(-3 / 6, 12);
    expect(compared.signAgreement).toBeCloseTo(5 / 6, 12);
    // Query 1 in the same order: 1. Query 2: two of three pairs concordant.
    expect(compared.kendall.withinQueries).toBeCloseTo((1 + 1 / 3) / 2, 12);
    expect(compared.spearman.withinQueries).toBeCloseTo((1 + 0.5) / 2, 12);
  });

  it("does not depend on the order of either table", () => {
    const rows = logits(40, 30);
    const reference = scoreTable("a", rows);
    const candidate = scoreTable(
      "b",
      rows.map((row) => row.map((value) => value + Math.sin(9 * value))),
    );
    const backwards = (table: ScoreTable): ScoreTable => ({
      ...table,
      values: new Map(
        [...table.values].reverse().map(([query, row]) => [query, new Map([...row].reverse())]),
      ),
    });
    expect(compareScores({ reference: backwards(reference), candidate })).toEqual(
      compareScores({ reference, candidate: backwards(candidate) }),
    );
  });

  it("compares probabilities by their logits", () => {
    const rows = logits(4, 6);
    const compared = compareScores({
      reference: scoreTable("logits", rows),
      candidate: scoreTable(
        "probabilities",
        rows.map((row) => row.map(sigmoid)),
        "probability",
      ),
    });
    expect(compared.delta?.maximum).toBeLessThan(1e-10);
    expect(logitOf(sigmoid(-30))).toBeCloseTo(-30, 10);
  });

  it("counts a constant candidate as no agreement, and leaves out what the reference does not order", () => {
    const compared = compareScores({
      reference: scoreTable("a", [[2, 1, 0], [1, 1, 1], [4]]),
      candidate: scoreTable("b", [[0, 0, 0], [3, 2, 1], [4]]),
    });
    expect(compared.kendall.withinQueries).toBe(0);
    const agreeing = compareScores({
      reference: scoreTable("a", [[2, 1, 0], [1, 1, 1], [4]]),
      candidate: scoreTable("b", [[9, 7, 5], [3, 2, 1], [4]]),
    });
    expect(agreeing.kendall.withinQueries).toBe(1);
    expect(agreeing.spearman.withinQueries).toBe(1);
  });

  it("refuses numbers that are no scores", () => {
    const good = scoreTable("good", [[1, 2]]);
    expect(() => compareScores({ reference: good, candidate: scoreTable("bad", [[1, Number.NaN]]) })).toThrow(
      NonFiniteRunScoreError,
    );
    expect(() =>
      compareScores({ reference: good, candidate: scoreTable("bad", [[1, 2]], "probability") }),
    ).toThrow(/is the table one of logits/);
    expect(() =>
      compareScores({ reference: good, candidate: scoreTable("bad", [[1, 0]], "cosine") }),
    ).toThrow(InvalidInputError);
  });
});

describe("diagnosis of constructed tables", () => {
  const reference = logits(30, 20);
  const random = createRandom(9);
  const noise = (deviation: number) => (logit: number) => logit + deviation * normal(random);

  it.each<[string, Diagnosis["kind"], (logit: number) => number]>([
    ["the same", "same", (logit) => logit],
    ["single precision", "same", (logit) => Math.fround(logit)],
    ["noise of half precision", "same", (logit) => logit + 0.002 * Math.sin(1e4 * logit)],
    ["noise of 8 bits", "noise", noise(0.2)],
    ["much noise", "noise", noise(2)],
    ["a small bias under more noise", "noise", (logit) => noise(0.5)(logit) + 0.2],
    ["a lost bias", "shifted head", (logit) => logit + 0.7],
    ["a lost scale", "shifted head", (logit) => 0.5 * logit],
    ["a lost scale, below any spread", "shifted head", (logit) => logit / 1000],
    ["a lost bias under noise", "shifted head", (logit) => noise(0.1)(logit) - 2],
    ["a doubled difference of logits", "shifted head", (logit) => 2 * logit],
    ["a sigmoid too many", "squashed twice", sigmoid],
    [
      "a sigmoid too many in half precision",
      "squashed twice",
      (logit) => Math.round(sigmoid(logit) * 2048) / 2048,
    ],
    ["a sigmoid too many, then scaled", "squashed twice", (logit) => 3 * sigmoid(logit) - 1],
    ["a sigmoid too many under noise", "squashed twice", (logit) => noise(0.01)(sigmoid(logit))],
    ["one score for all", "collapsed", () => 0.5],
    ["a mushed head", "collapsed", (logit) => 0.02 * noise(4)(logit)],
    ["a few steps", "collapsed", (logit) => 4 * Math.round(logit / 4)],
    ["another sign", "reversed", (logit) => -logit],
    ["another sign under noise", "reversed", (logit) => -noise(0.5)(logit)],
    ["a random head", "not comparable", () => noise(4)(-3)],
  ])("%s: %s", (_, kind, change) => {
    const diagnosis = diagnosed(reference, change);
    expect(diagnosis.kind, diagnosis.sentence).toBe(kind);
    expect(diagnosis.fewPairs).toBe(false);
    expect(diagnosis.likelyCause.length).toBeGreaterThan(20);
  });

  it("says the numbers that decided", () => {
    expect(diagnosed(reference, (logit) => 0.5 * logit + 1).sentence).toMatch(/other ≈ 1 \+ 0\.5 · fp32/);
    expect(diagnosed(reference, () => 7).sentence).toMatch(/same score to all 600 pairs/);
  });

  it("tells a squash from a line by the scatter that each leaves", () => {
    // Within ±1 a sigmoid is nearly straight.
    const narrow = reference.map((row) => row.map((value) => (value + 3) / 6));
    expect(diagnosed(narrow, (logit) => noise(0.01)(0.5 * logit)).kind).toBe("shifted head");
    expect(diagnosed(narrow, sigmoid).kind).toBe("squashed twice");
  });

  it("knows a squash from few pairs where it is exact", () => {
    expect(diagnosed([[5, 1, -1, -6]], sigmoid)).toMatchObject({ kind: "squashed twice", fewPairs: true });
  });

  it("judges cosines on their own, narrow scale", () => {
    const cosines = reference.map((row) => row.map((value) => Math.tanh(value / 20)));
    const other = (change: (value: number) => number) =>
      diagnose(
        compareScores({
          reference: scoreTable("a", cosines, "cosine"),
          candidate: scoreTable(
            "b",
            cosines.map((row) => row.map(change)),
            "cosine",
          ),
        }),
      ).kind;
    expect(other((value) => value + 1e-4 * Math.sin(1e4 * value))).toBe("same");
    expect(other((value) => value + 0.015 * Math.sin(1e4 * value))).toBe("noise");
    expect(other((value) => value + 0.015)).toBe("shifted head");
  });

  it("does not compare what is not the same pairs", () => {
    const short = reference.map((row) => row.slice(0, -1));
    const compared = compareScores({
      reference: scoreTable("a", reference),
      candidate: scoreTable("b", short),
    });
    expect(compared.unmatched).toEqual({ reference: 30, candidate: 0 });
    expect(diagnose(compared)).toMatchObject({ kind: "not comparable" });
    const one = scoreTable("a", [[1]]);
    expect(diagnose(compareScores({ reference: one, candidate: one })).kind).toBe("not comparable");
    const flat = scoreTable("a", [[1, 1]]);
    expect(diagnose(compareScores({ reference: flat, candidate: scoreTable("b", [[1, 2]]) })).kind).toBe(
      "not comparable",
    );
  });
});

// Published scores of the documents 0, 3 and 2 (where three are given) for "What is deep learning?" by runtime, from
// the README of github.com/miyako/4d-example-reranker, which calls the collapsed ones "mushed" or "low in precision".
describe("diagnosis of published numbers", () => {
  it.each<[string, Diagnosis["kind"], number[], number[]]>([
    [
      "ms-marco-MiniLM-L6-v2, ONNX F16 and GGUF",
      "collapsed",
      [0.99997842311859, 0.00002105345265591, 0.00001613207132323],
      [0.4982936187771, 0.48758885823757, 0.48588368773412],
    ],
    [
      "Qwen3-Reranker-0.6B, GGUF Q8_0 and ONNX int8",
      "collapsed",
      [0.99849343299866, 0.17696142196655, 0.00014215805276763],
      [0.11751576513052, 0.090718969702721, 0.080813035368919],
    ],
    [
      "mxbai-rerank-base-v1 (DeBERTa), ONNX F16 and int8",
      "collapsed",
      [0.94747817516327, 0.25853633880615],
      [0.23237489163876, 0.19631579518318],
    ],
    [
      "granite-embedding-reranker-english-r2, ONNX F16 and int8",
      "collapsed",
      [0.91985809803009, 0.078764326870441],
      [0.79878783226013, 0.67189735174179],
    ],
    [
      "Qwen3-Reranker-4B, GGUF Q8_0 and ONNX int8",
      "collapsed",
      [0.99664956331253, 0.00003427601041039],
      [0.89622062444687, 0.73410618305206],
    ],
    [
      "bge-reranker-v2-m3, GGUF Q8_0 and ONNX int8",
      "noise",
      [0.99975650378508, 0.0040334316733283, 0.00001605949705307],
      [0.99979907274246, 0.0034260561224073, 0.00001626304583624],
    ],
    [
      "bge-reranker-large, GGUF Q8_0 and CTranslate int8, which are the same numbers",
      "same",
      [0.99963819980621, 0.069412730634212, 0.00007634641951881],
      [0.99963819980621, 0.069412730634212, 0.00007634641951881],
    ],
    [
      "ms-marco-MiniLM-L6-v2, ONNX F16 and CTranslate int8, which saturates",
      "not comparable",
      [0.99997842311859, 0.00002105345265591],
      [1, 0.0000000004588505964076],
    ],
  ])("%s: %s", (_, kind, reference, candidate) => {
    const diagnosis = diagnose(
      compareScores({
        reference: scoreTable("reference", [reference], "probability"),
        candidate: scoreTable("candidate", [candidate], "probability"),
      }),
    );
    expect(diagnosis.kind, diagnosis.sentence).toBe(kind);
    expect(diagnosis.fewPairs).toBe(true);
  });
});

describe("vectors of a bi-encoder", () => {
  // Angles on a circle, so that cosines are known.
  const at = (degrees: number, length = 1) => [
    length * Math.cos((degrees * Math.PI) / 180),
    length * Math.sin((degrees * Math.PI) / 180),
  ];
  const documents = new Map(
    Array.from({ length: 12 }, (_, index) => [`d${index}`, at(10 * index, 1 + index)]),
  );

  it("finds gold documents by cosine, whatever the vectors' lengths", () => {
    const table = retrievalTable({
      // d3 first; and d6, 24 degrees away, after d8, d9, d7 and d10.
      queries: new Map([
        ["near", at(31)],
        ["far", at(84)],
        ["unused", at(0)],
      ]),
      documents,
      gold: new Map([
        ["near", ["d3"]],
        ["far", ["d6"]],
      ]),
    });
    expect(Object.fromEntries(table.recall)).toEqual({ 1: 0.5, 3: 0.5, 5: 1, 10: 1 });
    expect(table.mrr).toBeCloseTo((1 + 1 / 5) / 2, 12);
    expect(table.meanGoldCosine).toBeCloseTo(
      (Math.cos(Math.PI / 180) + Math.cos((24 * Math.PI) / 180)) / 2,
      12,
    );
    expect(table).toMatchObject({ queries: 2, documents: 12 });
  });

  it("shares a tied place", () => {
    const twins = new Map([
      ["a", [1, 0]],
      ["b", [1, 0]],
    ]);
    const table = retrievalTable({
      queries: new Map([["q", [1, 0]]]),
      documents: twins,
      gold: new Map([["q", ["a"]]]),
    });
    expect(table.recall.get(1)).toBe(0.5);
    expect(table.mrr).toBe(0.75);
  });

  it("compares two backends text by text", () => {
    const turned = new Map(Array.from(documents, ([id], index) => [id, at(10 * index + index, 2)]));
    const agreement = compareVectors(documents, turned);
    const cosines = Array.from({ length: 12 }, (_, index) => Math.cos((index * Math.PI) / 180));
    expect(agreement.mean).toBeCloseTo(cosines.reduce((a, b) => a + b, 0) / 12, 12);
    expect(agreement.minimum).toBeCloseTo(cosines[11] ?? 0, 12);
    expect(agreement.minimumText).toBe("d11");
    // Position 0.55 between the two least of twelve.
    expect(agreement.fifthPercentile).toBeCloseTo(0.45 * (cosines[11] ?? 0) + 0.55 * (cosines[10] ?? 0), 12);
    expect(agreement.texts).toBe(12);
  });

  it("refuses what has no direction or no counterpart", () => {
    expect(() => compareVectors(documents, new Map([["d0", [1, 0]]]))).toThrow(InvalidInputError);
    expect(() => compareVectors(new Map([["a", [0, 0]]]), new Map([["a", [1, 0]]]))).toThrow(/no direction/);
    expect(() => compareVectors(new Map([["a", [1, 0]]]), new Map([["b", [1, 0]]]))).toThrow(
      /candidate\["a"\]/,
    );
    expect(() => compareVectors(new Map([["a", [1, 0]]]), new Map([["a", [1, 0, 0]]]))).toThrow(
      /differ in length/,
    );
    expect(() => compareVectors(new Map([["a", [1, Number.NaN]]]), new Map([["a", [1, 0]]]))).toThrow(
      /finite/,
    );
    const queries = new Map([["q", [1, 0]]]);
    expect(() => retrievalTable({ queries, documents, gold: new Map([["q", ["none"]]]) })).toThrow(
      /documents\["none"\]/,
    );
    expect(() => retrievalTable({ queries, documents, gold: new Map() })).toThrow(/gold/);
  });
});
