import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { encodeNumbers, layouts, type TensorType } from "@crossrank/formats/gguf";
import {
  type Contents,
  type Entry,
  editGguf,
  type StoredTensor as GgufTensor,
} from "../../../backend-llamacpp/test/edit-gguf.js";
import { floats, type Tensors } from "./weights.js";

/*
 * GGUF files as llama.cpp's own converter writes them. Their metadata are what that converter wrote for the fixture
 * (lab/tokenizers/gguf-tokenizers.py); their tensors have its names and shapes.
 */

const metadataFolder = new URL("../../../formats/test/fixtures/gguf-tokenizers/", import.meta.url);

/** Hugging Face's name without its prefix and its layer, and the converter's; `L` is the layer's number. */
const names: Readonly<Record<string, string>> = {
  "embeddings.word_embeddings": "token_embd",
  "embeddings.position_embeddings": "position_embd",
  "embeddings.token_type_embeddings": "token_types",
  "embeddings.LayerNorm": "token_embd_norm",
  "encoder.layer.L.attention.self.query": "blk.L.attn_q",
  "encoder.layer.L.attention.self.key": "blk.L.attn_k",
  "encoder.layer.L.attention.self.value": "blk.L.attn_v",
  "encoder.layer.L.attention.output.dense": "blk.L.attn_output",
  "encoder.layer.L.attention.output.LayerNorm": "blk.L.attn_output_norm",
  "encoder.layer.L.intermediate.dense": "blk.L.ffn_up",
  "encoder.layer.L.output.dense": "blk.L.ffn_down",
  "encoder.layer.L.output.LayerNorm": "blk.L.layer_output_norm",
  classifier: "cls.output",
  "classifier.dense": "cls",
  "classifier.out_proj": "cls.output",
  embed_tokens: "token_embd",
  norm: "output_norm",
  "layers.L.input_layernorm": "blk.L.attn_norm",
  "layers.L.post_attention_layernorm": "blk.L.ffn_norm",
  "layers.L.mlp.gate_proj": "blk.L.ffn_gate",
  "layers.L.mlp.up_proj": "blk.L.ffn_up",
  "layers.L.mlp.down_proj": "blk.L.ffn_down",
  "layers.L.self_attn.q_proj": "blk.L.attn_q",
  "layers.L.self_attn.k_proj": "blk.L.attn_k",
  "layers.L.self_attn.v_proj": "blk.L.attn_v",
  "layers.L.self_attn.o_proj": "blk.L.attn_output",
  "layers.L.self_attn.q_norm": "blk.L.attn_q_norm",
  "layers.L.self_attn.k_norm": "blk.L.attn_k_norm",
};

export interface LlamaFileOptions {
  /** Of matrices. Default F32. */
  readonly type?: TensorType;
  /** Rows of the output that a rank head is made of, its positive answer first. */
  readonly answers?: readonly number[];
  /** Keys that the converter of that time did not write. */
  readonly withoutKey?: string;
}

/**
 * Writes a fixture's weights as llama.cpp's converter does: RoBERTa's two positions that no text has are dropped, BERT's
 * pooler too, and of an untied output only a rank head's rows are kept.
 */
export function writeLlamaFile(
  path: string,
  metadataOf: string,
  weights: Tensors,
  options: LlamaFileOptions = {},
): void {
  const head = readFileSync(fileURLToPath(new URL(`${metadataOf}.gguf`, metadataFolder)));
  const isRoberta = [...weights.keys()].some((name) => name.startsWith("roberta."));
  const tensors: GgufTensor[] = [];
  for (const [name, weight] of weights) {
    const bare = name.replace(/^(?:bert|roberta|model)\./, "");
    const layer = /\.(\d+)\./.exec(bare)?.[1] ?? "";
    const [, place = "", part = ""] = /^(.*)\.(weight|bias)$/.exec(bare.replace(/\.\d+\./, ".L.")) ?? [];
    const target = Object.hasOwn(names, place) ? names[place] : undefined;
    if (target === undefined) continue;
    const [rows = 0, ...rest] = weight.shape;
    const numbers = floats(weight);
    const skipped = isRoberta && target === "position_embd" ? 2 : 0;
    const width = rest[0] ?? 1;
    tensors.push(
      tensor(
        `${target.replace("L", layer)}.${part}`,
        numbers.subarray(skipped * width),
        [rows - skipped, ...rest],
        options.type ?? "F32",
      ),
    );
  }
  if (options.answers !== undefined) tensors.unshift(rankHead(weights, options.answers));
  const edit = ({ entries }: Contents): Contents => ({
    entries: entries.filter(({ key }: Entry) => key !== options.withoutKey),
    tensors,
  });
  writeFileSync(path, editGguf(head, edit));
}

function rankHead(weights: Tensors, answers: readonly number[]): GgufTensor {
  const output = weights.get("lm_head.weight") ?? weights.get("model.embed_tokens.weight");
  if (output === undefined) throw new Error("no output in the weights");
  const width = output.shape[1] ?? 0;
  const numbers = floats(output);
  const rows = answers.flatMap((id) => [...numbers.subarray(id * width, (id + 1) * width)]);
  return tensor("cls.output.weight", Float32Array.from(rows), [answers.length, width], "F32");
}

function tensor(
  name: string,
  numbers: Float32Array,
  shape: readonly number[],
  wanted: TensorType,
): GgufTensor {
  const isMatrix = shape.length === 2 && !/^(?:position_embd|token_types)/.test(name);
  const type = isMatrix && (shape[1] ?? 0) % layouts[wanted].block === 0 ? wanted : "F32";
  return {
    name,
    dimensions: [...shape].reverse().map(BigInt),
    type: layouts[type].code,
    data: Buffer.from(encodeNumbers(type, numbers)),
  };
}
