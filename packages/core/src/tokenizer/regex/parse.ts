import {
  type CharacterSet,
  complement,
  digit,
  everything,
  foldsToSeveral,
  hexDigit,
  ignoringCase,
  intersection,
  newline,
  notNewline,
  posixBracket,
  property,
  setOf,
  space,
  union,
  word,
  wordInClass,
} from "./character-set.js";
import { PatternError } from "./pattern-error.js";
import { type Assertion, childrenOf, holds, lengthOf, type Node } from "./syntax.js";

/** UTF-16 code units of an expression. The longest that a published tokenizer has is below 1,000. */
const longestPattern = 10_000;
/** Groups in groups. */
const deepest = 100;
/** Oniguruma's own limit of a counted repetition. */
const mostRepeats = 100_000;

/** An expression, and how many capturing groups it has. */
export interface Parsed {
  readonly root: Node;
  readonly groups: number;
}

interface Options {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
  readonly extended: boolean;
}

/**
 * Reads Oniguruma's syntax, as the `onig` of Rust's tokenizers 0.23.3 has it (Oniguruma 6.9.10, its own syntax, UTF-8).
 * What it refuses, and what means something that is not worked out exactly here, is refused: absent operators,
 * callouts, conditionals, calls of groups, text segments, the options W, D, S, P, and case folding from or to several
 * characters.
 *
 * @throws {PatternError} for what is refused.
 */
export function parsePattern(source: string): Parsed {
  if (source.length > longestPattern)
    throw new PatternError(`a regular expression of ${source.length} characters is too long`);
  return new Parser(source).parse();
}

const escapedCharacters: ReadonlyMap<string, number> = new Map([
  ["t", 9],
  ["n", 10],
  ["v", 11],
  ["f", 12],
  ["r", 13],
  ["a", 7],
  ["e", 27],
]);

const assertions: ReadonlyMap<string, Assertion> = new Map([
  ["A", "text-start"],
  ["z", "text-end"],
  ["Z", "text-end-or-last-newline"],
  ["G", "search-start"],
  ["b", "word-boundary"],
  ["B", "no-word-boundary"],
]);

/** Capitals are complements. */
const classes: ReadonlyMap<string, readonly [alone: CharacterSet, inClass: CharacterSet]> = new Map([
  ["d", [digit, digit]],
  ["s", [space, space]],
  ["w", [word, wordInClass]],
  ["h", [hexDigit, hexDigit]],
]);

const generalNewline: Node = {
  kind: "atomic",
  body: {
    kind: "choice",
    options: [
      { kind: "text", text: "\r\n" },
      { kind: "set", set: newline },
    ],
  },
};

const nothing: Node = { kind: "sequence", parts: [] };

class Parser {
  readonly #source: string;
  #at = 0;
  #depth = 0;
  #groups = 0;
  #names = new Map<string, number>();
  readonly #namedOnly: boolean;
  #references: (number | string)[] = [];

  constructor(source: string) {
    this.#source = source;
    // With named groups, plain ones do not capture.
    this.#namedOnly = /\(\?<[^=!]/.test(source);
  }

  parse(): Parsed {
    const root = this.#alternatives({ ignoreCase: false, dotAll: false, extended: false });
    if (this.#at < this.#source.length) throw new PatternError("a ) closes nothing");
    for (const reference of this.#references) {
      if (typeof reference === "number" && reference > this.#groups)
        throw new PatternError(`\\${reference} refers to a group that is not there`);
    }
    check(root, this.#references.length > 0);
    return { root, groups: this.#groups };
  }

  #peek(text: string): boolean {
    return this.#source.startsWith(text, this.#at);
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false;
    this.#at += text.length;
    return true;
  }

  /** The match of a sticky expression here, which is then behind. */
  #match(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#at;
    const found = expression.exec(this.#source);
    if (found !== null) this.#at += found[0].length;
    return found;
  }

  #character(): string {
    const codePoint = this.#source.codePointAt(this.#at);
    if (codePoint === undefined) throw new PatternError("it ends too early");
    const character = String.fromCodePoint(codePoint);
    this.#at += character.length;
    return character;
  }

  #alternatives(options: Options): Node {
    this.#depth += 1;
    if (this.#depth > deepest) throw new PatternError("its groups are nested too deeply");
    const found: Node[] = [];
    do found.push(this.#sequence(options));
    while (this.#take("|"));
    this.#depth -= 1;
    return found.length === 1 ? (found[0] as Node) : { kind: "choice", options: found };
  }

  #sequence(options: Options): Node {
    const parts: Node[] = [];
    while (this.#at < this.#source.length && !this.#peek("|") && !this.#peek(")")) {
      if (options.extended && this.#match(/[\t-\r ]+|#[^\n]*\n?/y)) continue;
      if (this.#match(/\(\?#(?:[^)\\]|\\[\s\S])*\)/y)) continue;
      const isolated = this.#match(/\(\?([imx]*)(?:-([imx]*))?\)/y);
      if (isolated !== null) {
        // Everything up to the end of the group, alternatives as well, stands under the new options.
        parts.push(this.#alternatives(changed(options, isolated[1] ?? "", isolated[2] ?? "")));
        break;
      }
      const atom = this.#atom(options);
      parts.push(this.#quantified(atom, options));
    }
    return joined(parts, options.ignoreCase);
  }

  #quantified(atom: Node, options: Options): Node {
    let node = atom;
    for (;;) {
      if (options.extended && this.#match(/[\t-\r ]+|#[^\n]*\n?/y)) continue;
      if (this.#match(/\(\?#(?:[^)\\]|\\[\s\S])*\)/y)) continue;
      const sign = this.#match(/[*+?]/y)?.[0];
      const interval = sign === undefined ? this.#match(/\{(?:(\d+)(,(\d*))?|,(\d+))\}/y) : null;
      if (sign === undefined && interval === null) return node;
      if (isInvalidTarget(node)) throw new PatternError("an anchor cannot be repeated");
      let least = sign === "+" ? 1 : 0;
      let most = sign === "?" ? 1 : Number.POSITIVE_INFINITY;
      let isFixed = false;
      if (interval !== null) {
        const [, from, comma, to, upTo] = interval;
        least = Number(from ?? 0);
        most = upTo !== undefined ? Number(upTo) : comma === undefined ? least : to ? Number(to) : most;
        isFixed = from !== undefined && comma === undefined;
        if (least > mostRepeats || (most > mostRepeats && most !== Number.POSITIVE_INFINITY))
          throw new PatternError("a repetition is too long");
        if (least > most) throw new PatternError("the numbers of a repetition are the wrong way round");
        if (options.ignoreCase && node.kind === "set" && most > 1) this.#noRepeatedFold(node.set);
      }
      // {n}? is an optional {n}: only a repetition without a fixed number can be lazy.
      const lazy = !isFixed && this.#take("?");
      const isPossessive = !lazy && interval === null && this.#take("+");
      if (node.kind === "repeat" && (lazy || node.lazy))
        throw new PatternError("a lazy repetition repeated is not supported");
      node =
        node.kind === "repeat" && isSimple(node) && isSimple({ least, most })
          ? // As Oniguruma does: (?:a+)+ is a+, which there are not exponentially many ways to match.
            { ...node, least: Math.min(node.least, least), most: Math.max(node.most, most) }
          : { kind: "repeat", body: node, least, most, lazy };
      if (isPossessive) node = { kind: "atomic", body: node };
    }
  }

  /** Of ss and ff, which ß and ﬀ fold to, Oniguruma makes one string when their number is fixed. */
  #noRepeatedFold(set: CharacterSet): void {
    if (isOf(set, "s") || isOf(set, "f"))
      throw new PatternError("case folding to several characters is not supported");
  }

  #atom(options: Options): Node {
    const character = this.#character();
    switch (character) {
      case "(":
        return this.#group(options);
      case "[":
        return { kind: "set", set: this.#class(options) };
      case ".":
        return { kind: "set", set: options.dotAll ? everything : notNewline };
      case "^":
        return { kind: "assert", what: "line-start" };
      case "$":
        return { kind: "assert", what: "line-end" };
      case "*":
      case "+":
      case "?":
        throw new PatternError(`${character} repeats nothing`);
      case "{":
        this.#at -= 1;
        if (this.#match(/\{\d*,?\d*\}/y)) throw new PatternError("{ repeats nothing");
        this.#at += 1;
        return this.#literal(0x7b, options);
      case "\\":
        return this.#escape(options);
      default:
        return this.#literal(character.codePointAt(0) as number, options);
    }
  }

  #literal(codePoint: number, { ignoreCase }: Options): Node {
    if (codePoint >= 0xd800 && codePoint <= 0xdfff) throw new PatternError("half of a character");
    if (!ignoreCase) return { kind: "text", text: String.fromCodePoint(codePoint) };
    const set = ignoringCase(codePoint);
    if (foldsToSeveral(set) || beginsOrEndsAFold(codePoint))
      throw new PatternError("case folding to several characters is not supported");
    return { kind: "set", set };
  }

  #group(options: Options): Node {
    const close = (node: Node): Node => {
      if (!this.#take(")")) throw new PatternError("a group is not closed");
      return node;
    };
    const inner = (changedOptions = options): Node => close(this.#alternatives(changedOptions));
    if (this.#peek("*")) throw new PatternError("callouts are not supported");
    if (!this.#take("?")) {
      if (this.#namedOnly) return inner();
      this.#groups += 1;
      const index = this.#groups;
      return { kind: "group", index, body: inner() };
    }
    if (this.#take(":")) return inner();
    if (this.#take(">")) return { kind: "atomic", body: inner() };
    const look = this.#match(/(<?)([=!])/y);
    if (look !== null) {
      const [, behind, sign] = look;
      return { kind: "look", behind: behind === "<", negative: sign === "!", body: inner() };
    }
    const name = this.#match(/<([A-Za-z_]\w*)>/y)?.[1];
    if (name !== undefined) {
      if (this.#names.has(name)) throw new PatternError(`two groups are named ${name}`);
      this.#groups += 1;
      const index = this.#groups;
      this.#names.set(name, index);
      return { kind: "group", index, body: inner() };
    }
    const flags = this.#match(/([imx]*)(?:-([imx]*))?:/y);
    if (flags !== null) return inner(changed(options, flags[1] ?? "", flags[2] ?? ""));
    throw new PatternError(`the group (?${this.#source.slice(this.#at, this.#at + 3)} is not supported`);
  }

  #escape(options: Options): Node {
    const start = this.#at;
    const letter = this.#character();
    const assertion = assertions.get(letter);
    if (assertion !== undefined) return { kind: "assert", what: assertion };
    if (letter === "K") return { kind: "keep" };
    if (letter === "R") return generalNewline;
    if (letter === "N") return { kind: "set", set: notNewline };
    if (letter === "O") return { kind: "set", set: everything };
    if (letter === "k") {
      const name = this.#match(/<([A-Za-z_]\w*)>/y)?.[1];
      const index = this.#names.get(name ?? "");
      if (index === undefined) throw new PatternError("\\k refers to a group that is not there yet");
      return this.#reference(index, options);
    }
    const number = /[1-9]/.test(letter) ? Number(letter + (this.#match(/\d*/y)?.[0] ?? "")) : 0;
    if (number > 0) {
      if (this.#namedOnly || number > 99) throw new PatternError("a number that refers to no group");
      return this.#reference(number, options);
    }
    this.#at = start;
    const set = this.#classEscape(0);
    if (set !== undefined) return { kind: "set", set };
    return this.#literal(this.#codePointEscape(), options);
  }

  #reference(index: number, { ignoreCase }: Options): Node {
    if (ignoreCase) throw new PatternError("a reference that ignores case is not supported");
    this.#references.push(index);
    return { kind: "reference", index };
  }

  /** `\d`, `\p{…}` and their like. @param column of `classes`. */
  #classEscape(column: 0 | 1): CharacterSet | undefined {
    const found = this.#match(/([dswhDSWH])|([pP])\{(\^?)([^{}]{1,100})\}/y);
    if (found === null) return undefined;
    const [, short, kind, not, name] = found;
    if (short !== undefined) {
      const set = (classes.get(short.toLowerCase()) as readonly CharacterSet[])[column] as CharacterSet;
      return short === short.toLowerCase() ? set : complement(set);
    }
    const set = property(name as string, column === 0);
    return (kind === "P") !== (not === "^") ? complement(set) : set;
  }

  /** A character that is spelled behind a backslash. */
  #codePointEscape(): number {
    const hex = this.#match(/x\{([0-9A-Fa-f]{1,8})\}|u([0-9A-Fa-f]{4})/y);
    if (hex !== null) return this.#codePoint(Number.parseInt((hex[1] ?? hex[2]) as string, 16));
    // Two hexadecimal or three octal digits are a byte, which above 7F is no character.
    const byte = this.#match(/x([0-9A-Fa-f]{1,2})(?![0-9A-Fa-f])|x([0-9A-Fa-f]{2})|0([0-7]{0,2})/y);
    if (byte !== null) {
      const value =
        byte[3] === undefined
          ? Number.parseInt((byte[1] ?? byte[2]) as string, 16)
          : Number.parseInt(`0${byte[3]}`, 8);
      if (value > 0x7f) throw new PatternError("a byte that is no character is not supported");
      return value;
    }
    const character = this.#character();
    const known = escapedCharacters.get(character);
    if (known !== undefined) return known;
    if (/[A-Za-z0-9<>]/.test(character) || (character.codePointAt(0) as number) > 0x7f)
      throw new PatternError(`\\${character} is not supported`);
    return character.codePointAt(0) as number;
  }

  #codePoint(value: number): number {
    if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
      throw new PatternError("a number that is no character");
    return value;
  }

  /** Behind `[`. */
  #class(options: Options): CharacterSet {
    const isNegative = this.#take("^");
    const { set, holdsComplement } = this.#classBody(options);
    if (options.ignoreCase) {
      if (!isNegative ? foldsToSeveral(set) : holdsComplement)
        throw new PatternError("case folding to several characters is not supported");
    }
    return isNegative ? complement(set) : set;
  }

  #classBody(options: Options): { set: CharacterSet; holdsComplement: boolean } {
    this.#depth += 1;
    if (this.#depth > deepest) throw new PatternError("its classes are nested too deeply");
    const { ignoreCase } = options;
    const operands: CharacterSet[] = [];
    let parts: CharacterSet[] = [];
    let holdsComplement = false;
    /** What stood before a `-` decides what the `-` is. */
    let previous: "nothing" | "character" | "range" | "set" = "nothing";
    const close = (): void => {
      if (parts.length === 0) throw new PatternError("an empty class");
      operands.push(union(parts));
      parts = [];
      previous = "nothing";
    };
    if (this.#peek("]")) throw new PatternError("an empty class");
    while (!this.#take("]")) {
      if (this.#take("&&")) {
        if (ignoreCase) throw new PatternError("an intersection that ignores case is not supported");
        close();
        continue;
      }
      const bracket = this.#match(/\[:(\^?)(\w+):\]/y);
      if (bracket !== null) {
        const set = posixBracket(bracket[2] as string);
        parts.push(this.#classPart(bracket[1] ? complement(set) : set, ignoreCase));
        holdsComplement ||= bracket[1] === "^";
        previous = "set";
        continue;
      }
      if (this.#peek("[:")) throw new PatternError("an unknown bracket");
      if (this.#take("[")) {
        const isNegative = this.#take("^");
        const inner = this.#classBody(options);
        holdsComplement ||= isNegative || inner.holdsComplement;
        parts.push(isNegative ? complement(inner.set) : inner.set);
        previous = "set";
        continue;
      }
      if (this.#peek("-")) {
        this.#at += 1;
        const isLast = this.#peek("]");
        if (previous !== "nothing" && !isLast) throw new PatternError("a - between what is no range");
        if (this.#peek("-") || this.#peek("&&")) throw new PatternError("a - between what is no range");
        parts.push(setOf(0x2d));
        previous = isLast ? "set" : "character";
        if (!isLast && this.#peek("-")) throw new PatternError("a - between what is no range");
        continue;
      }
      if (this.#take("\\")) {
        const start = this.#at;
        const set = this.#classEscape(1);
        if (set !== undefined) {
          const isComplement = /^(?:[DSWHP]|p\{\^)/.test(this.#source.slice(start, start + 3));
          holdsComplement ||= isComplement;
          parts.push(this.#classPart(set, ignoreCase));
          previous = "set";
          continue;
        }
        this.#at = start - 1;
      }
      const first = this.#classCharacter();
      let last = first;
      if (this.#peek("-") && !this.#source.startsWith("-]", this.#at)) {
        this.#at += 1;
        if (this.#peek("[") || this.#peek("&&")) throw new PatternError("a range without an end");
        last = this.#classCharacter();
        if (last < first) throw new PatternError("a range that runs backwards");
        previous = "range";
      } else previous = "character";
      parts.push(ignoreCase ? ignoringCase(first, last) : setOf(first, last));
    }
    close();
    this.#depth -= 1;
    return {
      set: operands.length === 1 ? (operands[0] as CharacterSet) : intersection(operands),
      holdsComplement,
    };
  }

  /** A property under "ignore case" counts in both cases. Only those without cases are supported there. */
  #classPart(set: CharacterSet, ignoreCase: boolean): CharacterSet {
    if (ignoreCase && /[A-Za-z\u0370-\u03ff\u24b6-\u24e9\u2160-\u217f]/.test(charactersOf(set)))
      throw new PatternError("a class of letters that ignores case is not supported");
    return set;
  }

  #classCharacter(): number {
    if (!this.#take("\\")) {
      const codePoint = this.#character().codePointAt(0) as number;
      if (codePoint >= 0xd800 && codePoint <= 0xdfff) throw new PatternError("half of a character");
      return codePoint;
    }
    if (this.#take("b")) return 8;
    if (/[dswhpDSWHPRNOXKAzZGBkg1-9]/.test(this.#source.charAt(this.#at)))
      throw new PatternError("a class in a class's range is not supported");
    return this.#codePointEscape();
  }
}

function isAnchor(node: Node): boolean {
  return node.kind === "assert" || node.kind === "keep" || node.kind === "look";
}

/** One of *, + and ?. */
function isSimple({ least, most }: { readonly least: number; readonly most: number }): boolean {
  return least < 2 && (most === Number.POSITIVE_INFINITY || (least === 0 && most === 1));
}

/** Oniguruma looks into alternatives, too. */
function isInvalidTarget(node: Node): boolean {
  return isAnchor(node) || (node.kind === "choice" && node.options.some(isInvalidTarget));
}

function changed(options: Options, on: string, off: string): Options {
  const is = (flag: string, before: boolean): boolean => (before || on.includes(flag)) && !off.includes(flag);
  return {
    ignoreCase: is("i", options.ignoreCase),
    dotAll: is("m", options.dotAll),
    extended: is("x", options.extended),
  };
}

/** Neighbouring characters as one string. */
function joined(parts: readonly Node[], ignoreCase: boolean): Node {
  if (ignoreCase) refuseFolds(parts);
  const merged: Node[] = [];
  for (const part of parts) {
    const last = merged.at(-1);
    if (part.kind === "text" && last?.kind === "text")
      merged[merged.length - 1] = { kind: "text", text: last.text + part.text };
    else merged.push(part);
  }
  return merged.length === 0
    ? nothing
    : merged.length === 1
      ? (merged[0] as Node)
      : { kind: "sequence", parts: merged };
}

/** Two letters that one letter folds to. */
const pairsOfLetters = ["ss", "ff", "fi", "fl", "st"];

function refuseFolds(parts: readonly Node[]): void {
  parts.forEach((part, index) => {
    const next = parts[index + 1];
    if (next === undefined) return;
    const last = edge(part, "last");
    const first = edge(next, "first");
    for (const [one = "", two = ""] of pairsOfLetters) {
      if (last.some((set) => isOf(set, one)) && first.some((set) => isOf(set, two)))
        throw new PatternError("case folding to several characters is not supported");
    }
  });
}

/** The sets that a node may end or begin with. */
function edge(node: Node, side: "first" | "last"): readonly CharacterSet[] {
  switch (node.kind) {
    case "set":
      return [node.set];
    case "sequence":
      return node.parts.length === 0 ? [] : edge(node.parts.at(side === "first" ? 0 : -1) as Node, side);
    case "choice":
      return node.options.flatMap((option) => edge(option, side));
    case "group":
    case "atomic":
      return edge(node.body, side);
    case "repeat":
      return node.least === node.most ? edge(node.body, side) : [];
    default:
      return [];
  }
}

/** Whether a set is one letter in both cases. */
function isOf(set: CharacterSet, letter: string): boolean {
  const code = letter.charCodeAt(0);
  return set.ascii[code] === 1 && set.ascii.reduce((sum, one) => sum + one, 0) <= 2;
}

/** Characters outside of ASCII that stand in what a letter folds to: the marks of ǰ and ẖ, the iota of ᾳ. */
function beginsOrEndsAFold(codePoint: number): boolean {
  return (
    (codePoint >= 0x300 && codePoint <= 0x36f) ||
    codePoint === 0x2bc ||
    codePoint === 0x2be ||
    codePoint === 0x3b9 ||
    codePoint === 0x399 ||
    codePoint === 0x1fbe ||
    (codePoint >= 0x531 && codePoint <= 0x587)
  );
}

/** The characters of a set among those that have two cases, as far as they tell letters from others. */
function charactersOf(set: CharacterSet): string {
  let characters = "";
  for (const [first, last] of [
    [0x41, 0x7a],
    [0x370, 0x3ff],
    [0x2160, 0x217f],
    [0x24b6, 0x24e9],
  ] as const) {
    for (let codePoint = first; codePoint <= last; codePoint += 1)
      if (set.has(codePoint)) characters += String.fromCodePoint(codePoint);
  }
  return characters;
}

/** Oniguruma refuses some repetitions and anchors in a look-behind. @returns how many repetitions have no fixed length. */
function checkLookBehind(node: Node): number {
  const isUnusual =
    (node.kind === "repeat" && (node.lazy || node.most === 0 || node.body.kind === "repeat")) ||
    (node.kind === "assert" && node.what !== "line-start" && node.what !== "text-start");
  if (isUnusual) throw new PatternError(`such a ${node.kind} in a look-behind is not supported`);
  const own = node.kind === "repeat" && node.least !== node.most ? 1 : 0;
  return childrenOf(node).reduce((count, child) => count + checkLookBehind(child), own);
}

/** What depends on where it stands. */
function check(node: Node, hasReferences: boolean): void {
  if (node.kind === "look" && node.behind) {
    for (const kind of ["group", "reference", "keep", "look", "atomic"] as const) {
      if (holds(node.body, kind)) throw new PatternError(`a ${kind} in a look-behind is not supported`);
    }
    if (checkLookBehind(node.body) > 1)
      throw new PatternError("several repetitions of any length in a look-behind are not supported");
  }
  if (node.kind === "look" && node.negative && holds(node.body, "group"))
    throw new PatternError("a group in a negative look-around is not supported");
  if (node.kind === "look" && holds(node.body, "keep"))
    throw new PatternError("\\K in a look-around is not supported");
  if (node.kind === "repeat") {
    if (hasReferences && node.most > 1 && holds(node.body, "group") && lengthOf(node.body)[0] === 0)
      throw new PatternError("a repeated group that may be empty is not supported beside a reference");
    if (holds(node.body, "keep")) throw new PatternError("a repeated \\K is not supported");
  }
  for (const child of childrenOf(node)) check(child, hasReferences);
}
