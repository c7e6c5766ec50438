import { type CharacterSet, word } from "./character-set.js";
import { keptStart, op, type Program, unlimited } from "./compile.js";
import { PatternError } from "./pattern-error.js";

/** Instructions that a search may take: some for each character of the text, and some for any text. */
const stepsPerCharacter = 200;
const stepsAtLeast = 1_000_000;
/** Places to come back to that a search may remember. */
const mostPlaces = 4_000_000;

/** Instructions, and UTF-16 code units of one run, between two turns. */
const stepsATurn = 50_000;
const unitsATurn = 16_384;

/** Where a match is left, to be gone on with. */
interface Paused {
  readonly top: number;
  readonly at: number;
  readonly pc: number;
  readonly run: { readonly start: number; readonly count: number; readonly fewest: number } | undefined;
}

/** What is on the stack: four numbers each. */
const alternative = 0;
const shorterRun = 1;
const longerRun = 2;
const earlierStart = 3;
const register = 4;

/**
 * The matches of a pattern in a text, one after the other, as Rust's tokenizers go through them (`onig`'s
 * `FindMatches`): an empty match right behind the one before it does not count.
 *
 * A backtracking matcher with a stack of its own, so that neither a long text nor a bad pattern overflows another.
 * Every instruction counts, and a search that takes more of them than the text is worth ends with an error.
 */
export class Search {
  /** Where the last match begins and ends. */
  start = 0;
  end = 0;
  readonly #program: Program;
  readonly #text: string;
  readonly #registers: Int32Array;
  #stack = new Int32Array(256);
  #from = 0;
  #lastEnd = -1;
  #steps = 0;
  readonly #mostSteps: number;
  /** Where a match is looked for. */
  #position = 0;
  /** A match that has been begun and is to be gone on with. */
  #paused: Paused | undefined;

  constructor(program: Program, text: string) {
    this.#program = program;
    this.#text = text;
    this.#registers = new Int32Array(program.registers);
    this.#mostSteps = stepsAtLeast + stepsPerCharacter * text.length;
  }

  /**
   * Finds the next match. @returns false when there is none, undefined when that is not known yet: the next call goes on
   * with it.
   * @throws {PatternError} when the search takes too long.
   */
  next(): boolean | undefined {
    while (this.#from <= this.#text.length) {
      const found = this.#find();
      if (found === undefined) return undefined;
      if (!found) {
        this.#from = this.#text.length + 1;
        return false;
      }
      if (this.end === this.start && this.end === this.#lastEnd) {
        this.#from += unitsAt(this.#text, this.#from);
        this.#position = this.#from;
        continue;
      }
      this.#from = this.end;
      this.#position = this.end;
      this.#lastEnd = this.end;
      return true;
    }
    return false;
  }

  /** The first match that begins at `#position` or later. */
  #find(): boolean | undefined {
    const text = this.#text;
    const { first } = this.#program;
    const pause = this.#position + stepsATurn;
    const pauseSteps = this.#steps + stepsATurn;
    for (let position = this.#position; position <= text.length; position += unitsAt(text, position)) {
      if (this.#paused === undefined && first !== undefined) {
        while (position < text.length && position < pause && !first.has(text.codePointAt(position) as number))
          position += unitsAt(text, position);
        if (position >= text.length) return false;
      }
      this.#position = position;
      if (this.#paused === undefined && (position >= pause || this.#steps >= pauseSteps)) return undefined;
      const found = this.#matchAt(position);
      if (found !== false) return found;
    }
    return false;
  }

  #matchAt(from: number): boolean | undefined {
    const { code, sets } = this.#program;
    const text = this.#text;
    const length = text.length;
    const registers = this.#registers;
    let stack = this.#stack;
    let top = 0;
    let steps = this.#steps;
    const mostSteps = this.#mostSteps;
    let at = from;
    let pc = 0;
    /** A run of characters that is to be gone on with. */
    let run: Paused["run"];
    const pauseSteps = steps + stepsATurn;
    if (this.#paused === undefined) {
      registers.fill(-1);
      registers[keptStart] = from;
    } else {
      ({ top, at, pc, run } = this.#paused);
      this.#paused = undefined;
    }

    const push = (kind: number, one: number, two: number, three: number): void => {
      if (top + 4 > stack.length) {
        if (top > mostPlaces * 4)
          throw new PatternError("a regular expression needs too much memory for this text");
        const larger = new Int32Array(stack.length * 2);
        larger.set(stack);
        stack = larger;
        this.#stack = larger;
      }
      stack[top] = kind;
      stack[top + 1] = one;
      stack[top + 2] = two;
      stack[top + 3] = three;
      top += 4;
    };
    const save = (which: number, value: number): void => {
      push(register, which, registers[which] as number, 0);
      registers[which] = value;
    };
    /** Drops the places to come back to above `height`; what registers held before is still needed below it. */
    const cut = (height: number): void => {
      let kept = height;
      for (let place = height; place < top; place += 4) {
        if (stack[place] !== register) continue;
        if (kept !== place) stack.copyWithin(kept, place, place + 4);
        kept += 4;
      }
      top = kept;
    };

    for (;;) {
      if (steps >= pauseSteps) {
        this.#steps = steps;
        this.#paused = { top, at, pc, run };
        return undefined;
      }
      // An instruction that is gone on with was counted when it began.
      if (run === undefined) steps += 1;
      if (steps > mostSteps) throw new PatternError("a regular expression takes too long for this text");
      let fails = false;
      switch (code[pc]) {
        case op.unit:
          if (at < length && text.charCodeAt(at) === code[pc + 1]) {
            at += 1;
            pc += 2;
          } else fails = true;
          break;
        case op.set: {
          const set = sets[code[pc + 1] as number] as CharacterSet;
          const unit = text.charCodeAt(at);
          if (unit < 128) {
            fails = set.ascii[unit] === 0;
            at += 1;
          } else if (at < length) {
            const codePoint = text.codePointAt(at) as number;
            fails = !set.has(codePoint);
            at += codePoint > 0xffff ? 2 : 1;
          } else fails = true;
          pc += 2;
          break;
        }
        case op.split:
          push(alternative, code[pc + 1] as number, at, 0);
          pc += 2;
          break;
        case op.jump:
          pc = code[pc + 1] as number;
          break;
        case op.peek: {
          const set = sets[code[pc + 1] as number] as CharacterSet;
          const unit = text.charCodeAt(at);
          const isIn =
            unit < 128 ? set.ascii[unit] === 1 : at < length && set.has(text.codePointAt(at) as number);
          pc = isIn ? pc + 3 : (code[pc + 2] as number);
          break;
        }
        case op.run:
        case op.runPossessive: {
          const set = sets[code[pc + 1] as number] as CharacterSet;
          const least = code[pc + 2] as number;
          const most = code[pc + 3] as number;
          let { start, count, fewest } = run ?? { start: at, count: 0, fewest: least === 0 ? at : -1 };
          run = undefined;
          const pause = at + unitsATurn;
          while (count < most && at < length) {
            if (at >= pause) {
              this.#steps = steps;
              this.#paused = { top, at, pc, run: { start, count, fewest } };
              return undefined;
            }
            const unit = text.charCodeAt(at);
            let units = 1;
            if (unit < 128) {
              if (set.ascii[unit] === 0) break;
            } else {
              const codePoint = text.codePointAt(at) as number;
              if (!set.has(codePoint)) break;
              if (codePoint > 0xffff) units = 2;
            }
            at += units;
            count += 1;
            if (count === least) fewest = at;
          }
          steps += (at - start) >> 3;
          if (count < least) fails = true;
          else {
            if (code[pc] === op.run && at > fewest) push(shorterRun, pc + 4, fewest, at);
            pc += 4;
          }
          break;
        }
        case op.runLazy: {
          const set = sets[code[pc + 1] as number] as CharacterSet;
          const least = code[pc + 2] as number;
          const most = code[pc + 3] as number;
          let count = 0;
          while (count < least && at < length && set.has(text.codePointAt(at) as number)) {
            at += unitsAt(text, at);
            count += 1;
          }
          steps += count;
          if (count < least) fails = true;
          else {
            if (most > least) push(longerRun, pc, at, most === unlimited ? unlimited : most - least);
            pc += 4;
          }
          break;
        }
        case op.mark:
          registers[code[pc + 1] as number] = top;
          pc += 2;
          break;
        case op.cut:
          cut(registers[code[pc + 1] as number] as number);
          pc += 2;
          break;
        case op.look:
          registers[code[pc + 1] as number] = top;
          registers[(code[pc + 1] as number) + 1] = at;
          pc += 2;
          break;
        case op.lookEnd:
          cut(registers[code[pc + 1] as number] as number);
          at = registers[(code[pc + 1] as number) + 1] as number;
          pc += 2;
          break;
        case op.lookNot:
          registers[code[pc + 1] as number] = top;
          push(alternative, code[pc + 2] as number, at, 0);
          pc += 3;
          break;
        case op.lookNotEnd: {
          // What the body set is undone, and what stands behind is not tried.
          const height = registers[code[pc + 1] as number] as number;
          while (top > height) {
            top -= 4;
            if (stack[top] === register) registers[stack[top + 1] as number] = stack[top + 2] as number;
          }
          fails = true;
          break;
        }
        case op.behind: {
          const least = code[pc + 2] as number;
          const most = code[pc + 3] as number;
          registers[code[pc + 1] as number] = at;
          let start = at;
          let count = 0;
          while (count < least && start > 0) {
            start -= unitsBefore(text, start);
            count += 1;
          }
          steps += count;
          if (count < least) fails = true;
          else {
            if (most > least)
              push(earlierStart, pc + 4, start, most === unlimited ? unlimited : most - least);
            at = start;
            pc += 4;
          }
          break;
        }
        case op.behindEnd:
          fails = at !== registers[code[pc + 1] as number];
          pc += 2;
          break;
        case op.save:
          save(code[pc + 1] as number, at);
          pc += 2;
          break;
        case op.reference: {
          const start = registers[code[pc + 1] as number] as number;
          const end = registers[(code[pc + 1] as number) + 1] as number;
          if (start < 0 || end < 0 || !text.startsWith(text.slice(start, end), at)) fails = true;
          else {
            steps += (end - start) >> 3;
            at += end - start;
            pc += 2;
          }
          break;
        }
        case op.assert:
          fails = !this.#holds(code[pc + 1] as number, at);
          pc += 2;
          break;
        case op.leaveIfEmpty:
          pc = registers[code[pc + 1] as number] === at ? (code[pc + 2] as number) : pc + 3;
          break;
        default:
          this.#steps = steps;
          this.start = registers[keptStart] as number;
          this.end = at;
          return true;
      }
      while (fails) {
        if (top === 0) {
          this.#steps = steps;
          return false;
        }
        top -= 4;
        const one = stack[top + 1] as number;
        const two = stack[top + 2] as number;
        const three = stack[top + 3] as number;
        switch (stack[top]) {
          case register:
            registers[one] = two;
            break;
          case alternative:
            pc = one;
            at = two;
            fails = false;
            break;
          case shorterRun: {
            at = three - unitsBefore(text, three);
            if (at > two) {
              stack[top + 3] = at;
              top += 4;
            }
            pc = one;
            fails = false;
            break;
          }
          case longerRun: {
            const set = sets[code[one + 1] as number] as CharacterSet;
            steps += 1;
            if (two >= length || !set.has(text.codePointAt(two) as number)) break;
            at = two + unitsAt(text, two);
            if (three > 1) push(longerRun, one, at, three === unlimited ? unlimited : three - 1);
            pc = one + 4;
            fails = false;
            break;
          }
          default: {
            steps += 1;
            if (two === 0) break;
            at = two - unitsBefore(text, two);
            if (three > 1) push(earlierStart, one, at, three === unlimited ? unlimited : three - 1);
            pc = one;
            fails = false;
          }
        }
      }
    }
  }

  /** @param which index into `assertions`. */
  #holds(which: number, at: number): boolean {
    const text = this.#text;
    const length = text.length;
    switch (which) {
      case 0:
        return at === 0 || (at < length && text.charCodeAt(at - 1) === 10);
      case 1:
        return at === length || text.charCodeAt(at) === 10;
      case 2:
        return at === 0;
      case 3:
        return at === length;
      case 4:
        return at === length || (at === length - 1 && text.charCodeAt(at) === 10);
      case 5:
        return at === this.#from;
      default: {
        const before = at > 0 && word.has(text.codePointAt(at - unitsBefore(text, at)) as number);
        const after = at < length && word.has(text.codePointAt(at) as number);
        return (before !== after) === (which === 6);
      }
    }
  }
}

/** UTF-16 code units of the character at a position; 1 at the end. */
function unitsAt(text: string, position: number): 1 | 2 {
  const unit = text.charCodeAt(position);
  if (unit < 0xd800 || unit > 0xdbff) return 1;
  const next = text.charCodeAt(position + 1);
  return next >= 0xdc00 && next <= 0xdfff ? 2 : 1;
}

function unitsBefore(text: string, position: number): 1 | 2 {
  const unit = text.charCodeAt(position - 1);
  if (unit < 0xdc00 || unit > 0xdfff) return 1;
  const before = text.charCodeAt(position - 2);
  return before >= 0xd800 && before <= 0xdbff ? 2 : 1;
}
