import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { llamacpp } from "@crossrank/backend-llamacpp";
import { readGoldens, type Verification, verify } from "@crossrank/core/verify";
import { expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { editGguf, type StoredTensor } from "./edit-gguf.js";
import { convertedFolder, openFolder, temporaryFolder } from "./fixtures.js";

// Below 8 bits the bounds are wide. What they are for: the honest file passes, and one whose numbers stand in the wrong
// place does not, although it loads and gives finite numbers.

const backend = llamacpp({ isolation: "thread", contexts: 1, threads: 1 });

type Damage = (tensors: readonly StoredTensor[]) => readonly StoredTensor[];

const change =
  (pattern: RegExp, data: (bytes: Buffer, tensor: StoredTensor) => Buffer): Damage =>
  (tensors) =>
    tensors.map((tensor) =>
      pattern.test(tensor.name) && tensor.dimensions.length > 1
        ? { ...tensor, data: data(tensor.data, tensor) }
        : tensor,
    );

/** Data of two tensors of one type and size in each other's place, in every layer. */
const swap =
  (one: string, other: string): Damage =>
  (tensors) => {
    const named = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    return tensors.map((tensor) => {
      const partner = named.get(
        tensor.name.includes(one) ? tensor.name.replace(one, other) : tensor.name.replace(other, one),
      );
      const isAlike = partner?.type === tensor.type && partner.data.length === tensor.data.length;
      return partner !== undefined && isAlike ? { ...tensor, data: partner.data } : tensor;
    });
  };

function lastRowFirst(bytes: Buffer, { dimensions }: StoredTensor): Buffer {
  const rows = Number(dimensions[1]);
  const size = bytes.length / rows;
  const row = (index: number): Buffer => bytes.subarray(index * size, (index + 1) * size);
  return Buffer.concat(Array.from({ length: rows }, (_, index) => row(rows - 1 - index)));
}

const damages: Readonly<Record<string, Damage>> = {
  "keys and values in each other's place": swap("attn_v", "attn_k"),
  "queries and outputs in each other's place": swap("attn_q", "attn_output"),
  "rows turned round": change(/^blk/, lastRowFirst),
  "embeddings turned round": change(/^token_embd\.weight/, lastRowFirst),
  "half bytes swapped": change(/^blk/, (bytes) =>
    Buffer.from(bytes.map((byte) => (byte << 4) | (byte >> 4))),
  ),
  "layers of zeros": change(/^blk/, (bytes) => Buffer.alloc(bytes.length)),
  "half of each tensor cut to zeros": change(/^blk/, (bytes) => Buffer.from(bytes).fill(0, bytes.length / 2)),
};

const models = [
  ["bert-two-class", "Q4_0"],
  ["qwen3-yes-no", "Q4_K_M"],
  ["bert-cosine-mean", "Q5_K_M"],
  ["gemma-yes", "Q6_K"],
] as const;

test.each(models)("%s in %s passes as it was converted", async (name, dtype) => {
  const { passed, reason, bound } = await verified(name, dtype, (tensors) => tensors);
  expect(passed, reason).toBe(true);
  expect(bound).toMatchObject({ name: dtype, median: expect.any(Number) });
});

/** Seven damages and a third of them: every damage is tried with one model at least, and every model with two. */
const damaged = models.flatMap(([name, dtype]) =>
  Object.keys(damages).map((damage) => [name, dtype, damage] as const),
);
test.each(sampleOf(damaged, { name: "damaged", every: 5 }))(
  "%s in %s does not with %s",
  async (name, dtype, damage) => {
    const { passed, reason } = await verified(name, dtype, damages[damage] as Damage);
    expect(passed, reason).toBe(false);
    expect(reason).toMatch(/ordered alike|median difference|not finite/);
  },
);

async function verified(name: string, dtype: string, damage: Damage): Promise<Verification> {
  const source = await convertedFolder(name, [dtype]);
  const folder = await temporaryFolder();
  await cp(source, folder, { recursive: true });
  const path = join(folder, "gguf", `model-${dtype}.gguf`);
  const bytes = editGguf(await readFile(path), ({ entries, tensors }) => ({
    entries,
    tensors: damage(tensors),
  }));
  await writeFile(path, bytes);
  const model = openFolder(folder, name);
  const goldens = await readGoldens(model);
  if (goldens === undefined) throw new Error("no goldens");
  return verify({ model, backend, goldens, dtype });
}
