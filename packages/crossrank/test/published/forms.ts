/*
 * Every way in which rerankers are published that a survey of 136 repositories found, and what crossrank makes of it.
 * published.test.ts builds each one; scripts/write-readme.mjs writes the README's table of them.
 */

/** Logits that a form must give. */
export interface Reference {
  /** A fixture in its own layout, or what transformers gives for a layout's weights (goldens.json). */
  readonly of: { readonly fixture: string } | { readonly golden: string };
  /** Largest difference of a logit. */
  readonly within: number;
  /** The classes are the other way round, and so is the sign. */
  readonly negated?: true;
}

export interface Refusal {
  readonly code: string;
  /** Parts of the message, in any case, that name the reason. */
  readonly says: readonly string[];
}

export interface Case {
  /** One of layouts.ts. */
  readonly layout: string;
  /** Behind the folder: a file, a folder within, or `:DTYPE`. */
  readonly part?: string;
  /** From a hub on this machine, as owner/name; this one, where its name is what says what it is. */
  readonly hub?: true | string;
  readonly options?: {
    readonly backend?: string;
    readonly dtype?: string;
    readonly file?: string;
    /** A fixture, or a repository of the hub on this machine. */
    readonly base?: string;
  };
  readonly gives?: Reference;
  /** The artifact that is chosen. */
  readonly artifact?: RegExp;
  readonly refuses?: Refusal;
  /** What it gives instead of `gives`, as long as that does not work. */
  readonly notYet?: Refusal;
}

export interface Form {
  /** As the survey calls it. */
  readonly id: string;
  readonly cases: readonly Case[];
}

/** A line of the README's table. */
export interface Row {
  readonly form: string;
  readonly example: string;
  /** Begins with "yes" where a case of its forms gives a score. */
  readonly works: string;
  readonly forms: readonly Form[];
}

const exact = 1e-5;
/** llama.cpp rounds keys, values and some activations. */
const llama = 0.02;
/** Weights of 8 bits, with those of fp32 as the reference. */
const rounded = 0.3;
const fixture = (name: string, within: number = exact): Reference => ({ of: { fixture: name }, within });
const int8: Reference = { of: { fixture: "bert-logit" }, within: rounded };

const external = fixture("onnx:cross-encoder-external");

const onnx = { backend: "onnx" } as const;
const gguf = { backend: "llamacpp" } as const;

export const rows: readonly Row[] = [
  {
    form: "ONNX under sentence-transformers' names",
    example: "cross-encoder/ms-marco-MiniLM-L6-v2",
    works: "yes; `--dtype O3`, `--file`; `int8` is the file for this processor",
    forms: [
      {
        id: "01-st-onnx-names",
        cases: [
          { layout: "sentence-transformers-onnx", gives: fixture("bert-logit"), artifact: /model\.onnx$/ },
          {
            layout: "sentence-transformers-onnx",
            options: { dtype: "O3" },
            gives: fixture("bert-logit"),
            artifact: /model_O3\.onnx$/,
          },
          {
            layout: "sentence-transformers-onnx",
            options: { dtype: "qint8_avx512_vnni" },
            gives: int8,
            artifact: /model_qint8_avx512_vnni\.onnx$/,
          },
          {
            layout: "sentence-transformers-onnx",
            options: { dtype: "int8" },
            gives: int8,
            artifact: /model_qu?int8_\w+\.onnx$/,
          },
          {
            layout: "sentence-transformers-onnx",
            options: { file: "onnx/model_O2.onnx" },
            gives: fixture("bert-logit"),
            artifact: /model_O2\.onnx$/,
          },
        ],
      },
    ],
  },
  {
    form: "ONNX under transformers.js' names, also at the root",
    example: "Xenova/ms-marco-MiniLM-L-6-v2",
    works: "yes",
    forms: [
      {
        id: "02-xenova-quantized-only",
        cases: [
          { layout: "quantised-only", gives: int8 },
          { layout: "quantised-only", options: { dtype: "int8" }, gives: int8 },
        ],
      },
      { id: "04-root-model_quantized", cases: [{ layout: "root-quantized", gives: int8 }] },
      {
        id: "40-transformersjs-all-dtypes",
        cases: [
          { layout: "transformers-js", gives: fixture("xlm-roberta-logit"), artifact: /model\.onnx$/ },
          {
            layout: "transformers-js",
            options: { dtype: "bnb4" },
            gives: fixture("xlm-roberta-logit"),
            artifact: /model_bnb4\.onnx$/,
          },
        ],
      },
    ],
  },
  {
    form: "One .onnx of any name",
    example: "arnauld-a/bge-reranker-v2-m3-onnx-quant",
    works: "yes; `--file` where there are several",
    forms: [
      {
        id: "03-root-model_optimized",
        cases: [{ layout: "root-optimized", gives: fixture("bert-logit") }],
      },
      {
        id: "05-onnx-other-name",
        cases: [
          { layout: "onnx-of-another-name", gives: fixture("bert-logit") },
          { layout: "onnx-of-another-name", part: "/bge-reranker-base.onnx", gives: fixture("bert-logit") },
          {
            layout: "two-onnx-of-other-names",
            options: { file: "model_quant.onnx" },
            gives: fixture("bert-logit"),
            artifact: /model_quant\.onnx$/,
          },
        ],
      },
    ],
  },
  {
    form: "ONNX with its weights beside it, under any name",
    example: "EmbeddedLLM/bge-reranker-v2-m3-onnx-o3-cpu",
    works: "yes",
    forms: [
      {
        id: "52/53-external data",
        cases: [
          { layout: "external-as-usual", gives: external },
          { layout: "external-dot-data", gives: external },
          { layout: "external-any-name", hub: true, gives: external },
        ],
      },
    ],
  },
  {
    form: "ONNX of an encoder whose class says little: a body's name, none, custom code",
    example: "jinaai/jina-reranker-v1-turbo-en",
    works: "yes, where the graph gives one logit a pair",
    forms: [
      {
        id: "39-architectures-of-the-body",
        cases: [{ layout: "body-as-architecture", options: onnx, gives: fixture("bert-logit") }],
      },
      {
        id: "41-architectures-null",
        cases: [{ layout: "no-architecture", options: onnx, gives: fixture("bert-logit") }],
      },
      { id: "38-new", cases: [{ layout: "new-onnx", options: onnx, gives: fixture("xlm-roberta-logit") }] },
      {
        id: "48-nomic",
        cases: [{ layout: "nomic-onnx", options: onnx, gives: fixture("bert-cosine-mean") }],
      },
      {
        id: "36-electra",
        cases: [
          { layout: "electra-onnx", options: onnx, gives: fixture("bert-logit") },
          {
            layout: "electra-weights",
            gives: { of: { golden: "electra-weights" }, within: exact },
          },
          {
            layout: "distilbert-weights",
            gives: { of: { golden: "distilbert-weights" }, within: exact },
          },
        ],
      },
    ],
  },
  {
    form: "Safetensors alone, sharded, in bf16, of a variant",
    example: "BAAI/bge-reranker-v2-m3",
    works: "yes, converted once",
    forms: [
      {
        id: "51-sharded-bf16",
        cases: [
          { layout: "sharded-bf16", gives: { of: { golden: "sharded-bf16" }, within: exact } },
          {
            layout: "sharded-bf16",
            hub: true,
            gives: { of: { golden: "sharded-bf16" }, within: exact },
          },
        ],
      },
      {
        id: "10-variant-safetensors",
        cases: [
          {
            layout: "variant-safetensors",
            gives: fixture("bert-logit"),
          },
        ],
      },
      {
        id: "37-camembert",
        cases: [
          {
            layout: "camembert",
            gives: fixture("roberta-logit"),
          },
        ],
      },
    ],
  },
  {
    form: "vocab.txt, vocab.json with merges.txt, or sentencepiece.bpe.model for tokenizer.json",
    example: "older models, with safetensors or ONNX beside it",
    works: "yes",
    forms: [
      { id: "06-vocab.txt-only", cases: [{ layout: "vocab-txt", gives: fixture("bert-logit") }] },
      {
        id: "07-sentencepiece-only",
        cases: [
          { layout: "sentence-piece", gives: fixture("xlm-roberta-logit") },
          {
            layout: "sentence-piece",
            options: { base: "xlm-roberta-logit" },
            gives: fixture("xlm-roberta-logit"),
          },
        ],
      },
      {
        id: "08-vocab.json-merges-only",
        cases: [{ layout: "vocab-and-merges", gives: fixture("roberta-logit") }],
      },
    ],
  },
  {
    form: "Several models in folders of one repository",
    example: "ggml-org/models",
    works: "yes, as `owner/name/folder`",
    forms: [
      {
        id: "45-subfolder",
        cases: [
          {
            layout: "models-in-folders",
            part: "/ms-marco-MiniLM-L-6-v2",
            gives: fixture("bert-logit"),
          },
          {
            layout: "models-in-folders",
            hub: true,
            part: "/ms-marco-MiniLM-L-6-v2",
            gives: fixture("bert-logit"),
          },
          {
            layout: "models-in-folders",
            refuses: { code: "model-file-not-found", says: ["ms-marco-MiniLM-L-6-v2"] },
          },
        ],
      },
    ],
  },
  {
    form: "GGUF alone, by llama.cpp's converter",
    example: "gpustack/bge-reranker-v2-m3-GGUF:Q8_0",
    works: "yes: RoBERTa, XLM-RoBERTa, Qwen3-Reranker",
    forms: [
      {
        id: "11/12/13-gguf-only",
        cases: [
          {
            layout: "gguf-alone-bert",
            refuses: { code: "model-load", says: ["cls.weight", "convert"] },
          },
          { layout: "gguf-alone-xlm-roberta", gives: fixture("xlm-roberta-logit", llama) },
          {
            layout: "gguf-alone-xlm-roberta",
            part: "/bge-reranker-v2-m3-Q8_0.gguf",
            gives: fixture("xlm-roberta-logit", rounded),
            artifact: /Q8_0\.gguf$/,
          },
          {
            layout: "gguf-alone-xlm-roberta",
            hub: true,
            part: ":FP16",
            gives: fixture("xlm-roberta-logit", llama),
            artifact: /FP16\.gguf$/,
          },
          { layout: "gguf-alone-qwen3", gives: fixture("qwen3-yes-no", llama) },
          { layout: "gguf-plain-qwen3", gives: fixture("qwen3-yes-no", llama) },
        ],
      },
      {
        id: "70/71-gguf-only made whole",
        cases: [
          {
            layout: "gguf-alone-xlm-roberta",
            options: { dtype: "Q8_0", base: "xlm-roberta-logit" },
            gives: fixture("xlm-roberta-logit", rounded),
          },
          {
            layout: "gguf-alone-qwen3",
            options: { base: "qwen3-yes-no" },
            gives: fixture("qwen3-yes-no", llama),
          },
        ],
      },
    ],
  },
  {
    form: "GGUF beside the model's own files",
    example: "jolleyboy/gte-reranker-modernbert-base-GGUF",
    works: "yes; one whose metadata differ from config.json is refused",
    forms: [
      {
        id: "g-roberta/xlm-roberta/qwen2/qwen3 tied/bi-encoders",
        cases: [
          { layout: "gguf-beside-roberta", options: gguf, gives: fixture("roberta-logit", llama) },
          { layout: "gguf-beside-xlm-roberta", options: gguf, gives: fixture("xlm-roberta-logit", llama) },
          { layout: "gguf-beside-qwen2", options: gguf, gives: fixture("qwen2-one-zero", llama) },
          { layout: "gguf-beside-qwen3", options: gguf, gives: fixture("qwen3-yes-no", llama) },
          { layout: "gguf-beside-bi-encoder", options: gguf, gives: fixture("bert-cosine-mean", llama) },
        ],
      },
      {
        id: "o-qwen2 (GGUF without rope.freq_base)",
        cases: [
          {
            layout: "gguf-without-rope-base",
            options: gguf,
            refuses: { code: "model-load", says: ["rope.freq_base", "10000"] },
          },
        ],
      },
    ],
  },
  {
    form: "GGUF of a Qwen3 reranker with an output of its own",
    example: "Voodisss/Qwen3-Reranker-8B-GGUF-llama_cpp",
    works: "yes, by its rank head",
    forms: [
      {
        id: "g-q3-untied",
        cases: [
          {
            layout: "untied-gguf",
            options: gguf,
            gives: { of: { golden: "untied-weights" }, within: llama },
          },
        ],
      },
    ],
  },
  {
    form: "GGUF of a BERT reranker, by llama.cpp's converter",
    example: "cstr/*-GGUF",
    works: "no: it has neither pooler nor segments; `crossrank convert` writes one that has",
    forms: [
      {
        id: "g-bert",
        cases: [
          {
            layout: "gguf-beside-bert",
            options: gguf,
            refuses: { code: "model-load", says: ["cls.weight", "convert"] },
          },
        ],
      },
    ],
  },
  {
    form: "MNN with a tokenizer and no configuration",
    example: "darkmaniac7/bge-small-en-MNN",
    works: "yes, with `--base`",
    forms: [
      {
        id: "15-mnn-seed003",
        cases: [
          {
            layout: "mnn-alone",
            options: { base: "bert-cosine-mean" },
            gives: fixture("bert-cosine-mean", 1e-4),
          },
          { layout: "mnn-alone", refuses: { code: "model-file-not-found", says: ["config.json", "base"] } },
        ],
      },
    ],
  },
  {
    form: "Core ML package, its tokenizer in `tokenizer/`, no configuration",
    example: "tcashel/bge-reranker-base-coreml",
    works: "yes, with `--base`; on a Mac, or in its reference",
    forms: [
      {
        id: "17-coreml-seed000",
        cases: [
          {
            layout: "coreml-alone",
            options: { backend: "coreml:reference", base: "xlm-roberta-logit" },
            gives: fixture("xlm-roberta-logit", llama),
          },
        ],
      },
    ],
  },
  {
    form: "Two classes by name, either way round",
    example: "models with names in `id2label`",
    works: "yes; of three, as NLI has, `head` in a crossrank.json names one",
    forms: [
      {
        id: "21-two-class-named-reversed",
        cases: [
          {
            layout: "two-classes-reversed",
            options: onnx,
            gives: { of: { fixture: "bert-two-class" }, within: exact, negated: true },
          },
        ],
      },
      {
        id: "22-three-labels",
        cases: [
          {
            layout: "three-labels",
            refuses: { code: "model-profile", says: ["contradiction", "head"] },
          },
          {
            layout: "three-labels-named",
            gives: { of: { golden: "three-labels" }, within: exact },
          },
        ],
      },
    ],
  },
  {
    form: "Language model without its prompt",
    example: "Qwen/Qwen3-Reranker-0.6B",
    works: "yes: Qwen3-Reranker, mxbai v2, bge-gemma, zerank, ctxl, where card, code or repository says so",
    forms: [
      {
        id: "23-qwen3-reranker-plain",
        cases: [
          { layout: "qwen3-plain", gives: fixture("qwen3-yes-no") },
          { layout: "qwen3-without-card", hub: "Qwen/Qwen3-Reranker-0.6B", gives: fixture("qwen3-yes-no") },
          {
            layout: "qwen3-without-card",
            options: { base: "Qwen/Qwen3-Reranker-0.6B" },
            gives: fixture("qwen3-yes-no"),
          },
          {
            layout: "qwen3-without-card",
            refuses: { code: "model-profile", says: ["base", "Qwen3-Reranker"] },
          },
          {
            layout: "qwen3-chat",
            refuses: { code: "model-profile", says: ["modules.json", "crossrank.json"] },
          },
          {
            layout: "qwen3-finetune",
            refuses: { code: "model-profile", says: ["modules.json", "crossrank.json"] },
          },
          {
            layout: "qwen3-other-tokens",
            refuses: { code: "model-profile", says: ["<|score|>", "crossrank.json"] },
          },
          {
            layout: "zerank-plain",
            gives: { of: { golden: "zerank-plain" }, within: exact },
          },
        ],
      },
      {
        id: "42-onnx-causal",
        cases: [
          { layout: "qwen3-plain-onnx-community", gives: fixture("qwen3-yes-no") },
          {
            layout: "qwen3-onnx-without-card",
            options: { base: "qwen3-yes-no" },
            gives: fixture("qwen3-yes-no"),
          },
          { layout: "qwen3-onnx-without-card", refuses: { code: "model-profile", says: ["base"] } },
        ],
      },
      {
        id: "24-mxbai-v2-plain",
        cases: [
          {
            layout: "qwen2-plain",
            hub: "mixedbread-ai/mxbai-rerank-base-v2",
            gives: { of: { golden: "qwen2-plain" }, within: exact },
          },
          {
            layout: "qwen2-plain",
            refuses: { code: "model-profile", says: ["mxbai-rerank-base-v2", "base"] },
          },
        ],
      },
      {
        id: "25-bge-gemma-plain",
        cases: [{ layout: "gemma-plain", gives: fixture("gemma-yes") }],
      },
      {
        id: "26-qwen3-seqcls-old",
        cases: [
          {
            layout: "qwen3-classifier",
            refuses: { code: "model-profile", says: ["pairTemplate", "crossrank.json"] },
          },
        ],
      },
      {
        id: "32-lfm2-causal",
        cases: [
          { layout: "lfm2", refuses: { code: "model-profile", says: ["modules.json", "crossrank.json"] } },
        ],
      },
    ],
  },
  {
    form: "Decoder with a classifier, its prompt stated",
    example: "cross-encoder-testing/Qwen3-Reranker-0.6B-seq-cls-STv6",
    works: "yes, converted once",
    forms: [
      {
        id: "27-qwen3-seqcls-STv6",
        cases: [
          {
            layout: "qwen3-classifier-with-prompt",
            gives: { of: { golden: "qwen3-classifier-with-prompt" }, within: llama },
          },
          {
            layout: "qwen3-classifier-plain",
            gives: { of: { golden: "qwen3-classifier-with-prompt" }, within: llama },
          },
        ],
      },
    ],
  },
  {
    form: "A tanh over the logit",
    example: "models with `activation_fn` Tanh",
    works: "yes: the score is the tanh, the order that of the logits",
    forms: [
      {
        id: "46-tanh",
        cases: [{ layout: "tanh", options: onnx, gives: fixture("bert-logit") }],
      },
    ],
  },
  {
    form: "Decoder whose own code computes it",
    example: "openbmb/MiniCPM-Reranker",
    works:
      "no: its prompt and head are in code (`auto_map`); nvidia/llama-nemotron-rerank-1b-v2 is known by its repository",

    forms: [
      {
        id: "28-nemotron-llama-bidirec",
        cases: [{ layout: "decoder-with-code", refuses: { code: "model-profile", says: ["pairTemplate"] } }],
      },
      {
        id: "30/31-layerwise, lightweight",
        cases: [
          { layout: "layerwise", refuses: { code: "model-profile", says: ["auto_map"] } },
          { layout: "lightweight", refuses: { code: "model-profile", says: ["auto_map"] } },
        ],
      },
    ],
  },
  {
    form: "Quantised safetensors: MLX, bitsandbytes, GPTQ and AWQ, FP8",
    example: "mlx-community/Qwen3-Reranker-0.6B-4bit",
    works: "no: use the model that it was made from; MLX's 4 and 8 bits run by `--backend mlx`",
    forms: [
      {
        id: "18/60-mlx-4bit",
        cases: [{ layout: "mlx-4bit", refuses: { code: "unsupported-conversion", says: ["MLX"] } }],
      },
      {
        id: "19/61-bnb-nf4",
        cases: [
          { layout: "bitsandbytes-nf4", refuses: { code: "unsupported-conversion", says: ["bitsandbytes"] } },
        ],
      },
      {
        id: "20/62-gptq",
        cases: [{ layout: "gptq", refuses: { code: "unsupported-conversion", says: ["GPTQ"] } }],
      },
      {
        id: "63-fp8",
        cases: [{ layout: "fp8", refuses: { code: "unsupported-conversion", says: ["compressed-tensors"] } }],
      },
    ],
  },
  {
    form: "Pickles (pytorch_model.bin) alone",
    example: "amberoad/bert-multilingual-passage-reranking-msmarco",
    works: "no: they can run code; use `refs/pr/N` with safetensors",
    forms: [
      {
        id: "09-pytorch-bin-only",
        cases: [{ layout: "pickle", refuses: { code: "model-file-not-found", says: ["pickle"] } }],
      },
    ],
  },
  {
    form: "OpenVINO, MNN-LLM",
    example: "kread/Qwen3-Reranker-4B-int8-ov, taobao-mnn/*",
    works: "no: no runtime here",
    forms: [
      {
        id: "14-openvino-only",
        cases: [{ layout: "openvino", refuses: { code: "model-file-not-found", says: ["OpenVINO"] } }],
      },
      {
        id: "16-taobao-mnn",
        cases: [{ layout: "mnn-llm", refuses: { code: "model-profile", says: ["MNN-LLM"] } }],
      },
    ],
  },
  {
    form: "Late interaction (ColBERT), of PyLate and of the original",
    example: "lightonai/GTE-ModernColBERT-v1, answerdotai/answerai-colbert-small-v1",
    works: "yes; a model whose tokenizer lacks the markers is refused",
    forms: [
      {
        id: "33-colbert-pylate",
        cases: [
          { layout: "pylate", options: onnx, gives: fixture("bert-late") },
          { layout: "pylate", gives: fixture("bert-late") },
          { layout: "pylate-weights", gives: fixture("modernbert-late", 1e-4) },
          { layout: "original-colbert", options: onnx, gives: fixture("bert-late-original") },
          { layout: "colbert", refuses: { code: "model-profile", says: ["late interaction"] } },
          {
            layout: "pylate",
            options: gguf,
            refuses: { code: "incompatible-model", says: ["late-interaction"] },
          },
        ],
      },
    ],
  },
  {
    form: "Encoder–decoder, vision, adapter",
    example:
      "castorini/monot5-base-msmarco, Qwen/Qwen3-VL-Reranker-2B, castorini/rankllama-v1-7b-lora-passage",
    works: "no: said by name",
    forms: [
      {
        id: "29-monot5",
        cases: [{ layout: "monot5", refuses: { code: "model-profile", says: ["encoder-decoder"] } }],
      },
      { id: "34-vl", cases: [{ layout: "vision", refuses: { code: "model-profile", says: ["vision"] } }] },
      {
        id: "35-lora-adapter",
        cases: [
          {
            layout: "adapter",
            refuses: { code: "model-profile", says: ["adapter", "meta-llama/Llama-2-7b-hf"] },
          },
        ],
      },
    ],
  },
  {
    form: "Listwise jina with other layers, or with its head elsewhere",
    example: "jinaai/jina-reranker-v3-mlx",
    works: "no: it says why, and which tensors",
    forms: [
      {
        id: "43-jina-v3.5-hybrid",
        cases: [
          {
            layout: "sliding-windows",
            refuses: { code: "unsupported-conversion", says: ["many documents in one sequence"] },
          },
        ],
      },
      {
        id: "44-jina-v3-mlx",
        cases: [{ layout: "projector-elsewhere", refuses: { code: "model-profile", says: ["projector"] } }],
      },
    ],
  },
  {
    form: "Bi-encoder whose pooling is unknown, weighted or static",
    example: "minishlab/potion-base-8M",
    works: "no: it says which",
    forms: [
      {
        id: "47-biencoder-no-modules",
        cases: [
          { layout: "bi-encoder-without-modules", refuses: { code: "model-profile", says: ["BertModel"] } },
        ],
      },
      {
        id: "49/50",
        cases: [
          { layout: "weighted-mean", refuses: { code: "model-profile", says: ["weightedmean"] } },
          { layout: "static-embeddings", refuses: { code: "model-profile", says: ["StaticEmbedding"] } },
        ],
      },
    ],
  },
];

export const forms: readonly Form[] = rows.flatMap((row) => row.forms);

/** The README's table. */
export function publishedTable(): string {
  const lines = rows.map(({ form, example, works }) => `| ${form} | ${example} | ${works} |`);
  return ["| form | example | works |", "|---|---|---|", ...lines].join("\n");
}
