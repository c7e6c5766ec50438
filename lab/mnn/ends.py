"""Builds packages/backend-mnn/test/fixtures/ends: one tiny cross-encoder with many ends, as MNN's converter writes them.

    python lab/mnn/ends.py

The environment has onnx 1.23.2 and MNN 3.6.1 (requirements.txt). Each end is a list of ONNX nodes that make the output
`logits` out of `z`, which a product makes. The converter moves and rewrites them, so that a file's operators are not the
graph's nodes. Its native function is called, not the command `mnnconvert`, which reports its use to its makers.
"""

import os
import tempfile

import _tools
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TARGET = os.path.join(os.path.dirname(__file__), "../../packages/backend-mnn/test/fixtures/ends")
node = helper.make_node

# Name: nodes, classes, outputs.
ENDS = {
    "logits": ([node("Identity", ["z"], ["logits"])], 1, ["logits"]),
    "sigmoid": ([node("Sigmoid", ["z"], ["logits"])], 1, ["logits"]),
    "hard-sigmoid": ([node("HardSigmoid", ["z"], ["logits"])], 1, ["logits"]),
    "tanh": ([node("Tanh", ["z"], ["logits"])], 1, ["logits"]),
    "softmax": ([node("Softmax", ["z"], ["logits"], axis=-1)], 2, ["logits"]),
    "log-softmax": ([node("LogSoftmax", ["z"], ["logits"], axis=-1)], 2, ["logits"]),
    "log-of-softmax": (
        [node("Softmax", ["z"], ["p"], axis=-1), node("Log", ["p"], ["logits"])],
        2,
        ["logits"],
    ),
    "softmax-gathered": (
        [
            node("Softmax", ["z"], ["p"], axis=-1),
            node("Gather", ["p", "place"], ["q"], axis=1),
            node("Unsqueeze", ["q", "last"], ["logits"]),
        ],
        2,
        ["logits"],
    ),
    "softmax-sliced": (
        [node("Softmax", ["z"], ["p"], axis=-1), node("Slice", ["p", "from", "to", "from"], ["logits"])],
        2,
        ["logits"],
    ),
    "softmax-split": (
        [node("Softmax", ["z"], ["p"], axis=-1), node("Split", ["p"], ["no", "logits"], axis=1)],
        2,
        ["logits"],
    ),
    "sigmoid-of-both": (
        [
            node("Sigmoid", ["z"], ["p"]),
            node("Sub", ["one", "p"], ["q"]),
            node("Concat", ["q", "p"], ["logits"], axis=1),
        ],
        1,
        ["logits"],
    ),
    "sigmoid-bounded": (
        [node("Sigmoid", ["z"], ["p"]), node("Clip", ["p", "low", "high"], ["logits"])],
        1,
        ["logits"],
    ),
    "sigmoid-scaled": (
        [node("Sigmoid", ["z"], ["p"]), node("Mul", ["p", "five"], ["logits"])],
        1,
        ["logits"],
    ),
    "sigmoid-in-other-forms": (
        [
            node("Squeeze", ["z", "last"], ["a"]),
            node("Sigmoid", ["a"], ["p"]),
            node("Unsqueeze", ["p", "last"], ["q"]),
            node("Reshape", ["q", "flat"], ["logits"]),
        ],
        1,
        ["logits"],
    ),
    "sigmoid-written-out": (
        [
            node("Neg", ["z"], ["a"]),
            node("Exp", ["a"], ["e"]),
            node("Add", ["e", "one"], ["c"]),
            node("Reciprocal", ["c"], ["logits"]),
        ],
        1,
        ["logits"],
    ),
    "sigmoid-as-quotient": (
        [
            node("Neg", ["z"], ["a"]),
            node("Exp", ["a"], ["e"]),
            node("Add", ["one", "e"], ["c"]),
            node("Div", ["one", "c"], ["logits"]),
        ],
        1,
        ["logits"],
    ),
    "softmax-written-out": (
        [
            node("Exp", ["z"], ["a"]),
            node("ReduceSum", ["a", "from"], ["s"], keepdims=1),
            node("Div", ["a", "s"], ["logits"]),
        ],
        2,
        ["logits"],
    ),
    "log-softmax-written-out": (
        [
            node("ReduceLogSumExp", ["z"], ["a"], axes=[1], keepdims=1),
            node("Sub", ["z", "a"], ["logits"]),
        ],
        2,
        ["logits"],
    ),
    "sigmoid-by-tanh": (
        [
            node("Mul", ["z", "half"], ["a"]),
            node("Tanh", ["a"], ["t"]),
            node("Mul", ["t", "half"], ["c"]),
            node("Add", ["c", "half"], ["logits"]),
        ],
        1,
        ["logits"],
    ),
    "capped": (
        [
            node("Div", ["z", "five"], ["a"]),
            node("Tanh", ["a"], ["t"]),
            node("Mul", ["t", "five"], ["logits"]),
        ],
        1,
        ["logits"],
    ),
    "sigmoid-beside-logits": ([node("Sigmoid", ["z"], ["logits"])], 1, ["logits", "z"]),
    "sigmoid-beside-copied-logits": (
        [node("Sigmoid", ["z"], ["logits"]), node("Reshape", ["z", "flat"], ["raw"])],
        1,
        ["logits", "raw"],
    ),
    "sigmoid-in-doubles": (
        [
            node("Cast", ["z"], ["d"], to=TensorProto.DOUBLE),
            node("Sigmoid", ["d"], ["p"]),
            node("Cast", ["p"], ["logits"], to=TensorProto.FLOAT),
        ],
        1,
        ["logits"],
    ),
    "sigmoid-or-more": (
        [node("Sigmoid", ["z"], ["p"]), node("Max", ["p", "low"], ["logits"])],
        1,
        ["logits"],
    ),
    "silu": ([node("Sigmoid", ["z"], ["p"]), node("Mul", ["z", "p"], ["logits"])], 1, ["logits"]),
    "log-sigmoid": (
        [
            node("Neg", ["z"], ["a"]),
            node("Softplus", ["a"], ["s"]),
            node("Neg", ["s"], ["logits"]),
        ],
        1,
        ["logits"],
    ),
}


def model(nodes, classes, outputs):
    random = np.random.default_rng(3)
    constants = {
        "table": random.normal(size=(16, 4)).astype(np.float32),
        "w": random.normal(size=(4, classes)).astype(np.float32),
        "b": random.normal(size=(classes,)).astype(np.float32),
        **{
            name: np.array(number, np.float32)
            for name, number in {"one": 1, "half": 0.5, "five": 5, "low": 0.01, "high": 0.99}.items()
        },
        "from": np.array([1], np.int64),
        "to": np.array([2], np.int64),
        "place": np.array(1, np.int64),
        "last": np.array([-1], np.int64),
        "flat": np.array([0, -1], np.int64),
    }
    body = [
        node("Gather", ["table", "input_ids"], ["rows"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["columns"]),
        node("Mul", ["rows", "columns"], ["masked"]),
        node("ReduceSum", ["masked", "from"], ["sum"], keepdims=0),
        # A pooler's, which is no end.
        node("Tanh", ["sum"], ["pooled"]),
        node("MatMul", ["pooled", "w"], ["product"]),
        node("Add", ["product", "b"], ["z"]),
        *nodes,
    ]
    read = {name for one in body for name in one.input}
    graph = helper.make_graph(
        body,
        "graph",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", None]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in read],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


os.makedirs(TARGET, exist_ok=True)
with tempfile.TemporaryDirectory() as folder:
    for name, end in ENDS.items():
        source = os.path.join(folder, "model.onnx")
        onnx.save(model(*end), source)
        target = os.path.join(TARGET, f"{name}.mnn")
        options = ["-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "crossrank"]
        _tools.mnnconvert(["mnnconvert", *options])
