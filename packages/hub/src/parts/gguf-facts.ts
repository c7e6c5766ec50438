import { type CrossrankJson, ModelProfileError, type TemplatePiece } from "@crossrank/core";
import type { GgufHeader } from "@crossrank/formats/gguf";
import type { TokenizerJson } from "@crossrank/formats/tokenizer";

/** llama.cpp's architectures, and the `model_type` that each is, by the kind of its tokenizer where there are several. */
const modelTypes: Readonly<Record<string, string | Readonly<Record<string, string>>>> = {
  bert: { bert: "bert", t5: "xlm-roberta", gpt2: "roberta" },
  "modern-bert": "modernbert",
  qwen2: "qwen2",
  qwen3: "qwen3",
  gemma: "gemma",
  gemma2: "gemma2",
  gemma3: "gemma3_text",
};

/** Architectures of llama.cpp that are read with no base: what a model of one is, by how the name begins. */
const others: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^t5/, "an encoder-decoder, which answers with a word that its decoder writes"],
  [/^(?:qwen\d*vl|clip|mtmd|cogvlm|paligemma)/, "a vision model, of images and text"],
  [/^(?:mamba|rwkv|arwkv)/, "a recurrent model, whose state llama.cpp keeps in place of keys and values"],
];

/** `enum llama_pooling_type` of llama.cpp. */
const rankPooling = 4;

/**
 * A profile read out of a GGUF's metadata, for a file that stands alone.
 *
 * @throws {ModelProfileError} naming what the metadata do not hold.
 */
export function profileOfGguf(
  model: string,
  file: string,
  { metadata, tensors }: Pick<GgufHeader, "metadata" | "tensors">,
  tokenizer: TokenizerJson,
): CrossrankJson {
  const refuse = (
    problem: string,
    fix = "Name the model that it was made from with the option `base`, e.g. owner/name",
  ): ModelProfileError => new ModelProfileError({ model, file, problem, fix });
  const text = (key: string): string | undefined => {
    const value = metadata.get(key);
    return typeof value === "string" ? value : undefined;
  };
  const count = (key: string): number | undefined => {
    const value = metadata.get(key);
    return typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : undefined;
  };

  // A file that crossrank wrote holds the whole profile. Core checks it as it checks a crossrank.json.
  const own = text("crossrank.profile");
  if (own !== undefined && metadata.get("crossrank.version") === 1) {
    try {
      return JSON.parse(own) as CrossrankJson;
    } catch {
      throw refuse('its "crossrank.profile" is no JSON');
    }
  }

  const architecture = text("general.architecture") ?? "";
  const known = Object.hasOwn(modelTypes, architecture) ? modelTypes[architecture] : undefined;
  const tokenizerKind = text("tokenizer.ggml.model") ?? "";
  const modelType = typeof known === "object" ? known[tokenizerKind] : known;
  if (modelType === undefined) {
    const [, what] = others.find(([pattern]) => pattern.test(architecture)) ?? [];
    if (what !== undefined) {
      throw refuse(
        `its architecture is ${JSON.stringify(architecture.slice(0, 40))}: it is ${what}`,
        "Choose a reranker of another kind",
      );
    }
    throw refuse(
      `its architecture is ${JSON.stringify(architecture.slice(0, 40))} with a tokenizer of the kind ${JSON.stringify(tokenizerKind.slice(0, 40))}, and nothing says what model that is`,
    );
  }
  const maxLength = count(`${architecture}.context_length`);
  if (maxLength === undefined || maxLength === 0) {
    throw refuse(`its metadata have no "${architecture}.context_length", the longest sequence`);
  }
  const pooling = count(`${architecture}.pooling_type`);
  const labels = metadata.get(`${architecture}.classifier.output_labels`);
  const answers = typeof labels === "object" ? labels.strings() : [];
  const common = {
    specificationVersion: "1",
    architecture: modelType,
    maxLength,
    paddingId: count("tokenizer.ggml.padding_token_id") ?? 0,
    activation: "sigmoid",
  } as const;

  if (architecture === "bert" || architecture === "modern-bert") {
    // The converter writes no pooling for a model with a classifier: its head is what says that it ranks.
    const ranks = pooling === rankPooling || (!pooling && tensors.has("cls.output.weight"));
    if (!ranks) {
      throw refuse(
        !pooling
          ? `it has no classification head (cls.output.weight) and its metadata have no "${architecture}.pooling_type", so that nothing says what it is for`
          : "it makes vectors of texts, and its metadata do not say which prompts go before a query and a document",
      );
    }
    if (answers.length > 1) {
      throw refuse(
        `its classifier has ${answers.length} classes, and nothing says which of them means relevant`,
      );
    }
    return {
      ...common,
      family: "cross-encoder",
      head: { kind: "logit" },
      // WordPiece's models have segments; a usual file of one is refused by its backend for the want of them.
      readsSegments: tokenizerKind === "bert",
    };
  }

  const template = text("tokenizer.chat_template.rerank");
  if (template === undefined) {
    throw refuse(
      'its metadata have no "tokenizer.chat_template.rerank", so that nothing says how query and document become a prompt',
    );
  }
  const ids = answers.map((answer) => idOf(tokenizer, answer));
  const [positive, negative] = ids;
  if (answers.length !== 2 || answers[0] !== "yes" || answers[1] !== "no") {
    throw refuse(
      `its "${architecture}.classifier.output_labels" are ${answers.length === 0 ? "missing" : JSON.stringify(answers.slice(0, 4))}, and crossrank knows "yes" and "no"`,
    );
  }
  if (positive === undefined || negative === undefined) {
    throw refuse('its vocabulary has no token "yes" or no token "no"');
  }
  return {
    ...common,
    family: "causal-lm",
    head: { kind: "answer-tokens", positive, negative },
    readsSegments: false,
    pairTemplate: promptPieces(template, tokenizer, refuse),
  };
}

function idOf(tokenizer: TokenizerJson, token: string): number | undefined {
  const vocabulary = tokenizer.model["vocab"];
  if (typeof vocabulary !== "object" || vocabulary === null || !Object.hasOwn(vocabulary, token))
    return undefined;
  return (vocabulary as Record<string, number>)[token];
}

/**
 * llama.cpp's template of a reranker's prompt: text with {query} and {document} in it. What spells a special token is
 * that token.
 */
function promptPieces(
  template: string,
  tokenizer: TokenizerJson,
  refuse: (problem: string) => Error,
): TemplatePiece[] {
  if (/\{[{%]/.test(template)) {
    throw refuse(
      'its "tokenizer.chat_template.rerank" is a program, and crossrank reads text with {query} and {document}',
    );
  }
  const specials = tokenizer.added_tokens.filter(({ content }) => content !== "");
  const pieces: TemplatePiece[] = [];
  const put = (literal: string): void => {
    if (literal !== "") pieces.push({ literal, segment: 0 });
  };
  let literal = "";
  for (let at = 0; at < template.length; ) {
    const slot = (["query", "document"] as const).find((name) => template.startsWith(`{${name}}`, at));
    const special = specials
      .filter(({ content }) => template.startsWith(content, at))
      .sort((a, b) => b.content.length - a.content.length)[0];
    if (slot === undefined && special === undefined) {
      literal += template[at] as string;
      at += 1;
      continue;
    }
    put(literal);
    literal = "";
    if (slot !== undefined) {
      pieces.push({ text: slot, segment: 0 });
      at += slot.length + 2;
    } else if (special !== undefined) {
      pieces.push({ token: special.content, id: special.id, segment: 0 });
      at += special.content.length;
    }
  }
  put(literal);
  const slots = pieces.flatMap((piece) => ("text" in piece ? [piece.text] : []));
  if (slots.length !== 2 || new Set(slots).size !== 2) {
    throw refuse('its "tokenizer.chat_template.rerank" does not have {query} once and {document} once');
  }
  return pieces;
}
