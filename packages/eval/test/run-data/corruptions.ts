import type { RandomGenerator } from "../../src/index.js";

/** A file's bytes, changed as disks, crashes and people change them. */
export type Corruption = (bytes: Uint8Array, random: RandomGenerator, foreign: Uint8Array) => Uint8Array;

const newline = 10;

function linesOf(bytes: Uint8Array): string[] {
  return Buffer.from(bytes).toString("latin1").split("\n");
}

function fromLines(lines: readonly string[]): Uint8Array {
  return Buffer.from(lines.join("\n"), "latin1");
}

/** A line that is neither the header nor the empty piece behind the last one. */
function rowAmong(lines: readonly string[], random: RandomGenerator): number {
  return 1 + random.below(Math.max(1, lines.length - 2));
}

/** The numbers of a row, in another order. */
function reorder(line: string): string {
  return line.replace(
    /\[(-?\d[^[\]]*,[^[\]]*)\]/,
    (_, numbers: string) => `[${numbers.split(",").reverse().join(",")}]`,
  );
}

function spliced(bytes: Uint8Array, at: number, part: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed.set(part.subarray(0, Math.max(0, bytes.length - at)), at);
  return changed;
}

export const corruptions: Readonly<Record<string, Corruption>> = {
  "one bit": (bytes, random) => {
    const at = random.below(bytes.length);
    return spliced(bytes, at, Uint8Array.of((bytes[at] ?? 0) ^ (1 << random.below(8))));
  },
  "eight bits": (bytes, random) => {
    let changed = bytes;
    for (let count = 0; count < 8; count += 1) {
      const at = random.below(bytes.length);
      changed = spliced(changed, at, Uint8Array.of((changed[at] ?? 0) ^ (1 << random.below(8))));
    }
    return changed;
  },
  "another digit": (bytes, random) => {
    const digits = [...bytes.keys()].filter((at) => (bytes[at] ?? 0) >= 48 && (bytes[at] ?? 0) <= 57);
    const at = digits[random.below(Math.max(1, digits.length))] ?? 0;
    return spliced(bytes, at, Uint8Array.of(48 + (((bytes[at] ?? 0) - 48 + 1 + random.below(8)) % 10)));
  },
  "cut off": (bytes, random) => bytes.subarray(0, random.below(bytes.length)),
  "cut at a line": (bytes, random) => {
    const lines = linesOf(bytes);
    return fromLines([...lines.slice(0, rowAmong(lines, random)), ""]);
  },
  "a line less": (bytes, random) => {
    const lines = linesOf(bytes);
    return fromLines(lines.toSpliced(rowAmong(lines, random), 1));
  },
  "a line twice": (bytes, random) => {
    const lines = linesOf(bytes);
    const at = rowAmong(lines, random);
    return fromLines(lines.toSpliced(rowAmong(lines, random), 0, lines[at] ?? ""));
  },
  "two lines swapped": (bytes, random) => {
    const lines = linesOf(bytes);
    const [a, b] = [rowAmong(lines, random), rowAmong(lines, random)];
    return fromLines(lines.with(a, lines[b] ?? "").with(b, lines[a] ?? ""));
  },
  "two lines joined": (bytes, random) => {
    const lines = linesOf(bytes);
    const at = random.below(Math.max(1, lines.length - 2));
    return fromLines(lines.toSpliced(at, 2, `${lines[at]}${lines[at + 1]}`));
  },
  "numbers of a line in another order": (bytes, random) => {
    const lines = linesOf(bytes);
    const at = rowAmong(lines, random);
    return fromLines(lines.with(at, reorder(lines[at] ?? "")));
  },
  "numbers of two lines exchanged": (bytes, random) => {
    const lines = linesOf(bytes);
    const [a, b] = [rowAmong(lines, random), rowAmong(lines, random)];
    const list = /\[-?\d[^[\]]*\]/;
    const [left, right] = [list.exec(lines[a] ?? "")?.[0], list.exec(lines[b] ?? "")?.[0]];
    if (left === undefined || right === undefined) return bytes;
    return fromLines(
      lines.with(a, (lines[a] ?? "").replace(list, right)).with(b, (lines[b] ?? "").replace(list, left)),
    );
  },
  zeros: (bytes, random) => spliced(bytes, random.below(bytes.length), new Uint8Array(1 + random.below(512))),
  "zeros to the end": (bytes, random) => {
    const at = random.below(bytes.length);
    return spliced(bytes, at, new Uint8Array(bytes.length - at));
  },
  "bytes behind the end": (bytes, random) =>
    Uint8Array.from([...bytes, ...Array.from({ length: 1 + random.below(200) }, () => random.below(256))]),
  "lines end as on Windows": (bytes) =>
    fromLines(linesOf(bytes).map((line) => (line === "" ? line : `${line}\r`))),
  "lines of another system": (bytes, random, foreign) => {
    const lines = linesOf(bytes);
    const others = linesOf(foreign);
    const at = rowAmong(lines, random);
    return fromLines(lines.with(at, others[Math.min(at, others.length - 2)] ?? ""));
  },
  "all lines of another system": (bytes, _, foreign) =>
    fromLines([linesOf(bytes)[0] ?? "", ...linesOf(foreign).slice(1)]),
  "the header of another system": (bytes, _, foreign) =>
    fromLines([linesOf(foreign)[0] ?? "", ...linesOf(bytes).slice(1)]),
  "a piece moved": (bytes, random) => {
    const length = 4 * (1 + random.below(Math.max(1, bytes.length >> 4)));
    const from = 4 * random.below(Math.max(1, (bytes.length - length) >> 2));
    return spliced(
      bytes,
      4 * random.below(Math.max(1, bytes.length >> 2)),
      bytes.subarray(from, from + length),
    );
  },
  "a piece of another system": (bytes, random, foreign) => {
    const at = 4 * random.below(Math.max(1, bytes.length >> 2));
    return spliced(bytes, at, foreign.subarray(at, at + 128 * (1 + random.below(8))));
  },
  "a line end less": (bytes, random) => {
    const ends = [...bytes.keys()].filter((at) => bytes[at] === newline);
    const at = ends[random.below(Math.max(1, ends.length))] ?? 0;
    return Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + 1)]);
  },
  "nothing is left": () => new Uint8Array(0),
};
