import { TrainingSetupError } from "../errors.js";
import type { ScorePairs } from "../types.js";
import type { TextStore } from "./text-store.js";
import type { QueryGroup } from "./training-data.js";

/** Pairs that a teacher gets at once. */
const chunk = 64;

/**
 * The groups with a teacher's score for every document that has none. A query that the teacher cannot score is left out.
 *
 * @throws {TrainingSetupError} for a score that is infinite, and when nothing is left.
 */
export async function scoreByTeacher(
  texts: TextStore,
  groups: readonly QueryGroup[],
  score: ScorePairs,
  {
    signal,
    onProgress,
  }: { signal?: AbortSignal | undefined; onProgress?: ((queries: number) => void) | undefined } = {},
): Promise<QueryGroup[]> {
  const scored: QueryGroup[] = [];
  for (const [place, group] of groups.entries()) {
    signal?.throwIfAborted();
    const query = await texts.read(group.query);
    const missing = group.documents.filter(({ teacher }) => teacher === undefined);
    const found = new Map<number, number>();
    for (let at = 0; at < missing.length; at += chunk) {
      const part = missing.slice(at, at + chunk);
      const pairs: { query: string; document: string }[] = [];
      for (const { text } of part) pairs.push({ query, document: await texts.read(text) });
      const scores = await score(pairs, signal);
      for (const [index, { text }] of part.entries()) found.set(text, scores[index] ?? Number.NaN);
    }
    onProgress?.(place + 1);
    if ([...found.values()].some(Number.isNaN)) continue;
    const infinite = [...found.values()].find((value) => !Number.isFinite(value));
    if (infinite !== undefined) {
      throw new TrainingSetupError({
        subject: "The teacher",
        problem: `gives ${infinite} for a pair`,
        fix: "Choose another model",
      });
    }
    const documents = group.documents.map((document) => ({
      ...document,
      teacher: document.teacher ?? found.get(document.text),
    }));
    scored.push({ ...group, documents });
  }
  if (scored.length > 0) return scored;
  throw new TrainingSetupError({
    subject: "The teacher",
    problem: "can score no query of the data",
    fix: "Choose another model",
  });
}
