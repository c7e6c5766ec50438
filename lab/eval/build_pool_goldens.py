"""Writes packages/eval/test/goldens/pools.json: what trec_eval gives for random pools.

    lab/.venv/bin/pip install -r lab/eval/requirements.txt
    lab/.venv/bin/python lab/eval/build_pool_goldens.py            # writes
    lab/.venv/bin/python lab/eval/build_pool_goldens.py --check    # exit 1 if a number moved

A pool is TREC's kind of judgements: of documents of a whole collection, most of which have no text beside the run that
is reranked. The numbers are trec_eval's own C code (9.0.8, in pytrec_eval-terrier). Pools are not stored: both
languages draw them from the same seeds (here and test/random-pools.ts).
"""

import argparse
import json
import pathlib
import sys
from dataclasses import dataclass
from importlib.metadata import version

import pytrec_eval
from random_source import RandomSource

CASES = 120
FIRST_SEED = 9_000
METRICS = ["ndcg@5", "ndcg@10", "map", "mrr", "recall@10", "precision@5"]
NAMES = ["ndcg_cut_5", "ndcg_cut_10", "map", "recip_rank", "recall_10", "P_5"]
GRADES = [-2, -1, 0, 0, 1, 1, 2, 3]
OUTPUT = pathlib.Path(__file__).parents[2] / "packages/eval/test/goldens/pools.json"


@dataclass
class Pool:
    documents: list[str]
    qrels: dict[str, dict[str, int]]
    run: dict[str, dict[str, float]]


def draw_pool(seed: int) -> Pool:
    random = RandomSource(seed)
    documents = [f"d{number}" for number in range(5 + random.below(20))]
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for number in range(1 + random.below(4)):
        tied = random.below(2) == 0
        row: dict[str, float] = {}
        for document in documents:
            if random.below(2) == 0:
                row[document] = float(random.below(4)) if tied else float(random.below(1_000_000))
        if not row:
            row[documents[0]] = 1.0
        judged: dict[str, int] = {}
        for index, document in enumerate(row):
            # The first candidate is judged always: a pool of another corpus is refused.
            if index == 0 or random.below(3) == 0:
                judged[document] = GRADES[random.below(len(GRADES))]
        for _ in range(1 + random.below(40)):
            document = f"p{random.below(200)}"
            judged[document] = GRADES[random.below(len(GRADES))]
        # A query with negative grades alone makes trec_eval 9.0.8 read before its table of levels, and may hang it.
        if all(grade < 0 for grade in judged.values()):
            judged[next(iter(row))] = random.below(3)
        qrels[f"q{number}"] = judged
        run[f"q{number}"] = row
    return Pool(documents, qrels, run)


def build() -> dict:
    values = []
    for number in range(CASES):
        pool = draw_pool(FIRST_SEED + number)
        evaluator = pytrec_eval.RelevanceEvaluator(pool.qrels, {"ndcg_cut.5,10", "map", "recip_rank", "recall.10", "P.5"})
        measured = evaluator.evaluate(pool.run)
        values.append([[round(measured[query][name], 12) for name in NAMES] for query in pool.qrels])
    source = f"pytrec_eval-terrier {version('pytrec_eval-terrier')} (trec_eval 9.0.8)"
    return {"source": source, "firstSeed": FIRST_SEED, "metrics": METRICS, "values": values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a number moved")
    built = json.dumps(build(), separators=(",", ":")) + "\n"
    if parser.parse_args().check:
        if OUTPUT.read_text("utf-8") != built:
            sys.exit(f"{OUTPUT} is not what trec_eval gives now")
        return
    OUTPUT.write_text(built, "utf-8")
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
