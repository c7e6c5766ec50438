import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { convert } from "@crossrank/convert";
import { openModel } from "@crossrank/hub";
import { cardOf, cards } from "./cards.js";
import { writeLlamaFile } from "./llama-file.js";
import { sentencePieceModel } from "./sentence-pieces.js";
import {
  filler,
  normals,
  readTensors,
  type StoredTensor,
  type Tensors,
  tensorOf,
  toBf16,
  writeTensors,
} from "./weights.js";

/*
 * Folders as other people publish models, made of this repository's fixtures: their file names, their configuration
 * keys, and tiny random weights. A format that is refused by what it is called is a stand-in of some bytes.
 */

const recorded = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const conformanceFixture = (name: string): string => recorded(`conformance/fixtures/${name}`);

type Json = Record<string, unknown>;

/** A folder that is being made. */
class Folder {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
    mkdirSync(path, { recursive: true });
  }

  /** A fixture's files but its goldens and those left out: names, or folders that end in "/". */
  copy(fixture: string, ...without: readonly string[]): this {
    const source = conformanceFixture(fixture);
    const leftOut = new Set(["golden.json", ...without]);
    cpSync(source, this.path, {
      recursive: true,
      filter: (path) => {
        const name = relative(source, path).replaceAll("\\", "/");
        return !leftOut.has(name) && !leftOut.has(`${name}/`);
      },
    });
    return this;
  }

  /** A file from anywhere. */
  take(source: string, name: string): this {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    cpSync(source, join(this.path, name), { recursive: true });
    return this;
  }

  write(name: string, content: string | Uint8Array): this {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    writeFileSync(join(this.path, name), content);
    return this;
  }

  move(from: string, to: string): this {
    mkdirSync(dirname(join(this.path, to)), { recursive: true });
    renameSync(join(this.path, from), join(this.path, to));
    return this;
  }

  remove(...names: readonly string[]): this {
    for (const name of names) rmSync(join(this.path, name), { recursive: true });
    return this;
  }

  read(name: string): Json {
    return JSON.parse(readFileSync(join(this.path, name), "utf8")) as Json;
  }

  /** Changes a JSON file; what is undefined goes. */
  change(name: string, changes: Json): this {
    return this.write(name, JSON.stringify({ ...this.read(name), ...changes }));
  }

  get weights(): Map<string, StoredTensor> {
    return readTensors(join(this.path, "model.safetensors"));
  }

  weigh(tensors: Tensors, name = "model.safetensors"): this {
    writeTensors(join(this.path, name), tensors);
    return this;
  }
}

const bertLogit = "bert-logit";
const xlmRoberta = "xlm-roberta-logit";
const yesNo = "qwen3-yes-no";
/** What sentence-transformers writes beside a causal reranker, and most publishers did not. */
const sentenceTransformers = [
  "modules.json",
  "1_LogitScore/",
  "sentence_bert_config.json",
  "config_sentence_transformers.json",
  "chat_template.jinja",
];

/** The fixture's weights as ONNX in int8, as publishers' quantisers make it: one scale a product. Made once. */
let int8: Promise<string> | undefined;

async function int8Graph(place: string): Promise<string> {
  int8 ??= (async () => {
    const output = join(place, "int8-source");
    await convert({
      model: await openModel(conformanceFixture(bertLogit)),
      to: "onnx",
      dtype: "int8",
      activations: "batch",
      output,
      verify: false,
    });
    return join(output, "onnx", "model_int8.onnx");
  })();
  return int8;
}

/** vocab.txt of a WordPiece tokenizer: a token a line, by id. */
function wordPieces(folder: Folder): string {
  const { model } = folder.read("tokenizer.json") as { model: { vocab: Record<string, number> } };
  const tokens = Object.entries(model.vocab).sort(([, a], [, b]) => a - b);
  return `${tokens.map(([token]) => token).join("\n")}\n`;
}

/** Matrices of a decoder or an encoder that a quantiser would touch. */
const isLinear = (name: string): boolean => /(?:proj|dense|query|key|value)\.weight$/.test(name);

function withLinear(
  tensors: Tensors,
  quantised: (stem: string, rows: number, columns: number) => readonly (readonly [string, StoredTensor])[],
): Tensors {
  return new Map(
    [...tensors].flatMap(([name, tensor]) =>
      isLinear(name)
        ? quantised(name.slice(0, -".weight".length), tensor.shape[0] ?? 0, tensor.shape[1] ?? 0)
        : [[name, tensor] as const],
    ),
  );
}

function renamed(
  tensors: Tensors,
  changes: readonly (readonly [RegExp, string | ((name: string, match: RegExpExecArray) => string)])[],
): Map<string, StoredTensor> {
  const change = (name: string): string =>
    changes.reduce((current, [pattern, to]) => {
      const match = pattern.exec(current);
      if (match === null) return current;
      return current.replace(match[0], typeof to === "string" ? to : to(current, match));
    }, name);
  return new Map([...tensors].map(([name, tensor]) => [change(name), tensor]));
}

/** A classifier of two layers in place of BERT's. */
function withHead(weights: Tensors, hidden: number, [first, last]: readonly [string, string]): Tensors {
  const all = new Map([...weights].filter(([name]) => !name.startsWith("classifier.")));
  all.set(`${first}.weight`, tensorOf(normals(3, hidden * hidden, 0.2), [hidden, hidden]));
  all.set(`${first}.bias`, tensorOf(normals(4, hidden, 0.1), [hidden]));
  all.set(`${last}.weight`, tensorOf(normals(5, hidden, 0.5), [1, hidden]));
  all.set(`${last}.bias`, tensorOf(normals(6, 1, 0.1), [1]));
  return all;
}

const stand = (dtype: string, width: number, ...shape: readonly number[]): StoredTensor => ({
  dtype,
  shape,
  data: filler(shape[0] ?? 1, width * shape.reduce((product, length) => product * length, 1)),
});

/** Another model's configuration over a fixture's files, without a runtime's artifact. */
function named(folder: Folder, fixture: string, architecture: string, type: string, more: Json = {}): Folder {
  return folder
    .copy(fixture, ...sentenceTransformers, "crossrank.json", "onnx/")
    .change("config.json", { architectures: [architecture], model_type: type, ...more });
}

/** Weights with an output of their own, as the 8B has. */
function untied(folder: Folder): Tensors {
  const weights = folder.copy(yesNo, "onnx/").weights;
  const [rows = 0, columns = 0] = weights.get("model.embed_tokens.weight")?.shape ?? [];
  weights.set("lm_head.weight", tensorOf(normals(1, rows * columns, 0.5), [rows, columns]));
  folder.change("config.json", { tie_word_embeddings: false });
  return weights;
}

const answersOfYesNo = [383, 357] as const;

function shards(folder: Folder, tensors: Tensors): Folder {
  const all = [...tensors];
  const half = Math.ceil(all.length / 2);
  const parts = [all.slice(0, half), all.slice(half)];
  const file = (index: number): string => `model-0000${index + 1}-of-00002.safetensors`;
  for (const [index, part] of parts.entries()) folder.weigh(new Map(part), file(index));
  const map = parts.flatMap((part, index) => part.map(([name]) => [name, file(index)]));
  return folder
    .remove("model.safetensors")
    .write(
      "model.safetensors.index.json",
      JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(map) }),
    );
}

const bf16 = (tensors: Tensors): Map<string, StoredTensor> =>
  new Map([...tensors].map(([name, tensor]) => [name, toBf16(tensor)]));

/** A graph whose weights lie beside it, under another name of as many bytes. */
function externalData(folder: Folder, name: string): Folder {
  const source = recorded("backend-onnx/test/fixtures/cross-encoder-external");
  const own = "model.onnx_data";
  if (name.length !== own.length) throw new Error(`${name} has not as many bytes as ${own}`);
  folder.take(source, ".").remove("goldens.json");
  const graph = readFileSync(join(folder.path, "onnx/model.onnx")).toString("latin1");
  return folder
    .write("onnx/model.onnx", Buffer.from(graph.replaceAll(own, name), "latin1"))
    .move(`onnx/${own}`, `onnx/${name}`);
}

/** A model for inference, of weights alone. */
function threeLabels(folder: Folder): Folder {
  const weights = folder.copy("bert-two-class", "onnx/").weights;
  const columns = weights.get("classifier.weight")?.shape[1] ?? 0;
  weights.set("classifier.weight", tensorOf(normals(7, 3 * columns, 0.5), [3, columns]));
  weights.set("classifier.bias", tensorOf(normals(8, 3, 0.1), [3]));
  return folder.weigh(weights).change("config.json", {
    id2label: { 0: "contradiction", 1: "entailment", 2: "neutral" },
    label2id: { contradiction: 0, entailment: 1, neutral: 2 },
  });
}

const card = (base: string): string =>
  `---\nbase_model: ${base}\nlibrary_name: gguf\n---\n\n# A conversion\n`;

/** Each makes its folder; some need another one, which they name relative to it. */
const layouts: Readonly<Record<string, (folder: Folder) => unknown>> = {
  // ONNX
  "sentence-transformers-onnx": async (folder) => {
    folder
      .copy(bertLogit)
      .write("vocab.txt", wordPieces(folder))
      .write("pytorch_model.bin", "PK\u0003\u0004");
    const graph = join(folder.path, "onnx/model.onnx");
    for (const level of ["O1", "O2", "O3", "O4"]) folder.take(graph, `onnx/model_${level}.onnx`);
    for (const kind of ["qint8_arm64", "qint8_avx512", "qint8_avx512_vnni", "quint8_avx2"]) {
      folder.take(await int8Graph(dirname(folder.path)), `onnx/model_${kind}.onnx`);
    }
    folder.write("openvino/openvino_model.xml", "<net/>").write("openvino/openvino_model.bin", "\0");
  },
  "int8-by-its-usual-name": async (folder) => {
    folder
      .copy(bertLogit, "model.safetensors", "onnx/")
      .take(await int8Graph(dirname(folder.path)), "onnx/model_int8.onnx");
  },
  "quantised-only": async (folder) => {
    folder
      .copy(bertLogit, "model.safetensors", "onnx/")
      .take(await int8Graph(dirname(folder.path)), "onnx/model_quantized.onnx")
      .write("quantize_config.json", JSON.stringify({ per_channel: false }));
  },
  "root-optimized": (folder) =>
    folder
      .copy(bertLogit, "model.safetensors")
      .move("onnx/model.onnx", "model_optimized.onnx")
      .remove("onnx"),
  "root-quantized": async (folder) => {
    folder
      .copy(bertLogit, "model.safetensors", "onnx/")
      .take(await int8Graph(dirname(folder.path)), "model_quantized.onnx");
  },
  "onnx-of-another-name": (folder) =>
    folder
      .copy(bertLogit, "model.safetensors")
      .move("onnx/model.onnx", "bge-reranker-base.onnx")
      .remove("onnx"),
  "two-onnx-of-other-names": (folder) =>
    folder
      .copy(bertLogit, "model.safetensors")
      .take(conformanceFixture(`${bertLogit}/onnx/model.onnx`), "model_quant.onnx")
      .move("onnx/model.onnx", "bge-reranker-base.onnx")
      .remove("onnx"),
  "transformers-js": (folder) => {
    folder.copy(xlmRoberta).change("config.json", {
      auto_map: {
        AutoConfig: "configuration_xlm_roberta.XLMRobertaFlashConfig",
        AutoModelForSequenceClassification: "modeling_xlm_roberta.XLMRobertaForSequenceClassification",
      },
      num_labels: 1,
      use_flash_attn: true,
    });
    for (const dtype of ["int8", "uint8", "bnb4", "q4", "fp16", "quantized"]) {
      folder.take(join(folder.path, "onnx/model.onnx"), `onnx/model_${dtype}.onnx`);
    }
  },
  "body-as-architecture": (folder) =>
    folder.copy(bertLogit).change("config.json", {
      architectures: ["JinaBertModel"],
      position_embedding_type: "alibi",
      auto_map: {
        AutoModelForSequenceClassification:
          "jinaai/jina-reranker-v1-tiny-en--modeling_bert.JinaBertForSequenceClassification",
      },
      id2label: undefined,
      label2id: undefined,
      sentence_transformers: undefined,
    }),
  "no-architecture": (folder) => folder.copy(bertLogit).change("config.json", { architectures: null }),
  "external-as-usual": (folder) => externalData(folder, "model.onnx_data"),
  "external-dot-data": (folder) => externalData(folder, "model.onnx.data"),
  "external-any-name": (folder) => externalData(folder, "weights_all.bin"),
  "electra-onnx": (folder) =>
    folder.copy(bertLogit).change("config.json", {
      architectures: ["ElectraForSequenceClassification"],
      model_type: "electra",
      sentence_transformers: undefined,
      sbert_ce_default_activation_function: "torch.nn.modules.linear.Identity",
    }),
  "new-onnx": (folder) =>
    folder.copy(xlmRoberta).change("config.json", {
      architectures: ["NewForSequenceClassification"],
      model_type: "new",
      auto_map: {
        AutoConfig: "Alibaba-NLP/new-impl--configuration.NewConfig",
        AutoModelForSequenceClassification: "Alibaba-NLP/new-impl--modeling.NewForSequenceClassification",
      },
    }),
  "nomic-onnx": (folder) =>
    folder.copy("bert-cosine-mean").change("config.json", {
      architectures: ["NomicBertModel"],
      model_type: "nomic_bert",
      auto_map: { AutoModel: "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel" },
      max_position_embeddings: undefined,
      n_positions: 2048,
    }),

  // Tokenizers
  "vocab-txt": (folder) =>
    folder.copy(bertLogit).write("vocab.txt", wordPieces(folder)).remove("tokenizer.json"),
  "sentence-piece": (folder) =>
    folder
      .copy(xlmRoberta)
      .write("sentencepiece.bpe.model", sentencePieceModel(folder.read("tokenizer.json")))
      .remove("tokenizer.json"),
  "vocab-and-merges": (folder) => {
    folder.copy("roberta-logit");
    const { model } = folder.read("tokenizer.json") as {
      model: { vocab: Json; merges: readonly (string | readonly string[])[] };
    };
    const merges = model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
    folder
      .write("vocab.json", JSON.stringify(model.vocab))
      .write("merges.txt", `#version: 0.2\n${merges.join("\n")}\n`)
      .remove("tokenizer.json");
  },
  "models-in-folders": (folder) => {
    new Folder(join(folder.path, "ms-marco-MiniLM-L-6-v2")).copy(bertLogit);
    folder.write("README.md", "# Several models\n");
  },

  // Weights
  pickle: (folder) =>
    folder.copy(bertLogit, "onnx/", "model.safetensors").write("pytorch_model.bin", "PK\u0003\u0004"),
  "variant-safetensors": (folder) =>
    folder.copy(bertLogit, "onnx/").move("model.safetensors", "model.fp16.safetensors"),
  "sharded-bf16": (folder) => shards(folder, bf16(folder.copy(xlmRoberta, "onnx/").weights)),
  camembert: (folder) =>
    folder.copy("roberta-logit", "onnx/").change("config.json", {
      architectures: ["CamembertForSequenceClassification"],
      model_type: "camembert",
    }),
  "electra-weights": (folder) => {
    const weights = renamed(folder.copy(bertLogit, "onnx/").weights, [[/^bert\./, "electra."]]);
    const hidden = weights.get("electra.embeddings.LayerNorm.weight")?.shape[0] ?? 0;
    for (const name of ["electra.pooler.dense.weight", "electra.pooler.dense.bias"]) weights.delete(name);
    folder
      .weigh(withHead(weights, hidden, ["classifier.dense", "classifier.out_proj"]))
      .change("config.json", {
        architectures: ["ElectraForSequenceClassification"],
        model_type: "electra",
        embedding_size: hidden,
      });
  },
  "distilbert-weights": (folder) => {
    const weights = renamed(folder.copy(bertLogit, "onnx/").weights, [
      [/^bert\.encoder\./, "distilbert.transformer."],
      [/^bert\./, "distilbert."],
      [/attention\.self\.(query|key|value)/, (_, [, name = ""]) => `attention.${name[0]}_lin`],
      [/attention\.output\.dense/, "attention.out_lin"],
      [/attention\.output\.LayerNorm/, "sa_layer_norm"],
      [/intermediate\.dense/, "ffn.lin1"],
      [/output\.dense/, "ffn.lin2"],
      [/output\.LayerNorm/, "output_layer_norm"],
    ]);
    const hidden = weights.get("distilbert.embeddings.LayerNorm.weight")?.shape[0] ?? 0;
    for (const name of [...weights.keys()]) if (/pooler|token_type/.test(name)) weights.delete(name);
    const { id2label, label2id, max_position_embeddings, vocab_size, sentence_transformers } =
      folder.read("config.json");
    folder.weigh(withHead(weights, hidden, ["pre_classifier", "classifier"])).write(
      "config.json",
      JSON.stringify({
        architectures: ["DistilBertForSequenceClassification"],
        model_type: "distilbert",
        activation: "gelu",
        dim: hidden,
        hidden_dim: 2 * hidden,
        n_heads: 4,
        n_layers: 2,
        pad_token_id: 0,
        id2label,
        label2id,
        max_position_embeddings,
        vocab_size,
        sentence_transformers,
      }),
    );
    folder.change("tokenizer_config.json", { tokenizer_class: "DistilBertTokenizer" });
  },
  "mlx-4bit": (folder) => {
    const kind = { group_size: 32, bits: 4, mode: "affine" };
    folder.copy(yesNo, "onnx/").change("config.json", { quantization: kind, quantization_config: kind });
    folder.weigh(
      withLinear(folder.weights, (stem, rows, columns) => [
        [`${stem}.weight`, stand("U32", 4, rows, columns / 8)],
        [`${stem}.scales`, stand("F16", 2, rows, columns / 32)],
        [`${stem}.biases`, stand("F16", 2, rows, columns / 32)],
      ]),
    );
  },
  "bitsandbytes-nf4": (folder) => {
    folder.copy(bertLogit, "onnx/").change("config.json", {
      quantization_config: {
        quant_method: "bitsandbytes",
        load_in_4bit: true,
        bnb_4bit_quant_type: "nf4",
      },
    });
    folder.weigh(
      withLinear(folder.weights, (stem, rows, columns) => [
        [`${stem}.weight`, stand("U8", 1, (rows * columns) / 2, 1)],
        [`${stem}.weight.absmax`, stand("F32", 4, (rows * columns) / 64)],
        [`${stem}.weight.quant_map`, stand("F32", 4, 16)],
        [`${stem}.weight.quant_state.bitsandbytes__nf4`, stand("U8", 1, 80)],
      ]),
    );
  },
  gptq: (folder) => {
    folder
      .copy(yesNo, "onnx/")
      .change("config.json", { quantization_config: { quant_method: "gptq", bits: 4, group_size: 128 } });
    folder.weigh(
      withLinear(folder.weights, (stem, rows, columns) => [
        [`${stem}.qweight`, stand("I32", 4, columns / 8, rows)],
        [`${stem}.qzeros`, stand("I32", 4, 1, rows / 8)],
        [`${stem}.scales`, stand("F16", 2, 1, rows)],
        [`${stem}.g_idx`, stand("I32", 4, columns)],
      ]),
    );
  },
  fp8: (folder) => {
    folder.copy(yesNo, "onnx/").change("config.json", {
      quantization_config: { quant_method: "compressed-tensors", format: "float-quantized" },
    });
    folder.weigh(
      withLinear(folder.weights, (stem, rows, columns) => [
        [`${stem}.weight`, stand("F8_E4M3", 1, rows, columns)],
        [`${stem}.weight_scale`, stand("BF16", 2, rows, 1)],
      ]),
    );
  },

  // GGUF
  "gguf-alone-bert": (folder) => {
    writeLlamaFile(join(folder.path, "Model-Q8_0.gguf"), bertLogit, fixtureWeights(bertLogit), {
      type: "Q8_0",
    });
    folder.write("README.md", card("cross-encoder/ms-marco-MiniLM-L6-v2"));
  },
  "gguf-alone-xlm-roberta": (folder) => {
    for (const type of ["F16", "Q8_0"] as const) {
      const name = `bge-reranker-v2-m3-${type === "F16" ? "FP16" : type}.gguf`;
      writeLlamaFile(join(folder.path, name), xlmRoberta, fixtureWeights(xlmRoberta), { type });
    }
    folder.write("README.md", card("BAAI/bge-reranker-v2-m3"));
  },
  "gguf-alone-qwen3": (folder) => {
    writeLlamaFile(join(folder.path, "Qwen3-Reranker-0.6B-f32.gguf"), yesNo, fixtureWeights(yesNo), {
      answers: answersOfYesNo,
    });
    folder.write("README.md", card("Qwen/Qwen3-Reranker-0.6B"));
  },
  // By somebody who took it for a language model: no rank head, no prompt.
  "gguf-plain-qwen3": (folder) => {
    writeLlamaFile(join(folder.path, "Qwen3-Reranker-0.6B.f32.gguf"), yesNo, fixtureWeights(yesNo));
    folder.write("README.md", card("Qwen/Qwen3-Reranker-0.6B"));
  },
  "gguf-beside-roberta": (folder) => besideGguf(folder, "roberta-logit"),
  "gguf-beside-xlm-roberta": (folder) => besideGguf(folder, xlmRoberta),
  "gguf-beside-qwen2": (folder) => besideGguf(folder, "qwen2-one-zero"),
  "gguf-beside-qwen3": (folder) => besideGguf(folder, yesNo, answersOfYesNo),
  "gguf-beside-bi-encoder": (folder) => besideGguf(folder, "bert-cosine-mean"),
  "gguf-beside-bert": (folder) => besideGguf(folder, bertLogit),
  "gguf-without-rope-base": (folder) => {
    folder.copy("qwen2-one-zero", "onnx/", "model.safetensors");
    writeLlamaFile(join(folder.path, "model-f32.gguf"), "qwen2-one-zero", fixtureWeights("qwen2-one-zero"), {
      withoutKey: "qwen2.rope.freq_base",
    });
  },
  "untied-weights": (folder) => {
    folder.weigh(untied(folder));
  },
  "untied-gguf": (folder) => {
    const weights = untied(folder);
    folder.remove("model.safetensors");
    writeLlamaFile(join(folder.path, "Qwen3-Reranker-8B-f16.gguf"), yesNo, weights, {
      answers: answersOfYesNo,
    });
  },

  // Other runtimes
  openvino: (folder) => {
    folder.copy(bertLogit, "onnx/", "model.safetensors");
    for (const name of ["openvino_model", "openvino_tokenizer", "openvino_detokenizer"]) {
      folder.write(`${name}.xml`, "<net/>").write(`${name}.bin`, "\0");
    }
  },
  "mnn-alone": (folder) =>
    folder
      .copy(
        "bert-cosine-mean",
        "onnx/",
        "model.safetensors",
        "config.json",
        "modules.json",
        "1_Pooling/",
        "2_Normalize/",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
      )
      .take(recorded("backend-mnn/test/fixtures/bert-cosine-mean_fp32.mnn"), "encoder.mnn"),
  "mnn-llm": (folder) =>
    folder
      .write(
        "config.json",
        JSON.stringify({
          llm_model: "llm.mnn",
          llm_weight: "llm.mnn.weight",
          backend_type: "cpu",
          thread_num: 4,
          precision: "low",
          memory: "low",
        }),
      )
      .write(
        "llm_config.json",
        JSON.stringify({ hidden_size: 1024, layer_nums: 28, attention_mask: "float" }),
      )
      .write("llm.mnn", filler(1, 100))
      .write("llm.mnn.weight", filler(2, 100))
      .write("llm.mnn.json", "{}")
      .write("tokenizer.txt", "430 3\n"),
  "coreml-alone": (folder) => {
    folder.copy(xlmRoberta, "onnx/", "model.safetensors", "config.json");
    for (const name of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]) {
      folder.move(name, `tokenizer/${name}`);
    }
    folder
      .take(recorded("backend-coreml/test/fixtures/xlm-roberta-logit_seed-port.mlpackage"), "model.mlpackage")
      .write("provenance.json", JSON.stringify({ source: "BAAI/bge-reranker-base" }));
  },

  // What a configuration means
  "two-classes-reversed": (folder) =>
    folder.copy("bert-two-class").change("config.json", {
      id2label: { 0: "relevant", 1: "irrelevant" },
      label2id: { relevant: 0, irrelevant: 1 },
    }),
  "three-labels": (folder) => threeLabels(folder),
  "three-labels-named": (folder) =>
    threeLabels(folder).write(
      "crossrank.json",
      JSON.stringify({ head: { kind: "class", positive: "entailment" } }),
    ),
  "qwen3-plain": (folder) => folder.copy(yesNo, ...sentenceTransformers).write("README.md", cards.qwen3),
  // Nothing but its repository's name says what it is.
  "qwen3-without-card": (folder) => folder.copy(yesNo, ...sentenceTransformers),
  "qwen3-plain-onnx-community": (folder) =>
    folder
      .copy(yesNo, ...sentenceTransformers, "model.safetensors")
      .write("README.md", cardOf("Qwen/Qwen3-Reranker-0.6B", "library_name: transformers.js"))
      .move("onnx/model.onnx", "onnx/model_q4f16.onnx"),
  "qwen3-onnx-without-card": (folder) => folder.copy(yesNo, ...sentenceTransformers, "model.safetensors"),
  "qwen3-chat": (folder) =>
    folder
      .copy(yesNo, ...sentenceTransformers)
      .write("README.md", cardOf("Qwen/Qwen3-0.6B-Base", "pipeline_tag: text-generation"))
      .change("tokenizer_config.json", {
        chat_template:
          "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}",
      }),
  "qwen3-finetune": (folder) =>
    folder
      .copy(yesNo, ...sentenceTransformers)
      .write("README.md", cardOf("Qwen/Qwen3-Reranker-0.6B", "base_model_relation: finetune")),
  "qwen3-other-tokens": (folder) => {
    folder.copy(yesNo, ...sentenceTransformers).write("README.md", cards.qwen3);
    const added = folder.read("tokenizer.json")["added_tokens"] as readonly Json[];
    folder.change("tokenizer.json", {
      added_tokens: [...added, { ...added[0], id: 1307, content: "<|score|>" }],
    });
  },
  "qwen2-plain": (folder) => folder.copy("qwen2-one-zero", ...sentenceTransformers),
  "gemma-plain": (folder) => folder.copy("gemma-yes", "crossrank.json").write("README.md", cards.gemma),
  "zerank-plain": (folder) =>
    folder.copy("qwen3-system-user", ...sentenceTransformers).write("modeling_zeranker.py", cards.zerank),
  "qwen3-classifier": (folder) =>
    folder.copy(yesNo, ...sentenceTransformers).change("config.json", {
      architectures: ["Qwen3ForSequenceClassification"],
      id2label: { 0: "LABEL_0" },
      label2id: { LABEL_0: 0 },
    }),
  "qwen3-classifier-with-prompt": (folder) => {
    const weights = folder.copy(yesNo, "onnx/", "1_LogitScore/").weights;
    const columns = weights.get("model.norm.weight")?.shape[0] ?? 0;
    weights.set("score.weight", tensorOf(normals(2, columns, 0.3), [1, columns]));
    const [transformer] = folder.read("modules.json") as unknown as readonly Json[];
    folder
      .weigh(weights)
      .change("config.json", {
        architectures: ["Qwen3ForSequenceClassification"],
        id2label: { 0: "LABEL_0" },
        label2id: { LABEL_0: 0 },
        pad_token_id: 1300,
      })
      .write("modules.json", JSON.stringify([transformer]))
      .change("sentence_bert_config.json", {
        transformer_task: "sequence-classification",
        module_output_name: "scores",
        modality_config: {
          text: { method: "forward", method_output_name: "logits" },
          message: { method: "forward", method_output_name: "logits", format: "flat" },
        },
      });
  },
  // As they were before sentence-transformers had files for a prompt: the card says it.
  "qwen3-classifier-plain": (folder) => {
    const weights = folder.copy(yesNo, "onnx/", ...sentenceTransformers).weights;
    const columns = weights.get("model.norm.weight")?.shape[0] ?? 0;
    weights.set("score.weight", tensorOf(normals(2, columns, 0.3), [1, columns]));
    folder
      .weigh(weights)
      .write("README.md", cards.qwen3)
      .change("config.json", {
        architectures: ["Qwen3ForSequenceClassification"],
        id2label: { 0: "LABEL_0" },
        label2id: { LABEL_0: 0 },
        pad_token_id: 1300,
      });
  },
  "decoder-with-code": (folder) => {
    folder.copy("gemma-yes", "crossrank.json", "onnx/").change("config.json", {
      architectures: ["LlamaBidirectionalForSequenceClassification"],
      model_type: "llama_bidirec",
      auto_map: {
        AutoConfig: "llama_bidirectional_model.LlamaBidirectionalConfig",
        AutoModelForSequenceClassification:
          "llama_bidirectional_model.LlamaBidirectionalForSequenceClassification",
      },
      pooling: "avg",
      temperature: 1,
      id2label: { 0: "LABEL_0" },
      label2id: { LABEL_0: 0 },
    });
    const start = { SpecialToken: { id: "<bos>", type_id: 0 } };
    const text = (id: string): Json => ({ Sequence: { id, type_id: 0 } });
    folder
      .change("tokenizer.json", {
        post_processor: {
          type: "TemplateProcessing",
          single: [start, text("A")],
          pair: [start, text("A"), start, text("B")],
          special_tokens: { "<bos>": { id: "<bos>", ids: [2], tokens: ["<bos>"] } },
        },
      })
      // Of one logit a pair; what it computes is never asked.
      .take(conformanceFixture(`${xlmRoberta}/onnx`), "onnx");
  },
  monot5: (folder) =>
    named(folder, xlmRoberta, "T5ForConditionalGeneration", "t5", { is_encoder_decoder: true }),
  layerwise: (folder) =>
    named(folder, "gemma-yes", "LayerWiseMiniCPMForCausalLM", "minicpm", {
      auto_map: { AutoModelForCausalLM: "modeling_minicpm_reranker.LayerWiseMiniCPMForCausalLM" },
    }),
  lightweight: (folder) =>
    named(folder, "gemma-yes", "CostWiseGemmaForCausalLM", "gemma2", {
      auto_map: { AutoModelForCausalLM: "gemma_model.CostWiseGemmaForCausalLM" },
    }),
  lfm2: (folder) => named(folder, yesNo, "Lfm2ForCausalLM", "lfm2"),
  pylate: (folder) => folder.copy("bert-late"),
  "pylate-weights": (folder) => folder.copy("modernbert-late", "onnx/"),
  "original-colbert": (folder) => folder.copy("bert-late-original"),
  colbert: (folder) =>
    folder
      .copy("bert-cosine-mean", "onnx/", "1_Pooling/")
      .write(
        "modules.json",
        JSON.stringify([
          { idx: 0, name: "0", path: "", type: "sentence_transformers.models.Transformer" },
          { idx: 1, name: "1", path: "1_Dense", type: "pylate.models.Dense.Dense" },
        ]),
      )
      .write(
        "1_Dense/config.json",
        JSON.stringify({
          in_features: 32,
          out_features: 16,
          bias: false,
          activation_function: "torch.nn.modules.linear.Identity",
        }),
      )
      .change("config.json", { architectures: ["HF_ColBERT"] }),
  vision: (folder) => named(folder, yesNo, "Qwen3VLForConditionalGeneration", "qwen3_vl"),
  adapter: (folder) =>
    folder
      .write(
        "adapter_config.json",
        JSON.stringify({
          base_model_name_or_path: "meta-llama/Llama-2-7b-hf",
          peft_type: "LORA",
          task_type: "SEQ_CLS",
        }),
      )
      .take(conformanceFixture(`${bertLogit}/model.safetensors`), "adapter_model.safetensors")
      .take(conformanceFixture(`${bertLogit}/tokenizer.json`), "tokenizer.json"),
  "sliding-windows": (folder) =>
    folder.copy("qwen3-listwise", "onnx/").change("config.json", {
      layer_types: ["sliding_attention", "full_attention"],
      sliding_window: 16,
      use_sliding_window: true,
    }),
  "projector-elsewhere": (folder) => {
    folder.copy("qwen3-listwise", "onnx/", "crossrank.json");
    const all = [...folder.weights];
    const isHead = ([name]: readonly [string, unknown]): boolean => name.startsWith("projector.");
    folder
      .weigh(new Map(all.filter((entry) => !isHead(entry))))
      .weigh(new Map(all.filter(isHead)), "projector.safetensors")
      .write("rerank.py", "#\n");
  },
  tanh: (folder) =>
    folder.copy(bertLogit).change("config.json", {
      sentence_transformers: {
        activation_fn: "torch.nn.modules.activation.Tanh",
        version: "5.0.0",
      },
    }),
  "bi-encoder-without-modules": (folder) =>
    folder.copy(
      "bert-cosine-cls",
      "modules.json",
      "1_Pooling/",
      "2_Normalize/",
      "sentence_bert_config.json",
      "config_sentence_transformers.json",
    ),
  "weighted-mean": (folder) => {
    folder.copy("bert-cosine-mean");
    const { pooling_mode: _pooling, ...pooling } = folder.read("1_Pooling/config.json");
    const none = Object.keys(pooling).filter((key) => key.startsWith("pooling_mode"));
    folder.write(
      "1_Pooling/config.json",
      JSON.stringify({
        ...pooling,
        ...Object.fromEntries(none.map((key) => [key, false])),
        pooling_mode_weightedmean_tokens: true,
      }),
    );
  },
  "static-embeddings": (folder) =>
    folder
      .copy("bert-cosine-mean", "onnx/", "1_Pooling/")
      .write(
        "modules.json",
        JSON.stringify([
          { idx: 0, name: "0", path: ".", type: "sentence_transformers.models.StaticEmbedding" },
          { idx: 1, name: "1", path: "1_Normalize", type: "sentence_transformers.models.Normalize" },
        ]),
      )
      .write(
        "config.json",
        JSON.stringify({ model_type: "model2vec", architectures: ["StaticModel"], hidden_dim: 256 }),
      ),
};

function fixtureWeights(name: string): Tensors {
  return readTensors(conformanceFixture(`${name}/model.safetensors`));
}

function besideGguf(folder: Folder, name: string, answers?: readonly number[]): void {
  folder.copy(name, "onnx/", "model.safetensors");
  writeLlamaFile(join(folder.path, "model-f32.gguf"), name, fixtureWeights(name), answers && { answers });
}

/** A number for a name: messages have the folder in them, and it must not say what they are to say. */
export function folderName(name: string): string {
  return `model-${Object.keys(layouts).indexOf(name)}`;
}

/** Makes the folder of a layout below `place`, once, and returns its path. */
export async function makeLayout(name: string, place: string): Promise<string> {
  const build = layouts[name];
  if (build === undefined) throw new Error(`there is no layout ${name}`);
  const path = join(place, folderName(name));
  const known = made.get(path);
  if (known !== undefined) return known;
  const making = (async () => {
    await build(new Folder(path));
    return path;
  })();
  made.set(path, making);
  return making;
}

const made = new Map<string, Promise<string>>();
