"""What single MIL operations give, for packages/backend-coreml's translation to be held against.

    operation_goldens.py OUTPUT.json

Each case is an operation, its arguments, and its outputs as coremltools itself infers them (`value_inference`); where
coremltools infers none, as torch computes them. Needs coremltools, torch and numpy (requirements.txt of this folder).
"""

import json
import sys

import coremltools
import numpy
import torch
from coremltools.converters.mil import Builder as mb

random = numpy.random.default_rng(7)


def floats(*shape):
    return numpy.round(random.normal(size=shape), 3).astype(numpy.float32)


def ints(*values):
    return numpy.array(values, dtype=numpy.int32)


def counting(*shape):
    return numpy.arange(numpy.prod(shape), dtype=numpy.float32).reshape(shape)


A = floats(2, 3, 4)
B = floats(2, 3, 4)
I = ints(3, -1, 4, 1)
J = ints(2, 7, -1, 1)
cube = counting(2, 3, 4)
truths = numpy.array([True, False, True, True])

cases = [
    ("add", dict(x=A, y=floats(4))),
    ("add", dict(x=I, y=J)),
    ("sub", dict(x=A, y=B)),
    ("sub", dict(x=I, y=J)),
    ("mul", dict(x=A, y=floats(3, 1))),
    ("mul", dict(x=I, y=J)),
    ("real_div", dict(x=A, y=B)),
    ("pow", dict(x=numpy.abs(A), y=numpy.float32(1.5))),
    ("maximum", dict(x=A, y=B)),
    ("minimum", dict(x=A, y=B)),
    ("abs", dict(x=A)),
    ("relu", dict(x=A)),
    ("exp", dict(x=A)),
    ("sqrt", dict(x=numpy.abs(A))),
    ("rsqrt", dict(x=numpy.abs(A), epsilon=numpy.float32(0.5))),
    ("tanh", dict(x=A)),
    ("erf", dict(x=A)),
    ("sigmoid", dict(x=A)),
    ("square", dict(x=A)),
    ("silu", dict(x=A)),
    ("clip", dict(x=A, alpha=numpy.float32(-0.25), beta=numpy.float32(0.5))),
    ("gelu", dict(x=A, mode="EXACT")),
    ("gelu", dict(x=A, mode="TANH_APPROXIMATION")),
    ("gelu", dict(x=A, mode="SIGMOID_APPROXIMATION")),
    ("equal", dict(x=I, y=J)),
    ("not_equal", dict(x=I, y=J)),
    ("less", dict(x=A, y=B)),
    ("less_equal", dict(x=I, y=J)),
    ("greater", dict(x=A, y=B)),
    ("greater_equal", dict(x=I, y=J)),
    ("logical_and", dict(x=truths, y=numpy.array([True, True, False, True]))),
    ("logical_or", dict(x=truths, y=numpy.array([False, False, False, True]))),
    ("logical_not", dict(x=truths)),
    ("select", dict(cond=truths, a=floats(4), b=floats(4))),
    ("cast", dict(x=numpy.array([1.75, -1.75, 0.0, 250.5], dtype=numpy.float32), dtype="int32")),
    ("cast", dict(x=I, dtype="fp32")),
    ("cast", dict(x=I, dtype="bool")),
    ("cast", dict(x=truths, dtype="fp32")),
    ("cast", dict(x=truths, dtype="int32")),
    ("identity", dict(x=A)),
    ("linear", dict(x=A, weight=floats(5, 4), bias=floats(5))),
    ("linear", dict(x=A, weight=floats(5, 4))),
    ("matmul", dict(x=A, y=floats(4, 2), transpose_x=False, transpose_y=False)),
    ("matmul", dict(x=A, y=floats(2, 5, 4), transpose_x=False, transpose_y=True)),
    ("matmul", dict(x=A, y=floats(2, 3, 5), transpose_x=True, transpose_y=False)),
    ("einsum", dict(values=(floats(2, 4, 1, 3), floats(2, 3, 1, 5)), equation="bkhc,bchq->bkhq")),
    ("einsum", dict(values=(floats(2, 3, 1, 4), floats(2, 4, 1, 5)), equation="bchk,bkhq->bchq")),
    ("conv", dict(x=floats(2, 3, 1, 5), weight=floats(4, 3, 1, 1), bias=floats(4))),
    ("conv", dict(x=floats(1, 4, 7), weight=floats(2, 2, 3), groups=numpy.int32(2), pad_type="custom",
                  pad=ints(1, 2), strides=ints(2), dilations=ints(1))),
    ("conv", dict(x=floats(1, 2, 6, 5), weight=floats(3, 2, 3, 2), pad_type="custom", pad=ints(1, 2, 0, 1),
                  strides=ints(1, 2), dilations=ints(2, 1))),
    ("softmax", dict(x=A, axis=numpy.int32(1))),
    ("softmax", dict(x=A, axis=numpy.int32(-1))),
    ("layer_norm", dict(x=A, axes=ints(-1), gamma=floats(4), beta=floats(4), epsilon=numpy.float32(1e-3))),
    ("layer_norm", dict(x=A, axes=ints(1, 2), gamma=floats(3, 4), beta=floats(3, 4))),
    ("layer_norm", dict(x=A, axes=ints(-1))),
    ("layer_norm", dict(x=floats(2, 3, 1, 4), axes=ints(1), gamma=floats(3), beta=floats(3), epsilon=numpy.float32(1e-3))),
    ("layer_norm", dict(x=floats(2, 3, 1, 4), axes=ints(1), epsilon=numpy.float32(0.1))),
    ("batch_norm", dict(x=floats(2, 3, 1, 4), mean=floats(3), variance=numpy.abs(floats(3)), gamma=floats(3),
                        beta=floats(3), epsilon=numpy.float32(0.01))),
    ("scaled_dot_product_attention", dict(query=floats(2, 2, 3, 4), key=floats(2, 2, 5, 4), value=floats(2, 2, 5, 4))),
    ("scaled_dot_product_attention", dict(query=floats(2, 2, 3, 4), key=floats(2, 2, 5, 4), value=floats(2, 2, 5, 4),
                                          attn_mask=floats(2, 1, 3, 5))),
    ("scaled_dot_product_attention", dict(query=floats(1, 1, 2, 4), key=floats(1, 1, 3, 4), value=floats(1, 1, 3, 4),
                                          attn_mask=numpy.array([[[[True, False, True], [True, True, False]]]]))),
    ("reduce_mean", dict(x=A, axes=ints(1), keep_dims=True)),
    ("reduce_mean", dict(x=A, axes=ints(-1, 0), keep_dims=False)),
    ("reduce_sum", dict(x=A, axes=ints(2), keep_dims=False)),
    ("reduce_sum_square", dict(x=A, axes=ints(2), keep_dims=True)),
    ("reduce_l2_norm", dict(x=A, axes=ints(1), keep_dims=True)),
    ("reduce_max", dict(x=A, axes=ints(1), keep_dims=False)),
    ("reshape", dict(x=cube, shape=ints(4, -1))),
    ("transpose", dict(x=cube, perm=ints(0, -1, 1))),
    ("expand_dims", dict(x=cube, axes=ints(1, -1))),
    ("squeeze", dict(x=cube.reshape(2, 1, 3, 1, 4), axes=ints(1, -2))),
    ("squeeze", dict(x=cube.reshape(2, 1, 3, 1, 4))),
    ("split", dict(x=cube, num_splits=numpy.int32(2), axis=numpy.int32(-1))),
    ("split", dict(x=cube, split_sizes=ints(1, 3), axis=numpy.int32(2))),
    ("concat", dict(values=(cube, cube[:, :1]), axis=numpy.int32(-2))),
    ("stack", dict(values=(cube, -cube), axis=numpy.int32(1))),
    ("gather", dict(x=cube, indices=ints(2, 0, -1), axis=numpy.int32(1))),
    ("gather", dict(x=ints(7, 8, 9), indices=numpy.int32(1), axis=numpy.int32(0))),
    ("slice_by_index", dict(x=cube, begin=ints(0, 1, -3), end=ints(2, 3, -1))),
    ("slice_by_index", dict(x=cube, begin=ints(0, 0, 3), end=ints(2, 3, 0), stride=ints(1, 2, -2))),
    ("slice_by_index", dict(x=cube, begin=ints(1, 0, 0), end=ints(1, 1, 1), begin_mask=[False, True, False],
                            end_mask=[True, True, False])),
    ("slice_by_index", dict(x=cube, begin=ints(0, -1, 0), end=ints(0, 0, 0), begin_mask=[True, False, False],
                            end_mask=[True, False, True], squeeze_mask=[False, True, False])),
    ("slice_by_index", dict(x=cube, begin=ints(1, 0, 1), end=ints(0, 0, 0), end_mask=[False, True, False],
                            squeeze_mask=[True, False, True])),
    ("slice_by_index", dict(x=cube, begin=ints(0, 0, 0), end=ints(0, 0, 0), stride=ints(1, -1, 1),
                            begin_mask=[True] * 3, end_mask=[True] * 3)),
    ("slice_by_size", dict(x=cube, begin=ints(0, 1, 2), size=ints(2, -1, 1))),
    ("tile", dict(x=cube, reps=ints(1, 2, 1))),
    ("fill", dict(shape=ints(2, 3), value=numpy.float32(0.5))),
    ("shape", dict(x=cube)),
    ("range_1d", dict(start=numpy.int32(1), end=numpy.int32(8), step=numpy.int32(3))),
    ("cumsum", dict(x=ints(1, 2, 3, 4).reshape(2, 2), axis=numpy.int32(1), exclusive=False, reverse=False)),
    ("cumsum", dict(x=cube, axis=numpy.int32(1), exclusive=True, reverse=False)),
    ("cumsum", dict(x=cube, axis=numpy.int32(-1), exclusive=False, reverse=True)),
]


def tensor(value):
    return torch.from_numpy(numpy.asarray(value))


def torch_result(operation, given):
    """For what coremltools infers no value."""
    functional = torch.nn.functional
    if operation == "conv":
        spatial = given["x"].ndim - 2
        x = tensor(given["x"])
        if given.get("pad_type") == "custom":
            pairs = given["pad"].reshape(spatial, 2)[::-1].reshape(-1)
            x = functional.pad(x, [int(size) for size in pairs])
        call = {1: functional.conv1d, 2: functional.conv2d}[spatial]
        options = {name: [int(size) for size in given[key]] for name, key in
                   (("stride", "strides"), ("dilation", "dilations")) if key in given}
        bias = tensor(given["bias"]) if "bias" in given else None
        return call(x, tensor(given["weight"]), bias, groups=int(given.get("groups", 1)), **options)
    if operation == "batch_norm":
        return functional.batch_norm(*(tensor(given[name]) for name in ("x", "mean", "variance", "gamma", "beta")),
                                     eps=float(given["epsilon"]))
    if operation == "scaled_dot_product_attention":
        mask = tensor(given["attn_mask"]) if "attn_mask" in given else None
        return functional.scaled_dot_product_attention(*(tensor(given[name]) for name in ("query", "key", "value")),
                                                       attn_mask=mask)
    if operation == "layer_norm":
        rank = given["x"].ndim
        axes = [int(axis) % rank for axis in given["axes"]]
        x = tensor(given["x"])
        mean = x.mean(axes, keepdim=True)
        normal = (x - mean) / torch.sqrt(x.var(axes, keepdim=True, unbiased=False) + float(given.get("epsilon", 1e-5)))
        shape = [x.shape[axis] if axis in axes else 1 for axis in range(rank)]
        gamma = tensor(given["gamma"]).reshape(shape) if "gamma" in given else 1
        return normal * gamma + (tensor(given["beta"]).reshape(shape) if "beta" in given else 0)
    if operation == "gelu" and given["mode"] == "SIGMOID_APPROXIMATION":
        return tensor(given["x"]) * torch.sigmoid(1.702 * tensor(given["x"]))
    if operation == "silu":
        return functional.silu(tensor(given["x"]))
    if operation == "softmax":
        return functional.softmax(tensor(given["x"]), int(given["axis"]))
    if operation == "einsum":
        return torch.einsum(given["equation"], *(tensor(value) for value in given["values"]))
    if operation == "cumsum":
        x, axis = tensor(given["x"]), int(given["axis"])
        x = x.flip(axis) if given["reverse"] else x
        total = x.cumsum(axis) - (x if given["exclusive"] else 0)
        return total.flip(axis) if given["reverse"] else total
    if operation == "reduce_max":
        return tensor(given["x"]).amax([int(axis) for axis in given["axes"]], keepdim=given["keep_dims"])
    return None


def infer(operation, given):
    results = []

    @mb.program(input_specs=[mb.TensorSpec(shape=(1,))], opset_version=coremltools.target.macOS15)
    def program(unused):
        made = getattr(mb, operation)(**given)
        results.extend(made if isinstance(made, (list, tuple)) else [made])
        return mb.identity(x=unused)

    values = [result.val for result in results]
    if any(value is None for value in values):
        return None
    return [numpy.asarray(value) for value in values]


elements = {"float32": "fp32", "int32": "int32", "bool": "bool"}


def describe(value):
    if isinstance(value, str):
        return {"element": "string", "dimensions": [], "values": [value]}
    if isinstance(value, tuple):
        return [describe(one) for one in value]
    array = numpy.asarray(value)
    array = array.astype(numpy.float32) if array.dtype == numpy.float64 else array
    array = array.astype(numpy.int32) if array.dtype == numpy.int64 else array
    values = [round(float(one), 9) if array.dtype == numpy.float32 else one.item() for one in array.reshape(-1)]
    return {"element": elements[str(array.dtype)], "dimensions": list(array.shape), "values": values}


def main():
    described = []
    for operation, given in cases:
        own = torch_result(operation, given)
        inferred = infer(operation, given) if own is None else [own.numpy()]
        if inferred is None:
            raise SystemExit(f"{operation}: coremltools infers no value, and there is none from torch")
        described.append({
            "operation": operation,
            "from": "coremltools" if own is None else "torch",
            "inputs": {name: describe(value) for name, value in given.items()},
            "outputs": [describe(value) for value in inferred],
        })
    lines = ",\n".join(json.dumps(case) for case in described)
    with open(sys.argv[1], "w") as file:
        file.write(f"[\n{lines}\n]\n")
    print(f"{len(described)} cases, {sum(case['from'] == 'torch' for case in described)} of them from torch")


if __name__ == "__main__":
    main()
