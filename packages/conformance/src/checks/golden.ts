import { InvalidInputError } from "@crossrank/core";
import { assert } from "../assert.js";
import {
  type Expected,
  type FixtureContext,
  isRefused,
  type Outcome,
  optionsOf,
  truncations,
} from "../context.js";
import type { Row } from "../recorder.js";
import { type Check, isClose, rejection, report, type Terms, textOf } from "./common.js";

/**
 * Goldens are made at the model's own length. Where the artifact is shorter, what was cut for either has none.
 */
function isComparable(context: FixtureContext, expected: Expected, limit: number): boolean {
  if (limit >= context.profile.maxLength) return true;
  if (expected.rows === undefined || expected.rows.length === 0) return false;
  return (
    expected.rows.every(({ ids }) => ids.length <= limit) &&
    expected.scores.every(({ truncatedTokens }) => truncatedTokens === 0)
  );
}

/** Looks at every golden case in both truncation modes. */
async function eachGolden(
  context: FixtureContext,
  { items }: Terms,
  look: (found: Outcome, expected: Expected, limit: number) => string | undefined,
  lookAtOthers: typeof look = () => undefined,
): Promise<void> {
  const problems: string[] = [];
  let compared = 0;
  for (const truncation of truncations) {
    const { reranker } = await context.opened(truncation);
    const limit = reranker.profile.maxLength;
    const outcomes = await context.alone(truncation);
    for (const item of items) {
      const expected = item.expected[truncation];
      const found = outcomes.get(item);
      if (expected === undefined || found === undefined || isRefused(item)) continue;
      const comparable = isComparable(context, expected, limit);
      if (comparable) compared += 1;
      const problem = (comparable ? look : lookAtOthers)(found, expected, limit);
      if (problem !== undefined) problems.push(`${item.name} (${truncation}): ${problem}`);
    }
  }
  report(problems);
  assert.ok(compared > 0, "no golden case is short enough for the artifact");
}

/** Where two lists of sequences, as text, part; undefined where they do not. */
function firstDifference(found: readonly string[], wanted: readonly string[]): string | undefined {
  if (found.length !== wanted.length) return `${found.length} sequences instead of ${wanted.length}`;
  for (const [index, sequence] of found.entries()) {
    const [left, right] = [sequence.split(" "), (wanted[index] ?? "").split(" ")];
    const place = left.findIndex((id, position) => id !== right[position]);
    if (place < 0 && left.length === right.length) continue;
    const from = place < 0 ? left.length : place;
    const near = (list: readonly string[]): string => list.slice(from, from + 6).join(" ") || "the end";
    return `${left.length} ids, and ${right.length} wanted; from place ${from} on ${near(left)} instead of ${near(right)}`;
  }
  return undefined;
}

export const ids: Check = async (context, terms) => {
  const { readsSegments } = context.profile;
  const spelled = (rows: readonly Row[]): string[] =>
    rows
      .map((row) => row.ids.join(" ") + (readsSegments ? ` | segments ${row.segmentIds.join(" ")}` : ""))
      .sort();
  await eachGolden(context, terms, ({ rows }, expected) => {
    if (expected.rows === undefined) return undefined;
    return firstDifference(spelled(rows), spelled(expected.rows));
  });
  for (const item of terms.items.filter(isRefused)) {
    const { reranker } = await context.opened();
    const error = await rejection(reranker.score(item.pairs, optionsOf(item)));
    assert.ok(InvalidInputError.isInstance(error), `${item.name}: a query without text is refused`);
  }
};

export const truncation: Check = async (context, terms) => {
  await eachGolden(
    context,
    terms,
    ({ rows, scores, error }, expected) => {
      if (scores === undefined) return textOf(error);
      const problems = scores.map((score, index) => {
        const golden = expected.scores[index];
        const overflow = golden?.queryOverflow ?? false;
        if ((score.queryOverflow ?? false) !== overflow) return `queryOverflow is ${!overflow}`;
        if (overflow && (score.logit !== null || score.score !== null || rows.length > 0)) {
          return "is an overflow and was scored all the same";
        }
        const cut = golden?.truncatedTokens;
        const isRight = score.truncatedTokensIsMinimum
          ? score.truncatedTokens <= (cut ?? 0)
          : score.truncatedTokens === cut;
        return cut === undefined || isRight ? undefined : `${score.truncatedTokens} tokens cut, not ${cut}`;
      });
      return problems.find((problem) => problem !== undefined);
    },
    ({ rows, scores, error }, _, limit) => {
      if (scores === undefined) return textOf(error);
      if (rows.some((row) => row.ids.length > limit)) return `a sequence is longer than ${limit}`;
      const isWhole = scores.every(
        ({ truncatedTokens, queryOverflow }) => truncatedTokens === 0 && !queryOverflow,
      );
      const isFull = rows.some((row) => row.ids.length === limit);
      return isWhole && !isFull ? `should not fit ${limit} tokens, and nothing was cut` : undefined;
    },
  );
};

export const scores: Check = async (context, terms) => {
  await eachGolden(context, terms, ({ scores: found, error }, expected) => {
    if (found === undefined) return textOf(error);
    const problems = found.map((score, index) => {
      const golden = expected.scores[index];
      for (const field of ["logit", "score"] as const) {
        const wanted = golden?.[field];
        if (wanted === undefined || isClose(score[field], wanted, terms.tolerance)) continue;
        return `${field} ${score[field]} instead of ${wanted}`;
      }
      return undefined;
    });
    return problems.find((problem) => problem !== undefined);
  });
};
