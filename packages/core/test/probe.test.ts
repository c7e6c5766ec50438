import { describe, expect, it } from "vitest";
import { ProbeFailedError } from "../src/index.js";
import { probe } from "../src/load/probe.js";

const facts = {
  model: "some/model",
  backend: "onnx",
  file: "onnx/model.onnx",
  rowsShareBatches: true,
  rowsAffectScores: false,
  expectations: undefined,
};
type Score = Parameters<typeof probe>[0];

/** Counts letters: as good a reranker as the probe asks for. */
const byLength: Score = async (pairs) => pairs.map(({ document }) => document.length);

describe("probe", () => {
  it("accepts scores that differ and repeat", async () => {
    await expect(probe(byLength, facts)).resolves.toEqual({ movedInCompany: 0 });
  });

  it("refuses a constant head, and says what that means", async () => {
    const attempt = probe(async (pairs) => pairs.map(() => 0.25), facts);
    await expect(attempt).rejects.toThrow(ProbeFailedError);
    await expect(attempt).rejects.toThrow(/every probe pair scored 0\.25.*head is missing/);
    await expect(attempt).rejects.toMatchObject({ logits: [0.25, 0.25, 0.25] });
  });

  it("refuses a model that answers differently when asked again", async () => {
    let calls = 0;
    const attempt = probe(async (pairs) => pairs.map(() => (calls += 0.01)), facts);
    await expect(attempt).rejects.toThrow(/not deterministic/);
  });

  /** A pair's number moves by `by` for every other pair of the call. */
  const moves =
    (by: number): Score =>
    async (pairs) =>
      pairs.map(({ document }) => document.length + by * (pairs.length - 1));

  it("refuses scores that depend on their neighbours, unless the backend declares it", async () => {
    await expect(probe(moves(0.1), facts)).rejects.toThrow(/otherwise among others than alone/);
    const { movedInCompany } = await probe(moves(0.1), { ...facts, rowsAffectScores: true });
    expect(movedInCompany).toBeCloseTo(0.3);
    await expect(probe(moves(0.1), { ...facts, rowsShareBatches: false })).resolves.toEqual({
      movedInCompany: 0,
    });
    // What kernels of another shape round differently is let pass.
    await expect(probe(moves(1e-3), facts)).resolves.toBeDefined();
  });

  it("holds the model against its own expectations", async () => {
    const pair = { query: "q", document: "four" };
    const expectations = (logit: number) => ({ tolerance: 0.1, pairs: [{ ...pair, logit }] });
    await expect(probe(byLength, { ...facts, expectations: expectations(4.05) })).resolves.toEqual({
      movedInCompany: 0,
    });
    await expect(probe(byLength, { ...facts, expectations: expectations(4.2) })).rejects.toThrow(
      /scored 4, and the model's own expectation is 4\.2 ± 0\.1\. The artifact onnx\/model\.onnx is not this model/,
    );
  });
});
