import { CTranslate2FormatError } from "./header.js";

/** Bytes. The longest one that is published, of 262,000 tokens, stays below 10 MB. */
export const largestVocabulary: number = 64 * 2 ** 20;

/** The parts of a parsed tokenizer.json (huggingface/tokenizers) that give ids their spellings, read without trust. */
export interface SpelledTokenizer {
  readonly model?: unknown;
  readonly added_tokens?: unknown;
}

type Spelling = readonly [token: string, id: number];

/** A tokenizer's words in the order in which it names them, added ones last. */
function spellingsOf({ model, added_tokens: added }: SpelledTokenizer): readonly Spelling[] {
  const spellings: Spelling[] = [];
  const put = (token: unknown, id: unknown): void => {
    if (typeof token === "string" && Number.isSafeInteger(id) && (id as number) >= 0) {
      spellings.push([token, id as number]);
    }
  };
  const vocabulary = isRecord(model) ? model["vocab"] : undefined;
  if (Array.isArray(vocabulary)) {
    for (const [id, entry] of vocabulary.entries()) put(Array.isArray(entry) ? entry[0] : undefined, id);
  } else if (isRecord(vocabulary)) {
    for (const [token, id] of Object.entries(vocabulary)) put(token, id);
  }
  for (const token of Array.isArray(added) ? added : []) {
    if (isRecord(token)) put(token["content"], token["id"]);
  }
  return spellings;
}

/**
 * The spelling of every row of a table of tokens, as a vocabulary.json lists them. Ids that the tokenizer does not have
 * get the names that CTranslate2's converter gives them.
 */
export function listVocabulary(tokenizer: SpelledTokenizer, rows: number): readonly string[] {
  const known = new Map(spellingsOf(tokenizer).map(([token, id]) => [id, token]));
  let extra = 0;
  return Array.from({ length: rows }, (_, id) => {
    const token = known.get(id);
    if (token !== undefined) return token;
    extra += 1;
    return `<extra_id_${extra - 1}>`;
  });
}

/**
 * The tokens of an artifact's vocabulary, by what it holds: a JSON array of strings, as CTranslate2's converters write
 * it (`vocabulary.json`), or a token a line, as older ones did (`vocabulary.txt`).
 *
 * @throws {CTranslate2FormatError} where it is neither, or larger than {@link largestVocabulary}.
 */
export function readVocabulary(bytes: Uint8Array): readonly string[] {
  if (bytes.length > largestVocabulary) {
    throw new CTranslate2FormatError(`it has ${bytes.length} bytes, and up to ${largestVocabulary} are read`);
  }
  const text = decoded(bytes);
  // A list of lines may begin with a bracket, too: as a token, "[PAD]".
  const isJson = /^\s*\[\s*(?:"|\])/.test(text.slice(0, 1000)) || /^\s*\{\s*"/.test(text.slice(0, 1000));
  if (!isJson) return readLines(text);
  let tokens: unknown;
  try {
    tokens = JSON.parse(text);
  } catch (cause) {
    throw new CTranslate2FormatError(`it is no JSON (${(cause as Error).message.slice(0, 100)})`);
  }
  if (!Array.isArray(tokens)) throw new CTranslate2FormatError("it is no list of tokens");
  const place = tokens.findIndex((token) => typeof token !== "string");
  if (place >= 0) throw new CTranslate2FormatError(`its token ${place} is no text`);
  return tokens as readonly string[];
}

function decoded(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CTranslate2FormatError("it is no text in UTF-8");
  }
}

/** As CTranslate2 reads them: a carriage return is a token's own unless every line ends with one. */
function readLines(text: string): readonly string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.every((line) => line.endsWith("\r")) ? lines.map((line) => line.slice(0, -1)) : lines;
}

/**
 * Holds an artifact's tokens against the tokenizer that its texts will be given ids by: of a model whose table has the
 * same size, but other words in it, every score would be wrong and look right.
 *
 * CTranslate2's converter lists the tokenizer's words by their ids, one behind the other: where ids have gaps, a word
 * stands before its row. Both lists are taken. What stands where the tokenizer has no word is nobody's.
 *
 * @param rows of the table of tokens.
 * @returns what differs, as a clause; undefined where nothing does.
 */
export function vocabularyProblem(
  tokens: readonly string[],
  rows: number,
  tokenizer: SpelledTokenizer,
): string | undefined {
  if (tokens.length !== rows) {
    return `it lists ${tokens.length} tokens, and the table of model.bin has ${rows} rows`;
  }
  const spellings = spellingsOf(tokenizer);
  const names = namesById(spellings);
  const byRow = firstOther(tokens, [...names]);
  if (byRow === undefined) return undefined;
  // Of a word that is named twice, `get_vocab` of the tokenizers library knows the later id.
  let place = 0;
  const inTurn = [...namesById([...new Map(spellings)])]
    .sort(([a], [b]) => a - b)
    .flatMap(([, own]) => Array.from(own, () => [place++, own] as const));
  if (firstOther(tokens, inTurn) === undefined) return undefined;
  const [wanted = ""] = names.get(byRow) ?? [];
  return `its token ${byRow} is ${shown(tokens[byRow])}, and the model's tokenizer has ${shown(wanted)} there`;
}

function namesById(spellings: readonly Spelling[]): ReadonlyMap<number, ReadonlySet<string>> {
  const names = new Map<number, Set<string>>();
  for (const [token, id] of spellings) {
    const own = names.get(id);
    if (own === undefined) names.set(id, new Set([token]));
    else own.add(token);
  }
  return names;
}

/** The first place within the list, by number, that has none of its names. */
function firstOther(
  tokens: readonly string[],
  wanted: readonly (readonly [place: number, names: ReadonlySet<string>])[],
): number | undefined {
  let first: number | undefined;
  for (const [place, names] of wanted) {
    const token = tokens[place];
    if (token !== undefined && !names.has(token) && !(first !== undefined && first < place)) first = place;
  }
  return first;
}

function shown(token: string | undefined): string {
  return JSON.stringify((token ?? "").slice(0, 60));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
