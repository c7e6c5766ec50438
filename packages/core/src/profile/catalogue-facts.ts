// Facts about published models whose own files are silent about them, each with its source. See catalogue.ts for how a
// model is known, and for what is used of an entry.

/** Texts of a prompt that are tokenised as one; the texts of a pair stand in it as {query}, {document}, {instruction}. */
export interface Prompt {
  /** Each is tokenised by itself, as the reference does it. */
  readonly parts: readonly string[];
  /** The same with an instruction; undefined for a model that takes none. */
  readonly instructed?: readonly string[];
  /** The instruction of calls that give none. */
  readonly instruction?: string;
  /** White space at the ends of query and document is taken off first. */
  readonly trim?: true;
  /** What the tokenizer puts around one text goes around the prompt. */
  readonly framed?: true;
}

/** Tokens whose logits are the answer: by their spelling in the vocabulary, or by number. */
export interface Answers {
  readonly positive: string | number;
  readonly negative?: string;
  readonly temperature?: number;
}

export interface CatalogueEntry {
  /** As people call the models. */
  readonly name: string;
  /** Where its facts are written. */
  readonly source: string;
  /** `model_type`s of config.json. */
  readonly architectures: readonly string[];
  /** Repositories of these models, and of other forms of them that say no prompt either. The last resort. */
  readonly repositories: readonly string[];
  /** Wording of which a file of the model has every piece: its card, its chat template or its Python code. */
  readonly quotes?: readonly string[];
  /** Files of code that are looked at for {@link quotes}, beside card and chat template. */
  readonly code?: readonly string[];
  /** Of a reranker that is a language model. */
  readonly reranker?: {
    readonly prompt: Prompt;
    /** Undefined for a model that has a classifier alone. */
    readonly answers?: Answers;
    readonly activation: "identity" | "sigmoid";
    readonly tokenizer: TokenizerFacts;
  };
  /** Of an embedding model: text before every query and before every document. */
  readonly prefixes?: { readonly query: string; readonly document: string };
}

/** What the tokenizer of a model has to be for its prompt to mean what it meant in training. */
export interface TokenizerFacts {
  /** Special tokens that the prompt spells. */
  readonly special: readonly string[];
  /** Spellings of every added token of the published models: another one is a sign of other training. */
  readonly added: RegExp;
  /** Ids of tokens in the published vocabulary, and how many entries it has at least. */
  readonly ids?: { readonly from: number; readonly of: Readonly<Record<string, number>> };
}

const qwenAdded =
  /^(?:<\|(?:endoftext|im_start|im_end|object_ref_start|object_ref_end|box_start|box_end|quad_start|quad_end|vision_start|vision_end|vision_pad|image_pad|video_pad|fim_prefix|fim_middle|fim_suffix|fim_pad|repo_name|file_sep)\|>|<\/?(?:tool_call|tool_response|think)>)$/;

/** The vocabulary of Qwen2, Qwen2.5 and Qwen3. */
const qwenIds = { from: 100_000, of: { yes: 9693, no: 2152, Yes: 9454, "0": 15, "1": 16, "!": 0 } };

const gemmaAdded =
  /^(?:<(?:pad|eos|bos|unk|mask|2mass|start_of_turn|end_of_turn|unused\d+|\/?[a-z][a-z0-9]*)>|\[@BOS@\]|\n+|\t+|▁+)$/u;

const mistralAdded = /^(?:<unk>|<s>|<\/s>|<pad>|\[\/?[A-Za-z0-9_]+\]|<SPECIAL_\d+>)$/;

const qwen3System =
  'Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".';
const qwen3Instruction = "Given a web search query, retrieve relevant passages that answer the query";
const qwen3Prompt = (instruction: string): string =>
  `<|im_start|>system\n${qwen3System}<|im_end|>\n<|im_start|>user\n<Instruct>: ${instruction}\n<Query>: {query}\n` +
  "<Document>: {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

const llama3Added =
  /^<\|(?:begin_of_text|end_of_text|finetune_right_pad_id|step_id|start_header_id|end_header_id|eom_id|eot_id|python_tag|reserved_special_token_\d+|image)\|>$/;

const gemmaTask =
  "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a prediction of either 'Yes' or 'No'.";

const mxbaiTask =
  "You are a search relevance expert who evaluates how well documents match search queries. For each query-document pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment (0 for not relevant, 1 for relevant).";
const mxbaiParts = (query: string): readonly string[] => [
  "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
  query,
  "\n",
  "document: {document}",
  "\n",
  `${mxbaiTask}\nRelevance:`,
  "<|im_end|>\n<|im_start|>assistant\n",
];

const contextualTask = "Check whether a given document contains information helpful to answer the query.";

/** `owner/prefix-SIZE-suffix` for every size. */
const sizes = (pattern: string, ...names: readonly string[]): string[] =>
  names.map((name) => pattern.replace("*", name));

export const catalogue: readonly CatalogueEntry[] = [
  {
    name: "Qwen3-Reranker",
    source: "the model card of Qwen/Qwen3-Reranker-0.6B",
    architectures: ["qwen3"],
    repositories: [
      ...sizes("Qwen/Qwen3-Reranker-*", "0.6B", "4B", "8B"),
      ...sizes("tomaarsen/Qwen3-Reranker-*-seq-cls", "0.6B", "4B", "8B"),
      "onnx-community/Qwen3-Reranker-0.6B-ONNX",
      "n24q02m/Qwen3-Reranker-0.6B-ONNX",
      "zhiqing/Qwen3-Reranker-0.6B-ONNX",
    ],
    quotes: [qwen3System, "<Instruct>:", "<Query>:", "<Document>:"],
    reranker: {
      prompt: {
        parts: [qwen3Prompt(qwen3Instruction)],
        instructed: [qwen3Prompt("{instruction}")],
        instruction: qwen3Instruction,
      },
      answers: { positive: "yes", negative: "no" },
      activation: "sigmoid",
      tokenizer: { special: ["<|im_start|>", "<|im_end|>"], added: qwenAdded, ids: qwenIds },
    },
  },
  {
    name: "bge-reranker-v2-gemma",
    source: "the model card of BAAI/bge-reranker-v2-gemma, and FlagEmbedding's tokenising of it",
    architectures: ["gemma"],
    repositories: ["BAAI/bge-reranker-v2-gemma"],
    quotes: [gemmaTask, "A: ", "B: "],
    reranker: {
      prompt: { parts: ["<bos>A: {query}", "\n", "B: {document}", "\n", gemmaTask] },
      answers: { positive: "Yes" },
      activation: "sigmoid",
      tokenizer: { special: ["<bos>"], added: gemmaAdded },
    },
  },
  {
    name: "mxbai-rerank v2",
    source: "mxbai_rerank/mxbai_rerank_v2.py of mixedbread-ai/mxbai-rerank at 8e709dc",
    architectures: ["qwen2"],
    repositories: [
      ...sizes("mixedbread-ai/mxbai-rerank-*-v2", "base", "large"),
      ...sizes("michaelfeil/mxbai-rerank-*-v2-seq", "base", "large"),
    ],
    quotes: [mxbaiTask, "query: ", "document: ", "Relevance:"],
    reranker: {
      prompt: {
        parts: mxbaiParts("query: {query}"),
        instructed: mxbaiParts("instruction: {instruction}\nquery: {query}"),
      },
      answers: { positive: "1", negative: "0" },
      activation: "identity",
      tokenizer: { special: ["<|im_start|>", "<|im_end|>"], added: qwenAdded, ids: qwenIds },
    },
  },
  {
    name: "zerank",
    source: "modeling_zeranker.py of zeroentropy/zerank-1-small",
    architectures: ["qwen3"],
    repositories: [
      ...sizes("zeroentropy/zerank-*", "1", "1-small", "2"),
      ...sizes("zeroentropy/zerank-*-reranker", "1", "1-small", "2"),
      "baseten-admin/zerank-2-reranker-seq",
      "fred-baseten/zerank-1-small-seq",
    ],
    quotes: [
      '{"role": "system", "content": system_prompt}',
      '{"role": "user", "content": user_message}',
      '"Yes", add_special_tokens=False',
      "float(logit) / 5.0",
    ],
    code: ["modeling_zeranker.py"],
    reranker: {
      prompt: {
        parts: [
          "<|im_start|>system\n{query}<|im_end|>\n<|im_start|>user\n{document}<|im_end|>\n<|im_start|>assistant\n",
        ],
        trim: true,
      },
      answers: { positive: "Yes", temperature: 5 },
      activation: "sigmoid",
      tokenizer: { special: ["<|im_start|>", "<|im_end|>"], added: qwenAdded, ids: qwenIds },
    },
  },
  {
    name: "ctxl-rerank v2",
    source: "the model card of ContextualAI/ctxl-rerank-v2-instruct-multilingual-1b",
    architectures: ["qwen3", "mistral"],
    repositories: [
      ...sizes("ContextualAI/ctxl-rerank-v2-instruct-multilingual-*", "1b", "2b", "6b"),
      "sigridjineth/ctxl-rerank-v2-1b-seq-cls",
    ],
    quotes: [contextualTask, "<Document>", "<Query>", "??"],
    reranker: {
      prompt: {
        parts: [`${contextualTask}\n<Document> {document}\n<Query> {query} ??`],
        instructed: [`${contextualTask}\n<Document> {document}\n<Query> {query} {instruction} ??`],
        framed: true,
      },
      // Whatever it spells: the first row of the output was trained to be the score.
      answers: { positive: 0 },
      activation: "identity",
      tokenizer: {
        special: [],
        added: new RegExp(`${qwenAdded.source}|${mistralAdded.source}`),
        ids: qwenIds,
      },
    },
  },
  {
    name: "llama-nemotron-rerank",
    source: "the model card of nvidia/llama-nemotron-rerank-1b-v2, and NeMo AutoModel's CrossEncoderCollator",
    architectures: ["llama_bidirec"],
    repositories: ["nvidia/llama-nemotron-rerank-1b-v2"],
    reranker: {
      prompt: { parts: ["question:{query} \n \n passage:{document}"], framed: true },
      activation: "identity",
      tokenizer: { special: ["<|begin_of_text|>"], added: llama3Added },
    },
  },
  {
    name: "bge, English",
    source: "the model card of BAAI/bge-small-en-v1.5",
    architectures: ["bert"],
    repositories: [
      ...sizes("BAAI/bge-*-en", "small", "base", "large"),
      ...sizes("BAAI/bge-*-en-v1.5", "small", "base", "large"),
      ...sizes("Xenova/bge-*-en-v1.5", "small", "base", "large"),
      "darkmaniac7/bge-small-en-MNN",
    ],
    prefixes: { query: "Represent this sentence for searching relevant passages: ", document: "" },
  },
  {
    name: "bge, Chinese",
    source: "the model card of BAAI/bge-small-zh-v1.5",
    architectures: ["bert"],
    repositories: [
      ...sizes("BAAI/bge-*-zh", "small", "base", "large"),
      ...sizes("BAAI/bge-*-zh-v1.5", "small", "base", "large"),
      ...sizes("Xenova/bge-*-zh-v1.5", "small", "base", "large"),
    ],
    prefixes: { query: "为这个句子生成表示以用于检索相关文章：", document: "" },
  },
  {
    name: "e5",
    source: "the model card of intfloat/e5-base-v2",
    architectures: ["bert", "xlm-roberta"],
    repositories: [
      ...sizes("intfloat/e5-*", "small", "base", "large"),
      ...sizes("intfloat/e5-*-v2", "small", "base", "large"),
      ...sizes("intfloat/multilingual-e5-*", "small", "base", "large"),
      ...sizes("Xenova/multilingual-e5-*", "small", "base", "large"),
      ...sizes("Xenova/e5-*-v2", "small", "base", "large"),
    ],
    quotes: ['Each input text should start with "query: " or "passage: "'],
    prefixes: { query: "query: ", document: "passage: " },
  },
  {
    name: "nomic-embed-text",
    source: "the model card of nomic-ai/nomic-embed-text-v1.5",
    architectures: ["nomic_bert"],
    repositories: ["nomic-ai/nomic-embed-text-v1", "nomic-ai/nomic-embed-text-v1.5"],
    prefixes: { query: "search_query: ", document: "search_document: " },
  },
];
