import { bertParts } from "./bert.js";
import type { ModelDescription, OutputHead } from "./description.js";
import { classifierLinear, linear } from "./parts.js";
import { encoderHead, type Source } from "./source.js";

/**
 * RoBERTa and XLM-RoBERTa: BERT's encoder, whose position table begins behind the padding id, and a classifier of two
 * layers on the first token (transformers 5.23, `models/roberta/modeling_roberta.py`: RobertaEmbeddings,
 * RobertaClassificationHead; `models/xlm_roberta` is the same).
 */
export function describeRoberta(source: Source): ModelDescription {
  // Tokens count from pad_token_id + 1 on; 1 is the default of RobertaConfig.
  const skippedOf = ({ pad_token_id = 1 }: { readonly pad_token_id?: number | undefined }): number =>
    pad_token_id + 1;
  const { settings: config, prefix: _, ...parts } = bertParts(source, "roberta.", skippedOf);
  const hidden = config.hidden_size;
  return {
    model: source.model,
    architecture: source.profile.architecture,
    vocabularySize: config.vocab_size,
    hiddenSize: hidden,
    maxPositions: config.max_position_embeddings - skippedOf(config),
    paddingId: source.profile.paddingId,
    ...parts,
    head: encoderHead(
      source,
      (classes): OutputHead => ({
        kind: "classifier",
        pooling: "cls",
        classes,
        steps: [
          {
            kind: "linear",
            linear: linear(source, "classifier.dense", hidden, hidden),
            activation: "tanh",
          },
          {
            kind: "linear",
            linear: classifierLinear(source, "classifier.out_proj", classes, hidden),
            activation: "identity",
          },
        ],
      }),
    ),
  };
}
