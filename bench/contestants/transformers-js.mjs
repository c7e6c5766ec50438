// transformers.js as documented for cross-encoders (the model cards of mixedbread-ai/mxbai-rerank-xsmall-v1 and of
// Xenova/ms-marco-MiniLM-L-6-v2 show this call), all documents at once; or, where the options say so, sorted by length in
// batches of so many rows, with so many threads.
/** @import { Loaded, Setup } from "../types.js" */
import { basename, dirname } from "node:path";
import { AutoModelForSequenceClassification, AutoTokenizer, env } from "@huggingface/transformers";

/**
 * @param {Setup} setup
 * @returns {Promise<Loaded>}
 */
export async function load({ model: { folder, dtype }, options: { rows = "all", threads } }) {
  env.allowRemoteModels = false;
  env.localModelPath = dirname(folder);
  const id = basename(folder);
  const tokenizer = await AutoTokenizer.from_pretrained(id);
  const model = await AutoModelForSequenceClassification.from_pretrained(id, {
    dtype: /** @type {"fp32" | "int8"} */ (dtype),
    ...(threads === undefined ? {} : { session_options: { intraOpNumThreads: threads } }),
  });
  /** @param {string} query @param {readonly string[]} documents @returns {Promise<number[]>} */
  const scoreBatch = async (query, documents) => {
    const inputs = tokenizer(new Array(documents.length).fill(query), {
      text_pair: [...documents],
      padding: true,
      truncation: true,
    });
    const { logits } = await model(inputs);
    return logits.tolist().flat();
  };
  return {
    version: `transformers.js ${env.version}`,
    async score(query, documents) {
      if (rows === "all") return { logits: await scoreBatch(query, documents) };
      const order = documents.map((_, index) => index);
      order.sort((left, right) => (documents[left]?.length ?? 0) - (documents[right]?.length ?? 0));
      /** @type {number[]} */
      const logits = new Array(order.length).fill(Number.NaN);
      for (let start = 0; start < order.length; start += rows) {
        const members = order.slice(start, start + rows);
        const answers = await scoreBatch(
          query,
          members.map((index) => documents[index] ?? ""),
        );
        members.forEach((index, row) => {
          logits[index] = answers[row] ?? Number.NaN;
        });
      }
      return { logits };
    },
    async dispose() {
      await model.dispose();
    },
  };
}
