#!/usr/bin/env bash
# Runs the shim and MNN under valgrind, on the library that scripts/build-native.mjs has built.
#   native/memcheck/run.sh FILE.mnn...
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../target}
library=$(find "$target/release/build" -path '*mnn-install/lib/libMNN.a' | head -1)
[ -n "$library" ] || { echo "build the addon first" >&2; exit 1; }
vendor=$(dirname "$(dirname "$(dirname "$library")")")/vendor
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
"${CXX:-g++}" -std=c++17 -g -O1 -Wno-unused-parameter -I"$vendor/include" -I"$vendor/schema/current" \
  -I"$vendor/3rd_party/flatbuffers/include" "$here/main.cpp" "$here/../shim/shim.cpp" "$here/../shim/check.cpp" \
  "$library" -lpthread -ldl -o "$work/memcheck"
valgrind --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite \
  "$work/memcheck" "$@"
