"""Writes packages/eval/test/goldens/metrics.json: what trec_eval gives for thousands of tie-heavy random runs.

    lab/.venv/bin/pip install -r lab/eval/requirements.txt
    lab/.venv/bin/python lab/eval/build_metric_goldens.py            # writes
    lab/.venv/bin/python lab/eval/build_metric_goldens.py --check    # exit 1 if a number moved by more than 1e-12

The numbers are trec_eval's own C code (9.0.8, in pytrec_eval-terrier). It holds scores as float32, which is the mode
"float32". For "float64", the order of trec_eval 10.0, the scores of a query are first replaced by their dense rank as
doubles: small integers, which float32 holds exactly, so that the same C code sorts as if it had read doubles.

trec_eval 9.0.8 has no cut-off for the reciprocal rank: mrr@k is its recip_rank where that is at least 1/k, else 0.

Runs are not stored: both languages draw them from the same seeds (random_runs.py, test/random-runs.ts). Stored are,
of the first cases, every value of every query, and of all cases one number a mode: the sum over queries and metrics
of value times weight. A weight is an integer of 1 to 999 drawn by position, so that no single wrong value can hide.
"""

import argparse
import json
import math
import pathlib
import sys

import pytrec_eval
from random_runs import Case, draw_case
from random_source import RandomSource

CASES = 4000
DETAILED = 40
FIRST_SEED = 1_000
WEIGHT_SEED = 7
CUTOFFS = [1, 2, 3, 5, 10, 100]
METRICS = (
    ["ndcg", "map", "mrr", "recall"]
    + [f"{kind}@{k}" for kind in ("ndcg", "map", "mrr", "recall", "precision", "success") for k in CUTOFFS]
)
OUTPUT = pathlib.Path(__file__).parents[2] / "packages/eval/test/goldens/metrics.json"
TREC_NAMES = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "success": "success"}
ASKED = {"ndcg", "map", "recip_rank", "set_recall"} | {
    f"{name}.{','.join(map(str, CUTOFFS))}" for name in TREC_NAMES.values()
}


def dense_ranks(scores: dict[str, float]) -> dict[str, float]:
    ranks = {score: float(rank) for rank, score in enumerate(sorted(set(scores.values())))}
    return {document: ranks[score] for document, score in scores.items()}


def value_of(metric: str, measured: dict[str, float]) -> float:
    kind, _, cutoff = metric.partition("@")
    if kind == "mrr":
        value = measured["recip_rank"]
        return value if not cutoff or value >= 1 / int(cutoff) else 0.0
    if not cutoff:
        return measured["set_recall" if kind == "recall" else kind]
    return measured[f"{TREC_NAMES[kind]}_{cutoff}"]


def measure(case: Case, mode: str) -> dict[str, list[float]]:
    run = case.run
    if mode == "float64":
        run = {query: dense_ranks(scores) for query, scores in run.items()}
    evaluator = pytrec_eval.RelevanceEvaluator(case.qrels, ASKED, relevance_level=case.relevance_level)
    # The binding wants Python floats.
    measured = evaluator.evaluate({q: {d: float(s) for d, s in row.items()} for q, row in run.items()})
    return {
        query: [value_of(metric, measured[query]) if query in measured else 0.0 for metric in METRICS]
        for query in case.qrels
    }


def checksum(values: dict[str, list[float]]) -> float:
    random = RandomSource(WEIGHT_SEED)
    return math.fsum(value * (1 + random.below(999)) for row in values.values() for value in row)


def build() -> dict:
    detailed: list = []
    sums: dict[str, list[float]] = {"float32": [], "float64": []}
    for number in range(CASES):
        case = draw_case(FIRST_SEED + number)
        values = {mode: measure(case, mode) for mode in sums}
        for mode, by_query in values.items():
            sums[mode].append(float(f"{checksum(by_query):.12g}"))
        if number < DETAILED:
            detailed.append({m: {q: [round(v, 12) for v in row] for q, row in by.items()} for m, by in values.items()})
    return {
        "source": f"pytrec_eval-terrier {pytrec_eval_version()} (trec_eval 9.0.8)",
        "firstSeed": FIRST_SEED,
        "weightSeed": WEIGHT_SEED,
        "metrics": METRICS,
        "detailed": detailed,
        "sums": sums,
    }


def pytrec_eval_version() -> str:
    from importlib.metadata import version

    return version("pytrec_eval-terrier")


def close(left: object, right: object) -> bool:
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-11, abs_tol=1e-11)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(close(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(close(a, b) for a, b in zip(left, right))
    return left == right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a number moved")
    built = build()
    if parser.parse_args().check:
        if not close(json.loads(OUTPUT.read_text("utf-8")), built):
            sys.exit(f"{OUTPUT} is not what trec_eval gives now")
        return
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(built, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
