import { joining, prepended, separate, virama } from "./cluster-characters.js";
import { inOnePiece, partLength, type Turns } from "./turns.js";

const joins = 1;
const isPrepended = 2;
const isSeparate = 4;
const isVirama = 8;
const isPictograph = 16;
const isLetter = 32;
const known = 128;

const tests: readonly (readonly [property: number, expression: RegExp])[] = [
  [joins, new RegExp(`^${joining}$`, "u")],
  [isPrepended, new RegExp(`^${prepended}$`, "u")],
  [isSeparate, new RegExp(`^${separate}$`, "u")],
  [isVirama, new RegExp(`^${virama}$`, "u")],
  [isPictograph, /^\p{Extended_Pictographic}$/u],
  [isLetter, /^\p{Lo}$/u],
];

const zeroWidthJoiner = 0x200d;
const carriageReturn = 13;
const lineFeed = 10;
/** A cluster of less bytes of UTF-8 is replaced as a whole. */
const shortCluster = 6;

let remembered: Uint8Array | undefined;

function propertiesOf(codePoint: number): number {
  remembered ??= new Uint8Array(0x110000);
  let properties = remembered[codePoint] as number;
  if (properties === 0) {
    const character = String.fromCodePoint(codePoint);
    properties = known;
    for (const [property, expression] of tests) if (expression.test(character)) properties |= property;
    remembered[codePoint] = properties;
  }
  return properties;
}

/** Whether so many characters follow each other of which each joins the one before it, or is joined to it. */
export function joinsMoreThan(most: number, text: string): boolean {
  let run = 0;
  let before = 0;
  for (let position = 0; position < text.length; ) {
    const codePoint = text.codePointAt(position) as number;
    position += codePoint > 0xffff ? 2 : 1;
    // Below U+0300 nothing joins.
    const properties = codePoint < 0x300 ? 0 : propertiesOf(codePoint);
    run = (properties & joins) !== 0 || (before & (joins | isPrepended)) !== 0 ? run + 1 : 0;
    if (run > most) return true;
    before = properties;
  }
  return false;
}

/**
 * Grapheme clusters of any length, as the expression of charsmap.ts has those of up to a thousand characters, each
 * replaced as a whole where it is short, and character by character where it is not.
 */
export function createLongClusters(replace: (text: string) => string): (text: string) => Turns<string> {
  return function* (text) {
    let out = "";
    let part = "";
    let count = 0;
    let start = 0;
    while (start < text.length) {
      // A short cluster as a whole; of a longer one what was read of it, character by character.
      let pending = "";
      let bytes = 0;
      const cluster = new ClusterEnd();
      while (start < text.length) {
        const codePoint = text.codePointAt(start) as number;
        if (!cluster.takes(codePoint)) break;
        const character = String.fromCodePoint(codePoint);
        start += character.length;
        count += 1;
        if (bytes >= shortCluster) part += replace(character);
        else {
          pending += character;
          bytes += bytesOf(codePoint);
          if (bytes >= shortCluster) part += replace(pending);
        }
        if (count % partLength === 0) {
          out += inOnePiece(part);
          part = "";
          yield;
        }
      }
      if (bytes < shortCluster) part += replace(pending);
    }
    return out + part;
  };
}

function bytesOf(codePoint: number): number {
  if (codePoint < 0x80) return 1;
  if (codePoint < 0x800) return 2;
  return codePoint < 0x10000 ? 3 : 4;
}

/** Reads one cluster from its beginning. */
class ClusterEnd {
  /** What the next character may be: anything, more of the beginning, or what joins. */
  #state: "start" | "prepended" | "return" | "joined" | "pictographs" | "letters" | "over" = "start";
  /** Of pictographs: joiners since the last one. */
  #joiners = 0;
  #endsInJoiner = false;
  /** Of letters: whether a virama came since the last one. */
  #hasVirama = false;

  /** Whether the character belongs to the cluster; it is then taken into it. */
  takes(codePoint: number): boolean {
    const properties = propertiesOf(codePoint);
    switch (this.#state) {
      case "start":
        if ((properties & isPrepended) !== 0) this.#state = "prepended";
        else if (codePoint === carriageReturn) this.#state = "return";
        else if ((properties & isSeparate) !== 0) this.#state = "over";
        else this.#begin(properties);
        return true;
      case "prepended":
        if ((properties & isPrepended) !== 0) return true;
        if ((properties & isSeparate) === 0) {
          this.#begin(properties);
          return true;
        }
        this.#state = "joined";
        return (properties & joins) !== 0;
      case "return":
        this.#state = "over";
        return codePoint === lineFeed;
      case "over":
        return false;
      case "joined":
        return (properties & joins) !== 0;
      case "pictographs":
        return this.#takesPictograph(codePoint, properties);
      case "letters":
        return this.#takesLetter(properties);
    }
  }

  #begin(properties: number): void {
    this.#state = "joined";
    if ((properties & isPictograph) !== 0) this.#state = "pictographs";
    else if ((properties & isLetter) !== 0) this.#state = "letters";
  }

  /** One joiner, and at the end, lets another pictograph follow. */
  #takesPictograph(codePoint: number, properties: number): boolean {
    if ((properties & isPictograph) !== 0 && this.#joiners === 1 && this.#endsInJoiner) {
      this.#joiners = 0;
      this.#endsInJoiner = false;
      return true;
    }
    this.#endsInJoiner = codePoint === zeroWidthJoiner;
    if (this.#endsInJoiner) this.#joiners += 1;
    return (properties & joins) !== 0;
  }

  #takesLetter(properties: number): boolean {
    if ((properties & joins) !== 0) {
      this.#hasVirama ||= (properties & isVirama) !== 0;
      return true;
    }
    const isNext = this.#hasVirama && (properties & isLetter) !== 0;
    this.#hasVirama = false;
    return isNext;
  }
}
