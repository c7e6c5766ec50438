// transformers.js as documented for cross-encoders (the model cards of mixedbread-ai/mxbai-rerank-xsmall-v1 and of
// Xenova/ms-marco-MiniLM-L-6-v2 show this call), all documents at once.
/** @import { Loaded, Setup } from "../types.js" */
import { basename, dirname } from "node:path";
import { AutoModelForSequenceClassification, AutoTokenizer, env } from "@huggingface/transformers";

/**
 * @param {Setup} setup
 * @returns {Promise<Loaded>}
 */
export async function load({ model: { folder, dtype } }) {
  env.allowRemoteModels = false;
  env.localModelPath = dirname(folder);
  const id = basename(folder);
  const tokenizer = await AutoTokenizer.from_pretrained(id);
  const model = await AutoModelForSequenceClassification.from_pretrained(id, {
    dtype: /** @type {"fp32" | "int8"} */ (dtype),
  });
  return {
    version: `transformers.js ${env.version}`,
    async score(query, documents) {
      const inputs = tokenizer(new Array(documents.length).fill(query), {
        text_pair: [...documents],
        padding: true,
        truncation: true,
      });
      const { logits } = await model(inputs);
      return { logits: logits.tolist().flat() };
    },
    async dispose() {
      await model.dispose();
    },
  };
}
