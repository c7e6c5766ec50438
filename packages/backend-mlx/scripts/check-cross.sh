#!/usr/bin/env bash
# Compiles the addon's C++ half for another platform on Linux, and links it to MLX's own library for that platform where
# that can be: what it names of MLX is there. It runs nothing. Takes both from PyPI into FOLDER.
#
#   scripts/check-cross.sh PLATFORM FOLDER       PYTHON is a Python with pip
#
# PLATFORM is darwin-arm64 (150 MB), linux-arm64-gnu or win32-x64-msvc. For Windows it only compiles: the wheel's library
# is Microsoft's compiler's, and its names are spelled otherwise. There the names without their types are looked up.
set -euo pipefail
platform=$1
folder=$2
native=$(cd "$(dirname "$0")/../native" && pwd)
python=${PYTHON:-python3}
case $platform in
  darwin-arm64) requirements=metal tag=macosx_14_0_arm64 target=aarch64-macos.14.0 ;;
  linux-arm64-gnu) requirements=cpu tag=manylinux_2_35_aarch64 target=aarch64-linux-gnu.2.35 ;;
  win32-x64-msvc) requirements=cpu tag=win_amd64 target=x86_64-windows-gnu ;;
  *) echo "there is no platform $platform" >&2; exit 2 ;;
esac
mkdir -p "$folder"
"$python" -m pip download --quiet --no-deps --only-binary :all: --platform "$tag" --require-hashes \
  --requirement "$native/requirements-$requirements.txt" --dest "$folder"
"$python" -m pip download --quiet --no-deps --only-binary :all: ziglang==0.17.1 --dest "$folder"
for wheel in "$folder"/*.whl; do "$python" -m zipfile --extract "$wheel" "$folder/wheels"; done
zig=$folder/wheels/ziglang/zig
chmod +x "$zig"
compile=("$zig" c++ -target "$target" -std=c++20 -O1 "-DMLX_LIBRARIES=\"mlx-$platform\"" "-I$folder/wheels/mlx/include")
if [ "$platform" != win32-x64-msvc ]; then
  lookup=()
  [ "$platform" = darwin-arm64 ] || lookup=(-Wl,--allow-shlib-undefined)
  "${compile[@]}" -shared -fPIC "-L$folder/wheels/mlx/lib" -lmlx "${lookup[@]}" "$native"/shim/*.cpp \
    -o "$folder/libshim"
  ls -l "$folder/libshim"
  exit
fi
for source in "$native"/shim/*.cpp; do
  "${compile[@]}" -c "$source" -o "$folder/$(basename "$source").o"
done
# Undefined names of MLX's, each without namespaces and types, in the import library, as Microsoft spells them.
"$python" - "$folder" <<'EOF'
import pathlib, re, sys
folder = pathlib.Path(sys.argv[1])
objects = b"".join(path.read_bytes() for path in folder.glob("*.o"))
library = (folder / "wheels/mlx/lib/mlx.lib").read_bytes()
wanted = set()
for name in re.findall(rb"__imp__ZNK?3mlx4core([A-Za-z0-9_]+)", objects):
    parts, at = [], 0
    while (length := re.match(rb"\d+", name[at:])) is not None:
        at += length.end()
        parts.append(name[at : at + int(length.group())])
        at += int(length.group())
    wanted.add(parts[-1])
missing = sorted(name.decode() for name in wanted if name + b"@" not in library)
print(f"{len(wanted)} names of MLX's, {len(missing)} of them not in mlx.lib: {', '.join(missing)}")
sys.exit(1 if missing or not wanted else 0)
EOF
