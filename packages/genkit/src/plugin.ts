import {
  InvalidInputError,
  type LazyReranker,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireAdapterOptions,
} from "crossrank";
import { type GenkitPluginV2, genkitPluginV2 } from "genkit/plugin";
import { actionOf, namesOfCall } from "./reranker.js";

/** Those of `openReranker`, for models that are named, and: */
export type CrossrankPluginOptions = LazyRerankerOptions & {
  /** Rerankers by their id. An id that is not here is a model's name, as `openReranker` takes it. */
  readonly rerankers?: Readonly<Record<string, Exclude<RerankerSource, string>>> | undefined;
};

export interface CrossrankPlugin extends GenkitPluginV2, AsyncDisposable {
  /** Frees every model that was opened here. Rerankers that were given stay the caller's. */
  dispose(): Promise<void>;
}

const pluginName = "crossrank";

/**
 * The plugin: `genkit({ plugins: [crossrank()] })`, then `ai.rerank({ reranker: "crossrank/nano", … })`. Behind the
 * slash stands an id of `rerankers`, or a model's name. A model is opened by its first call, once.
 *
 * @throws {InvalidInputError} when an option is wrong, or one of the rerankers is none.
 */
export function crossrank(options: CrossrankPluginOptions = {}): CrossrankPlugin {
  requireAdapterOptions(options, { name: "crossrank", own: { rerankers: true }, ofCalls: namesOfCall });
  const { rerankers = {}, ...opening } = options;
  if (typeof rerankers !== "object" || rerankers === null) {
    throw new InvalidInputError("rerankers", "must be an object of rerankers by their id");
  }
  const given = Object.entries(rerankers).map(([id, source]) => [id, lazyReranker(source)] as const);
  const opened = new Map<string, LazyReranker>(given);
  let isDisposed = false;
  const plugin = genkitPluginV2({
    name: pluginName,
    init: () => given.map(([id, reranker]) => actionOf(id, reranker)),
    resolve: (actionType, name) => {
      if (actionType !== "reranker") return undefined;
      const id = name.startsWith(`${pluginName}/`) ? name.slice(pluginName.length + 1) : name;
      const reranker = opened.get(id) ?? lazyReranker(id, opening);
      opened.set(id, reranker);
      if (isDisposed) void reranker.dispose();
      return actionOf(id, reranker);
    },
  });
  const dispose = async (): Promise<void> => {
    isDisposed = true;
    await Promise.all([...opened.values()].map((reranker) => reranker.dispose()));
  };
  return Object.assign(plugin, { dispose, [Symbol.asyncDispose]: dispose });
}
