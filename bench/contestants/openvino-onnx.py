"""OpenVINO on the plain ONNX file, documents one by one without padding."""

from pathlib import Path

import numpy
import openvino
from protocol import serve
from tokenizers import Tokenizer


def load(setup: dict):
    model, options = setup["model"], setup["options"]
    folder = Path(model["folder"])
    core = openvino.Core()
    precision = {"fp32": "f32", "bf16": "bf16"}[options["dtype"]]
    compiled = core.compile_model(
        folder / model["file"],
        "CPU",
        {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": options["threads"], "NUM_STREAMS": 1},
    )
    # It computes in another precision than was asked for, without a word, where the processor has no such instructions.
    optimised = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bf16" and "BF16" not in optimised:
        raise RuntimeError(f"this processor has no bf16 for OpenVINO, only {', '.join(optimised)}")
    request = compiled.create_infer_request()
    names = [port.get_any_name() for port in compiled.inputs]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=options["positions"], strategy="only_second")

    def score() -> list[float]:
        logits = []
        for document in setup["documents"]:
            pair = tokenizer.encode(setup["query"], document)
            values = {
                "input_ids": pair.ids,
                "attention_mask": pair.attention_mask,
                "token_type_ids": pair.type_ids,
            }
            feeds = {name: numpy.array([values[name]], dtype=numpy.int64) for name in names}
            logits.append(float(request.infer(feeds)[0].reshape(-1)[0]))
        return logits

    return f"OpenVINO {openvino.__version__.split('-')[0]}", score


serve(load)
