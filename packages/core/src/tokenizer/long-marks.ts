import { inOnePiece, partLength, type Turns } from "./turns.js";

export type NormalForm = "NFC" | "NFD" | "NFKC" | "NFKD";

/** More marks than this on one letter are put in order here; engines sort fewer fast enough. */
const fewMarks = 64;
/**
 * Of marks of one combining class, only the first ones can be joined with their letter: once one stands by itself, those
 * behind it do too. No letter of Unicode has more marks of one class.
 */
const mostJoined = 8;

/** A combining class, by one of its marks. */
interface MarkClass {
  readonly example: string;
}

/** Classes of marks, in their order, found by what an engine does to two marks. */
const classes: MarkClass[] = [];
const classOfMark = new Map<string, MarkClass>();

function classOf(mark: string): MarkClass {
  let found = classOfMark.get(mark);
  if (found === undefined) {
    let low = 0;
    let high = classes.length;
    while (low < high && found === undefined) {
      const middle = (low + high) >> 1;
      const other = classes[middle] as MarkClass;
      if (swaps(other.example, mark)) high = middle;
      else if (swaps(mark, other.example)) low = middle + 1;
      else found = other;
    }
    if (found === undefined) {
      found = { example: mark };
      classes.splice(low, 0, found);
    }
    classOfMark.set(mark, found);
  }
  return found;
}

/** Whether the second of two marks moves before the first. */
function swaps(first: string, second: string): boolean {
  return (first + second).normalize("NFD") === second + first && first !== second;
}

/** U+0345 has the largest combining class of all, and moves behind every other mark that moves at all. */
function isReordered(mark: string): boolean {
  return mark === "\u0345" || swaps("\u0345", mark);
}

/** What a character decomposes to, each with whether marks before it may move behind it. */
type Decomposed = readonly (readonly [character: string, isReordered: boolean])[];

/**
 * A normal form of a text of any length, in which there may be millions of marks on one letter: engines sort those by
 * insertion, whose time grows with the square of their number, and do not let go in between.
 *
 * @param isInert whether a character neither changes nor lets anything pass.
 */
export function* longNormalForm(
  text: string,
  form: NormalForm,
  isInert: (character: string) => boolean,
): Turns<string> {
  const decomposed = form === "NFC" || form === "NFD" ? "NFD" : "NFKD";
  const known = new Map<string, Decomposed | "inert">();
  const output = new Output(form);
  let count = 0;
  for (const character of text) {
    let parts = known.get(character);
    if (parts === undefined) {
      parts = isInert(character)
        ? "inert"
        : [...character.normalize(decomposed)].map((part) => [part, isReordered(part)]);
      known.set(character, parts);
    }
    if (parts === "inert") {
      yield* output.end();
      output.copy(character);
    } else {
      for (const [part, moves] of parts) {
        if (moves) output.mark(part);
        else yield* output.starter(part);
      }
    }
    count += 1;
    if (count % partLength === 0) yield;
  }
  yield* output.end();
  return output.text;
}

/** A text that is put into a normal form while it is read, in decomposed characters. */
class Output {
  #done = "";
  #part = "";
  readonly #form: NormalForm;
  /** Decomposed; from the last starter that may still be joined with what follows. */
  #open = "";
  /** Marks on the last starter, as they came. */
  #marks: string[] = [];

  constructor(form: NormalForm) {
    this.#form = form;
  }

  mark(mark: string): void {
    this.#marks.push(mark);
  }

  *starter(starter: string): Turns<void> {
    yield* this.#takeMarks();
    if (this.#open.length >= partLength) {
      const normal = this.#open.normalize(this.#form);
      const last = lastStarter(normal);
      this.#append(normal.slice(0, last));
      this.#open = normal.slice(last);
      yield;
    }
    this.#open += starter;
  }

  /** What follows is put into the normal form by itself. */
  *end(): Turns<void> {
    yield* this.#takeMarks();
    this.#append(this.#open.normalize(this.#form));
    this.#open = "";
  }

  copy(character: string): void {
    this.#append(character);
  }

  *#takeMarks(): Turns<void> {
    if (this.#marks.length <= fewMarks) {
      this.#open += this.#marks.join("");
      this.#marks = [];
      return;
    }
    const ofClass = new Map<MarkClass, string[]>();
    for (const [index, mark] of this.#marks.entries()) {
      const own = classOf(mark);
      const list = ofClass.get(own);
      if (list === undefined) ofClass.set(own, [mark]);
      else list.push(mark);
      if (index % partLength === partLength - 1) yield;
    }
    this.#marks = [];
    const inOrder = classes.flatMap((one) => {
      const marks = ofClass.get(one);
      return marks === undefined ? [] : [{ own: one, marks }];
    });
    const beginning = inOrder.map(({ marks }) => marks.slice(0, mostJoined).join("")).join("");
    const normal = (this.#open + beginning).normalize(this.#form);
    this.#open = "";
    // What was joined with the letter is gone from the beginnings; the others stand behind it, class by class.
    const last = lastStarter(normal);
    const letter = last + starterLength(normal, last);
    this.#append(normal.slice(0, letter));
    const kept = [...normal.slice(letter)];
    let next = 0;
    for (const { own, marks } of inOrder) {
      const first = next;
      while (next < kept.length && classOf(kept[next] as string) === own) next += 1;
      this.#append(kept.slice(first, next).join(""));
      for (let start = mostJoined; start < marks.length; start += partLength) {
        this.#append(marks.slice(start, start + partLength).join(""));
        yield;
      }
    }
  }

  get text(): string {
    return this.#done + this.#part;
  }

  #append(text: string): void {
    this.#part += text;
    if (this.#part.length < partLength) return;
    this.#done += inOnePiece(this.#part);
    this.#part = "";
  }
}

/** Where the last character that no mark moves behind begins; 0 where there is none. */
function lastStarter(normal: string): number {
  let position = normal.length;
  while (position > 0) {
    const unit = normal.charCodeAt(position - 1);
    const before = normal.charCodeAt(position - 2);
    const isPair = unit >= 0xdc00 && unit <= 0xdfff && before >= 0xd800 && before <= 0xdbff;
    position -= isPair ? 2 : 1;
    if (!isReordered(String.fromCodePoint(normal.codePointAt(position) as number))) return position;
  }
  return 0;
}

/** Of the starter there; 0 where a mark is. */
function starterLength(text: string, position: number): number {
  const character = String.fromCodePoint(text.codePointAt(position) as number);
  return isReordered(character) ? 0 : character.length;
}
