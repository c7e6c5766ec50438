"""Checks Core ML packages that crossrank's converter wrote, with coremltools and with torch.

    check_mlpackage.py PATH... [--source FOLDER] [--half]

PATH is a .mlpackage, or a folder that is searched for them. FOLDER holds the model.safetensors, and for the scores the
golden.json, that the packages were made from; by default the folder of the model that the package lies in.

For each package:
- coremltools loads it; the ML Program is parsed into coremltools' own program, which runs the definition of every
  operation (allowed inputs, types, shapes). The type that the file declares for each output has to be the one inferred.
- the histogram of operations is the same in coremltools' program and in `describeModelPackage` of @crossrank/formats
  (its build has to be there; without it this part is left out, and says so).
- every weight is bit-equal to a tensor of the source, after rounding to half precision where it is stored so. Tensors
  of the source that no weight holds are named.
- the program is computed with torch, operation by operation, in float32 (with --half, every intermediate value is
  rounded to half precision where the program says so), on the sequences of golden.json: short ones filled up to the
  package's lengths, several to a batch, rows that are not used empty. The largest difference has to be within 1e-4 for
  float32, 2e-2 for weights of half precision, 4e-2 with --half (the fixtures' logits reach 9, where a half's last place
  is 8e-3). A row of padding alone has to be finite.

Core ML itself runs on a Mac only, and is not asked. Needs coremltools 9.0, torch, numpy, safetensors.
Prints one line a package. Exit status 1 if one fails.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
from pathlib import Path

import coremltools
import numpy
import torch
from coremltools.converters.mil.frontend.milproto.load import load as load_program
from coremltools.converters.mil.mil import types
from safetensors.torch import load_file

REPOSITORY = Path(__file__).resolve().parents[2]
TORCH_TYPES = {"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32}
BOUNDS = {"single": 1e-4, "half weights": 2e-2, "half": 4e-2}


def packages_of(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += [path] if path.suffix == ".mlpackage" else sorted(path.rglob("*.mlpackage"))
    return found


def declared_types(function) -> dict[str, tuple[int, tuple[int | None, ...]]]:
    """Element type and dimensions by output, as the file says them; None: not fixed."""
    found = {}
    for operation in function.block_specializations[function.opset].operations:
        for output in operation.outputs:
            tensor = output.type.tensorType
            sizes = tuple(
                d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions
            )
            found[output.name] = (tensor.dataType, sizes)
    return found


def check_types(main, function) -> None:
    declared = declared_types(function)
    codes = {"fp16": 10, "fp32": 11, "int32": 23, "bool": 1, "string": 2}
    for operation in main.operations:
        for output in operation.outputs:
            code, sizes = declared[output.name]
            if operation.op_type == "const":
                continue
            element = types.builtin_to_string(output.dtype)
            shape = tuple(size if isinstance(size, (int, numpy.integer)) else None for size in output.shape)
            if codes[element] != code or shape != sizes:
                raise ValueError(f"{output.name} is declared {code} {sizes} and inferred {element} {shape}")


def described(path: Path) -> dict[str, int] | None:
    module = REPOSITORY / "packages/formats/dist/mlpackage/index.js"
    if not module.exists():
        return None
    script = (
        f"import {{ openModelPackage, describeModelPackage }} from {json.dumps(module.as_uri())};"
        f"const report = await describeModelPackage(await openModelPackage({json.dumps(str(path.resolve()))}));"
        "console.log(JSON.stringify(report.operations));"
    )
    result = subprocess.run(["node", "--input-type=module", "--eval", script], capture_output=True, text=True)
    if result.returncode != 0:
        raise ValueError(f"describeModelPackage: {result.stderr.strip()}")
    return json.loads(result.stdout)


def weights_of(main, function) -> dict[str, numpy.ndarray]:
    """The constants that lie in the blob file."""
    in_blob = {
        operation.outputs[0].name
        for operation in function.block_specializations[function.opset].operations
        if operation.type == "const" and operation.attributes["val"].WhichOneof("value") == "blobFileValue"
    }
    return {
        operation.outputs[0].name: numpy.asarray(operation.outputs[0].val)
        for operation in main.operations
        if operation.op_type == "const" and operation.outputs[0].name in in_blob
    }


def check_weights(weights: dict[str, numpy.ndarray], source: Path) -> str:
    tensors = {name: tensor.float() for name, tensor in load_file(source).items() if tensor.is_floating_point()}
    unused = set(tensors)
    by_size = collections.defaultdict(list)
    for name, tensor in tensors.items():
        by_size[tensor.numel()].append(name)
    for name, weight in weights.items():
        bits = numpy.ascontiguousarray(weight).tobytes()
        kind = torch.float16 if weight.dtype == numpy.float16 else torch.float32
        equal = [one for one in by_size[weight.size] if tensors[one].to(kind).numpy().tobytes() == bits]
        if not equal:
            raise ValueError(f"weight {name} {weight.shape} is no tensor of the source")
        unused -= set(equal)
    return f"{len(weights)} weights bit-equal, not used: {', '.join(sorted(unused)) or 'none'}"


class Machine:
    """Computes a program of coremltools with torch: each operation by its definition, and no other ones."""

    def __init__(self, main, half: bool) -> None:
        self.main = main
        self.half = half

    def run(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        values = dict(inputs)
        for operation in self.main.operations:
            if operation.op_type == "const":
                continue
            arguments = {
                name: [self.value(one, values) for one in bound]
                if isinstance(bound, (list, tuple))
                else self.value(bound, values)
                for name, bound in operation.inputs.items()
                if bound is not None
            }
            results = getattr(self, operation.op_type)(**arguments)
            results = results if isinstance(results, tuple) else (results,)
            for output, result in zip(operation.outputs, results, strict=True):
                values[output.name] = self.rounded(result, types.builtin_to_string(output.dtype))
        return values[self.main.outputs[0].name]

    def value(self, variable, values: dict[str, torch.Tensor]):
        if variable.name in values:
            return values[variable.name]
        constant = variable.val
        if isinstance(constant, (str, bool)):
            return constant
        tensor = torch.from_numpy(numpy.array(constant))
        return tensor.float() if tensor.is_floating_point() else tensor.int()

    def rounded(self, tensor: torch.Tensor, element: str) -> torch.Tensor:
        if element == "fp16":
            return tensor.half().float() if self.half else tensor
        return tensor.to(TORCH_TYPES[element])

    def cast(self, x, dtype):
        return x.to(torch.int32) if dtype == "int32" else x.float()

    def squeeze(self, x, axes):
        return x.reshape([size for axis, size in enumerate(x.shape) if axis not in axes.tolist()])

    def expand_dims(self, x, axes):
        return x.unsqueeze(int(axes))

    def shape(self, x):
        return torch.tensor(x.shape, dtype=torch.int32)

    def range_1d(self, start, end, step):
        return torch.arange(int(start), int(end), int(step), dtype=torch.int32)

    def gather(self, x, indices, axis, batch_dims, validate_indices=False):
        assert int(axis) == 0 and int(batch_dims) == 0
        return x[indices.long()]

    def add(self, x, y):
        return x + y

    def sub(self, x, y):
        return x - y

    def mul(self, x, y):
        return x * y

    def real_div(self, x, y):
        return x / y

    def maximum(self, x, y):
        return torch.maximum(x, y)

    def reduce_sum(self, x, axes, keep_dims):
        return x.sum(dim=axes.tolist(), keepdim=bool(keep_dims))

    def transpose(self, x, perm):
        return x.permute(perm.tolist())

    def layer_norm(self, x, axes, gamma, beta, epsilon):
        assert axes.tolist() == [1]
        mean = x.mean(dim=1, keepdim=True)
        variance = ((x - mean) ** 2).mean(dim=1, keepdim=True)
        shape = (1, -1, 1, 1)
        return (x - mean) / torch.sqrt(variance + epsilon) * gamma.view(shape) + beta.view(shape)

    def conv(self, x, weight, bias, strides, pad_type, pad, dilations, groups):
        assert pad_type == "valid" and strides.tolist() == [1, 1] and dilations.tolist() == [1, 1] and int(groups) == 1
        return torch.nn.functional.conv2d(x, weight, bias.reshape(-1))

    def split(self, x, split_sizes, axis):
        return tuple(torch.split(x, split_sizes.tolist(), dim=int(axis)))

    def einsum(self, values, equation):
        return torch.einsum(equation, *values)

    def softmax(self, x, axis):
        return torch.softmax(x, dim=int(axis))

    def concat(self, values, axis, interleave):
        assert not interleave
        return torch.cat(values, dim=int(axis))

    def gelu(self, x, mode):
        return torch.nn.functional.gelu(x, approximate={"EXACT": "none", "TANH_APPROXIMATION": "tanh"}[mode])

    def relu(self, x):
        return torch.relu(x)

    def silu(self, x):
        return torch.nn.functional.silu(x)

    def tanh(self, x):
        return torch.tanh(x)

    def slice_by_index(self, x, begin, end):
        return x[tuple(slice(int(a), int(b)) for a, b in zip(begin, end, strict=True))]


def lengths_of(spec) -> list[int]:
    array = spec.description.input[0].type.multiArrayType
    shapes = [one.shape for one in array.enumeratedShapes.shapes] or [array.shape]
    return sorted(shape[-1] for shape in shapes)


def compute(machine: Machine, spec, sequences: list[dict]) -> list[torch.Tensor]:
    """A vector a sequence: several to a batch, in the shortest length that holds the longest of them."""
    names = [one.name for one in spec.description.input]
    batch = spec.description.input[0].type.multiArrayType.shape[0]
    lengths = lengths_of(spec)
    vectors: list[torch.Tensor] = []
    # One row stays free: it must be finite, and must not touch its neighbours.
    step = max(1, batch - 1)
    for start in range(0, len(sequences), step):
        rows = sequences[start : start + step]
        longest = max(len(row["ids"]) for row in rows)
        length = next(one for one in lengths if one >= longest)
        feed = {name: torch.zeros((batch, 1, 1, length), dtype=torch.int32) for name in names}
        for index, row in enumerate(rows):
            size = len(row["ids"])
            feed["input_ids"][index, 0, 0, :size] = torch.tensor(row["ids"])
            feed["attention_mask"][index, 0, 0, :size] = 1
            if "token_type_ids" in feed and "segmentIds" in row:
                feed["token_type_ids"][index, 0, 0, :size] = torch.tensor(row["segmentIds"])
        output = machine.run(feed)
        if not bool(torch.isfinite(output).all()):
            raise ValueError("an output is not finite")
        vectors += list(output[: len(rows)].double())
    return vectors


def check_scores(machine: Machine, spec, golden: dict) -> tuple[float, int]:
    """The largest difference, and of how many numbers."""
    longest = lengths_of(spec)[-1]
    wanted = [
        expected
        for case in golden["cases"]
        for expected in case["expected"].values()
        if expected.get("logit") is not None
        and max(len(expected["ids"]), len(expected.get("queryIds", []))) <= longest
    ]
    pooled = spec.description.output[0].name == "pooled_output"
    sequences = [{"ids": one["queryIds"]} for one in wanted] if pooled else []
    sequences += [{"ids": one["ids"], "segmentIds": one.get("segmentIds", [0] * len(one["ids"]))} for one in wanted]
    vectors = compute(machine, spec, sequences)
    worst = 0.0
    for index, one in enumerate(wanted):
        if pooled:
            actual = torch.cosine_similarity(vectors[index], vectors[len(wanted) + index], dim=0).item()
        else:
            vector = vectors[index]
            actual = (vector[0] if vector.numel() == 1 else vector[1] - vector[0]).item()
        worst = max(worst, abs(actual - one["logit"]))
    return worst, len(wanted)


def check(path: Path, source: Path, half: bool) -> str:
    """What is in the package. Raises where it is wrong."""
    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    program = load_program(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir)
    main, function = program.functions["main"], spec.mlProgram.functions["main"]
    check_types(main, function)
    counts = collections.Counter(operation.op_type for operation in main.operations)
    ours = described(path)
    if ours is not None and ours != dict(counts):
        raise ValueError(f"describeModelPackage counts {ours}, coremltools {dict(counts)}")
    parts = [
        f"{sum(counts.values()) - counts['const']} operations of {len(counts) - 1} kinds"
        + (" (not held against @crossrank/formats, which is not built)" if ours is None else "")
    ]
    weights = weights_of(main, function)
    parts.append(check_weights(weights, source / "model.safetensors"))
    golden = source / "golden.json"
    if golden.exists():
        worst, count = check_scores(Machine(main, half), spec, json.loads(golden.read_text()))
        rounded = any(weight.dtype == numpy.float16 for weight in weights.values())
        bound = BOUNDS["single" if not rounded else "half" if half else "half weights"]
        if not worst <= bound:
            raise ValueError(f"a number is {worst:.2e} off, more than {bound}")
        parts.append(f"{count} numbers, largest difference {worst:.1e}")
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--half", action="store_true")
    arguments = parser.parse_args()
    packages = packages_of(arguments.paths)
    failed = 0
    for path in packages:
        try:
            source = arguments.source or path.resolve().parents[1]
            print(f"good  {path}: {check(path, source, arguments.half)}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the other packages are checked too
            failed += 1
            print(f"BAD   {path}: {type(error).__name__}: {error}")
    print(f"{len(packages) - failed} of {len(packages)} packages are good")
    sys.exit(1 if failed or not packages else 0)


if __name__ == "__main__":
    main()
