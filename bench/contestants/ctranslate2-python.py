"""CTranslate2's own Python package on an artifact of crossrank's, sorted by length in batches."""

import json
from pathlib import Path

import ctranslate2
import numpy
from protocol import serve, sorted_batches
from safetensors.numpy import load_file
from tokenizers import Tokenizer


def load(setup: dict):
    model, options, query = setup["model"], setup["options"], setup["query"]
    artifact = Path(model["folder"], model["file"]).parent
    tokenizer = Tokenizer.from_file(str(Path(model["folder"], "tokenizer.json")))
    tokenizer.no_padding()
    places = json.loads(Path(model["folder"], "config.json").read_text())["max_position_embeddings"]
    tokenizer.enable_truncation(max_length=places, strategy="only_second")
    encoder = ctranslate2.Encoder(str(artifact), inter_threads=1, intra_threads=options["threads"])
    classifier = load_file(artifact / "classifier.safetensors")
    documents = setup["documents"]

    def score() -> list[float]:
        logits = [0.0] * len(documents)
        for batch in sorted_batches(documents, options["rows"]):
            pairs = tokenizer.encode_batch([(query, documents[index]) for index in batch])
            output = encoder.forward_batch(
                [pair.ids for pair in pairs], token_type_ids=[pair.type_ids for pair in pairs]
            )
            vectors = numpy.array(output.pooler_output)
            scores = vectors @ classifier["classifier.weight"].T + classifier["classifier.bias"]
            for index, value in zip(batch, scores[:, 0]):
                logits[index] = float(value)
        return logits

    return f"ctranslate2 {ctranslate2.__version__} (Python)", score


serve(load)
