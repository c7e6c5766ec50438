/** The tokenizer's class of a `model_type` whose files name none (transformers' `TOKENIZER_MAPPING_NAMES`). */
const classOfModel: Readonly<Record<string, string>> = {
  albert: "AlbertTokenizer",
  bart: "BartTokenizer",
  bert: "BertTokenizer",
  camembert: "CamembertTokenizer",
  convbert: "ConvBertTokenizer",
  deberta: "DebertaTokenizer",
  "deberta-v2": "DebertaV2Tokenizer",
  distilbert: "DistilBertTokenizer",
  electra: "ElectraTokenizer",
  funnel: "FunnelTokenizer",
  gemma: "GemmaTokenizer",
  gemma2: "GemmaTokenizer",
  gpt2: "GPT2Tokenizer",
  layoutlm: "LayoutLMTokenizer",
  led: "LEDTokenizer",
  llama: "LlamaTokenizer",
  longformer: "LongformerTokenizer",
  lxmert: "LxmertTokenizer",
  mobilebert: "MobileBertTokenizer",
  mpnet: "MPNetTokenizer",
  mvp: "MvpTokenizer",
  qwen2: "Qwen2Tokenizer",
  qwen3: "Qwen2Tokenizer",
  roberta: "RobertaTokenizer",
  squeezebert: "SqueezeBertTokenizer",
  t5: "T5Tokenizer",
  "xlm-roberta": "XLMRobertaTokenizer",
  xlnet: "XLNetTokenizer",
};

/**
 * The class of a model's tokenizer, without the "Fast" that transformers 4 puts behind the same class.
 *
 * @param named `tokenizer_class` of tokenizer_config.json, else of config.json.
 * @param modelType `model_type` of config.json.
 */
export function tokenizerClassName(named: unknown, modelType: unknown): string | undefined {
  const ofModel =
    typeof modelType === "string" && Object.hasOwn(classOfModel, modelType)
      ? classOfModel[modelType]
      : undefined;
  const name = named ?? ofModel;
  return typeof name === "string" ? name.replace(/Fast$/, "") : undefined;
}
