// Marks between which a part of a document is measured, and written by a command: everything else is its author's.
import { CrossrankError } from "@crossrank/core";

/** A card that cannot be changed in place, or cannot be written. */
export class CardError extends CrossrankError<"card"> {
  static override readonly code = "card";

  /** As it was asked for. */
  readonly card: string;
  /** From 1; undefined where it is not of a line. */
  readonly line: number | undefined;

  constructor(facts: { card: string; line?: number | undefined; problem: string; fix: string }) {
    const { card, line, problem, fix } = facts;
    super("card", `${card}${line === undefined ? "" : ` line ${line}`}: ${problem}. ${fix}.`);
    this.card = card;
    this.line = line;
  }
}

/** A part between its marks. */
export interface MarkedPart {
  readonly name: string;
  /** Offset of the mark that begins it. */
  readonly start: number;
  /** Offset behind the mark that ends it. */
  readonly end: number;
  readonly content: string;
}

export function beginMark(name: string): string {
  return `<!-- crossrank ${name}: begin -->`;
}

export function endMark(name: string): string {
  return `<!-- crossrank ${name}: end -->`;
}

const mark = /^<!-- crossrank ([a-z][a-z-]*): (begin|end) -->$/;
/** Whatever was meant as a mark; one that is damaged must not pass for text. */
const meant = /<!-*\s*crossrank\b[^\n]*?(?:-->|(?=\r?\n|$))/gi;

/**
 * The marked parts of a document, in their order.
 *
 * @throws {CardError} with the line of a mark that is damaged, without its other, inside of another part, or there twice.
 */
export function readMarkedParts(text: string, card: string): MarkedPart[] {
  const parts: MarkedPart[] = [];
  let open: { readonly name: string; readonly start: number; readonly inner: number } | undefined;
  const lineAt = (offset: number): number => text.slice(0, offset).split("\n").length;
  const refuse = (offset: number, problem: string, fix: string): never => {
    throw new CardError({ card, line: lineAt(offset), problem, fix });
  };
  for (const { 0: found, index } of text.matchAll(meant)) {
    const [, name, kind] = mark.exec(found) ?? [];
    if (name === undefined || kind === undefined) {
      return refuse(
        index,
        `the mark ${JSON.stringify(found.slice(0, 60))} is damaged`,
        `Write it as ${beginMark("bench")} or ${endMark("bench")}, or take it out`,
      );
    }
    if (kind === "begin") {
      if (open !== undefined)
        refuse(index, `${name} begins inside of ${open.name}`, `End ${open.name} before it`);
      if (parts.some((part) => part.name === name))
        refuse(index, `${name} is there a second time`, "Leave one of the two");
      open = { name, start: index, inner: index + found.length };
      continue;
    }
    if (open === undefined) return refuse(index, `${name} ends and has not begun`, "Take the mark out");
    if (open.name !== name) refuse(index, `${name} ends inside of ${open.name}`, `End ${open.name} first`);
    parts.push({
      name,
      start: open.start,
      end: index + found.length,
      content: text.slice(open.inner, index).trim(),
    });
    open = undefined;
  }
  if (open !== undefined)
    refuse(open.start, `${open.name} begins and does not end`, `Write ${endMark(open.name)} where it ends`);
  return parts;
}

/** A part with its marks. What it says must not be taken for a mark itself. */
export function markedPart(name: string, content: string, lineEnd = "\n"): string {
  const safe = content.trim().replace(/<!(?=-*\s*crossrank\b)/gi, "&lt;!");
  return `${beginMark(name)}\n\n${safe}\n\n${endMark(name)}`.replaceAll("\n", lineEnd);
}

/** What stands between the marks of a name is replaced; a document without them gets the part at its end, under a title. */
export function withMarkedPart(
  text: string,
  card: string,
  { name, title, content }: { readonly name: string; readonly title: string; readonly content: string },
): string {
  const lineEnd = /\r\n/.test(text) ? "\r\n" : "\n";
  const part = readMarkedParts(text, card).find((one) => one.name === name);
  const marked = markedPart(name, content, lineEnd);
  if (part !== undefined) return text.slice(0, part.start) + marked + text.slice(part.end);
  const before = text.trimEnd();
  return `${before === "" ? "" : `${before}${lineEnd}${lineEnd}`}## ${title}${lineEnd}${lineEnd}${marked}${lineEnd}`;
}
