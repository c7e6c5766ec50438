"""sentence-transformers' CrossEncoder as documented, in the protocol of host.mjs: JSON lines in, marked lines out."""

import json
import sys
import time
from importlib.metadata import version

import torch
from sentence_transformers import CrossEncoder

try:
    import resource
except ImportError:  # Windows
    resource = None


def answer(value: dict) -> None:
    print(f"@crossrank-bench {json.dumps(value)}", flush=True)


def peak_memory() -> int | None:
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def load(setup: dict) -> CrossEncoder:
    model = setup["model"]
    if setup["options"]["backend"] == "torch":
        arguments = {"dtype": torch.bfloat16} if setup["options"].get("dtype") == "bf16" else {}
        return CrossEncoder(model["folder"], device="cpu", local_files_only=True, model_kwargs=arguments)
    return CrossEncoder(
        model["folder"],
        device="cpu",
        local_files_only=True,
        backend="onnx",
        model_kwargs={"file_name": model["file"], "provider": "CPUExecutionProvider", "export": False},
    )


setup = json.loads(sys.stdin.readline())
encoder = load(setup)
runtime = "onnxruntime" if setup["options"]["backend"] == "onnx" else "torch"
answer({"version": f"sentence-transformers {version('sentence-transformers')}, {runtime} {version(runtime)}"})
pairs = [(setup["query"], document) for document in setup["documents"]]
for _ in sys.stdin:
    started = time.perf_counter()
    # Batches of 32, the default; the raw logit, so that it can be compared.
    scores = encoder.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    seconds = time.perf_counter() - started
    answer({"logits": [float(score) for score in scores], "seconds": seconds, "peakMemory": peak_memory()})
