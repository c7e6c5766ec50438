"""llama.cpp's quantiser out of node-llama-cpp's libllama for Linux on x86-64, through ctypes."""

import ctypes
import glob
import os
import pathlib

root = pathlib.Path(__file__).resolve().parents[2]

# `enum llama_ftype`
file_types = {
    "F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_0": 8, "Q4_K_M": 15, "Q4_K_S": 14, "Q4_0": 2,
    "IQ4_NL": 25, "IQ4_XS": 30, "Q3_K_L": 13, "Q3_K_M": 12, "Q2_K": 10,
}  # fmt: skip


class Parameters(ctypes.Structure):
    _fields_ = [("threads", ctypes.c_int32), ("file_type", ctypes.c_int32), ("rest", ctypes.c_byte * 504)]


def quantiser():
    (folder,) = glob.glob(
        str(root / "node_modules/.pnpm/@node-llama-cpp+linux-x64@*/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64")
    )
    for name in ("libggml-base.so", "libggml.v0.5.0.so"):
        ctypes.CDLL(os.path.join(folder, name), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(os.path.join(folder, "libllama.v0.5.0.so"), mode=ctypes.RTLD_GLOBAL)
    library.llama_model_quantize_default_params.restype = Parameters
    library.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Parameters)]
    library.llama_model_quantize.restype = ctypes.c_uint32
    library.llama_backend_init()

    def quantise(source: pathlib.Path, out: pathlib.Path, file_type: int) -> None:
        parameters = library.llama_model_quantize_default_params()
        parameters.threads = 1
        parameters.file_type = file_type
        if library.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(parameters)) != 0:
            raise SystemExit(f"the quantiser refuses {file_type}")

    return quantise
