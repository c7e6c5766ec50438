import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { llamacpp } from "@crossrank/backend-llamacpp";
import { expect, test } from "vitest";
import { ggufWriter } from "../../convert/src/gguf/write-gguf.js";
import { answer, forward } from "../../convert/src/reference/forward.js";
import { describeModel } from "../../convert/src/source/describe-model.js";
import type { Layer, ModelDescription } from "../../convert/src/source/description.js";
import { openFixture } from "./convert-fixture.js";
import { editGguf, uint32 } from "./edit-gguf.js";
import { load, makeBatch, rejection, temporaryFolder } from "./fixtures.js";

// Gemma 2 and 3 out of the weights of a Gemma 1, its norms used twice: what convert writes, as this backend runs it, held
// against convert's own forward pass, which convert's tests hold against transformers.

const backend = llamacpp({ isolation: "thread", contexts: 1, threads: 1 });
const fixture = await openFixture("gemma-yes");
const { head } = fixture.profile;
if (head.kind !== "answer-tokens") throw new Error(`a head of kind ${head.kind}`);
const tokens = [head.positive, head.positive + 1];
const scored = fixture.scored.filter(({ ids }) => ids.length > 20).slice(0, 4);
const plain = await describeModel(fixture.files, fixture.profile);

interface Variant {
  readonly architecture: "gemma2" | "gemma3_text";
  /** Of each layer: how far its tokens see. */
  readonly reaches: readonly (number | undefined)[];
  readonly bases: readonly number[];
  readonly caps?: { readonly attention: number; readonly logits: number };
}

const usualCaps = { attention: 50, logits: 30 };

const variants: Readonly<Record<string, Variant>> = {
  "Gemma 2 with caps that bend": {
    architecture: "gemma2",
    reaches: [5, undefined, 5],
    bases: [10_000, 10_000, 10_000],
    caps: { attention: 1, logits: 4 },
  },
  "Gemma 2 with windows in all layers but every third": {
    architecture: "gemma2",
    reaches: [9, 9, undefined],
    bases: [10_000, 10_000, 10_000],
    caps: usualCaps,
  },
  "Gemma 3": { architecture: "gemma3_text", reaches: [7, undefined, 7], bases: [10_000, 1_000_000, 10_000] },
  "Gemma 3 whose window reaches all places": {
    architecture: "gemma3_text",
    reaches: [undefined, undefined, undefined],
    bases: [10_000, 1_000_000, 10_000],
  },
  "Gemma 3 without windows": {
    architecture: "gemma3_text",
    reaches: [undefined, undefined, undefined],
    bases: [500_000, 500_000, 500_000],
  },
  "Gemma 3 with windows alone": {
    architecture: "gemma3_text",
    reaches: [3, 3, 3],
    bases: [10_000, 10_000, 10_000],
  },
};

function changed({ architecture, reaches, bases, caps }: Variant): ModelDescription {
  const [first, second] = plain.layers as [Layer, Layer];
  const layers = [first, second, first].map((layer, index): Layer => {
    const after = plain.layers[(index + 1) % 2] as Layer;
    const { attention } = layer;
    const reach = reaches[index];
    // Norms of heads are as wide as these, and there are none in Gemma 1: rows of its own norm's beginning.
    const headNorm = {
      ...layer.feedForwardNorm,
      weight: headed(layer.feedForwardNorm.weight, attention.headSize),
    };
    return {
      ...layer,
      placement: "around",
      attentionAfter: after.feedForwardNorm,
      feedForwardAfter: after.attentionNorm,
      attention: {
        ...attention,
        ...(reach === undefined ? {} : { reach }),
        ...(caps === undefined ? { queryNorm: headNorm, keyNorm: headNorm } : { cap: caps.attention }),
        positions: { kind: "rotary", theta: bases[index] as number },
      },
    };
  });
  const { head: vocabulary } = plain;
  if (vocabulary.kind !== "vocabulary") throw new Error("no vocabulary");
  return {
    ...plain,
    architecture,
    layers,
    head: caps === undefined ? vocabulary : { ...vocabulary, cap: caps.logits },
  };
}

type Weight = ModelDescription["embeddings"]["word"];

/** The first numbers of a vector. */
function headed(weight: Weight, size: number): Weight {
  return {
    ...weight,
    name: `${weight.name} cut`,
    shape: [size],
    rows: async (from, to) => (await weight.rows(0, weight.shape[0] ?? 0)).slice(from, to),
  };
}

function configOf({ architecture, reaches, bases, caps }: Variant): Record<string, unknown> {
  const window = reaches.find((reach) => reach !== undefined);
  const [first] = plain.layers;
  return {
    model_type: architecture,
    num_hidden_layers: reaches.length,
    vocab_size: plain.vocabularySize,
    hidden_size: plain.hiddenSize,
    head_dim: first?.attention.headSize,
    query_pre_attn_scalar: first?.attention.headSize,
    num_attention_heads: first?.attention.heads,
    num_key_value_heads: first?.attention.keyValueHeads,
    rms_norm_eps: first?.feedForwardNorm.epsilon,
    max_position_embeddings: plain.maxPositions,
    sliding_window: window === undefined ? plain.maxPositions : window + 1,
    layer_types: reaches.map((reach, index) =>
      reach !== undefined || (window === undefined && bases[index] === 10_000)
        ? "sliding_attention"
        : "full_attention",
    ),
    rope_parameters: {
      full_attention: { rope_theta: bases.find((base) => base !== 10_000) ?? 10_000, rope_type: "default" },
      sliding_attention: { rope_theta: bases.includes(10_000) ? 10_000 : bases[0], rope_type: "default" },
    },
    ...(caps === undefined
      ? {}
      : { attn_logit_softcapping: caps.attention, final_logit_softcapping: caps.logits }),
  };
}

async function folderOf(variant: Variant, more: Record<string, unknown> = {}): Promise<string> {
  const folder = await temporaryFolder();
  for (const { path } of await fixture.files.list())
    if (/^(?:tokenizer|special|crossrank).*\.json$/.test(path))
      await cp(await fixture.files.localPath(path), join(folder, path));
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...configOf(variant), ...more }));
  await mkdir(join(folder, "gguf"));
  const { files, profile } = fixture;
  const description = changed(variant);
  const path = join(folder, "gguf", "model-F32.gguf");
  await ggufWriter.write({ files, description, profile, dtype: "F32", path, metadata: { id: "gemma" } });
  return folder;
}

/** llama.cpp reads its GELU from a table of half precision, and caps make numbers near their bound steep. */
const bound = 1e-2;

const request = { output: { kinds: ["token-logits"], tokens } } as const;

async function answersOf(description: ModelDescription): Promise<number[]> {
  if (description.head.kind !== "vocabulary") throw new Error("no vocabulary");
  const sequences = scored.map(({ ids }) => ({
    ids: Int32Array.from(ids),
    segments: new Int32Array(ids.length),
  }));
  return [...(await answer(description.head, tokens, await forward(description, sequences))).data];
}

function withoutWindows(description: ModelDescription): ModelDescription {
  return {
    ...description,
    layers: description.layers.map((layer) => ({
      ...layer,
      attention: { ...layer.attention, reach: undefined },
    })),
  };
}

test.each(Object.entries(variants))("%s", async (_, variant) => {
  const description = changed(variant);
  const wanted = await answersOf(description);
  if (variant.reaches.some((reach) => reach !== undefined)) {
    const apart = (await answersOf(withoutWindows(description))).map((logit, index) =>
      Math.abs(logit - (wanted[index] as number)),
    );
    expect(Math.max(...apart)).toBeGreaterThan(3 * bound);
  }
  const session = await load(backend, await folderOf(variant), request);
  try {
    const { data } = await session.run(makeBatch(scored));
    for (const [index, logit] of wanted.entries())
      expect(Math.abs((data[index] as number) - logit)).toBeLessThan(bound);
    // The logits differ enough for that to say something.
    expect(Math.max(...wanted) - Math.min(...wanted)).toBeGreaterThan(0.1);
  } finally {
    await session.dispose();
  }
});

const gemma2 = variants["Gemma 2 with caps that bend"] as Variant;

test.each<[string, Record<string, unknown>, RegExp]>([
  [
    "another cap of scores",
    { attn_logit_softcapping: 50 },
    /attn_logit_softcapping.* is 1, and config.json has 50/,
  ],
  ["no cap of scores", { attn_logit_softcapping: null }, /attn_logit_softcapping null.* computes a cap/],
  ["no cap of logits", { final_logit_softcapping: null }, /final_logit_softcapping null.* computes a cap/],
  ["the class's cap of logits", { final_logit_softcapping: undefined }, /is 4, and config.json has 30/],
  ["another window", { sliding_window: 40 }, /sliding_window" of its metadata is 6, and config.json has 40/],
  ["windows by another rule", { layer_types: undefined, num_hidden_layers: 3, sliding_window: 6 }, /^$/],
  ["another scale", { query_pre_attn_scalar: 64 }, /query_pre_attn_scalar 64/],
  ["both ways", { use_bidirectional_attention: true }, /use_bidirectional_attention/],
])("a Gemma 2 beside a config.json with %s", async (_, config, reason) => {
  const folder = await folderOf(gemma2, config);
  if (reason.source === "^$") {
    // The class's own rule is the same one here: every second layer sees everything.
    await (await load(backend, folder, request)).dispose();
    return;
  }
  const error = await rejection(load(backend, folder, request));
  expect(error).toMatchObject({ code: "model-load" });
  expect(error.message).toMatch(reason);
});

test("a file by which no layer has the window is refused before llama.cpp ends over it", async () => {
  const folder = await folderOf(gemma2);
  const path = join(folder, "gguf", "model-F32.gguf");
  const changed = editGguf(await readFile(path), (contents) => ({
    ...contents,
    entries: contents.entries.map((entry) =>
      entry.key === "gemma2.attention.sliding_window_pattern" ? { ...entry, value: uint32(1) } : entry,
    ),
  }));
  await writeFile(path, changed);
  // Whether config.json says otherwise or nothing.
  for (const config of [configOf(gemma2), { model_type: "gemma2" }]) {
    await writeFile(join(folder, "config.json"), JSON.stringify(config));
    expect((await rejection(load(backend, folder, request))).message).toMatch(
      /none of its layers has the window/,
    );
  }
});

const check = (change: (description: ModelDescription) => ModelDescription, variant: Variant) => (): void =>
  ggufWriter.check(change(changed(variant)), fixture.profile, "F32");
const withLayers =
  (change: (layer: Layer, index: number) => Layer) =>
  (description: ModelDescription): ModelDescription => ({
    ...description,
    layers: description.layers.map(change),
  });
const ofAttention = (more: object) =>
  withLayers((layer) => ({ ...layer, attention: { ...layer.attention, ...more } }));

const gemma3 = variants["Gemma 3"] as Variant;

test.each<[string, Variant, (description: ModelDescription) => ModelDescription, RegExp]>([
  ["scores without a cap", gemma2, ofAttention({ cap: undefined }), /without a cap/],
  ["capped scores of Gemma 3", gemma3, ofAttention({ cap: 50 }), /capped scores/],
  [
    "logits without a cap",
    gemma2,
    (d) => ({ ...d, head: { ...d.head, cap: undefined } as ModelDescription["head"] }),
    /its logits have no cap/,
  ],
  [
    "capped logits of Gemma 3",
    gemma3,
    (d) => ({ ...d, head: { ...d.head, cap: 30 } as ModelDescription["head"] }),
    /its logits are capped/,
  ],
  ["another scale", gemma2, ofAttention({ scale: 0.5 }), /attention scaled by 0.5/],
  ["both ways", gemma3, ofAttention({ causal: false }), /attention to both sides/],
  [
    "windows of several sizes",
    gemma3,
    withLayers((layer, index) => ({ ...layer, attention: { ...layer.attention, reach: index + 2 } })),
    /windows of several sizes/,
  ],
  [
    "windows without a period",
    { ...gemma3, reaches: [undefined, 4, undefined], bases: [1_000_000, 10_000, 1_000_000] },
    (d) => d,
    /follow no period/,
  ],
  [
    "stretched positions",
    gemma3,
    ofAttention({ positions: { kind: "scaled-rotary", frequencies: [1] } }),
    /its positions are scaled-rotary/,
  ],
])("GGUF refuses %s", (_, variant, change, reason) => {
  expect(check(change, variant)).toThrow(reason);
});
