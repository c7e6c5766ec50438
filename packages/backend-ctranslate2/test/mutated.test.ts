import { writeFile } from "node:fs/promises";
import { ctranslate2 } from "@crossrank/backend-ctranslate2";
import { CrossrankError } from "@crossrank/core";
import { expect } from "vitest";
import { Counts, isLong, mutate, outcomeOf, randomOf } from "../../backend-kit/test/mutations.js";
import { batchOf, fixtureFolder, load, modelBytes, modelPath, testNative } from "./fixtures.js";

const deadlines = { load: 15_000, run: 5000, close: 2000 };
const tries = isLong ? 700 : 12;

testNative(
  "mutated files end in a result or a typed error, and in time",
  { timeout: 7_200_000 },
  async () => {
    const whole = modelBytes("bert-logit_fp32");
    const folder = fixtureFolder("bert-logit");
    const backend = ctranslate2({ sessions: 1, threads: 1, deadlines });
    const counts = new Counts();
    for (let seed = -1; seed < tries; seed += 1) {
      // Its heads stand among its weights; the largest weights, which have no meaning of their own, stand in front.
      const head = seed % 2 === 0 ? 400 : whole.length;
      const { bytes, what } =
        seed < 0 ? { bytes: whole, what: "none" } : mutate(whole, { random: randomOf(seed), head });
      await writeFile(modelPath(folder), bytes);
      const work = async (): Promise<string> => {
        const session = await load(backend, folder);
        try {
          for (let round = 0; round < 2; round += 1) {
            const { data, shape } = await session.run(batchOf(2, 8));
            expect(shape.reduce((product, size) => product * size, 1)).toBe(data.length);
          }
          return "ran";
        } finally {
          await session.dispose();
        }
      };
      const isTyped = (error: unknown): error is CrossrankError => CrossrankError.isInstance(error);
      const outcome = await outcomeOf(work, { what: `mutation ${seed} (${what})`, isTyped });
      if (seed < 0) expect(outcome).toBe("ran");
      else counts.add(outcome);
    }
    console.log(`mutated model.bin files, ${counts}`);
    expect(counts.total).toBe(tries);
  },
);
