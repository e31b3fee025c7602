"""Blocking calls that asyncio's tasks wait for."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from . import _threads

T = TypeVar("T")

#: The most threads of one `Workers`. More than a model has sessions, so that texts that are written, which give theirs
#: away after each token, do not wait for each other.
MOST = 32
#: How many seconds a thread waits for its next call. To start one holds up the loop, for milliseconds on a busy machine.
REST = 1.0


class Signal:
    """What a task waits for and another thread says, once. The loop may be closed by then."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._said = self._loop.create_future()

    def say(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if not self._said.done():
            self._said.set_result(None)

    async def wait(self) -> None:
        await asyncio.wait((self._said,))

    async def wait_undisturbed(self) -> None:
        """For a task that is cancelled already: to be so once more changes nothing. (anyio does it at each turn of the
        loop until the task goes on, so that the loop is busy meanwhile.)"""
        while not self._said.done():
            with contextlib.suppress(asyncio.CancelledError):
                await self.wait()


class _Call:
    """A call that waits for a thread or has one."""

    def __init__(self, work: Callable[[], Any], end: Callable[[], None]) -> None:
        self._work = work
        self.end = end
        self.ended = Signal()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:
            # It is raised anew in the task, and this frame is of no use there.
            self.error = error.with_traceback(None)
        self.ended.say()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.ended.say()


class Workers:
    """Threads that calls are made on, up to MOST; more calls wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._waiting: deque[_Call] = deque()
        self._running: set[_Call] = set()
        self._ended = False
        self._process = os.getpid()

    async def run(self, work: Callable[[], T], end: Callable[[], None]) -> T:
        """Does `work` on a thread, with the context of the task. If the task is cancelled, `end` makes it return soon,
        and only then does the task go on: nothing is done behind its back."""
        if self._process != os.getpid():  # a fork, which has none of the threads
            Workers.__init__(self)
        call = _Call(partial(contextvars.copy_context().run, work), end)
        try:
            self._start(call)
            await call.ended.wait()
        except BaseException as error:
            end()
            if not self._withdraw(call) and isinstance(error, asyncio.CancelledError):
                await call.ended.wait_undisturbed()
            del call  # and what it made, which the error would keep
            raise
        if call.error is None:
            return call.result  # type: ignore[no-any-return]
        try:
            raise call.error
        finally:
            del call  # which the error would refer to, and it to the error

    def _start(self, call: _Call) -> None:
        with self._changed:
            if self._ended:
                raise RuntimeError("the program is ending")
            self._waiting.append(call)
            self._changed.notify()
            if len(self._waiting) <= self._idle or self._threads == MOST:
                return
            self._threads += 1
        try:
            _threads.start(self._work, self._end, "limbeck call")
        except BaseException as error:
            with self._changed:
                self._threads -= 1
                if not isinstance(error, RuntimeError):
                    raise
                # There are no more threads.
                if self._threads > 0:  # one of which will make it
                    return
                failed = tuple(self._waiting)
                self._waiting.clear()
            for call in failed:
                call.fail(error)

    def _withdraw(self, call: _Call) -> bool:
        """Whether the call has not begun, and will not."""
        with self._changed:
            if call not in self._waiting:
                return False
            self._waiting.remove(call)
            return True

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._waiting or self._ended, REST)
                self._idle -= 1
                if not self._waiting:
                    self._threads -= 1
                    return
                call = self._waiting.popleft()
                self._running.add(call)
            call.run()
            with self._changed:
                self._running.discard(call)
            del call  # and what it made, if nobody takes it

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()
            running = tuple(self._running)
        for call in running:
            call.end()
