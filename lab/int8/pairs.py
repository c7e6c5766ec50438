"""Writes the sample: pairs of the public sets noveleval and feedbackqa as token ids, of all lengths, by a fixed seed.

python lab/int8/pairs.py <folder of evaluation sets> <folder of the model> <output.json> [pairs | all]
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines() if line]


def pairs_of(folder):
    corpus = {row["_id"]: f"{row.get('title') or ''} {row['text']}".strip() for row in lines(folder / "corpus.jsonl")}
    queries = {row["_id"]: row["text"] for row in lines(folder / "queries.jsonl")}
    for line in (folder / "candidates.trec").read_text(encoding="utf8").splitlines():
        query, _, document, *_ = line.split()
        yield queries[query], corpus[document]


def main():
    sets, model, output = map(Path, sys.argv[1:4])
    count = sys.argv[4] if len(sys.argv) > 4 else "48"
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512, strategy="only_second")
    if count == "all":
        encoded = [tokenizer.encode(*pair) for pair in pairs_of(sets / "noveleval")]
        pairs = [{"set": "noveleval", "ids": one.ids, "segments": one.type_ids} for one in encoded]
    else:
        pairs = sample(sets, tokenizer, int(count))
    output.write_text(json.dumps(pairs))
    lengths = sorted(len(pair["ids"]) for pair in pairs)
    print(len(pairs), "pairs of", lengths[0], "to", lengths[-1], "tokens, median", lengths[len(lengths) // 2])


def sample(sets, tokenizer, wanted):
    chance = random.Random(24)
    pairs = []
    for name, share in (("noveleval", 2), ("feedbackqa", 1)):
        known = sorted(set(pairs_of(sets / name)))
        chance.shuffle(known)
        count = wanted * share // 3
        # Of four times as many, every fourth by length: all lengths are there.
        encoded = sorted((tokenizer.encode(*pair) for pair in known[: 4 * count]), key=lambda one: len(one.ids))
        pairs += [{"set": name, "ids": one.ids, "segments": one.type_ids} for one in encoded[::4]]
    return pairs


main()
