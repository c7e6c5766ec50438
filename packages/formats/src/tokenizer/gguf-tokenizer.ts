import type { GgufValue } from "../gguf/index.js";
import { qwen2Pattern, splitIntoBytes } from "./build-tokenizer.js";
import { TokenizerFormatError } from "./errors.js";
import { mergesOf, pieceTypes } from "./sentence-piece.js";
import {
  type AddedTokenJson,
  bertNormalizer,
  byteLevel,
  metaspace,
  replace,
  sentencePieceDecoder,
  spaceMark,
  type TemplatePart,
  type TemplateToken,
  type TokenizerJson,
  type TokenizerStep,
  templateProcessing,
  wordPieceDecoder,
} from "./tokenizer-json.js";

/** What a tokenizer's ids come from, in a GGUF's metadata. */
interface Vocabulary {
  readonly tokens: readonly string[];
  /** llama.cpp's `llama_token_type` of each token, which are SentencePiece's types. */
  readonly types: readonly number[];
  readonly metadata: ReadonlyMap<string, GgufValue>;
}

type Parts = Pick<TokenizerJson, "normalizer" | "pre_tokenizer" | "decoder" | "model">;

/**
 * tokenizer.json made of a GGUF's own metadata: the same ids as the tokenizer that the file was converted with
 * (lab/tokenizers/gguf-tokenizers.py and the tests hold them against each other). What the metadata do not say is
 * read from the vocabulary where it leaves one answer, and refused elsewhere.
 *
 * @throws {TokenizerFormatError} naming what is missing or not known.
 */
export function tokenizerOfGguf(metadata: ReadonlyMap<string, GgufValue>): TokenizerJson {
  const kind = textOf(metadata, "model");
  if (kind === undefined) throw new TokenizerFormatError(`its metadata have no "tokenizer.ggml.model"`);
  const all = listOf(metadata, "tokens", "strings");
  const types = listOf(metadata, "token_type", "numbers");
  if (all === undefined || types === undefined) {
    throw new TokenizerFormatError(
      `its metadata have no "tokenizer.ggml.${all === undefined ? "tokens" : "token_type"}"`,
    );
  }
  if (all.length !== types.length) {
    throw new TokenizerFormatError(`it has ${all.length} tokens and ${types.length} types of tokens`);
  }
  // A vocabulary that crossrank doubled has each token a second time, for the second segment.
  const single = numberOf(metadata, "crossrank.segment_vocabulary") ?? all.length;
  const vocabulary = {
    // The converter writes a space for the ▁ of a piece that SentencePiece's trainer was given.
    tokens: all
      .slice(0, single)
      .map((token, id) =>
        kind === "llama" && types[id] === pieceTypes.userDefined ? token.replaceAll(" ", spaceMark) : token,
      ),
    types,
    metadata,
  };
  const parts = partsOf(kind, vocabulary);
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    ...parts,
    post_processor: postProcessor(kind, vocabulary, single),
  };
}

function partsOf(kind: string, vocabulary: Vocabulary): Parts {
  switch (kind) {
    case "bert":
      return wordPieces(vocabulary);
    case "t5":
      return unigram(vocabulary);
    case "gpt2":
      return bytePairs(vocabulary);
    case "llama":
      return sentencePieceBpe(vocabulary);
    default:
      throw new TokenizerFormatError(
        `its tokenizer is "${kind.slice(0, 40)}", and crossrank reads bert, t5, gpt2 and llama from a GGUF`,
      );
  }
}

function wordPieces(vocabulary: Vocabulary): Parts {
  const { tokens, types, metadata } = vocabulary;
  const pieces = new Map<string, number>();
  for (const [id, token] of tokens.entries()) pieces.set(wordPieceOf(token, types[id]), id);
  const unknown = idOf(metadata, "unknown_token_id", tokens.length);
  if (unknown === undefined) throw missing("unknown_token_id");
  return {
    normalizer: wordPieceNormalizer(vocabulary),
    pre_tokenizer: { type: "BertPreTokenizer" },
    decoder: wordPieceDecoder,
    model: {
      type: "WordPiece",
      unk_token: wordPieceOf(tokens[unknown] as string, types[unknown]),
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(pieces),
    },
  };
}

/** The converter spells the first piece of a word with ▁, the rest of one without ##, and leaves [UNK] and its kind. */
function wordPieceOf(token: string, type: number | undefined): string {
  const plain = type === pieceTypes.control || type === pieceTypes.unknown || /^\[.*\]$/s.test(token);
  if (plain) return token;
  return token.startsWith(spaceMark) ? token.slice(1) : `##${token}`;
}

/**
 * What a WordPiece vocabulary was made of shows how its texts were written: one of lower-cased texts has no capital
 * letter, one of texts without accents has no letter with an accent, one of separated ideographs has no two in a piece.
 *
 * @throws {TokenizerFormatError} where the vocabulary leaves more than one answer.
 */
function wordPieceNormalizer({ tokens, types, metadata }: Vocabulary): TokenizerStep {
  const words = tokens
    .filter((token, id) => types[id] === pieceTypes.normal && !/^\[.*\]$/s.test(token))
    .map((token) => (token.startsWith(spaceMark) ? token.slice(1) : token));
  const cased = words.some((word) => word !== word.toLowerCase());
  const accented = words.some((word) => word !== word.normalize("NFD"));
  const handleChineseChars = !words.some((word) => /[\u4e00-\u9fff]{2}/u.test(word));
  const lowercase = boolOf(metadata, "normalizer.lowercase") ?? !cased;
  const stated = boolOf(metadata, "normalizer.strip_accents");
  if (stated === undefined && cased && !accented) {
    throw new TokenizerFormatError(
      "its vocabulary has capital letters and no accents, and its metadata do not say whether the tokenizer takes accents away (strip_accents)",
    );
  }
  return bertNormalizer({ lowercase, stripAccents: stated ?? (accented ? false : null), handleChineseChars });
}

function unigram(vocabulary: Vocabulary): Parts {
  const { tokens, metadata } = vocabulary;
  const scores = listOf(metadata, "scores", "numbers");
  if (scores === undefined) throw missing("scores");
  const unknown = unknownOf(vocabulary);
  const characterMap = listOf(metadata, "precompiled_charsmap", "numbers");
  if (characterMap === undefined || characterMap.length === 0) throw missing("precompiled_charsmap");
  if (boolOf(metadata, "add_space_prefix") === false) {
    throw new TokenizerFormatError(
      `its "tokenizer.ggml.add_space_prefix" is false, which no Unigram reranker's is`,
    );
  }
  const steps: TokenizerStep[] = [
    {
      type: "Precompiled",
      precompiled_charsmap: Buffer.from(Uint8Array.from(characterMap, (byte) => byte & 255)).toString(
        "base64",
      ),
    },
  ];
  if (boolOf(metadata, "remove_extra_whitespaces")) steps.push(replace({ Regex: " {2,}" }, " "));
  return {
    normalizer: { type: "Sequence", normalizers: steps },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [{ type: "WhitespaceSplit" }, metaspace("always")],
    },
    decoder: metaspace("always"),
    model: {
      type: "Unigram",
      unk_id: unknown,
      vocab: tokens.map((token, id) => [token, scores[id] ?? 0]),
      byte_fallback: false,
    },
  };
}

function unknownOf({ tokens, types, metadata }: Vocabulary): number {
  const id = idOf(metadata, "unknown_token_id", tokens.length) ?? types.indexOf(pieceTypes.unknown);
  if (id < 0) throw missing("unknown_token_id");
  return id;
}

/** llama.cpp's names for the way a text is cut before byte-level BPE, with what tokenizer.json says for it. */
const bytePairKinds: Readonly<Record<string, Pick<TokenizerJson, "normalizer" | "pre_tokenizer">>> = {
  "gpt-2": { normalizer: null, pre_tokenizer: byteLevel(false) },
  "roberta-bpe": { normalizer: null, pre_tokenizer: byteLevel(false) },
  "modern-bert": { normalizer: { type: "NFC" }, pre_tokenizer: byteLevel(false) },
  qwen2: { normalizer: { type: "NFC" }, pre_tokenizer: splitIntoBytes(qwen2Pattern) },
};

function bytePairs({ tokens, types, metadata }: Vocabulary): Parts {
  const pre = textOf(metadata, "pre");
  if (pre === undefined) throw missing("pre");
  const kind = Object.hasOwn(bytePairKinds, pre) ? bytePairKinds[pre] : undefined;
  if (kind === undefined) {
    throw new TokenizerFormatError(
      `its "tokenizer.ggml.pre" is "${pre.slice(0, 40)}", and crossrank knows ${Object.keys(bytePairKinds).join(", ")}`,
    );
  }
  const merges = listOf(metadata, "merges", "strings");
  if (merges === undefined) throw missing("merges");
  const vocab: Record<string, number> = Object.create(null) as Record<string, number>;
  // Tokens behind the last piece of text were added to the vocabulary, and are not of it.
  const end = types.findLastIndex((type, id) => id < tokens.length && isText(type)) + 1;
  for (const [id, token] of tokens.slice(0, end).entries()) vocab[token] = id;
  return {
    ...kind,
    decoder: byteLevel(true),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: merges.map((merge) => {
        const space = merge.indexOf(" ", 1);
        if (space < 0)
          throw new TokenizerFormatError(`its merge ${JSON.stringify(merge.slice(0, 40))} is no pair`);
        return [merge.slice(0, space), merge.slice(space + 1)];
      }),
    },
  };
}

function sentencePieceBpe(vocabulary: Vocabulary): Parts {
  const { tokens, types, metadata } = vocabulary;
  const scores = listOf(metadata, "scores", "numbers");
  if (scores === undefined) throw missing("scores");
  if (boolOf(metadata, "add_space_prefix") !== false) {
    throw new TokenizerFormatError(
      `its "tokenizer.ggml.add_space_prefix" is not false, and the metadata do not say whether a space is put before a text or before each of its parts (legacy)`,
    );
  }
  const unknown = unknownOf(vocabulary);
  // The score of a piece that the trainer was given is 0, and the converter loses it.
  const pieces = tokens.map(
    (token, id) => [token, types[id] === pieceTypes.userDefined ? 0 : (scores[id] ?? 0)] as const,
  );
  return {
    normalizer: replace({ String: " " }, spaceMark),
    pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false },
    decoder: sentencePieceDecoder(false),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: tokens[unknown],
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(pieces.map(([token], id) => [token, id])),
      merges: mergesOf(pieces),
    },
  };
}

/** Pieces that Gemma's tokenizer finds in a text, and that llama.cpp's converter takes for special by their looks. */
const gemmasPieces = /^(?:<mask>|<2mass>|\[@BOS@\]|<unused\d+>)$/;

/** Tokens that are found before all else. Those that end or fill a sequence are no text, whatever type a file says. */
function addedTokens({ tokens, types, metadata }: Vocabulary): AddedTokenJson[] {
  const named = new Set(
    ["bos", "eos", "unknown", "seperator", "padding", "cls", "mask"].map((name) =>
      idOf(metadata, `${name}_token_id`, tokens.length),
    ),
  );
  const isGemmas = textOf(metadata, "model") === "llama";
  return tokens.flatMap((content, id) => {
    const type = isGemmas && gemmasPieces.test(content) ? pieceTypes.userDefined : types[id];
    const special = type === pieceTypes.control || type === pieceTypes.unknown || named.has(id);
    if (!special && type !== pieceTypes.userDefined) return [];
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    return [{ id, content, ...flags, special }];
  });
}

/** Rows without a token of the tokenizer's, such as [PAD151669], are of the type "unused". */
function isText(type: number | undefined): boolean {
  return type === pieceTypes.normal || type === pieceTypes.byte;
}

function postProcessor(kind: string, vocabulary: Vocabulary, single: number): TokenizerStep | null {
  const { tokens, metadata } = vocabulary;
  const architecture = metadata.get("general.architecture");
  const named = (...names: string[]): TemplateToken | undefined => {
    for (const name of names) {
      const id = idOf(metadata, `${name}_token_id`, tokens.length, single);
      if (id !== undefined) return { content: tokens[id] as string, id };
    }
    return undefined;
  };
  const begin = named("cls", "bos");
  const end = named("seperator", "eos");
  if (architecture === "bert" || architecture === "modern-bert") {
    if (begin === undefined || end === undefined)
      throw missing(begin === undefined ? "bos_token_id" : "eos_token_id");
    const segment = kind === "bert" ? 1 : 0;
    const middle: TemplatePart[] =
      kind === "bert" || architecture === "modern-bert"
        ? [[end, 0]]
        : [
            [end, 0],
            [end, 0],
          ];
    return templateProcessing(
      [
        [begin, 0],
        ["A", 0],
        [end, 0],
      ],
      [[begin, 0], ["A", 0], ...middle, ["B", segment], [end, segment]],
    );
  }
  const bos = boolOf(metadata, "add_bos_token") === true ? named("bos") : undefined;
  const eos = boolOf(metadata, "add_eos_token") === true ? named("eos") : undefined;
  if (bos === undefined && eos === undefined) return null;
  const around = (piece: "A" | "B"): TemplatePart[] => [
    ...(bos === undefined ? [] : [[bos, 0] as const]),
    [piece, 0],
    ...(eos === undefined ? [] : [[eos, 0] as const]),
  ];
  return templateProcessing(around("A"), [...around("A"), ...around("B")]);
}

function missing(key: string): TokenizerFormatError {
  return new TokenizerFormatError(`its metadata have no "tokenizer.ggml.${key}"`);
}

function textOf(metadata: ReadonlyMap<string, GgufValue>, key: string): string | undefined {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  return typeof value === "string" ? value : undefined;
}

function boolOf(metadata: ReadonlyMap<string, GgufValue>, key: string): boolean | undefined {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  return typeof value === "boolean" ? value : undefined;
}

function numberOf(metadata: ReadonlyMap<string, GgufValue>, key: string): number | undefined {
  const value = metadata.get(key);
  return typeof value === "number" ? value : undefined;
}

/** @param single tokens of one segment, where the vocabulary is doubled: an id of the second half is its first one's. */
function idOf(
  metadata: ReadonlyMap<string, GgufValue>,
  key: string,
  size: number,
  single = size,
): number | undefined {
  const id = numberOf(metadata, `tokenizer.ggml.${key}`);
  if (id === undefined) return undefined;
  const own = id >= single && id < 2 * single ? id - single : id;
  if (!Number.isInteger(own) || own < 0 || own >= size) {
    throw new TokenizerFormatError(`its "tokenizer.ggml.${key}" is ${id}, and it has ${size} tokens`);
  }
  return own;
}

function listOf<Kind extends "strings" | "numbers">(
  metadata: ReadonlyMap<string, GgufValue>,
  key: string,
  kind: Kind,
): (Kind extends "strings" ? readonly string[] : readonly number[]) | undefined {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  if (typeof value !== "object") return undefined;
  return value[kind]() as never;
}
