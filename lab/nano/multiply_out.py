"""Writes the embedded model as Hugging Face weights: its int8 matrices times their scales, in float32.

    lab/.venv/bin/python lab/nano/multiply_out.py lab/runs/nano

The float32 weights of the training run were not kept; these are what the embedded int8 artifact holds, without its
quantised activations. So int8 against them shows what quantising activations costs, and not what rounding the weights
did (the model card measured both, against the weights of training). The folder is a source for `crossrank convert`
and has the int8 artifact itself in onnx/, byte for byte. lab/runs is ignored by git.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import model as nano
import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file

MODEL = nano.LAB.parent / "packages" / "model-nano" / "model"


def multiplied_out(path: Path) -> dict[str, torch.Tensor]:
    """The graph's parameters under lab/nano/model.py's names; see `Graph` in export.py for how they were put in."""
    stored = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    state: dict[str, np.ndarray] = {}
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, values in stored.items():
        if name.endswith(".weight.int8"):
            stem = name.removesuffix(".weight.int8")
            matrix = values.astype(np.float32) * stored[f"{stem}.weight.scale"]
            if f"{stem}.smooth" in stored:
                matrix = matrix * stored[f"{stem}.smooth"][:, None]
            parts.setdefault(stem.removesuffix(".narrow").removesuffix(".wide"), {})[stem] = matrix.T
        elif name.endswith(".int8"):
            stem = name.removesuffix(".int8")
            state[stem] = values.astype(np.float32) * stored[f"{stem}.scale"]
        elif name.endswith((".scale", ".zero", ".smooth")) or name.startswith("int64."):
            continue
        elif name == "classifier.weight":
            state[name] = values.T
        elif not name.endswith((".narrow.bias", ".wide.bias")):
            state[name] = values
    for stem, matrices in parts.items():
        # A feed-forward whose widest channels have a scale of their own: inner channels may stand in any order, as
        # long as both of its matrices and the bias between them have the same.
        names = [stem] if stem in matrices else [f"{stem}.narrow", f"{stem}.wide"]
        state[f"{stem}.weight"] = np.concatenate(
            [matrices[name] for name in names], axis=1 if stem.endswith("down") else 0
        )
        if stem.endswith("up") and len(names) == 2:
            state[f"{stem}.bias"] = np.concatenate([stored[f"{name}.bias"] for name in names])
    return {name: torch.tensor(np.ascontiguousarray(values)) for name, values in state.items()}


def largest_difference(folder: Path) -> tuple[float, float]:
    """Median and largest |Δ logit| between transformers on the written folder and the goldens of training's weights."""
    from transformers import BertForSequenceClassification

    network = BertForSequenceClassification.from_pretrained(folder).eval()
    differences = []
    with torch.inference_mode():
        for case in json.loads((MODEL / "golden.json").read_text())["cases"]:
            expected = case["expected"]["document-only"]
            ids, segments = (torch.tensor([expected[name]]) for name in ("ids", "segmentIds"))
            logit = network(input_ids=ids, token_type_ids=segments).logits.item()
            differences.append(abs(logit - expected["logit"]))
    return float(np.median(differences)), max(differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    artifact = MODEL / "onnx" / "model_int8.onnx"
    state = nano.to_hugging_face(multiplied_out(artifact))
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in state.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    shutil.copyfile(artifact, folder / "onnx" / artifact.name)
    # No crossrank.json: its reference logits and default precision are the embedded artifact's.
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(MODEL / name, folder / name)
    median, largest = largest_difference(folder)
    print(f"{folder}: |Δ logit| to the goldens of training's float32 weights: median {median:.3f}, largest {largest:.3f}")


if __name__ == "__main__":
    main()
