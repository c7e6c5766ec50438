"""The protocol of host.mjs for contestants in Python: JSON lines in, marked lines out."""

import json
import sys
import time
from collections.abc import Callable

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


def serve(load: Callable[[dict], tuple[str, Callable[[], list[float]]]]) -> None:
    """``load`` takes the setup and gives what ran and how to score; what it raises is told to the bench."""
    setup = json.loads(sys.stdin.readline())
    try:
        version, score = load(setup)
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        return
    answer({"version": version})
    for _ in sys.stdin:
        started, before = time.perf_counter(), time.process_time()
        logits = score()
        seconds, processor = time.perf_counter() - started, time.process_time() - before
        answer(
            {"logits": logits, "seconds": seconds, "processorSeconds": processor, "peakMemory": peak_memory()}
        )


def sorted_batches(texts: list[str], rows: int) -> list[list[int]]:
    """Indices of texts by length, so that little of a batch is padding."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    return [order[start : start + rows] for start in range(0, len(order), rows)]
