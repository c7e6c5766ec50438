import * as z from "zod/mini";
import { readBertSettings, shapeOfBert } from "./bert.js";
import type { ModelDescription } from "./description.js";
import { describeEncoder, encoderParts, namesOfBert } from "./encoder-parts.js";
import { linear } from "./parts.js";
import { readSettings, type Source, size } from "./source.js";

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
  const shape = shapeOfBert(readBertSettings(source), { width });
  const { hidden } = shape;
  const { prefix, embeddings, layers } = encoderParts(source, { within: "electra.", ...namesOfBert }, shape);
  const projection =
    width === hidden ? undefined : linear(source, `${prefix}embeddings_project`, hidden, width);
  const parts = { embeddings: projection === undefined ? embeddings : { ...embeddings, projection }, layers };
  return describeEncoder(source, parts, shape, {
    dense: "classifier.dense",
    activation: "gelu",
    output: "classifier.out_proj",
  });
}
