"""What a user gets today without crossrank: torch.onnx.export of a classifier, and onnxruntime's dynamic int8.

    python torch_export.py MODEL OUTPUT --exporter dynamo|legacy

MODEL is a folder with model.safetensors; OUTPUT becomes one with onnx/model.onnx (fp32), onnx/model_int8.onnx and the
model's small files. For the bench (bench/engines); needs torch, transformers, onnx, onnxscript and onnxruntime.

- dynamo: torch.onnx.export as it is called by default since torch 2.9.
- legacy: dynamo=False at opset 18, the TorchScript exporter, which optimum-onnx 0.1.0 calls (export_pytorch in its
  optimum/exporters/onnx/convert.py).
- int8: onnxruntime.quantization.quantize_dynamic with QInt8 weights, every other argument at its default: one scale a
  matrix, eight bits, all operators that it knows. The shapes that the dynamo exporter wrote into its graph are taken out
  first: onnxruntime 1.31 stops at them (ShapeInferenceError), with and without its pre-processing.
"""

import argparse
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForSequenceClassification


def export(model: torch.nn.Module, exporter: str, path: Path) -> None:
    # Two rows of sixteen: sizes of 1 are taken for constants.
    ids = torch.randint(5, 1000, (2, 16))
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }
    axes = {name: {0: "batch", 1: "sequence"} for name in inputs}
    dynamic = (
        {"dynamic_shapes": axes}
        if exporter == "dynamo"
        else {"dynamo": False, "opset_version": 18, "dynamic_axes": {**axes, "logits": {0: "batch"}}}
    )
    names = {"input_names": list(inputs), "output_names": ["logits"]}
    torch.onnx.export(model, (), str(path), kwargs=inputs, **names, **dynamic)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--exporter", choices=["dynamo", "legacy"], default="dynamo")
    arguments = parser.parse_args()

    model = AutoModelForSequenceClassification.from_pretrained(
        arguments.model, local_files_only=True
    ).eval()
    graphs = arguments.output / "onnx"
    graphs.mkdir(parents=True, exist_ok=True)
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"]:
        shutil.copyfile(arguments.model / name, arguments.output / name)
    exact, small = graphs / "model.onnx", graphs / "model_int8.onnx"
    with torch.no_grad():
        export(model, arguments.exporter, exact)
    graph = onnx.load(exact)
    del graph.graph.value_info[:]
    quantize_dynamic(graph, small, weight_type=QuantType.QInt8)

    sizes = {
        path.relative_to(arguments.output).as_posix(): sum(
            part.stat().st_size for part in graphs.iterdir() if part.name.startswith(path.name)
        )
        for path in (exact, small)
    }
    versions = [f"{name} {version(name)}" for name in ("torch", "transformers", "onnxruntime")]
    print(json.dumps({"sizes": sizes, "versions": versions}))


if __name__ == "__main__":
    main()
