// node-llama-cpp's ranking context as its documentation shows it: rankAll of the query and all documents. On the
// processor, as crossrank's, and without compiling anything; threads where the options say so.
/** @import { Loaded, Setup } from "../types.js" */
/** @import { LlamaRankingContext } from "node-llama-cpp" */
import { join } from "node:path";
import { getLlama, getModuleVersion, LlamaLogLevel } from "node-llama-cpp";

/**
 * @param {Setup} setup
 * @returns {Promise<Loaded>}
 */
export async function load({ model, query, documents, options: { threads } }) {
  const llama = await getLlama({
    gpu: false,
    build: "never",
    logLevel: LlamaLogLevel.error,
    ...(threads === undefined ? {} : { maxThreads: threads }),
  });
  const llamaModel = await llama.loadModel({ modelPath: join(model.folder, model.file) });
  const context = await llamaModel.createRankingContext(threads === undefined ? {} : { threads });
  const fitting = documents.map((document) => shortened(context, query, document));
  return {
    version: `node-llama-cpp ${await getModuleVersion()}`,
    async score() {
      const probabilities = await context.rankAll(query, fitting);
      return {
        logits: probabilities.map((probability) => Math.log(probability / (1 - probability))),
        truncated: fitting.map((text, index) => text !== documents[index]),
      };
    },
    async dispose() {
      await llama.dispose();
    },
  };
}

/**
 * By as many words as rankAll needs to not throw: it puts one token more into a pair than the model does, and wants room
 * for another.
 *
 * @param {LlamaRankingContext} context
 * @param {string} query
 * @param {string} document
 */
function shortened(context, query, document) {
  let text = document;
  while (context.calculateInputLength(query, text) >= context.contextSize) {
    text = text.slice(0, text.lastIndexOf(" "));
  }
  return text;
}
