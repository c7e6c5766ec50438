import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import { CrossrankError } from "@crossrank/core";
import { expect, test } from "vitest";
import { Counts, isLong, mutate, outcomeOf, randomOf } from "../../backend-kit/test/mutations.js";
import { coreml } from "../src/coreml.js";
import { batchOf, load, modelFolder, usual } from "./reference-fixtures.js";

const deadlines = { load: 15_000, run: 5000, close: 2000 };
const backend = coreml({ reference: { backend: onnx({ workers: 1, threads: 1, deadlines }) } });
const tries = isLong ? 800 : 25;
/** In turn, the program more often: it says what the weights are. */
const parts = ["model.mlmodel", "model.mlmodel", "model.mlmodel", "weights/weight.bin"] as const;

test("mutated packages end in a result or a typed error, and in time", { timeout: 7_200_000 }, async () => {
  const folder = modelFolder("bert-logit", { [usual]: "bert-logit_plain" });
  const pathOf = (part: string): string => join(folder, usual, "Data/com.apple.CoreML", part);
  const wholes = new Map(parts.map((part) => [part, readFileSync(pathOf(part))]));
  const counts = new Counts();
  for (let seed = -1; seed < tries; seed += 1) {
    const random = randomOf(seed);
    const part = random.pick(parts);
    const whole = wholes.get(part) as Buffer;
    const { bytes, what } =
      seed < 0 ? { bytes: whole, what: "none" } : mutate(whole, { random, head: whole.length });
    writeFileSync(pathOf(part), bytes);
    const work = async (): Promise<string> => {
      const session = await load(backend, folder);
      try {
        const { batchSize, maxSequenceLength } = session.capabilities;
        const rows = "exactly" in batchSize ? batchSize.exactly : 1;
        const batch = batchOf([{ ids: [2, 5, 3], segmentIds: [0, 0, 0] }], {
          rows,
          columns: maxSequenceLength ?? 64,
        });
        const { data, shape } = await session.run(batch);
        expect(shape.reduce((product, size) => product * size, 1)).toBe(data.length);
        return "ran";
      } finally {
        await session.dispose();
      }
    };
    const isTyped = (error: unknown): error is CrossrankError => CrossrankError.isInstance(error);
    const outcome = await outcomeOf(work, { what: `${part}, mutation ${seed} (${what})`, isTyped });
    if (seed < 0) expect(outcome).toBe("ran");
    else counts.add(outcome);
    writeFileSync(pathOf(part), whole);
  }
  console.log(`mutated packages, ${counts}`);
  expect(counts.total).toBe(tries);
});
