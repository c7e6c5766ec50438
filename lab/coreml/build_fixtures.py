"""Packages and models that coremltools writes, as fixtures of packages/formats, and what coremltools reads in them.

    build_fixtures.py packages/formats/test/fixtures

Writes enumerated, fixed, range, types and functions (.mlpackage), network and pipeline (.mlmodel), and expected.json:
for each the facts that coremltools' own protobuf classes and blob reader give. Identifiers in a Manifest.json are
random and the metadata holds the date, so that a second run gives other bytes and the same facts.
Needs coremltools, torch and numpy (requirements.txt of this folder).
"""

import json
import pathlib
import shutil
import sys
import tempfile

import coremltools
import numpy
import torch
from coremltools.converters.mil.mil import Builder, types
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from coremltools.models.pipeline import Pipeline

from check_writer import facts_of

TARGET = coremltools.target


class TinyClassifier(torch.nn.Module):
    """Embedding, masked sum and a linear layer: two inputs of shape (batch, 1, 1, length), one logit."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(32, 16)
        self.dense = torch.nn.Conv2d(16, 16, 1)
        self.head = torch.nn.Linear(16, 1)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.to(torch.float32)
        hidden = self.embedding(input_ids.squeeze(1).squeeze(1)).permute(0, 2, 1).unsqueeze(2)
        hidden = torch.nn.functional.gelu(self.dense(hidden)) * mask
        return self.head(hidden.sum(dim=3).squeeze(2))


def convert(shape, target, precision):
    torch.manual_seed(5)
    model = TinyClassifier().eval()
    example = torch.ones(20, 1, 1, 128, dtype=torch.int32)
    traced = torch.jit.trace(model, (example, example))
    names = ["input_ids", "attention_mask"]
    inputs = [coremltools.TensorType(name, shape, dtype=numpy.int32) for name in names]
    return coremltools.convert(
        traced,
        inputs=inputs,
        outputs=[coremltools.TensorType("logit", dtype=numpy.float32)],
        minimum_deployment_target=target,
        compute_precision=precision,
        convert_to="mlprogram",
        skip_model_load=True,
    )


def enumerated():
    shapes = [(20, 1, 1, length) for length in (128, 256, 512)]
    shape = coremltools.EnumeratedShapes(shapes=shapes, default=shapes[0])
    model = convert(shape, TARGET.macOS15, coremltools.precision.FLOAT16)
    model.author, model.license, model.version = "a lab", "MIT", "1.2"
    model.short_description = "Fixture: the seed's tensors, ünïcode"
    return model


def fixed():
    return convert((20, 1, 1, 128), TARGET.macOS13, coremltools.precision.FLOAT16)


def ranged():
    length = coremltools.RangeDim(lower_bound=1, upper_bound=64, default=16)
    model = convert(coremltools.Shape((20, 1, 1, length)), TARGET.macOS13, coremltools.precision.FLOAT32)
    return model


def of_types():
    """Constants of every type that has one, in the program and in the blob file, and a nested block."""

    @Builder.program(
        input_specs=[Builder.TensorSpec(shape=(2, 3), dtype=types.fp32)], opset_version=TARGET.iOS18
    )
    def program(x):
        half = Builder.cast(x=x, dtype="fp16")
        small = Builder.const(val=numpy.array([0.1, -0.5, 65504, 6e-8, -0.0, 1e-12], numpy.float16).reshape(2, 3))
        half = Builder.add(x=half, y=small)
        table = Builder.const(val=numpy.arange(12, dtype=numpy.int32) - 5)
        picked = Builder.gather(x=table, indices=Builder.const(val=numpy.array([1, 3], numpy.int16)), axis=0)
        bytes_ = Builder.const(val=numpy.array([-128, -1, 127], numpy.int8))
        quantised = Builder.constexpr_blockwise_shift_scale(
            data=numpy.array([[-8, 7, 3], [1, -2, 0]], numpy.int8),
            scale=numpy.array([[0.5], [0.25]], numpy.float16),
        )
        palette = Builder.constexpr_lut_to_dense(
            indices=(numpy.arange(32) % 16).reshape(2, 16).astype(types.np_uint4_dtype),
            lut=numpy.arange(16, dtype=numpy.float16).reshape(1, 1, 16, 1),
        )
        total = Builder.reduce_sum(x=half, axes=[0, 1], keep_dims=False)
        flag = Builder.greater(x=total, y=numpy.float16(0))
        chosen = Builder.cond(
            pred=flag,
            _true_fn=lambda: Builder.mul(x=half, y=numpy.float16(2)),
            _false_fn=lambda: Builder.sub(x=half, y=numpy.float16(1)),
        )
        summed = Builder.add(x=chosen, y=quantised)
        whole = Builder.cast(x=Builder.cast(x=bytes_, dtype="fp16"), dtype="fp32")
        masked = Builder.select(
            cond=Builder.const(val=numpy.array([[True, False, True], [False, False, True]])), a=summed, b=half
        )
        joined = Builder.concat(values=[masked, summed], axis=0)
        return (
            Builder.cast(x=joined, dtype="fp32"),
            Builder.cast(x=picked, dtype="fp32"),
            whole,
            Builder.cast(x=palette, dtype="fp32"),
        )

    return coremltools.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=TARGET.iOS18,
        compute_precision=coremltools.precision.FLOAT32,
        # Constants stay what they are.
        pass_pipeline=coremltools.PassPipeline.EMPTY,
        skip_model_load=True,
    )


def functions(path, folder):
    """Two functions over one set of weights: the description names the inputs of each, and none of the whole."""
    one = folder / "one.mlpackage"
    fixed().save(str(one))
    descriptor = coremltools.utils.MultiFunctionDescriptor()
    descriptor.add_function(str(one), src_function_name="main", target_function_name="short")
    descriptor.add_function(str(one), src_function_name="main", target_function_name="long")
    descriptor.default_function_name = "short"
    coremltools.utils.save_multifunction(descriptor, str(path))


def network():
    inputs = [("x", datatypes.Array(3))]
    builder = NeuralNetworkBuilder(inputs, [("y", datatypes.Array(2))], disable_rank5_shape_mapping=True)
    weights = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    builder.add_inner_product("dense", weights, numpy.ones(2, numpy.float32), 3, 2, True, "x", "y")
    return builder.spec


def pipeline():
    whole = Pipeline([("x", datatypes.Array(3))], [("y", datatypes.Array(2))])
    whole.add_model(network())
    return whole.spec


def main():
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    packages = {"enumerated": enumerated, "fixed": fixed, "range": ranged, "types": of_types}
    expected = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for stem, make in packages.items():
            make().save(str(folder / f"{stem}.mlpackage"))
        functions(folder / "functions.mlpackage", folder)
        for stem, make in {"network": network, "pipeline": pipeline}.items():
            coremltools.utils.save_spec(make(), str(folder / f"{stem}.mlmodel"))
        for file in [f"{stem}.mlpackage" for stem in [*packages, "functions"]] + ["network.mlmodel", "pipeline.mlmodel"]:
            expected[file] = facts_of(folder / file)
            if (target / file).is_dir():
                shutil.rmtree(target / file)
            shutil.move(folder / file, target / file)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (target / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
