import { readBertSettings, shapeOfBert } from "./bert.js";
import type { ModelDescription } from "./description.js";
import { describeEncoder, encoderParts, type FirstTokenHead, namesOfBert } from "./encoder-parts.js";
import type { Source } from "./source.js";

/** RoBERTa's classifier, and MPNet's (RobertaClassificationHead, MPNetClassificationHead). */
export const headOfRoberta: FirstTokenHead = {
  dense: "classifier.dense",
  activation: "tanh",
  output: "classifier.out_proj",
};

/**
 * RoBERTa and XLM-RoBERTa: BERT's encoder, whose position table begins behind the padding id, and a classifier of two
 * layers on the first token (transformers 5.23, `models/roberta/modeling_roberta.py`: RobertaEmbeddings,
 * RobertaClassificationHead; `models/xlm_roberta` is the same).
 */
export function describeRoberta(source: Source): ModelDescription {
  const config = readBertSettings(source);
  // Tokens count from pad_token_id + 1 on; 1 is the default of RobertaConfig.
  const shape = shapeOfBert(config, { skipped: (config.pad_token_id ?? 1) + 1 });
  const parts = encoderParts(source, { within: "roberta.", ...namesOfBert }, shape);
  return describeEncoder(source, parts, shape, headOfRoberta);
}
