import { tokenizerClassName } from "./tokenizer-class.js";

/** tokenizer.json, as far as its classes change it. */
interface SteppedTokenizer {
  readonly normalizer?: Step | null | undefined;
  readonly [key: string]: unknown;
}

interface Step {
  readonly type: string;
  readonly [setting: string]: unknown;
}

/** The settings of tokenizer_config.json that change ids. */
export interface TokenizerSettings {
  readonly tokenizer_class?: unknown;
  readonly do_lower_case?: unknown;
  readonly strip_accents?: unknown;
  readonly tokenize_chinese_chars?: unknown;
  readonly add_prefix_space?: unknown;
}

/**
 * What a class of transformers sets over the tokenizer.json that it loads: BERT's kin their normalizer, byte-level BPE
 * the space before a text. MPNet leaves ideographs as they are.
 */
type Rule = "bert" | "mpnet" | "byte-level";

const rules: Readonly<Record<string, Rule>> = {
  BertTokenizer: "bert",
  ConvBertTokenizer: "bert",
  DistilBertTokenizer: "bert",
  ElectraTokenizer: "bert",
  FunnelTokenizer: "bert",
  LayoutLMTokenizer: "bert",
  LxmertTokenizer: "bert",
  MobileBertTokenizer: "bert",
  SqueezeBertTokenizer: "bert",
  MPNetTokenizer: "mpnet",
  BartTokenizer: "byte-level",
  GPT2Tokenizer: "byte-level",
  LEDTokenizer: "byte-level",
  LongformerTokenizer: "byte-level",
  MvpTokenizer: "byte-level",
  RobertaTokenizer: "byte-level",
};

/**
 * tokenizer.json as transformers uses it: a tokenizer's class sets what tokenizer_config.json says, and its own defaults
 * where that says nothing, over what tokenizer.json holds. On each rule here transformers 4.57.6 and 5.24.0 agree
 * (lab/tokenizers/tokenizer-settings.py); where a step is not the class's own, the file is left as it is.
 *
 * @param settings tokenizer_config.json.
 * @param config config.json, which decides the class where the settings name none.
 */
export function asItsClassReads<Tokenizer extends SteppedTokenizer>(
  tokenizerJson: Tokenizer,
  settings: TokenizerSettings | undefined,
  config: { readonly model_type?: unknown; readonly tokenizer_class?: unknown } | undefined,
): Tokenizer {
  const rule = ruleOf(settings, config);
  if (rule === "bert" || rule === "mpnet") {
    const { normalizer } = tokenizerJson;
    if (normalizer?.type !== "BertNormalizer") return tokenizerJson;
    return {
      ...tokenizerJson,
      normalizer: {
        ...normalizer,
        lowercase: flag(settings?.do_lower_case, true),
        strip_accents: typeof settings?.strip_accents === "boolean" ? settings.strip_accents : null,
        ...(rule === "bert" && { handle_chinese_chars: flag(settings?.tokenize_chinese_chars, true) }),
      },
    };
  }
  if (rule === "byte-level") {
    const step = tokenizerJson["pre_tokenizer"] as Step | null | undefined;
    if (step?.type !== "ByteLevel") return tokenizerJson;
    return {
      ...tokenizerJson,
      pre_tokenizer: { ...step, add_prefix_space: flag(settings?.add_prefix_space, false) },
    };
  }
  return tokenizerJson;
}

function ruleOf(
  settings: TokenizerSettings | undefined,
  config: { readonly model_type?: unknown; readonly tokenizer_class?: unknown } | undefined,
): Rule | undefined {
  const name = tokenizerClassName(settings?.tokenizer_class ?? config?.tokenizer_class, config?.model_type);
  if (name === undefined) return undefined;
  return Object.hasOwn(rules, name) ? rules[name] : undefined;
}

function flag(value: unknown, otherwise: boolean): boolean {
  return typeof value === "boolean" ? value : otherwise;
}
