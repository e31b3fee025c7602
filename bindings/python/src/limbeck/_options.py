"""Options of calls."""

from __future__ import annotations

import math
import threading
from ctypes import byref, c_void_p
from types import TracebackType
from typing import Any, Literal, Optional

from . import _abi, _texts
from ._abi import library
from ._errors import InvalidArgumentError
from ._handles import Owner, made

#: What to do with a text that is too long.
Overflow = Literal["truncate", "error", "window"]
#: How tokens become words of entities.
Aggregation = Literal["first", "average", "max", "strict", "none"]

_OVERFLOWS = {None: 0, "truncate": 1, "error": 2, "window": 3}
_AGGREGATIONS = {"first": 0, "average": 1, "max": 2, "strict": 3, "none": 4}
_MOST = (1 << 63) - 1
#: What stands for 0, which in C means the default: the next number above it.
_ALMOST_ZERO = 1e-45


class Cancel(Owner):
    """Ends calls from another thread.

    Give it to calls as ``cancel=`` and call :meth:`trigger` while they run: they raise CancelledError. It stays
    triggered; make a new one for new work.
    """

    def __init__(self) -> None:
        self._own(made(library.cancel_new), library.cancel_free, "cancel token")
        self._lock = threading.Lock()
        self._followers: set[Cancel] = set()

    def trigger(self) -> None:
        """Ends the calls that were given this token, now and later. Does not wait."""
        with self._handle as pointer:
            library.cancel_trigger(pointer)
        with self._lock:
            followers = tuple(self._followers)
        for follower in followers:
            follower.trigger()

    @property
    def triggered(self) -> bool:
        """Whether :meth:`trigger` was called."""
        with self._handle as pointer:
            return bool(library.cancel_is_triggered(pointer))

    def _lead(self, follower: Cancel) -> None:
        """Triggers another token too, until :meth:`_let_go`."""
        with self._handle:  # refuses a closed one
            with self._lock:
                self._followers.add(follower)
            if self.triggered:
                follower.trigger()

    def _let_go(self, follower: Cancel) -> None:
        with self._lock:
            self._followers.discard(follower)


class _ForACall:
    """Options as C has them, for the time of a call: ``with options as c:``."""

    _c: Any
    _cancel: Optional[Cancel]

    def __enter__(self) -> Any:
        if self._cancel is not None:
            self._c.cancel = self._cancel._handle.__enter__()
        return byref(self._c)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._cancel is not None:
            self._c.cancel = c_void_p()
            self._cancel._handle.__exit__()


class EndedOptions(_ForACall):
    """Options of a call that this package may end too: `ending` is a cancel token of its own, which the caller's one
    triggers."""

    def __init__(self, c: Any, cancel: Optional[Cancel]) -> None:
        self._c = c
        self._cancel = self.ending = Cancel()
        self._callers = cancel

    def __enter__(self) -> Any:
        if self._callers is not None:
            self._callers._lead(self.ending)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._callers is not None:
            self._callers._let_go(self.ending)


class Options(_ForACall):
    """Options of the calls of most tasks."""

    def __init__(
        self,
        overflow: Optional[Overflow],
        window_stride: Optional[int],
        timeout: Optional[float],
        cancel: Optional[Cancel],
        *,
        top_k: Optional[int] = None,
        threshold: Optional[float] = None,
        out_of_scope: Optional[float] = None,
        aggregation: Aggregation = "first",
        multi_label: bool = False,
        max_answer_tokens: Optional[int] = None,
        hypothesis: Optional[_texts.Text] = None,
        rank_label: Optional[_texts.Text] = None,
        both_orders: bool = False,
    ) -> None:
        c = _abi.initialised(_abi.CallOptions)
        c.overflow = one_of(_OVERFLOWS, overflow, "overflow")
        if window_stride is not None and overflow != "window":
            raise InvalidArgumentError(f'window_stride is {window_stride} and overflow is not "window"')
        c.window_stride = _texts.number(window_stride, "window_stride", 1, 0xFFFFFFFF)
        c.deadline_ms = milliseconds(timeout)
        c.top_k = _texts.number(top_k, "top_k", 1, _MOST)
        c.threshold = probability(threshold, "threshold")
        c.out_of_scope = probability(out_of_scope, "out_of_scope")
        c.aggregation = one_of(_AGGREGATIONS, aggregation, "aggregation")
        c.multi_label = bool(multi_label)
        c.both_orders = bool(both_orders)
        c.max_answer_tokens = _texts.number(max_answer_tokens, "max_answer_tokens", 1, _MOST)
        for name, text in (("hypothesis", hypothesis), ("rank_label", rank_label)):
            if text is not None:
                data, length = _texts.one(text, name)
                if length == 0:
                    raise InvalidArgumentError(f"{name} is empty: leave it out for the default")
                setattr(c, name, (data, length))
        self._c = c
        self._cancel = cancel


def of_words(aggregation: Aggregation) -> Aggregation:
    """How tokens become words where they have no labels; "first" and "strict" speak of labels."""
    if aggregation == "first":
        raise InvalidArgumentError('aggregation is "first" and must be one of "max", "average", "none"')
    return aggregation


def one_of(values: dict[Any, int], value: Any, name: str) -> int:
    try:
        return values[value]
    except (KeyError, TypeError):
        known = ", ".join(repr(known) for known in values if known is not None)
        raise InvalidArgumentError(f"{name} is {value!r} and must be one of {known}") from None


def milliseconds(timeout: Optional[float]) -> int:
    if timeout is None:
        return 0
    if math.isnan(timeout):
        raise InvalidArgumentError("timeout is not a number")
    # A time that has passed is the shortest one, and not none.
    if timeout <= 0:
        return 1
    return 0 if timeout > 1e15 else max(1, math.ceil(timeout * 1000))


def probability(value: Optional[float], name: str) -> float:
    if value is None:
        return 0.0
    if not math.isfinite(value):
        raise InvalidArgumentError(f"{name} is {value} and must be a finite number")
    return float(value) or _ALMOST_ZERO
