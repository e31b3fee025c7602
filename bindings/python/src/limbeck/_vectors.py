"""Vectors: memory for them, and how alike they are."""

from __future__ import annotations

import array
import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_float, c_size_t
from dataclasses import dataclass
from typing import Any, Union

from ._abi import library
from ._errors import InvalidArgumentError, check

#: A vector: what has a buffer of 32-bit floats is read where it lies, other numbers are copied.
Vector = Union[memoryview, "array.array[float]", Sequence[float], Any]
_FLOATS = POINTER(c_float)


@dataclass(frozen=True)
class Neighbour:
    """A vector that was found."""

    index: int  #: Its place.
    similarity: float


def room(out: Any, count: int) -> tuple[Any, Any]:
    """Memory for `count` floats, the caller's or new, and a pointer to it."""
    if out is None:
        view = memoryview(bytearray(4 * count)).cast("f")
    else:
        view = memoryview(out)
        if view.readonly or not view.c_contiguous or view.format not in ("f", "<f", "=f", "@f"):
            raise InvalidArgumentError("out must be a writable, contiguous buffer of 32-bit floats")
        if view.nbytes < 4 * count:
            raise InvalidArgumentError(f"out has room for {view.nbytes // 4} floats, and there are {count}")
        view = view.cast("B")[: 4 * count].cast("f") if view.nbytes else view
    if count == 0:
        return memoryview(b"").cast("f"), None
    return view, ctypes.cast((c_float * count).from_buffer(view), _FLOATS)


def _floats(vector: Any, name: str) -> tuple[Any, tuple[int, ...], Any]:
    """A pointer to the floats of one or many vectors, their shape, and what must live meanwhile."""
    interface = getattr(vector, "__array_interface__", None)
    if interface is not None and interface["typestr"] in ("<f4", "=f4") and interface.get("strides") is None:
        return ctypes.cast(interface["data"][0], _FLOATS), tuple(interface["shape"]), vector
    try:
        view: Any = memoryview(vector)
    except TypeError:
        view = None
    if view is not None and view.format in ("f", "<f") and view.c_contiguous and view.nbytes:
        if view.readonly:
            copy = (c_float * (view.nbytes // 4)).from_buffer_copy(view)
            return ctypes.cast(copy, _FLOATS), view.shape, copy
        floats = (c_float * (view.nbytes // 4)).from_buffer(view)
        return ctypes.cast(floats, _FLOATS), view.shape, floats
    try:
        rows = vector.tolist() if hasattr(vector, "tolist") else list(vector)
        if rows and not isinstance(rows[0], (int, float)):
            rows = [list(row) for row in rows]
            if any(len(row) != len(rows[0]) for row in rows):
                raise InvalidArgumentError(f"{name}: the vectors differ in length")
            shape: tuple[int, ...] = (len(rows), len(rows[0]))
            values = [value for row in rows for value in row]
        else:
            shape, values = (len(rows),), rows
        floats = (c_float * max(len(values), 1))(*values)
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise TypeError(f"{name} must be numbers: {error}") from error
    return ctypes.cast(floats, _FLOATS), shape, floats


def similarity(first: Vector, second: Vector) -> float:
    """The cosine of the angle between two vectors: 1 for the same direction, 0 for a right angle."""
    a, a_shape, keep_a = _floats(first, "first")
    b, b_shape, keep_b = _floats(second, "second")
    if len(a_shape) != 1 or a_shape != b_shape:
        raise InvalidArgumentError(
            f"vectors of shape {a_shape} and {b_shape} cannot be compared: take both from the same model"
        )
    found = c_float()
    check(library.similarity, a, b, a_shape[0], byref(found))
    del keep_a, keep_b
    return found.value


def nearest(query: Vector, vectors: Union[Vector, Sequence[Vector]], k: int) -> list[Neighbour]:
    """The `k` vectors most similar to `query`, the nearest first: one a row of `vectors`."""
    if k < 0:
        raise InvalidArgumentError(f"k is {k} and must be at least 0")
    q, q_shape, keep_q = _floats(query, "query")
    v, v_shape, keep_v = _floats(vectors, "vectors")
    if len(q_shape) != 1:
        raise InvalidArgumentError(f"query has shape {q_shape} and must be one vector")
    if v_shape[0] == 0:
        return []
    if len(v_shape) != 2 or v_shape[1] != q_shape[0]:
        raise InvalidArgumentError(
            f"vectors of shape {v_shape} are not rows of the length of the query, which is {q_shape[0]}"
        )
    count = v_shape[0]
    k = min(k, count)
    indices, similarities, found = (c_size_t * max(k, 1))(), (c_float * max(k, 1))(), c_size_t()
    check(library.nearest, q, q_shape[0], v, count, k, indices, similarities, byref(found))
    del keep_q, keep_v
    return [Neighbour(indices[i], similarities[i]) for i in range(found.value)]
