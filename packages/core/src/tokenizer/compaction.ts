import { isRecord } from "./check-model.js";
import type { ModelJson } from "./model-json.js";
import type { Normalizer } from "./normalizer.js";
import { betweenCharacters, inParts, type Turns } from "./turns.js";
import { classOf, ideograph, nonspacingMark, punctuationMark, unclean, whiteSpace } from "./unicode.js";

/** Shorter runs stay as they are. */
const longRun = 64;
/** Of a run of white space, as much is kept at its beginning and at its end. */
const keptSpace = 2;
/** Of a run of letters that is one word, and longer than any word of the vocabulary. In UTF-16 code units. */
const longWord = 5000;
const keptWord = 4000;

/**
 * Makes a very long text shorter without changing one of its ids, where little remains of it: a megabyte of line ends
 * is nothing to BERT, and one unknown token when it is one word.
 */
export type Compaction = (text: string) => Turns<string>;

/** UTF-16 code units that are made shorter between two turns. Longer than several of the longest runs that are kept. */
const compactedLength = 65_536;

/** The parts of a text are made shorter each by itself: of a run that is cut in two, both keep something. */
function partByPart(shorten: (text: string) => string): Compaction {
  return function* (text) {
    let before = text;
    let short = yield* inParts(before, shorten, betweenCharacters, compactedLength);
    // What is kept of the parts of one run is a run again.
    while (short.length > compactedLength && short.length < before.length / 2) {
      before = short;
      short = yield* inParts(before, shorten, betweenCharacters, compactedLength);
    }
    return short;
  };
}

/** Undefined for a tokenizer for which no such rule is known to be exact. */
export function createCompaction(
  json: { readonly normalizer?: unknown; readonly pre_tokenizer?: unknown; readonly model: ModelJson },
  normalize: Normalizer,
): Compaction | undefined {
  const normalizers = stepsOf(json.normalizer, "normalizers");
  const first = stepsOf(json.pre_tokenizer, "pretokenizers")[0]?.["type"];
  const [only] = normalizers;
  if (first === "BertPreTokenizer" && normalizers.length === 1 && only?.["type"] === "BertNormalizer") {
    return json.model.type === "WordPiece"
      ? compactionOfBert(only, json.model.max_input_chars_per_word ?? 100)
      : undefined;
  }
  return compactionOfSpace(normalizers, first, normalize);
}

/** White space is all that parts words, or several spaces become one: a long run is as good as a short one. */
function compactionOfSpace(
  normalizers: readonly Readonly<Record<string, unknown>>[],
  preTokenizer: unknown,
  normalize: Normalizer,
): Compaction | undefined {
  const last = normalizers.at(-1);
  const joins = last !== undefined && joinsSpaces(last);
  const others = joins ? normalizers.slice(0, -1) : normalizers;
  if (!joins && preTokenizer !== "WhitespaceSplit") return undefined;
  if (others.some(({ type }) => !harmless.has(type))) return undefined;
  // Each of them is white space to what follows, and none joins its neighbours in a cluster.
  const isSpace = (text: string): boolean => (joins ? text === " " : /^[ \t\n]+$/.test(text));
  const between = (space: string): string => normalize(`a${space}a`).replace(/^a|a$/g, "");
  if (![" ", "\t", "\n"].every((space) => isSpace(between(space)))) return undefined;
  const runs = new RegExp(`[ \\t\\n]{${longRun},}`, "g");
  return partByPart((text) => text.replace(runs, (run) => run.slice(0, keptSpace) + run.slice(-keptSpace)));
}

/** Normalizers that do to each white space what they do to one. */
const harmless: ReadonlySet<unknown> = new Set([
  "Precompiled",
  "NFC",
  "NFD",
  "NFKC",
  "NFKD",
  "Lowercase",
  "Strip",
]);

function joinsSpaces(step: Readonly<Record<string, unknown>>): boolean {
  const { type, pattern, content } = step;
  return type === "Replace" && content === " " && isRecord(pattern) && pattern["Regex"] === " {2,}";
}

function compactionOfBert(
  normalizer: Readonly<Record<string, unknown>>,
  longestWord: number,
): Compaction | undefined {
  if (longestWord * 8 > keptWord) return undefined;
  const drops = normalizer["clean_text"] === true ? unclean : 0;
  const strips = (normalizer["strip_accents"] ?? normalizer["lowercase"]) === true ? nonspacingMark : 0;
  const runsOfSpace = new RegExp(`[ \\t\\n\\r]{${longRun},}`, "g");
  const runsOfDropped =
    (drops | strips) === 0 ? undefined : new RegExp(`[${classOf(drops | strips)}]{${longRun},100000}`, "gu");
  // Left out are blocks where a character may be another spelling of punctuation or of an ideograph.
  const parting = classOf(whiteSpace | punctuationMark | unclean | nonspacingMark | ideograph);
  // Found whatever their length, and measured then: an expression that looks for long ones alone begins anew at every
  // character of a run that is somewhat shorter.
  const runsOfWord = new RegExp(
    `[[^${parting}\\p{M}\\p{C}\\u0300-\\u0385\\u1f00-\\u2bff\\uf900-\\uffff\\u{2f800}-\\u{2fa1f}]\\u200d\\ufe0f]{1,${longWord * 20}}`,
    "gv",
  );
  return partByPart((text) => {
    let short = text.replace(runsOfSpace, (run) => run.slice(0, keptSpace));
    if (runsOfDropped !== undefined) short = short.replace(runsOfDropped, "");
    // A word that is too long for the vocabulary is unknown, however it goes on.
    return short.replace(runsOfWord, (run) => {
      if (run.length < longWord || [...run].length < longWord) return run;
      const beginning = run.slice(0, keptWord);
      const kept = beginning.isWellFormed() ? beginning : beginning.slice(0, -1);
      return [...kept.replace(/[\u200d\ufe0f]/g, "")].length > longestWord ? kept : run;
    });
  });
}

/** The steps of a normalizer or pre-tokenizer, without the sequences around them. */
function stepsOf(step: unknown, name: string): Readonly<Record<string, unknown>>[] {
  if (!isRecord(step)) return [];
  if (step["type"] !== "Sequence") return [step];
  const inner = step[name];
  return Array.isArray(inner) ? inner.flatMap((one: unknown) => stepsOf(one, name)) : [];
}
