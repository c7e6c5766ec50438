"""Step 1 of the distillation: queries and candidate lists, for a teacher that needs no labels.

Queries: those of train/pairs.jsonl, and made ones (titles, first and other sentences, runs of sentences, and a few
telling words of that file's own passages). Candidates of a query: its own passage, BM25's best, some from further
down, and strangers. Evaluation texts are read only to remove what resembles them and to count shared documents.

Writes to the state folder:
  documents.json   every document text, addressed by its index
  lists.jsonl      {source, query, documents (COUNT of them), more (BM25's others, for mining), limit (tokens a pair)}
  dev.jsonl        {source, query, positives, pool}, held out by positive document
  facts.json       counts for the model card
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter, defaultdict
from pathlib import Path

import bm25s
import model as nano
import prepare
from prepare import words

SEED = 20261129
COUNT = 8
DEV_QUERIES = {"scifact": 40, "feedbackqa": 40, "squad-passage": 40, "medquad": 40, "tldr": 40, "selqa-passage": 40}
# Lists of each source. tldr-pages is almost half of the rows and is held down here.
LISTS = {
    "squad-passage": 8000,
    "squad-sentence": 2500,
    "feedbackqa": 5000,
    "medquad": 7000,
    "scifact": 800,
    "scifact-sentence": 1000,
    "selqa-sentence": 1500,
    "selqa-passage": 2500,
    "tldr": 3500,
}
# Made queries for each document of a source.
MADE = {"squad-passage": 2, "feedbackqa": 2, "medquad": 0.6, "scifact": 6, "selqa-passage": 1, "tldr": 0.5}
# Token limits of a pair and their shares.
LIMITS = {80: 0.3, 128: 0.35, 192: 0.22, 256: 0.13}
COMMON = set(
    "a an and are as at be been but by can could did do does for from had has have he her his how i if in into is it its "
    "may more most no not of on one or other she so some such than that the their them then there these they this those "
    "to was we were what when where which who will with would you your also about after all any between each only over "
    "through under up out used use using very s t".split()
)


def sentences(text: str) -> list[str]:
    """Sentences of a text, by punctuation followed by a space; the lower-cased sources have no better mark."""
    return [part.strip() for part in re.split(r"(?<=[.?!])\s+", text) if part.strip()]


def made_query(text: str, rarity: dict[str, int], chance: random.Random) -> tuple[str, str, str] | None:
    """(kind, query, the document for it) from a passage, or None where it has nothing fit."""
    parts = sentences(text)
    kind = chance.choices(["first", "sentence", "run", "words"], [0.25, 0.25, 0.15, 0.35])[0]
    if kind == "words":
        seen = [word for word in dict.fromkeys(words(text)) if word not in COMMON and len(word) > 2]
        if len(seen) < 8:
            return None
        # Telling words stand together: a window of the text, and its rarest words in their order.
        start = chance.randrange(max(1, len(seen) - 12))
        window = seen[start : start + 12]
        kept = set(sorted(window, key=lambda word: rarity.get(word, 0))[: chance.randint(2, 5)])
        return kind, " ".join(word for word in window if word in kept), text
    if len(parts) < 3:
        return None
    if kind == "run":
        start, length = chance.randrange(len(parts) - 1), chance.randint(2, 3)
    else:
        start, length = (0 if kind == "first" else chance.randrange(1, len(parts))), 1
    query = " ".join(parts[start : start + length])
    if not 3 <= len(query.split()) <= (90 if kind == "run" else 32):
        return None
    # Mostly the document lacks the query's words, so that the pair is about meaning rather than copies.
    rest = " ".join(parts[:start] + parts[start + length :])
    return kind, query, rest if chance.random() < 0.7 and len(rest.split()) >= 15 else text


class Search:
    """BM25 (k1 0.9, b 0.4) over some of the documents."""

    def __init__(self, documents: list[str], numbers: list[int]):
        self.numbers = numbers
        self.index = bm25s.BM25(k1=0.9, b=0.4)
        self.index.index([words(documents[number]) for number in numbers], show_progress=False)

    def __call__(self, queries: list[str], depth: int) -> list[list[int]]:
        depth = min(depth, len(self.numbers))
        found, _ = self.index.retrieve([words(query) for query in queries], k=depth, show_progress=False)
        return [[self.numbers[place] for place in row] for row in found.tolist()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/pairs.jsonl and eval/")
    parser.add_argument("--state", type=Path, required=True, help="folder of everything that distillation keeps")
    parser.add_argument("--depth", type=int, default=40, help="BM25 candidates a query")
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    started, chance = time.time(), random.Random(SEED)

    def log(text: str) -> None:
        print(f"{time.time() - started:6.0f} s  {text}", flush=True)

    rows, removed = prepare.overlap_filter(nano.read_jsonl(options.data / "train" / "pairs.jsonl"), options.data)
    log(f"{len(rows)} rows kept, removed {removed}")
    builder = prepare.build(rows, 12000)
    documents = builder.documents
    log(f"{len(builder.queries)} queries, {len(documents)} documents")

    # Dev: whole positive documents are held out with all their queries, and no made query comes from them.
    held: set[str] = set()
    dev, dev_pools = [], []
    answers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for query in builder.queries:
        answers[query["source"], query["same"]].add(query["positive"])
    searches = {source: Search(documents, numbers) for source, numbers in builder.corpora.items()}
    for source, wanted in DEV_QUERIES.items():
        order = [query for query in builder.queries if query["source"] == source]
        chance.shuffle(order)
        mine = []
        for query in order:
            if len(mine) < wanted and documents[query["positive"]] not in held:
                held.add(documents[query["positive"]])
                mine.append(query)
        for query, found in zip(mine, searches[source]([q["query"] for q in mine], 20), strict=True):
            positives = sorted(answers[source, query["same"]])
            others = [number for number in found if number not in positives]
            kept = set(others[: 20 - len(positives)]) | set(positives)
            pool = [number for number in found if number in kept]
            pool += [number for number in positives if number not in pool]
            dev.append({"source": source, "query": query["query"], "positives": positives, "pool": pool})
            dev_pools.append(query["query"].lower())
    with (options.state / "dev.jsonl").open("w", encoding="utf-8") as out:
        for row in dev:
            out.write(json.dumps(row) + "\n")
    held_queries = set(dev_pools)
    held_sentences = {part.lower() for text in held for part in sentences(text) if len(part.split()) > 5}
    log(f"dev {len(dev)} queries")

    evaluation = prepare.Evaluation(options.data, prepare.EVALUATION_SETS, prepare.EVALUATION_SETS)
    rarity: Counter = Counter(word for text in documents for word in set(words(text)))
    asked: list[dict] = []
    by_source: dict[str, list[dict]] = defaultdict(list)
    for query in builder.queries:
        if documents[query["positive"]] not in held and query["query"].lower() not in held_queries:
            by_source[query["source"]].append(query)
    for source, wanted in LISTS.items():
        for query in chance.sample(by_source[source], min(wanted, len(by_source[source]))):
            asked.append({"source": source, "kind": "given", **{key: query[key] for key in ("query", "positive", "given")}})
    near = 0
    for source, share in MADE.items():
        corpus = list(builder.corpora[source])
        for number in chance.choices(corpus, k=round(share * len(corpus))):
            if documents[number] in held:
                continue
            made = made_query(documents[number], rarity, chance)
            if made is None or made[1].lower() in held_sentences:
                continue
            kind, query, text = made
            if evaluation.near_query(query):
                near += 1
                continue
            positive = number
            if text != documents[number]:
                positive = len(documents)
                documents.append(text)
            asked.append({"source": source, "kind": kind, "query": query, "positive": positive, "given": []})
    log(f"{len(asked)} lists, {near} made queries near an evaluation query left out")

    # Sources mix evenly, so that any first part of the file is a fair sample.
    chance.shuffle(asked)
    found_of: dict[int, list[int]] = {}
    for source, search in searches.items():
        mine = [place for place, query in enumerate(asked) if query["source"] == source]
        if mine:
            found_of.update(zip(mine, search([asked[place]["query"] for place in mine], options.depth), strict=True))
        log(f"{source}: {len(mine)} lists from {len(search.numbers)} documents")
    trained: set[int] = set()
    with (options.state / "lists.jsonl.tmp").open("w", encoding="utf-8") as out:
        for place, query in enumerate(asked):
            own = documents[query["positive"]]
            found = [n for n in found_of[place] if n != query["positive"] and documents[n] not in held and documents[n] != own]
            top, middle, low = found[:8], found[8:20], found[20:]
            chosen = [query["positive"], *chance.sample(top, min(3, len(top)))]
            chosen += chance.sample(query["given"], min(1, len(query["given"])))
            chosen += chance.sample(middle, min(1, len(middle))) + chance.sample(low, min(1, len(low)))
            while len(set(chosen)) < COUNT:
                # Strangers: one of the same source, or one of any.
                source = query["source"] if chance.random() < 0.6 else chance.choice(list(builder.corpora))
                number = chance.choice(builder.corpora[source])
                if documents[number] not in held:
                    chosen.append(number)
            chosen = list(dict.fromkeys(chosen))[:COUNT]
            trained.update(chosen)
            limit = chance.choices(list(LIMITS), list(LIMITS.values()))[0]
            line = {"source": query["source"], "kind": query["kind"], "query": query["query"], "documents": chosen}
            more = [number for number in found[:20] if number not in chosen]
            out.write(json.dumps({**line, "more": more, "limit": limit}) + "\n")
    (options.state / "lists.jsonl.tmp").replace(options.state / "lists.jsonl")
    (options.state / "documents.json").write_text(json.dumps(documents))
    shared = Counter(evaluation.document_set(documents[number]) for number in sorted(trained))
    facts = {
        "removed_near_evaluation": removed,
        "made_near_evaluation": near,
        "lists": len(asked),
        "lists_by_source": dict(Counter(query["source"] for query in asked)),
        "lists_by_kind": dict(Counter(query["kind"] for query in asked)),
        "documents_trained_on": len(trained),
        "documents_shared_with_evaluation": {task: count for task, count in shared.items() if task is not None},
        "dev_queries": dict(Counter(row["source"] for row in dev)),
        "seconds": round(time.time() - started),
    }
    (options.state / "facts.json").write_text(json.dumps(facts, indent=2))
    log(json.dumps(facts))


if __name__ == "__main__":
    main()
