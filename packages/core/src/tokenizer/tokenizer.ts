import * as library from "@huggingface/tokenizers";
import { ModelProfileError } from "../contract/errors.js";
import { type AddedTokenJson, createAddedTokenSplitter, type Section } from "./added-tokens.js";
import { fromByteAlphabet } from "./bytes.js";
import { checkAddedTokens, checkModel, isRecord } from "./check-model.js";
import { type Compaction, createCompaction } from "./compaction.js";
import { forEachEntry } from "./entries.js";
import { createWordModel, UnknownTextError } from "./model.js";
import type { CheckedModel } from "./model-json.js";
import { createNormalizer } from "./normalizer.js";
import { createPreTokenizer } from "./pre-tokenizer.js";
import { PatternError } from "./regex/pattern-error.js";
import { finish, partLength, type Turns } from "./turns.js";

/** The ids of one text, cut to a limit. */
export interface TokenizedText {
  /** At most the limit asked for. */
  readonly ids: readonly number[];
  /** Tokens beyond the limit. */
  readonly truncatedTokens: number;
  /** True when the text was not read to its end, so that more was cut than `truncatedTokens` says. */
  readonly truncatedTokensIsMinimum: boolean;
  /** True when the part that was read held lone surrogates, now U+FFFD. */
  readonly illFormed: boolean;
}

/** Text → token ids, without template. Special tokens spelled in the text come out as ordinary text. */
export interface TextTokenizer {
  encode(text: string, limit: number): TokenizedText;
  /**
   * The same in turns, so that a long text does not hold the event loop: it yields every few milliseconds of work. What
   * `encode` throws, this throws.
   */
  encodeInTurns(text: string, limit: number): Turns<TokenizedText>;
  /**
   * The text of tokens, special ones included, nothing cleaned up: `decode(ids)` of a transformers tokenizer whose
   * `clean_up_tokenization_spaces` is false. Ids that the tokenizer does not have give nothing.
   */
  decode(ids: readonly number[]): string;
}

/** The parts of tokenizer.json that are read here. */
interface TokenizerJson {
  readonly added_tokens: readonly AddedTokenJson[];
  readonly normalizer?: unknown;
  readonly pre_tokenizer?: unknown;
  readonly decoder?: { readonly type?: string } | null;
  readonly model: CheckedModel;
}

/** Everything between a text and its ids. Appends to `ids`, and returns how many of them the last two words gave. */
type Pipeline = (text: string, ids: number[]) => Turns<number>;

/**
 * Characters read per token kept, at first. A long document is cut before it is tokenised, so that a 10 MB file
 * costs what is kept of it. Sixteen is about four times what prose needs, so that almost every document is still
 * read whole and its truncation counted exactly.
 */
const charactersPerToken = 16;

/** UTF-16 code units of which so few tokens came that the rest of the text is made shorter first. */
const longText = 50_000;

/**
 * Tokens at the cut that are not trusted: where a text is cut inside a word, its last tokens may differ from those of
 * the whole text. At least the last two words (a regular expression may look one word ahead), unless these are so
 * long that there are no words: there, longer than any piece's reach in practice.
 */
const untrustedTokens = 16;
const longestWord = 128;

/**
 * @param tokenizerJson parsed `tokenizer.json`, with what tokenizer_config.json says over it worked in, as in
 * `readProfile`'s reading.
 * @param model id, for error messages.
 * @throws {ModelProfileError} when a part of the tokenizer is malformed, or not known here.
 */
export function createTextTokenizer(tokenizerJson: unknown, model: string): TextTokenizer {
  const failed = (cause: unknown, problem: string, fix: string): ModelProfileError =>
    new ModelProfileError(
      { model, file: "tokenizer.json", problem: `${problem} (${(cause as Error).message})`, fix },
      { cause },
    );
  let json: TokenizerJson;
  let pipeline: Pipeline;
  let compaction: Compaction | undefined;
  try {
    json = checkTokenizer(tokenizerJson);
    pipeline = createPipeline(json);
    // An added token could stand in what is left out.
    if (json.added_tokens.every(({ special }) => special))
      compaction = createCompaction(json, createNormalizer(json.normalizer));
  } catch (cause) {
    throw failed(
      cause,
      "cannot be used",
      "Download it again, or save it anew with a current version of transformers",
    );
  }
  const run: Pipeline = function* (text, ids) {
    try {
      return yield* pipeline(text, ids);
    } catch (cause) {
      if (!(cause instanceof PatternError || cause instanceof UnknownTextError)) throw cause;
      throw failed(cause, "gives no ids for a text", "Mend the tokenizer, or leave the text out");
    }
  };
  let decode: TextTokenizer["decode"] | undefined;

  const encodeInTurns: TextTokenizer["encodeInTurns"] = function* (text, limit) {
    let compact = text;
    for (let window = Math.max(limit, untrustedTokens) * charactersPerToken; ; window *= 4) {
      // Little remains of this text. What is known to be nothing need not be read.
      if (window >= longText && compact === text && text.length > window)
        compact = compaction === undefined ? text : yield* compaction(text);
      const whole = compact.length <= window;
      const part = whole ? compact : compact.slice(0, yield* cutAt(compact, window));
      const illFormed = !part.isWellFormed();
      const ids: number[] = [];
      const last = part === "" ? 0 : yield* run(illFormed ? part.toWellFormed() : part, ids);
      const untrusted = Math.max(untrustedTokens, last <= longestWord ? last : 0);
      const trusted = whole ? ids.length : ids.length - untrusted;
      if (!whole && trusted < limit) continue;
      return {
        ids: ids.slice(0, limit),
        truncatedTokens: Math.max(0, trusted - limit),
        truncatedTokensIsMinimum: !whole,
        illFormed,
      };
    }
  };

  return {
    encode: (text, limit) => finish(encodeInTurns(text, limit)),
    encodeInTurns,
    decode(ids) {
      decode ??= createDecoder(json);
      return decode(ids);
    },
  };
}

/** The last whitespace in the second half of the window, else the window itself, never inside a surrogate pair. */
function* cutAt(text: string, window: number): Turns<number> {
  for (let position = window; position > window / 2; position -= 1) {
    if (position % partLength === 0) yield;
    if (/\s/.test(text.charAt(position))) return position;
  }
  const previous = text.charCodeAt(window - 1);
  return previous >= 0xd800 && previous <= 0xdbff ? window - 1 : window;
}

/** @throws {Error} when a part is malformed. */
function checkTokenizer(json: unknown): TokenizerJson {
  if (!isRecord(json)) throw new Error("it is not an object");
  const model = checkModel(json["model"]);
  return { ...json, model, added_tokens: checkAddedTokens(json["added_tokens"], model) };
}

/**
 * The steps of Rust's tokenizers, in their order. No text can become a special token: they are not looked for among
 * the added tokens, and the model does not know them either, so that Unigram or BPE cannot assemble them. (Rust's
 * `encode_special_tokens` does the first half only.)
 */
function createPipeline(json: TokenizerJson): Pipeline {
  const added = json.added_tokens;
  const special = new Set(added.filter((token) => token.special).map((token) => token.content));
  const visible = added.filter((token) => !token.special);
  const normalize = createNormalizer(json.normalizer);
  const alone = normalize("x");
  const preTokenize = createPreTokenizer(json.pre_tokenizer);
  const tokenizeWord = createWordModel(json.model, special);
  const splitRaw = createAddedTokenSplitter(
    visible.filter((token) => !isNormalized(token)),
    (token) => token.content,
  );
  const splitNormalized = createAddedTokenSplitter(visible.filter(isNormalized), (token) =>
    normalize(token.content),
  );

  return function* (text, ids) {
    // Where the ids of the last word, and of the one before it, begin.
    let last = 0;
    let secondLast = 0;
    let atStart = true;
    let done = 0;
    for (const raw of isShort(text) ? splitRaw(text) : yield* splitRaw.inTurns(text)) {
      // "At the start" is of the original text: what a normalizer takes away before it moves it.
      if (typeof raw === "string" && atStart && raw !== "") {
        const first = String.fromCodePoint(raw.codePointAt(0) as number);
        atStart = normalize(`${first}x`) !== alone;
      }
      for (const section of typeof raw === "number" ? [raw] : yield* normalized(raw)) {
        if (typeof section === "number") {
          secondLast = last;
          last = ids.length;
          ids.push(section);
        } else if (section !== "") {
          for (const word of isShort(section)
            ? preTokenize([section], atStart)
            : yield* preTokenize.inTurns([section], atStart)) {
            secondLast = last;
            last = ids.length;
            if (isShort(word)) tokenizeWord(word, ids);
            else yield* tokenizeWord.inTurns(word, ids);
            done += word.length;
            if (done < partLength) continue;
            done = 0;
            yield;
          }
        }
        atStart = false;
      }
      atStart = false;
      done += 1;
      if (done < partLength) continue;
      done = 0;
      yield;
    }
    return ids.length - secondLast;
  };

  function* normalized(text: string): Turns<readonly Section[]> {
    if (isShort(text)) return splitNormalized(normalize(text));
    return yield* splitNormalized.inTurns(yield* normalize.inTurns(text));
  }
}

/** Short enough to be worked on at once. */
function isShort(text: string): boolean {
  return text.length <= partLength;
}

function isNormalized(token: AddedTokenJson): boolean {
  return token.normalized === true;
}

function createDecoder({ added_tokens, normalizer, decoder, model }: TokenizerJson): TextTokenizer["decode"] {
  const normalize = createNormalizer(normalizer);
  const toText = createTokenDecoder(decoder);
  const readTokens = (): ReadonlyMap<number, string> => {
    const tokens = new Map<number, string>();
    if (Array.isArray(model.vocab)) {
      (model.vocab as [string, number][]).forEach(([token], id) => void tokens.set(id, token));
    } else {
      forEachEntry(
        model.vocab as Readonly<Record<string, number>>,
        (token, id) => void tokens.set(id, token),
      );
    }
    for (const token of added_tokens) {
      tokens.set(token.id, isNormalized(token) ? normalize(token.content) : token.content);
    }
    return tokens;
  };
  // Most programs never turn ids into text.
  let known: ReadonlyMap<number, string> | undefined;
  return (ids) => {
    known ??= readTokens();
    const tokens = known;
    return toText(ids.map((id) => tokens.get(id)).filter((token) => token !== undefined));
  };
}

// As SplitPreTokenizer in tokenizer-pattern.ts.
const SequenceDecoder = (library as unknown as { SequenceDecoder: DecoderConstructor }).SequenceDecoder;
type DecoderConstructor = new (config: object) => { decode(tokens: readonly string[]): string };

/** Exact for byte-level tokenizers; the other decoders are the library's. */
function createTokenDecoder(decoder: TokenizerJson["decoder"]): (tokens: string[]) => string {
  if (!decoder) return (tokens) => tokens.join(" ");
  if (decoder.type === "ByteLevel") return fromByteAlphabet;
  const library = new SequenceDecoder({ type: "Sequence", decoders: [decoder] });
  return (tokens) => library.decode(tokens);
}
