"""Checks ONNX files with PyPI onnx.

    python check_onnx.py FOLDER...

For each `model.onnx` below a FOLDER (its weights beside it in `model.onnx.data`):

* the ONNX checker with shape inference: operators and their attributes, types, inputs that exist;
* every axis of an input or output has a size or a name;
* where all operators are standard: for inputs of definite sizes, strict inference gives the outputs the sizes that the file
  declares;
* every constant is used, and those beside the graph lie within their file.

Prints a line a file, `ok` or `FAIL` with the problem, and exits with 1 if one is at fault or there is none.
"""

import argparse
import math
import sys
from pathlib import Path

import onnx
from onnx import checker, helper, shape_inference

# What the names of axes stand for while output sizes are compared. No two alike, so that none is taken for another.
SIZES = {"batch": 3, "length": 7, "past": 11, "total": 7 + 11}


class Fault(Exception):
    pass


def require(condition, problem):
    if not condition:
        raise Fault(problem)


def axes(value):
    return value.type.tensor_type.shape.dim


def declared(value):
    return [axis.dim_param or axis.dim_value for axis in axes(value)]


def axes_are_named(graph):
    for value in [*graph.input, *graph.output]:
        for axis in axes(value):
            require(axis.dim_param or axis.dim_value > 0, f"an axis of {value.name} has neither size nor name")


def size(value, axis):
    if not axis.dim_param:
        return axis.dim_value
    require(axis.dim_param in SIZES, f"{value.name} has an axis `{axis.dim_param}`; known are {', '.join(SIZES)}")
    return SIZES[axis.dim_param]


def outputs_are_as_declared(model):
    """The declared output shapes are taken away first: inference would believe them."""
    expected = {value.name: (declared(value), [size(value, axis) for axis in axes(value)]) for value in model.graph.output}
    definite = onnx.ModelProto()
    definite.CopyFrom(model)
    for value in definite.graph.input:
        for axis in axes(value):
            axis.dim_value = size(value, axis)
    for value in definite.graph.output:
        value.type.tensor_type.ClearField("shape")
    del definite.graph.value_info[:]
    inferred = shape_inference.infer_shapes(definite, check_type=True, strict_mode=True, data_prop=True)
    for value in inferred.graph.output:
        names, sizes = expected[value.name]
        found = [axis.dim_value if axis.HasField("dim_value") else "?" for axis in axes(value)]
        require(
            sizes == found,
            f"output {value.name} is declared as {names}; that is {sizes} where {SIZES}, but inference finds {found}",
        )


def constants_are_used(graph):
    used = {name for node in graph.node for name in node.input}
    unused = [tensor.name for tensor in graph.initializer if tensor.name not in used]
    require(not unused, f"constants {unused} are not used")


def constants_are_whole(path, graph):
    for tensor in graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        start, length = int(place.get("offset", 0)), int(place["length"])
        needed = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        require(length == needed, f"constant {tensor.name} has {length} bytes where its shape needs {needed}")
        there = (path.parent / place["location"]).stat().st_size
        require(
            start + length <= there,
            f"constant {tensor.name} ends at byte {start + length}; {place['location']} has {there}",
        )


def check(path):
    checker.check_model(str(path), full_check=True)
    model = onnx.load(path, load_external_data=False)
    axes_are_named(model.graph)
    standard = all(node.domain in ("", "ai.onnx") for node in model.graph.node)
    if standard:
        outputs_are_as_declared(model)
    constants_are_used(model.graph)
    constants_are_whole(path, model.graph)
    return len(model.graph.node), "standard operators" if standard else "with contrib operators"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    failed = False
    count = 0
    for folder in parser.parse_args().folders:
        files = sorted(folder.rglob("model.onnx"))
        count += len(files)
        if not files:
            failed = True
            print(f"FAIL {folder}: no model.onnx below it")
        for path in files:
            try:
                nodes, kind = check(path)
                print(f"ok   {path}: {nodes} nodes, {kind}")
            except Exception as error:
                failed = True
                print(f"FAIL {path}: {' '.join(str(error).split())}")
    print(f"onnx {onnx.__version__}: {count} files")
    sys.exit(failed)


if __name__ == "__main__":
    main()
