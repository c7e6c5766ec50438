import { bertParts } from "./bert.js";
import type { ModelDescription, OutputHead } from "./description.js";
import { linear } from "./parts.js";
import { shortened } from "./shortened.js";
import { encoderHead, type Source, unsupported } from "./source.js";

/**
 * ELECTRA's discriminator: BERT's encoder without a pooler, and a classifier of two layers on the first token, with a
 * GELU where BERT's pooler has a tanh (transformers 5.24, `models/electra/modeling_electra.py`: ElectraModel,
 * ElectraClassificationHead). Smaller ones than base project narrower embeddings, which is not described here.
 */
export function describeElectra(source: Source): ModelDescription {
  const { settings: config, prefix: _, ...parts } = bertParts(source, "electra.", () => 0);
  const hidden = config.hidden_size;
  // 128 is ElectraConfig's default.
  const { embedding_size: width = 128 } = source.config;
  if (width !== hidden) {
    throw unsupported(
      source,
      `its embeddings are projected from embedding_size ${shortened(String(width))} to hidden_size ${hidden}`,
    );
  }
  return {
    model: source.model,
    architecture: source.profile.architecture,
    vocabularySize: config.vocab_size,
    hiddenSize: hidden,
    maxPositions: config.max_position_embeddings,
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
            activation: "gelu",
          },
          {
            kind: "linear",
            linear: linear(source, "classifier.out_proj", classes, hidden),
            activation: "identity",
          },
        ],
      }),
    ),
  };
}
