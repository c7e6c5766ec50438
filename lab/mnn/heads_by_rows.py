"""Builds packages/backend-mnn/test/fixtures/heads-by-rows.mnn: scores out of a product with one matrix a row on its one
side, and one a head on the other.

    python lab/mnn/heads_by_rows.py

The environment is that of ends.py. MNN 3.6.1 computes it wrongly where there are as many rows as heads, four.
"""

import os
import tempfile

import _tools
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TARGET = os.path.join(os.path.dirname(__file__), "../../packages/backend-mnn/test/fixtures/heads-by-rows.mnn")
node = helper.make_node
random = np.random.default_rng(1)
constants = {
    "table": random.normal(size=(1000, 4)).astype(np.float32),
    "keys": random.normal(size=(1, 4, 4, 5)).astype(np.float32),
    "w": random.normal(size=(4, 1)).astype(np.float32),
    "last": np.array([-1], np.int64),
    "second": np.array([1], np.int64),
    "ends": np.array([2, 3], np.int64),
}
nodes = [
    node("Gather", ["table", "input_ids"], ["rows"]),
    node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
    # 1, which the converter does not know.
    node("ReduceMax", ["mask"], ["any"], keepdims=0),
    node("Mul", ["keys", "any"], ["heads"]),
    node("Unsqueeze", ["mask", "last"], ["columns"]),
    node("Mul", ["rows", "columns"], ["masked"]),
    node("Unsqueeze", ["masked", "second"], ["apart"]),
    node("MatMul", ["apart", "heads"], ["product"]),
    node("Tanh", ["product"], ["bent"]),
    node("ReduceSum", ["bent", "ends"], ["sums"], keepdims=0),
    node("MatMul", ["sums", "w"], ["logits"]),
]
graph = helper.make_graph(
    nodes,
    "graph",
    [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
    [numpy_helper.from_array(array, name) for name, array in constants.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
with tempfile.TemporaryDirectory() as folder:
    source = os.path.join(folder, "model.onnx")
    onnx.save(model, source)
    options = ["-f", "ONNX", "--modelFile", source, "--MNNModel", TARGET, "--bizCode", "crossrank"]
    _tools.mnnconvert(["mnnconvert", *options])
