"""Step 3: the model's own hard negatives, for the second round of training.

Scores each chosen list's negatives (BM25 and bi-encoder candidates, from prepare.py) with a checkpoint and writes the
lists again, hardest first. Candidates that beat the positive by more than a margin, and those that the bi-encoder as
well puts above it, are taken for unlabelled positives and dropped.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import model as nano
import torch
from train import SHARES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, default=nano.RUNS / "data")
    parser.add_argument("--output", type=Path, default=nano.RUNS / "data" / "mined.jsonl")
    parser.add_argument("--lists", type=int, default=6000, help="lists to score, shared out like training's draws")
    parser.add_argument("--depth", type=int, default=20, help="candidates a list")
    parser.add_argument("--maximum", type=int, default=96, help="tokens a pair")
    parser.add_argument(
        "--margin", type=float, default=2.0, help="logits above the positive that mark a false negative"
    )
    parser.add_argument("--rest", type=float, default=1.0, help="unscored lists to add for each scored one")
    parser.add_argument("--minutes", type=float, default=10, help="stop scoring after this long and keep what is done")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    random_source = random.Random(options.seed)
    documents = json.loads((options.data / "documents.json").read_text())
    state, _ = nano.load(options.checkpoint)
    weights = {name: tensor.bfloat16() for name, tensor in state.items()}
    encoder = nano.Encoder(options.data / "tokenizer.json")
    by_source: dict[str, list[dict]] = defaultdict(list)
    for row in nano.read_jsonl(options.data / "lists.jsonl"):
        by_source[row["source"]].append(row)
    chosen, rest = [], []
    for source, rows in by_source.items():
        random_source.shuffle(rows)
        wanted = round(options.lists * SHARES[source])
        chosen += rows[:wanted]
        rest += rows[wanted : wanted + round(wanted * options.rest)]
    random_source.shuffle(chosen)
    print(f"{len(chosen)} lists to score", flush=True)

    started, dropped, written = time.time(), Counter(), Counter()

    def handle(rows: list[dict]) -> list[dict]:
        if time.time() - started > 60 * options.minutes:
            return []
        pairs = []
        for row in rows:
            numbers = [row["positive"], *(number for number, _ in row["negatives"][: options.depth])]
            pairs += [(row["query"], documents[number]) for number in numbers]
        logits = nano.score(weights, encoder, pairs, options.maximum, threads=1).tolist()
        result, start = [], 0
        for row in rows:
            negatives = row["negatives"][: options.depth]
            own, others = logits[start], logits[start + 1 : start + 1 + len(negatives)]
            start += 1 + len(negatives)
            kept = []
            for (number, cosine), logit in zip(negatives, others, strict=True):
                if logit > own + options.margin or (logit > own + options.margin / 2 and cosine > row["teacher"]):
                    dropped[row["source"]] += 1
                else:
                    kept.append((logit, [number, cosine]))
            kept.sort(key=lambda item: -item[0])
            written[row["source"]] += 1
            result.append({**row, "negatives": [entry for _, entry in kept], "beaten": sum(o > own for o in others)})
        return result

    groups = [chosen[start : start + 16] for start in range(0, len(chosen), 16)]
    with ThreadPoolExecutor(options.threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        with options.output.open("w", encoding="utf-8") as out:
            for number, rows in enumerate(workers.map(handle, groups)):
                for row in rows:
                    out.write(json.dumps(row) + "\n")
                if number % 40 == 0:
                    print(f"{sum(written.values())} lists, {time.time() - started:.0f} s", flush=True)
    with options.output.open("a", encoding="utf-8") as out:
        for row in rest:
            out.write(json.dumps(row) + "\n")
    facts = {
        "unscored": len(rest),
        "written": dict(written),
        "dropped": dict(dropped),
        "seconds": round(time.time() - started),
    }
    options.output.with_suffix(".facts.json").write_text(json.dumps(facts, indent=2))
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
