"""Writes what transformers gives for an ELECTRA whose embeddings are projected, made of the fixture bert-logit.

    python lab/convert/electra_goldens.py            # needs torch and transformers, see lab/requirements.txt
    python lab/convert/electra_goldens.py --check    # change nothing; exit 1 if a number moved

Tables and their norm keep their first 16 columns, the projection's numbers are 0.3 sin(0.7 i), BERT's pooler is the
classifier's dense layer. packages/convert/test/source.test.ts makes the same model of the same fixture.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from safetensors.torch import load_file
from transformers import ElectraConfig, ElectraForSequenceClassification

PACKAGES = Path(__file__).resolve().parents[2] / "packages"
FIXTURE = PACKAGES / "conformance" / "fixtures" / "bert-logit"
OUTPUT = PACKAGES / "convert" / "test" / "fixtures" / "electra-projection.json"
WIDTH = 16
NAMES = {
    "bert.pooler.dense.": "classifier.dense.",
    "classifier.": "classifier.out_proj.",
    "bert.": "electra.",
}
SEQUENCES = [
    ([2, 10, 11, 12, 3, 20, 21, 22, 23, 3], 5),
    ([2, 30, 3, 31, 3], 3),
    ([2, 40, 41, 42, 43, 44, 3, 3], 7),
]


def renamed(name: str) -> str:
    start = next(start for start in NAMES if name.startswith(start))
    return NAMES[start] + name[len(start) :]


def electra() -> ElectraForSequenceClassification:
    settings = json.loads((FIXTURE / "config.json").read_text())
    for name in ("architectures", "model_type", "transformers_version"):
        settings.pop(name, None)
    config = ElectraConfig(**settings, embedding_size=WIDTH)
    hidden = config.hidden_size
    tensors = {}
    for name, tensor in load_file(FIXTURE / "model.safetensors").items():
        narrow = ".embeddings." in name
        tensors[renamed(name)] = tensor[..., :WIDTH].contiguous() if narrow else tensor
    numbers = [0.3 * math.sin(0.7 * index) for index in range(hidden * (WIDTH + 1))]
    projection = torch.tensor(numbers, dtype=torch.float64).float()
    tensors["electra.embeddings_project.weight"] = projection[: hidden * WIDTH].reshape(hidden, WIDTH)
    tensors["electra.embeddings_project.bias"] = projection[hidden * WIDTH :]
    model = ElectraForSequenceClassification(config)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    if unexpected or [name for name in missing if not name.endswith("_ids")]:
        sys.exit(f"missing {missing}, unexpected {unexpected}")
    return model.eval().double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    model = electra()
    cases = []
    for ids, first in SEQUENCES:
        segments = [0] * first + [1] * (len(ids) - first)
        with torch.no_grad():
            logits = model(torch.tensor([ids]), token_type_ids=torch.tensor([segments])).logits
        cases.append({"ids": ids, "segments": segments, "logit": round(logits.item(), 9)})
    origin = f"lab/convert/electra_goldens.py, transformers {transformers.__version__}"
    text = json.dumps({"origin": origin, "cases": cases}, indent=2) + "\n"
    if check:
        before = json.loads(OUTPUT.read_text())["cases"]
        moved = max(abs(old["logit"] - new["logit"]) for old, new in zip(before, cases, strict=True))
        print(f"moved by {moved}")
        sys.exit(moved > 1e-6)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(text)


if __name__ == "__main__":
    main()
