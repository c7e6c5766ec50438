import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CrossrankError, type ModelFiles, readProfile } from "@crossrank/core";
import { afterAll, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { ggufWriter } from "../src/gguf/write-gguf.js";
import { createOnnxWriter } from "../src/onnx/write-onnx.js";
import { describeModel } from "../src/source/describe-model.js";
import { readFixture, serialize, withConfig, withFiles } from "./source-files.js";

// Numbers and names of config.json and of weights' headers as nobody should have them. Each is refused with a typed
// error, or means nothing here and the model is written as ever: never anything else, and nothing is allocated for it.

const folder = await mkdtemp(join(tmpdir(), "crossrank-hostile-"));
afterAll(() => rm(folder, { recursive: true }));

/** Milliseconds; far above what one takes on a busy machine. */
const patience = 20_000;
/** Bytes by which this process may grow. */
const mostMemory = 1e9;

type Outcome = "written" | "refused";

/** All that is done with a source before somebody judges the artifact. */
async function writeModel(files: ModelFiles, to: "onnx" | "gguf"): Promise<Outcome> {
  const before = process.resourceUsage().maxRSS;
  const start = performance.now();
  try {
    const { profile } = await readProfile(files);
    const description = await describeModel(files, profile);
    const writer = to === "onnx" ? createOnnxWriter() : ggufWriter;
    const dtype = writer.dtypes[0] as string;
    writer.check(description, profile, dtype);
    await writer.write({ files, description, profile, dtype, path: join(folder, "model"), metadata: {} });
    return "written";
  } catch (error) {
    if (!CrossrankError.isInstance(error)) throw error;
    expect(error.message.length).toBeLessThan(2000);
    return "refused";
  } finally {
    expect(performance.now() - start).toBeLessThan(patience);
    expect((process.resourceUsage().maxRSS - before) * 1024).toBeLessThan(mostMemory);
  }
}

const counts = [0, -1, 1e9, 2 ** 31, 2 ** 53, 1.5, 1e308, "constructor", "3", [], {}, true];
const epsilons = [0, -1, 1.5, 2 ** 53, 1e308, 1e-320, "1e-12", [], {}, true];
const bases = [0, -1, 0.5, 2 ** 53, 1e308, 1e-320, "10000", [], {}, true];
const names = ["constructor", "__proto__", "toString", "", "GELU", 1, [], ["gelu"], {}, true];
const layout = {
  vocab_size: counts,
  hidden_size: counts,
  num_hidden_layers: counts,
  num_attention_heads: counts,
  intermediate_size: counts,
};

/** By fixture: entries of its config.json, each with values that have to be refused. */
const refused: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  "bert-logit": {
    ...layout,
    max_position_embeddings: counts,
    type_vocab_size: counts,
    layer_norm_eps: epsilons,
    hidden_act: names,
    pad_token_id: [-1, 1e9, 2 ** 53, 1.5, "0", [], {}, true],
    position_embedding_type: ["constructor", "relative_key", 1, {}],
    is_decoder: [true, "constructor", 1],
    pruned_heads: [{ 0: [1] }, "constructor", []],
    model_type: ["constructor", "__proto__", "", 1, {}],
  },
  "roberta-logit": {
    ...layout,
    max_position_embeddings: counts,
    pad_token_id: [-1, 65, 66, 1000, 1e9, 2 ** 53, 1.5, "1"],
    layer_norm_eps: epsilons,
  },
  "xlm-roberta-logit": {
    ...layout,
    max_position_embeddings: [1, 2, ...counts],
    pad_token_id: [-1, 65, 1e9, 2 ** 53, 1.5],
    hidden_act: names,
  },
  "deberta-v2-logit": {
    ...layout,
    max_relative_positions: [1e9, 2 ** 31, 2 ** 53, 1.5, 1, 2, 3, "constructor", [], {}, true],
    position_buckets: [1e9, 2 ** 53, 1.5, 1, 2, 3, "constructor", [], {}, true],
    max_position_embeddings: counts,
    layer_norm_eps: epsilons,
    type_vocab_size: [-1, 1, 1e9, 2 ** 53, 1.5, "0", []],
    pooler_hidden_act: names,
    hidden_act: names,
    norm_rel_ebd: ["constructor", "batch_norm", 1],
    pos_att_type: ["constructor", ["c2p", "toString"], 1, [1], {}],
    pooler_hidden_size: [0, 1, 1e9, "constructor", {}],
    embedding_size: [0, 1, 1e9, "constructor", {}],
    attention_head_size: [0, 1, 1e9, "constructor"],
    conv_kernel_size: [1, 1e9, "constructor"],
  },
  "modernbert-cls": {
    ...layout,
    max_position_embeddings: counts,
    local_attention: counts,
    global_attn_every_n_layers: counts,
    global_rope_theta: bases,
    local_rope_theta: bases,
    norm_eps: epsilons,
    hidden_activation: names,
    classifier_activation: names,
    classifier_pooling: ["constructor", "max", 1],
    layer_types: [
      [],
      ["full_attention"],
      ["constructor"],
      "full_attention",
      Array(1e5).fill("full_attention"),
    ],
    rope_parameters: [
      "constructor",
      [],
      { full_attention: { rope_theta: 1e308 } },
      { full_attention: { rope_theta: 0 } },
      { sliding_attention: { rope_type: "constructor" } },
      { sliding_attention: { factor: 2 } },
    ],
  },
  "qwen3-yes-no": {
    ...layout,
    max_position_embeddings: counts,
    num_key_value_heads: counts,
    head_dim: [...counts, 1, 3, 5],
    rope_theta: bases,
    rms_norm_eps: epsilons,
    hidden_act: names,
    rope_scaling: ["constructor", { factor: 1e308 }, { rope_theta: -1 }, { type: "constructor" }],
    bos_token_id: [-1, 1e9, 2 ** 53, 1.5, "constructor", {}, [1e9]],
    eos_token_id: [-1, 1e9, 2 ** 53, 1.5, "constructor", {}, [-1]],
    layer_types: ["full_attention", ["constructor"], ["sliding_attention"]],
    mlp_bias: [true, "constructor"],
  },
  "qwen2-one-zero": { ...layout, num_key_value_heads: counts, rope_theta: bases, rms_norm_eps: epsilons },
  "gemma-yes": {
    ...layout,
    head_dim: [...counts, 1, 3],
    num_key_value_heads: counts,
    rms_norm_eps: epsilons,
    hidden_activation: names.filter((name) => name !== "gelu"),
    sliding_window: [0, -1, 2 ** 53, 1.5, "constructor", []],
  },
};

test.each(Object.entries(refused))("%s: hostile settings are refused", async (name, settings) => {
  const model = await readFixture(name);
  const to = /qwen|gemma/.test(name) ? "gguf" : "onnx";
  expect(await writeModel(model.files, to)).toBe("written");
  const taken: string[] = [];
  let tried = 0;
  const changes = Object.entries(settings).flatMap(([setting, values]) =>
    values.map((value) => ({ setting, value })),
  );
  for (const { setting, value } of sampleOf(changes, { name, every: 3 })) {
    // What the fixture has is no change.
    if (JSON.stringify(value) === JSON.stringify(model.config[setting])) continue;
    tried += 1;
    const outcome = await writeModel(withConfig(model, { [setting]: value }), to);
    if (outcome === "written") taken.push(`${setting} ${JSON.stringify(value)}`);
  }
  console.log(`${name}: ${tried} hostile settings, ${taken.length} taken`);
  expect(taken).toEqual([]);
});

test("settings of a shape nobody meant", async () => {
  const model = await readFixture("bert-logit");
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  const texts = [
    "",
    "null",
    "[]",
    "1",
    '"x"',
    "{",
    '{"model_type":"bert"}',
    '{"__proto__":{"model_type":"bert"}}',
    deep,
  ];
  for (const text of texts)
    expect(await writeModel(withFiles(model, { "config.json": text }), "onnx")).toBe("refused");
});

interface Entry {
  dtype: unknown;
  shape: unknown;
  data_offsets: unknown;
}

/** A weights file with another header, its length as it should be unless said otherwise. */
function weightsOf(header: string | Uint8Array, data: Uint8Array, length?: bigint): Uint8Array {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const start = new DataView(new ArrayBuffer(8));
  start.setBigUint64(0, length ?? BigInt(text.length), true);
  return Buffer.concat([new Uint8Array(start.buffer), text, data]);
}

test("weights with a hostile header are refused", async () => {
  const model = await readFixture("bert-logit");
  const bytes = serialize(model.tensors);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = Number(view.getBigUint64(0, true));
  const data = bytes.subarray(8 + length);
  const text = new TextDecoder().decode(bytes.subarray(8, 8 + length));
  const [first = ""] = model.tensors.keys();
  const changed = (change: (header: Record<string, Entry>, entry: Entry) => void): Uint8Array => {
    const header = JSON.parse(text) as Record<string, Entry>;
    change(header, header[first] as Entry);
    return weightsOf(JSON.stringify(header), data);
  };
  const withEntry = (change: Partial<Entry>): Uint8Array =>
    changed((_, entry) => void Object.assign(entry, change));
  const numbers = [-1, 1.5, 2 ** 53, 1e308, "3", null, [], {}, true];
  const many = Array.from({ length: 2_000_000 }, () => '"a":{}').join();
  const files: readonly Uint8Array[] = [
    ...[0n, 1n, 2n, 2n ** 24n + 1n, 2n ** 31n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n].map((wrong) =>
      weightsOf(text, data, wrong),
    ),
    ...["", "{", "[]", "null", "1", '"x"', "{}", '{"__metadata__":{}}', `${"[".repeat(1e6)}`, many].map(
      (header) => weightsOf(header, data),
    ),
    weightsOf(Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d), data),
    weightsOf(`{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},${text.slice(1)}`, data),
    weightsOf(text, data.subarray(1)),
    weightsOf(text, data.subarray(0, data.length - 1)),
    weightsOf(text, Buffer.concat([data, Uint8Array.of(0)])),
    weightsOf(text, new Uint8Array()),
    new Uint8Array(),
    new Uint8Array(7),
    new Uint8Array(8),
    ...numbers.map((size) => withEntry({ shape: [size] })),
    ...numbers.map((offset) => withEntry({ data_offsets: [0, offset] })),
    ...numbers.map((offset) => withEntry({ data_offsets: [offset, 4] })),
    withEntry({ shape: [] }),
    withEntry({ shape: Array(1e5).fill(1) }),
    withEntry({ shape: [0, 2 ** 53 - 1] }),
    withEntry({ shape: [2 ** 26, 2 ** 26] }),
    withEntry({ shape: "1" }),
    withEntry({ shape: {} }),
    withEntry({ data_offsets: [] }),
    withEntry({ data_offsets: [0] }),
    withEntry({ data_offsets: [0, 4, 8] }),
    withEntry({ data_offsets: { 0: 0, 1: 4, length: 2 } }),
    ...["F64", "F16", "I32", "I64", "BOOL", "constructor", "", 1, null, []].map((dtype) =>
      withEntry({ dtype }),
    ),
    changed((header) => delete header[first]),
    changed((header) => Object.assign(header, { another: header[first] })),
    changed((header) => Object.assign(header, { [first]: null })),
    changed((header) => Object.assign(header, { [first]: "constructor" })),
    changed((header) => Object.assign(header, { extra: { dtype: "F32", shape: [0], data_offsets: [0, 0] } })),
  ];
  const taken: number[] = [];
  for (const [index, file] of files.entries()) {
    if ((await writeModel(withFiles(model, { "model.safetensors": file }), "onnx")) === "written")
      taken.push(index);
  }
  console.log(`${files.length} hostile weights, ${taken.length} taken`);
  expect(taken).toEqual([]);
});

test("an index of shards that is hostile is refused, and one of many names is read at once", async () => {
  const model = await readFixture("bert-logit");
  const names = [...model.tensors.keys()];
  const shard = serialize(model.tensors);
  const map = (value: unknown): Record<string, unknown> =>
    Object.fromEntries(names.map((name) => [name, value]));
  const withIndex = (index: unknown): ModelFiles =>
    withFiles(model, {
      "model.safetensors": undefined,
      "part.safetensors": shard,
      "model.safetensors.index.json": typeof index === "string" ? index : JSON.stringify(index),
    });
  expect(await writeModel(withIndex({ weight_map: map("part.safetensors") }), "onnx")).toBe("written");
  const stray = Object.fromEntries(
    Array.from({ length: 200_000 }, (_, index) => [`t${index}`, "part.safetensors"]),
  );
  const wrong: readonly unknown[] = [
    "",
    "[]",
    "null",
    {},
    { weight_map: {} },
    { weight_map: [] },
    { weight_map: null },
    ...[
      1,
      null,
      [],
      {},
      "",
      ".",
      "..",
      "../part.safetensors",
      "/etc/passwd",
      "a/b",
      "missing.safetensors",
    ].map((path) => ({ weight_map: map(path) })),
    { weight_map: map("config.json") },
    { weight_map: map("__proto__") },
    { weight_map: { ...map("part.safetensors"), another: "part.safetensors" } },
    { weight_map: Object.fromEntries(names.slice(1).map((name) => [name, "part.safetensors"])) },
    { weight_map: { ...map("part.safetensors"), ...stray } },
    { weight_map: { ...map("part.safetensors"), [names[0] as string]: "\u0000" } },
  ];
  const taken: number[] = [];
  for (const [index, value] of wrong.entries())
    if ((await writeModel(withIndex(value), "onnx")) === "written") taken.push(index);
  console.log(`${wrong.length} hostile indices, ${taken.length} taken`);
  expect(taken).toEqual([]);
});
