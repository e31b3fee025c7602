"""Owners of the library's handles."""

from __future__ import annotations

import threading
from ctypes import byref, c_void_p
from typing import Any

from ._errors import check


class Handle:
    """A pointer that is freed once, and not before the last call that uses it has ended.

    ``with handle as pointer:`` keeps it alive for a call; :meth:`close` may come from any thread meanwhile.
    """

    __slots__ = ("_closed", "_free", "_lock", "_name", "_pointer", "_users")

    def __init__(self, pointer: int, free: Any, name: str) -> None:
        self._pointer = pointer
        self._free = free
        self._name = name
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def __enter__(self) -> int:
        with self._lock:
            if self._closed:
                raise ValueError(f"the {self._name} is closed")
            self._users += 1
            return self._pointer

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            last = self._closed and self._users == 0
        if last:
            self._free(self._pointer)

    def close(self) -> None:
        with self._lock:
            free = not self._closed and self._users == 0
            self._closed = True
        if free:
            self._free(self._pointer)

    @property
    def closed(self) -> bool:
        return self._closed


class Owner:
    """What owns a handle: closed by ``with``, by :meth:`close`, or when nothing refers to it any more."""

    _handle: Handle

    def _own(self, pointer: int, free: Any, name: str) -> None:
        self._handle = Handle(pointer, free, name)

    def close(self) -> None:
        """Frees what the object holds, as soon as no call uses it. A second time does nothing."""
        handle = getattr(self, "_handle", None)
        if handle is not None:
            handle.close()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._handle.closed

    def __enter__(self) -> Any:
        with self._handle:  # refuses a closed one
            return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __copy__(self) -> Any:
        raise TypeError(f"a {type(self).__name__} cannot be copied: share it, it may be used from many threads")

    def __reduce__(self) -> Any:
        raise TypeError(f"a {type(self).__name__} cannot be pickled: open it in each process")


def made(function: Any, *arguments: Any) -> int:
    """Makes a call whose last parameters are places for a handle and for an error, and gives the handle."""
    out = c_void_p()
    check(function, *arguments, byref(out))
    assert out.value is not None
    return out.value
