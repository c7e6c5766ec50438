import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mnn } from "@crossrank/backend-mnn";
import { describe, expect, test } from "vitest";
import { readGraph } from "../src/operators.js";
import { fixtureFolder, load, mnnBytes, temporaryFolder, testNative } from "./fixtures.js";

/** Slots of a table's fields, in the order of MNN's schema: a slot of 0 is a field that the file leaves out. */
const kinds: Readonly<Record<string, { readonly kind: number; readonly slot: number }>> = {
  "layer-norm": { kind: 603, slot: 6 },
  softmax: { kind: 85, slot: 4 },
};

/** The file with that field left out of every operator of the kind. */
function without(bytes: Buffer, name: string): Buffer {
  const changed = Buffer.from(bytes);
  const { kind, slot } = kinds[name] as { kind: number; slot: number };
  const field = (table: number, at: number): number => {
    const slots = table - changed.readInt32LE(table);
    const offset = at < changed.readUInt16LE(slots) ? changed.readUInt16LE(slots + at) : 0;
    return offset === 0 ? 0 : table + offset;
  };
  const follow = (place: number): number => place + changed.readUInt32LE(place);
  const list = follow(field(follow(0), 10));
  for (let index = 0; index < changed.readUInt32LE(list); index += 1) {
    const operator = follow(list + 4 + 4 * index);
    const type = field(operator, 14);
    if (type === 0 || changed.readInt32LE(type) !== kind) continue;
    const parameter = follow(field(operator, 8));
    changed.writeUInt16LE(0, parameter - changed.readInt32LE(parameter) + slot);
  }
  return changed;
}

function folderWithout(name: string, kind: string, config: Record<string, unknown> = {}): string {
  const folder = fixtureFolder(name);
  writeFileSync(join(folder, "mnn/model.mnn"), without(mnnBytes(`${name}_fp32.mnn`), kind));
  const path = join(folder, "config.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...config }));
  return folder;
}

describe("what a .mnn file leaves out", () => {
  test.each(["bert-logit", "roberta-logit", "xlm-roberta-logit", "deberta-v2-logit"])(
    "is read out of %s",
    async (name) => {
      const path = join(temporaryFolder(), "model.mnn");
      writeFileSync(path, mnnBytes(`${name}_fp32.mnn`));
      const { defaults: whole } = await readGraph(path);
      expect(whole.map(({ kind, stated }) => `${kind} ${stated}`).sort()).toEqual([
        ...Array.from({ length: 5 }, () => "layer-norm true"),
        ...Array.from({ length: 2 }, () => "softmax true"),
      ]);
      writeFileSync(path, without(mnnBytes(`${name}_fp32.mnn`), "layer-norm"));
      const bare = (await readGraph(path)).defaults.filter(({ kind }) => kind === "layer-norm");
      expect(bare).toEqual(bare.map(() => ({ kind: "layer-norm", value: 0, stated: false })));
    },
  );

  test("damaged files are followed nowhere", async () => {
    const path = join(temporaryFolder(), "model.mnn");
    const bytes = mnnBytes("bert-logit_fp32.mnn");
    for (const [at, value] of [
      [0, 0xffffffff],
      [0, bytes.length - 2],
      [bytes.readUInt32LE(0), 0x7fffffff],
      [4, 0],
    ] as const) {
      const changed = Buffer.from(bytes);
      changed.writeUInt32LE(value >>> 0, at);
      writeFileSync(path, changed);
      expect(Array.isArray((await readGraph(path)).defaults)).toBe(true);
    }
    for (const length of [0, 3, 40, 1000]) {
      writeFileSync(path, bytes.subarray(0, length));
      expect(await readGraph(path)).toEqual({ defaults: [], operators: [], tensors: [] });
    }
  });

  testNative.each([
    ["roberta-logit", "layer-norm", {}, /LayerNorm has no epsilon, for which MNN takes 0, and.* 0.00001/],
    ["bert-logit", "layer-norm", { layer_norm_eps: 1e-5 }, /LayerNorm has no epsilon/],
    ["bert-logit", "softmax", {}, /Softmax has no axis, for which MNN takes the first/],
  ])("is refused where MNN's default is another: %s without its %s", async (name, kind, config, reason) => {
    await expect(load(mnn(), folderWithout(name, kind, config))).rejects.toThrow(reason);
  });

  testNative("is right where the default changes nothing", async () => {
    const session = await load(mnn(), folderWithout("bert-logit", "layer-norm"));
    await session.dispose();
  });
});
