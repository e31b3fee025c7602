"""Checks ONNX files with PyPI onnx.

    python check_onnx.py FOLDER...

For each `model.onnx` below a FOLDER (its weights beside it): the ONNX checker, with shape inference and data; strict
inference where all operators are standard, so that an output declared with another shape than it has is found; every axis
of an input or output has a size or a name; every constant is used. Prints a line a file and exits with 1 if one is at
fault.
"""

import argparse
import sys
from pathlib import Path

import onnx
from onnx import checker, shape_inference


def axes_are_named(graph):
    for value in [*graph.input, *graph.output]:
        for axis in value.type.tensor_type.shape.dim:
            assert axis.dim_param or axis.dim_value > 0, f"an axis of {value.name} has neither size nor name"


def shape(value):
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def inferred_shapes_fit(path, graph):
    """Sizes that inference finds are those that the file declares."""
    inferred = path.with_name("inferred.onnx")
    shape_inference.infer_shapes_path(str(path), str(inferred), strict_mode=True, data_prop=True)
    declared = {value.name: shape(value) for value in graph.output}
    for value in onnx.load(inferred, load_external_data=False).graph.output:
        own, found = declared[value.name], shape(value)
        assert len(own) == len(found), f"output {value.name} has {len(found)} axes, declared are {own}"
    inferred.unlink()


def check(path):
    checker.check_model(str(path), full_check=True)
    model = onnx.load(path, load_external_data=False)
    axes_are_named(model.graph)
    standard = all(node.domain in ("", "ai.onnx") for node in model.graph.node)
    if standard:
        inferred_shapes_fit(path, model.graph)
    used = {name for node in model.graph.node for name in node.input}
    unused = [tensor.name for tensor in model.graph.initializer if tensor.name not in used]
    assert not unused, f"constants {unused} are not used"
    return len(model.graph.node), "standard operators" if standard else "with contrib operators"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    files = sorted(path for folder in parser.parse_args().folders for path in folder.rglob("model.onnx"))
    failed = not files
    for path in files:
        try:
            nodes, kind = check(path)
            print(f"ok   {path.parent.name}: {nodes} nodes, {kind}")
        except Exception as error:
            failed = True
            print(f"FAIL {path.parent.name}: {error}")
    print(f"onnx {onnx.__version__}: {len(files)} files")
    sys.exit(failed)


if __name__ == "__main__":
    main()
