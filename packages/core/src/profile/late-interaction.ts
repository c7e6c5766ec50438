import * as z from "zod/mini";
import type { Head, HeadModule, LateTemplate, TemplatePiece } from "../contract/model-profile.js";
import type { ModelReader } from "../files/model-reader.js";
import { artifactMetadata, type LateFacts, punctuation, word } from "./late-facts.js";
import { leftSide } from "./left-side.js";
import { positionCount } from "./ranges.js";
import type { TokenizerConfig, TokenizerJson } from "./reading.js";

const metadataSchema = z.object({
  query_token_id: z._default(word, "[unused0]"),
  doc_token_id: z._default(word, "[unused1]"),
  query_maxlen: positionCount,
  doc_maxlen: positionCount,
  attend_to_mask_tokens: z._default(z.boolean(), false),
  mask_punctuation: z._default(z.boolean(), true),
  similarity: z._default(z.string(), "cosine"),
  interaction: z._default(z.string(), "colbert"),
});

/**
 * A checkpoint of the original ColBERT (`HF_ColBERT`): BERT's weights and a projection without bias in one file, and
 * `artifact.metadata` beside it (PyLate 1.6.0, `ColBERT.__init__`; colbert-ai 0.2, `DocSettings`, `QuerySettings`).
 */
export async function readOriginalColbert(
  reader: ModelReader,
): Promise<{ readonly late: LateFacts; readonly head: Head }> {
  const metadata = await reader.required(
    artifactMetadata,
    metadataSchema,
    "It says how long queries and documents are: take it from the model's repository, or give family, head, activation and lateTemplate in a crossrank.json",
  );
  const { similarity, interaction } = metadata;
  if (similarity !== "cosine" || interaction !== "colbert") {
    const [name, value] = similarity === "cosine" ? ["interaction", interaction] : ["similarity", similarity];
    throw reader.problem(
      artifactMetadata,
      `${name} is ${JSON.stringify(value.slice(0, 60))}, which is not computed`,
      "Choose a model whose tokens are compared by cosine, as ColBERT does",
    );
  }
  return {
    late: {
      queryMarker: metadata.query_token_id,
      documentMarker: metadata.doc_token_id,
      queryLength: metadata.query_maxlen,
      documentLength: metadata.doc_maxlen,
      expands: true,
      attends: metadata.attend_to_mask_tokens,
      skippedWords: metadata.mask_punctuation ? punctuation : [],
      file: artifactMetadata,
    },
    head: { kind: "max-sim", modules: [originalProjection] },
  };
}

const originalProjection: HeadModule = {
  kind: "dense",
  file: "model.safetensors",
  weight: "linear.weight",
  activation: "identity",
};

/**
 * The sequences: the marker stands behind the template's first token, whatever that is, and white space at both ends of
 * a text goes (sentence-transformers 5.3.0, `Transformer.tokenize`).
 *
 * @param single the tokenizer's template of one text; undefined where it has none.
 * @throws {ModelProfileError} where a marker is no token, or would stand inside the text.
 */
export async function lateTemplateOf(
  reader: ModelReader,
  facts: LateFacts,
  tokenizer: {
    readonly json: TokenizerJson;
    readonly config: TokenizerConfig;
    readonly single: readonly TemplatePiece[] | undefined;
  },
): Promise<LateTemplate> {
  const idOf = tokenIds(tokenizer.json);
  const named = await namedTokens(reader, tokenizer.config);
  const { single = [{ text: "query", segment: 0 }] } = tokenizer;
  const marked = (marker: string, text: "query" | "document", field: string): TemplatePiece[] => {
    const template = single.map(
      (piece): TemplatePiece => ("text" in piece ? { ...piece, text, trim: true } : piece),
    );
    if (marker === "") return template;
    const id = idOf(marker);
    const spelled = `${field} ${JSON.stringify(marker.slice(0, 60))}`;
    const [first] = template;
    if (id === undefined || first === undefined || !("id" in first)) {
      throw reader.problem(
        facts.file,
        id === undefined
          ? `${spelled} is no token of tokenizer.json, and a late interaction model (ColBERT) marks its texts by it`
          : `${spelled} stands behind the first token of a late interaction model (ColBERT), and the tokenizer puts none before a text`,
        "Take all files from the same revision of the model, or give lateTemplate in a crossrank.json",
      );
    }
    return [first, { token: marker, id, segment: 0 }, ...template.slice(1)];
  };
  const isOriginal = facts.file === artifactMetadata;
  const template: LateTemplate = {
    query: marked(facts.queryMarker, "query", isOriginal ? "query_token_id" : "query_prefix"),
    document: marked(facts.documentMarker, "document", isOriginal ? "doc_token_id" : "document_prefix"),
    maxQueryTokens: facts.queryLength,
    maxDocumentTokens: facts.documentLength,
    skipped: skippedIds(facts.skippedWords, tokenizer.json, named("unk_token"), idOf),
  };
  requireRight(reader, tokenizer, facts.expands);
  if (!facts.expands) return template;
  const token = expansionId(tokenizer.json, named, idOf);
  if (token === undefined) {
    throw reader.problem(
      facts.file,
      "queries are filled up with the mask token, and the tokenizer's files name neither that nor an end token",
      "Give lateTemplate in a crossrank.json",
    );
  }
  return { ...template, expansion: { token, attended: facts.attends } };
}

/** Cut at their left, texts would be others; filled up there, the marker would stand behind the expansion's first token. */
function requireRight(
  reader: ModelReader,
  tokenizer: { readonly json: TokenizerJson; readonly config: TokenizerConfig },
  expands: boolean,
): void {
  const rules = [
    { name: "truncation_side", does: "texts are cut at their left", matters: true },
    { name: "padding_side", does: "queries are filled up at their left", matters: expands },
  ] as const;
  for (const { name, does, matters } of rules) {
    const found = matters ? leftSide(tokenizer, name) : undefined;
    if (found === undefined) continue;
    throw reader.problem(
      found.file,
      `${found.entry} is ${JSON.stringify(found.side)}: ${does}, which is not computed for a late interaction model (ColBERT)`,
      `Set ${name} to "right" in tokenizer_config.json if the model was trained so, or choose another model`,
    );
  }
}

/**
 * A word that is no token is the unknown token to transformers, and that is then what is skipped.
 *
 * @param named the unknown token that the tokenizer's settings name. It stands where tokenizer.json's model has none
 * (transformers 5.3.0).
 */
function skippedIds(
  words: readonly string[],
  { model }: TokenizerJson,
  named: string | undefined,
  idOf: (token: string) => number | undefined,
): number[] {
  const { unk_token: token, unk_id: place } = model;
  const ofModel = typeof token === "string" ? idOf(token) : typeof place === "number" ? place : undefined;
  const unknown = ofModel ?? (named === undefined ? undefined : idOf(named));
  const ids = words.map((one) => idOf(one) ?? unknown);
  return [...new Set(ids.filter((id) => id !== undefined))].sort((a, b) => a - b);
}

/** The tokens that tokenizer_config.json and special_tokens_map.json name, by entry. */
async function namedTokens(
  reader: ModelReader,
  config: TokenizerConfig,
): Promise<(entry: string) => string | undefined> {
  const map = (await reader.optional("special_tokens_map.json", z.looseObject({}))) ?? {};
  return (entry) => [config[entry], map[entry]].map(spelling).find((token) => token !== undefined);
}

/** The mask token, of a tokenizer without one its end token (PyLate 1.6.0, `ColBERT.__init__`). */
function expansionId(
  json: TokenizerJson,
  named: (entry: string) => string | undefined,
  idOf: (token: string) => number | undefined,
): number | undefined {
  // Where no file names it, it is the default of the tokenizer's class, which such a special token shows.
  const usual = (json.added_tokens ?? []).find(
    ({ content, special }) => special === true && (content === "[MASK]" || content === "<mask>"),
  );
  const mask = named("mask_token") ?? usual?.content;
  const token = mask ?? named("eos_token") ?? named("pad_token");
  return token === undefined ? undefined : idOf(token);
}

function spelling(token: unknown): string | undefined {
  if (typeof token === "string") return token;
  const content: unknown =
    typeof token === "object" && token !== null ? Reflect.get(token, "content") : undefined;
  return typeof content === "string" ? content : undefined;
}

/** As transformers' `convert_tokens_to_ids`, without the unknown token. */
function tokenIds({ model, added_tokens: added }: TokenizerJson): (token: string) => number | undefined {
  const { vocab } = model;
  const ofAdded = new Map((added ?? []).map(({ content, id }) => [content, id]));
  const list = Array.isArray(vocab) ? (vocab as readonly unknown[]) : undefined;
  const ofList = new Map(list?.map((entry, id) => [Array.isArray(entry) ? String(entry[0]) : "", id]));
  const table = list === undefined && typeof vocab === "object" && vocab !== null ? vocab : {};
  return (token) => {
    const found: unknown = Object.hasOwn(table, token) ? Reflect.get(table, token) : undefined;
    return ofAdded.get(token) ?? ofList.get(token) ?? (typeof found === "number" ? found : undefined);
  };
}
