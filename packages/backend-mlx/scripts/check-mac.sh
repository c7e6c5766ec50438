#!/usr/bin/env bash
# Compiles the addon's C++ half for Apple Silicon on another machine, and links it to MLX's own library for macOS: what
# it names of MLX is there, with Metal's part. It runs nothing. Takes both from PyPI, some 150 MB, into FOLDER.
#
#   scripts/check-mac.sh FOLDER       PYTHON is a Python with pip
set -euo pipefail
folder=$1
native=$(cd "$(dirname "$0")/../native" && pwd)
python=${PYTHON:-python3}
mkdir -p "$folder"
"$python" -m pip download --quiet --no-deps --only-binary :all: --platform macosx_14_0_arm64 --require-hashes \
  --requirement "$native/requirements-metal.txt" --dest "$folder"
"$python" -m pip download --quiet --no-deps --only-binary :all: ziglang==0.17.1 --dest "$folder"
for wheel in "$folder"/*.whl; do "$python" -m zipfile --extract "$wheel" "$folder/wheels"; done
chmod +x "$folder/wheels/ziglang/zig"
"$folder/wheels/ziglang/zig" c++ -target aarch64-macos.14.0 -std=c++20 -O1 -shared \
  -DMLX_LIBRARIES='"mlx-darwin-arm64"' -I"$folder/wheels/mlx/include" -L"$folder/wheels/mlx/lib" -lmlx \
  "$native"/shim/*.cpp -o "$folder/libshim.dylib"
ls -l "$folder/libshim.dylib"
