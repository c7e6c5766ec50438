import { cp } from "node:fs/promises";
import { join } from "node:path";
import { llamacpp } from "@crossrank/backend-llamacpp";
import { openFixtures } from "@crossrank/conformance";
import { describeModel, ggufWriter, type ModelDescription } from "@crossrank/convert";
import { readProfile } from "@crossrank/core";
import { expect, onTestFinished, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { forward } from "../../convert/src/reference/forward.js";
import { convertedFolder, load, makeBatch, temporaryFolder } from "./fixtures.js";

// llama.cpp's batches hold 512 tokens by default, and a longer sequence is pooled in pieces: a plausible wrong vector.

/** A description with the fixture's positions over again, so that it takes longer sequences than the fixture. */
function lengthened(description: ModelDescription, positions: number): ModelDescription {
  const { position } = description.embeddings;
  if (position === undefined) throw new Error("no positions");
  const [rows = 0, width = 0] = position.shape;
  const tiled = {
    name: position.name,
    shape: [positions, width],
    rows: async (from: number, to: number) => {
      const all = new Float32Array((to - from) * width);
      for (let row = from; row < to; row += 1) {
        all.set(await position.rows(row % rows, (row % rows) + 1), (row - from) * width);
      }
      return all;
    },
  };
  return {
    ...description,
    maxPositions: positions,
    embeddings: { ...description.embeddings, position: tiled },
  };
}

test("an encoder's sequences of 511 to 1,500 tokens are pooled as a whole", async () => {
  const [fixture] = openFixtures(["bert-cosine-mean"]);
  if (fixture === undefined) throw new Error("no fixture");
  const { files } = fixture;
  const { profile } = await readProfile(files);
  const description = lengthened(await describeModel(files, profile), 1500);
  const folder = await temporaryFolder();
  await cp(await convertedFolder("bert-cosine-mean"), folder, { recursive: true });
  const path = join(folder, "gguf/model-F32.gguf");
  await ggufWriter.write({ files, description, profile, dtype: "F32", path, metadata: {} });
  const session = await load(llamacpp({ isolation: "thread", contexts: 1 }), folder, {
    profile: { ...profile, maxLength: 1500 },
    output: { kinds: ["pooled"] },
  });
  onTestFinished(() => session.dispose());
  expect(session.capabilities.maxSequenceLength).toBe(1500);

  const lengths = sampleOf([511, 512, 513, 700, 1500, 20], {
    name: "lengths",
    every: 3,
    always: (length) => length === 513,
  });
  for (const length of lengths) {
    const ids = Int32Array.from({ length }, (_, index) => 100 + ((index * 37) % 1200));
    ids[0] = 5;
    ids[length - 1] = 6;
    const { states } = await forward(description, [{ ids, segments: new Int32Array(length) }]);
    const wanted = new Array<number>(states.width).fill(0);
    for (const [index, value] of states.data.entries()) {
      wanted[index % states.width] = (wanted[index % states.width] ?? 0) + value / length;
    }
    const { data, shape } = await session.run(makeBatch([{ ids: [...ids] }]));
    expect(shape).toEqual([1, states.width]);
    const apart = Math.max(...wanted.map((value, index) => Math.abs(value - (data[index] ?? Number.NaN))));
    expect(apart, `${length} tokens`).toBeLessThan(5e-3);
  }
});

test("a decoder's sequence of 1,000 tokens, computed in pieces, is that of one piece", async () => {
  const folder = await convertedFolder("qwen3-yes-no");
  const session = await load(llamacpp({ isolation: "thread", contexts: 1 }), folder);
  onTestFinished(() => session.dispose());
  const [fixture] = openFixtures(["qwen3-yes-no"]);
  if (fixture === undefined) throw new Error("no fixture");
  const { profile } = await readProfile(fixture.files);
  const { head } = profile;
  if (head.kind !== "answer-tokens") throw new Error("no answer tokens");
  const description = await describeModel(fixture.files, profile);
  if (description.head.kind !== "vocabulary") throw new Error("no vocabulary");
  const { projection } = description.head;
  for (const length of [513, 1000, 1024]) {
    const ids = Int32Array.from({ length }, (_, index) => 10 + ((index * 37) % 1200));
    const { states } = await forward(description, [{ ids, segments: new Int32Array(length) }]);
    const last = states.data.subarray((length - 1) * states.width);
    const { data } = await session.run(makeBatch([{ ids: [...ids] }]));
    for (const [index, token] of [head.positive, head.negative ?? 0].entries()) {
      const row = await projection.rows(token, token + 1);
      const wanted = row.reduce((sum, weight, column) => sum + weight * (last[column] ?? 0), 0);
      expect(Math.abs((data[index] ?? Number.NaN) - wanted), `${length} tokens`).toBeLessThan(1e-4);
    }
  }
});
