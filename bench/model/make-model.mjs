// Makes a BERT cross-encoder with random weights in the temporary folder, or finds the one made before.
// As a program (`node make-model.mjs NAME TOKENIZER_FOLDER`) it prints the folder: the bench runs it in a process of
// its own, because on Linux a child's peak memory begins at its parent's.
/** @import { Shape } from "../types.js" */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bertOnnx, normalisationEpsilon } from "./bert-graph.mjs";
import { bertWeights } from "./bert-weights.mjs";
import { safetensorsFile } from "./safetensors.mjs";

/** @type {Readonly<Record<"minilm" | "tiny", Shape>>} */
export const shapes = {
  /** As cross-encoder/ms-marco-MiniLM-L6-v2. */
  minilm: { layers: 6, hidden: 384, heads: 12, intermediate: 1536, positions: 512, vocabulary: 30522 },
  tiny: { layers: 2, hidden: 32, heads: 4, intermediate: 64, positions: 512, vocabulary: 0 },
};

/** Changes whenever the files would. */
const generator = 1;

/**
 * @param {string} name of a shape
 * @param {string} tokenizerFolder whose tokenizer.json the model takes over
 * @param {string} cacheFolder
 * @returns {Promise<string>} a folder as Hugging Face lays it out, with onnx/model.onnx and model.safetensors
 */
export async function makeModel(name, tokenizerFolder, cacheFolder = join(tmpdir(), "crossrank-bench")) {
  const shape = name === "minilm" || name === "tiny" ? shapes[name] : undefined;
  if (shape === undefined) throw new Error(`no shape is called ${name}`);
  const tokenizer = await readFile(join(tokenizerFolder, "tokenizer.json"), "utf8");
  const identity = createHash("sha256")
    .update(JSON.stringify([generator, shape, tokenizer]))
    .digest("hex");
  const folder = join(cacheFolder, `${name}-${identity.slice(0, 12)}`);
  if (await isComplete(folder)) return folder;

  const vocabulary = Math.max(shape.vocabulary, tokenizerSize(tokenizer));
  const weights = bertWeights(shape, vocabulary);
  /** @type {Record<string, string | Buffer>} */
  const files = {
    "onnx/model.onnx": bertOnnx(shape, weights),
    "model.safetensors": safetensorsFile(weights),
    "config.json": JSON.stringify(configuration(shape, vocabulary), undefined, 2),
    "tokenizer.json": tokenizer,
    "tokenizer_config.json": JSON.stringify(tokenizerConfiguration(shape), undefined, 2),
  };
  // Written beside and moved into place whole, so that an interrupted or second bench finds all or nothing.
  const draft = `${folder}.${process.pid}`;
  /** @type {Record<string, number>} */
  const sizes = {};
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(draft, path)), { recursive: true });
    await writeFile(join(draft, path), content);
    sizes[path] = Buffer.byteLength(content);
  }
  await writeFile(join(draft, "sizes.json"), JSON.stringify(sizes));
  await rm(folder, { recursive: true, force: true });
  await rename(draft, folder);
  return folder;
}

/** @param {string} folder */
async function isComplete(folder) {
  try {
    /** @type {Record<string, number>} */
    const sizes = JSON.parse(await readFile(join(folder, "sizes.json"), "utf8"));
    const found = await Promise.all(
      Object.keys(sizes).map(async (path) => (await stat(join(folder, path))).size),
    );
    return Object.values(sizes).every((size, index) => size === found[index]);
  } catch {
    return false;
  }
}

/** @param {string} tokenizer tokenizer.json */
function tokenizerSize(tokenizer) {
  /** @type {{ model: { vocab: Record<string, number> }, added_tokens?: { id: number }[] }} */
  const { model, added_tokens = [] } = JSON.parse(tokenizer);
  return (
    1 +
    [...Object.values(model.vocab), ...added_tokens.map(({ id }) => id)].reduce((a, b) => Math.max(a, b), 0)
  );
}

/**
 * @param {Shape} shape
 * @param {number} vocabulary
 */
function configuration(shape, vocabulary) {
  return {
    architectures: ["BertForSequenceClassification"],
    model_type: "bert",
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    intermediate_size: shape.intermediate,
    hidden_act: "gelu",
    layer_norm_eps: normalisationEpsilon,
    max_position_embeddings: shape.positions,
    type_vocab_size: 2,
    vocab_size: vocabulary,
    pad_token_id: 0,
    torch_dtype: "float32",
    id2label: { 0: "LABEL_0" },
    label2id: { LABEL_0: 0 },
    // The raw logit, as sentence-transformers saves a cross-encoder that ranks by it.
    sentence_transformers: { activation_fn: "torch.nn.modules.linear.Identity" },
  };
}

/** @param {Shape} shape */
function tokenizerConfiguration(shape) {
  return {
    tokenizer_class: "BertTokenizer",
    model_max_length: shape.positions,
    do_lower_case: true,
    pad_token: "[PAD]",
    unk_token: "[UNK]",
    cls_token: "[CLS]",
    sep_token: "[SEP]",
    mask_token: "[MASK]",
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name = "", tokenizerFolder = ""] = process.argv.slice(2);
  process.stdout.write(await makeModel(name, tokenizerFolder));
}
