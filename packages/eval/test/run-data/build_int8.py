"""Quantises the tiny cross-encoder of packages/backend-onnx to 8 bits, as users do it with onnxruntime.

    python3 -m venv .venv && .venv/bin/pip install onnx==1.23.2 onnxruntime==1.31.1
    .venv/bin/python packages/eval/test/run-data/build_int8.py
"""

from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[2] / "backend-onnx" / "test" / "fixtures" / "cross-encoder" / "onnx" / "model.onnx"

quantize_dynamic(SOURCE, HERE / "model_int8.onnx", weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": 1})
