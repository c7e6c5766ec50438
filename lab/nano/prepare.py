"""Step 1: from the public pairs to training lists, a dev set, and the pruned vocabulary.

Writes to the output folder:
  documents.json   every document text, addressed by its index
  lists.jsonl      {source, query, positive, negatives: [[document, teacher cosine], ...], teacher}
  dev.jsonl        {source, query, positives, pool}, held out by positive document
  tokenizer.json   the pruned WordPiece tokenizer, and vocabulary.json, its rows in the base model
  facts.json       counts for the model card

Evaluation texts are read for one purpose only: to remove training rows that resemble them.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import random
import re
import time
from collections import Counter, defaultdict
from pathlib import Path

import bm25s
import model as nano
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SEED = 20261121
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
EVALUATION_SETS = ["scifact", "xquad-en", "feedbackqa", "liveqa-med", "noveleval"]
DEV_QUERIES = {"scifact": 100, "feedbackqa": 120, "squad-passage": 80, "medquad": 80}

# MedQuAD's questions follow templates. Each is listed with ways in which people ask the same thing.
MEDQUAD_TEMPLATES = [
    (
        r"what is \(are\) (.+?) \?$",
        ["what is {}", "{}", "tell me about {}", "information on {}", "i want to learn about {}"],
    ),
    (
        r"what are the symptoms of (.+?) \?$",
        ["{} symptoms", "signs of {}", "how do i know if i have {}", "what does {} look like"],
    ),
    (
        r"what are the treatments for (.+?) \?$",
        [
            "how to treat {}",
            "{} treatment",
            "is there a cure for {}",
            "what medicine helps with {}",
            "best therapy for {}",
        ],
    ),
    (
        r"what causes (.+?) \?$",
        ["cause of {}", "why do people get {}", "what is the reason for {}", "how do you get {}"],
    ),
    (r"how to diagnose (.+?) \?$", ["tests for {}", "how is {} diagnosed", "how do doctors find {}", "{} diagnosis"]),
    (r"how to prevent (.+?) \?$", ["preventing {}", "how can i avoid {}", "{} prevention"]),
    (r"is (.+?) inherited \?$", ["can {} be passed to my children", "does {} run in families", "{} genetics"]),
    (r"who is at risk for (.+?)\s*\?+$", ["{} risk factors", "who gets {}", "am i at risk of {}"]),
    (
        r"what is the outlook for (.+?) \?$",
        ["{} prognosis", "life expectancy with {}", "how long can you live with {}"],
    ),
    (r"how many people are affected by (.+?) \?$", ["how common is {}", "{} frequency", "is {} rare"]),
    (r"what are the genetic changes related to (.+?) \?$", ["{} gene mutation", "which gene causes {}"]),
    (r"what are the complications of (.+?) \?$", ["{} complications", "problems that {} can lead to"]),
    (r"what to do for (.+?) \?$", ["diet for {}", "how to live with {}", "what should i eat with {}"]),
    (
        r"what research \(or clinical trials\) is being done for (.+?) \?$",
        ["{} clinical trials", "new research about {}"],
    ),
]


def tidy(text: str) -> str:
    """Undoes the tokenised spelling of the SQuAD sentences and collapses white space."""
    for bracket, plain in (("-lrb-", "("), ("-rrb-", ")"), ("-lsb-", "["), ("-rsb-", "]"), ("``", '"'), ("''", '"')):
        text = text.replace(bracket, plain)
    text = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m)\b", r"\1", text)
    text = re.sub(r" ([,.;:?!)\]])", r"\1", text)
    text = re.sub(r"([(\[]) ", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def words(text: str) -> list[str]:
    """Lower-cased word tokens."""
    return re.findall(r"\w+", text.lower())


def shingles(text: str, size: int = 8) -> set[int]:
    """Hashes of the runs of `size` words; of the whole text where it is shorter."""
    tokens = words(text)
    return {hash(tuple(tokens[start : start + size])) for start in range(max(1, len(tokens) - size + 1))}


class Evaluation:
    """The evaluation sets' texts, read for one purpose only: to find training texts that resemble them.

    Near an evaluation query: word-set Jaccard of 0.6 or more, which also finds SciFact's reworded and negated claims.
    An evaluation document: it holds 80 % of the text's 8-word runs.
    """

    def __init__(self, data: Path, sets: list[str], document_sets: list[str]):
        self.queries: list[frozenset[str]] = []
        self.runs: dict[int, list[int]] = defaultdict(list)
        self.set_of: list[str] = []
        for task in sets:
            folder = data / "eval" / task
            self.queries += [frozenset(words(row["text"])) for row in nano.read_jsonl(folder / "queries.jsonl")]
            if task not in document_sets:
                continue
            for row in nano.read_jsonl(folder / "corpus.jsonl"):
                for run in shingles(f"{row.get('title', '')} {row['text']}"):
                    self.runs[run].append(len(self.set_of))
                self.set_of.append(task)
        self.longest = max(map(len, self.queries))
        frequency = Counter(word for query in self.queries for word in query)
        self.index: dict[str, list[int]] = defaultdict(list)
        for number, query in enumerate(self.queries):
            # Sets at Jaccard 0.6 share at least one of these rarest words of the evaluation query.
            prefix = len(query) - math.ceil(0.6 * len(query)) + 1
            for word in sorted(query, key=lambda word: (frequency[word], word))[:prefix]:
                self.index[word].append(number)

    def near_query(self, text: str) -> bool:
        """Whether the text nearly equals a query."""
        mine = frozenset(words(text))
        if 0.6 * len(mine) > self.longest:
            return False
        # A set of too many words for the query cannot reach the share.
        candidates = {n for word in mine for n in self.index.get(word, ()) if 0.6 * len(mine) <= len(self.queries[n])}
        return any(len(mine & self.queries[n]) >= 0.6 * len(mine | self.queries[n]) for n in candidates)

    def document_set(self, text: str) -> str | None:
        """The set with a document that holds the text."""
        mine = shingles(text)
        hits = Counter(document for run in mine for document in self.runs.get(run, ()))
        if not hits:
            return None
        document, count = hits.most_common(1)[0]
        return self.set_of[document] if count >= 0.8 * len(mine) else None


def overlap_filter(rows: list[dict], data: Path) -> tuple[list[dict], dict]:
    """Removes rows whose query or positive nearly equals an evaluation query, or whose positive is an evaluation document.

    SciFact and FeedbackQA are exempt from the second rule, because their official training and test queries share one
    corpus.
    """
    exempt = ("scifact", "feedbackqa")
    evaluation = Evaluation(data, EVALUATION_SETS, [task for task in EVALUATION_SETS if task not in exempt])

    @functools.cache
    def near_an_answer(text: str) -> bool:
        return evaluation.near_query(text) or evaluation.document_set(text) is not None

    kept, removed = [], {"query": Counter(), "positive": Counter()}
    for row in rows:
        if evaluation.near_query(row["query"]):
            removed["query"][row["source"]] += 1
        elif near_an_answer(row["positive"]):
            removed["positive"][row["source"]] += 1
        else:
            kept.append(row)
    return kept, {kind: dict(counter) for kind, counter in removed.items()}


def medquad_question(query: str, random_source: random.Random) -> tuple[str, str]:
    """(key of what is asked, a query in a person's words) for one MedQuAD question."""
    lowered = re.sub(r"\s+", " ", query.strip().lower())
    for number, (pattern, variants) in enumerate(MEDQUAD_TEMPLATES):
        match = re.match(pattern, lowered)
        if match:
            focus = re.sub(r"\s*\(.*?\)", "", match.group(1))
            asked = (
                lowered.replace(" (are)", "")
                if random_source.random() < 0.25
                else random_source.choice(variants).format(focus)
            )
            if random_source.random() < 0.3:
                asked += "?"
            return f"{number}:{focus}", asked
    return lowered, query


class Builder:
    """Collects documents and the queries of each source."""

    def __init__(self) -> None:
        self.documents: list[str] = []
        self.by_text: dict[str, int] = {}
        self.corpora: dict[str, list[int]] = defaultdict(list)
        self.queries: list[dict] = []

    def document(self, source: str, text: str) -> int:
        """Index of a text, added to the source's corpus at its first mention."""
        key = f"{source}\n{text}"
        if key not in self.by_text:
            self.by_text[key] = len(self.documents)
            self.corpora[source].append(len(self.documents))
            self.documents.append(text)
        return self.by_text[key]

    def query(
        self, source: str, text: str, positive: int, same: str | None = None, given: list[int] | None = None
    ) -> None:
        """One query; those of one source with equal `same` share their positives."""
        self.queries.append(
            {"source": source, "query": text, "positive": positive, "same": same or text.lower(), "given": given or []}
        )


def build(rows: list[dict], tldr_cap: int) -> Builder:
    """Turns the rows into queries and per-source corpora, with longer passages where the source allows it."""
    random_source = random.Random(SEED)
    builder = Builder()
    by_source: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        by_source[row["source"]].append(row)

    # SQuAD: neighbouring sentences, in order of first mention, become passages of about 100 words.
    sentences = list(dict.fromkeys(tidy(row["positive"]) for row in by_source["squad-sentences"]))
    passage_of: dict[str, str] = {}
    part: list[str] = []
    for sentence in [*sentences, None]:
        if sentence is None or (part and sum(len(s.split()) for s in [*part, sentence]) > target):
            for member in part:
                passage_of[member] = " ".join(part)
            part = []
        if not part:
            target = random_source.randint(70, 150)
        if sentence is not None:
            part.append(sentence)
    for row in by_source["squad-sentences"]:
        query, sentence = tidy(row["query"]), tidy(row["positive"])
        builder.query("squad-passage", query, builder.document("squad-passage", passage_of[sentence]))
        if random_source.random() < 0.5:
            builder.query("squad-sentence", query, builder.document("squad-sentence", sentence))

    # SelQA: sentences with the negatives that come along, and the paragraph that they make up.
    for row in by_source["selqa"]:
        positive = tidy(row["positive"])
        others = [tidy(text) for text in row["negatives"] if len(text.split()) > 3]
        given = [builder.document("selqa-sentence", text) for text in others if text != positive]
        builder.query("selqa-sentence", row["query"], builder.document("selqa-sentence", positive), given=given)
        if len(others) >= 2:
            place = random_source.randint(0, min(len(others), 3))
            paragraph = [*others[max(0, place - 3) : place], positive, *others[place : place + 3]]
            builder.query("selqa-passage", row["query"], builder.document("selqa-passage", " ".join(paragraph)))

    # MedQuAD: half of the answers carry their question as a title, as the evaluation documents do.
    for row in by_source["medquad"]:
        same, query = medquad_question(row["query"], random_source)
        text = re.sub(r"\s+", " ", row["positive"]).strip()
        if random.Random(text).random() < 0.5:
            text = f"{row['query']} {text}"
        builder.query("medquad", query, builder.document("medquad", text), same=same)

    for row in by_source["feedbackqa"]:
        text = re.sub(r"\s+", " ", row["positive"]).strip()
        builder.query("feedbackqa", row["query"], builder.document("feedbackqa", text))

    # SciFact: the claims, and as further queries single sentences whose abstract then lacks them.
    for text in dict.fromkeys(row["positive"] for row in by_source["scifact-train"]):
        builder.document("scifact", text)
    for row in by_source["scifact-train"]:
        builder.query("scifact", row["query"], builder.document("scifact", row["positive"]))
    for number in list(builder.corpora["scifact"]):
        abstract = re.split(r"(?<=[.?!]) (?=[A-Z])", builder.documents[number])
        chosen = [index for index in range(1, len(abstract)) if 8 <= len(abstract[index].split()) <= 30]
        for index in random_source.sample(chosen, min(2, len(chosen))):
            rest = " ".join(abstract[:index] + abstract[index + 1 :])
            builder.query(
                "scifact-sentence", abstract[index], builder.document("scifact-sentence", rest), same=str(number)
            )

    tldr = by_source["tldr-pages"]
    for row in random_source.sample(tldr, min(tldr_cap, len(tldr))):
        builder.query("tldr", row["query"], builder.document("tldr", row["positive"]))
    return builder


def prune_vocabulary(texts: list[str], size: int, general: int, folder: Path) -> dict:
    """Writes the pruned tokenizer: special tokens, single characters, the training texts' most frequent pieces,
    and the `general` first pieces of the base vocabulary (ordered by frequency at large) that are not among them."""
    base = Tokenizer.from_file(str(nano.base_model_folder() / "tokenizer.json"))
    base.no_padding()
    base.no_truncation()
    vocabulary = base.get_vocab()
    by_id = sorted(vocabulary, key=vocabulary.__getitem__)
    counts: Counter = Counter()
    for start in range(0, len(texts), 5000):
        encodings = base.encode_batch(texts[start : start + 5000], add_special_tokens=False)
        for encoding in encodings:
            counts.update(encoding.tokens)
    kept = dict.fromkeys(SPECIAL)
    kept.update(dict.fromkeys(t for t in by_id if len(t) == 1 or (len(t) == 3 and t.startswith("##"))))
    singles = len(kept)
    for token, _ in sorted(counts.items(), key=lambda item: (-item[1], vocabulary[item[0]])):
        if len(kept) < size - general and token not in SPECIAL:
            kept[token] = None
    frequent = len(kept)
    for token in by_id:
        if len(kept) < size and not re.fullmatch(r"\[.+\]", token):
            kept[token] = None
    order = SPECIAL + sorted(set(kept) - set(SPECIAL), key=vocabulary.__getitem__)
    rows = [vocabulary[token] for token in order]
    covered = sum(counts[t] for t in order) / sum(counts.values())

    tokenizer = Tokenizer(
        models.WordPiece({t: i for i, t in enumerate(order)}, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", order.index("[CLS]")), ("[SEP]", order.index("[SEP]"))],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "vocabulary.json").write_text(json.dumps(rows))
    return {
        "size": len(order),
        "singles": singles,
        "frequent_end": frequent,
        "training_token_coverage": round(covered, 5),
    }


def search(builder: Builder, source: str, queries: list[str], depth: int) -> np.ndarray:
    """BM25 (k1 0.9, b 0.4) document indices of the source's corpus, best first."""
    corpus = builder.corpora[source]
    index = bm25s.BM25(k1=0.9, b=0.4)
    index.index([words(builder.documents[number]) for number in corpus], show_progress=False)
    depth = min(depth, len(corpus))
    found, _ = index.retrieve([words(query) for query in queries], k=depth, show_progress=False)
    return np.array(corpus)[found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/pairs.jsonl and eval/")
    parser.add_argument("--output", type=Path, default=nano.RUNS / "data")
    parser.add_argument("--vocabulary", type=int, default=18500, help="pieces to keep")
    parser.add_argument("--general", type=int, default=2500, help="how many of them are the base vocabulary's first")
    parser.add_argument("--tldr", type=int, default=6000, help="tldr-pages rows to keep")
    parser.add_argument("--depth", type=int, default=20, help="candidates from each of BM25 and the bi-encoder")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    started = time.time()

    def log(text: str) -> None:
        print(f"{time.time() - started:6.0f} s  {text}", flush=True)

    rows, removed = overlap_filter(nano.read_jsonl(options.data / "train" / "pairs.jsonl"), options.data)
    log(f"{len(rows)} rows kept, removed {removed}")
    builder = build(rows, options.tldr)
    log(f"{len(builder.queries)} queries, {len(builder.documents)} documents")

    texts = builder.documents + [query["query"] for query in builder.queries]
    vocabulary = prune_vocabulary(texts, options.vocabulary, options.general, options.output)
    log(f"vocabulary {vocabulary}")

    # Dev: whole positive documents are held out with all their queries.
    random_source = random.Random(SEED + 1)
    held: dict[str, set[int]] = defaultdict(set)
    dev: list[dict] = []
    for source, wanted in DEV_QUERIES.items():
        order = [query for query in builder.queries if query["source"] == source]
        random_source.shuffle(order)
        for query in order:
            if len(held[source]) < wanted and query["positive"] not in held[source]:
                held[source].add(query["positive"])
                dev.append(query)
    held_texts = {builder.documents[number] for numbers in held.values() for number in numbers}
    held_queries = {query["query"].lower() for query in dev}
    answers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for query in builder.queries:
        answers[query["source"], query["same"]].add(query["positive"])
    with (options.output / "dev.jsonl").open("w", encoding="utf-8") as out:
        for source in DEV_QUERIES:
            mine = [query for query in dev if query["source"] == source]
            for query, found in zip(mine, search(builder, source, [q["query"] for q in mine], 20), strict=True):
                positives = sorted(answers[source, query["same"]])
                pool = list(dict.fromkeys([*found.tolist()[: 20 - len(positives)], *positives]))
                pool.sort(key=lambda number: found.tolist().index(number) if number in found else 99)
                out.write(
                    json.dumps({"source": source, "query": query["query"], "positives": positives, "pool": pool}) + "\n"
                )
    training = [
        query
        for query in builder.queries
        if builder.documents[query["positive"]] not in held_texts and query["query"].lower() not in held_queries
    ]
    # A held abstract's sentences, and a held passage's single sentences, are held as well.
    held_scifact = {str(number) for number in held["scifact"]}
    training = [q for q in training if not (q["source"] == "scifact-sentence" and q["same"] in held_scifact)]
    log(f"dev {len(dev)} queries, training {len(training)} queries")
    (options.output / "documents.json").write_text(json.dumps(builder.documents))

    teacher = {
        name: tensor.bfloat16() for name, tensor in nano.packed_state(list(range(6)), list(range(30522)), 0).items()
    }
    encoder = nano.Encoder(nano.base_model_folder() / "tokenizer.json")
    vectors = nano.embed(teacher, encoder, builder.documents, 112)
    log("documents embedded")
    asked = list(dict.fromkeys(query["query"] for query in training))
    query_vectors = dict(zip(asked, nano.embed(teacher, encoder, asked, 64), strict=True))
    log("queries embedded")

    written = 0
    with (options.output / "lists.jsonl").open("w", encoding="utf-8") as out:
        for source, corpus in builder.corpora.items():
            mine = [query for query in training if query["source"] == source]
            if not mine:
                continue
            lexical = search(builder, source, [query["query"] for query in mine], options.depth)
            block = torch.stack([query_vectors[query["query"]] for query in mine])
            numbers = torch.tensor(corpus)
            for start in range(0, len(mine), 1000):
                dense = (
                    (block[start : start + 1000] @ vectors[numbers].T)
                    .topk(min(options.depth, len(corpus)), dim=1)
                    .indices
                )
                for offset, query in enumerate(mine[start : start + 1000]):
                    vector = block[start + offset]
                    right = answers[source, query["same"]]
                    positive_words = set(words(builder.documents[query["positive"]]))
                    own = float(vector @ vectors[query["positive"]])
                    # Interleaved, so that early entries are the hardest by either judge.
                    mixed = [
                        n
                        for pair in zip(lexical[start + offset].tolist(), numbers[dense[offset]].tolist())
                        for n in pair
                    ]
                    negatives = []
                    for number in dict.fromkeys([*query["given"], *mixed]):
                        if number in right or number in held[source] or builder.documents[number] in held_texts:
                            continue
                        other = set(words(builder.documents[number]))
                        if len(other & positive_words) > 0.8 * len(other | positive_words):
                            continue
                        cosine = float(vector @ vectors[number])
                        if cosine > own + 0.1:
                            continue
                        negatives.append([number, round(cosine, 4)])
                    line = {
                        "source": source,
                        "query": query["query"],
                        "positive": query["positive"],
                        "teacher": round(own, 4),
                    }
                    out.write(json.dumps({**line, "negatives": negatives}) + "\n")
                    written += 1
            log(f"{source}: {len(mine)} lists from {len(corpus)} documents")
    facts = {
        "removed_near_evaluation": removed,
        "vocabulary": vocabulary,
        "training_lists": dict(Counter(query["source"] for query in training)),
        "dev_queries": dict(Counter(query["source"] for query in dev)),
        "seconds": round(time.time() - started),
    }
    (options.output / "facts.json").write_text(json.dumps(facts, indent=2))
    log(f"done, {written} lists")


if __name__ == "__main__":
    main()
