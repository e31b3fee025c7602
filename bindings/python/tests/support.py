"""Where the tests find cases, bundles and ONNX Runtime. They are run from a checkout, over an installed limbeck."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import limbeck

REPOSITORY = Path(__file__).resolve().parents[3]
CONFORMANCE = REPOSITORY / "tests/conformance"
BUNDLES = CONFORMANCE / "bundles"


def runtime() -> str:
    """The ONNX Runtime library that the tests use."""
    path = os.environ.get("ORT_DYLIB_PATH")
    if not path:
        raise RuntimeError("ORT_DYLIB_PATH must name an ONNX Runtime library of version 1.24 or later")
    return path


@functools.cache
def model_of(name: str) -> limbeck.Model:
    """The model of a bundle, a path from the folder of the conformance cases; opened once."""
    return limbeck.Model(CONFORMANCE / name, runtime=runtime())


def bundle(name: str) -> Path:
    return BUNDLES / f"{name}.limbeck"


def resident() -> int:
    """Bytes of memory that are in use."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])
