/**
 * Work that can be left and taken up again. It yields where others may have a turn, and it never goes on for more than
 * some milliseconds in between, however long a text is. Whoever drives it looks at the clock.
 */
export type Turns<T> = Generator<undefined, T, undefined>;

/** Does all of the work at once. */
export function finish<T>(work: Turns<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** UTF-16 code units of a text, or other things of its size, that are worked on between two turns. */
export const partLength = 8192;

/** A function that can also be worked off in turns, with the same result. */
export interface InTurns<Input extends readonly unknown[], Output> {
  (...input: Input): Output;
  inTurns(...input: Input): Turns<Output>;
}

export function withTurns<Input extends readonly unknown[], Output>(
  atOnce: (...input: Input) => Output,
  inTurns: (...input: Input) => Turns<Output>,
): InTurns<Input, Output> {
  return Object.assign((...input: Input) => atOnce(...input), { inTurns });
}

/**
 * Where a text falls into two parts that may be worked on apart, at a position or soon behind it; the text's length at
 * its end, and undefined where it does not fall apart within {@link partLength}.
 */
export type Seam = (text: string, position: number) => number | undefined;

/** Anywhere but inside of a surrogate pair: for what is done to each character by itself. */
export function betweenCharacters(text: string, position: number): number {
  if (position >= text.length) return text.length;
  const unit = text.charCodeAt(position);
  const before = text.charCodeAt(position - 1);
  return unit >= 0xdc00 && unit <= 0xdfff && before >= 0xd800 && before <= 0xdbff ? position + 1 : position;
}

/** @param expression finds the first character of a part, and may look at the one before it; global. */
export function seamAt(expression: RegExp): Seam {
  return (text, position) => {
    if (position >= text.length) return text.length;
    const from = Math.max(0, position - 2);
    const looked = text.slice(from, position + partLength);
    expression.lastIndex = position - from;
    const index = expression.exec(looked)?.index;
    const isAtEnd = from + looked.length === text.length;
    // The last one may be half of a character.
    if (index !== undefined && (isAtEnd || index < looked.length - 1)) return from + index;
    return isAtEnd ? text.length : undefined;
  };
}

/** What becomes of a text when its parts are worked on one after the other. */
export function* inParts(
  text: string,
  work: (part: string) => string | Turns<string>,
  seam: Seam = betweenCharacters,
  length: number = partLength,
): Turns<string> {
  let out = "";
  for (let start = 0; start < text.length; ) {
    let least = start + length;
    let end = seam(text, least);
    for (; end === undefined; end = seam(text, least)) {
      least += partLength - 1;
      yield;
    }
    const done = work(text.slice(start, end));
    out += inOnePiece(typeof done === "string" ? done : yield* done);
    start = end;
    yield;
  }
  return out;
}

/**
 * The same text. Engines keep what is put together as a tree, and write it out when it is read: that takes as long for
 * millions of pieces as their work took, and is done here for few at a time.
 */
export function inOnePiece(text: string): string {
  return Number.isNaN(text.charCodeAt(0)) ? "" : text;
}
