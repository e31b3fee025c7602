"""Calls that Ctrl-C ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from ._options import Cancel

T = TypeVar("T")


def interruptible(work: Callable[[], T], cancel: Cancel) -> T:
    """Does `work`. Signals come to the main thread alone, and there only between two steps of Python's; so that Ctrl-C
    ends a long call, it is made on another thread, and `cancel`, which it was given, is triggered."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    found: list[T] = []
    failed: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            failed.append(error.with_traceback(None))
        finally:
            done.set()

    thread = threading.Thread(target=run, name="limbeck call")
    try:
        try:
            thread.start()
        except RuntimeError:  # there are no more threads, as when a program is ending
            return work()
        done.wait()
    except BaseException:
        cancel.trigger()
        if thread.ident is not None:
            thread.join()
        raise
    thread.join()
    if failed:
        raise failed.pop()  # which nothing here refers to any more
    return found[0]
