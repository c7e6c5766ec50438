"""sentence-transformers' CrossEncoder as documented; on one thread where the options say so."""

from importlib.metadata import version

import torch
from protocol import serve
from sentence_transformers import CrossEncoder


def open_encoder(model: dict, options: dict) -> CrossEncoder:
    if options["backend"] == "torch":
        arguments = {"dtype": torch.bfloat16} if options.get("dtype") == "bf16" else {}
        return CrossEncoder(model["folder"], device="cpu", local_files_only=True, model_kwargs=arguments)
    return CrossEncoder(
        model["folder"],
        device="cpu",
        local_files_only=True,
        backend="onnx",
        model_kwargs={"file_name": model["file"], "provider": "CPUExecutionProvider", "export": False},
    )


def load(setup: dict):
    options = setup["options"]
    if "threads" in options:
        torch.set_num_threads(options["threads"])
    encoder = open_encoder(setup["model"], options)
    pairs = [(setup["query"], document) for document in setup["documents"]]

    def score() -> list[float]:
        # Batches of 32, the default; the raw logit, so that it can be compared.
        scores = encoder.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return [float(score) for score in scores]

    runtime = "onnxruntime" if options["backend"] == "onnx" else "torch"
    said = f"sentence-transformers {version('sentence-transformers')}, {runtime} {version(runtime)}"
    return said, score


serve(load)
