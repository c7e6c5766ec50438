"""Holds our MTEB result files against mteb itself. For maintainers; needs `pip install mteb==2.26.24`.

    python check_mteb.py RESULT.json...            # load with mteb's own class, as its leaderboard does
    python check_mteb.py --write                   # mteb-task-result.json: the shape that the test holds results against
    python check_mteb.py RESULT.json --run RUN.trec --qrels QRELS.tsv   # and compute the scores again
"""

import argparse
import json
import math
from importlib.metadata import version
from pathlib import Path

from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, make_score_dict
from mteb.results.task_result import TaskResult

CUTOFFS = [1, 3, 5, 10, 20, 100, 1000]


def mteb_scores(qrels, run):
    result = calculate_retrieval_scores(run, qrels, CUTOFFS)
    return make_score_dict(
        ndcg=result.ndcg,
        _map=result.map,
        recall=result.recall,
        precision=result.precision,
        mrr=result.mrr,
        naucs=result.naucs,
        naucs_mrr=result.naucs_mrr,
        hit_rate=result.hit_rate,
        task_scores={},
    )


def read_run(path):
    run = {}
    for line in path.read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        run.setdefault(query, {})[document] = float(score)
    return run


def read_qrels(path, queries):
    qrels = {}
    for line in path.read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if query in queries:
            qrels.setdefault(query, {})[document] = int(grade)
    return qrels


def check(path, run_path, qrels_path):
    result = TaskResult.from_disk(path)
    assert json.loads(result.model_dump_json())["task_name"] == result.task_name
    entry = next(iter(result.scores.values()))[0]
    assert math.isclose(result.get_score(), entry["main_score"]), "main score"
    print(path.name, result.task_name, result.get_score())
    if run_path is None:
        return
    run = read_run(run_path)
    theirs = mteb_scores(read_qrels(qrels_path, run.keys()), run)
    compared = 0
    for key, value in theirs.items():
        if key in entry:
            # mteb rounds some of its means to five digits.
            assert abs(entry[key] - value) <= 5.1e-6, (key, entry[key], value)
            compared += 1
    ours = {k for k, v in entry.items() if isinstance(v, float)} - {"main_score"}
    print(f"{compared} scores as mteb computes them; only mteb's: {len(theirs.keys() - entry.keys())}; only ours: {sorted(ours - theirs.keys())}")


def write():
    qrels = {"q1": {"d1": 1}, "q2": {"d2": 2, "d3": 1}}
    run = {"q1": {"d1": 0.5, "d2": 0.4}, "q2": {"d1": 0.9, "d2": 0.3, "d3": 0.1}}
    keys = [k for k in mteb_scores(qrels, run) if not k.startswith("nauc")]
    schema = TaskResult.model_json_schema()
    shape = {
        "source": f"mteb {version('mteb')}: TaskResult.model_json_schema(), keys of make_score_dict without nauc",
        "required": schema["required"],
        "properties": {
            name: sorted(option["type"] for option in field.get("anyOf", [field]) if "type" in option)
            for name, field in schema["properties"].items()
        },
        # Checked by TaskResult._validate_scores_dict.
        "scores": {"main_score": "number", "hf_subset": "string", "languages": "array"},
        "scoreKeys": keys,
    }
    target = Path(__file__).with_name("mteb-task-result.json")
    target.write_text(json.dumps(shape, indent=2) + "\n")


parser = argparse.ArgumentParser()
parser.add_argument("results", nargs="*", type=Path)
parser.add_argument("--run", type=Path)
parser.add_argument("--qrels", type=Path)
parser.add_argument("--write", action="store_true")
arguments = parser.parse_args()
if arguments.write:
    write()
for result_path in arguments.results:
    check(result_path, arguments.run, arguments.qrels)
