export { tokenizerClassName } from "@crossrank/core/files";

/** A tokenizer's special tokens, by transformers' names. Their order is that in which transformers adds them. */
export const specialTokenNames = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

export type SpecialTokenName = (typeof specialTokenNames)[number];

/** What a class of transformers does with its files. */
export interface TokenizerClass {
  readonly kind: "word-pieces" | "byte-pairs" | "xlm-roberta" | "camembert" | "llama";
  /** The special tokens of a configuration that names none. */
  readonly tokens: Readonly<Partial<Record<SpecialTokenName, string>>>;
  /** Whether the mask token takes the spaces before it. */
  readonly maskTakesSpace?: boolean;
  /** `additional_special_tokens` of a configuration that names none. */
  readonly additional?: readonly string[];
  /** How a pair is put together; without it the tokenizer adds nothing, or what `add_bos_token` says. */
  readonly template?: "bert" | "mpnet" | "roberta";
  /** Qwen's own pattern and NFC in place of GPT-2's. */
  readonly splits?: "gpt2" | "qwen2";
}

const bert: TokenizerClass = {
  kind: "word-pieces",
  tokens: {
    unk_token: "[UNK]",
    sep_token: "[SEP]",
    pad_token: "[PAD]",
    cls_token: "[CLS]",
    mask_token: "[MASK]",
  },
  template: "bert",
};

const roberta: TokenizerClass = {
  kind: "byte-pairs",
  tokens: {
    bos_token: "<s>",
    eos_token: "</s>",
    unk_token: "<unk>",
    sep_token: "</s>",
    pad_token: "<pad>",
    cls_token: "<s>",
    mask_token: "<mask>",
  },
  maskTakesSpace: true,
  template: "roberta",
  splits: "gpt2",
};

/**
 * The classes on whose ids transformers 4.57.6 and 5.24.0 agree when they read the same files
 * (lab/tokenizers/slow-tokenizers.py holds them against each other). Those on which they differ (ALBERT and DeBERTa-v2
 * on tabs and runs of spaces, DeBERTa on pairs, Gemma on runs of spaces, Llama's legacy form) are not in the table: nothing would say which is
 * meant.
 */
const classes: Readonly<Record<string, TokenizerClass>> = {
  BertTokenizer: bert,
  ConvBertTokenizer: bert,
  DistilBertTokenizer: bert,
  ElectraTokenizer: bert,
  LayoutLMTokenizer: bert,
  MobileBertTokenizer: bert,
  SqueezeBertTokenizer: bert,
  MPNetTokenizer: {
    kind: "word-pieces",
    tokens: {
      bos_token: "<s>",
      eos_token: "</s>",
      unk_token: "[UNK]",
      sep_token: "</s>",
      pad_token: "<pad>",
      cls_token: "<s>",
      mask_token: "<mask>",
    },
    maskTakesSpace: true,
    template: "mpnet",
  },
  BartTokenizer: roberta,
  LongformerTokenizer: roberta,
  RobertaTokenizer: roberta,
  GPT2Tokenizer: {
    kind: "byte-pairs",
    tokens: {
      bos_token: "<|endoftext|>",
      eos_token: "<|endoftext|>",
      unk_token: "<|endoftext|>",
    },
    splits: "gpt2",
  },
  Qwen2Tokenizer: {
    kind: "byte-pairs",
    tokens: {
      eos_token: "<|endoftext|>",
      unk_token: "<|endoftext|>",
      pad_token: "<|endoftext|>",
    },
    splits: "qwen2",
  },
  XLMRobertaTokenizer: {
    kind: "xlm-roberta",
    tokens: roberta.tokens,
    maskTakesSpace: true,
    template: "roberta",
  },
  CamembertTokenizer: {
    kind: "camembert",
    tokens: roberta.tokens,
    additional: ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"],
    maskTakesSpace: true,
    template: "roberta",
  },
  LlamaTokenizer: {
    kind: "llama",
    tokens: { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" },
  },
};

export function tokenizerClassOf(name: string): TokenizerClass | undefined {
  return Object.hasOwn(classes, name) ? classes[name] : undefined;
}

export const tokenizerClassNames: readonly string[] = Object.keys(classes);
