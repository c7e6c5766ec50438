import type { TemplatePiece } from "@crossrank/core";
import type { TextTokenizer } from "@crossrank/core/encoding";
import { nameOfPiece } from "../../describe.js";

/** What a token stands for. */
export type PieceKind = "special" | "wording" | "query" | "document" | "instruction";

/** A piece with its text put in. */
export interface FilledPiece {
  readonly name: string;
  readonly kind: PieceKind;
  readonly segment: 0 | 1;
  /** A special token's id, or the string that is tokenised together with its neighbours'. Undefined for a split. */
  readonly content: number | string | undefined;
  /** Of a document: its place among those that were given. */
  readonly document?: number | undefined;
}

export function fill(
  pieces: readonly TemplatePiece[],
  texts: Readonly<Record<"query" | "document" | "instruction", string>>,
  numbers?: { readonly index: number; readonly count: number },
): FilledPiece[] {
  return pieces.map((piece): FilledPiece => {
    const name = nameOfPiece(piece);
    if ("split" in piece) return { name, kind: "special", segment: 0, content: undefined };
    if ("id" in piece) return { name, kind: "special", segment: piece.segment, content: piece.id };
    if ("text" in piece) {
      const text = texts[piece.text];
      const content = piece.trim === true ? text.trim() : text;
      return { name, kind: piece.text, segment: piece.segment, content };
    }
    const literal = numbers
      ? piece.literal
          .replaceAll("{index}", String(numbers.index))
          .replaceAll("{count}", String(numbers.count))
      : piece.literal;
    return { name: JSON.stringify(literal), kind: "wording", segment: piece.segment, content: literal };
  });
}

/** A token of the whole sequence, before anything was cut. */
export interface OwnedToken {
  readonly id: number;
  /** Position of its piece. */
  readonly position: number;
}

/**
 * The whole sequence, each id with the position of its piece. Neighbouring strings are tokenised as one, as core does
 * it; a token that spans two pieces goes to the second.
 */
export function assignTokens(pieces: readonly FilledPiece[], tokenizer: TextTokenizer): OwnedToken[] {
  const owned: OwnedToken[] = [];
  let run: { readonly position: number; readonly text: string }[] = [];
  let segment = 0;
  const encode = (text: string): readonly number[] => tokenizer.encode(text, Number.MAX_SAFE_INTEGER).ids;
  const close = (): void => {
    const all = encode(run.map(({ text }) => text).join(""));
    let end = all.length;
    // From the last piece back: what its predecessors' characters already settle is theirs.
    const ends = run.map((_, index) => {
      if (index === run.length - 1) return end;
      const before = encode(
        run
          .slice(0, index + 1)
          .map(({ text }) => text)
          .join(""),
      );
      let common = 0;
      while (common < before.length && before[common] === all[common]) common += 1;
      return common;
    });
    for (let index = run.length - 1; index >= 0; index -= 1) {
      end = Math.min(end, ends[index] as number);
      ends[index] = end;
    }
    let at = 0;
    for (const [index, { position }] of run.entries()) {
      for (; at < (ends[index] as number); at += 1) owned.push({ id: all[at] as number, position });
    }
    run = [];
  };
  for (const [position, piece] of pieces.entries()) {
    const { content } = piece;
    if (typeof content !== "string" || piece.segment !== segment) close();
    if (content === undefined) continue;
    segment = piece.segment;
    if (typeof content === "number") owned.push({ id: content, position });
    else run.push({ position, text: content });
  }
  close();
  return owned;
}

/**
 * Which of the whole sequence's tokens are in the one that was cut: for each id of it the token's place in the whole, or
 * undefined where a cut made another token than the whole has. A cut takes the end of the document, with
 * `longest-first` that of the query too; what the template puts behind them stays.
 *
 * @param cutQuery tokens that core says it cut from texts before the document.
 */
export function matchCut(
  ids: Int32Array,
  whole: readonly OwnedToken[],
  pieces: readonly FilledPiece[],
  cutQuery: number,
): (number | undefined)[] {
  const kindOf = (at: number): PieceKind | undefined => pieces[whole[at]?.position ?? -1]?.kind;
  const places = whole.map((_, at) => at);
  if (ids.length === whole.length && whole.every(({ id }, at) => id === ids[at])) return places;
  const isQuery = (at: number): boolean => kindOf(at) === "query" || kindOf(at) === "instruction";
  const queryPlaces = places.filter(isQuery);
  const shortened = new Set(cutQuery > 0 ? queryPlaces.slice(-cutQuery) : []);
  for (const kept of [
    places,
    ...(cutQuery > 0 ? [places.filter((at) => !shortened.has(at))] : []),
  ].reverse()) {
    const found = matchEnds(ids, whole, kept, (at) => kindOf(at) === "document");
    if (found !== undefined) return found;
  }
  // What is before the cut is sure in any case.
  let same = 0;
  while (same < ids.length && whole[same]?.id === ids[same]) same += 1;
  return Array.from(ids, (_, at) => (at < same ? at : undefined));
}

/** One gap: what stands behind the document's last token is the end, and what is before the gap the beginning. */
function matchEnds(
  ids: Int32Array,
  whole: readonly OwnedToken[],
  kept: readonly number[],
  isDocument: (at: number) => boolean,
): number[] | undefined {
  const last = kept.findLastIndex(isDocument);
  const end = kept.slice(last + 1);
  if (last < 0 || end.length > ids.length) return undefined;
  const beginning = kept.slice(0, ids.length - end.length);
  const places = [...beginning, ...end];
  const isSame = places.length === ids.length && places.every((at, index) => whole[at]?.id === ids[index]);
  return isSame ? places : undefined;
}

/** Characters looked at, one by one, to find where exactly a token ends. */
const mostSteps = 64;

/**
 * The character at which the first `kept` tokens of a text end. Of several the last, so that white space goes to what was
 * kept.
 *
 * @param before what stands before the text in the string that is tokenised as one, and `keptBefore` its tokens.
 */
export function endOfTokens(tokenizer: TextTokenizer, before: string, text: string, kept: number): number {
  const count = (end: number): number => {
    const { ids, truncatedTokens } = tokenizer.encode(before + text.slice(0, end), kept + 1);
    return ids.length + truncatedTokens;
  };
  const wanted = tokenizer.encode(before + text, kept).ids;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (count(middle) <= kept) low = middle;
    else high = middle - 1;
  }
  // A token may hold a part of a character, or of the space before a word: that is then cut with the word.
  let nearest: number | undefined;
  for (let end = low; end >= 0 && end > low - mostSteps; end -= 1) {
    const { ids } = tokenizer.encode(before + text.slice(0, end), kept + 1);
    if (ids.length > wanted.length || !ids.every((id, at) => id === wanted[at])) continue;
    if (ids.length === wanted.length) return end;
    nearest ??= end;
  }
  return nearest ?? low;
}
