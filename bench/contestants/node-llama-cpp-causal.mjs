// node-llama-cpp over a causal reranker by hand, tokenised with core's encoder: each prompt evaluated from its beginning,
// the logits of the two answer tokens behind its last token.
/** @import { Loaded, Setup } from "../types.js" */
/** @import { Token } from "node-llama-cpp" */
import { join } from "node:path";
import { readProfile } from "@crossrank/core";
import { createPairEncoder, createTextTokenizer } from "@crossrank/core/encoding";
import { openModel } from "@crossrank/hub";
import { getLlama, getModuleVersion, LlamaLogLevel } from "node-llama-cpp";

/**
 * @param {Setup} setup
 * @returns {Promise<Loaded>}
 */
export async function load({ model, options: { threads = 1 } }) {
  const files = await openModel(model.folder);
  const { profile, tokenizerJson } = await readProfile(files);
  const encoder = createPairEncoder(createTextTokenizer(tokenizerJson, files.id), profile);
  const { head } = profile;
  if (head.kind !== "answer-tokens" || head.negative === undefined) {
    throw new Error(`${model.folder} does not answer by two tokens`);
  }
  const llama = await getLlama({
    gpu: false,
    build: "never",
    logLevel: LlamaLogLevel.error,
    maxThreads: threads,
  });
  const llamaModel = await llama.loadModel({ modelPath: join(model.folder, model.file) });
  const context = await llamaModel.createContext({ threads, contextSize: 2048, batchSize: 2048 });
  const sequence = context.getSequence();
  const answers = /** @type {Token[]} */ ([head.positive, head.negative]);
  return {
    version: `node-llama-cpp ${await getModuleVersion()}`,
    async score(query, documents) {
      const tokenizedQuery = encoder.encodeQuery(query);
      const logits = [];
      const tokens = [];
      for (const document of documents) {
        const ids = /** @type {Token[]} */ ([...encoder.encodePair(tokenizedQuery, document).ids]);
        const last = /** @type {Token} */ (ids.at(-1));
        await sequence.clearHistory();
        const outputs = await sequence.controlledEvaluate([
          ...ids.slice(0, -1),
          [last, { generateNext: { logits: { filter: { tokens: answers } } } }],
        ]);
        const found = outputs.at(-1)?.next.logits;
        const [yes, no] = answers.map((token) => found?.get(token) ?? Number.NaN);
        logits.push((yes ?? Number.NaN) - (no ?? Number.NaN));
        tokens.push(ids.length);
      }
      return { logits, tokens };
    },
    async dispose() {
      await llama.dispose();
    },
  };
}
