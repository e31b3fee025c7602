"""Texts while they are written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Optional, Union

from . import _abi, _threads
from ._errors import CancelledError
from ._generation import Generation, Piece, unfinished
from ._options import Cancel


class _Exchange:
    """What a stream and the thread of its call share: one piece at a time, so that nothing is written ahead of the
    reader. No session of the model is held while the call waits for it."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        # Not a lock that a destructor, which runs anywhere, could wait for in vain: it may be taken twice.
        self._changed = threading.Condition()
        self._asked = True
        self._left = False
        self._piece: Optional[Piece] = None
        self._read: list[Piece] = []
        self._wakes: list[Callable[[], None]] = []
        self.outcome: Union[Generation, BaseException, None] = None

    def give(self, piece: Piece) -> bool:
        """Gives a piece to the reader, on the thread of the call. Whether there are to be more."""
        with self._changed:
            self._piece, self._asked = piece, False
            self._tell()
            while not (self._asked or self._left):
                self._changed.wait()
            return not self._left

    def finish(self, outcome: Union[Generation, BaseException]) -> None:
        """The call has returned."""
        with self._changed:
            if self._left and isinstance(outcome, CancelledError):  # by `leave`
                outcome = unfinished(self._read)
            self.outcome = outcome
            self._tell()

    def take(self) -> Optional[Piece]:
        """The next piece; None if there is none."""
        with self._changed:
            while not self._settled():
                self._changed.wait()
            return self._taken()

    def poll(self, wake: Callable[[], None]) -> tuple[bool, Optional[Piece]]:
        """As :meth:`take`, for who cannot wait: whether it is known by now what comes next, and that. If not, `wake`
        is called, on another thread, when it is time to ask again."""
        with self._changed:
            if self._settled():
                return True, self._taken()
            self._wakes.append(wake)
            return False, None

    def has_ended(self, wake: Callable[[], None]) -> bool:
        """Whether the call has returned. If not, `wake` is called as for :meth:`poll`."""
        with self._changed:
            if self.outcome is None:
                self._wakes.append(wake)
            return self.outcome is not None

    def _settled(self) -> bool:
        """Whether there is a piece, or will be none; else one is asked for."""
        if self._left or self._piece is not None or self.outcome is not None:
            return True
        if not self._asked:
            self._asked = True
            self._changed.notify_all()
        return False

    def _taken(self) -> Optional[Piece]:
        piece, self._piece = self._piece, None
        if self._left or piece is None:
            return None
        self._read.append(piece)
        return piece

    def _tell(self) -> None:
        self._changed.notify_all()
        wakes, self._wakes = self._wakes, []
        for wake in wakes:
            wake()

    def leave(self) -> None:
        """The reader wants no more."""
        with self._changed:
            self._left = True
            self._tell()
            at_work = self._asked and self.outcome is None
        if at_work:  # on a token that is not wanted
            self._cancel.trigger()

    @property
    def left(self) -> bool:
        return self._left


def _work(call: Callable[[Any], Generation], exchange: _Exchange) -> None:
    def token(_: Any, id: int, text: _abi.Str) -> bool:
        # No exception may leave it; there is none but for want of memory.
        try:
            return exchange.give(Piece(id, text.text()))
        except BaseException as error:
            kept.append(error)
            return False

    kept: list[BaseException] = []
    outcome: Union[Generation, BaseException]
    try:
        outcome = call(_abi.TOKEN(token))
    except BaseException as error:
        # It is raised anew where the text is read, and this frame is of no use there.
        outcome = error.with_traceback(None)
    exchange.finish(kept[0] if kept else outcome)


class Stream:
    """A text while it is written: an iterator of its pieces, token by token.

    The call begins when the first piece is asked for, on a thread of its own, and writes a token whenever one is asked
    for. What makes it fail is raised by the loop, after the pieces that were written before. Leaving the loop ends the
    call when nothing refers to the stream any more: keep it in no variable, or close it by ``with``.
    """

    def __init__(self, call: Callable[[Any], Generation], cancel: Cancel) -> None:
        self._exchange = _Exchange(cancel)
        self._call: Optional[Callable[[Any], Generation]] = call
        self._thread: Optional[threading.Thread] = None
        self._starting = threading.Lock()
        self._told = False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Piece:
        self._start()
        try:
            piece = self._exchange.take()
        except BaseException:  # Ctrl-C
            self._exchange.leave()
            raise
        if piece is not None:
            return piece
        self._fail()
        raise StopIteration

    def close(self) -> None:
        """Ends the text where it is, and waits until the call has ended. A second time does nothing."""
        self._exchange.leave()
        if self._thread is not None:
            self._thread.join()

    @property
    def result(self) -> Generation:
        """What was written: the whole text after the last piece, and after :meth:`close` as far as it was read
        (`finish` is "unfinished"; if a token was being written just then, nothing is known but `text` and `ids`, and the
        numbers are 0). Raises what made the call fail, or ValueError if it has not ended."""
        outcome = self._exchange.outcome
        if outcome is None:
            if self._exchange.left:
                raise ValueError("the stream was closed before anything was written")
            raise ValueError("the stream has not ended: read on, or close it")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _fail(self) -> None:
        """Raises what made the call fail, once, to who reads to the end."""
        outcome = self._exchange.outcome
        if isinstance(outcome, BaseException) and not self._told and not self._exchange.left:
            self._told = True
            raise outcome

    def _start(self) -> None:
        with self._starting:
            call, self._call = self._call, None
            if call is None or self._exchange.left:
                return
            # The thread knows what is exchanged and not the stream, which can so be forgotten meanwhile.
            work = partial(_work, call, self._exchange)
            try:
                self._thread = _threads.start(work, self._exchange.leave, "limbeck stream")
            except BaseException:
                self._exchange.leave()
                raise

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._exchange.leave()
