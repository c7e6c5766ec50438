import { type CharacterSet, setOf, union } from "./character-set.js";
import type { Parsed } from "./parse.js";
import { PatternError } from "./pattern-error.js";
import { type Assertion, lengthOf, type Node } from "./syntax.js";

/** Instructions of the matcher, each followed by its operands. */
export const op = {
  /** unit */
  unit: 0,
  /** set */
  set: 1,
  /** address: tried when what follows fails */
  split: 2,
  /** address */
  jump: 3,
  /** set, address: goes there when the next character is not in the set */
  peek: 4,
  /** set, least, most: as many as there are, then fewer */
  run: 5,
  /** set, least, most: as many as there are */
  runPossessive: 6,
  /** set, least, most: as few as possible, then more */
  runLazy: 7,
  /** register */
  mark: 8,
  /** register: forgets what could be tried differently since the mark */
  cut: 9,
  /** register and the one after it */
  look: 10,
  lookEnd: 11,
  /** register, address behind it */
  lookNot: 12,
  lookNotEnd: 13,
  /** register, least, most characters back */
  behind: 14,
  /** register: the position must be where `behind` was */
  behindEnd: 15,
  /** register */
  save: 16,
  /** register and the one after it */
  reference: 17,
  /** index into `assertions` */
  assert: 18,
  /** register, address: goes there when nothing was matched since `save` */
  leaveIfEmpty: 19,
  match: 20,
} as const;

export const assertions: readonly Assertion[] = [
  "line-start",
  "line-end",
  "text-start",
  "text-end",
  "text-end-or-last-newline",
  "search-start",
  "word-boundary",
  "no-word-boundary",
];

/** Stands for "without an end". */
export const unlimited = 0x7fffffff;

/** The register of the position where the match is said to begin. */
export const keptStart = 0;

export interface Program {
  readonly code: Int32Array;
  readonly sets: readonly CharacterSet[];
  readonly registers: number;
  /** What a match begins with; undefined when it may be empty or that is not known. */
  readonly first: CharacterSet | undefined;
}

/** Numbers of a program. A repeated group is written out, as often as it is repeated. */
const longestProgram = 100_000;

/** @throws {PatternError} when the program becomes too long. */
export function compilePattern({ root, groups }: Parsed): Program {
  const code: number[] = [];
  const sets: CharacterSet[] = [];
  const registerOfGroup = (index: number): number => index * 2 - 1;
  let registers = groups * 2 + 1;
  const newRegisters = (count: number): number => {
    registers += count;
    return registers - count;
  };
  const add = (...numbers: readonly number[]): number => {
    if (code.length > longestProgram) throw new PatternError("its repetitions are too long together");
    return code.push(...numbers) - 1;
  };
  const indexOf = (set: CharacterSet): number => {
    const known = sets.indexOf(set);
    return known >= 0 ? known : sets.push(set) - 1;
  };
  /** @param hole where the address that comes next is missing. */
  const here = (hole: number): void => {
    code[hole] = code.length;
  };

  const choice = (options: readonly Node[]): void => {
    const ends: number[] = [];
    options.forEach((option, index) => {
      const isLast = index === options.length - 1;
      const start = firstOf(option);
      const holes: number[] = [];
      if (!isLast) {
        if (start !== undefined) holes.push(add(op.peek, indexOf(start), 0));
        holes.push(add(op.split, 0));
      }
      emit(option);
      if (!isLast) ends.push(add(op.jump, 0));
      for (const hole of holes) here(hole);
    });
    for (const hole of ends) here(hole);
  };

  const optional = (body: Node, lazy: boolean, before: (() => void) | undefined, then: () => void): void => {
    if (lazy) {
      // Goes on first, and comes back to the body.
      const toBody = add(op.split, 0);
      const toEnd = add(op.jump, 0);
      here(toBody);
      before?.();
      emit(body);
      then();
      here(toEnd);
      return;
    }
    const start = firstOf(body);
    const holes = start === undefined ? [] : [add(op.peek, indexOf(start), 0)];
    holes.push(add(op.split, 0));
    before?.();
    emit(body);
    then();
    for (const hole of holes) here(hole);
  };

  const repeat = (
    { body, least, most, lazy }: Extract<Node, { kind: "repeat" }>,
    possessive: boolean,
  ): void => {
    const set = singleSet(body);
    if (set !== undefined) {
      const kind = possessive ? op.runPossessive : lazy ? op.runLazy : op.run;
      add(kind, indexOf(set), least, most === Number.POSITIVE_INFINITY ? unlimited : most);
      return;
    }
    for (let count = 0; count < least; count += 1) emit(body);
    if (most !== Number.POSITIVE_INFINITY) {
      // Each further one inside of the one before it.
      const nested = (left: number): void => {
        if (left > 0) optional(body, lazy, undefined, () => nested(left - 1));
      };
      if (most - least > 1000) throw new PatternError("its repetitions are too long together");
      nested(most - least);
      return;
    }
    const mayBeEmpty = lengthOf(body)[0] === 0;
    const register = mayBeEmpty ? newRegisters(1) : 0;
    const again = code.length;
    let leave = -1;
    optional(body, lazy, mayBeEmpty ? () => void add(op.save, register) : undefined, () => {
      if (mayBeEmpty) leave = add(op.leaveIfEmpty, register, 0);
      add(op.jump, again);
    });
    if (mayBeEmpty) here(leave);
  };

  const emit = (node: Node): void => {
    switch (node.kind) {
      case "text":
        for (let index = 0; index < node.text.length; index += 1) add(op.unit, node.text.charCodeAt(index));
        return;
      case "set":
        add(op.set, indexOf(node.set));
        return;
      case "sequence":
        for (const part of node.parts) emit(part);
        return;
      case "choice":
        choice(node.options);
        return;
      case "repeat":
        repeat(node, false);
        return;
      case "group": {
        const register = registerOfGroup(node.index);
        add(op.save, register);
        emit(node.body);
        add(op.save, register + 1);
        return;
      }
      case "atomic": {
        if (node.body.kind === "repeat" && !node.body.lazy && singleSet(node.body.body) !== undefined) {
          repeat(node.body, true);
          return;
        }
        const register = newRegisters(1);
        add(op.mark, register);
        emit(node.body);
        add(op.cut, register);
        return;
      }
      case "look": {
        const register = newRegisters(2);
        let hole = -1;
        if (node.negative) hole = add(op.lookNot, register, 0);
        else add(op.look, register);
        if (node.behind) {
          const [least, most] = lengthOf(node.body);
          const target = newRegisters(1);
          add(op.behind, target, least, most === Number.POSITIVE_INFINITY ? unlimited : most);
          emit(node.body);
          add(op.behindEnd, target);
        } else emit(node.body);
        add(node.negative ? op.lookNotEnd : op.lookEnd, register);
        if (node.negative) here(hole);
        return;
      }
      case "assert":
        add(op.assert, assertions.indexOf(node.what));
        return;
      case "reference":
        add(op.reference, registerOfGroup(node.index));
        return;
      case "keep":
        add(op.save, keptStart);
    }
  };
  emit(root);
  add(op.match);
  return { code: Int32Array.from(code), sets, registers, first: firstOf(root) };
}

/** The set of a node that matches one character. */
function singleSet(node: Node): CharacterSet | undefined {
  if (node.kind === "set") return node.set;
  const codePoint = node.kind === "text" ? (node.text.codePointAt(0) as number) : 0;
  return node.kind === "text" && node.text.length === (codePoint > 0xffff ? 2 : 1)
    ? setOf(codePoint)
    : undefined;
}

/** What a match of a node begins with; undefined when it may be empty, or that is not known. */
function firstOf(node: Node): CharacterSet | undefined {
  switch (node.kind) {
    case "text":
      return setOf(node.text.codePointAt(0) as number);
    case "set":
      return node.set;
    case "sequence": {
      const found: CharacterSet[] = [];
      for (const part of node.parts) {
        if (part.kind === "assert" || part.kind === "look" || part.kind === "keep") continue;
        if (part.kind === "repeat" && part.least === 0) {
          const first = firstOf(part.body);
          if (first === undefined) return undefined;
          found.push(first);
          continue;
        }
        const first = firstOf(part);
        return first === undefined ? undefined : union([...found, first]);
      }
      return undefined;
    }
    case "choice": {
      const all = node.options.map(firstOf);
      const known = all.filter((set) => set !== undefined);
      return known.length === all.length ? union(known) : undefined;
    }
    case "repeat":
      return node.least === 0 ? undefined : firstOf(node.body);
    case "group":
    case "atomic":
      return firstOf(node.body);
    default:
      return undefined;
  }
}
