import type { ModelProfile, TemplatePiece } from "@crossrank/core";
import type { MetadataValue } from "@crossrank/formats/gguf";
import { UnsupportedConversionError } from "../errors.js";
import { bool, text, uint32 } from "./plan.js";
import type { TokenizerFile } from "./tokenizer-file.js";

/** llama.cpp's `llama_token_type`. */
const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface VocabularyRequest {
  readonly model: string;
  readonly profile: ModelProfile;
  readonly tokenizer: TokenizerFile;
  /** The sequences that the model sees. */
  readonly template: readonly TemplatePiece[];
  /** Rows of the source's embedding table. */
  readonly size: number;
  /** V, where the vocabulary is doubled: it is `size` then. */
  readonly segmentVocabulary: number | undefined;
  /** `bos_token_id` and `eos_token_id` of config.json, where the template has no such token. */
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly segmentRows: number | undefined;
  readonly ranksPrompts: boolean;
}

interface Token {
  text: string;
  type: number;
  score: number;
}

/**
 * The tokenizer as llama.cpp reads it (`llama_vocab::impl::load` in llama-vocab.cpp). crossrank tokenises by itself;
 * what it needs of this is that the file loads, that ids pass unchanged, and that no two tokens are spelt alike, for
 * that aborts the process. The ends of a sequence are those of the model's template: a runtime that puts what is
 * missing at an end then finds it there.
 *
 * @throws {UnsupportedConversionError} where ids could not pass unchanged.
 */
export function vocabularyMetadata(request: VocabularyRequest): [string, MetadataValue][] {
  const kind = kindOf(request.tokenizer);
  const tokens = listTokens(request, kind);
  const ends = endsOf(request, kind);
  if (request.segmentVocabulary !== undefined) doubleTokens(tokens, request.segmentVocabulary, ends.eos);
  const unknown = unknownOf(request.tokenizer);
  const { paddingId } = request.profile;
  const mask = request.tokenizer.added_tokens.find(({ content }) => /^[[<]mask[\]>]$/i.test(content));
  const entries: [string, MetadataValue | undefined][] = [
    ["ggml.model", text(kind)],
    ["ggml.pre", text(kind === "gpt2" ? preTokenizerOf(request.profile) : "default")],
    ["ggml.tokens", { type: "string[]", value: uniqueTexts(tokens) }],
    ["ggml.token_type", { type: "int32[]", value: tokens.map(({ type }) => type) }],
    ...kindEntries(kind, request.tokenizer, tokens),
    ["ggml.token_type_count", optional(request.segmentRows)],
    ["ggml.bos_token_id", optional(ends.bos)],
    ["ggml.eos_token_id", optional(ends.eos)],
    ["ggml.seperator_token_id", optional(ends.separator)],
    ["ggml.padding_token_id", optional(paddingId < request.size ? paddingId : undefined)],
    ["ggml.unknown_token_id", optional(unknown)],
    ["ggml.mask_token_id", optional(mask?.id)],
    ["ggml.add_bos_token", bool(ends.addsBos)],
    ["ggml.add_eos_token", bool(ends.addsEos)],
    ["ggml.add_sep_token", bool(ends.addsSeparator)],
  ];
  if (request.ranksPrompts) {
    entries.push(["chat_templates", { type: "string[]", value: ["rerank"] }]);
    entries.push(["chat_template.rerank", text(rankTemplate(request.profile))]);
  }
  return entries.flatMap(([key, value]) => (value === undefined ? [] : [[`tokenizer.${key}`, value]]));
}

function optional(id: number | undefined): MetadataValue | undefined {
  return id === undefined || id < 0 ? undefined : uint32(id);
}

type VocabularyKind = "bert" | "t5" | "gpt2" | "llama";

/** llama.cpp's names: WordPiece, Unigram, byte-level BPE, BPE over characters with ▁ for a space. */
function kindOf({ model, steps }: TokenizerFile): VocabularyKind {
  if (model.type === "WordPiece") return "bert";
  if (model.type === "Unigram") return "t5";
  return steps.has("ByteLevel") ? "gpt2" : "llama";
}

/** By architecture: it only matters to programs that let llama.cpp tokenise. */
function preTokenizerOf({ architecture }: ModelProfile): string {
  if (architecture === "qwen2" || architecture === "qwen3") return "qwen2";
  if (architecture === "modernbert") return "modern-bert";
  return architecture === "roberta" || architecture === "xlm-roberta" ? "roberta-bpe" : "gpt-2";
}

/** What a kind of tokenizer needs beside its tokens. */
function kindEntries(
  kind: VocabularyKind,
  tokenizer: TokenizerFile,
  tokens: readonly Token[],
): [string, MetadataValue][] {
  switch (kind) {
    case "bert": {
      const normalizer = tokenizer.steps.get("BertNormalizer");
      const lowercase = normalizer?.["lowercase"] === true;
      // BertNormalizer: null strips accents with the case.
      const strip = normalizer?.["strip_accents"] ?? lowercase;
      return [
        ["ggml.normalizer.lowercase", bool(lowercase)],
        ["ggml.normalizer.strip_accents", bool(strip === true)],
      ];
    }
    case "gpt2":
      return [["ggml.merges", { type: "string[]", value: mergesOf(tokenizer) }]];
    case "t5":
    case "llama": {
      const entries: [string, MetadataValue][] = [
        ["ggml.scores", { type: "float32[]", value: tokens.map(({ score }) => score) }],
        ["ggml.add_space_prefix", bool(putsSpaceFirst(tokenizer))],
        ["ggml.remove_extra_whitespaces", bool(kind === "t5")],
      ];
      const charsmap = tokenizer.steps.get("Precompiled")?.["precompiled_charsmap"];
      if (typeof charsmap === "string" && charsmap !== "") {
        const value = Buffer.from(charsmap, "base64");
        entries.push(["ggml.precompiled_charsmap", { type: "uint8[]", value }]);
      }
      return entries;
    }
  }
}

function listTokens({ model, tokenizer, size }: VocabularyRequest, kind: VocabularyKind): Token[] {
  const tokens: Token[] = Array.from({ length: size }, (_, id) => ({
    text: `[PAD${id}]`,
    type: tokenTypes.unused,
    score: -10000,
  }));
  const set = (id: number, token: Token): void => {
    if (id >= size)
      throw new UnsupportedConversionError({
        model,
        format: "gguf",
        problem: `its tokenizer.json has token ${id} (${JSON.stringify(token.text)}), and its embedding table ${size} rows`,
        fix: "Take the token out of tokenizer.json, or the model whose table has it",
      });
    tokens[id] = token;
  };
  const { model: file, added_tokens: added } = tokenizer;
  const unknown = unknownOf(tokenizer);
  const typeOf = (id: number, spelling: string): number => {
    if (id === unknown) return tokenTypes.unknown;
    const isByte = file.type !== "WordPiece" && file.byte_fallback && /^<0x[0-9A-F]{2}>$/.test(spelling);
    return isByte ? tokenTypes.byte : tokenTypes.normal;
  };
  if (file.type === "Unigram") {
    for (const [id, [spelling, score]] of file.vocab.entries())
      set(id, { text: spelling, type: typeOf(id, spelling), score });
  } else {
    const scores = file.type === "BPE" && kind === "llama" ? mergeScores(file.merges) : undefined;
    for (const [spelling, id] of Object.entries(file.vocab)) {
      const shown =
        file.type === "WordPiece" ? phantomSpace(spelling, file.continuing_subword_prefix) : spelling;
      set(id, { text: shown, type: typeOf(id, spelling), score: scores?.get(spelling) ?? -10000 });
    }
  }
  for (const { id, content, special } of added) {
    const type = special ? tokenTypes.control : tokenTypes.userDefined;
    set(id, { text: content, type: id === unknown && kind !== "gpt2" ? tokenTypes.unknown : type, score: 0 });
  }
  return tokens;
}

/** llama.cpp spells WordPiece as SentencePiece does: ▁ before a word, nothing before the rest of one. */
function phantomSpace(spelling: string, continuation: string): string {
  return spelling.startsWith(continuation) ? spelling.slice(continuation.length) : `▁${spelling}`;
}

/** SentencePiece's BPE joins the pair whose token scores highest; merges come best first. */
function mergeScores(merges: readonly (string | readonly [string, string])[]): Map<string, number> {
  const scores = new Map<string, number>();
  for (const [rank, merge] of merges.entries()) {
    const joined = typeof merge === "string" ? merge.replace(" ", "") : merge.join("");
    if (!scores.has(joined)) scores.set(joined, -rank);
  }
  return scores;
}

function mergesOf({ model }: TokenizerFile): string[] {
  if (model.type !== "BPE") return [];
  return model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
}

function unknownOf({ model, added_tokens: added }: TokenizerFile): number | undefined {
  if (model.type === "Unigram") return model.unk_id ?? undefined;
  const spelling = model.unk_token ?? undefined;
  if (spelling === undefined) return undefined;
  return added.find(({ content }) => content === spelling)?.id ?? model.vocab[spelling];
}

/** Whether a text is tokenised as if a space stood before it. */
function putsSpaceFirst({ steps }: TokenizerFile): boolean {
  const step = steps.get("Metaspace");
  if (step === undefined) return steps.has("Prepend");
  return typeof step["prepend_scheme"] === "string"
    ? step["prepend_scheme"] !== "never"
    : step["add_prefix_space"] !== false;
}

interface Ends {
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly separator: number | undefined;
  /** What llama.cpp puts around a text by itself. */
  readonly addsBos: boolean;
  readonly addsEos: boolean;
  readonly addsSeparator: boolean;
}

/** Ids as they are fed: a token of segment 1 has its second row. */
function endsOf(request: VocabularyRequest, kind: VocabularyKind): Ends {
  const { template, profile, segmentVocabulary } = request;
  const pieces = template.filter((piece) => !("split" in piece));
  const idOf = (piece: TemplatePiece | undefined): number | undefined =>
    piece !== undefined && "token" in piece ? piece.id + piece.segment * (segmentVocabulary ?? 0) : undefined;
  const [first, last] = [idOf(pieces[0]), idOf(pieces.at(-1))];
  // These two put their end tokens whatever the flags say (node-llama-cpp's utils/tokenizerUtils.ts).
  if ((kind === "bert" || kind === "t5") && (first === undefined || last === undefined))
    throw new UnsupportedConversionError({
      model: request.model,
      format: "gguf",
      problem: "its sequences do not begin and end with special tokens, which llama.cpp would add",
      fix: "Use the ONNX backend for this model",
    });
  // A prompt begins and ends with its own wording; whether it has a begin token too, config.json knows.
  if (profile.family === "causal-lm") {
    const bos = request.bos ?? first;
    const addsBos = first !== undefined && first === bos;
    const eos = request.eos ?? last;
    return { bos, eos, separator: undefined, addsBos, addsEos: false, addsSeparator: false };
  }
  const [firstText, secondText] = pieces.flatMap((piece, index) => ("text" in piece ? [index] : []));
  const between =
    firstText === undefined || secondText === undefined
      ? []
      : pieces.slice(firstText + 1, secondText).flatMap((piece) => idOf(piece) ?? []);
  const isWordPiece = kind === "bert";
  return {
    bos: first ?? request.bos,
    eos: last ?? request.eos,
    // llama.cpp's WordPiece ends in sep, and has no eos; its server joins a pair by eos, and by sep too if told so.
    separator: isWordPiece ? last : (between.at(-1) ?? last),
    addsBos: first !== undefined,
    addsEos: last !== undefined && !isWordPiece,
    addsSeparator: isWordPiece || between.length > 1,
  };
}

/**
 * The second half of a doubled vocabulary. Its spellings hold a space, which no WordPiece has, so that llama.cpp's own
 * tokenizer never finds them.
 */
function doubleTokens(tokens: Token[], size: number, eos: number | undefined): void {
  for (let id = 0; id < size; id++) {
    const type = size + id === eos ? tokenTypes.control : tokenTypes.unused;
    tokens.push({ text: `[segment 1: ${id}]`, type, score: -10000 });
  }
}

/**
 * Spellings as the file can hold them, each once: llama.cpp reads them up to a NUL, takes an empty one for
 * `[EMPTY_<id>]`, and asserts that all differ.
 */
function uniqueTexts(tokens: readonly Token[]): string[] {
  const taken = new Set<string>();
  return tokens.map(({ text: spelling }, id) => {
    let unique = spelling.toWellFormed();
    if (unique === "" || unique.includes("\0")) unique = `[token ${id}]`;
    while (taken.has(unique)) unique = `[token ${id}: ${unique}]`;
    taken.add(unique);
    return unique;
  });
}

/** llama.cpp's rank templates have `{query}` and `{document}` for the texts. */
function rankTemplate(profile: ModelProfile): string {
  const { instruction, instructedTemplate, pairTemplate, queryPrefix, documentPrefix } = profile;
  const instructed = instruction !== undefined && instruction !== "" && instructedTemplate !== undefined;
  const texts = { query: `${queryPrefix}{query}`, document: `${documentPrefix}{document}`, instruction };
  return (instructed ? instructedTemplate : pairTemplate)
    .map((piece) => {
      if ("token" in piece) return piece.token;
      if ("literal" in piece) return piece.literal;
      return "text" in piece ? (texts[piece.text] ?? "") : "";
    })
    .join("");
}
