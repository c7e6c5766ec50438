// node lab/gguf/mixtures.mjs FOLDER : F32 files of models of many depths, with two rows to a tensor, whose types
// llama.cpp's quantiser chooses by name, depth and width. Of each NAME: architecture-layers-width-feedForward[-untied].
import { join } from "node:path";
import { writeGgufFile } from "../../packages/formats/dist/gguf/index.js";

const [folder] = process.argv.slice(2);

const names = [
  ...[1, 2, 3, 4, 6, 7, 12, 24].map((layers) => `bert-${layers}-256-1024`),
  "bert-12-384-1536",
  "bert-6-384-1000",
  "bert-24-1024-4096",
  "modern-bert-22-768-1152",
  "modern-bert-28-1024-2624",
  ...["qwen3-28-1024-3072", "qwen3-36-2560-9728", "qwen2-24-896-4864", "qwen2-80-256-512"].flatMap((name) => [
    name,
    `${name}-untied`,
  ]),
  "gemma-18-2048-16384",
];

const layerTensors = {
  bert: ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"],
  "modern-bert": ["attn_qkv", "attn_output", "ffn_up", "ffn_down"],
};
const decoderTensors = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];

for (const name of names) {
  const [, architecture, layers, width, feedForward, untied] =
    /^(.*?)-(\d+)-(\d+)-(\d+)(-untied)?$/.exec(name) ?? [];
  const uint32 = (value) => ({ type: "uint32", value: Number(value) });
  const float32 = (value) => ({ type: "float32", value });
  const metadata = new Map([
    ["general.architecture", { type: "string", value: architecture }],
    ["general.file_type", uint32(0)],
    [`${architecture}.vocab_size`, uint32(2)],
    [`${architecture}.context_length`, uint32(512)],
    [`${architecture}.embedding_length`, uint32(width)],
    [`${architecture}.block_count`, uint32(layers)],
    [`${architecture}.feed_forward_length`, uint32(feedForward)],
    [`${architecture}.attention.head_count`, uint32(4)],
    [`${architecture}.attention.head_count_kv`, uint32(architecture.includes("bert") ? 4 : 2)],
    [`${architecture}.attention.layer_norm_epsilon`, float32(1e-5)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, float32(1e-6)],
    [`${architecture}.attention.causal`, { type: "bool", value: !architecture.includes("bert") }],
    [`${architecture}.attention.sliding_window`, uint32(128)],
  ]);
  const tensor = (of, columns) => ({
    name: of,
    type: "F32",
    weight: {
      shape: [2, Number(columns)],
      rows: async (from, to) => new Float32Array((to - from) * Number(columns)),
    },
  });
  const tensors = [tensor("token_embd.weight", width)];
  for (let layer = 0; layer < Number(layers); layer++) {
    for (const of of layerTensors[architecture] ?? decoderTensors)
      tensors.push(tensor(`blk.${layer}.${of}.weight`, of === "ffn_down" ? feedForward : width));
  }
  if (untied) tensors.push(tensor("output.weight", width));
  await writeGgufFile(join(folder, `${name}.gguf`), metadata, tensors);
}
