"""Counts for the model card of a run: queries, candidates and documents of the lists that it read, by source, and how
many of those documents lie in an evaluation set."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import model as nano
import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder of everything that distillation keeps")
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--data", type=Path, required=True, help="folder with eval/")
    options = parser.parse_args()
    settings = json.loads((options.state / options.run / "run.json").read_text())
    _, facts = nano.load(options.state / options.run / "average.pt")
    rows = list(nano.read_jsonl(options.state / settings["lists"]))[: facts["lists"]]
    documents = json.loads((options.state / "documents.json").read_text())
    used = sorted({number for row in rows for number in row["documents"]})
    evaluation = prepare.Evaluation(options.data, prepare.EVALUATION_SETS, prepare.EVALUATION_SETS)
    shared = Counter(evaluation.document_set(documents[number]) for number in used)
    report = {
        "steps": facts["step"],
        "lists": len(rows),
        "pairs": sum(len(row["documents"]) for row in rows),
        "lists_by_source": dict(Counter(row["source"].split("-")[0] for row in rows)),
        "documents": len(used),
        "documents_shared_with_evaluation": {task: count for task, count in shared.items() if task is not None},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
