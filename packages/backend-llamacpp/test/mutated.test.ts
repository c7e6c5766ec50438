import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { llamacpp } from "@crossrank/backend-llamacpp";
import { CrossrankError } from "@crossrank/core";
import { expect, test } from "vitest";
import { Counts, isLong, mutate, outcomeOf, randomOf } from "../../backend-kit/test/mutations.js";
import { convertedFolder, folderWith, goldenSequences, load, makeBatch } from "./fixtures.js";

const models: readonly (readonly [string, string])[] = [
  ["bert-logit", "F32"],
  ["bert-logit", "Q4_K_M"],
  ["qwen3-yes-no", "F32"],
];
const deadlines = { load: 30_000, run: 5000, close: 2000 };
const tries = isLong ? 500 : 2;

test.each(models)(
  "mutated files of %s in %s end in a result or a typed error, and in time",
  { timeout: 7_200_000 },
  async (name, dtype) => {
    const source = await convertedFolder(name, [dtype]);
    const whole = await readFile(join(source, `gguf/model-${dtype}.gguf`));
    const [golden] = await goldenSequences(source);
    const folder = await folderWith(name, (bytes) => bytes);
    const backend = llamacpp({ contexts: 1, threads: 1, deadlines });
    const counts = new Counts();
    // Other changes of each model.
    const first = models.findIndex(([model, precision]) => model === name && precision === dtype) * tries;
    for (let change = -1; change < tries; change += 1) {
      const seed = first + change;
      // What a file says of itself: of a small vocabulary, most of its first 100 kB.
      const { bytes, what } =
        change < 0
          ? { bytes: whole, what: "none" }
          : mutate(whole, { random: randomOf(seed), head: 100_000 });
      await writeFile(join(folder, "gguf/model-F32.gguf"), bytes);
      const work = async (): Promise<string> => {
        const session = await load(backend, folder);
        try {
          for (let round = 0; round < 2; round += 1) {
            const { data, shape } = await session.run(makeBatch(golden === undefined ? [] : [golden]));
            expect(shape.reduce((product, size) => product * size, 1)).toBe(data.length);
          }
          return "ran";
        } finally {
          await session.dispose();
        }
      };
      const isTyped = (error: unknown): error is CrossrankError => CrossrankError.isInstance(error);
      const outcome = await outcomeOf(work, { what: `mutation ${seed} (${what})`, isTyped });
      if (change < 0) expect(outcome).toBe("ran");
      else counts.add(outcome);
    }
    console.log(`mutated .gguf files of ${name} in ${dtype}, ${counts}`);
    expect(counts.total).toBe(tries);
  },
);
