"""Step 2 (and 4): trains the cross-encoder on lists of one positive and several negatives.

Loss a list: cross-entropy of the softmax over its logits against a target that is mostly the positive and partly
the bi-encoder's own softmax (which softens unlabelled positives), plus a small binary cross-entropy that keeps the
logits on one scale across queries. bfloat16 compute, float32 master weights, AdamW, linear warm-up and decay.

A run that is stopped goes on from its last checkpoint when called again with the same --output.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import evaluate
import model as nano
import torch
import torch.nn.functional as F

# Share of each source among the lists drawn. tldr-pages is almost half of the rows and is held down here.
SHARES = {
    "squad-passage": 0.25,
    "squad-sentence": 0.06,
    "feedbackqa": 0.22,
    "medquad": 0.20,
    "scifact": 0.08,
    "scifact-sentence": 0.06,
    "selqa-sentence": 0.04,
    "selqa-passage": 0.05,
    "tldr": 0.04,
}


class Lists:
    """Draws training lists: sources by share, and within a source a new shuffle each time it runs out."""

    def __init__(self, data: Path, lists: Path, negatives: int, hard: int, lengths: dict[int, float], seed: int):
        self.documents: list[str] = json.loads((data / "documents.json").read_text())
        self.negatives, self.hard, self.lengths = negatives, hard, lengths
        self.random = random.Random(seed)
        self.rows: dict[str, list[dict]] = defaultdict(list)
        for row in nano.read_jsonl(lists):
            if len(row["negatives"]) >= 2:
                self.rows[row["source"]].append(row)
        self.queues: dict[str, list[dict]] = {source: [] for source in self.rows}

    def draw(self) -> tuple[str, list[str], list[float], int]:
        """Query, documents (positive first), teacher cosines, and the token limit of one list."""
        sources = [source for source in SHARES if source in self.rows]
        source = self.random.choices(sources, [SHARES[name] for name in sources])[0]
        if not self.queues[source]:
            self.queues[source] = self.random.sample(self.rows[source], len(self.rows[source]))
        row = self.queues[source].pop()
        near, far = row["negatives"][: self.hard], row["negatives"][self.hard :]
        chosen = self.random.sample(near, min(len(near), self.negatives - 2))
        chosen += self.random.sample(far, min(len(far), 1))
        while len(chosen) < self.negatives:
            # A random document: another list's positive. Its teacher score is set to that of a stranger.
            other = self.random.choice(self.rows[source])
            if other["positive"] != row["positive"]:
                chosen.append([other["positive"], 0.0])
        limit = self.random.choices(list(self.lengths), list(self.lengths.values()))[0]
        numbers = [row["positive"], *(number for number, _ in chosen)]
        teacher = [row["teacher"], *(cosine for _, cosine in chosen)]
        return row["query"], [self.documents[number] for number in numbers], teacher, limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=nano.RUNS / "data")
    parser.add_argument("--lists", type=Path, help="default: lists.jsonl of --data")
    parser.add_argument("--start", type=Path, help="checkpoint to start from; without it, the base model cut down")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 3, 5], help="layers of the base model to keep")
    parser.add_argument("--output", type=Path, required=True, help="folder of this run")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--lists-per-step", type=int, default=16)
    parser.add_argument("--negatives", type=int, default=6)
    parser.add_argument("--hard", type=int, default=12, help="how many of a list's first negatives count as hard")
    parser.add_argument(
        "--lengths", default="96:0.55,144:0.30,224:0.15", help="token limits of a pair and their shares"
    )
    parser.add_argument("--teacher-share", type=float, default=0.25)
    parser.add_argument("--binary-share", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=1.5e-4)
    parser.add_argument("--warmup", type=float, default=0.06)
    parser.add_argument(
        "--average-from", type=float, default=0.8, help="share of steps after which weights are averaged"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens-per-batch", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--dev-every", type=int, default=250)
    options = parser.parse_args()
    # One thread a worker and a queue of batches: unlike two threads in each operation, this keeps its pace when
    # something else takes part of a core. It also makes the sum of gradients independent of timing.
    torch.set_num_threads(1)
    workers = ThreadPoolExecutor(options.threads, initializer=torch.set_num_threads, initargs=(1,))
    torch.manual_seed(options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    encoder = nano.Encoder(options.data / "tokenizer.json")
    lengths = {
        int(length): float(share) for length, share in (entry.split(":") for entry in options.lengths.split(","))
    }
    source = options.lists or options.data / "lists.jsonl"
    lists = Lists(options.data, source, options.negatives, options.hard, lengths, options.seed)
    encoder.warm(lists.documents)

    resume = options.output / "resume.pt"
    if options.start is None:
        rows = json.loads((options.data / "vocabulary.json").read_text())
        state = nano.packed_state(options.layers, rows, options.seed)
    else:
        state, _ = nano.load(options.start)
    weights = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in state.items()}
    decayed = [p for name, p in weights.items() if p.ndim == 2 and not name.startswith("embeddings")]
    others = [p for name, p in weights.items() if p.ndim == 1 or name.startswith("embeddings")]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True)
    done, average, averaged, spent = 0, {}, 0, 0.0
    if resume.exists():
        content = torch.load(resume, weights_only=False)
        for name, tensor in content["weights"].items():
            weights[name].data.copy_(tensor)
        optimizer.load_state_dict(content["optimizer"])
        done, average, averaged, spent = content["step"], content["average"], content["averaged"], content["seconds"]
        lists.random.setstate(content["random"])
        print(f"resumed at step {done}", flush=True)

    def rate_at(step: int) -> float:
        warm = max(1, int(options.warmup * options.steps))
        return options.rate * (
            step / warm if step < warm else max(0.02, (options.steps - step) / (options.steps - warm))
        )

    def write(step: int) -> None:
        seconds = spent + time.time() - started
        content = {
            "weights": {n: p.detach() for n, p in weights.items()},
            "optimizer": optimizer.state_dict(),
            "step": step,
            "average": average,
            "averaged": averaged,
            "seconds": seconds,
            "random": lists.random.getstate(),
        }
        torch.save(content, resume.with_suffix(".tmp"))
        resume.with_suffix(".tmp").replace(resume)
        facts = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
        facts.update(step=step, seconds=round(seconds), averaged=averaged)
        nano.save(options.output / "last.pt", {n: p.detach() for n, p in weights.items()}, facts)
        if averaged:
            nano.save(options.output / "average.pt", average, facts)

    started, window, total, pairs_seen = time.time(), time.time(), 0.0, 0
    for step in range(done + 1, options.steps + 1):
        drawn = [lists.draw() for _ in range(options.lists_per_step)]
        encoded, teacher = [], []
        for query, texts, cosines, limit in drawn:
            encoded += [encoder.pair(query, text, limit) for text in texts]
            teacher.append(cosines)
        half = {name: p.detach().to(torch.bfloat16).requires_grad_() for name, p in weights.items()}
        leaves = list(half.values())
        batches = nano.length_batches([len(ids) for ids, _ in encoded], options.tokens_per_batch)
        # Largest first, so that the workers finish together.
        inputs = [nano.pad([encoded[index] for index in chosen]) for chosen in reversed(batches)]
        parts = list(workers.map(lambda batch: nano.forward(half, *batch), inputs))
        order = torch.tensor([index for chosen in reversed(batches) for index in chosen])
        logits = torch.empty(len(encoded))
        logits[order] = torch.cat([part.detach() for part in parts])
        logits = logits.view(len(drawn), -1).requires_grad_()
        target = F.softmax(torch.tensor(teacher) * 20, dim=1) * options.teacher_share
        target[:, 0] += 1 - options.teacher_share
        labels = torch.zeros_like(logits)
        labels[:, 0] = 1
        loss = F.cross_entropy(logits, target)
        loss = loss + options.binary_share * F.binary_cross_entropy_with_logits(
            logits, labels, pos_weight=torch.tensor(2.0)
        )
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step)
        loss.backward()
        slices = logits.grad.flatten()[order].split([len(part) for part in parts])
        gradients = list(
            workers.map(lambda pair: torch.autograd.grad(pair[0], leaves, pair[1]), zip(parts, slices, strict=True))
        )
        for parameter, shares in zip(weights.values(), zip(*gradients, strict=True), strict=True):
            parameter.grad = torch.stack(shares).sum(0, dtype=torch.float32) if len(shares) > 1 else shares[0].float()
        del parts, gradients
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += float(F.cross_entropy(logits.detach(), torch.zeros(len(drawn), dtype=torch.long)))
        pairs_seen += len(encoded)
        if step >= options.average_from * options.steps and step % 5 == 0:
            averaged += 1
            for name, parameter in weights.items():
                previous = average.get(name)
                current = parameter.detach().clone()
                average[name] = current if previous is None else previous.lerp_(current, 1 / averaged)
        if step % 10 == 0:
            now = time.time()
            print(
                f"step {step}/{options.steps} loss {total / 10:.4f} rate {rate_at(step):.2e} "
                f"{pairs_seen / (now - window):.1f} pairs/s {spent + now - started:.0f} s",
                flush=True,
            )
            total, pairs_seen, window = 0.0, 0, now
        if step % options.save_every == 0 or step == options.steps:
            write(step)
        if step % options.dev_every == 0 or step == options.steps:
            scorer = evaluate.TorchScorer(options.output / "last.pt", options.data / "tokenizer.json", bfloat16=True)
            result = evaluate.evaluate_dev(scorer, options.data, 160, None if step == options.steps else 25)
            print(f"dev at {step}: {json.dumps(result)}", flush=True)
            window = time.time()


if __name__ == "__main__":
    main()
