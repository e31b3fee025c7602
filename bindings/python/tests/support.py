"""Where the tests find cases, bundles and ONNX Runtime. They are run from a checkout, over an installed limbeck."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import limbeck

REPOSITORY = Path(__file__).resolve().parents[3]
CONFORMANCE = REPOSITORY / "tests/conformance"
BUNDLES = CONFORMANCE / "bundles"

#: A text that does not end by itself.
ENDLESS: dict[str, Any] = {"max_new_tokens": 1_000_000_000, "context": "slide"}
ROUND = "ab🙂."


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


def package_threads() -> int:
    """Threads of this package that are still there; one that is ending gets some time for it, on a busy machine too."""
    for _ in range(3000):
        count = sum(thread.name.startswith("limbeck") for thread in threading.enumerate())
        if count == 0:
            return 0
        time.sleep(0.01)
    return count


async def until(condition: Callable[[], Any]) -> None:
    """Lets the loop go on until something holds."""
    for _ in range(30_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it does not come to hold")


def nothing_left() -> None:
    """After the tests of a file: they left no thread, and no handle but ONNX Runtime's, which a process keeps."""
    model_of.cache_clear()
    for _ in range(3000):
        gc.collect()
        if limbeck.open_handles() <= 1:
            break
        time.sleep(0.01)
    left = (limbeck.open_handles(), package_threads())
    assert left in ((0, 0), (1, 0)), f"{left[0]} handles and {left[1]} threads are left"
