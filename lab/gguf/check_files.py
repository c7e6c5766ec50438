"""Holds files of `crossrank convert --to gguf` against what llama.cpp's own quantiser makes of their F32 file.

    python lab/gguf/check_files.py DIR...         # needs gguf==0.19.0, numpy; DIR has gguf/model-F32.gguf and others
    python lab/gguf/check_files.py --types        # mixtures.json of packages/convert/test/fixtures, anew

Every tensor must have the same type and the same bytes, but for those that are listed as ours: the head, which stays F32.
The quantiser is that of node-llama-cpp 3.22.1 (llama.cpp v0.5.0), on Linux on x86-64. With --types it quantises models
of many depths whose F32 files `mixtures.mjs` writes, and the types of their tensors are kept.
"""

import argparse
import collections
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

from quantiser import file_types, quantiser

root = pathlib.Path(__file__).resolve().parents[2]
target = root / "packages/convert/test/fixtures/gguf-mixtures.json"

mixed = ("Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S")


def tensors_of(path: pathlib.Path):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def check(folder: pathlib.Path, quantise) -> bool:
    source = folder / "gguf/model-F32.gguf"
    sound = True
    for path in sorted((folder / "gguf").glob("*.gguf")):
        dtype = path.stem.removeprefix("model-")
        if dtype not in mixed:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            made = pathlib.Path(temporary, "made.gguf")
            quantise(source, made, file_types[dtype])
            ours, theirs = tensors_of(path), tensors_of(made)
            types, kept, different = collections.Counter(), [], []
            for name, tensor in ours.items():
                other = theirs.pop(name)
                types[tensor.tensor_type.name] += 1
                if tensor.tensor_type != other.tensor_type and name.startswith("cls"):
                    kept.append(f"{name} (theirs {other.tensor_type.name})")
                elif tensor.tensor_type != other.tensor_type:
                    different.append(f"{name} {tensor.tensor_type.name}, theirs {other.tensor_type.name}")
                elif np.asarray(tensor.data).tobytes() != np.asarray(other.data).tobytes():
                    different.append(f"{name} {tensor.tensor_type.name}, other bytes")
            different += [f"{name} is missing" for name in theirs]
            print(f"{path}: {dict(types)}; ours alone: {', '.join(kept) or 'none'}; {different or 'all others equal'}")
            sound = sound and not different
    return sound


def types(quantise) -> None:
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(["node", str(root / "lab/gguf/mixtures.mjs"), temporary], check=True)
        for source in sorted(pathlib.Path(temporary).glob("*.gguf")):
            out = pathlib.Path(temporary, "out")
            for dtype in mixed:
                quantise(source, out, file_types[dtype])
                found.setdefault(source.stem, {})[dtype] = {
                    name: tensor.tensor_type.name
                    for name, tensor in tensors_of(out).items()
                    if len(tensor.shape) > 1 and tensor.tensor_type.name != "F32" and not name.startswith("cls")
                }
    # One line a model: the file is made to be compared, not read.
    lines = [f"  {json.dumps(name)}: {json.dumps(grouped(one))}" for name, one in found.items()]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def grouped(by_dtype):
    """Of each kind of tensor the type, or layer by layer: "Q6_K 3, Q4_K 21"."""
    result = {}
    for dtype, held in by_dtype.items():
        kinds = collections.defaultdict(list)
        for name, kind in sorted(held.items(), key=lambda one: layer_of(one[0])):
            kinds[name.removeprefix(f"blk.{layer_of(name)}.").removesuffix(".weight")].append(kind)
        result[dtype] = {
            name: ", ".join(f"{kind} {len(list(run))}" for kind, run in itertools.groupby(layers))
            for name, layers in kinds.items()
        }
    return result


def layer_of(name):
    return int(name.split(".")[1]) if name.startswith("blk.") else -1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    parser.add_argument("--types", action="store_true")
    arguments = parser.parse_args()
    quantise = quantiser()
    if arguments.types:
        types(quantise)
    if not all([check(folder, quantise) for folder in arguments.folders]):
        sys.exit(1)


if __name__ == "__main__":
    main()
