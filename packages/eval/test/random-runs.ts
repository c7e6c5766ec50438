import { createRandom, type Qrels, type RandomGenerator, type Run } from "../src/index.js";

// The same cases as lab/eval/random_runs.py draws, in the same order of draws.

// One, two, three and four bytes in UTF-8. The last two compare differently by UTF-16 units than by bytes.
const prefixes = ["d", "D", "é", "文", "～", "😀"];
const grades = [-1, 0, 0, 1, 1, 2, 3];
const scoreKinds = 6;

export interface Case {
  readonly relevanceLevel: number;
  readonly qrels: Qrels;
  readonly run: Run;
}

export function drawCase(seed: number): Case {
  const random = createRandom(seed);
  const drawGrade = () => grades[random.below(grades.length)] ?? 0;
  const relevanceLevel = random.below(5) === 0 ? 2 : 1;
  const queries = 1 + random.below(4);
  const qrels = new Map<string, Map<string, number>>();
  const run = new Map<string, Map<string, number>>();
  for (let number = 0; number < queries; number++) {
    const query = `q${number}`;
    const pool = [...new Set(Array.from({ length: 1 + random.below(30) }, () => drawId(random)))];
    const first = pool[0] ?? "";
    const judged = new Map<string, number>();
    for (const document of pool) if (random.below(2) === 0) judged.set(document, drawGrade());
    const extras = random.below(3);
    for (let extra = 0; extra < extras; extra++) judged.set(`unreturned${extra}`, drawGrade());
    if ([...judged.values()].every((grade) => grade < 0)) judged.set(first, random.below(3));
    qrels.set(query, judged);
    const kind = random.below(scoreKinds);
    const scores = new Map<string, number>();
    for (const document of pool) if (random.below(8) !== 0) scores.set(document, drawScore(random, kind));
    if (number === 0 && scores.size === 0) scores.set(first, 0);
    if (scores.size > 0 && (number === 0 || random.below(6) !== 0)) run.set(query, scores);
  }
  if (random.below(4) === 0) run.set("unjudged", new Map([["d1", 1]]));
  return { relevanceLevel, qrels, run };
}

function drawId(random: RandomGenerator): string {
  return `${prefixes[random.below(prefixes.length)]}${random.below(25)}`;
}

function drawScore(random: RandomGenerator, kind: number): number {
  if (kind === 0) return 0.5;
  if (kind === 1) return random.below(3) / 2;
  if (kind === 2) return random.below(6) - 3;
  if (kind === 3) return 0.999999999 + random.below(8) * 1e-10;
  if (kind === 4) return (random.below(5) - 2) * 1e39;
  return random.uniform();
}
