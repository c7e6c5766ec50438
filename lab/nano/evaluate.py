"""Ranking quality in Python: the dev set, or the evaluation sets with their candidate lists.

nDCG@10 with linear gain; order by score, then by document id descending by byte order (trec_eval); ideal from
all judged documents; the mean runs over the queries in the qrels. The project's own numbers come from its
TypeScript evaluation; this one is for choosing between variants (dev) and for a quick look.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import defaultdict
from pathlib import Path

import model as nano
import numpy as np
import torch

TASKS = ["scifact", "feedbackqa", "xquad-en", "liveqa-med", "noveleval"]


def ndcg(scores: dict[str, float], grades: dict[str, float], depth: int = 10) -> float:
    """nDCG of one query; documents without a grade count 0."""
    order = sorted(scores, key=lambda document: (scores[document], document.encode()), reverse=True)
    gained = sum(max(grades.get(d, 0), 0) / math.log2(i + 2) for i, d in enumerate(order[:depth]))
    best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:depth]
    ideal = sum(grade / math.log2(i + 2) for i, grade in enumerate(best))
    return gained / ideal if ideal else 0.0


class TorchScorer:
    """Scores text pairs with a checkpoint of ours."""

    def __init__(self, checkpoint: Path, tokenizer: Path, bfloat16: bool = False):
        state, _ = nano.load(checkpoint)
        self.weights = {name: tensor.bfloat16() if bfloat16 else tensor for name, tensor in state.items()}
        self.encoder = nano.Encoder(tokenizer)

    def __call__(self, pairs: list[tuple[str, str]], maximum: int) -> np.ndarray:
        return nano.score(self.weights, self.encoder, pairs, maximum).numpy()


class OnnxScorer:
    """Scores text pairs with an exported graph."""

    def __init__(self, graph: Path, tokenizer: Path, threads: int = 2):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        self.session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.encoder = nano.Encoder(tokenizer)

    def run(self, encoded: list[tuple[list[int], list[int]]], tokens_per_batch: int = 1024) -> np.ndarray:
        """Logits of encoded pairs, in batches of near-equal length."""
        result = np.empty(len(encoded), dtype=np.float32)
        for chosen in nano.length_batches([len(ids) for ids, _ in encoded], tokens_per_batch):
            ids, segments, mask = nano.pad([encoded[index] for index in chosen])
            inputs = {
                "input_ids": ids.numpy(),
                "attention_mask": mask.long().numpy(),
                "token_type_ids": segments.numpy(),
            }
            result[chosen] = self.session.run(["logits"], inputs)[0][:, 0]
        return result

    def __call__(self, pairs: list[tuple[str, str]], maximum: int) -> np.ndarray:
        self.encoder.warm([text for pair in pairs for text in pair])
        return self.run([self.encoder.pair(query, document, maximum) for query, document in pairs])


def evaluate_dev(scorer, folder: Path, maximum: int, each: int | None = None, keep: dict | None = None) -> dict:
    """Mean dev nDCG@10 by source, the mean of sources, and BM25's own order."""
    documents = json.loads((folder / "documents.json").read_text())
    rows, seen = [], defaultdict(int)
    for row in nano.read_jsonl(folder / "dev.jsonl"):
        if each is None or seen[row["source"]] < each:
            seen[row["source"]] += 1
            rows.append(row)
    scores = scorer([(row["query"], documents[number]) for row in rows for number in row["pool"]], maximum)
    if keep is not None:
        keep["scores"] = scores
        keep["labels"] = np.array([number in row["positives"] for row in rows for number in row["pool"]])
        keep["sources"] = np.array([row["source"] for row in rows for _ in row["pool"]])
    model, first, start = defaultdict(list), defaultdict(list), 0
    for row in rows:
        pool = row["pool"]
        grades = {str(number): 1 for number in row["positives"]}
        part = scores[start : start + len(pool)]
        start += len(pool)
        model[row["source"]].append(ndcg({str(n): float(s) for n, s in zip(pool, part, strict=True)}, grades))
        first[row["source"]].append(ndcg({str(n): -float(i) for i, n in enumerate(pool)}, grades))
    result = {source: round(float(np.mean(values)), 4) for source, values in model.items()}
    result["mean"] = round(float(np.mean(list(result.values()))), 4)
    result["bm25"] = {source: round(float(np.mean(values)), 4) for source, values in first.items()}
    return result


def evaluate_task(scorer, folder: Path, maximum: int, limit: int | None) -> dict:
    """nDCG@10 of the model and of the candidates' own order on one evaluation set."""
    corpus = {
        row["_id"]: f"{row.get('title') or ''} {row['text']}".strip()
        for row in nano.read_jsonl(folder / "corpus.jsonl")
    }
    queries = {row["_id"]: row["text"] for row in nano.read_jsonl(folder / "queries.jsonl")}
    qrels: dict[str, dict[str, float]] = defaultdict(dict)
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels[query][document] = float(grade)
    candidates: dict[str, dict[str, float]] = defaultdict(dict)
    for line in (folder / "candidates.trec").read_text(encoding="utf-8").splitlines():
        query, _, document, rank, *_ = line.split()
        candidates[query][document] = -float(rank)
    judged = list(qrels)
    if limit is not None and len(judged) > limit:
        judged = random.Random(7).sample(judged, limit)
    flat = [(query, document) for query in judged for document in candidates.get(query, {})]
    started = time.time()
    scores = scorer([(queries[query], corpus[document]) for query, document in flat], maximum)
    seconds = time.time() - started
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for (query, document), value in zip(flat, scores, strict=True):
        table[query][document] = float(value)
    return {
        "queries": len(judged),
        "pairs": len(flat),
        "first": round(float(np.mean([ndcg(candidates.get(q, {}), qrels[q]) for q in judged])), 4),
        "model": round(float(np.mean([ndcg(table[q], qrels[q]) for q in judged])), 4),
        "pairs_per_second": round(len(flat) / seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a checkpoint (.pt) or a graph (.onnx)")
    parser.add_argument("--data", type=Path, default=nano.RUNS / "data", help="output folder of prepare.py")
    parser.add_argument("--tokenizer", type=Path, help="default: tokenizer.json of --data")
    parser.add_argument("--evaluation", type=Path, help="folder of evaluation sets; without it, the dev set")
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    parser.add_argument("--limit", type=int, help="queries a task at most, drawn with a fixed seed")
    parser.add_argument("--each", type=int, help="dev queries a source at most")
    parser.add_argument("--maximum", type=int, default=256, help="tokens a pair")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = options.tokenizer or options.data / "tokenizer.json"
    if options.model.suffix == ".onnx":
        scorer = OnnxScorer(options.model, tokenizer, options.threads)
    else:
        scorer = TorchScorer(options.model, tokenizer)
    if options.evaluation is None:
        print(json.dumps(evaluate_dev(scorer, options.data, options.maximum, options.each)))
        return
    for task in options.tasks:
        print(
            task,
            json.dumps(evaluate_task(scorer, options.evaluation / task, options.maximum, options.limit)),
            flush=True,
        )


if __name__ == "__main__":
    main()
