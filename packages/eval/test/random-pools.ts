import { createRandom } from "../src/index.js";

// The same pools as lab/eval/build_pool_goldens.py draws, in the same order of draws.

const grades = [-2, -1, 0, 0, 1, 1, 2, 3];

export interface Pool {
  /** Those that have a text. */
  readonly documents: readonly string[];
  readonly qrels: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly run: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

export function drawPool(seed: number): Pool {
  const random = createRandom(seed);
  const drawGrade = () => grades[random.below(grades.length)] ?? 0;
  const size = 5 + random.below(20);
  const documents = Array.from({ length: size }, (_, number) => `d${number}`);
  const qrels = new Map<string, Map<string, number>>();
  const run = new Map<string, Map<string, number>>();
  const queries = 1 + random.below(4);
  for (let number = 0; number < queries; number += 1) {
    const tied = random.below(2) === 0;
    const row = new Map<string, number>();
    for (const document of documents) {
      if (random.below(2) === 0) row.set(document, tied ? random.below(4) : random.below(1_000_000));
    }
    const [first = ""] = documents;
    if (row.size === 0) row.set(first, 1);
    const judged = new Map<string, number>();
    [...row.keys()].forEach((document, index) => {
      if (index === 0 || random.below(3) === 0) judged.set(document, drawGrade());
    });
    const outside = 1 + random.below(40);
    for (let one = 0; one < outside; one += 1) {
      const document = `p${random.below(200)}`;
      judged.set(document, drawGrade());
    }
    const [firstOfRun = ""] = row.keys();
    if ([...judged.values()].every((grade) => grade < 0)) judged.set(firstOfRun, random.below(3));
    qrels.set(`q${number}`, judged);
    run.set(`q${number}`, row);
  }
  return { documents, qrels, run };
}
