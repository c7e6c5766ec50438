import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createCharacterMap } from "../src/tokenizer/charsmap.js";
import { joining, prepended, separate, virama } from "../src/tokenizer/cluster-characters.js";
import { createLongClusters, joinsMoreThan } from "../src/tokenizer/long-clusters.js";
import { longNormalForm } from "../src/tokenizer/long-marks.js";
import { finish } from "../src/tokenizer/turns.js";
import { normalForm } from "../src/tokenizer/unicode.js";

const isLong = process.env["CROSSRANK_LONG"] !== undefined;
const forms = ["NFC", "NFD", "NFKC", "NFKD"] as const;

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const all = (expression: RegExp): string[] =>
  Array.from({ length: 0x32000 }, (_, codePoint) => codePoint)
    .filter((codePoint) => codePoint < 0xd800 || codePoint > 0xdfff)
    .map((codePoint) => String.fromCodePoint(codePoint))
    .filter((character) => expression.test(character));

describe("a normal form of millions of marks", () => {
  const marks = all(/^\p{M}$/u);
  /** What a form joins, takes apart or lets marks pass: letters with marks, Hangul, vowels of two parts, widths, ligatures. */
  const starters = all(/./u).filter(
    (character) =>
      forms.some((form) => character.normalize(form) !== character) ||
      /[\u1100-\u11ff\u3130-\u318f\uff9e-\uffdc\u09be\u09c7\u0b47\u0b3e\u1025\u102e\u{11131}\u{11127}a-zα-ω]/u.test(
        character,
      ),
  );

  const textOf = (seed: number, mostOfRun: number): string => {
    const next = random(seed);
    const some = <T>(list: readonly T[]): T => list[next(list.length)] as T;
    const few = Array.from({ length: 1 + next(6) }, () => some(marks));
    const letters = Array.from({ length: 1 + next(4) }, () => some(starters));
    const pieces: string[] = [];
    for (let part = 0; part < 12; part += 1) {
      const from = next(3) === 0 ? marks : few;
      const run = Array.from({ length: 1 + next(next(2) === 0 ? 12 : mostOfRun) }, () => some(from));
      pieces.push(some(next(2) === 0 ? letters : starters), ...run);
      if (next(4) === 0) pieces.push(some(letters).repeat(next(40)));
    }
    return pieces.join("");
  };

  it.each(forms)("%s is the engine's, whatever stands in a text", (form) => {
    // Each form by itself; the engine's is of what came before Unicode 9, between what came later.
    const inert = (character: string): boolean =>
      normalForm(`${character}`, form) !== character.normalize(form);
    for (let seed = 1; seed <= (isLong ? 4000 : 30); seed += 1) {
      const text = textOf(seed, 400);
      const found = finish(longNormalForm(text, form, () => false));
      expect(found === text.normalize(form), `seed ${seed}`).toBe(true);
      const apart = [...text].filter((character) => !inert(character)).join("");
      expect(finish(longNormalForm(apart, form, inert)) === apart.normalize(form), `seed ${seed}`).toBe(true);
    }
  });

  it.each(forms)("%s stops at what came after Unicode 9", (form) => {
    for (const newer of ["\u08d3", "\u1dfa", "\u{1e5ee}", "\u{10efd}"]) {
      const text = `a\u0301\u0316${"\u0345\u0316".repeat(300)}${newer}${"\u0301\u0316".repeat(300)}e`;
      const parts = text.split(newer).map((part) => part.normalize(form));
      if (normalForm(`\u0301${newer}\u0316`, form) === `\u0301${newer}\u0316`.normalize(form)) continue;
      expect(normalForm(text, form) === parts.join(newer), newer).toBe(true);
    }
  });

  it("lets others have their turn", () => {
    for (const unit of [
      "\u0301",
      "\u0301\u0316",
      "\uff9e",
      "\u0345\u0301\u0327\u0316",
      "\u1161",
      "\u09be",
      "a\u0301".repeat(3),
    ]) {
      for (const form of forms) {
        const text = Buffer.from(`a${unit.repeat(Math.ceil(200_000 / unit.length))}`, "utf16le").toString(
          "utf16le",
        );
        const work = longNormalForm(text, form, () => false);
        let most = 0;
        for (let isOver = false; !isOver; ) {
          const { user, system } = process.cpuUsage();
          isOver = work.next().done === true;
          const now = process.cpuUsage();
          most = Math.max(most, (now.user - user + now.system - system) / 1000);
        }
        expect(most, `${form} of ${JSON.stringify(unit)}`).toBeLessThan(250);
      }
    }
  });
});

describe("clusters of any length", () => {
  const { normalizer } = JSON.parse(
    readFileSync(
      new URL("../../conformance/fixtures/xlm-roberta-logit/tokenizer.json", import.meta.url),
      "utf8",
    ),
  ) as { normalizer: unknown };
  const charsmap = /"precompiled_charsmap":"([^"]+)"/.exec(JSON.stringify(normalizer))?.[1] ?? "";
  const map = createCharacterMap(charsmap);

  // The expression of charsmap.ts without its bound, which an engine takes for some thousand characters.
  const sequence = `(?:\\p{Extended_Pictographic}(?:(?:(?!\\u200d)${joining})*\\u200d\\p{Extended_Pictographic})+|\\p{Lo}(?:(?:(?:(?!${virama})${joining})*${virama})+(?:(?!${virama})${joining})*\\p{Lo})+)`;
  const core = `(?:${sequence}|(?!${prepended})(?!${separate})[^])`;
  const clusters = new RegExp(`\\r\\n|(?:${prepended}+${core}?|${core})${joining}*|[^]`, "gu");
  /** As Rust's: short clusters as a whole, others character by character. */
  const reference = (text: string): string =>
    text.replace(clusters, (cluster) =>
      Buffer.byteLength(cluster) < 6
        ? map(cluster)
        : [...cluster].map((character) => map(character)).join(""),
    );

  const pool = [
    ..."a1 \r\n\u00a9\u203c\u2122👩👍🏽❤🇩日क\u0915\u09950गกำ\u0e33\u0eb3\u0301\u0341\u0344\u200d\u200c\ufe0f\u094d\u09cd\u0d4e\u0600\u0605\u110bd\u05d0\u05b7\u0627\u064b²ﬁ½Å\u1100\u1161\u11a8\u0b83\u0903\u102b\u0001\u2028\ufeff\ud800",
    "\u{110bd}",
    "\u{1f3fb}",
    "\u200d👩",
    "\u094d\u0915",
    "\u0341",
    "\u200d\u00a9",
  ];
  const textOf = (seed: number): string => {
    const next = random(seed);
    const few = Array.from({ length: 1 + next(5) }, () => pool[next(pool.length)] as string);
    let text = "";
    for (let part = 0; part < 30; part += 1) {
      const one = next(3) === 0 ? (pool[next(pool.length)] as string) : (few[next(few.length)] as string);
      text += next(5) === 0 ? one.repeat(1 + next(300)) : one;
    }
    return text;
  };

  it("are replaced as the expression has them", () => {
    const inTurns = createLongClusters((cluster) => map(cluster));
    const exact = createLongClusters((cluster) =>
      Buffer.byteLength(cluster) < 6 ? map(cluster) : [...cluster].map((one) => map(one)).join(""),
    );
    for (let seed = 1; seed <= (isLong ? 40_000 : 500); seed += 1) {
      const text = textOf(seed).toWellFormed();
      const expected = reference(text);
      expect(finish(exact(text)) === expected, `seed ${seed} ${JSON.stringify(text.slice(0, 80))}`).toBe(
        true,
      );
      expect(finish(inTurns(text)) === expected, `seed ${seed}`).toBe(true);
      expect(map(text) === expected, `at once, seed ${seed}`).toBe(true);
    }
  });

  it("of more than a thousand characters end where they end", () => {
    for (const [unit, beginning, end] of [
      ["\u0341", "a", ""],
      ["\u0341", "a", "b"],
      ["\u200d\u00a9", "\u00a9", "\u200d"],
      ["\u200d\u00a9", "\u00a9", "\u0341"],
      ["\u094d\u0915", "\u0915", "\u0341\u0341"],
      ["\u0600", "", "²\u0341"],
      ["\u05b7\u0341", "\u05d0", "\u05d0\u0341"],
    ] as const) {
      for (const count of [998, 999, 1000, 1001, 1002, 1003, 2001, 2002]) {
        const text = beginning + unit.repeat(count) + end;
        expect(map(text) === reference(text), `${JSON.stringify(unit)} ${count} times`).toBe(true);
      }
    }
    expect(joinsMoreThan(100, "日本語".repeat(1000))).toBe(false);
    expect(joinsMoreThan(100, "\u0301".repeat(200))).toBe(true);
  });

  it("let others have their turn", () => {
    for (const unit of [
      "\u0301",
      "👩\u200d",
      "\u00a9\u200d",
      "\u0915\u094d",
      "\u0600",
      "\u200d",
      "\u200c",
      "\u{1f3fb}",
      "\u0e33",
    ]) {
      const text = Buffer.from(unit.repeat(Math.ceil(200_000 / unit.length)), "utf16le").toString("utf16le");
      const work = map.inTurns(text);
      let most = 0;
      for (let isOver = false; !isOver; ) {
        const { user, system } = process.cpuUsage();
        isOver = work.next().done === true;
        const now = process.cpuUsage();
        most = Math.max(most, (now.user - user + now.system - system) / 1000);
      }
      expect(most, JSON.stringify(unit)).toBeLessThan(250);
    }
  });
});
