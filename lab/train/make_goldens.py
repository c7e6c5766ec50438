"""What torch gives where crossrank trains: losses and their gradients, and twenty steps of tiny models.

    pip install -r lab/train/requirements.txt
    python lab/train/make_goldens.py

Writes packages/train/test/fixtures/torch-goldens.json. Models are those of packages/conformance/fixtures; every sequence
passes them alone, without padding, so that how padding is masked is not part of what is compared. Nothing is random that
the test does not have too: first low ranks and batches follow from formulas. Where something is dropped, sequences of one
length pass together, and torch's dropout takes its numbers from crossrank's rule (native/shim/kernels.hpp), call by call:
what is compared is where a model drops, and what becomes of the rest.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, get_scheduler

root = Path(__file__).parents[2]
fixtures = root / "packages/conformance/fixtures"
target = root / "packages/train/test/fixtures/torch-goldens.json"
torch.set_num_threads(1)

RANK, ALPHA, STEPS, BATCHES, ROWS = 4, 8, 20, 4, 3


def losses():
    """Scores, labels and groups, with torch's loss and gradient in float64."""
    scores = torch.tensor([2.0, -1.5, 0.25, 3.5, -0.75, 40.0, -40.0], dtype=torch.float64, requires_grad=True)
    cases = []

    def add(loss, labels, groups, value):
        scores.grad = None
        value.backward()
        cases.append({"loss": loss, "labels": labels, "groups": groups, "value": value.item(), "gradient": scores.grad.tolist()})

    labels = [1.0, 0.0, 0.5, 0.0, 1.0, 1.0, 0.25]
    add("binary", labels, [], F.binary_cross_entropy_with_logits(scores, torch.tensor(labels, dtype=torch.float64)))
    # Two answers whose logits differ by the score.
    both = torch.stack([scores, torch.zeros_like(scores)], 1)
    shares = torch.tensor([[one, 1 - one] for one in labels], dtype=torch.float64)
    add("binary", labels, [], F.cross_entropy(both, shares))
    groups = [[0, 3, 2], [5, 1], [4, 6]]
    labels = [0.75, 1.0, 0.0, 0.25, 0.5, 0.0, 0.5]
    terms = [-(torch.tensor([labels[row] for row in group], dtype=torch.float64) * F.log_softmax(scores[group], 0)).sum() for group in groups]
    add("listwise", labels, groups, torch.stack(terms).mean())
    teacher = [1.5, -2.0, 0.5, 2.25, 0.0, 6.0, -3.0]
    wanted = torch.tensor(teacher, dtype=torch.float64)
    terms = [F.mse_loss(scores[group[0]] - scores[group[1:]], wanted[group[0]] - wanted[group[1:]]) for group in groups]
    add("margins", teacher, groups, torch.stack(terms).mean())
    terms = [F.kl_div(F.log_softmax(scores[group], 0), F.log_softmax(wanted[group], 0), log_target=True, reduction="sum") for group in groups]
    add("divergence", teacher, groups, torch.stack(terms).mean())
    return {"scores": scores.detach().tolist(), "cases": cases}


def first(rank, width, place):
    """The same numbers as the test's: float64 rounded to float32."""
    count = np.arange(rank * width, dtype=np.float64)
    return torch.from_numpy((0.2 * np.sin(count * 0.7 + place)).astype(np.float32).reshape(rank, width))


class LowRank(nn.Module):
    def __init__(self, weight, a, rows):
        super().__init__()
        self.a = a
        self.b = nn.ParameterList([nn.Parameter(torch.zeros(end - start, RANK)) for start, end in rows])
        self.rows = rows

    def forward(self, weight):
        parts, at = [], 0
        for (start, end), b in zip(self.rows, self.b):
            parts += [torch.zeros(start - at, RANK), b]
            at = end
        whole = torch.cat([*parts, torch.zeros(weight.shape[0] - at, RANK)])
        return weight + (ALPHA / RANK) * (whole @ self.a)


def splitmix(seed, place):
    """A dropout's own 64 bits, of the batch's seed and its place among the dropouts."""
    mask = 2**64 - 1
    bits = (seed + 0x9E3779B97F4A7C15 * (place + 1)) & mask
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
    return bits ^ (bits >> 31)


def murmur(words):
    words = (words ^ (words >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return words ^ (words >> np.uint32(16))


class Dropping:
    """Stands in the place of torch's dropout for one forward pass."""

    def __init__(self, seed):
        self.seed, self.place = seed, 0

    def __enter__(self):
        self.before = F.dropout
        F.dropout = self.drop
        return self

    def __exit__(self, *_):
        F.dropout = self.before

    def drop(self, x, p=0.5, training=True, inplace=False):
        if not training or p == 0:
            return x
        key = splitmix(self.seed, self.place)
        self.place += 1
        places = np.arange(x.numel(), dtype=np.uint32)
        words = murmur(murmur(places ^ np.uint32(key & 0xFFFFFFFF)) ^ np.uint32(key >> 32))
        kept = torch.from_numpy(words >= np.uint32(int(p * 2**32))).reshape(x.shape)
        return torch.where(kept, x / (1 - p), torch.zeros(()))


# What configurations call the chances of a model's own dropouts.
CHANCES = ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "embedding_dropout", "attention_dropout", "mlp_dropout"]


def batches(vocabulary, first_id, last_id, segments, even=False):
    made = []
    for batch in range(BATCHES):
        rows = []
        for row in range(ROWS):
            length = 6 + (5 * batch + (0 if even else 3 * row)) % 7
            inner = [10 + (batch * 131 + row * 37 + place * 17) % (vocabulary - 20) for place in range(length - 2)]
            ids = [first_id, *inner, last_id]
            rows.append({"ids": ids, "segments": [int(segments and place > length // 2) for place in range(length)], "label": [1.0, 0.0, 0.5][(batch + row) % 3]})
        made.append(rows)
    return made


def quantised(weight, bits, group):
    import mlx.core as mx

    parts = mx.quantize(mx.array(weight.numpy()), group_size=group, bits=bits)
    return torch.from_numpy(np.array(mx.dequantize(*parts, group_size=group, bits=bits)))


def model_case(name, method, bits=None, dropout=0):
    folder = fixtures / name
    causal = name.startswith("qwen3")
    kind = AutoModelForCausalLM if causal else AutoModelForSequenceClassification
    known = json.loads((folder / "config.json").read_text())
    own = {} if dropout in (0, "model") else {key: dropout for key in CHANCES if key in known}
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **own)
    model.train(dropout != 0)
    for parameter in model.parameters():
        parameter.requires_grad_(method == "full")
    trained = []
    modules = dict(model.named_modules())
    answers = answer_tokens(folder) if causal else None
    # The two answers' rows stay floats, also where the table of embeddings that they are from does not.
    kept = model.lm_head.weight.data[answers].clone() if bits is not None and causal else None
    if bits is not None:
        for path, module in modules.items():
            is_table = isinstance(module, nn.Embedding) and not path.endswith(("position_embeddings", "token_type_embeddings"))
            is_head = path.split(".")[0] not in ("model", "bert", "roberta") or path.endswith("pooler.dense")
            if (isinstance(module, nn.Linear) or is_table) and not is_head and module.weight.shape[1] % 32 == 0:
                module.weight.data.copy_(quantised(module.weight.data, bits, 32))
    if method == "full":
        trained = list(model.parameters())
    else:
        place = 0
        for path, module in modules.items():
            leaf = path.split(".")[-1]
            if not isinstance(module, nn.Linear) or leaf not in ("query", "value", "q_proj", "v_proj", "Wqkv"):
                continue
            outputs, width = module.weight.shape
            a = nn.Parameter(first(RANK, width, place))
            place += 1
            rows = [(0, outputs)] if leaf != "Wqkv" else [(0, outputs // 3), (2 * outputs // 3, outputs)]
            low = LowRank(module.weight, a, rows)
            parametrize.register_parametrization(module, "weight", low)
            trained += [low.a, *low.b]
        for path, module in modules.items():
            is_head = path.startswith("classifier") or path.startswith("head") or path.endswith("pooler.dense")
            if is_head and not causal and not list(module.children()):
                for parameter in module.parameters():
                    parameter.requires_grad_(True)
                    trained.append(parameter)
    settings = {"lr": 5e-3, "betas": (0.9, 0.999), "eps": 1e-8}
    groups = [{"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.01}, {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, **settings)
    scheduler = get_scheduler("linear", optimizer, 2, STEPS)
    made = batches(min(model.config.vocab_size, 1100), 2, 3, name.startswith("bert"), even=dropout != 0)
    values, norms = [], []
    for step in range(STEPS):
        total = 0.0
        # Two batches a step.
        for number in (2 * step, 2 * step + 1):
            batch = made[number % BATCHES]
            rows = []
            for part in [batch] if dropout != 0 else [[row] for row in batch]:
                ids = torch.tensor([row["ids"] for row in part])
                inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                if name.startswith("bert"):
                    inputs["token_type_ids"] = torch.tensor([row["segments"] for row in part])
                with Dropping(number):
                    if kept is not None:
                        rows.append(model.model(**inputs).last_hidden_state[:, -1] @ kept.T)
                        continue
                    logits = model(**inputs).logits
                rows.append(logits[:, -1, answers] if causal else logits)
            logits = torch.cat(rows)
            labels = torch.tensor([row["label"] for row in batch])
            if causal:
                loss = F.cross_entropy(logits, torch.stack([labels, 1 - labels], 1))
            else:
                loss = F.binary_cross_entropy_with_logits(logits[:, 0], labels)
            (loss / 2).backward()
            total += loss.item() / 2
        norms.append(nn.utils.clip_grad_norm_(trained, 1.0).item())
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        values.append(total)
    return {"model": name, "method": method, "bits": bits, "dropout": dropout, "batches": made, "losses": values, "norms": norms}


def answer_tokens(folder):
    scorer = json.loads((folder / "1_LogitScore/config.json").read_text())
    return [scorer["true_token_id"], scorer["false_token_id"]]


def main():
    names = ("bert-logit", "xlm-roberta-logit", "modernbert-mean", "qwen3-yes-no")
    models = [model_case(name, method) for name in names for method in ("full", "lora")]
    models += [model_case(name, "lora", bits) for name in names for bits in (8, 4)]
    models += [model_case(name, method, dropout=0.2) for name in names for method in ("full", "lora")]
    # Their configurations name chances of .1.
    models += [model_case(name, "full", dropout="model") for name in names[:2]]
    versions = {name: version(name) for name in ("torch", "transformers", "mlx")}
    target.parent.mkdir(parents=True, exist_ok=True)
    facts = {"source": "lab/train/make_goldens.py", "versions": versions, "rank": RANK, "alpha": ALPHA, "losses": losses(), "models": models}
    target.write_text(json.dumps(facts) + "\n")
    for one in models:
        print(one["model"], one["method"], one["bits"], one["dropout"], [round(value, 5) for value in one["losses"][:3]], one["losses"][-1], one["norms"][:2])


if __name__ == "__main__":
    main()
