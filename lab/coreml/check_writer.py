"""What coremltools makes of a package or model: it loads the file, rebuilds the program operation by operation, which
validates types and shapes, and reads every weight.

    check_writer.py PATH [--json]

Prints the facts, and fails where coremltools refuses the file. It does not predict: that needs a Mac.
Needs coremltools and numpy (requirements.txt of this folder).
"""

import argparse
import collections
import hashlib
import json
import pathlib

import coremltools
import numpy
from coremltools.converters.mil.frontend.milproto.load import load as load_program
from coremltools.libmilstoragepython import _BlobStorageReader
from coremltools.proto import FeatureTypes_pb2, MIL_pb2

# Readers of coremltools' blob reader, by DataType of MIL.proto.
READERS = {
    "FLOAT16": "fp16",
    "FLOAT32": "float",
    **{name: name.lower() for name in "INT8 UINT8 INT16 UINT16 INT32 UINT32 INT4 UINT1 UINT2 UINT3 UINT4 UINT6".split()},
}


def dimensions_of(tensor):
    return [
        dimension.constant.size if dimension.WhichOneof("dimension") == "constant" else None
        for dimension in tensor.dimensions
    ]


def values_of(program):
    """Every value of a program, with where it is."""

    def of_block(block, where):
        for operation in block.operations:
            place = f"{where}/{operation.outputs[0].name if operation.outputs else operation.type}"
            for key, value in operation.attributes.items():
                yield f"{place}.{key}", value
            for key, argument in operation.inputs.items():
                for index, binding in enumerate(argument.arguments):
                    if binding.WhichOneof("binding") == "value":
                        yield f"{place}({key}[{index}])", binding.value
            for index, inner in enumerate(operation.blocks):
                yield from of_block(inner, f"{place}[{index}]")

    for name, function in program.functions.items():
        for opset, block in function.block_specializations.items():
            yield from of_block(block, name)


def operations_of(block):
    for operation in block.operations:
        yield operation.type
        for inner in operation.blocks:
            yield from operations_of(inner)


def immediate_of(value):
    """An immediate tensor's numbers as JSON; fp16 and the narrow integers are stored as bytes."""
    tensor = value.immediateValue.tensor
    member = tensor.WhichOneof("value")
    if member != "bytes":
        return list(getattr(tensor, member).values)
    kind = {"FLOAT16": numpy.float16, "INT8": numpy.int8, "UINT8": numpy.uint8, "UINT32": numpy.uint32}.get(
        MIL_pb2.DataType.Name(value.type.tensorType.dataType)
    )
    if kind is None:
        return None
    return [number.item() for number in numpy.frombuffer(tensor.bytes.values, kind)]


def feature_of(feature):
    if feature.type.WhichOneof("Type") != "multiArrayType":
        return {"name": feature.name, "type": feature.type.WhichOneof("Type")}
    array = feature.type.multiArrayType
    facts = {
        "name": feature.name,
        "element": FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Name(array.dataType),
        "shape": list(array.shape),
    }
    flexibility = array.WhichOneof("ShapeFlexibility")
    if flexibility == "enumeratedShapes":
        facts["shapes"] = [list(shape.shape) for shape in array.enumeratedShapes.shapes]
    if flexibility == "shapeRange":
        facts["ranges"] = [[size.lowerBound, size.upperBound] for size in array.shapeRange.sizeRanges]
    return facts


def facts_of(path):
    path = pathlib.Path(path)
    spec = coremltools.utils.load_spec(str(path))
    coremltools.models.MLModel(str(path), skip_model_load=True)
    description = spec.description
    features, default = description, description.defaultFunctionName or "main"
    for function in description.functions:
        if function.name == default:
            features = function
    facts = {
        "kind": spec.WhichOneof("Type"),
        "specificationVersion": spec.specificationVersion,
        "inputs": [feature_of(feature) for feature in features.input],
        "outputs": [feature_of(feature) for feature in features.output],
        "userDefined": dict(description.metadata.userDefined),
    }
    if facts["kind"] != "mlProgram":
        return facts
    weights = path / "Data" / "com.apple.CoreML" / "weights"
    load_program(spec, spec.specificationVersion, str(weights))
    histogram = collections.Counter()
    runs = spec.mlProgram.functions[default]
    histogram.update(operations_of(runs.block_specializations[runs.opset]))
    facts["defaultFunction"] = default
    facts["opsets"] = sorted({function.opset for function in spec.mlProgram.functions.values()})
    facts["operations"] = dict(histogram)
    facts["immediates"] = {}
    facts["blobs"] = {}
    readers = {}
    for place, value in values_of(spec.mlProgram):
        if value.type.WhichOneof("type") != "tensorType":
            continue
        tensor = value.type.tensorType
        element = MIL_pb2.DataType.Name(tensor.dataType)
        known = {"element": element, "dimensions": dimensions_of(tensor)}
        if value.WhichOneof("value") == "immediateValue":
            facts["immediates"][place] = {**known, "values": immediate_of(value)}
            continue
        blob = value.blobFileValue
        file = str(weights / blob.fileName.split("/")[-1])
        reader = readers.setdefault(file, _BlobStorageReader(file))
        numbers = getattr(reader, f"read_{READERS[element]}_data")(blob.offset)
        facts["blobs"][place] = {
            **known,
            "offset": blob.offset,
            "elements": len(numbers),
            "sha256": hashlib.sha256(numpy.ascontiguousarray(numbers).tobytes()).hexdigest(),
        }
    return facts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=pathlib.Path)
    parser.add_argument("--json", action="store_true", help="all facts, numbers included")
    arguments = parser.parse_args()
    facts = facts_of(arguments.path)
    if arguments.json:
        print(json.dumps(facts, indent=1, sort_keys=True))
        return
    print(f"{arguments.path}: {facts['kind']}, specification version {facts['specificationVersion']}")
    for role in ["inputs", "outputs"]:
        for feature in facts[role]:
            print(f"  {role[:-1]} {json.dumps(feature)}")
    for name, count in sorted(facts.get("operations", {}).items(), key=lambda item: (-item[1], item[0])):
        print(f"  {count:6d} {name}")
    print(f"  {len(facts.get('blobs', {}))} weights read, program rebuilt and validated by coremltools")


if __name__ == "__main__":
    main()
