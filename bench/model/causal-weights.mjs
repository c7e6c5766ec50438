// A Qwen3 reranker with random weights: a fixture's configuration, template and tokenizer, at another size.
// `node causal-weights.mjs FIXTURE OUTPUT SIZE`, a process of its own as make-model.mjs is.
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { randomWeights } from "./random-weights.mjs";
import { safetensorsFile } from "./safetensors.mjs";

export const causalSizes = {
  /** About as many multiply-adds a token as MiniLM-L6. */
  small: { layers: 8, hidden: 384, heads: 6, keyHeads: 2, headSize: 64, intermediate: 1024, positions: 4096 },
  tiny: { layers: 2, hidden: 64, heads: 2, keyHeads: 1, headSize: 32, intermediate: 64, positions: 4096 },
};

/**
 * @param {string} fixture folder of a Qwen3 reranker
 * @param {string} output folder to be written
 * @param {keyof typeof causalSizes} size
 */
export async function makeCausal(fixture, output, size) {
  await cp(fixture, output, {
    recursive: true,
    filter: (path) => !/golden|safetensors$|onnx$/.test(path),
  });
  const { layers, hidden, heads, keyHeads, headSize, intermediate, positions } = causalSizes[size];
  const configuration = JSON.parse(await readFile(join(fixture, "config.json"), "utf8"));
  const changed = {
    ...configuration,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    head_dim: headSize,
    intermediate_size: intermediate,
    max_position_embeddings: positions,
    layer_types: new Array(layers).fill("full_attention"),
  };
  await writeFile(join(output, "config.json"), JSON.stringify(changed, undefined, 2));
  const tokenizer = JSON.parse(await readFile(join(fixture, "tokenizer_config.json"), "utf8"));
  const longer = { ...tokenizer, model_max_length: positions };
  await writeFile(join(output, "tokenizer_config.json"), JSON.stringify(longer, undefined, 2));
  const { weights, add } = randomWeights();
  const linear = (/** @type {string} */ name, /** @type {number} */ outputs, /** @type {number} */ inputs) =>
    add(`${name}.weight`, [outputs, inputs], 1.5 / Math.sqrt(inputs));
  add("model.embed_tokens.weight", [configuration.vocab_size, hidden], 0.1);
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`;
    add(`${prefix}.input_layernorm.weight`, [hidden], 0.1, 1);
    add(`${prefix}.post_attention_layernorm.weight`, [hidden], 0.1, 1);
    add(`${prefix}.self_attn.q_norm.weight`, [headSize], 0.1, 1);
    add(`${prefix}.self_attn.k_norm.weight`, [headSize], 0.1, 1);
    linear(`${prefix}.self_attn.q_proj`, heads * headSize, hidden);
    linear(`${prefix}.self_attn.k_proj`, keyHeads * headSize, hidden);
    linear(`${prefix}.self_attn.v_proj`, keyHeads * headSize, hidden);
    linear(`${prefix}.self_attn.o_proj`, hidden, heads * headSize);
    linear(`${prefix}.mlp.gate_proj`, intermediate, hidden);
    linear(`${prefix}.mlp.up_proj`, intermediate, hidden);
    linear(`${prefix}.mlp.down_proj`, hidden, intermediate);
  }
  add("model.norm.weight", [hidden], 0.1, 1);
  await writeFile(join(output, "model.safetensors"), safetensorsFile(weights));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [fixture = "", output = "", size = ""] = process.argv.slice(2);
  await makeCausal(fixture, output, /** @type {keyof typeof causalSizes} */ (size));
}
