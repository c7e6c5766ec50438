import type { Metadata } from "./metadata.js";
import { Refusal } from "./refusal.js";

const mark = "▁";

/**
 * Of a thousand tokens so many may be spelled otherwise. Core makes the ids and llama.cpp never reads the spellings, so
 * what matters is that both vocabularies are one and the same; converters respell a token here and there.
 */
const respelledShare = 0.001;

/**
 * Holds the file's vocabulary against the model's tokenizer.json, whose ids it will be fed.
 *
 * @throws {Refusal} when they are of different models.
 */
export function judgeVocabulary(
  metadata: Metadata,
  {
    vocabulary,
    tokenizerJson,
    tokenizerSha256,
  }: {
    /** Tokens of one segment. */
    readonly vocabulary: number;
    readonly tokenizerJson: string | undefined;
    readonly tokenizerSha256: string | undefined;
  },
): void {
  if (tokenizerJson === undefined) return;
  // Made from this very file: nothing is left to compare.
  if (metadata.text("crossrank.tokenizer_sha256") === tokenizerSha256) return;
  const all = tokensOf(tokenizerJson);
  // A special token is made by a template alone, and whether that has one beyond the table is core's to check.
  const wanted = new Map([...all.tokens].filter(([id]) => id < vocabulary || !all.specials.has(id)));
  if (wanted.size === 0) return;
  const fix = "Put the GGUF file beside the model that it was made from";
  const highest = [...wanted.keys()].reduce((most, id) => Math.max(most, id), 0);
  if (highest >= vocabulary) {
    throw new Refusal(`it has ${vocabulary} tokens, and tokenizer.json has ids up to ${highest}`, fix);
  }
  const found = metadata.strings("tokenizer.ggml.tokens");
  const different = [...wanted].filter(([id, token]) => !isSpelling(found[id] ?? "", token));
  const [first] = different;
  if (first !== undefined && different.length > respelledShare * wanted.size) {
    const [id, token] = first;
    throw new Refusal(
      `${different.length} of its tokens are not those of tokenizer.json: ${id} is ${JSON.stringify(found[id])} and ` +
        `not ${JSON.stringify(token)}`,
      fix,
    );
  }
}

/** As llama.cpp's converter writes a token: WordPiece marks the beginning of words, not their continuation. */
function isSpelling(found: string, token: string): boolean {
  return (
    found === token ||
    found === mark + token ||
    (token.startsWith("##") && found === token.slice(2)) ||
    found === token.replaceAll(mark, " ")
  );
}

/** Tokens by id. Empty where tokenizer.json has another form than Rust's `tokenizers` 0.23 writes. */
function tokensOf(tokenizerJson: string): {
  readonly tokens: ReadonlyMap<number, string>;
  readonly specials: ReadonlySet<number>;
} {
  const tokens = new Map<number, string>();
  const specials = new Set<number>();
  const { model, added_tokens: added = [] } = JSON.parse(tokenizerJson) as {
    model?: { vocab?: unknown };
    added_tokens?: readonly { id?: unknown; content?: unknown; special?: unknown }[];
  };
  const put = (id: unknown, token: unknown): void => {
    if (typeof id === "number" && typeof token === "string") tokens.set(id, token);
  };
  const vocabulary = model?.vocab;
  if (Array.isArray(vocabulary)) {
    for (const [id, entry] of vocabulary.entries()) put(id, Array.isArray(entry) ? entry[0] : undefined);
  } else if (typeof vocabulary === "object" && vocabulary !== null) {
    for (const [token, id] of Object.entries(vocabulary)) put(id, token);
  }
  for (const { id, content, special } of added) {
    put(id, content);
    if (special === true && typeof id === "number") specials.add(id);
  }
  return { tokens, specials };
}
