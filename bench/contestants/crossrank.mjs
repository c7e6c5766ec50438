// crossrank as its README shows it, every option at its default but for what the bench asks for.
/** @import { Loaded, Setup } from "../types.js" */
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";

/**
 * @param {Setup} setup
 * @returns {Promise<Loaded>}
 */
export async function load({ model, options }) {
  const { dtype } = options;
  const reranker = await createReranker({
    model: await openModel(model.folder),
    backend: await open(options),
    dtype,
  });
  const { runtime } = reranker.session.info;
  return {
    version: `${runtime.name} ${runtime.version}`,
    hasChildren: true,
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

/** @param {Setup["options"]} options */
async function open({ backend, settings = {} }) {
  // Each in its own time, so that none is in another's memory.
  if (backend === "llamacpp") return (await import("@crossrank/backend-llamacpp")).llamacpp(settings);
  if (backend === "mnn") return (await import("@crossrank/backend-mnn")).mnn(settings);
  if (backend === "ctranslate2")
    return (await import("@crossrank/backend-ctranslate2")).ctranslate2(settings);
  if (backend === "mlx") return (await import("@crossrank/backend-mlx")).mlx(settings);
  return (await import("@crossrank/backend-onnx")).onnx(settings);
}
