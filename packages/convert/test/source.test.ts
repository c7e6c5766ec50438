import { openFixtures } from "@crossrank/conformance";
import { ModelFileNotFoundError, type ModelFiles, ModelProfileError, readProfile } from "@crossrank/core";
import { describe, expect, test } from "vitest";
import { UnsupportedConversionError } from "../src/errors.js";
import { ggufWriter } from "../src/gguf/write-gguf.js";
import { classify, forward } from "../src/reference/forward.js";
import { describedArchitectures, describeModel } from "../src/source/describe-model.js";
import type { ModelDescription } from "../src/source/description.js";
import type { Weight } from "../src/source/weight.js";
import projectedGoldens from "./fixtures/electra-projection.json" with { type: "json" };
import {
  type EditableModel,
  floatTensor,
  numbersOf,
  readFixture,
  type StoredTensor,
  serialize,
  withConfig,
  withFiles,
  withTensors,
  zeros,
} from "./source-files.js";

/** The profile is the sound model's: what is changed is what the description must notice by itself. */
async function describeChanged(name: string, files: ModelFiles): Promise<ModelDescription> {
  const [fixture] = openFixtures([name]);
  const { profile } = await readProfile((fixture as { files: ModelFiles }).files);
  return describeModel(files, profile);
}

/** BERT's encoder under ELECTRA's names. */
async function electra(): Promise<EditableModel> {
  const model = await readFixture("bert-logit");
  for (const [name, tensor] of [...model.tensors]) {
    model.tensors.delete(name);
    model.tensors.set(name.replace(/^bert\./, "electra."), tensor);
  }
  return { ...model, files: withTensors(model, () => undefined) };
}

/**
 * One whose embeddings are `width` wide and projected, with the numbers of lab/convert/electra_goldens.py.
 * @param said embedding_size of config.json; undefined leaves it to the default.
 */
async function projectedElectra(width: number, said: number | undefined = width): Promise<ModelFiles> {
  const model = await electra();
  const hidden = Number(model.config["hidden_size"]);
  const tensors: EditableModel["tensors"] = new Map();
  for (const [name, tensor] of model.tensors) {
    const own = name
      .replace(/^electra\.pooler\.dense\./, "classifier.dense.")
      .replace(/^classifier\.(weight|bias)$/, "classifier.out_proj.$1");
    const rows = tensor.shape.length === 1 ? 1 : (tensor.shape[0] as number);
    const numbers = numbersOf(tensor);
    const narrow = floatTensor(
      [...tensor.shape.slice(0, -1), width],
      Array.from(
        { length: rows * width },
        (_, at) => numbers[Math.floor(at / width) * hidden + (at % width)] ?? 0,
      ),
    );
    tensors.set(own, name.includes(".embeddings.") ? narrow : tensor);
  }
  const numbers = Array.from({ length: hidden * (width + 1) }, (_, at) => 0.3 * Math.sin(0.7 * at));
  tensors.set(
    "electra.embeddings_project.weight",
    floatTensor([hidden, width], numbers.slice(0, hidden * width)),
  );
  tensors.set("electra.embeddings_project.bias", floatTensor([hidden], numbers.slice(hidden * width)));
  return withFiles(model, {
    "model.safetensors": serialize(tensors),
    "config.json": JSON.stringify({ ...model.config, model_type: "electra", embedding_size: said }),
  });
}

/** Everything but the functions. */
function dataOf(description: ModelDescription): unknown {
  return JSON.parse(JSON.stringify(description));
}

const all = async (weight: Weight | undefined): Promise<number[]> =>
  weight === undefined ? [] : [...(await weight.rows(0, weight.shape[0] as number))];

describe("the fixtures", () => {
  test.each([
    ["bert-cosine-mean", "none", 2, 128, "absolute"],
    ["bert-logit", "classifier", 2, 64, "absolute"],
    ["bert-two-class", "classifier", 2, 64, "absolute"],
    ["roberta-logit", "classifier", 2, 64, "absolute"],
    ["xlm-roberta-logit", "classifier", 2, 64, "absolute"],
    ["modernbert-chain", "none", 4, 64, "rotary"],
    ["modernbert-cls", "classifier", 4, 128, "rotary"],
    ["modernbert-mean", "classifier", 4, 64, "rotary"],
    ["deberta-v2-logit", "classifier", 2, 64, "disentangled"],
    ["qwen3-yes-no", "vocabulary", 2, 1024, "rotary"],
    ["qwen3-cosine-last", "none", 2, 1024, "rotary"],
    ["qwen3-listwise", "none", 2, 2048, "rotary"],
    ["qwen2-one-zero", "vocabulary", 2, 1024, "rotary"],
    ["gemma-yes", "vocabulary", 2, 1024, "rotary"],
  ])(
    "%s: a %s head on %i layers, at most %i tokens, positions %s",
    async (name, head, layers, length, positions) => {
      const { files, config } = await readFixture(name);
      const description = await describeChanged(name, files);
      expect(description.head.kind).toBe(head);
      expect(description.layers.length).toBe(layers);
      expect(description.maxPositions).toBe(length);
      expect(description.architecture).toBe(config["model_type"]);
      expect(description.vocabularySize).toBe(config["vocab_size"]);
      expect(description.layers.map(({ attention }) => attention.positions.kind)).toEqual(
        Array(layers).fill(positions),
      );
    },
  );

  test("RoBERTa's positions begin behind the padding id", async () => {
    const model = await readFixture("roberta-logit");
    const { embeddings } = await describeChanged("roberta-logit", model.files);
    const stored = numbersOf(
      model.tensors.get("roberta.embeddings.position_embeddings.weight") as StoredTensor,
    );
    expect(embeddings.position?.shape).toEqual([64, 32]);
    expect([...((await embeddings.position?.rows(0, 64)) ?? [])]).toEqual([...stored.subarray(2 * 32)]);
    expect([...((await embeddings.position?.rows(63, 64)) ?? [])]).toEqual([...stored.subarray(65 * 32)]);
    await expect(embeddings.position?.rows(63, 65)).rejects.toThrow(RangeError);
  });

  test("ModernBERT's one matrix is query, key and value, and its windows reach half to each side", async () => {
    const model = await readFixture("modernbert-cls");
    const { layers } = await describeChanged("modernbert-cls", model.files);
    const fused = numbersOf(model.tensors.get("model.layers.1.attn.Wqkv.weight") as StoredTensor);
    const { query, key, value } = layers[1]?.attention ?? {};
    expect([query, key, value].map((part) => part?.weight.shape)).toEqual(Array(3).fill([32, 32]));
    expect([await all(query?.weight), await all(key?.weight), await all(value?.weight)].flat()).toEqual([
      ...fused,
    ]);
    expect(layers.map(({ attention }) => attention.reach)).toEqual([undefined, 5, 5, undefined]);
    expect(layers.map(({ attention: { positions } }) => "theta" in positions && positions.theta)).toEqual([
      160_000, 10_000, 10_000, 160_000,
    ]);
    expect(layers.map(({ attentionNorm }) => attentionNorm === undefined)).toEqual([
      true,
      false,
      false,
      false,
    ]);
    // The gate is the half that goes through the activation.
    const wide = numbersOf(model.tensors.get("model.layers.0.mlp.Wi.weight") as StoredTensor);
    const { gate, up } = layers[0]?.feedForward ?? {};
    expect([await all(gate?.weight), await all(up?.weight)].flat()).toEqual([...wide]);
  });

  test("Gemma's norms have 1 added, and its embeddings their scale", async () => {
    const model = await readFixture("gemma-yes");
    const { embeddings, finalNorm } = await describeChanged("gemma-yes", model.files);
    const stored = numbersOf(model.tensors.get("model.norm.weight") as StoredTensor);
    expect(await all(finalNorm?.weight)).toEqual([...stored].map((value) => Math.fround(1 + value)));
    expect(finalNorm?.kind).toBe("rms-norm");
    expect(embeddings.scale).toBe(Math.fround(Math.sqrt(32)));
  });

  test("DeBERTa's layers share their keys and queries with its positions", async () => {
    const { files } = await readFixture("deberta-v2-logit");
    const { layers, embeddings } = await describeChanged("deberta-v2-logit", files);
    const { attention } = layers[1] as ModelDescription["layers"][number];
    expect(attention.positions).toMatchObject({ span: 16, buckets: 16, maxRelativePositions: 64 });
    expect(attention.positions).toHaveProperty("key", attention.key);
    expect(attention.positions).toHaveProperty("query", attention.query);
    expect(attention.scale).toBe(1 / Math.sqrt(3 * 8));
    expect(embeddings.position).toBeUndefined();
    expect(embeddings.segment).toBeUndefined();
  });
});

describe("what is not supported is refused by name", () => {
  test.each([
    ["bert-logit", { model_type: "nomic_bert" }, /model_type "nomic_bert", and bert, roberta/],
    ["bert-logit", { model_type: undefined }, /model_type nothing/],
    ["bert-logit", { model_type: "constructor" }, /model_type "constructor"/],
    ["bert-logit", { hidden_act: "quick_gelu" }, /hidden_act "quick_gelu", and of bert only "gelu"/],
    ["bert-logit", { position_embedding_type: "relative_key" }, /position_embedding_type "relative_key"/],
    ["bert-logit", { is_decoder: true }, /is_decoder true/],
    ["bert-logit", { add_cross_attention: true }, /add_cross_attention true/],
    [
      "bert-logit",
      { architectures: ["JinaBertModel"], auto_map: { AutoConfig: "a.B", AutoModel: "a.C" } },
      /auto_map AutoModel: .*JinaBertModel/,
    ],
    ...(
      [
        [{ quantization: { group_size: 64, bits: 4 } }, /quantised by MLX, to 4 bits/],
        [{ quantization_config: { quant_method: "gptq", bits: 4 } }, /quantised by GPTQ/],
        [{ quantization_config: { quant_method: "awq" } }, /quantised by AWQ/],
        [{ quantization_config: { quant_method: "bitsandbytes" } }, /quantised by bitsandbytes/],
        [{ quantization_config: { quant_method: "compressed-tensors" } }, /FP8/],
        [{ quantization_config: { quant_method: "fp8" } }, /quantised by FP8/],
        [{ quantization_config: { quant_method: "constructor" } }, /quantised by constructor/],
        [{ quantization_config: {} }, /quantised by another program/],
        [
          { _name_or_path: "owner/base", quantization: { bits: 8 } },
          /Convert the model that they were made from, owner\/base/,
        ],
      ] as const
    ).map(
      ([config, reason]) =>
        ["roberta-logit", config, reason] as [string, Readonly<Record<string, unknown>>, RegExp],
    ),
    ["roberta-logit", { position_embedding_type: "relative_key_query" }, /position_embedding_type/],
    ["modernbert-cls", { hidden_activation: "mish" }, /hidden_activation "mish"/],
    ["modernbert-cls", { classifier_pooling: "max" }, /classifier_pooling "max"/],
    ["modernbert-cls", { layer_types: ["full_attention"] }, /1 layer_types and 4 num_hidden_layers/],
    [
      "modernbert-cls",
      { layer_types: Array(4).fill("chunked_attention") },
      /layer_types\.0 "chunked_attention"/,
    ],
    [
      "modernbert-cls",
      { rope_parameters: { full_attention: { rope_type: "yarn", factor: 4, rope_theta: 1e4 } } },
      /rope_parameters\.full_attention .*yarn/,
    ],
    ["modernbert-cls", { rope_scaling: { type: "linear", factor: 2 } }, /rope_scaling .*linear/],
    ["deberta-v2-logit", { conv_kernel_size: 3 }, /conv_kernel_size 3/],
    ["deberta-v2-logit", { talking_head: true }, /talking_head true/],
    ["deberta-v2-logit", { pos_att_type: ["c2p", "p2p"] }, /pos_att_type "p2p"/],
    ["deberta-v2-logit", { norm_rel_ebd: "rms_norm" }, /norm_rel_ebd "rms_norm"/],
    ["deberta-v2-logit", { embedding_size: 16 }, /embedding_size 16/],
    ["deberta-v2-logit", { pooler_hidden_size: 16 }, /pooler_hidden_size 16/],
    ["deberta-v2-logit", { attention_head_size: 16 }, /attention_head_size 16/],
    ["deberta-v2-logit", { pooler_hidden_act: "selu" }, /pooler_hidden_act "selu"/],
    [
      "qwen3-yes-no",
      { layer_types: ["full_attention", "sliding_attention"] },
      /layer_types sliding_attention, and qwen3 has no window by it/,
    ],
    ["qwen3-yes-no", { layer_types: ["full_attention"] }, /1 layer_types and 2 num_hidden_layers/],
    [
      "qwen3-yes-no",
      { layer_types: ["full_attention", "chunked_attention"] },
      /layer_types\.1 "chunked_attention"/,
    ],
    ["modernbert-cls", { sliding_window: 128 }, /sliding_window 128 and local_attention .*contradict/],
    ["qwen3-yes-no", { rope_scaling: { rope_type: "yarn", factor: 4 } }, /rope_scaling .*yarn/],
    ["qwen3-yes-no", { rope_parameters: { rope_type: "dynamic" } }, /rope_parameters .*dynamic/],
    [
      "qwen3-yes-no",
      { rope_parameters: { full_attention: { rope_theta: 5 } } },
      /rope_parameters .*full_attention/,
    ],
    ["qwen3-yes-no", { partial_rotary_factor: 0.5 }, /partial_rotary_factor .*0\.5/],
    ["qwen3-yes-no", { is_causal: false }, /is_causal false/],
    ["qwen2-one-zero", { use_mrope: true }, /use_mrope true/],
    ["gemma-yes", { use_bidirectional_attention: true }, /use_bidirectional_attention true/],
    ["gemma-yes", { hidden_activation: "relu" }, /hidden activation relu/],
    ["gemma-yes", { num_key_value_heads: 3 }, /4 heads for 3 num_key_value_heads/],
  ])("%s with %j", async (name, settings, message) => {
    const changed = describeChanged(name, withConfig(await readFixture(name), settings));
    await expect(changed).rejects.toThrow(UnsupportedConversionError);
    await expect(changed).rejects.toThrow(message);
    await expect(changed).rejects.toMatchObject({ format: "description", model: name });
  });

  test("a classifier of a decoder that has none, and a decoder's that the profile does not read", async () => {
    const model = await readFixture("qwen3-yes-no");
    const { profile } = await readProfile(model.files);
    await expect(describeModel(model.files, { ...profile, head: { kind: "logit" } })).rejects.toThrow(
      /holds no classifier, and the profile's head \(logit\) reads one/,
    );
    const scored = withTensors(model, (tensors) => tensors.set("score.weight", zeros(1, 32)));
    await expect(describeModel(scored, profile)).rejects.toThrow(/its weights hold score\.weight/);
    await expect(describeModel(scored, { ...profile, head: { kind: "logit" } })).resolves.toMatchObject({
      head: { kind: "classifier", pooling: "last", classes: 1 },
    });
    await expect(
      describeModel(scored, { ...profile, head: { kind: "two-class", positive: 1 } }),
    ).rejects.toThrow(/gives 1 class, and the profile's head \(two-class\) reads 2/);
    // transformers passes the language model's head over.
    const both = withTensors(model, (tensors) => {
      tensors.set("score.weight", zeros(1, 32));
      tensors.set("lm_head.weight", zeros(1312, 32));
    });
    await expect(describeModel(both, { ...profile, head: { kind: "logit" } })).resolves.toBeDefined();
  });

  test("answer tokens of an encoder", async () => {
    const { files } = await readFixture("bert-logit");
    const { profile } = await readProfile(files);
    await expect(
      describeModel(files, { ...profile, head: { kind: "answer-tokens", positive: 1 } }),
    ).rejects.toThrow(/bert is no language model/);
  });

  test.each([
    ["bert-logit", { hidden_size: undefined }, /hidden_size nothing/],
    ["bert-logit", { num_hidden_layers: "two" }, /num_hidden_layers "two"/],
    ["bert-logit", { layer_norm_eps: -1 }, /layer_norm_eps -1/],
    ["bert-logit", { num_attention_heads: 5 }, /hidden_size 32 is no multiple of num_attention_heads 5/],
    ["qwen3-yes-no", { rms_norm_eps: "small" }, /rms_norm_eps "small"/],
  ])("%s with the unsound %j", async (name, settings, message) => {
    const changed = describeChanged(name, withConfig(await readFixture(name), settings));
    await expect(changed).rejects.toThrow(ModelProfileError);
    await expect(changed).rejects.toThrow(message);
  });
});

describe("ELECTRA's narrower embeddings", () => {
  const described = async (files: ModelFiles): Promise<ModelDescription> => {
    const description = await describeChanged("bert-logit", files);
    return { ...description, architecture: "electra" };
  };

  test("are projected as transformers does", async () => {
    const description = await described(await projectedElectra(16));
    const sequences = projectedGoldens.cases.map(({ ids, segments }) => ({
      ids: Int32Array.from(ids),
      segments: Int32Array.from(segments),
    }));
    if (description.head.kind !== "classifier") throw new Error("no classifier");
    const { data } = await classify(description.head, await forward(description, sequences));
    for (const [index, { logit }] of projectedGoldens.cases.entries())
      expect(Math.abs((data[index] as number) - logit)).toBeLessThan(1e-6);
  });

  test.each([8, 16, 31, 40, 128])("of %i columns", async (width) => {
    const said = width === 128 ? undefined : width;
    const { embeddings } = await described(await projectedElectra(width, said));
    expect(embeddings.word.shape[1]).toBe(width);
    expect(embeddings.projection?.weight.shape).toEqual([32, width]);
  });

  test("of another width than config.json says are no such model's", async () => {
    await expect(described(await projectedElectra(16, 8))).rejects.toThrow(
      /embeddings\.position_embeddings\.weight has shape 64 × 16, and config\.json makes it 64 × 8/,
    );
    // Projected, and config.json says that nothing is.
    await expect(described(await projectedElectra(32))).rejects.toThrow(/embeddings_project/);
  });

  test("need their projection", async () => {
    const settings = { model_type: "electra", embedding_size: 16 };
    const unprojected = withConfig(await electra(), settings);
    await expect(described(unprojected)).rejects.toThrow(ModelProfileError);
  });

  test("are no BERT of llama.cpp's, whatever the model is called", async () => {
    const files = await projectedElectra(16);
    const { profile } = await readProfile((await electra()).files);
    const description = { ...(await described(files)), architecture: "bert" };
    expect(() => ggufWriter.check(description, profile)).toThrow(/embeddings are projected/);
  });
});

describe("other forms of the same", () => {
  test.each([
    // transformers 4: one number for the pattern of layers, and thetas by name.
    ["modernbert-cls", { layer_types: undefined, rope_parameters: undefined, global_attn_every_n_layers: 3 }],
    ["qwen3-yes-no", { rope_parameters: undefined, rope_theta: 1_000_000, layer_types: undefined }],
    ["qwen3-yes-no", { rope_scaling: null, sliding_window: 32, use_sliding_window: false }],
    ["qwen2-one-zero", { sliding_window: 4096, use_sliding_window: true }],
    ["gemma-yes", { hidden_act: "gelu", hidden_activation: null }],
    ["gemma-yes", { hidden_act: "gelu", hidden_activation: "gelu_pytorch_tanh" }],
    ["deberta-v2-logit", { pos_att_type: "p2c|c2p", legacy: false }],
    ["bert-logit", { position_embedding_type: "absolute", classifier_dropout: null, hidden_act: null }],
    ["bert-logit", { auto_map: { AutoConfig: "configuration.Own" } }],
    ["qwen3-listwise", { auto_map: { AutoModel: "modeling.JinaForRanking" } }],
  ])("%s with %j", async (name, settings) => {
    const model = await readFixture(name);
    const changed = await describeChanged(name, withConfig(model, settings));
    expect(dataOf(changed)).toEqual(dataOf(await describeChanged(name, model.files)));
  });

  test("norms under the names of the first BERT", async () => {
    const model = await readFixture("bert-logit");
    const files = withTensors(model, (tensors) => {
      for (const [name, tensor] of [...tensors]) {
        tensors.delete(name);
        tensors.set(
          name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
          tensor,
        );
      }
    });
    const { embeddings } = await describeChanged("bert-logit", files);
    expect(embeddings.norm?.weight.name).toBe("bert.embeddings.LayerNorm.gamma");
    const sound = await describeChanged("bert-logit", model.files);
    expect(await all(embeddings.norm?.bias)).toEqual(await all(sound.embeddings.norm?.bias));
  });

  test.each(["BF16", "F16"] as const)("weights in %s", async (dtype) => {
    const model = await readFixture("bert-logit");
    const narrow = (value: number): number => {
      const bits = new Uint32Array(Float32Array.of(value).buffer)[0] as number;
      if (dtype === "BF16") return bits >>> 16;
      // Multiples of 1/256 below 8 are exact in half precision.
      const rounded = Math.round(value * 256) / 256;
      if (rounded === 0) return 0;
      const exponent = Math.floor(Math.log2(Math.abs(rounded)));
      const fraction = (Math.abs(rounded) / 2 ** exponent - 1) * 1024;
      return (rounded < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
    };
    const wide = (value: number): number =>
      dtype === "F16"
        ? Math.round(value * 256) / 256
        : (new Float32Array(Uint32Array.of(narrow(value) << 16).buffer)[0] as number);
    const files = withTensors(model, (tensors) => {
      for (const [name, tensor] of [...tensors]) {
        const bits = Uint16Array.from(numbersOf(tensor), narrow);
        tensors.set(name, { dtype, shape: tensor.shape, bytes: new Uint8Array(bits.buffer) });
      }
    });
    const { embeddings } = await describeChanged("bert-logit", files);
    const stored = numbersOf(model.tensors.get("bert.embeddings.word_embeddings.weight") as StoredTensor);
    expect((await embeddings.word.rows(3, 9)).map((value) => value + 0)).toEqual(
      stored.slice(3 * 32, 9 * 32).map((value) => wide(value) + 0),
    );
  });
});

/** The fixture's tensors in two files and an index. */
async function shards(name: string): Promise<Record<string, Uint8Array | string | undefined>> {
  const { tensors } = await readFixture(name);
  const names = [...tensors.keys()];
  const half = Math.floor(names.length / 2);
  const part = (from: number, to?: number) => new Map([...tensors].slice(from, to));
  return {
    "model.safetensors": undefined,
    "model-00001-of-00002.safetensors": serialize(part(0, half)),
    "model-00002-of-00002.safetensors": serialize(part(half)),
    "model.safetensors.index.json": JSON.stringify({
      metadata: { total_size: 1 },
      weight_map: Object.fromEntries(
        names.map((tensor, index) => [tensor, `model-0000${index < half ? 1 : 2}-of-00002.safetensors`]),
      ),
    }),
  };
}

describe("weights", () => {
  const name = "qwen3-yes-no";

  test("in shards are the same", async () => {
    const model = await readFixture(name);
    const description = await describeChanged(name, withFiles(model, await shards(name)));
    const sound = await describeChanged(name, model.files);
    expect(dataOf(description)).toEqual(dataOf(sound));
    for (const index of [0, 1]) {
      const [ours, theirs] = [description.layers[index], sound.layers[index]];
      expect(await all(ours?.feedForward.down.weight)).toEqual(await all(theirs?.feedForward.down.weight));
    }
  });

  test("of a variant are the same, and of two nothing says which", async () => {
    const model = await readFixture("bert-logit");
    const bytes = serialize(model.tensors);
    const variant = { "model.safetensors": undefined, "model.fp16.safetensors": bytes };
    const sound = await describeChanged("bert-logit", model.files);
    const beside = { ...variant, "adapter_model.safetensors": bytes, "1_Dense/model.safetensors": bytes };
    for (const files of [variant, beside]) {
      const description = await describeChanged("bert-logit", withFiles(model, files));
      expect(dataOf(description)).toEqual(dataOf(sound));
    }
    const two = { ...variant, "model.bf16.safetensors": bytes };
    const shard = { "model.safetensors": undefined, "model-00001-of-00002.safetensors": bytes };
    for (const files of [two, shard]) {
      const changed = describeChanged("bert-logit", withFiles(model, files));
      await expect(changed).rejects.toThrow(ModelFileNotFoundError);
    }
  });

  test.each([
    ["a shard is missing", { "model-00002-of-00002.safetensors": undefined }, /has no model-00002/],
    ["an index that is no JSON", { "model.safetensors.index.json": "{" }, /index.json: cannot be read/],
    [
      "an index that was not fetched",
      {
        "model.safetensors.index.json": "version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 9\n",
      },
      /index.json: is a Git LFS pointer/,
    ],
    ["an index that names nothing", { "model.safetensors.index.json": '{"weight_map":{}}' }, /names no file/],
    [
      "an index that leads elsewhere",
      { "model.safetensors.index.json": '{"weight_map":{"a":"../a.safetensors"}}' },
      /not beside it/,
    ],
    [
      "an index that claims too much",
      { "model.safetensors.index.json": '{"weight_map":{"a":"model-00001-of-00002.safetensors"}}' },
      /holds a, and it does not/,
    ],
    [
      "an index that leaves something out",
      {
        "model.safetensors.index.json": '{"weight_map":{"lm_head.extra":"model-00001-of-00002.safetensors"}}',
        "model-00001-of-00002.safetensors": serialize(
          new Map([
            ["lm_head.extra", zeros(1)],
            ["stray", zeros(1)],
          ]),
        ),
      },
      /does not say that .* holds stray/,
    ],
  ] as [string, Record<string, Uint8Array | string | undefined>, RegExp][])(
    "%s",
    async (_, change, message) => {
      const files = withFiles(await readFixture(name), { ...(await shards(name)), ...change });
      await expect(describeChanged(name, files)).rejects.toThrow(message);
    },
  );

  test("of a pickle alone are refused with the way out", async () => {
    const files = withFiles(await readFixture("bert-logit"), {
      "model.safetensors": undefined,
      "pytorch_model.bin": Uint8Array.of(0x80, 2, 0x7d, 0x71),
    });
    const refused = describeChanged("bert-logit", files);
    await expect(refused).rejects.toThrow(ModelFileNotFoundError);
    await expect(refused).rejects.toThrow(/There is: pytorch_model\.bin\. .*refs\/pr.*save_pretrained/);
  });

  test.each([
    ["model.pt", Uint8Array.of(0x50, 0x4b, 3, 4), /model\.pt: it is a Python pickle/],
    ["tf_model.h5", Uint8Array.of(0x89, 0x48, 0x44, 0x46), /TensorFlow files are not read/],
    ["flax_model.msgpack", Uint8Array.of(0x81), /Flax/],
    // Neither what its name says nor anything known.
    ["pytorch_model.bin", new Uint8Array(8), /Pass the folder or repository/],
  ])("of %s are called by core's own words", async (path, content, message) => {
    const files = withFiles(await readFixture("bert-logit"), {
      "model.safetensors": undefined,
      [path]: content,
      // Beside an artifact too.
      "onnx/model.onnx": new Uint8Array(8),
      "model.gguf": new Uint8Array(8),
    });
    const refused = describeChanged("bert-logit", files);
    await expect(refused).rejects.toThrow(ModelFileNotFoundError);
    await expect(refused).rejects.toThrow(message);
  });

  test.each([
    [["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], /holds\. Download/],
    [
      ["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"],
      /holds, of which 2 of 3 are there\. /,
    ],
    [["model-00001-of-00001.safetensors"], /holds\. Download/],
  ])("in %j without their index want it", async (paths, message) => {
    const files = withFiles(await readFixture("bert-logit"), {
      "model.safetensors": undefined,
      ...Object.fromEntries(paths.map((path) => [path, serialize(new Map([["a", zeros(1)]]))])),
    });
    const refused = describeChanged("bert-logit", files);
    await expect(refused).rejects.toThrow(ModelFileNotFoundError);
    await expect(refused).rejects.toThrow(
      /has no model\.safetensors\.index\.json\. There is: .*The index is missing/,
    );
    await expect(refused).rejects.toThrow(message);
  });

  const stored = (dtype: string, ...shape: number[]): StoredTensor => ({
    dtype,
    shape,
    bytes: new Uint8Array(shape.reduce((product, size) => product * size, 1) * (/32/.test(dtype) ? 4 : 1)),
  });
  const query = "bert.encoder.layer.0.attention.self.query";
  test.each([
    ["I8", /weights are 8-bit integers, quantised by another program \(tensor .*query\.weight has type I8\)/],
    ["U8", /8-bit integers/],
    ["I32", /32-bit integers/],
    ["U32", /32-bit integers/],
    ["F8_E4M3", /8-bit floats, quantised by another program/],
    ["F8_E5M2", /8-bit floats/],
  ])("of type %s are quantised ones, and not damaged", async (dtype, message) => {
    for (const shape of [
      [32, 32],
      [32, 8],
    ]) {
      const files = withTensors(await readFixture("bert-logit"), (tensors) =>
        tensors.set(`${query}.weight`, stored(dtype, ...shape)),
      );
      const refused = describeChanged("bert-logit", files);
      await expect(refused).rejects.toThrow(UnsupportedConversionError);
      await expect(refused).rejects.toThrow(message);
      await expect(refused).rejects.not.toThrow(/damaged|download/i);
    }
  });

  test.each([
    [["qweight", "qzeros", "scales"], {}, "GPTQ or AWQ"],
    [["qweight", "qzeros", "scales", "g_idx"], {}, "GPTQ"],
    [["qweight", "qzeros", "scales"], { "quantize_config.json": { bits: 4 } }, "GPTQ"],
    [["qweight", "qzeros", "scales"], { "quant_config.json": { w_bit: 4, version: "GEMM" } }, "AWQ"],
    [["qweight", "qzeros", "scales"], { "quantize_config.json": { quant_method: "awq" } }, "AWQ"],
    [["qweight", "qzeros", "scales"], { "quantize_config.json": [1] }, "GPTQ"],
    [["qweight", "scales"], { "quantize_config.json": undefined }, "GPTQ"],
    [
      ["weight", "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4"],
      {},
      "bitsandbytes",
    ],
    [["weight", "weight.SCB"], {}, "bitsandbytes"],
    [["weight_packed", "weight_scale", "weight_shape"], {}, "compressed-tensors"],
    [["weight", "weight_scale"], {}, "compressed-tensors"],
    [["weight", "weight_scale_inv"], {}, "FP8"],
    [["q_weight", "q_scale", "q_groups"], {}, "ExLlama"],
    [["weight._data", "weight._scale"], {}, "Quanto"],
  ] as [string[], Record<string, unknown>, string][])(
    "with tensors %j and %j are called by their program: %s",
    async (suffixes, settings, program) => {
      const model = await readFixture("bert-logit");
      const tensors = new Map(model.tensors);
      tensors.delete(`${query}.weight`);
      for (const suffix of suffixes) tensors.set(`${query}.${suffix}`, stored("U8", 4, 8));
      const files = withFiles(model, {
        "model.safetensors": serialize(tensors),
        ...Object.fromEntries(
          Object.entries(settings).map(([path, value]) => [
            path,
            value === undefined ? "{" : JSON.stringify(value),
          ]),
        ),
      });
      const refused = describeChanged("bert-logit", files);
      await expect(refused).rejects.toThrow(UnsupportedConversionError);
      await expect(refused).rejects.toThrow(`its weights are quantised by ${program}`);
      await expect(refused).rejects.not.toThrow(/damaged|download/i);
    },
  );

  test("that a profile contradicts are sound, and its head is at fault", async () => {
    const { files } = await readFixture("bert-logit");
    const { profile } = await readProfile(files);
    for (const head of [
      { kind: "two-class", positive: 1 },
      { kind: "class", classes: 3, positive: 1 },
    ] as unknown as (typeof profile.head)[]) {
      const refused = describeModel(files, { ...profile, head });
      await expect(refused).rejects.toThrow(ModelProfileError);
      await expect(refused).rejects.toThrow(
        /gives 1 class, and the profile's head \(.*class\) reads [23]\. Correct the head/,
      );
      await expect(refused).rejects.not.toThrow(/damaged|download/i);
    }
    const vectors = await readFixture("bert-cosine-mean");
    const refused = describeModel(vectors.files, profile);
    await expect(refused).rejects.toThrow(/holds no classifier, and the profile's head \(logit\) reads one/);
    const own = await readProfile(vectors.files);
    await expect(describeModel(files, own.profile)).rejects.toThrow(
      /it has a classifier, and the profile's head reads none\. Correct the head/,
    );
  });

  test.each([
    [
      "a missing tensor",
      "bert-logit",
      (tensors: Map<string, StoredTensor>) => tensors.delete("bert.encoder.layer.1.output.dense.bias"),
      /has no tensor bert\.encoder\.layer\.1\.output\.dense\.bias/,
    ],
    [
      "a missing encoder",
      "bert-logit",
      (tensors: Map<string, StoredTensor>) => tensors.delete("bert.embeddings.word_embeddings.weight"),
      /has no tensor bert\.embeddings\.word_embeddings\.weight/,
    ],
    [
      "a missing norm of two names",
      "bert-logit",
      (tensors: Map<string, StoredTensor>) => tensors.delete("bert.embeddings.LayerNorm.bias"),
      /has no tensor bert\.embeddings\.LayerNorm\.bias or bert\.embeddings\.LayerNorm\.beta/,
    ],
    [
      "a tensor of another shape",
      "bert-logit",
      (tensors: Map<string, StoredTensor>) => tensors.set("classifier.weight", zeros(3, 32)),
      /its classifier \(classifier\.weight\) gives 3 classes, and the profile's head \(logit\) reads 1\. Correct the head/,
    ],
    [
      "a classifier that takes another width",
      "bert-logit",
      (tensors: Map<string, StoredTensor>) => tensors.set("classifier.weight", zeros(1, 31)),
      /tensor classifier\.weight has shape 1 × 31, and config\.json makes it 1 × 32/,
    ],
    [
      "no classifier at all",
      "bert-logit",
      (tensors: Map<string, StoredTensor>) => {
        tensors.delete("classifier.weight");
        tensors.delete("classifier.bias");
      },
      /holds no classifier, and the profile's head \(logit\) reads one\. Correct the head of the profile/,
    ],
    [
      "a dropped output table",
      "qwen3-yes-no",
      (tensors: Map<string, StoredTensor>) => tensors.delete("model.norm.weight"),
      /has no tensor model\.norm\.weight/,
    ],
  ] as const)("%s is named", async (_, fixture, change, message) => {
    const files = withTensors(await readFixture(fixture), change);
    const refused = describeChanged(fixture, files);
    await expect(refused).rejects.toThrow(ModelProfileError);
    await expect(refused).rejects.toThrow(message);
  });

  test.each([
    ["bert-logit", "bert.encoder.layer.2.output.dense.bias"],
    ["bert-logit", "bert.embeddings.projection.weight"],
    ["bert-cosine-mean", "classifier.weight"],
    ["roberta-logit", "roberta.encoder.layer.0.adapter.weight"],
    ["modernbert-chain", "classifier.weight"],
    ["deberta-v2-logit", "deberta.encoder.conv.conv.weight"],
    ["deberta-v2-logit", "deberta.encoder.layer.0.attention.self.pos_key_proj.weight"],
    ["qwen2-one-zero", "model.layers.0.self_attn.q_norm.weight"],
    ["qwen3-yes-no", "score.weight"],
    ["qwen3-listwise", "projector.4.weight"],
  ])("%s with %s, which nobody uses, is refused", async (fixture, extra) => {
    const files = withTensors(await readFixture(fixture), (tensors) => tensors.set(extra, zeros(1)));
    const refused = describeChanged(fixture, files);
    await expect(refused).rejects.toThrow(UnsupportedConversionError);
    await expect(refused).rejects.toThrow(`its weights hold ${extra}, which`);
  });

  test.each([
    ["bert-logit", ["bert.embeddings.position_ids", "cls.predictions.bias", "cls.seq_relationship.weight"]],
    ["bert-cosine-mean", ["embeddings.position_ids", "cls.predictions.decoder.weight"]],
    [
      "roberta-logit",
      ["lm_head.dense.weight", "roberta.pooler.dense.bias", "roberta.embeddings.position_ids"],
    ],
    ["modernbert-chain", ["head.dense.weight", "head.norm.weight", "decoder.bias"]],
    ["deberta-v2-logit", ["deberta.embeddings.position_embeddings.weight", "lm_predictions.lm_head.bias"]],
    ["qwen3-cosine-last", ["lm_head.weight"]],
    ["qwen2-one-zero", ["model.layers.0.self_attn.rotary_emb.inv_freq"]],
  ])("%s with what training left behind is the same", async (fixture, extras) => {
    const model = await readFixture(fixture);
    const files = withTensors(model, (tensors) => {
      for (const extra of extras) tensors.set(extra, zeros(1));
    });
    expect(dataOf(await describeChanged(fixture, files))).toEqual(
      dataOf(await describeChanged(fixture, model.files)),
    );
  });

  test("Llama and Mistral are Qwen2 without biases", async () => {
    const model = await readFixture("qwen2-one-zero");
    const isBias = (tensor: string): boolean => tensor.endsWith("_proj.bias");
    const zeroed = withTensors(model, (tensors) => {
      for (const [tensor, { shape }] of [...tensors])
        if (isBias(tensor)) tensors.set(tensor, zeros(...shape));
    });
    const tensors = new Map([...model.tensors].filter(([tensor]) => !isBias(tensor)));
    const sequence = { ids: Int32Array.of(9, 400, 31, 7, 1200, 55, 9), segments: new Int32Array(7) };
    const statesOf = async (files: ModelFiles) =>
      (await forward(await describeChanged("qwen2-one-zero", files), [sequence])).states.data;
    const expected = await statesOf(zeroed);
    const other = (settings: Record<string, unknown>): ModelFiles =>
      withFiles(model, {
        "model.safetensors": serialize(tensors),
        "config.json": JSON.stringify({ ...model.config, ...settings }),
      });
    expect(await statesOf(other({ model_type: "llama" }))).toEqual(expected);
    expect(await statesOf(other({ model_type: "mistral", sliding_window: undefined }))).toEqual(expected);
    // Mistral has a window unless config.json says null, and here it would be shorter than the sequence may be.
    const long = { model_type: "mistral", max_position_embeddings: 8192 };
    expect(await statesOf(other({ ...long, sliding_window: null }))).toEqual(expected);
    // layer_types of the model that it was made of: Mistral's code has its window in all layers.
    const mixed = /layer_types full_attention, and mistral has its window in all layers/;
    await expect(statesOf(other({ ...long, sliding_window: undefined }))).rejects.toThrow(mixed);
    await expect(statesOf(other({ ...long, sliding_window: 512 }))).rejects.toThrow(mixed);
    const reachOf = async (window: number | undefined): Promise<readonly (number | undefined)[]> => {
      const files = other({ ...long, layer_types: undefined, sliding_window: window });
      return (await describeChanged("qwen2-one-zero", files)).layers.map(({ attention }) => attention.reach);
    };
    expect(await reachOf(undefined)).toEqual([4095, 4095]);
    expect(await reachOf(512)).toEqual([511, 511]);
    expect(await reachOf(8192)).toEqual([undefined, undefined]);
  });

  test("tied to the embeddings: a copy is fine, another table is not", async () => {
    const model = await readFixture(name);
    const table = model.tensors.get("model.embed_tokens.weight") as StoredTensor;
    const same = withTensors(model, (tensors) => tensors.set("lm_head.weight", table));
    expect((await describeChanged(name, same)).head).toMatchObject({ kind: "vocabulary", tied: true });
    const numbers = numbersOf(table).map((value) => value + 1);
    const other = withTensors(model, (tensors) =>
      tensors.set("lm_head.weight", floatTensor(table.shape, numbers)),
    );
    await expect(describeChanged(name, other)).rejects.toThrow(
      /lm_head\.weight differs from model\.embed_tokens/,
    );
    const untied = withFiles(model, {
      "config.json": JSON.stringify({ ...model.config, tie_word_embeddings: false }),
    });
    await expect(describeChanged(name, untied)).rejects.toThrow(/has no tensor lm_head\.weight/);
  });

  test("cut short are noticed before anything is read", async () => {
    const model = await readFixture("bert-logit");
    const whole = serialize(model.tensors);
    for (const length of [0, 7, 200, whole.length >> 1, whole.length - 1]) {
      const files = withFiles(model, { "model.safetensors": whole.subarray(0, length) });
      await expect(describeChanged("bert-logit", files)).rejects.toThrow(ModelProfileError);
    }
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    "that hold %d name their tensor when read",
    async (value) => {
      const damaged = "bert.encoder.layer.1.intermediate.dense.weight";
      const files = withTensors(await readFixture("bert-logit"), (tensors) => {
        const { shape, ...tensor } = tensors.get(damaged) as StoredTensor;
        const numbers = numbersOf({ shape, ...tensor });
        numbers[100] = value;
        tensors.set(damaged, floatTensor(shape, numbers));
      });
      const { layers } = await describeChanged("bert-logit", files);
      const { weight } = (layers[1] as ModelDescription["layers"][number]).feedForward.up;
      const reading = weight.rows(0, 64);
      await expect(reading).rejects.toThrow(ModelProfileError);
      await expect(reading).rejects.toThrow(`tensor ${damaged} holds ${value} at 100`);
      expect((await weight.rows(0, 3)).length).toBe(96);
    },
  );
});

test("an abort ends it with its reason", async () => {
  const { files } = await readFixture("bert-logit");
  const { profile } = await readProfile(files);
  const reason = new Error("enough");
  await expect(describeModel(files, profile, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const controller = new AbortController();
  const { embeddings } = await describeModel(files, profile, { signal: controller.signal });
  controller.abort(reason);
  await expect(embeddings.word.rows(0, 1)).rejects.toBe(reason);
});

test("a config.json that cannot be read is named", async () => {
  const model = await readFixture("bert-logit");
  for (const text of ["", "[]", "{"]) {
    await expect(describeChanged("bert-logit", withFiles(model, { "config.json": text }))).rejects.toThrow(
      /config\.json: cannot be read/,
    );
  }
});

test("the architectures are those that are said", () => {
  expect(describedArchitectures).toEqual([
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "electra",
    "distilbert",
    "mpnet",
    "modernbert",
    "deberta-v2",
    "qwen3",
    "qwen2",
    "gemma",
    "gemma2",
    "gemma3_text",
    "llama",
    "llama_bidirec",
    "mistral",
  ]);
});
