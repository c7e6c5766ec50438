import * as z from "zod/mini";
import { bertParts } from "./bert.js";
import type { ModelDescription, OutputHead } from "./description.js";
import { classifierLinear, linear } from "./parts.js";
import { encoderHead, readSettings, type Source, size } from "./source.js";

/** 128 is transformers' default (`models/electra/configuration_electra.py`). */
const widthSchema: z.ZodMiniType<{ readonly embedding_size: number }> = z.object({
  embedding_size: z._default(size, 128),
});

/**
 * ELECTRA's discriminator: BERT's encoder without a pooler, and a classifier of two layers on the first token, with a
 * GELU where BERT's pooler has a tanh (transformers 5.24, `models/electra/modeling_electra.py`: ElectraModel,
 * ElectraClassificationHead). Smaller ones than base have narrower tables, and project them behind their norm.
 */
export function describeElectra(source: Source): ModelDescription {
  const { embedding_size: width } = readSettings(source, widthSchema);
  const parts = bertParts(
    source,
    "electra.",
    () => 0,
    () => width,
  );
  const { settings: config, prefix, embeddings, layers } = parts;
  const hidden = config.hidden_size;
  const projection =
    width === hidden ? undefined : linear(source, `${prefix}embeddings_project`, hidden, width);
  return {
    model: source.model,
    architecture: source.profile.architecture,
    vocabularySize: config.vocab_size,
    hiddenSize: hidden,
    maxPositions: config.max_position_embeddings,
    paddingId: source.profile.paddingId,
    embeddings: projection === undefined ? embeddings : { ...embeddings, projection },
    layers,
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
            linear: classifierLinear(source, "classifier.out_proj", classes, hidden),
            activation: "identity",
          },
        ],
      }),
    ),
  };
}
