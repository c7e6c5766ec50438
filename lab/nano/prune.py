"""Step 2 of the distillation: a student that is close to the teacher before any training.

Fewer layers and narrower feed-forward blocks are cut out of the teacher, one layer after the other from the bottom,
and each kept layer's `down` matrix is refitted in closed form (ridge regression on calibration pairs) so that its output is the
teacher's hidden state behind the layers that are dropped after it. Which neurons of the block stay is decided by what
their removal costs that regression (the rule of optimal brain surgeon: squared weights over the inverse Hessian's
diagonal), a third of the surplus at a time. Heads and width stay, so the student is a plain BERT.

    python prune.py --state STATE --out seven                        writes STATE/seven-start/average.pt
    python distil.py --state STATE --run seven --start seven-start --layers … --targets …  (as printed)
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import model as nano
import numpy as np
import teacher as teachers
import torch
import torch.nn.functional as F
from distil import cut_down

# A mistake at [CLS], whose state becomes the score, counts as much as twenty at other tokens.
FIRST = 20.0


def embedded(state: dict[str, torch.Tensor], ids: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    """The input of the first layer."""
    summed = (
        F.embedding(ids, state["embeddings.word"])
        + state["embeddings.position"][: ids.shape[1]]
        + F.embedding(segments, state["embeddings.segment"])
    )
    return norm(state, "embeddings.norm", summed)


def norm(state: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    """A layer norm of the model."""
    return F.layer_norm(x, (x.shape[-1],), state[f"{name}.weight"], state[f"{name}.bias"], nano.EPSILON)


def linear(state: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    """A linear layer of the model."""
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def attended(state: dict[str, torch.Tensor], prefix: str, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A layer's state between attention and the feed-forward block."""
    batch, length, width = hidden.shape
    packed = linear(state, f"{prefix}qkv", hidden).view(batch, length, 3, nano.HEADS, width // nano.HEADS)
    query, key, value = packed.permute(2, 0, 3, 1, 4)
    attention = query * (width // nano.HEADS) ** -0.5 @ key.transpose(-1, -2)
    attention = attention.masked_fill(~mask[:, None, None, :], -1e4)
    mixed = (attention.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, width)
    return norm(state, f"{prefix}attention.norm", hidden + linear(state, f"{prefix}attention", mixed))


def regression(
    inputs: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which `width` columns of `inputs` stay, and the matrix and bias that map them to `wanted`; all in float64."""
    columns = inputs.shape[1]
    design = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], 1) * weights
    gram, moments = design.T @ design, design.T @ (wanted * weights)
    ridge = torch.full((columns + 1,), 1e-3 * float(gram.diagonal()[:-1].mean()), dtype=gram.dtype)
    ridge[-1] = 1e-9
    gram = gram + torch.diag(ridge)
    kept = torch.arange(columns)
    while True:
        chosen = torch.cat([kept, torch.tensor([columns])])
        inverse = torch.linalg.inv(gram[chosen][:, chosen])
        solution = inverse @ moments[chosen]
        surplus = len(kept) - width
        if surplus <= 0:
            return kept, solution[:-1].T, solution[-1]
        cost = solution[:-1].square().sum(1) / inverse.diagonal()[:-1]
        gone = cost.argsort()[: min(max(32, surplus // 3), surplus)]
        stays = torch.ones(len(kept), dtype=torch.bool)
        stays[gone] = False
        kept = kept[stays]


@torch.inference_mode()
def fit(
    teacher: dict[str, torch.Tensor], layers: list[int], width: int, pairs: list[tuple[list[int], list[int]]]
) -> dict[str, torch.Tensor]:
    """The student, fitted on encoded pairs."""
    chosen = nano.length_batches([len(ids) for ids, _ in pairs], 1024)
    batches = [nano.pad([pairs[index] for index in batch]) for batch in chosen]
    masks = [mask for _, _, mask in batches]
    goals: list[list[torch.Tensor]] = []
    for ids, segments, mask in batches:
        states: list[torch.Tensor] = []
        nano.hidden_states(teacher, ids, segments, mask, collect=states)
        goals.append(states)
    student = cut_down(teacher, layers)
    hidden = [embedded(teacher, ids, segments) for ids, segments, _ in batches]

    def rows(parts: list[torch.Tensor]) -> torch.Tensor:
        """Real tokens only."""
        return torch.cat([part[mask] for part, mask in zip(parts, masks, strict=True)]).double()

    is_first = torch.cat([(torch.arange(mask.shape[1]).expand_as(mask) == 0)[mask] for mask in masks])
    weights = torch.where(is_first, FIRST, 1.0).sqrt().double()[:, None]
    for index, layer in enumerate(layers):
        prefix = f"layer.{index}."
        goal = layers[index + 1] - 1 if index + 1 < len(layers) else len(goals[0]) - 1
        before = [attended(student, prefix, h, mask) for h, mask in zip(hidden, masks, strict=True)]
        inner = [F.gelu(linear(student, f"{prefix}up", x)) for x in before]
        goal_rows = rows([states[goal] for states in goals])
        x = rows(before)
        # The norm takes mean and deviation away, so the sum before it is asked to have the layer's own.
        own = x + rows([linear(student, f"{prefix}down", a) for a in inner])
        mean, deviation = own.mean(1, keepdim=True), own.std(1, unbiased=False, keepdim=True)
        gain, shift = student[f"{prefix}norm.weight"].double(), student[f"{prefix}norm.bias"].double()
        wanted = (goal_rows - shift) / gain * deviation + mean - x
        kept, matrix, bias = regression(rows(inner), wanted, weights, width)
        for kind in ("weight", "bias"):
            student[f"{prefix}up.{kind}"] = student[f"{prefix}up.{kind}"][kept].contiguous()
        student[f"{prefix}down.weight"] = matrix.float().contiguous()
        student[f"{prefix}down.bias"] = bias.float()
        hidden = [
            norm(student, f"{prefix}norm", x + linear(student, f"{prefix}down", a[..., kept]))
            for x, a in zip(before, inner, strict=True)
        ]
        error = (rows(hidden) - goal_rows).square().mean() / goal_rows.var(0).mean()
        print(f"layer {layer}: stands for {layer} to {goal}, {len(kept)} neurons, error {error:.3f}", flush=True)
    return student


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of everything that distillation keeps")
    parser.add_argument("--out", required=True, help="name of the run that starts from the result")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 2, 6, 7, 8, 11])
    parser.add_argument("--width", type=int, default=512, help="neurons of each feed-forward block")
    parser.add_argument("--lists", type=int, default=110, help="lists whose pairs are fitted on, three of each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = teachers.fetch(options.state / "teacher")
    teacher = teachers.float_state(source)
    encoder = nano.Encoder(source / "tokenizer.json")
    documents = json.loads((options.state / "documents.json").read_text())
    lists = nano.read_jsonl(options.state / "lists.jsonl")
    generator = random.Random(5)
    generator.shuffle(lists)

    def pairs_of(rows: list[dict], each: int) -> list[tuple[list[int], list[int]]]:
        chosen = [(row["query"], document) for row in rows for document in generator.sample(row["documents"], each)]
        return [encoder.pair(query, documents[document], 160) for query, document in chosen]

    student = fit(teacher, options.layers, options.width, pairs_of(lists[: options.lists], 3))
    test = pairs_of(lists[options.lists : options.lists + 60], 4)

    def logits(weights: dict[str, torch.Tensor]) -> np.ndarray:
        with torch.inference_mode():
            return np.array([float(nano.forward(weights, *nano.pad([pair]))) for pair in test])

    mine, theirs = logits(student), logits(teacher)
    facts = {
        "layers": options.layers,
        "width": options.width,
        "correlation": round(float(np.corrcoef(mine, theirs)[0, 1]), 4),
        "error": round(float(np.sqrt(np.mean((mine - theirs) ** 2))), 3),
    }
    print(f"on {len(test)} other pairs: {json.dumps(facts)}")
    nano.save(options.state / f"{options.out}-start" / "average.pt", student, facts)
    targets = [layer for layer in options.layers[1:]] + [teachers.LAYERS]
    print(
        f"train it: distil.py --state {options.state} --run {options.out} --start {options.out}-start "
        f"--layers {' '.join(map(str, options.layers))} --targets {' '.join(map(str, targets))}"
    )


if __name__ == "__main__":
    main()
