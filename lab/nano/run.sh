#!/bin/sh
# Starts or resumes the distillation of one student: lab/nano/run.sh five. README.md says what it does.
# Everything is kept in $CROSSRANK_LAB/nano (default ~/.cache/crossrank-lab/nano), outside the repository.
set -eu
run=${1:?usage: lab/nano/run.sh RUN [options of distil.py]}
shift
here=$(cd "$(dirname "$0")" && pwd)
lab=${CROSSRANK_LAB:-$HOME/.cache/crossrank-lab}
state=$lab/nano
mkdir -p "$state"
# The lock goes with the process, however it ends.
exec 9>"$state/lock"
if ! flock -n 9; then
  echo "run.sh: a run is going on in $state already; its output is in $state/*.log" >&2
  exit 1
fi
if [ ! -x "$lab/venv/bin/python" ]; then
  python3 -m venv "$lab/venv"
fi
if ! "$lab/venv/bin/python" -c "import torch, onnx, onnxruntime, tokenizers, numpy, safetensors, bm25s" 2>/dev/null; then
  "$lab/venv/bin/pip" install --quiet torch onnx onnxruntime tokenizers numpy safetensors bm25s
fi
export OMP_NUM_THREADS=1
if [ ! -f "$state/facts.json" ]; then
  nice -n 19 "$lab/venv/bin/python" "$here/candidates.py" --data "${CROSSRANK_DATA:-$here/../../../shared/data}" --state "$state"
fi
exec nice -n 19 "$lab/venv/bin/python" "$here/distil.py" --state "$state" --run "$run" "$@" >>"$state/$run.log" 2>&1
