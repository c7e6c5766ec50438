import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PairScore, RawOutput } from "../src/index.js";
import { activate, readLogit, readVector, scaleOf } from "../src/score/head.js";
import { rankByLogit } from "../src/score/order.js";
import { dot, normalize } from "../src/score/vector.js";

const score = (logit: number | null): PairScore => ({ logit, score: logit, tokens: 1, truncatedTokens: 0 });
const output = (kind: RawOutput["kind"], shape: number[], data: number[]): RawOutput => ({
  kind,
  shape,
  data: Float32Array.from(data),
});

describe("heads", () => {
  it("reads one logit", () => {
    expect(readLogit({ kind: "logit" }, output("class-logits", [2, 1], [0.5, -1.5]), 1)).toBe(-1.5);
  });

  it("reads two classes as a difference whose sigmoid is the softmax", () => {
    const raw = output("class-logits", [1, 2], [-2, 3]);
    const logit = readLogit({ kind: "two-class", positive: 1 }, raw, 0);
    expect(logit).toBe(5);
    expect(activate(logit, "sigmoid")).toBeCloseTo(Math.exp(3) / (Math.exp(3) + Math.exp(-2)), 12);
    expect(readLogit({ kind: "two-class", positive: 0 }, raw, 0)).toBe(-5);
  });

  it("refuses an output of another width", () => {
    expect(() => readLogit({ kind: "logit" }, output("class-logits", [1, 2], [1, 2]), 0)).toThrow(/id2label/);
    expect(() => readLogit({ kind: "logit" }, output("hidden-states", [1, 1], [1]), 0)).toThrow(RangeError);
  });

  const states = output("hidden-states", [2, 3, 2], [9, 9, 9, 9, 9, 9, 3, 4, 1, 0, 100, 100]);
  it("pools the first token, or the mean of the real ones, and normalises", () => {
    expect([...normalize(readVector("cls", states, 1, 2))]).toEqual([0.6, 0.8]);
    const mean = normalize(readVector("mean", states, 1, 2));
    expect(mean[0]).toBeCloseTo(Math.SQRT1_2, 12);
    expect(mean[1]).toBeCloseTo(Math.SQRT1_2, 12);
    expect(dot(mean, mean)).toBeCloseTo(1, 12);
  });

  it("makes a zero vector NaN, which the reranker refuses, and not a similarity of 0", () => {
    const vector = normalize(readVector("cls", output("pooled", [1, 2], [0, 0]), 0, 1));
    expect(Number.isNaN(dot(vector, vector))).toBe(true);
  });

  it("declares what the scores mean", () => {
    expect(scaleOf({ head: { kind: "logit" }, activation: "identity" })).toBe("logit");
    expect(scaleOf({ head: { kind: "two-class", positive: 1 }, activation: "sigmoid" })).toBe("probability");
    expect(scaleOf({ head: { kind: "cosine", pooling: "cls" }, activation: "identity" })).toBe("cosine");
    expect(scaleOf({ head: { kind: "logit" }, activation: "tanh" })).toBe("tanh");
  });

  it("takes the hyperbolic tangent, and ranks by what is below it", () => {
    const logits = [21, 22, -30, 0.5];
    expect(logits.map((logit) => activate(logit, "tanh"))).toEqual([1, 1, -1, Math.tanh(0.5)]);
    expect(rankByLogit(logits.map(score))).toEqual([1, 0, 3, 2]);
  });
});

describe("order", () => {
  it("ranks by logit where the probability has long been 1", () => {
    const logits = [40, 42, 41];
    expect(logits.map((logit) => activate(logit, "sigmoid"))).toEqual([1, 1, 1]);
    expect(rankByLogit(logits.map(score))).toEqual([1, 2, 0]);
  });

  it("breaks ties by position and puts what has no logit last", () => {
    expect(rankByLogit([null, 1, -0, 0, null, 1].map(score))).toEqual([1, 5, 2, 3, 0, 4]);
  });

  it("does not depend on how the documents came", () => {
    const numbers = fc.double({ noNaN: true, min: -50, max: 50 });
    fc.assert(
      // 0 and −0 are a tie, and ties go by position.
      fc.property(fc.uniqueArray(numbers, { comparator: (a, b) => a === b }), (logits) => {
        const sorted = rankByLogit(logits.map(score)).map((index) => logits[index]);
        const reversed = [...logits].reverse();
        expect(rankByLogit(reversed.map(score)).map((index) => reversed[index])).toEqual(sorted);
      }),
    );
  });
});
