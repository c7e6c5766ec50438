"""Step 2 of the distillation: trains a student made of the teacher's own layers on the teacher's logits.

Lists come in the order of lists.jsonl, reshuffled after each pass. The teacher's scores of a list are computed when
it is first met and kept beside them, in lists.scores; during the first `--hidden-steps` steps the teacher's hidden states are matched
as well, so it runs whether or not a list's scores are known.

Loss: KL of the list's softmax, mean squared error of all margins within the list, a little of the logits' own squared
error (which keeps the teacher's scale), and, at the beginning, the squared error of each layer's hidden states in
units of the teacher's deviation by channel. Word and position embeddings stay the teacher's.

The rate warms up and stays (`--decay-steps` falls to zero at the end, when the run is to be finished). A stopped run
goes on from its last checkpoint when called again with the same --run; its options are read from run.json, and those
given again replace them.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import evaluate
import model as nano
import numpy as np
import teacher as teachers
import torch
import torch.nn.functional as F
from candidates import COUNT

FROZEN = ("embeddings.word", "embeddings.position")
RECORD = struct.Struct(f"<i{COUNT}f")
DEFAULTS = {
    "layers": [1, 3, 5, 8, 11],
    "targets": [2, 4, 6, 9, 12],
    "steps": 1_000_000,
    "decay_steps": 0,
    "hidden_steps": 1200,
    "hidden_share": 1.0,
    "lists_per_step": 4,
    "rate": 4e-4,
    "warmup": 40,
    "margin_share": 0.1,
    "point_share": 0.02,
    "decay": 0.995,
    "seed": 1,
    "tokens_per_batch": 1280,
    "save_minutes": 3.0,
    "dev_steps": 400,
}


def cut_down(state: dict[str, torch.Tensor], layers: list[int]) -> dict[str, torch.Tensor]:
    """The teacher with some of its layers only."""
    result = {name: tensor for name, tensor in state.items() if not name.startswith("layer.")}
    for index, layer in enumerate(layers):
        old = f"layer.{layer}."
        for name, tensor in state.items():
            if name.startswith(old):
                result[f"layer.{index}.{name.removeprefix(old)}"] = tensor
    return {name: tensor.clone().contiguous() for name, tensor in result.items()}


class Scores:
    """The teacher's logits of whole lists, on disk as they are found; a record cut off by a stop is found again."""

    def __init__(self, path: Path):
        self.known: dict[int, list[float]] = {}
        if path.exists():
            content = path.read_bytes()
            whole = len(content) - len(content) % RECORD.size
            for number, *logits in RECORD.iter_unpack(content[:whole]):
                self.known[number] = logits
            if whole != len(content):
                with path.open("r+b") as file:
                    file.truncate(whole)
        self.file = path.open("ab")

    def add(self, number: int, logits: list[float]) -> None:
        if number not in self.known:
            self.known[number] = logits
            self.file.write(RECORD.pack(number, *logits))

    def flush(self) -> None:
        self.file.flush()


class Order:
    """Which list comes at which place: the file's order first, then a new shuffle for each pass."""

    def __init__(self, count: int, seed: int):
        self.count, self.seed, self.turn, self.order = count, seed, 0, list(range(count))

    def __call__(self, place: int) -> int:
        turn, offset = divmod(place, self.count)
        if turn != self.turn:
            self.turn, self.order = turn, list(range(self.count))
            if turn:
                random.Random(f"{self.seed}:{turn}").shuffle(self.order)
        return self.order[offset]


def deviations(file: Path, targets: list[int], pairs: list) -> list[torch.Tensor]:
    """The teacher's standard deviation of each channel after each target layer, kept beside the graph."""
    kept = file.with_suffix(".deviations.npy")
    if kept.exists():
        return list(torch.tensor(np.load(kept)))
    runner = teachers.session(file)
    parts: list[list[np.ndarray]] = [[] for _ in targets]
    for pair in pairs:
        outputs = runner.run([f"layer.{layer - 1}.norm.output" for layer in targets], teachers.feeds([pair]))
        for part, output in zip(parts, outputs, strict=True):
            part.append(output.reshape(-1, output.shape[-1]))
    result = np.stack([np.concatenate(part).std(axis=0).clip(1e-3) for part in parts])
    np.save(kept, result)
    return list(torch.tensor(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of everything that distillation keeps")
    parser.add_argument("--run", required=True, help="name of this run, a folder under --state")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="stop, with a checkpoint, after this long")
    for name, value in DEFAULTS.items():
        kind = {"type": int, "nargs": "+"} if isinstance(value, list) else {"type": type(value)}
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"default {value}", **kind)
    parser.add_argument("--lists", help="the lists' file in --state; default lists.jsonl")
    parser.add_argument("--start", help="another run whose averaged weights this one starts from")
    given = parser.parse_args()
    folder = given.state / given.run
    folder.mkdir(parents=True, exist_ok=True)
    settings_file = folder / "run.json"
    settings = {**DEFAULTS, "lists": "lists.jsonl", "start": None}
    if settings_file.exists():
        settings.update(json.loads(settings_file.read_text()))
    settings.update({name: value for name, value in vars(given).items() if name in settings and value is not None})
    settings_file.write_text(json.dumps(settings, indent=2) + "\n")
    options = argparse.Namespace(**settings)

    # One thread a worker and a queue of batches: unlike two threads in each operation, this keeps its pace when
    # something else takes part of a core.
    torch.set_num_threads(1)
    workers = ThreadPoolExecutor(given.threads, initializer=torch.set_num_threads, initargs=(1,))
    source = teachers.fetch(given.state / "teacher")
    teacher_state = teachers.float_state(source)
    encoder = nano.Encoder(source / "tokenizer.json")
    documents: list[str] = json.loads((given.state / "documents.json").read_text())
    lists = nano.read_jsonl(given.state / options.lists)
    scores = Scores((given.state / options.lists).with_suffix(".scores"))
    order = Order(len(lists), options.seed)

    def encode(number: int) -> list[tuple[list[int], list[int]]]:
        row = lists[number]
        return [encoder.pair(row["query"], documents[document], row["limit"]) for document in row["documents"]]

    sample = [pair for number in range(40) for pair in encode(number)[:2]]
    graph = source / f"graph-{'-'.join(map(str, options.targets))}.onnx"
    if not graph.exists():
        peaks = teachers.export.channel_peaks(teacher_state, sample)
        teachers.write_graph(teacher_state, graph, options.targets, peaks)
    scales = deviations(graph, options.targets, sample)
    runner = teachers.session(graph)
    wheel = teachers.session(source / "model.onnx", every=True)

    resume = folder / "resume.pt"
    start = cut_down(teacher_state, options.layers)
    if options.start is not None:
        start, _ = nano.load(given.state / options.start / "average.pt")
    weights = {
        name: torch.nn.Parameter(tensor.clone(), requires_grad=name not in FROZEN) for name, tensor in start.items()
    }
    trained = [name for name in weights if name not in FROZEN]
    leaves = [weights[name] for name in trained]
    groups = [
        {"params": [p for p in leaves if p.ndim == 2], "weight_decay": 0.01},
        {"params": [p for p in leaves if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), eps=1e-7)
    average = {name: weights[name].detach().clone() for name in trained}
    done, place, spent = 0, 0, 0.0
    if resume.exists():
        content = torch.load(resume, weights_only=True)
        for name in trained:
            weights[name].data.copy_(content["weights"][name])
            average[name].copy_(content["average"][name])
        optimizer.load_state_dict(content["optimizer"])
        done, place, spent = content["step"], content["place"], content["seconds"]
        print(f"resumed at step {done}, list {place}, {len(scores.known)} lists scored", flush=True)

    def rate_at(step: int) -> float:
        falling = (options.steps - step) / options.decay_steps if options.decay_steps else 1.0
        return options.rate * max(0.0, min(1.0, step / options.warmup, falling))

    def hidden_at(step: int) -> float:
        return options.hidden_share * max(0.0, 1 - step / options.hidden_steps) if options.hidden_steps else 0.0

    def averaged() -> dict[str, torch.Tensor]:
        return {**{name: weights[name].detach() for name in FROZEN}, **average}

    def write(step: int) -> None:
        seconds = spent + time.time() - started
        content = {
            "weights": {name: weights[name].detach() for name in trained},
            "average": average,
            "optimizer": optimizer.state_dict(),
            "step": step,
            "place": place,
            "seconds": seconds,
        }
        scores.flush()
        torch.save(content, resume.with_suffix(".tmp"))
        resume.with_suffix(".tmp").replace(resume)
        facts = {**settings, "step": step, "lists": place, "seconds": round(seconds)}
        nano.save(folder / "average.pt", averaged(), facts)

    def forward(batch: tuple, share: float, ask: bool):
        """Student's logits and hidden loss, the teacher's logits where asked for; of one padded batch."""
        ids, segments, mask = batch
        collect: list[torch.Tensor] = []
        logits = nano.forward(weights, ids, segments, mask, collect)
        if not share and not ask:
            return logits, None, None
        feeds = {"input_ids": ids.numpy(), "attention_mask": mask.long().numpy(), "token_type_ids": segments.numpy()}
        if not share:
            return logits, None, torch.tensor(wheel.run(["logits"], feeds)[0][:, 0])
        names = ["logits", *(f"layer.{layer - 1}.norm.output" for layer in options.targets)]
        known, *targets = runner.run(names, feeds)
        loss = torch.zeros(())
        for mine, target, scale in zip(collect, targets, scales, strict=True):
            # The last layer is computed for [CLS] only, in the student and perhaps in the target.
            length = mine.shape[1]
            real = mask[:, :length, None].float()
            error = ((mine - torch.tensor(target[:, :length])) / scale).square().mean(-1, keepdim=True)
            # Long pairs count no more than short ones.
            loss = loss + ((error * real).sum((1, 2)) / real.sum((1, 2))).sum()
        return logits, loss / len(targets), torch.tensor(known[:, 0])

    started = window = saved = time.time()
    totals = {"kl": 0.0, "margin": 0.0, "point": 0.0, "hidden": 0.0, "lists": 0, "pairs": 0, "steps": 0}
    step = done
    while step < options.steps:
        if given.minutes is not None and time.time() - started > 60 * given.minutes:
            break
        step += 1
        numbers = [order(place + offset) for offset in range(options.lists_per_step)]
        place += len(numbers)
        encoded = [pair for number in numbers for pair in encode(number)]
        share = hidden_at(step)
        ask = any(number not in scores.known for number in numbers)
        batches = nano.length_batches([len(ids) for ids, _ in encoded], options.tokens_per_batch)
        batches.reverse()  # Largest first, so that the workers finish together.
        inputs = [nano.pad([encoded[index] for index in chosen]) for chosen in batches]
        parts = list(workers.map(lambda batch: forward(batch, share, ask), inputs))
        places = torch.tensor([index for chosen in batches for index in chosen])
        logits, target = torch.empty(len(encoded)), torch.empty(len(encoded))
        logits[places] = torch.cat([part[0].detach() for part in parts])
        if ask:
            target[places] = torch.cat([part[2] for part in parts])
            for number, row in zip(numbers, target.view(-1, COUNT).tolist(), strict=True):
                scores.add(number, row)
        target = torch.tensor([scores.known[number] for number in numbers])
        logits = logits.view(-1, COUNT).requires_grad_()
        kl = F.kl_div(F.log_softmax(logits, 1), F.log_softmax(target, 1), reduction="batchmean", log_target=True)
        error = logits - target
        margin = 2 * (error - error.mean(1, keepdim=True)).square().mean()
        point = error.square().mean()
        loss = kl + options.margin_share * margin + options.point_share * point
        loss.backward()
        slices = logits.grad.flatten()[places].split([len(chosen) for chosen in batches])

        def backward(item: tuple) -> tuple:
            (own, hidden, _), gradient = item
            if hidden is None:
                return torch.autograd.grad(own, leaves, gradient)
            return torch.autograd.grad([own, hidden], leaves, [gradient, torch.tensor(share / len(encoded))])

        gradients = list(workers.map(backward, zip(parts, slices, strict=True)))
        for parameter, shares in zip(leaves, zip(*gradients, strict=True), strict=True):
            parameter.grad = torch.stack(shares).sum(0)
        if share:
            totals["hidden"] += sum(float(part[1].detach()) for part in parts) / len(encoded)
        del parts, gradients
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step)
        torch.nn.utils.clip_grad_norm_(leaves, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # Early states weigh little from the start.
        kept = min(options.decay, step / (step + 10))
        with torch.no_grad():
            for name in trained:
                average[name].lerp_(weights[name], 1 - kept)
        for name, value in (("kl", kl), ("margin", margin), ("point", point)):
            totals[name] += float(value.detach())
        totals["steps"] += 1
        totals["pairs"] += len(encoded)
        now = time.time()
        if step % 20 == 0:
            count = totals["steps"]
            print(
                f"step {step} list {place} kl {totals['kl'] / count:.4f} margin {totals['margin'] / count:.3f} "
                f"point {totals['point'] / count:.3f} hidden {totals['hidden'] / count:.4f} rate {rate_at(step):.1e} "
                f"{totals['pairs'] / (now - window):.1f} pairs/s {spent + now - started:.0f} s",
                flush=True,
            )
            totals, window = dict.fromkeys(totals, 0), now
        if now - saved > 60 * options.save_minutes:
            write(step)
            saved = time.time()
        if step % options.dev_steps == 0 or step == options.steps:
            write(step)
            scorer = evaluate.TorchScorer(folder / "average.pt", source / "tokenizer.json")
            result = evaluate.evaluate_dev(scorer, given.state, 192, 20)
            with (folder / "dev.jsonl").open("a", encoding="utf-8") as out:
                out.write(json.dumps({"step": step, "lists": place, **result}) + "\n")
            print(f"dev at {step}: {json.dumps(result)}", flush=True)
            window = saved = time.time()
    write(step)
    print(f"stopped at step {step}", flush=True)


if __name__ == "__main__":
    main()
