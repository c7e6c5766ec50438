"""Step 2b of the distillation: lists whose candidates the student itself confuses, for a second run.

Of each list's candidates and BM25's others, the student's own best are kept, with one passage from the middle and
the list's last (a stranger, mostly). No label is asked: what the student takes for relevant, the teacher will judge.

    harden.py --state STATE --run five --lists 5000
    distil.py --state STATE --run five-hard --start five --lists hard.jsonl --hidden-steps 0

Called again, it goes on after the last line that it wrote.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import evaluate
import model as nano
import torch
from candidates import COUNT

# Lists scored together: enough for batches of equal length, few enough to lose little when stopped.
GROUP = 16


def whole_lines(path: Path) -> int:
    """Number of finished lines; a line that a stop cut off is removed."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end != len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    return content.count(b"\n")


def harder(row: dict, numbers: list[int], scores: list[float]) -> dict:
    """The list with the student's choice of candidates; `numbers` begins with the list's own passage."""
    order = sorted(range(1, len(numbers)), key=lambda place: -scores[place])
    middle = order[len(order) // 2]
    stranger = numbers.index(row["documents"][-1])
    kept = list(dict.fromkeys([0, *order[: COUNT - 3], middle, stranger, *order]))[:COUNT]
    more = [number for place, number in enumerate(numbers) if place not in kept]
    return {**row, "documents": [numbers[place] for place in kept], "more": more}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of everything that distillation keeps")
    parser.add_argument("--run", required=True, help="the run whose averaged weights choose")
    parser.add_argument("--lists", type=int, default=5000, help="how many lists, from the file's end, not yet trained on")
    parser.add_argument("--output", default="hard.jsonl", help="name of the file in --state")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = options.state / "teacher"
    scorer = evaluate.TorchScorer(options.state / options.run / "average.pt", source / "tokenizer.json")
    documents: list[str] = json.loads((options.state / "documents.json").read_text())
    rows = nano.read_jsonl(options.state / "lists.jsonl")[-options.lists :]
    output = options.state / options.output
    start = whole_lines(output)
    with output.open("a", encoding="utf-8") as out:
        for first in range(start, len(rows), GROUP):
            group = rows[first : first + GROUP]
            numbers = [list(dict.fromkeys([*row["documents"], *row["more"]])) for row in group]
            pairs = [
                (row["query"], documents[number]) for row, mine in zip(group, numbers, strict=True) for number in mine
            ]
            scores = scorer(pairs, 128).tolist()
            for row, mine in zip(group, numbers, strict=True):
                part, scores = scores[: len(mine)], scores[len(mine) :]
                out.write(json.dumps(harder(row, mine, part)) + "\n")
            out.flush()
            print(f"{first + len(group)} of {len(rows)} lists", flush=True)


if __name__ == "__main__":
    main()
