"""Tie-heavy random qrels and runs. packages/eval/test/random-runs.ts draws the same ones in the same order."""

from dataclasses import dataclass

from random_source import RandomSource

Table = dict[str, dict[str, float]]

# One, two, three and four bytes in UTF-8. The last two compare differently by UTF-16 units than by bytes.
PREFIXES = ["d", "D", "é", "文", "～", "😀"]
# Unjudged documents and negative grades are not relevant and must not count.
GRADES = [-1, 0, 0, 1, 1, 2, 3]
SCORE_KINDS = 6


@dataclass
class Case:
    relevance_level: int
    qrels: dict[str, dict[str, int]]
    run: Table


def draw_case(seed: int) -> Case:
    random = RandomSource(seed)
    relevance_level = 2 if random.below(5) == 0 else 1
    queries = 1 + random.below(4)
    qrels: dict[str, dict[str, int]] = {}
    run: Table = {}
    for number in range(queries):
        query = f"q{number}"
        pool = list(dict.fromkeys(_draw_id(random) for _ in range(1 + random.below(30))))
        judged = {document: GRADES[random.below(len(GRADES))] for document in pool if random.below(2) == 0}
        # Judged documents that no run returns belong to the ideal ranking.
        for extra in range(random.below(3)):
            judged[f"unreturned{extra}"] = GRADES[random.below(len(GRADES))]
        # A query with negative grades alone makes trec_eval 9.0.8 read before its table of levels, and may hang it.
        if all(grade < 0 for grade in judged.values()):
            judged[pool[0]] = random.below(3)
        qrels[query] = judged
        kind = random.below(SCORE_KINDS)
        scores = {document: _draw_score(random, kind) for document in pool if random.below(8) != 0}
        # The first query always has a run: without any, trec_eval has nothing to evaluate.
        if number == 0 and not scores:
            scores[pool[0]] = 0.0
        if scores and (number == 0 or random.below(6) != 0):
            run[query] = scores
    if random.below(4) == 0:
        run["unjudged"] = {"d1": 1.0}
    return Case(relevance_level, qrels, run)


def _draw_id(random: RandomSource) -> str:
    return PREFIXES[random.below(len(PREFIXES))] + str(random.below(25))


def _draw_score(random: RandomSource, kind: int) -> float:
    if kind == 0:
        return 0.5
    if kind == 1:
        return random.below(3) / 2
    if kind == 2:
        return random.below(6) - 3
    if kind == 3:
        # Less apart than float32's step below 1: its ties, and no double's.
        return 0.999999999 + random.below(8) * 1e-10
    if kind == 4:
        # Beyond what float32 holds: infinities there, and its ties.
        return (random.below(5) - 2) * 1e39
    return random.uniform()
