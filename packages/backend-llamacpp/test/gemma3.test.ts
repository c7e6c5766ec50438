import { llamacpp } from "@crossrank/backend-llamacpp";
import { parseGgufHeader } from "@crossrank/formats/gguf";
import { describe, expect, test } from "vitest";
import { type Entry, editGguf, uint32 } from "./edit-gguf.js";
import { load, makeBatch, rejection } from "./fixtures.js";
import { publishedFolder, publishedModel } from "./published.js";

const backend = llamacpp({ isolation: "thread", contexts: 1, threads: 1 });
const model = await publishedModel("gemma3");
const whole = model.files.get("F32") as Buffer;

const float32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
};

async function loadWith(
  entries: (entry: Entry) => Entry | undefined = (entry) => entry,
  config: Record<string, unknown> = {},
) {
  const bytes = editGguf(whole, (contents) => ({
    ...contents,
    entries: contents.entries.flatMap((entry) => entries(entry) ?? []),
  }));
  const folder = await publishedFolder(
    "gemma3",
    { ...model, config: { ...model.config, ...config } },
    new Map([["gemma-3-F32.gguf", bytes]]),
  );
  return load(backend, folder, { output: { kinds: ["token-logits"], tokens: model.tokens } });
}

const without =
  (key: string) =>
  (entry: Entry): Entry | undefined =>
    entry.key === key ? undefined : entry;
const having =
  (key: string, value: Buffer) =>
  (entry: Entry): Entry =>
    entry.key === key ? { ...entry, value } : entry;

test.each<[string, (entry: Entry) => Entry | undefined, Record<string, unknown>]>([
  ["as llama.cpp's converter writes it", (entry) => entry, {}],
  // Real files leave it out, and llama.cpp takes the base that all of them have.
  ["without the rotary base of the windows", without("gemma3.rope.freq_base_swa"), {}],
  [
    "beside a config.json that leaves what is usual to the class",
    (entry) => entry,
    { rope_parameters: undefined },
  ],
])("Gemma 3 %s: transformers' logits", async (_, entries, config) => {
  const session = await loadWith(entries, config);
  try {
    const { data } = await session.run(makeBatch(model.scored));
    for (const [row, { logits }] of model.scored.entries()) {
      for (const [column, logit] of logits.entries()) {
        expect(Math.abs((data[2 * row + column] as number) - logit)).toBeLessThan(2e-3);
      }
    }
  } finally {
    await session.dispose();
  }
});

describe("Gemma 3 that llama.cpp would compute otherwise is refused", () => {
  test.each<[string, (entry: Entry) => Entry | undefined, Record<string, unknown>, RegExp]>([
    [
      "without the rotary base",
      without("gemma3.rope.freq_base"),
      {},
      /no "gemma3.rope.freq_base", for which llama.cpp takes 10000, and config.json has 1000000/,
    ],
    [
      "without it, beside a config.json that leaves it to the class",
      without("gemma3.rope.freq_base"),
      { rope_parameters: undefined },
      /llama.cpp takes 10000, and config.json has 1000000/,
    ],
    [
      "with another base of the windows",
      having("gemma3.rope.freq_base_swa", float32(1_000_000)),
      {},
      /freq_base_swa.* is 1000000, and config.json has 10000/,
    ],
    [
      "without a window",
      without("gemma3.attention.sliding_window"),
      {},
      /no "gemma3.attention.sliding_window", so that layer 0 sees everything, and by config.json a window/,
    ],
    [
      "with a window of another size",
      having("gemma3.attention.sliding_window", uint32(8)),
      {},
      /is 8, and.* 16/,
    ],
    [
      "with its layers in another order",
      (entry) => entry,
      {
        layer_types: Array.from({ length: 7 }, (_, layer) =>
          layer % 2 === 0 ? "sliding_attention" : "full_attention",
        ),
      },
      /layer 1 sees a window, and by config.json everything/,
    ],
    [
      "with a scale of its own",
      (entry) => entry,
      { query_pre_attn_scalar: 64 },
      /query_pre_attn_scalar 64.*computes 32/,
    ],
    ["with caps", (entry) => entry, { attn_logit_softcapping: 50 }, /attn_logit_softcapping 50/],
    [
      "with a cap of the output",
      (entry) => entry,
      { final_logit_softcapping: 30 },
      /final_logit_softcapping.* 0.* 30/,
    ],
    [
      "that sees both ways",
      (entry) => entry,
      { use_bidirectional_attention: true },
      /use_bidirectional_attention/,
    ],
    ["with another activation", (entry) => entry, { hidden_activation: "silu" }, /activation "silu"/],
    [
      "with positions that it stretches",
      (entry) => entry,
      { rope_scaling: { rope_type: "linear", factor: 8 } },
      /rope.scaling.type" of its metadata is "none", and config.json has "linear"/,
    ],
  ])("%s", async (_, entries, config, reason) => {
    const error = await rejection(loadWith(entries, config));
    expect(error).toMatchObject({ code: "model-load" });
    expect(error.message).toMatch(reason);
  });
});

test("the fixture is what llama.cpp's converter writes", () => {
  const { metadata } = parseGgufHeader(whole, whole.length);
  expect(metadata.get("general.architecture")).toBe("gemma3");
});
