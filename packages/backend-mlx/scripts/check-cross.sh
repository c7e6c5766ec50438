#!/usr/bin/env bash
# Compiles the addon's C++ half for another platform on Linux, with zig, and looks whether what it names of MLX is in
# MLX's own library for that platform. It runs nothing. Takes both from PyPI into FOLDER.
#
#   scripts/check-cross.sh PLATFORM FOLDER       PYTHON is a Python with pip
#
# PLATFORM is darwin-arm64 (150 MB), linux-arm64-gnu or win32-x64-msvc. For a Mac it links, and the linker looks. The
# wheels for the others are built with other standard libraries than zig's, so that names with types of those are spelled
# otherwise: there the names are looked up without their types.
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
if [ "$platform" = darwin-arm64 ]; then
  "${compile[@]}" -shared -fPIC "-L$folder/wheels/mlx/lib" -lmlx "$native"/shim/*.cpp -o "$folder/libshim"
  ls -l "$folder/libshim"
  exit
fi
for source in "$native"/shim/*.cpp; do
  "${compile[@]}" -c "$source" -o "$folder/$(basename "$source").o"
done
if [ "$platform" = win32-x64-msvc ]; then
  library=$folder/wheels/mlx/lib/mlx.lib
  grep -aoh '__imp__ZN[A-Za-z0-9_]*' "$folder"/*.o > "$folder/names"
else
  library=$folder/wheels/mlx/lib/libmlx.so
  readelf --syms --wide "$folder"/*.o | awk '$7 == "UND" { print $8 }' > "$folder/names"
fi
"$python" - "$folder/names" "$library" <<'EOF'
import pathlib, re, sys
names, library = (pathlib.Path(path).read_bytes() for path in sys.argv[1:])
wanted = set()
for name in re.findall(rb"_ZNK?3mlx4core([A-Za-z0-9_]+)", names):
    parts, at = [], 0
    while (length := re.match(rb"\d+", name[at:])) is not None:
        at += length.end()
        parts.append(name[at : at + int(length.group())])
        at += int(length.group())
    wanted.update(parts[-1:])
missing = sorted(name.decode() for name in wanted if name not in library)
print(f"{len(wanted)} names of MLX's, {len(missing)} of them not in its library: {', '.join(missing)}")
sys.exit(1 if missing or not wanted else 0)
EOF
