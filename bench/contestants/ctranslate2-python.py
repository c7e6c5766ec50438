"""CTranslate2's own Python package on an artifact of crossrank's, in the protocol of host.mjs."""

import json
import os
import resource
import sys
import time
from pathlib import Path

import ctranslate2
import numpy
from safetensors.numpy import load_file
from tokenizers import Tokenizer


def answer(value: dict) -> None:
    print(f"@crossrank-bench {json.dumps(value)}", flush=True)


setup = json.loads(sys.stdin.readline())
model = setup["model"]
artifact = Path(model["folder"], model["file"]).parent
tokenizer = Tokenizer.from_file(str(Path(model["folder"], "tokenizer.json")))
tokenizer.no_padding()
places = json.loads(Path(model["folder"], "config.json").read_text())["max_position_embeddings"]
tokenizer.enable_truncation(max_length=places, strategy="only_second")
encoder = ctranslate2.Encoder(str(artifact), inter_threads=1, intra_threads=len(os.sched_getaffinity(0)))
classifier = load_file(artifact / "classifier.safetensors")
answer({"version": f"ctranslate2 {ctranslate2.__version__} (Python)"})

for _ in sys.stdin:
    started, before = time.perf_counter(), time.process_time()
    pairs = tokenizer.encode_batch([(setup["query"], document) for document in setup["documents"]])
    logits = [0.0] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda index: len(pairs[index].ids))
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        output = encoder.forward_batch(
            [pairs[index].ids for index in batch], token_type_ids=[pairs[index].type_ids for index in batch]
        )
        vectors = numpy.array(output.pooler_output)
        scores = vectors @ classifier["classifier.weight"].T + classifier["classifier.bias"]
        for index, score in zip(batch, scores[:, 0]):
            logits[index] = float(score)
    seconds, processor = time.perf_counter() - started, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer({"logits": logits, "seconds": seconds, "processorSeconds": processor, "peakMemory": peak})
