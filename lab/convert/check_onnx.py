"""Checks ONNX files that crossrank's converter wrote, with ONNX's own tools.

    check_onnx.py PATH...        files, or folders that are searched for *.onnx

For each file:
- `onnx.checker.check_model(path, full_check=True)`: the protobuf, every node against its operator's schema, names made
  once and used after, and, with full_check, shape and type inference in strict mode.
- the checker knows ONNX's own domain only. It takes nodes of another domain (com.microsoft) as they are, as long as the
  domain is imported, and infers nothing behind them. So such a file is also opened by onnxruntime, which does know them
  and refuses a wrong attribute, input or type.
- a file without foreign domains has to have inferred shapes for all of its outputs that agree with the declared ones.

Prints one line a file. Exit status 1 if one fails.
"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path

import onnx
import onnxruntime


def files_of(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.onnx")) if path.is_dir() else [path]
    return found


def dimensions(value: onnx.ValueInfoProto) -> list[int | str | None]:
    shape = value.type.tensor_type.shape
    return [dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else None) for dim in shape.dim]


def check(path: Path) -> str:
    """What is in the file. Raises where it is wrong."""
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path), load_external_data=False)
    kinds = collections.Counter(node.op_type for node in model.graph.node)
    foreign = sorted({node.domain for node in model.graph.node} - {""})
    for unwanted in ("Where", "IsNaN"):
        if kinds[unwanted]:
            raise ValueError(f"{kinds[unwanted]} nodes {unwanted}")
    if not foreign:
        # Rank and, where both are numbers, size; names of free dimensions are the inference's own.
        bare = onnx.ModelProto()
        bare.CopyFrom(model)
        declared = {value.name: dimensions(value) for value in model.graph.output}
        for value in bare.graph.output:
            value.type.tensor_type.ClearField("shape")
        inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
        for value in inferred.graph.output:
            shape = dimensions(value)
            same = len(shape) == len(declared[value.name]) and all(
                a == b for a, b in zip(shape, declared[value.name], strict=True) if isinstance(a, int)
            )
            if not same:
                raise ValueError(f"output {value.name} is declared {declared[value.name]} and inferred {shape}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs = ", ".join(f"{output.name}{output.shape}" for output in session.get_outputs())
    domains = ", ".join(foreign) or "ONNX's own operators alone"
    return f"{sum(kinds.values())} nodes of {len(kinds)} kinds ({domains}) -> {outputs}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+")
    files = files_of(parser.parse_args().paths)
    failed = 0
    for file in files:
        try:
            print(f"good  {file}: {check(file)}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the other files are checked too
            failed += 1
            print(f"BAD   {file}: {type(error).__name__}: {error}")
    print(f"{len(files) - failed} of {len(files)} files are good")
    sys.exit(1 if failed or not files else 0)


if __name__ == "__main__":
    main()
