"""Texts, paths and numbers on their way into the library."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from ctypes import Array
from typing import Any, Union

from ._abi import InPair, InStr
from ._errors import InvalidArgumentError

#: A text: a str, or its UTF-8 as bytes.
Text = Union[str, bytes, bytearray, memoryview]
#: Two texts that belong together.
Pair = Sequence[Text]
#: The path of a file.
Path = Union[str, bytes, os.PathLike[str], os.PathLike[bytes]]


def encoded(text: Text, name: str = "text") -> bytes:
    """The bytes of a text. Half of a surrogate pair becomes bytes that the library refuses, with their place."""
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    if isinstance(text, bytes):
        return text
    if isinstance(text, (bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"{name} must be str or bytes, not {type(text).__name__}")


def one(text: Text, name: str = "text") -> tuple[bytes, int]:
    """A text as two arguments."""
    data = encoded(text, name)
    return data, len(data)


def many(texts: Iterable[Text], name: str = "texts") -> tuple[Array[Any], int]:
    """Texts as two arguments."""
    if isinstance(texts, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"{name} must be several texts, not one: put it into a list")
    data = [encoded(text, f"{name}[{i}]") for i, text in enumerate(texts)]
    return (InStr * max(len(data), 1))(*(InStr(text, len(text)) for text in data)), len(data)


def pairs(values: Iterable[Pair], name: str = "pairs") -> tuple[Array[Any], int]:
    """Pairs of texts as two arguments."""
    data = []
    for i, pair in enumerate(values):
        if isinstance(pair, (str, bytes, bytearray, memoryview)) or len(pair) != 2:
            raise TypeError(f"{name}[{i}] must be a pair of texts")
        first, second = (encoded(text, f"{name}[{i}]") for text in pair)
        data.append(InPair(InStr(first, len(first)), InStr(second, len(second))))
    return (InPair * max(len(data), 1))(*data), len(data)


def path(value: Path) -> tuple[bytes, int]:
    """A path as two arguments."""
    data = os.fsencode(value)
    return data, len(data)


def number(value: int | None, name: str, lowest: int, highest: int, default: int = 0) -> int:
    """A whole number in its range; ctypes itself would keep its lowest bits and say nothing."""
    if value is None:
        return default
    value = operator.index(value)
    if not lowest <= value <= highest:
        raise InvalidArgumentError(f"{name} is {value} and must be from {lowest} to {highest}")
    return value
