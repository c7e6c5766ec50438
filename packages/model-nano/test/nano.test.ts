import { execFileSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker, type Reranker, readProfile } from "@crossrank/core";
import { createPairEncoder, createTextTokenizer } from "@crossrank/core/encoding";
import { readGoldens } from "@crossrank/core/verify";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

interface Golden {
  readonly query: string;
  readonly document: string;
  readonly ids: readonly number[];
  readonly segmentIds: readonly number[];
  readonly truncatedTokens: number;
  /** Of the float32 model in PyTorch. */
  readonly logit: number;
}

let pairs: readonly Golden[] = [];
let reranker: Reranker;
beforeAll(async () => {
  const model = await openModel(modelFolder);
  const goldens = await readGoldens(model);
  pairs = (goldens?.cases ?? []).map(({ query, document, expected }) => {
    const { ids, segmentIds, truncatedTokens, logit } = expected["document-only"] ?? {};
    if (!ids || !segmentIds || truncatedTokens === undefined || typeof logit !== "number")
      throw new Error(`the golden of ${query} lacks a number`);
    return { query, document, ids, segmentIds, truncatedTokens, logit };
  });
  reranker = await createReranker({ model, backend: onnx({ isolation: "thread" }) });
});
afterAll(() => reranker.dispose());

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

describe("nano", () => {
  it("encodes the goldens as the Rust tokenizer does, truncation included", async () => {
    const { profile, tokenizerJson } = await readProfile(await openModel(modelFolder));
    const encoder = createPairEncoder(createTextTokenizer(tokenizerJson, "nano"), profile);
    expect(pairs.length).toBeGreaterThanOrEqual(20);
    expect(pairs.some(({ truncatedTokens }) => truncatedTokens > 0)).toBe(true);
    for (const { query, document, ids, segmentIds, truncatedTokens } of pairs) {
      const sequence = encoder.encodePair(encoder.encodeQuery(query), document);
      expect([...sequence.ids], `${query} / ${document.slice(0, 40)}`).toEqual(ids);
      expect([...sequence.segmentIds]).toEqual(segmentIds);
      // A very long document is not read to its end, and the result says so.
      if (sequence.truncatedTokensIsMinimum) {
        expect(sequence.truncatedTokens).toBeGreaterThan(0);
        expect(sequence.truncatedTokens).toBeLessThanOrEqual(truncatedTokens);
      } else expect(sequence.truncatedTokens).toBe(truncatedTokens);
    }
  });

  it("scores the goldens within the bounds for eight bits (median .15, sign stable)", async () => {
    // An empty query has ids but is nothing to rank by, and `score` refuses it.
    const scorable = pairs.filter(({ query }) => query.trim() !== "");
    const { scores, scale } = await reranker.score(scorable);
    expect(scale).toBe("probability");
    const compared = scorable.flatMap(({ logit }, index) => {
      const score = scores[index];
      return score?.queryOverflow ? [] : [{ expected: logit, found: score?.logit as number }];
    });
    expect(compared.length).toBeGreaterThanOrEqual(20);
    const differences = compared.map(({ expected, found }) => Math.abs(found - expected));
    expect(median(differences)).toBeLessThan(0.15);
    for (const { expected, found } of compared) {
      // Within half a logit of zero a sign says nothing.
      if (Math.abs(expected) > 0.5) expect(Math.sign(found)).toBe(Math.sign(expected));
    }
  });

  it("gives a pair the very same score whatever else is scored", async () => {
    const [{ query }] = pairs as readonly [Golden];
    const documents = pairs.map((pair) => pair.document);
    const together = await reranker.rerank({ query, documents });
    for (const { index, logit } of together.results.slice(0, 8)) {
      const alone = await reranker.rerank({ query, documents: [documents[index] as string] });
      expect(alone.results[0]?.logit).toBe(logit);
    }
  });

  it("puts plainly relevant documents first", async () => {
    const cases: [string, string, string[]][] = [
      [
        "what is the capital of France?",
        "Paris is the capital and largest city of France.",
        ["The currency of Japan is the yen.", "Bread is baked in an oven."],
      ],
      [
        "symptoms of diabetes",
        "Diabetes often shows itself by thirst, tiredness and frequent urination.",
        ["A guitar has six strings.", "The treaty was signed in 1848."],
      ],
      [
        "how do I list files in a directory",
        "ls lists the files of a directory.",
        ["The heart pumps blood through the body.", "Elections take place every four years."],
      ],
    ];
    for (const [query, relevant, others] of cases) {
      const { results } = await reranker.rerank({ query, documents: [...others, relevant] });
      expect(results[0]?.index, query).toBe(others.length);
    }
  });

  it("fits into the package's 16 MB, card and all", () => {
    const files = readdirSync(modelFolder, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    );
    const bytes = files.reduce(
      (sum, entry) => sum + statSync(path.join(entry.parentPath, entry.name)).size,
      0,
    );
    expect(files.map((entry) => entry.name)).toContain("README.md");
    expect(bytes).toBeLessThan(16 * 1024 * 1024);
  });

  it("runs the README's example", () => {
    const example = fileURLToPath(new URL("../../../examples/rerank.mjs", import.meta.url));
    const lines = execFileSync(process.execPath, [example], { encoding: "utf8" }).trim().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^0\.\d{3} probability git reset --soft/);
  });
});
