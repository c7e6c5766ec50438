import { describe, expect, it } from "vitest";
import { ProbeFailedError } from "../src/index.js";
import { probe } from "../src/load/probe.js";

const facts = { model: "some/model", backend: "onnx", file: "onnx/model.onnx", expectations: undefined };
type Score = Parameters<typeof probe>[0];

/** Counts letters: as good a reranker as the probe asks for. */
const byLength: Score = async (pairs) => pairs.map(({ document }) => document.length);

describe("probe", () => {
  it("accepts scores that differ and repeat", async () => {
    await expect(probe(byLength, facts)).resolves.toBeUndefined();
  });

  it("refuses a constant head, and says what that means", async () => {
    const attempt = probe(async (pairs) => pairs.map(() => 0.25), facts);
    await expect(attempt).rejects.toThrow(ProbeFailedError);
    await expect(attempt).rejects.toThrow(/every probe pair scored 0\.25.*head is missing/);
    await expect(attempt).rejects.toMatchObject({ logits: [0.25, 0.25, 0.25, 0.25] });
  });

  it("refuses a model that answers differently when asked again", async () => {
    let calls = 0;
    const attempt = probe(async (pairs) => pairs.map(() => (calls += 0.01)), facts);
    await expect(attempt).rejects.toThrow(/not deterministic/);
  });

  it("holds the model against its own expectations", async () => {
    const pair = { query: "q", document: "four" };
    const expectations = (logit: number) => ({ tolerance: 0.1, pairs: [{ ...pair, logit }] });
    await expect(probe(byLength, { ...facts, expectations: expectations(4.05) })).resolves.toBeUndefined();
    await expect(probe(byLength, { ...facts, expectations: expectations(4.2) })).rejects.toThrow(
      /scored 4, and the model's own expectation is 4\.2 ± 0\.1\. The artifact onnx\/model\.onnx is not this model/,
    );
  });
});
