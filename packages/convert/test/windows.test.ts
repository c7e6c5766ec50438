import { readProfile } from "@crossrank/core";
import { describe, expect, test } from "vitest";
import { UnsupportedConversionError } from "../src/errors.js";
import { describeModel } from "../src/source/describe-model.js";
import { readFixture, withConfig } from "./source-files.js";
import { filesOfTiny, profileOfTiny, tinyModel } from "./tiny-models.js";

/** Names of transformers 4.57.6 and 5.24.0 (lab/convert/window_settings.py), with a value each that is a window. */
const settings: readonly (readonly [name: string, value: unknown])[] = [
  ["_sliding_window_pattern", 6],
  ["attention_chunk_size", 8192],
  ["attention_types", [[["global", "local"], 2]]],
  ["attention_window", [256, 256]],
  ["attention_window_size", 2048],
  ["global_attention_blocks", [1, 3]],
  ["global_attn_every_n_layers", 3],
  ["global_attn_indexes", [2]],
  ["keep_window_size", 64],
  ["layer_types", ["full_attention", "sliding_attention"]],
  ["layer_types", ["chunked_attention", "full_attention"]],
  ["layer_types", ["linear_attention", "full_attention"]],
  ["local_attention", 128],
  ["local_attention_window_len", 64],
  ["local_attn_chunk_length", 64],
  ["lsh_attn_chunk_length", 64],
  ["n_window", 50],
  ["num_sliding_attention_heads", 8],
  ["prefix_dense_sliding_window_pattern", 2],
  ["rope_local_base_freq", 10_000],
  ["sliding_window", 16],
  ["sliding_window", [16, null]],
  ["sliding_window_pattern", 6],
  ["sliding_window_pattern", "LLLG"],
  ["sliding_window_size", 128],
  ["sliding_windows", [[16, 4]]],
  ["swa_head_dim", 8],
  ["use_sliding_window", true],
  ["use_sliding_window", "yes"],
  ["window_size", 16],
  // As somebody may call them whose code is not transformers'.
  ["attn_window_pattern", "L"],
  ["bidirectional_sliding_window", 8],
  ["n_swa", 512],
  ["text_sliding_window", 8],
];

/** An encoder or decoder each, and what its own description reads. */
const models: readonly (readonly [fixture: string, known: readonly string[]])[] = [
  ["bert-logit", []],
  ["roberta-logit", []],
  ["xlm-roberta-logit", []],
  ["deberta-v2-logit", []],
  ["gemma-yes", []],
  ["modernbert-cls", ["local_attention", "global_attn_every_n_layers", "layer_types", "sliding_window"]],
  ["qwen3-yes-no", ["sliding_window", "use_sliding_window", "max_window_layers", "layer_types"]],
  ["qwen2-one-zero", ["sliding_window", "use_sliding_window", "max_window_layers", "layer_types"]],
];

describe.each(models)("%s", (name, known) => {
  test("a window under a name that its description does not read is refused", async () => {
    const model = await readFixture(name);
    const { profile } = await readProfile(model.files);
    for (const [setting, value] of settings) {
      if (known.includes(setting)) continue;
      const described = describeModel(withConfig(model, { [setting]: value }), profile);
      await expect(described, setting).rejects.toThrow(UnsupportedConversionError);
      await expect(described, setting).rejects.toThrow(`config.json has ${setting} `);
    }
  });

  test("what says that there is none is no window", async () => {
    const model = await readFixture(name);
    const { profile } = await readProfile(model.files);
    const layers = Number(model.config["num_hidden_layers"]);
    for (const none of [
      { sliding_window: null },
      { use_sliding_window: false },
      { use_sliding_window: false, sliding_window: 64, max_window_layers: 2 },
      { layer_types: Array(layers).fill("full_attention"), sliding_window: null, use_sliding_window: false },
      { attention_window: null },
      { window_size: 0 },
      { local_attention_probs_dropout_prob: 0.1 },
    ]) {
      // ModernBERT takes sliding_window for half of local_attention, and has windows in some layers.
      if (name.startsWith("modernbert") && "sliding_window" in none && none.sliding_window !== null) continue;
      await expect(
        describeModel(withConfig(model, none), profile),
        JSON.stringify(none),
      ).resolves.toBeDefined();
    }
  });
});

describe("Llama, Mistral and MPNet", () => {
  test.each(["llama-one-label", "mpnet-one-label"])("%s has no window", async (name) => {
    const model = tinyModel(name);
    for (const [setting, value] of settings) {
      const described = describeModel(filesOfTiny(model, { [setting]: value }), profileOfTiny(model));
      await expect(described, setting).rejects.toThrow(`config.json has ${setting} `);
    }
  });

  test("a Llama made of another model, whose window is not used, or longer than all", async () => {
    const model = tinyModel("llama-one-label");
    for (const none of [
      { use_sliding_window: false, sliding_window: 4, max_window_layers: 1 },
      { max_window_layers: 28 },
      { sliding_window: 128 },
    ])
      await expect(
        describeModel(filesOfTiny(model, none), profileOfTiny(model)),
        JSON.stringify(none),
      ).resolves.toBeDefined();
    await expect(
      describeModel(filesOfTiny(model, { sliding_window: 4, max_window_layers: 28 }), profileOfTiny(model)),
    ).rejects.toThrow(/sliding_window 4/);
  });
});
