import { readFileSync } from "node:fs";
import { openTraining, type TrainingTarget } from "@crossrank/backend-mlx/training";
import { openFixtures } from "@crossrank/conformance";
import { type Batch, readProfile } from "@crossrank/core";
import { expect, test } from "vitest";
import { learningRateAt } from "../src/loop/schedule.js";
import { describeNative } from "./native.js";

interface Row {
  readonly ids: readonly number[];
  readonly segments: readonly number[];
  readonly label: number;
}

interface ModelCase {
  readonly model: string;
  readonly method: "full" | "lora";
  readonly bits: 8 | 4 | null;
  readonly dropout: number | "model";
  readonly batches: readonly (readonly Row[])[];
  readonly losses: readonly number[];
  readonly norms: readonly number[];
}

/** lab/train/make_goldens.py, with torch 2.15.0 and transformers 5.24.0. */
const goldens = JSON.parse(
  readFileSync(new URL("./fixtures/torch-goldens.json", import.meta.url), "utf8"),
) as { readonly rank: number; readonly alpha: number; readonly models: readonly ModelCase[] };

describeNative("twenty steps of AdamW on batches of two are torch's", () => {
  test.each(
    goldens.models.map(
      (one) => [`${one.model}, ${one.method}, ${one.bits ?? 32} bits, dropout ${one.dropout}`, one] as const,
    ),
  )("%s", async (_, { model, method, bits, dropout, batches, losses, norms }) => {
    const [fixture] = openFixtures([model]);
    if (fixture === undefined) throw new Error(model);
    const { profile } = await readProfile(fixture.files);
    await using session = await openTraining({
      ...{ model: fixture.files, profile, method, bits: bits ?? undefined, group: 32 },
      ...{ rank: goldens.rank, alpha: goldens.alpha, targets: ["query", "value"] },
      ...{ dropout, lowRankDropout: 0, seed: 0, compute: "float32", decay: 0.01 },
      ...{ checkpointing: false, threads: 1, isolation: "thread" },
    });
    const firsts = session.parameters.flatMap(({ role }, place) => (role === "a" ? [place] : []));
    for (const [order, place] of firsts.entries()) {
      const [rank = 0, width = 0] = session.parameters[place]?.shape ?? [];
      const first = Float32Array.from({ length: rank * width }, (_, at) => 0.2 * Math.sin(at * 0.7 + order));
      await session.write(place, "value", first);
    }
    const settings = { learningRate: 5e-3, warmup: 0.1, schedule: "linear" } as const;
    for (const [step, wanted] of losses.entries()) {
      let loss = 0;
      for (const at of [2 * step, 2 * step + 1]) {
        const rows = batches[at % batches.length] as readonly Row[];
        const target: TrainingTarget = {
          loss: "binary",
          labels: Float32Array.from(rows, ({ label }) => label),
          share: 0.5,
          seed: [0, at],
        };
        loss += (await session.accumulate(batchOf(rows, profile.paddingId), target)) / 2;
      }
      const norm = await session.apply(learningRateAt(settings, step, losses.length), 1);
      expect(Math.abs(loss - wanted), `step ${step}`).toBeLessThan(1e-4);
      expect(norm / (norms[step] as number), `norm of step ${step}`).toBeCloseTo(1, 2);
    }
  });
});

function batchOf(rows: readonly Row[], paddingId: number): Batch {
  const columns = Math.max(...rows.map(({ ids }) => ids.length));
  const inputIds = new Int32Array(rows.length * columns).fill(paddingId);
  const segmentIds = new Int32Array(rows.length * columns);
  const attentionMask = new Int32Array(rows.length * columns);
  for (const [row, { ids, segments }] of rows.entries()) {
    inputIds.set(ids, row * columns);
    segmentIds.set(segments, row * columns);
    attentionMask.fill(1, row * columns, row * columns + ids.length);
  }
  const lengths = Int32Array.from(rows, ({ ids }) => ids.length);
  return { rows: rows.length, columns, inputIds, segmentIds, attentionMask, lengths };
}
