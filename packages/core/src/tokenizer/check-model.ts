import type { AddedTokenJson } from "./added-tokens.js";
import { type CheckedModel, type ModelType, modelTypes, type VocabularyEntries } from "./model-json.js";

/** Ids are below this. The largest vocabulary that is published has some 260,000 tokens. */
const mostIds = 2 ** 24;
/** UTF-16 code units of an added token. */
const longestAddedToken = 10_000;

/**
 * Checks `model` of tokenizer.json. Refused is what Rust's tokenizers 0.23.3 refuse when they load a file, ids from
 * 2^24 on, and `dropout`, with which ids would be random.
 *
 * @throws {Error} that says which entry is at fault.
 */
export function checkModel(json: unknown): CheckedModel {
  if (!isRecord(json)) throw new Error("model is not an object");
  const type = typeOf(json);
  let entries: VocabularyEntries | undefined;
  if (type === "Unigram") checkUnigram(json);
  else {
    const vocab = json["vocab"];
    if (!isRecord(vocab)) throw new Error("model.vocab is not an object");
    entries = readEntries(vocab);
    if (type === "BPE") checkBytePair(json, vocab);
    else checkWords(json, type);
  }
  return { ...json, type, entries } as unknown as CheckedModel;
}

/** In one plain loop: there may be a quarter of a million, and `Object.entries` takes three times as long. */
function readEntries(vocab: Readonly<Record<string, unknown>>): VocabularyEntries {
  const tokens = Object.keys(vocab);
  const ids = new Int32Array(tokens.length);
  for (let index = 0; index < tokens.length; index += 1) {
    const token = tokens[index] as string;
    const id = vocab[token];
    if (!isId(id)) throw new Error(`model.vocab has the id ${show(id)} for ${show(token)}`);
    ids[index] = id;
  }
  return { tokens, ids };
}

/** The first of Rust's types, in its order, whose fields are there. */
function typeOf(json: Readonly<Record<string, unknown>>): ModelType {
  if (Object.hasOwn(json, "type")) {
    const type = modelTypes.find((name) => name === json["type"]);
    if (type === undefined) throw new Error(`model.type is ${show(json["type"])}`);
    return type;
  }
  if (Array.isArray(json["vocab"])) return "Unigram";
  if (json["merges"] !== undefined) return "BPE";
  return json["max_input_chars_per_word"] === undefined ? "WordLevel" : "WordPiece";
}

function checkWords(json: Readonly<Record<string, unknown>>, type: "WordPiece" | "WordLevel"): void {
  expectString(json, "unk_token");
  if (type === "WordLevel") return;
  expectString(json, "continuing_subword_prefix");
  const longest = json["max_input_chars_per_word"];
  if (!isCount(longest)) throw new Error(`model.max_input_chars_per_word is ${show(longest)}`);
}

function checkUnigram(json: Readonly<Record<string, unknown>>): void {
  const { vocab, unk_id: unknown } = json;
  if (!Array.isArray(vocab) || vocab.length === 0 || vocab.length > mostIds)
    throw new Error("model.vocab is not a list of pieces");
  vocab.forEach((entry: unknown, id) => {
    const [piece, score] = Array.isArray(entry) && entry.length === 2 ? (entry as unknown[]) : [];
    if (typeof piece !== "string" || typeof score !== "number" || !Number.isFinite(score))
      throw new Error(`model.vocab has ${show(entry)} at ${id}, which is no piece with its score`);
  });
  if (unknown !== undefined && unknown !== null && !(isId(unknown) && unknown < vocab.length))
    throw new Error(`model.unk_id is ${show(unknown)}, and there are ${vocab.length} pieces`);
  expectBoolean(json, "byte_fallback", false);
}

function checkBytePair(
  json: Readonly<Record<string, unknown>>,
  vocab: Readonly<Record<string, unknown>>,
): void {
  for (const name of ["unk_token", "continuing_subword_prefix", "end_of_word_suffix"]) {
    const value = json[name];
    if (value !== undefined && value !== null && typeof value !== "string")
      throw new Error(`model.${name} is ${show(value)}`);
  }
  for (const name of ["fuse_unk", "byte_fallback", "ignore_merges"]) expectBoolean(json, name, true);
  const { dropout, merges } = json;
  if (dropout !== undefined && dropout !== null && dropout !== 0)
    throw new Error(`model.dropout is ${show(dropout)}, which makes ids random`);
  if (!Array.isArray(merges)) throw new Error("model.merges is not a list");
  const prefix =
    typeof json["continuing_subword_prefix"] === "string" ? json["continuing_subword_prefix"] : "";
  const isText = typeof merges[0] === "string";
  for (const merge of merges as unknown[]) {
    // The first line of the text file that old merges were read from.
    if (isText && typeof merge === "string" && merge.startsWith("#version")) continue;
    const parts: unknown = isText && typeof merge === "string" ? merge.split(" ") : isText ? [] : merge;
    const [left, right] = Array.isArray(parts) && parts.length === 2 ? (parts as unknown[]) : [];
    if (typeof left !== "string" || typeof right !== "string")
      throw new Error(`model.merges has ${show(merge)}, which is no pair of tokens`);
    // Rust cuts the prefix off without looking what it cuts.
    if (prefix !== "" && (right.length < prefix.length || !isPlain(prefix + right.slice(0, prefix.length))))
      throw new Error(
        `model.merges has ${show(merge)}, and ${show(right)} does not begin with ${show(prefix)}`,
      );
    for (const token of [left, right, left + right.slice(prefix.length)]) {
      if (!Object.hasOwn(vocab, token))
        throw new Error(`model.merges has ${show(merge)}, and model.vocab no ${show(token)}`);
    }
  }
}

/**
 * Checks `added_tokens` of tokenizer.json. An id must be the one that Rust's tokenizers give the token: the model's
 * own, or the next behind the vocabulary in the order of the list. Where a file contradicts that, Rust takes another id
 * with a warning, and what the file says would not be what the reference computes. An id that the vocabulary leaves out
 * below its largest may be any token's: files made of a GGUF's list of tokens are like that.
 *
 * @throws {Error} that says which token is at fault.
 */
export function checkAddedTokens(json: unknown, model: CheckedModel): readonly AddedTokenJson[] {
  if (json === undefined) return [];
  if (!Array.isArray(json)) throw new Error("added_tokens is not a list");
  const { idOf, isTaken, largest: end } = readIds(model);
  const known = new Map<string, number>();
  const taken = new Set<number>();
  let largest = end;
  for (const token of json as unknown[]) {
    if (!isRecord(token)) throw new Error(`added_tokens has ${show(token)}`);
    const { id, content } = token;
    if (!isId(id)) throw new Error(`added_tokens has the id ${show(id)}`);
    if (typeof content !== "string") throw new Error(`added_tokens has the content ${show(content)}`);
    if (content.length > longestAddedToken)
      throw new Error(`added_tokens has a token of ${content.length} characters`);
    for (const name of ["special", "single_word", "lstrip", "rstrip", "normalized"]) {
      if (typeof token[name] !== "boolean")
        throw new Error(`added_tokens has ${show(content)}, whose ${name} is ${show(token[name])}`);
    }
    if (content === "") continue;
    const fillsGap = (): boolean => id < end && !taken.has(id) && !isTaken(id);
    const expected = known.get(content) ?? idOf(content) ?? (fillsGap() ? id : largest + 1);
    if (id !== expected)
      throw new Error(`added_tokens gives ${show(content)} the id ${id}, and it is token ${expected}`);
    known.set(content, expected);
    taken.add(expected);
    largest = Math.max(largest, expected);
  }
  return json as AddedTokenJson[];
}

/** The ids of a model's own vocabulary. */
function readIds({ vocab, entries }: CheckedModel): {
  readonly idOf: (token: string) => number | undefined;
  readonly isTaken: (id: number) => boolean;
  readonly largest: number;
} {
  let largest = -1;
  if (entries === undefined) {
    const pieces = new Map((vocab as [string, number][]).map(([piece], id) => [piece, id]));
    // Of two equal pieces the later one counts, and the other's id is nobody's.
    const ids = new Set(pieces.values());
    for (const id of ids) largest = Math.max(largest, id);
    return { idOf: (token) => pieces.get(token), isTaken: (id) => ids.has(id), largest };
  }
  const byToken = vocab as Readonly<Record<string, number>>;
  for (const id of entries.ids) if (id > largest) largest = id;
  // Asked by few files.
  let ids: Set<number> | undefined;
  return {
    idOf: (token) => (Object.hasOwn(byToken, token) ? byToken[token] : undefined),
    isTaken: (id) => {
      ids ??= new Set(entries.ids);
      return ids.has(id);
    },
    largest,
  };
}

function expectString(json: Readonly<Record<string, unknown>>, name: string): void {
  if (typeof json[name] !== "string") throw new Error(`model.${name} is ${show(json[name])}`);
}

function expectBoolean(json: Readonly<Record<string, unknown>>, name: string, mayBeNull: boolean): void {
  const value = json[name];
  if (value !== undefined && typeof value !== "boolean" && !(mayBeNull && value === null))
    throw new Error(`model.${name} is ${show(value)}`);
}

/** A whole number from 0 on. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

function isId(value: unknown): value is number {
  return isCount(value) && value < mostIds;
}

/** Whether a text is ASCII, whose bytes are its characters. */
function isPlain(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value of a file, short enough for a message. */
export function show(value: unknown): string {
  const text = value === undefined ? "missing" : (JSON.stringify(value) ?? typeof value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
