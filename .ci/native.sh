# What the native parts need, for .ci/run and .ci/long, which source this file. Nothing native is skipped there: MNN's
# addon is built from source, MNN's converter is installed, and Core ML's addon is compiled and linked for Apple
# Silicon. CROSSRANK_CI_CACHE, by default a folder in the user's cache, keeps what was compiled for the next run.
cache=${CROSSRANK_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/crossrank-ci}
mkdir -p "$cache" || exit 1

# A step by its name, with hyphens for the function's underscores.
native_steps=(redis-server native-owner mnn-addon mnn-converter s3-server coreml-addon ctranslate2-addon mlx-addon)

apt_install() { # apt_install PACKAGE...: those that are not there
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# The crate that all addons are built with, which needs no other.
native_owner() {
  CARGO_TARGET_DIR="$cache/owner-target" cargo test --locked --offline --manifest-path native/owner/Cargo.toml
}

# Of the tests of workers, which start one of their own.
redis_server() {
  apt_install redis-server
}

mnn_addon() {
  apt_install g++ cmake libclang-dev &&
    CARGO_TARGET_DIR="$cache/mnn-target" node packages/backend-mnn/scripts/build-native.mjs
}

mnn_converter() {
  apt_install python3-venv &&
    { [ -x "$cache/python/bin/python" ] || python3 -m venv "$cache/python"; } &&
    "$cache/python/bin/python" -m pip install --quiet --disable-pip-version-check -r lab/mnn/requirements.txt
}

# Behind the converter's step, which makes the Python: a store of the tests of files in S3.
s3_server() {
  "$cache/python/bin/python" -m pip install --quiet --disable-pip-version-check -r lab/s3/requirements.txt
}

ctranslate2_addon() {
  apt_install g++ python3-pip &&
    CARGO_TARGET_DIR="$cache/ctranslate2-target" PYTHON=python3 node packages/backend-ctranslate2/scripts/build-native.mjs
}

# Behind the converter's step, which makes the Python: MLX itself is not compiled, its wheel is fetched with pip, and
# OpenBLAS's too.
mlx_addon() {
  apt_install g++ &&
    CARGO_TARGET_DIR="$cache/mlx-target" PYTHON="$cache/python/bin/python" node packages/backend-mlx/scripts/build-native.mjs
}

coreml_addon() {
  CARGO_TARGET_DIR="$cache/coreml-target" node packages/backend-coreml/scripts/check-native.mjs --install
}

build_native() { # each in a step; `step` is the caller's
  local name
  for name in "${native_steps[@]}"; do step "$name" "${name//-/_}"; done
  export CROSSRANK_REQUIRE_CTRANSLATE2=1 CROSSRANK_REQUIRE_MLX=1 CROSSRANK_REQUIRE_MNN=1 CROSSRANK_REQUIRE_MNN_CONVERTER=1 PYTHON="$cache/python/bin/python"
  export CROSSRANK_REQUIRE_REDIS=1 CROSSRANK_REQUIRE_S3=1
  # The test of Core ML's addon compiles it again, which takes seconds where it lies.
  export CROSSRANK_REQUIRE_COREML_CHECK=1 CARGO_TARGET_DIR="$cache/coreml-target"
}
