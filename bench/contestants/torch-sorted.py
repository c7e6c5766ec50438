"""torch by hand: transformers' classifier in inference mode, documents sorted by length in small batches."""

from importlib.metadata import version

import torch
from protocol import serve, sorted_batches
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def load(setup: dict):
    options, folder, query = setup["options"], setup["model"]["folder"], setup["query"]
    torch.set_num_threads(options["threads"])
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[options["dtype"]]
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, dtype=kind)
    model.eval()
    documents = setup["documents"]

    def score() -> list[float]:
        logits = [0.0] * len(documents)
        for batch in sorted_batches(documents, options["rows"]):
            inputs = tokenizer(
                [query] * len(batch),
                [documents[index] for index in batch],
                padding=True,
                truncation=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                outputs = model(**inputs).logits[:, 0].float()
            for index, value in zip(batch, outputs.tolist()):
                logits[index] = value
        return logits

    return f"torch {version('torch')}, transformers {version('transformers')}", score


serve(load)
