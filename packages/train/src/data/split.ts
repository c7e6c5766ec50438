import { createHash } from "node:crypto";
import { TrainingSetupError } from "../errors.js";
import type { QueryGroup } from "./training-data.js";

export interface Split {
  readonly training: readonly QueryGroup[];
  /** By which the best weights are chosen. */
  readonly validation: readonly QueryGroup[];
  /** On which the result is judged, and nothing is chosen. */
  readonly gate: readonly QueryGroup[];
}

/**
 * Parts of the queries by a seed: a query and all its documents fall into one part, which is the same whatever the
 * order of the rows and however many others there are beside it, apart from those at a part's edge.
 *
 * @param share of the queries that are held out, above 0 and at most 0.5; half of them for each purpose.
 * @throws {TrainingSetupError} when a part would have fewer than two queries with a relevant document.
 */
export function splitByQuery(groups: readonly QueryGroup[], share: number, seed: number): Split {
  if (!(share > 0 && share <= 0.5)) {
    throw new TrainingSetupError({
      subject: "heldOutShare",
      problem: `is ${share}`,
      fix: "Give a share above 0 and of at most 0.5.",
    });
  }
  const order = groups
    .map((group) => ({ group, place: placeOf(group.key, seed) }))
    .sort((left, right) => (left.place < right.place ? -1 : left.place > right.place ? 1 : 0))
    .map(({ group }) => group);
  // Without a relevant document a query says nothing about a ranking.
  const judges = order.filter(({ documents }) => documents.some(({ label }) => label > 0));
  const each = Math.floor((share * order.length) / 2);
  if (each < 2 || judges.length < 2 * each + 1) {
    throw new TrainingSetupError({
      subject: "The data",
      problem: `has ${groups.length} queries, of which ${Math.min(each, judges.length)} would be held out for each purpose`,
      fix: "Give more queries, a larger share, or a task of its own to hold out.",
    });
  }
  const validation = judges.slice(0, each);
  const gate = judges.slice(each, 2 * each);
  const out = new Set([...validation, ...gate]);
  return { training: groups.filter((group) => !out.has(group)), validation, gate };
}

/** Lower-case hex, the same on every machine. */
export function placeOf(key: string, seed: number): string {
  return createHash("sha256").update(`${seed} ${key}`).digest("hex");
}
