import { TokenizerFormatError } from "./errors.js";
import { mergesOf, pieceTypes, readSentencePiece, type SentencePieceModel } from "./sentence-piece.js";
import {
  type SpecialTokenName,
  specialTokenNames,
  type TokenizerClass,
  tokenizerClassName,
  tokenizerClassNames,
  tokenizerClassOf,
} from "./tokenizer-class.js";
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

/** The files that a tokenizer is published as where there is no tokenizer.json. */
export interface TokenizerFiles {
  /** vocab.txt: a word piece a line. */
  readonly wordPieces?: string | undefined;
  /** vocab.json, parsed: ids by token. */
  readonly vocabulary?: unknown;
  /** merges.txt. */
  readonly merges?: string | undefined;
  /** sentencepiece.bpe.model, spiece.model, spm.model or tokenizer.model. */
  readonly sentencePiece?: Uint8Array | undefined;
  /** tokenizer_config.json, parsed. */
  readonly configuration?: unknown;
  /** special_tokens_map.json, parsed. */
  readonly specialTokens?: unknown;
  /** added_tokens.json, parsed: ids by token. */
  readonly addedTokens?: unknown;
  /** `model_type` of config.json, which decides the class where the configuration names none. */
  readonly modelType?: string | undefined;
}

/** Where a token is in the text that it is found in. */
type TokenFlags = Omit<AddedTokenJson, "id" | "content">;

interface NamedToken extends TokenFlags {
  readonly content: string;
}

type Settings = Readonly<Record<string, unknown>>;

/**
 * tokenizer.json as transformers makes it from the older files of a class: the same ids, which
 * lab/tokenizers/slow-tokenizers.py holds against transformers 4.57.6 and 5.24.0.
 *
 * @throws {TokenizerFormatError} where the class is not known here, a file is missing or damaged, or the ids would not
 *   be those of transformers.
 */
export function buildTokenizer(files: TokenizerFiles): TokenizerJson {
  const settings = asObject(files.configuration, "tokenizer_config.json") ?? {};
  const named = settings["tokenizer_class"];
  const name = tokenizerClassName(typeof named === "string" ? named : undefined, files.modelType);
  if (name === undefined) {
    throw new TokenizerFormatError(
      `neither tokenizer_config.json nor config.json (model_type ${files.modelType ?? "missing"}) says its class`,
    );
  }
  const kind = tokenizerClassOf(name);
  if (kind === undefined) {
    throw new TokenizerFormatError(
      `its class is ${name}, and only ${tokenizerClassNames.join(", ")} are read from these files, for transformers 4 and 5 agree on their ids`,
    );
  }
  const special = specialTokensOf(kind, settings, asObject(files.specialTokens, "special_tokens_map.json"));
  const base = modelOf(kind, files, settings, special);
  const added = addedTokensOf(base, special, settings, asObject(files.addedTokens, "added_tokens.json"));
  const ids = new Map([...base.ids, ...added.map(({ content, id }) => [content, id] as const)]);
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: base.normalizer,
    pre_tokenizer: base.preTokenizer,
    post_processor: postProcessorOf(kind, settings, special, ids),
    decoder: base.decoder,
    model: base.model,
  };
}

/** The model and the steps before it; `ids` are those of its vocabulary. */
interface BaseTokenizer {
  readonly model: TokenizerStep;
  readonly normalizer: TokenizerStep | null;
  readonly preTokenizer: TokenizerStep | null;
  readonly decoder: TokenizerStep;
  readonly ids: ReadonlyMap<string, number>;
  /** Tokens that the vocabulary's own file marks as such. */
  readonly marked: readonly { readonly content: string; readonly special: boolean }[];
}

type SpecialTokens = ReadonlyMap<SpecialTokenName | `additional ${number}`, NamedToken>;

function modelOf(
  kind: TokenizerClass,
  files: TokenizerFiles,
  settings: Settings,
  special: SpecialTokens,
): BaseTokenizer {
  switch (kind.kind) {
    case "word-pieces":
      return wordPieces(files, settings, special);
    case "byte-pairs":
      return bytePairs(kind, files, settings);
    default:
      return sentencePieces(kind.kind, files, settings);
  }
}

function wordPieces(files: TokenizerFiles, settings: Settings, special: SpecialTokens): BaseTokenizer {
  if (files.wordPieces === undefined) throw new TokenizerFormatError("vocab.txt is missing");
  const lines = files.wordPieces.replace(/^\ufeff/, "").split("\n");
  // The line break at the end ends a line and begins none.
  if (lines.at(-1) === "") lines.pop();
  const ids = new Map<string, number>();
  for (const [id, line] of lines.entries()) {
    const piece = line.replace(/\r$/, "");
    if (ids.has(piece)) {
      throw new TokenizerFormatError(
        `vocab.txt has ${JSON.stringify(piece)} twice, in lines ${(ids.get(piece) as number) + 1} and ${id + 1}`,
      );
    }
    ids.set(piece, id);
  }
  const unknown = special.get("unk_token")?.content;
  if (unknown === undefined || !ids.has(unknown)) {
    throw new TokenizerFormatError(`vocab.txt lacks the unknown token ${JSON.stringify(unknown ?? null)}`);
  }
  const stripAccents = settings["strip_accents"];
  return {
    model: {
      type: "WordPiece",
      unk_token: unknown,
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(ids),
    },
    normalizer: bertNormalizer({
      lowercase: flag(settings, "do_lower_case", true),
      stripAccents: typeof stripAccents === "boolean" ? stripAccents : null,
      handleChineseChars: flag(settings, "tokenize_chinese_chars", true),
    }),
    preTokenizer: { type: "BertPreTokenizer" },
    decoder: wordPieceDecoder,
    ids,
    marked: [],
  };
}

/** The pattern of transformers' Qwen2Tokenizer, and of Qwen's own tokenizer.json. */
export const qwen2Pattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The steps of byte-level BPE under a pattern of its own. */
export function splitIntoBytes(pattern: string, addPrefixSpace = false): TokenizerStep {
  return {
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
      byteLevel(addPrefixSpace, false),
    ],
  };
}

function bytePairs(kind: TokenizerClass, files: TokenizerFiles, settings: Settings): BaseTokenizer {
  const vocabulary = asObject(files.vocabulary, "vocab.json");
  if (vocabulary === undefined || files.merges === undefined) {
    throw new TokenizerFormatError(`${vocabulary === undefined ? "vocab.json" : "merges.txt"} is missing`);
  }
  const ids = new Map<string, number>();
  for (const [token, id] of Object.entries(vocabulary)) {
    if (!isId(id))
      throw new TokenizerFormatError(
        `vocab.json gives ${JSON.stringify(token)} the id ${JSON.stringify(id)}`,
      );
    ids.set(token, id);
  }
  const prefix = flag(settings, "add_prefix_space", false);
  return {
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(ids),
      merges: readMerges(files.merges, ids),
    },
    normalizer: kind.splits === "qwen2" ? { type: "NFC" } : null,
    preTokenizer: kind.splits === "qwen2" ? splitIntoBytes(qwen2Pattern, prefix) : byteLevel(prefix),
    decoder: byteLevel(true),
    ids,
    marked: [],
  };
}

/** The pairs of a merges.txt. The first line tells the version, and may be missing. */
function readMerges(text: string, ids: ReadonlyMap<string, number>): [string, string][] {
  const merges: [string, string][] = [];
  for (const [number, line] of text
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .entries()) {
    if (line === "" || (number === 0 && line.startsWith("#version"))) continue;
    const parts = line.split(" ");
    const [left, right] = parts;
    if (parts.length !== 2 || !left || !right) {
      throw new TokenizerFormatError(
        `line ${number + 1} of merges.txt is no pair: ${JSON.stringify(line.slice(0, 80))}`,
      );
    }
    for (const part of [left, right, left + right]) {
      if (!ids.has(part)) {
        throw new TokenizerFormatError(
          `line ${number + 1} of merges.txt needs ${JSON.stringify(part)}, which vocab.json lacks`,
        );
      }
    }
    merges.push([left, right]);
  }
  return merges;
}

function sentencePieces(
  kind: "xlm-roberta" | "camembert" | "llama",
  files: TokenizerFiles,
  settings: Settings,
): BaseTokenizer {
  if (files.sentencePiece === undefined) throw new TokenizerFormatError("its SentencePiece model is missing");
  const model = readSentencePiece(files.sentencePiece);
  const wanted = kind === "llama" ? "bpe" : "unigram";
  if (model.kind !== wanted) {
    throw new TokenizerFormatError(
      `its SentencePiece model is of the kind ${model.kind}, and its class needs ${wanted}`,
    );
  }
  const marked = model.pieces
    .filter(({ type }) => type === pieceTypes.control || type === pieceTypes.userDefined)
    .map(({ piece, type }) => ({ content: piece, special: type === pieceTypes.control }));
  return kind === "llama" ? sentencePieceBpe(model, marked, settings) : unigram(kind, model, marked);
}

function unigram(
  kind: "xlm-roberta" | "camembert",
  model: SentencePieceModel,
  marked: BaseTokenizer["marked"],
): BaseTokenizer {
  if (model.characterMap.length === 0) {
    throw new TokenizerFormatError(
      "its SentencePiece model has no character map, and transformers 4 and 5 then differ in what they do with tabs and line breaks",
    );
  }
  const pieces = model.pieces.map(({ piece, score }) => [piece, score] as const);
  // fairseq's order of ids: its own special tokens first, the model's pieces after them, the mask last.
  const vocabulary: (readonly [string, number])[] =
    kind === "xlm-roberta"
      ? [["<s>", 0], ["<pad>", 0], ["</s>", 0], ["<unk>", 0], ...pieces.slice(3), ["<mask>", 0]]
      : [
          ["<s>NOTUSED", 0],
          ["<pad>", 0],
          ["</s>NOTUSED", 0],
          ["<unk>", 0],
          ["<unk>NOTUSED", -100],
          ...pieces.slice(1),
          ["<mask>", 0],
        ];
  return {
    model: { type: "Unigram", unk_id: 3, vocab: vocabulary, byte_fallback: false },
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Precompiled", precompiled_charsmap: Buffer.from(model.characterMap).toString("base64") },
        { type: "Strip", strip_left: false, strip_right: true },
        replace({ Regex: " {2,}" }, spaceMark),
      ],
    },
    preTokenizer: metaspace("always"),
    decoder: metaspace("always"),
    ids: idsOf(vocabulary),
    marked,
  };
}

function sentencePieceBpe(
  model: SentencePieceModel,
  marked: BaseTokenizer["marked"],
  settings: Settings,
): BaseTokenizer {
  if (settings["legacy"] !== false) {
    throw new TokenizerFormatError(
      "its tokenizer_config.json does not say `legacy: false`, and transformers 4 and 5 then differ in where a space begins a text",
    );
  }
  const vocabulary = model.pieces.map(({ piece, score }, id) => [piece, id < 3 ? 0 : score] as const);
  const ids = idsOf(vocabulary);
  return {
    model: {
      type: "BPE",
      dropout: null,
      unk_token: model.unknownPiece,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(ids),
      merges: mergesOf(vocabulary),
    },
    normalizer: null,
    preTokenizer: metaspace(flag(settings, "add_prefix_space", true) ? "first" : "never", false),
    decoder: sentencePieceDecoder(true),
    ids,
    marked,
  };
}

/** As Rust and Python see a list of pieces: the last of several that are spelt alike. */
function idsOf(vocabulary: readonly (readonly [string, number])[]): Map<string, number> {
  return new Map(vocabulary.map(([piece], id) => [piece, id]));
}

/** The special tokens: the class's own, under what the configuration and then special_tokens_map.json say. */
function specialTokensOf(kind: TokenizerClass, settings: Settings, map: Settings | undefined): SpecialTokens {
  // Files that list their added tokens with their flags are of the newer form, which special_tokens_map.json repeats.
  const given = settings["added_tokens_decoder"] === undefined ? { ...settings, ...map } : settings;
  const tokens = new Map<SpecialTokenName | `additional ${number}`, NamedToken>();
  for (const name of specialTokenNames) {
    const value = Object.hasOwn(given, name) ? given[name] : kind.tokens[name];
    const token = namedToken(value, name === "mask_token" && kind.maskTakesSpace === true);
    if (token !== undefined) tokens.set(name, token);
  }
  const additional = given["additional_special_tokens"] ?? kind.additional;
  if (Array.isArray(additional)) {
    for (const [index, value] of additional.entries()) {
      const token = namedToken(value, false);
      if (token !== undefined) tokens.set(`additional ${index}`, token);
    }
  }
  return tokens;
}

function namedToken(value: unknown, lstrip: boolean): NamedToken | undefined {
  if (typeof value === "string") return { content: value, ...plainSpecial, lstrip };
  const entry = value !== null && typeof value === "object" ? (value as Settings) : undefined;
  if (typeof entry?.["content"] !== "string") return undefined;
  return { ...flagsOf(entry, true), content: entry["content"] };
}

const plainSpecial: TokenFlags = {
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
};

function flagsOf(entry: Settings, special: boolean): TokenFlags {
  return {
    single_word: entry["single_word"] === true,
    lstrip: entry["lstrip"] === true,
    rstrip: entry["rstrip"] === true,
    normalized: entry["normalized"] === true,
    special,
  };
}

/**
 * The tokens that are found before all else, in the order in which transformers adds them: those of the vocabulary's
 * own file, those that the configuration lists by id, the special tokens. One that the vocabulary lacks takes the next
 * id.
 */
function addedTokensOf(
  base: BaseTokenizer,
  special: SpecialTokens,
  settings: Settings,
  legacy: Settings | undefined,
): AddedTokenJson[] {
  const added = new Map<string, AddedTokenJson>();
  let next = 0;
  for (const id of base.ids.values()) next = Math.max(next, id + 1);
  const add = (token: NamedToken, expected?: number): void => {
    if (token.content === "") return;
    const known = added.get(token.content)?.id ?? base.ids.get(token.content);
    const id = known ?? next;
    if (expected !== undefined && expected !== id) {
      throw new TokenizerFormatError(
        `its configuration gives ${JSON.stringify(token.content)} the id ${expected}, and its vocabulary makes it ${id}`,
      );
    }
    if (known === undefined) next += 1;
    added.set(token.content, { id, ...token });
  };
  for (const { content, special: isSpecial } of base.marked)
    add({ content, ...plainSpecial, special: isSpecial });
  for (const [id, token] of listedTokens(settings, legacy, special)) add(token, id);
  for (const token of special.values()) {
    const there = added.get(token.content);
    add(there === undefined ? token : { ...token, ...flagsOf({ ...there }, true) });
  }
  return [...added.values()].sort((a, b) => a.id - b.id);
}

/** Ids and tokens of `added_tokens_decoder`, or of the older added_tokens.json, by id. */
function listedTokens(
  settings: Settings,
  legacy: Settings | undefined,
  special: SpecialTokens,
): [number, NamedToken][] {
  const specialContents = new Set([...special.values()].map(({ content }) => content));
  const decoder = settings["added_tokens_decoder"];
  const listed: [number, NamedToken][] = [];
  if (decoder !== null && typeof decoder === "object") {
    for (const [key, value] of Object.entries(decoder as Settings)) {
      const entry = value as Settings | null;
      const id = Number(key);
      if (!isId(id) || typeof entry !== "object" || typeof entry?.["content"] !== "string") {
        throw new TokenizerFormatError(
          `added_tokens_decoder of tokenizer_config.json has no token under ${JSON.stringify(key)}`,
        );
      }
      const content = entry["content"];
      listed.push([
        id,
        { content, ...flagsOf(entry, entry["special"] === true || specialContents.has(content)) },
      ]);
    }
  } else {
    for (const [content, id] of Object.entries(legacy ?? {})) {
      if (!isId(id))
        throw new TokenizerFormatError(
          `added_tokens.json gives ${JSON.stringify(content)} the id ${JSON.stringify(id)}`,
        );
      const isSpecial = specialContents.has(content);
      listed.push([id, { content, ...plainSpecial, normalized: !isSpecial, special: isSpecial }]);
    }
  }
  return listed.sort(([a], [b]) => a - b);
}

function postProcessorOf(
  kind: TokenizerClass,
  settings: Settings,
  special: SpecialTokens,
  ids: ReadonlyMap<string, number>,
): TokenizerStep | null {
  const token = (name: SpecialTokenName): TemplateToken => {
    const content = special.get(name)?.content;
    const id = content === undefined ? undefined : ids.get(content);
    if (content === undefined || id === undefined) {
      throw new TokenizerFormatError(`its ${name} is missing, and its template needs it`);
    }
    return { content, id };
  };
  if (kind.template !== undefined) {
    const cls = token("cls_token");
    const sep = token("sep_token");
    // RoBERTa's kin have one segment; BERT's second text is of the second.
    const second = kind.template === "roberta" ? 0 : 1;
    const middle: TemplatePart[] =
      kind.template === "bert"
        ? [[sep, 0]]
        : [
            [sep, 0],
            [sep, 0],
          ];
    return templateProcessing(
      [
        [cls, 0],
        ["A", 0],
        [sep, 0],
      ],
      [[cls, 0], ["A", 0], ...middle, ["B", second], [sep, second]],
    );
  }
  const whole = kind.kind === "llama";
  if (whole && typeof settings["add_bos_token"] !== "boolean") {
    throw new TokenizerFormatError(
      "its tokenizer_config.json does not say `add_bos_token`, and transformers 4 and 5 then differ in how a text begins",
    );
  }
  const begin = flag(settings, "add_bos_token", false) ? token("bos_token") : undefined;
  const end = whole && flag(settings, "add_eos_token", false) ? token("eos_token") : undefined;
  if (begin === undefined && end === undefined) return null;
  const around = (piece: "A" | "B", segment: 0 | 1, starts: boolean): TemplatePart[] => [
    ...(begin !== undefined && starts ? [[begin, segment] as const] : []),
    [piece, segment],
    ...(end === undefined ? [] : [[end, segment] as const]),
  ];
  return templateProcessing(around("A", 0, true), [...around("A", 0, true), ...around("B", 1, whole)]);
}

function flag(settings: Settings, name: string, otherwise: boolean): boolean {
  const value = settings[name];
  return typeof value === "boolean" ? value : otherwise;
}

/** Token ids are 32-bit in every runtime. */
function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
}

function asObject(value: unknown, file: string): Settings | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new TokenizerFormatError(`${file} is no object`);
  }
  return value as Settings;
}
