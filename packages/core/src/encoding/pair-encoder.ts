import { InvalidInputError } from "../contract/errors.js";
import { instructionRefused } from "../contract/instruction.js";
import type { ModelProfile, TemplatePiece, TextSlot } from "../contract/model-profile.js";
import type { TextTokenizer, TokenizedText } from "../tokenizer/tokenizer.js";
import { finish, type Turns } from "../tokenizer/turns.js";
import { type CompiledTemplate, compileTemplate, type Run } from "./template.js";
import { truncate } from "./truncation.js";

/** One input sequence of the model, and what was cut to make it. */
export interface EncodedSequence {
  /** Token ids, special tokens included, no padding. Its length is the true length. */
  readonly ids: Int32Array;
  /** 0 or 1 for each id. */
  readonly segmentIds: Int32Array;
  /** Ids at the end that a query of late interaction is filled up with. Undefined for none. */
  readonly expansion?: number | undefined;
  /** Of these, how many the query's own tokens do not attend to: all or none. Undefined for none. */
  readonly unattended?: number | undefined;
  /** Tokens cut from the document (of a pair), or from the text. */
  readonly truncatedTokens: number;
  readonly truncatedTokensIsMinimum: boolean;
  /** Tokens cut from the query of a pair (`longest-first` only). */
  readonly truncatedQueryTokens: number;
  /** The query alone fills the sequence: do not run this one. */
  readonly queryOverflow: boolean;
  /** The document (or text) held lone surrogates. */
  readonly illFormed: boolean;
}

/** The part of a profile that decides about ids. */
export type EncodingRules = Pick<
  ModelProfile,
  "pairTemplate" | "instructedTemplate" | "singleTemplate" | "maxLength" | "truncation"
>;

/** A query (and its instruction) tokenised for a template, to be joined with any number of documents. */
export interface EncodedQuery {
  /** The query or the instruction held lone surrogates. */
  readonly illFormed: boolean;
  /** @internal */
  readonly prepared: PreparedQuery;
}

interface PreparedQuery {
  readonly sections: readonly PreparedSection[];
  /** Tokens that every sequence of this query has: special tokens and wording. */
  readonly fixed: number;
  /** Tokens of the texts that do not share a string with the document. */
  readonly apart: number;
  readonly isPrompt: boolean;
}

type PreparedSection =
  | { readonly kind: "fixed"; readonly ids: readonly number[]; readonly segment: 0 | 1 }
  | {
      readonly kind: "query";
      readonly ids: readonly number[];
      readonly segment: 0 | 1;
      /** Tokens that were not even kept in `ids`, which hold no more than the maximum length. */
      readonly more: number;
    }
  | {
      readonly kind: "document";
      readonly segment: 0 | 1;
      readonly before: string;
      readonly beforeIds: readonly number[];
      /** Whether `beforeIds` or `afterIds` have no room for all of it. */
      readonly isTooLong: boolean;
      /** The wording right before and right behind the document. */
      readonly touching: { readonly before: string; readonly after: string };
      readonly after: string;
      readonly afterIds: readonly number[];
      /** Tokens of `after`, also those that `afterIds` has no room for. */
      readonly afterLength: number;
      /** Whether white space at both ends of the document is cut first. */
      readonly trim: boolean;
    };

/** Texts → input sequences, by the model's own template and the profile's truncation. Pure. */
export interface PairEncoder {
  /** Tokens of the shortest sequence that holds something of each text. */
  readonly leastLength: number;
  /**
   * Tokenised once, used for every document.
   * @throws {InvalidInputError} when there is an instruction and the model takes none.
   */
  encodeQuery(query: string, instruction?: string): EncodedQuery;
  /** The sequence of a pair. */
  encodePair(query: EncodedQuery, document: string): EncodedSequence;
  /** The sequence of one text by itself; cut from the right. */
  encodeSingle(text: string): EncodedSequence;
  /** The same in turns, so that a long text does not hold the event loop. */
  readonly inTurns: {
    encodeQuery(query: string, instruction?: string): Turns<EncodedQuery>;
    encodePair(query: EncodedQuery, document: string): Turns<EncodedSequence>;
    encodeSingle(text: string): Turns<EncodedSequence>;
  };
}

/** @throws {InvalidInputError} when `maxLength` leaves no room beside the template's own tokens. */
export function createPairEncoder(tokenizer: TextTokenizer, rules: EncodingRules): PairEncoder {
  const { maxLength } = rules;
  const encode = (text: string): Turns<TokenizedText> => tokenizer.encodeInTurns(text, maxLength);
  const compile = (template: readonly TemplatePiece[]): CompiledTemplate =>
    compileTemplate(template, tokenizer);
  const plain = compile(rules.pairTemplate);
  const instructed = rules.instructedTemplate && compile(rules.instructedTemplate);
  const single = compile(rules.singleTemplate);
  const singleSections = sectionsOfSingle(single);
  const leastLength =
    rules.pairTemplate.length > 0 ? Math.max(plain.fixed, instructed?.fixed ?? 0) + 2 : single.fixed + 1;
  if (leastLength > maxLength) {
    throw new InvalidInputError(
      "maxLength",
      `is ${maxLength}, and the template alone needs at least ${leastLength} tokens`,
    );
  }

  const inTurns: PairEncoder["inTurns"] = {
    *encodeQuery(query, instruction = "") {
      if (instruction !== "" && instructed === undefined) {
        throw instructionRefused("this model's template");
      }
      const template = instruction === "" ? plain : (instructed as CompiledTemplate);
      return yield* prepare(template, { query, instruction, document: "" }, encode);
    },

    *encodePair({ prepared }, document) {
      const run = prepared.sections.find((section) => section.kind === "document");
      if (run === undefined) throw new TypeError("a pair template has a place for the document");
      const text = run.trim ? stripLikePython(document) : document;
      const tokens = yield* encode(run.before + text + run.after);
      const tail = run.afterLength;
      const { head, own } = yield* measureDocument(run, text, tokens, encode);
      const facts = {
        truncatedTokensIsMinimum: tokens.truncatedTokensIsMinimum,
        illFormed: !document.isWellFormed(),
      };
      if (rules.truncation === "longest-first" && prepared.isPrompt) {
        return { ...cutPrompt(prepared.sections, tokens.ids, { own, head, maxLength }), ...facts };
      }
      const room = maxLength - prepared.fixed;
      const kept = fit(rules.truncation, { apart: prepared.apart, room, own, head, tail });
      const cut = kept.document < head + own;
      const documentIds = cut ? [...tokens.ids.slice(0, kept.document), ...run.afterIds] : tokens.ids;
      const sequence = kept.queryOverflow
        ? { ids: new Int32Array(), segmentIds: new Int32Array() }
        : assemble(prepared.sections, documentIds, kept.apart);
      return {
        ...sequence,
        truncatedTokens: cut ? head + own - Math.max(kept.document, head) : 0,
        truncatedQueryTokens: prepared.apart - kept.apart + (cut ? Math.max(0, head - kept.document) : 0),
        queryOverflow: kept.queryOverflow,
        ...facts,
      };
    },

    *encodeSingle(text) {
      const tokens = yield* tokenizer.encodeInTurns(text, maxLength - single.fixed);
      return {
        ...assemble(singleSections, tokens.ids, 0),
        truncatedTokens: tokens.truncatedTokens,
        truncatedTokensIsMinimum: tokens.truncatedTokensIsMinimum,
        truncatedQueryTokens: 0,
        queryOverflow: false,
        illFormed: tokens.illFormed,
      };
    },
  };

  return {
    leastLength,
    encodeQuery: (query, instruction) => finish(inTurns.encodeQuery(query, instruction)),
    encodePair: (query, document) => finish(inTurns.encodePair(query, document)),
    encodeSingle: (text) => finish(inTurns.encodeSingle(text)),
    inTurns,
  };
}

type DocumentRun = Extract<PreparedSection, { kind: "document" }>;

/**
 * The document's place in the string that it shares with wording and other texts: `head` tokens stand before it, and
 * `own` tokens are its own. The string with and without the document begins and ends with the same tokens; the rest is
 * the document's. A beginning or an end that is too long to be compared is replaced by the wording that touches the
 * document.
 */
function* measureDocument(
  run: DocumentRun,
  document: string,
  whole: TokenizedText,
  encode: (text: string) => Turns<TokenizedText>,
): Turns<{ readonly head: number; readonly own: number }> {
  const length = ({ ids, truncatedTokens }: TokenizedText): number => ids.length + truncatedTokens;
  // A very long document is not read to its end, and so not to the tail.
  const tail = whole.truncatedTokensIsMinimum ? 0 : run.afterLength;
  if (!run.isTooLong) {
    const head = commonPrefix(run.beforeIds, whole.ids);
    return { head, own: Math.max(0, length(whole) - tail - head) };
  }
  const alone = yield* encode(run.touching.before + document + run.touching.after);
  const before = commonPrefix((yield* encode(run.touching.before)).ids, alone.ids);
  const own = Math.max(0, length(alone) - before - length(yield* encode(run.touching.after)));
  return { head: Math.max(0, length(whole) - tail - own), own };
}

/** What is kept of a pair. Lengths in tokens; wording in the document's string counts as part of the string. */
interface Fit {
  /** Of the texts apart from the document. */
  readonly apart: number;
  /** Of the document's string, counted from its start and without its tail. */
  readonly document: number;
  readonly queryOverflow: boolean;
}

function fit(
  truncation: EncodingRules["truncation"],
  lengths: {
    readonly apart: number;
    readonly room: number;
    readonly own: number;
    readonly head: number;
    readonly tail: number;
  },
): Fit {
  const { apart, room, own, head, tail } = lengths;
  if (truncation === "document-only") {
    // The wording before the document is as untouchable as the query.
    const { document, queryOverflow } = truncate(
      "document-only",
      { query: apart + head + tail, document: own },
      room,
    );
    return { apart, document: head + document, queryOverflow };
  }
  const kept = truncate("longest-first", { query: apart, document: head + own }, room - tail);
  return { apart: kept.query, document: kept.document, queryOverflow: false };
}

/**
 * `longest-first` of a prompt, which is one long text to its reference: cut from the right, and what ends the
 * template put behind the cut (sentence-transformers, `Transformer._restore_chat_template_suffix`).
 */
function cutPrompt(
  sections: readonly PreparedSection[],
  documentIds: readonly number[],
  lengths: { readonly own: number; readonly head: number; readonly maxLength: number },
): Omit<EncodedSequence, "truncatedTokensIsMinimum" | "illFormed"> {
  const { head, maxLength } = lengths;
  const at = sections.findIndex((section) => section.kind === "document");
  const run = sections[at] as DocumentRun;
  const tail = run.afterLength;
  const listed = (part: readonly PreparedSection[]): [number, 0 | 1][] =>
    part.flatMap((section) =>
      section.kind === "document" ? [] : section.ids.map((id): [number, 0 | 1] => [id, section.segment]),
    );
  const before = listed(sections.slice(0, at));
  const after = listed(sections.slice(at + 1));
  const beforeLength = sections
    .slice(0, at)
    .reduce(
      (sum, section) =>
        sum +
        (section.kind === "document"
          ? 0
          : section.ids.length + (section.kind === "query" ? section.more : 0)),
      0,
    );
  const total = head + lengths.own + tail;
  const own = documentIds.map((id): [number, 0 | 1] => [id, run.segment]);
  const fits = beforeLength + total + after.length <= maxLength;
  const end = fits ? after : [...run.afterIds.map((id): [number, 0 | 1] => [id, run.segment]), ...after];
  const room = fits ? beforeLength + total : Math.max(0, maxLength - end.length);
  const pieces = [...[...before, ...own].slice(0, room), ...end].slice(-maxLength);
  const keptDocument = Math.max(0, room - beforeLength - head);
  return {
    ids: Int32Array.from(pieces, ([id]) => id),
    segmentIds: Int32Array.from(pieces, ([, segment]) => segment),
    truncatedTokens: fits ? 0 : Math.max(0, lengths.own - keptDocument),
    truncatedQueryTokens: fits ? 0 : Math.max(0, beforeLength + head - room),
    queryOverflow: false,
  };
}

function* prepare(
  template: CompiledTemplate,
  texts: Readonly<Record<TextSlot, string>>,
  encode: (text: string) => Turns<TokenizedText>,
): Turns<EncodedQuery> {
  let apart = 0;
  const sections: PreparedSection[] = [];
  for (const section of template.sections) {
    if (!("parts" in section)) {
      sections.push({ kind: "fixed", ids: section.ids, segment: section.segment });
      continue;
    }
    const at = section.parts.findIndex((part) => typeof part !== "string" && part.text === "document");
    if (at < 0) {
      const { ids, truncatedTokens } = yield* encode(fill(section.parts, texts));
      apart += ids.length + truncatedTokens;
      sections.push({ kind: "query", ids, segment: section.segment, more: truncatedTokens });
      continue;
    }
    const before = fill(section.parts.slice(0, at), texts);
    const after = fill(section.parts.slice(at + 1), texts);
    const place = section.parts[at];
    const beforeTokens = before === "" ? undefined : yield* encode(before);
    const afterTokens = after === "" ? undefined : yield* encode(after);
    sections.push({
      kind: "document",
      segment: section.segment,
      before,
      beforeIds: beforeTokens?.ids ?? [],
      isTooLong: [beforeTokens, afterTokens].some(
        (tokens) => tokens !== undefined && tokens.truncatedTokens > 0,
      ),
      touching: { before: wording(section.parts[at - 1]), after: wording(section.parts[at + 1]) },
      after,
      afterIds: afterTokens?.ids ?? [],
      afterLength: (afterTokens?.ids.length ?? 0) + (afterTokens?.truncatedTokens ?? 0),
      trim: typeof place === "object" && place.trim,
    });
  }
  return {
    illFormed: !texts.query.isWellFormed() || !texts.instruction.isWellFormed(),
    prepared: { sections, fixed: template.fixed, apart, isPrompt: template.isPrompt },
  };
}

/** The only text of a single template takes the document's place. */
function sectionsOfSingle(template: CompiledTemplate): PreparedSection[] {
  return template.sections.map(
    (section): PreparedSection =>
      "parts" in section
        ? {
            kind: "document",
            segment: section.segment,
            before: "",
            beforeIds: [],
            isTooLong: false,
            touching: { before: "", after: "" },
            after: "",
            afterIds: [],
            afterLength: 0,
            trim: false,
          }
        : { kind: "fixed", ids: section.ids, segment: section.segment },
  );
}

function wording(part: Run["parts"][number] | undefined): string {
  return typeof part === "string" ? part : "";
}

function fill(parts: Run["parts"], texts: Readonly<Record<TextSlot, string>>): string {
  return parts
    .map((part) => {
      if (typeof part === "string") return part;
      return part.trim ? stripLikePython(texts[part.text]) : texts[part.text];
    })
    .join("");
}

/** @param apart tokens kept of the texts that stand apart from the document, counted over all of them. */
function assemble(
  sections: readonly PreparedSection[],
  documentIds: readonly number[],
  apart: number,
): { ids: Int32Array; segmentIds: Int32Array } {
  const ids: number[] = [];
  const segmentIds: number[] = [];
  let left = apart;
  for (const section of sections) {
    let own = section.kind === "document" ? documentIds : section.ids;
    if (section.kind === "query") {
      own = own.slice(0, left);
      left -= own.length;
    }
    for (const id of own) {
      ids.push(id);
      segmentIds.push(section.segment);
    }
  }
  return { ids: Int32Array.from(ids), segmentIds: Int32Array.from(segmentIds) };
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length += 1;
  return length;
}

/** 1 for each UTF-16 code unit that is white space to Python. */
const pythonSpace = new Uint8Array(0x3001);
const pythonSpaces = [
  9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
];
for (const unit of pythonSpaces) pythonSpace[unit] = 1;
pythonSpace.fill(1, 0x2000, 0x200b);

/**
 * Python's `str.strip`, which jinja's `trim` is; JavaScript's `trim` knows other white space. Each end by itself: an
 * expression for both takes the square of the longest run of white space inside.
 */
export function stripLikePython(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && pythonSpace[text.charCodeAt(start)] === 1) start += 1;
  while (end > start && pythonSpace[text.charCodeAt(end - 1)] === 1) end -= 1;
  return text.slice(start, end);
}
