"""The teacher's graphs in ONNX (teacher.py), the calibration and the goldens (pack.py).

The graph is written in its final form, so that onnxruntime needs only its basic optimisations:
`com.microsoft.Attention` with packed weights and the raw mask (QAttention in int8), `BiasGelu`,
`Add` and `LayerNormalization`. Linear layers are MatMul in fp32 and DynamicQuantizeMatMul in int8.

int8: weights symmetric, one scale an output channel; embedding tables one scale a row; everything else float32.
Weights use 7 bits (-64..63) by default, because processors without VNNI add pairs of u8*s8 products in saturating
16-bit arithmetic: 2*255*127 overflows there, silently, and 2*255*64 does not.
"""

from __future__ import annotations

import json
from pathlib import Path

import model as nano
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


class Graph:
    """Collects nodes and initializers; `quantised` chooses between the two forms of each layer."""

    def __init__(
        self,
        state: dict[str, torch.Tensor],
        quantised: bool,
        bits: int,
        attention: str,
        peaks: dict | None = None,
        ranges: dict | None = None,
        wide: int = 0,
    ):
        self.weights = {name: tensor.numpy().astype(np.float32) for name, tensor in state.items()}
        self.quantised, self.highest, self.attention_form = quantised, 2 ** (bits - 1) - 1, attention
        self.peaks = peaks or {}
        self.ranges = ranges or {}
        self.wide = wide
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, array: np.ndarray) -> str:
        self.initializers.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def smoothed(self, x: str, name: str) -> tuple[str, np.ndarray]:
        """The layer's input and transposed weight, with input channels of large range evened out.

        One scale covers a whole activation, so a few wide channels cost all others their precision. The input is
        divided and the weight multiplied, channel by channel, by sqrt(widest input / widest weight), as SmoothQuant
        (Xiao et al. 2023) does; the product stays the same.
        """
        matrix = self.weights[f"{name}.weight"].T
        if name not in self.peaks:
            return x, matrix
        factors = np.sqrt(np.maximum(self.peaks[name], 1e-5) / np.maximum(np.abs(matrix).max(axis=1), 1e-5))
        inverse = self.constant(f"{name}.smooth", (1 / factors).astype(np.float32))
        return self.node("Mul", [x, inverse], f"{name}.smoothed"), matrix * factors[:, None]

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def integers(self, matrix: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Symmetric int8 of a matrix and its scales, one a slice along `axis`."""
        largest = np.abs(matrix).max(axis=1 - axis, keepdims=True)
        scale = np.maximum(largest, 1e-8) / self.highest
        rounded = np.clip(np.rint(matrix / scale), -self.highest, self.highest).astype(np.int8)
        return rounded, scale.astype(np.float32).reshape(-1)

    def lookup(self, name: str, indices: str) -> str:
        """Rows of an embedding table. Tables never meet the saturating kernels, so they use all 8 bits."""
        table = self.weights[name]
        if not self.quantised:
            return self.node("Gather", [self.constant(name, table), indices], f"{name}.rows")
        largest = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-8)
        scale = (largest / 127).astype(np.float32)
        rounded = np.clip(np.rint(table / scale), -127, 127).astype(np.int8)
        rows = self.node("Gather", [self.constant(f"{name}.int8", rounded), indices], f"{name}.int8.rows")
        scales = self.node("Gather", [self.constant(f"{name}.scale", scale), indices], f"{name}.scale.rows")
        real = self.node("Cast", [rows], f"{name}.float.rows", to=TensorProto.FLOAT)
        return self.node("Mul", [real, scales], f"{name}.rows")

    def matmul(self, x: str, name: str, output: str) -> str:
        """x times the layer's transposed weight, without bias."""
        matrix = self.weights[f"{name}.weight"].T
        if not self.quantised:
            return self.node("MatMul", [x, self.constant(f"{name}.weight", matrix)], output)
        x, matrix = self.smoothed(x, name)
        integers, scale = self.integers(matrix, axis=1)
        zeros = np.zeros(scale.shape, dtype=np.int8)
        inputs = [
            x,
            self.constant(f"{name}.weight.int8", integers),
            self.constant(f"{name}.weight.scale", scale),
            self.constant(f"{name}.weight.zero", zeros),
        ]
        return self.node("DynamicQuantizeMatMul", inputs, output, MICROSOFT)

    def linear(self, x: str, name: str) -> str:
        product = self.matmul(x, name, f"{name}.product")
        return self.node(
            "Add", [product, self.constant(f"{name}.bias", self.weights[f"{name}.bias"])], f"{name}.output"
        )

    def norm(self, x: str, name: str) -> str:
        inputs = [x, *(self.constant(f"{name}.{kind}", self.weights[f"{name}.{kind}"]) for kind in ("weight", "bias"))]
        return self.node("LayerNormalization", inputs, f"{name}.output", axis=-1, epsilon=nano.EPSILON)

    def feed_forward(self, x: str, prefix: str) -> str:
        """down(gelu(up(x))); in int8 the inner channels of widest range get a matrix, and so a scale, of their own."""
        up, down = self.weights[f"{prefix}up.weight"], self.weights[f"{prefix}down.weight"]
        parts = {"": np.arange(len(up))}
        if self.quantised and self.wide and f"{prefix}inner" in self.ranges:
            order = np.argsort(self.ranges[f"{prefix}inner"], kind="stable")
            parts = {".narrow": np.sort(order[: -self.wide]), ".wide": np.sort(order[-self.wide :])}
        total = None
        for part, channels in parts.items():
            self.weights[f"{prefix}up{part}.weight"] = up[channels]
            self.weights[f"{prefix}down{part}.weight"] = down[:, channels]
            bias = self.constant(f"{prefix}up{part}.bias", self.weights[f"{prefix}up.bias"][channels])
            product = self.matmul(x, f"{prefix}up{part}", f"{prefix}up{part}.product")
            active = self.node("BiasGelu", [product, bias], f"{prefix}active{part}", MICROSOFT)
            product = self.matmul(active, f"{prefix}down{part}", f"{prefix}down{part}.product")
            total = product if total is None else self.node("Add", [total, product], f"{prefix}down.total")
        return self.node(
            "Add",
            [total, self.constant(f"{prefix}down.bias", self.weights[f"{prefix}down.bias"])],
            f"{prefix}down.output",
        )

    def attention(self, x: str, prefix: str) -> str:
        """Softmax(QKᵀ/√d)V of all heads, before the output projection."""
        name = f"{prefix}qkv"
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        if not self.quantised:
            weight = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)
            return self.node("Attention", [x, weight, bias, "mask"], f"{name}.output", MICROSOFT, num_heads=nano.HEADS)
        if self.attention_form == "packed":
            x, matrix = self.smoothed(x, name)
            integers, scale = self.integers(matrix, axis=1)
            weight = self.constant(f"{name}.weight.int8", integers)
            scales = self.constant(f"{name}.weight.scale", scale)
            zeros = self.constant(f"{name}.weight.zero", np.zeros(scale.shape, dtype=np.int8))
            inputs = self.node_many("DynamicQuantizeLinear", [x], [f"{name}.x", f"{name}.x.scale", f"{name}.x.zero"])
            return self.node(
                "QAttention",
                [inputs[0], weight, bias, inputs[1], scales, "mask", inputs[2], zeros],
                f"{name}.output",
                MICROSOFT,
                num_heads=nano.HEADS,
            )
        product = self.matmul(x, name, f"{name}.product")
        parts = self.node_many(
            "Split", [product], [f"{name}.{part}" for part in ("q", "k", "v")], axis=-1, num_outputs=3
        )
        return self.node(
            "MultiHeadAttention", [*parts, bias, "mask"], f"{name}.output", MICROSOFT, num_heads=nano.HEADS
        )

    def node_many(self, kind: str, inputs: list[str], outputs: list[str], **attributes) -> list[str]:
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def build(self) -> onnx.ModelProto:
        """The whole model: int64 input_ids, attention_mask, token_type_ids → float32 logits (batch, 1)."""
        self.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
        shape = self.node("Shape", ["input_ids"], "length", start=1, end=2)
        last = self.node("Squeeze", [shape], "length.scalar")
        zero, one = (self.constant(f"int64.{value}", np.array(value, dtype=np.int64)) for value in (0, 1))
        positions = self.node("Range", [zero, last, one], "positions")
        words = self.lookup("embeddings.word", "input_ids")
        places = self.lookup("embeddings.position", positions)
        segments = self.node(
            "Gather",
            [self.constant("embeddings.segment", self.weights["embeddings.segment"]), "token_type_ids"],
            "embeddings.segment.rows",
        )
        total = self.node("Add", [self.node("Add", [words, segments], "embeddings.sum.1"), places], "embeddings.sum.2")
        hidden = self.norm(total, "embeddings.norm")
        layers = sum(name.endswith("qkv.weight") for name in self.weights)
        for index in range(layers):
            prefix = f"layer.{index}."
            mixed = self.attention(hidden, prefix)
            if index == layers - 1:
                # Only [CLS] is read from here on.
                first = self.constant("int64.first", np.array([0], dtype=np.int64))
                mixed = self.node("Gather", [mixed, first], f"{prefix}mixed.first", axis=1)
                hidden = self.node("Gather", [hidden, first], f"{prefix}hidden.first", axis=1)
            mixed = self.linear(mixed, prefix + "attention")
            hidden = self.norm(self.node("Add", [mixed, hidden], f"{prefix}sum.1"), prefix + "attention.norm")
            down = self.feed_forward(hidden, prefix)
            hidden = self.norm(self.node("Add", [down, hidden], f"{prefix}sum.2"), prefix + "norm")
        axes = self.constant("int64.axis", np.array([1], dtype=np.int64))
        first = self.node("Squeeze", [hidden, axes], "first")
        pooled = self.node("Tanh", [self.linear(first, "pooler")], "pooled")
        # The classifier stays in float32: 384 numbers that decide the score's scale.
        weight = self.constant("classifier.weight", self.weights["classifier.weight"].T)
        product = self.node("MatMul", [pooled, weight], "classifier.product")
        self.node("Add", [product, self.constant("classifier.bias", self.weights["classifier.bias"])], "logits")
        graph = helper.make_graph(
            self.nodes,
            "nano",
            [
                helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "sequence"])
                for n in ("input_ids", "attention_mask", "token_type_ids")
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
            list(self.initializers.values()),
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="crossrank-lab", ir_version=9)
        onnx.checker.check_model(model)
        return model


@torch.inference_mode()
def channel_peaks(state: dict[str, torch.Tensor], encoded: list[tuple[list[int], list[int]]]) -> dict[str, np.ndarray]:
    """Largest absolute value of each input channel of each linear layer over some pairs."""
    peaks: dict[str, torch.Tensor] = {}

    def observe(name: str, x: torch.Tensor) -> None:
        largest = x.abs().amax(dim=(0, 1))
        peaks[name] = torch.maximum(peaks[name], largest) if name in peaks else largest

    for ids, segments in encoded:
        nano.hidden_states(state, *nano.pad([(ids, segments)]), only_first=True, observe=observe)
    return {name: tensor.numpy() for name, tensor in peaks.items()}


def calibrate(
    state: dict[str, torch.Tensor], scores: np.ndarray, labels: np.ndarray
) -> tuple[dict[str, torch.Tensor], dict]:
    """Fits sigmoid(scale * logit + shift) to the dev labels and folds both numbers into the classifier."""
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    mean, deviation = x.mean(), x.std()
    columns = np.stack([(x - mean) / deviation, np.ones_like(x)])

    def loss(parameters: np.ndarray) -> float:
        z = parameters @ columns
        return float(np.mean(np.logaddexp(0, z) - y * z))

    # Newton's method from the base rate, with halved steps: torch's L-BFGS stopped far from the minimum on some scores.
    fit = np.array([0.0, np.log(y.mean() / (1 - y.mean()))])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(fit @ columns, -500, 500)))
        gradient = columns @ (p - y) / len(y)
        if np.abs(gradient).max() < 1e-9:
            break
        step = np.linalg.solve((columns * (p * (1 - p))) @ columns.T / len(y), gradient)
        size = 1.0
        while loss(fit - size * step) > loss(fit) and size > 1e-9:
            size /= 2
        fit = fit - size * step
    else:
        raise RuntimeError(f"the calibration has not converged: gradient {gradient}")
    a, b = float(fit[0] / deviation), float(fit[1] - fit[0] * mean / deviation)
    before = float(np.mean(np.logaddexp(0, x) - y * x))
    folded = dict(state)
    folded["classifier.weight"] = state["classifier.weight"] * a
    folded["classifier.bias"] = state["classifier.bias"] * a + b
    return folded, {
        "scale": round(a, 4),
        "shift": round(b, 4),
        "loss_before": round(before, 4),
        "loss_after": round(loss(fit), 4),
    }


GOLDEN_PAIRS = [
    (
        "berlin-population",
        "how many people live in berlin",
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    ),
    ("berlin-museum", "how many people live in berlin", "New York City is famous for the Metropolitan Museum of Art."),
    (
        "pressure-causes",
        "What causes high blood pressure?",
        "Hypertension often has no single cause; age, weight, salt and family history all raise the risk.",
    ),
    (
        "pressure-cuff",
        "What causes high blood pressure?",
        "The blood pressure cuff is placed around the upper arm, level with the heart.",
    ),
    ("hidden-files", "list hidden files", "ls: List directory contents. List all files, including hidden files: ls -a"),
    ("one-word-document", "capital of france", "Paris"),
    ("single-letters", "a", "b"),
    ("empty-document", "empty document", ""),
    ("empty-query", "", "A document without a query."),
    ("both-empty", "", ""),
    (
        "spells-special-tokens",
        "text that spells [SEP]",
        "The token [SEP] ends a segment and [CLS] begins it; [PAD] and [MASK] are plain text here.",
    ),
    ("nothing-but-special-spellings", "[MASK]", "[SEP][SEP] [CLS]"),
    (
        "accents",
        "Café Zürich Öffnungszeiten",
        "Das Café öffnet täglich um 8 Uhr; naïve coöperation, Ångström, İstanbul.",
    ),
    ("japanese", "東京の人口", "東京都の人口は約1400万人です。"),
    ("emoji", "emoji 🎉 party", "🎉🎊 We celebrate with confetti 👩‍👩‍👧‍👦 and cake 🍰."),
    ("cyrillic", "числа и даты", "Дата: 12.03.2021, сумма 1 234,56 ₽ — примерно ½ цены."),
    ("white-space", "tabs\tand\nnew lines", "  leading spaces\r\n\r\nand\u00a0no-break\u2009thin spaces  "),
    ("combining-marks", "combining e\u0301 and ﬁ ligature", "Cafe\u0301 ﬁnal ① Ⅷ x² \u200bzero width \ufeff mark"),
    (
        "long-words",
        "supercalifragilisticexpialidocious antidisestablishmentarianism",
        "x" * 120 + " pneumonoultramicroscopicsilicovolcanoconiosis",
    ),
    (
        "code",
        "C++ vs. C# e-mail: user@example.com?",
        "int main() { return 0; } // https://example.com/a?b=c&d=%20#frag $HOME ~/.config 50% \"quoted\" 'single'",
    ),
]


def golden_pairs() -> list[tuple[str, str, str]]:
    """Name, query and document of the fixed pairs, and of some whose document is cut from the right."""
    long_document = "The treaty was signed in the spring of that year, after long talks between the two cities. " * 60
    long_query = "what does the report say about the costs and the benefits of the new railway line " * 3
    longest_query = "why is the sky blue and the sea green and the grass greener than the leaves " * 12
    return [
        *GOLDEN_PAIRS,
        ("long-document", "when was the treaty signed", long_document),
        ("long-query", long_query.strip(), long_document),
        ("longest-query", longest_query.strip(), long_document),
        ("numbers", "numbers", " ".join(str(number * 7919) for number in range(400))),
    ]


def golden_case(encoder: nano.Encoder, pair: tuple[str, str, str], maximum: int, logit: float) -> dict:
    """One case of golden.json; the score is the sigmoid, as config.json's activation says."""
    name, query, document = pair
    ids, segments = encoder.pair(query, document, maximum)
    return {
        "name": name,
        "query": query,
        "document": document,
        "expected": {
            "document-only": {
                "ids": ids,
                "segmentIds": segments,
                "truncatedTokens": len(encoder.ids(document)) - (segments.count(1) - 1),
                "logit": logit,
                "score": 1 / (1 + float(np.exp(-logit))),
            }
        },
    }


def write_golden(folder: Path, cases: list[dict], reference: dict) -> None:
    """golden.json as crossrank reads it (packages/core/src/verify/goldens.ts), one case a line."""
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    text = f'{{"specificationVersion": "1",\n"reference": {json.dumps(reference)},\n"cases": [\n{lines}\n]}}\n'
    (folder / "golden.json").write_text(text, encoding="utf-8")
