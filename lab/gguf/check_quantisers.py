"""Holds our writers of GGUF's blocks against ggml's own quantisers, byte for byte.

    python lab/gguf/check_quantisers.py                       # needs numpy; build packages/formats first
    python lab/gguf/check_quantisers.py --blocks 20000        # more of each kind
    python lab/gguf/check_quantisers.py --weights DIR...      # the matrices of model.safetensors, too
    python lab/gguf/check_quantisers.py --library FILE.so     # another build of ggml-quants.c
    python lab/gguf/check_quantisers.py --goldens             # the digests of packages/formats/test/gguf-blocks.test.ts

The reference is `quantize_row_*_ref` of the libggml-base that node-llama-cpp 3.22.1 brings for Linux on x86-64 (llama.cpp
v0.5.0), called through ctypes. Numbers are the same here and in the test: a hash of their place, by kind.
"""

import argparse
import ctypes
import glob
import hashlib
import json
import pathlib
import struct
import subprocess
import tempfile

import numpy as np

root = pathlib.Path(__file__).resolve().parents[2]
target = root / "packages/formats/test/fixtures/gguf-blocks.json"

# numbers and bytes of a block, and ggml's name
types = {
    "Q8_0": (32, 34, "q8_0"),
    "Q6_K": (256, 210, "q6_K"),
    "Q5_K": (256, 176, "q5_K"),
    "Q5_1": (32, 24, "q5_1"),
    "Q5_0": (32, 22, "q5_0"),
    "Q4_K": (256, 144, "q4_K"),
    "Q4_0": (32, 18, "q4_0"),
}  # fmt: skip


def mix(place: np.ndarray, salt: int) -> np.ndarray:
    """32 bits of a place in a kind: the finaliser of MurmurHash3."""
    hashed = place.astype(np.uint32) + np.uint32((salt * 0x9E3779B1) & 0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashed = (hashed ^ (hashed >> np.uint32(shift))) * np.uint32(factor)
    return hashed ^ (hashed >> np.uint32(16))


def share(place: np.ndarray, salt: int) -> np.ndarray:
    """From -1 to 1, exactly."""
    return mix(place, salt).astype(np.int32).astype(np.float64) / 2**31


def choice(place: np.ndarray, salt: int, count: int) -> np.ndarray:
    """From 0 to `count` - 1."""
    return (mix(place, salt) % np.uint32(count)).astype(np.int64)


def bell(place: np.ndarray, salt: int) -> np.ndarray:
    return sum(share(place, salt + index) for index in range(4))


def power(exponent: np.ndarray) -> np.ndarray:
    return np.ldexp(1.0, exponent)


def of_bits(bits: np.ndarray) -> np.ndarray:
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


kinds = {
    "bell": lambda i: bell(i, 1) / 25,
    "heavy tails": lambda i: bell(i, 11) / 25 * power(choice(i, 15, 3) * choice(i, 16, 5)),
    "one outlier in 64": lambda i: bell(i, 21) * np.where(choice(i, 25, 64) == 0, 40, 0.02),
    "zeros": lambda i: i * 0.0,
    "zeros of both signs": lambda i: np.where(choice(i, 31, 2) == 0, 0.0, -0.0),
    "one number a block": lambda i: bell(i // 256, 41),
    "one number a run of 32": lambda i: bell(i // 32, 51),
    "positive": lambda i: np.abs(bell(i, 61)),
    "negative": lambda i: -np.abs(bell(i, 71)),
    "far below zero": lambda i: -1000 + bell(i, 81) * power(-choice(i // 32, 85, 30)),
    "far above zero": lambda i: 1000 + bell(i, 91) * power(-choice(i // 32, 95, 30)),
    "subnormal": lambda i: of_bits(mix(i, 101) & 0x807FFFFF),
    "small and subnormal": lambda i: of_bits((mix(i, 111) & 0x807FFFFF) + (choice(i // 32, 112, 16) << 23)),
    "about 1e-15": lambda i: bell(i, 121) * power(-50 + choice(i // 16, 125, 3)),
    "runs of many magnitudes": lambda i: bell(i, 131) * power(choice(i // 32, 135, 54) - 42),
    "every exponent to 2^15": lambda i: of_bits((mix(i, 141) & 0x807FFFFF) + (choice(i, 142, 142) << 23)),
    "whole numbers": lambda i: choice(i, 151, 17) - 8.0,
    "halves of a level": lambda i: (choice(i, 161, 63) - 31) / 2,
    "mostly zeros": lambda i: np.where(choice(i, 171, 16) == 0, bell(i, 172), 0.0),
    "large": lambda i: share(i, 181) * 65000,
    "rising": lambda i: (i % 256) / 256 - share(i // 256, 191) / 2,
}  # fmt: skip


def numbers_of(kind: str, blocks: int) -> np.ndarray:
    return kinds[kind](np.arange(256 * blocks)).astype(np.float32)


class Reference:
    def __init__(self, path: str | None) -> None:
        if path is None:
            (path,) = glob.glob(
                str(root / "node_modules/.pnpm/@node-llama-cpp+linux-x64@*/node_modules/**/libggml-base.so"),
                recursive=True,
            )
        self.library = ctypes.CDLL(path)

    def encode(self, dtype: str, numbers: np.ndarray) -> bytes:
        block, size, name = types[dtype]
        out = ctypes.create_string_buffer(numbers.size // block * size)
        function = getattr(self.library, f"quantize_row_{name}_ref")
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        function(numbers.ctypes.data, out, numbers.size)
        return out.raw


def ours(numbers: np.ndarray) -> tuple[dict[str, bytes], str]:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "numbers")
        path.write_bytes(numbers.tobytes())
        done = subprocess.run(
            ["node", str(root / "lab/gguf/quantise.mjs"), str(path), *types], check=True, capture_output=True, text=True
        )
        return {dtype: path.with_suffix(f".{dtype}").read_bytes() for dtype in types}, done.stdout


def matrices(folder: str):
    data = pathlib.Path(folder, "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    for name, facts in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__" or len(facts["shape"]) != 2 or facts["dtype"] not in ("F32", "F16"):
            continue
        first, last = facts["data_offsets"]
        kind = np.float32 if facts["dtype"] == "F32" else np.float16
        numbers = np.frombuffer(data[8 + length + first : 8 + length + last], kind).astype(np.float32)
        yield np.ascontiguousarray(numbers[: numbers.size // 256 * 256])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=2000, help="of 256 numbers, of each kind")
    parser.add_argument("--weights", nargs="*", default=[], metavar="DIR")
    parser.add_argument("--library", metavar="FILE.so")
    parser.add_argument("--goldens", action="store_true")
    arguments = parser.parse_args()
    reference = Reference(arguments.library)
    if arguments.goldens:
        digests = {}
        for kind in kinds:
            numbers = numbers_of(kind, 16)
            parts = {"numbers": numbers.tobytes(), **{dtype: reference.encode(dtype, numbers) for dtype in types}}
            digests[kind] = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in parts.items()}
        target.write_text(json.dumps(digests, indent=2) + "\n")
        return
    sets = {kind: numbers_of(kind, arguments.blocks) for kind in kinds}
    for folder in arguments.weights:
        sets[folder] = np.concatenate(list(matrices(folder)))
    total = {dtype: [0, 0] for dtype in types}
    for name, numbers in sets.items():
        found, speed = ours(numbers)
        counts = []
        for dtype, (block, size, _) in types.items():
            wanted = np.frombuffer(reference.encode(dtype, numbers), np.uint8).reshape(-1, size)
            written = np.frombuffer(found[dtype], np.uint8).reshape(-1, size)
            different = int((wanted != written).any(axis=1).sum())
            total[dtype][0] += different
            total[dtype][1] += len(wanted)
            if different:
                counts.append(f"{dtype} {different} of {len(wanted)}")
        print(f"{name}: {', '.join(counts) or 'equal'}")
    print(speed, {dtype: f"{different} of {count}" for dtype, (different, count) in total.items()})


if __name__ == "__main__":
    main()
