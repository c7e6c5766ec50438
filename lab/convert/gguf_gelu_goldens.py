"""Writes what torch gives for the fixtures with llama.cpp's GELU in place of the models' own.

    python lab/convert/gguf_gelu_goldens.py            # needs torch and transformers, see lab/requirements.txt
    python lab/convert/gguf_gelu_goldens.py --check    # change nothing; exit 1 if a number moved

llama.cpp reads GELU (the tanh approximation) from a table over all half-precision numbers, with a half-precision
result (ggml_vec_gelu_f32 in ggml-cpu/vec.h, GGML_GELU_FP16). That is the one step in which an F32 GGUF differs from
its source by more than float32's rounding. With the same step in torch, the two can be held against each other to
1e-4, which the file packages/backend-llamacpp/test/fixtures/convert-gelu-goldens.json is for: per fixture the logits of all
goldens that have one, in golden.json's order; of modernbert-chain pooled vectors.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

ROOT = Path(__file__).resolve().parents[2] / "packages"
FIXTURES = ROOT / "conformance" / "fixtures"
OUTPUT = ROOT / "backend-llamacpp" / "test" / "fixtures" / "convert-gelu-goldens.json"
CLASSIFIERS = ["bert-logit", "bert-two-class", "roberta-logit", "xlm-roberta-logit", "modernbert-mean"]


def table_gelu(x: torch.Tensor) -> torch.Tensor:
    halves = x.to(torch.float16).to(torch.float32)
    looked_up = torch.nn.functional.gelu(halves, approximate="tanh").to(torch.float16).to(torch.float32)
    return torch.where(x <= -10, torch.zeros_like(x), torch.where(x >= 10, x, looked_up))


def replace_gelu(model: torch.nn.Module) -> None:
    """The activations of the feed-forward layers and of ModernBERT's head; not BERT's tanh."""
    replaced = 0
    for module in model.modules():
        for name in ("intermediate_act_fn", "act", "act_fn"):
            if hasattr(module, name):
                module._modules.pop(name, None)
                object.__setattr__(module, name, table_gelu)
                replaced += 1
    assert replaced >= 2, replaced


def sequences(name: str) -> Iterator[dict]:
    for case in json.loads((FIXTURES / name / "golden.json").read_text())["cases"]:
        for expected in case["expected"].values():
            if expected.get("ids") and expected.get("logit") is not None:
                yield expected


def run(model: torch.nn.Module, ids: list[int], segments: list[int] | None) -> object:
    inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    if segments is not None:
        inputs["token_type_ids"] = torch.tensor([segments])
    with torch.no_grad():
        return model(**inputs)


def load(kind: type, name: str) -> torch.nn.Module:
    model = kind.from_pretrained(FIXTURES / name, attn_implementation="eager", dtype=torch.float32).eval()
    replace_gelu(model)
    return model


def classifier(name: str) -> list[float]:
    model = load(AutoModelForSequenceClassification, name)
    result = []
    for expected in sequences(name):
        segments = expected.get("segmentIds") if name.startswith("bert") else None
        logits = run(model, expected["ids"], segments).logits[0]
        result.append(float(logits[0] if len(logits) == 1 else logits[1] - logits[0]))
    return result


def answer_token(name: str) -> list[float]:
    model = load(AutoModelForCausalLM, name)
    positive = json.loads((FIXTURES / name / "crossrank.json").read_text())["head"]["positive"]
    return [float(run(model, e["ids"], None).logits[0, -1, positive]) for e in sequences(name)]


def pooled(name: str) -> list[list[float]]:
    mode = json.loads((FIXTURES / name / "1_Pooling" / "config.json").read_text())["pooling_mode"]
    model = load(AutoModel, name)
    assert mode == "cls", mode
    states = [run(model, e["ids"], None).last_hidden_state[0, 0] for e in list(sequences(name))[:12]]
    return [[float(number) for number in state] for state in states]


def build() -> dict[str, list]:
    makers: dict[str, Callable[[str], list]] = dict.fromkeys(CLASSIFIERS, classifier)
    makers |= {"gemma-yes": answer_token, "modernbert-chain": pooled}
    return {name: make(name) for name, make in makers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    goldens = build()
    if arguments.check:
        stored = json.loads(OUTPUT.read_text())
        difference = max(
            float((torch.tensor(numbers) - torch.tensor(stored[name])).abs().max()) for name, numbers in goldens.items()
        )
        print(f"largest difference {difference:.2e}")
        sys.exit(1 if difference > 1e-4 else 0)
    lines = [f"  {json.dumps(name)}: {json.dumps(rounded(numbers))}" for name, numbers in goldens.items()]
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def rounded(numbers: list) -> list:
    return [rounded(n) if isinstance(n, list) else round(n, 6) for n in numbers]


if __name__ == "__main__":
    main()
