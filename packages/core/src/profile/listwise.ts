import type { Head, ListTemplate, TemplatePiece } from "../contract/model-profile.js";
import { type AddedToken, piecesOfPrompt, standInFor } from "./prompt-template.js";

const query = standInFor("query");
const document = standInFor("document");

/**
 * jina-reranker-v3's prompt. Its class, `JinaForRanking`, holds it in code (`modeling.py`, `format_docs_prompts_func`
 * and `rerank`), and config.json names that class: the architecture sets the rule, as another sets its head.
 */
const prompt = {
  before:
    "<|im_start|>system\nYou are a search relevance expert who can determine a ranking of the passages based on how " +
    "relevant they are to the query. If the query is a question, how relevant a passage is depends on how well it " +
    "answers the question. If not, try to analyze the intent of the query and assess how well each passage satisfies " +
    "the intent. If an instruction is provided, you should follow the instruction when determining the ranking." +
    "<|im_end|>\n<|im_start|>user\nI will provide you with {count} passages, each indicated by a numerical " +
    `identifier. Rank the passages based on their relevance to query: ${query}\n`,
  item: `<passage id="{index}">\n${document}<|embed_token|>\n</passage>`,
  separator: "\n",
  after: `\n<query>\n${query}<|rerank_token|>\n</query><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n`,
};

/** @throws {Error} when the tokenizer lacks one of the markers. */
export function jinaForRanking(addedTokens: readonly AddedToken[]): {
  readonly template: ListTemplate;
  readonly head: Head;
} {
  const idOf = (token: string): number => {
    const id = addedTokens.find(({ content }) => content === token)?.id;
    if (id === undefined) throw new Error(`added_tokens has no ${token}`);
    return id;
  };
  const pieces = (text: string): TemplatePiece[] => piecesOfPrompt(text, addedTokens, false);
  return {
    template: {
      before: pieces(prompt.before),
      item: pieces(prompt.item),
      separator: pieces(prompt.separator),
      after: pieces(prompt.after),
      maxDocuments: 125,
      maxDocumentTokens: 2048,
      maxQueryTokens: 512,
    },
    head: {
      kind: "marker-cosine",
      query: idOf("<|rerank_token|>"),
      document: idOf("<|embed_token|>"),
      modules: [
        {
          kind: "dense",
          file: "model.safetensors",
          weight: "projector.0.weight",
          activation: "relu",
        },
        { kind: "dense", file: "model.safetensors", weight: "projector.2.weight", activation: "identity" },
      ],
    },
  };
}
