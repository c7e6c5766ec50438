import { type ModelFiles, type ModelProfile, readProfile, type TruncationStrategy } from "@crossrank/core";
import { createTextTokenizer } from "@crossrank/core/encoding";
import type { GoldenCase, GoldenScore, Goldens } from "@crossrank/core/verify";
import { goldenEncoder } from "./source-goldens.js";

/**
 * The goldens that an artifact can be held against which takes shorter sequences than the model: it would cut the
 * others, and give a number that nobody has computed. Token counts are those that the goldens give, else our own.
 *
 * @param longest tokens of a sequence that the artifact takes at most.
 * @param profile as `readProfile` gave it, with the model's own length.
 * @returns undefined when none is left.
 */
export async function goldensWithin(
  goldens: Goldens,
  longest: number,
  files: ModelFiles,
  profile: ModelProfile,
): Promise<Goldens | undefined> {
  const { tokenizerJson } = await readProfile(files, profile);
  const tokenizer = createTextTokenizer(tokenizerJson, files.id);
  const encoders = {
    "document-only": goldenEncoder({ ...profile, truncation: "document-only" }, tokenizer),
    "longest-first": goldenEncoder({ ...profile, truncation: "longest-first" }, tokenizer),
  };
  return filtered(goldens, ({ ids, queryIds }, golden, truncation) => {
    const encoded = encoders[truncation](golden);
    return tokensOf({ ids: ids ?? encoded.ids, queryIds: queryIds ?? encoded.queryIds }) <= longest;
  });
}

/**
 * Those of goldens of this length that are the same at every greater one: a sequence of the whole length may be cut.
 *
 * @returns undefined when none is left.
 */
export function goldensOfAnyLength(goldens: Goldens, length: number): Goldens | undefined {
  return filtered(goldens, (expected) => !expected.queryOverflow && tokensOf(expected) < length);
}

function tokensOf({ ids = [], queryIds = [] }: Pick<GoldenScore, "ids" | "queryIds">): number {
  return Math.max(ids.length, queryIds.length);
}

/** Numbers that goldens hold, of each case one a way of truncating. */
export function countCases({ cases }: Goldens): number {
  return cases.reduce((sum, { expected }) => sum + entriesOf(expected).length, 0);
}

function filtered(
  goldens: Goldens,
  keep: (expected: GoldenScore, golden: GoldenCase, truncation: TruncationStrategy) => boolean,
): Goldens | undefined {
  const cases = goldens.cases.flatMap((golden): GoldenCase[] => {
    const kept = entriesOf(golden.expected).filter(([truncation, expected]) =>
      keep(expected, golden, truncation),
    );
    return kept.length === 0 ? [] : [{ ...golden, expected: Object.fromEntries(kept) }];
  });
  return cases.length === 0 ? undefined : { ...goldens, cases };
}

function entriesOf(expected: GoldenCase["expected"]): readonly [TruncationStrategy, GoldenScore][] {
  return (["document-only", "longest-first"] as const).flatMap((truncation) => {
    const one = expected[truncation];
    return one === undefined ? [] : [[truncation, one] as [TruncationStrategy, GoldenScore]];
  });
}
