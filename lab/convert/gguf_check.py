"""Reads GGUF files with ggml's own Python package, and holds what crossrank wrote against its quantisers.

    python lab/convert/gguf_check.py FILE.gguf...            # needs gguf==0.19.0 and numpy
    python lab/convert/gguf_check.py --source F32.gguf FILE.gguf...
    python lab/convert/gguf_check.py --goldens               # the byte goldens of the test, anew

Each file is opened by `gguf.GGUFReader`, which checks the header, and every tensor is decoded. With --source, the F32
file of the same model, every tensor of the others must be, byte for byte, what `gguf.quants.quantize` makes of it.
"""

import argparse
import json
import sys
from pathlib import Path

import gguf
import numpy as np

GOLDENS = (
    Path(__file__).resolve().parents[2] / "packages" / "formats" / "test" / "fixtures" / "gguf-quantised.json"
)


def describe(path: str) -> None:
    reader = gguf.GGUFReader(path)
    types: dict[str, int] = {}
    for tensor in reader.tensors:
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.isfinite(numbers).all(), tensor.name
        types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + 1
    architecture = reader.get_field("general.architecture").contents()
    known = set(gguf.TENSOR_NAMES[key] for key in gguf.MODEL_TENSORS[architecture_of(architecture)])
    foreign = [t.name for t in reader.tensors if not is_known(t.name, known)]
    print(f"{path}: {architecture}, {len(reader.tensors)} tensors {types}, {len(reader.fields)} fields")
    if foreign:
        print(f"  not in gguf-py's list of this architecture: {', '.join(foreign)}")


def architecture_of(name: str) -> gguf.MODEL_ARCH:
    return next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == name)


def is_known(name: str, known: set[str]) -> bool:
    stem = name.rsplit(".", 1)[0]
    parts = stem.split(".")
    if parts[0] == "blk":
        parts[1] = "{bid}"
    return ".".join(parts) in known


def compare(source: str, path: str) -> bool:
    exact = {t.name: t for t in gguf.GGUFReader(source).tensors}
    tensors = gguf.GGUFReader(path).tensors
    different = []
    for tensor in tensors:
        numbers = np.asarray(exact[tensor.name].data, dtype=np.float32)
        wanted = gguf.quants.quantize(numbers, tensor.tensor_type)
        if np.asarray(wanted).tobytes() != np.asarray(tensor.data).tobytes():
            different.append(tensor.name)
    missing = sorted(set(exact) - {t.name for t in tensors})
    print(f"  {len(tensors)} tensors against {source}: {len(different)} differ, {len(missing)} missing")
    for name in different + missing:
        print(f"    {name}")
    return not different and not missing


def write_goldens() -> None:
    """Blocks with ordinary numbers, ties, extremes of either sign, zeros, and scales that are subnormal halves."""
    generator = np.random.default_rng(7)
    rows = [generator.normal(0, scale, 64) for scale in (1, 0.02, 300, 1e-5)]
    rows += [
        np.arange(-32, 32) / 2,
        np.where(np.arange(64) % 2, 127.0, 0.5) * np.where(np.arange(64) % 3, 1, -1),
        np.concatenate([np.zeros(32), [-8.0, 8.0], np.linspace(-8, 8, 30)]),
        np.concatenate([[1e-7], np.zeros(31), generator.normal(0, 1e-9, 32)]),
    ]
    numbers = np.asarray(rows, dtype=np.float32)
    kinds = ["F16", "Q8_0", "Q4_0"]
    bytes_of = {
        kind: gguf.quants.quantize(numbers, gguf.GGMLQuantizationType[kind]).tobytes().hex() for kind in kinds
    }
    GOLDENS.parent.mkdir(parents=True, exist_ok=True)
    made = {"made by": f"gguf {gguf_version()} quants.quantize", "F32": numbers.tobytes().hex()}
    GOLDENS.write_text(json.dumps(made | bytes_of, indent=2) + "\n")


def gguf_version() -> str:
    from importlib.metadata import version

    return version("gguf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--source")
    parser.add_argument("--goldens", action="store_true")
    arguments = parser.parse_args()
    if arguments.goldens:
        write_goldens()
    sound = True
    for path in arguments.files:
        describe(path)
        if arguments.source is not None:
            sound &= compare(arguments.source, path)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
