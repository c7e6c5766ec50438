// crossrank as its README shows it, every option at its default.
/** @import { Loaded, Setup } from "../types.js" */
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";

/**
 * @param {Setup} setup
 * @returns {Promise<Loaded>}
 */
export async function load({ model }) {
  const reranker = await createReranker({ model: await openModel(model.folder), backend: onnx() });
  const { runtime } = reranker.session.info;
  return {
    version: `${runtime.name} ${runtime.version}`,
    async score(query, documents) {
      const { results } = await reranker.rerank({ query, documents });
      const inOrder = [...results].sort((left, right) => left.index - right.index);
      return {
        logits: inOrder.map(({ logit }) => logit ?? Number.NaN),
        truncated: inOrder.map(({ truncatedTokens }) => truncatedTokens > 0),
        tokens: inOrder.map(({ tokens }) => tokens),
      };
    },
    dispose: () => reranker.dispose(),
  };
}
