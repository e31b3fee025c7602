"""Threads of this package's own."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

#: Those that run, with what ends their work. They do not keep a program from ending, but must have ended before the
#: interpreter does: they could not return to it.
_running: dict[threading.Thread, Callable[[], None]] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)  # where there are none of them


@atexit.register
def _end_all() -> None:
    for thread, end in list(_running.items()):
        end()
        thread.join()


def start(work: Callable[[], None], end: Callable[[], None], name: str) -> threading.Thread:
    """Does `work` on a new thread. `end` makes it return soon, from another one. Raises RuntimeError if there are no
    more threads."""

    def run() -> None:
        try:
            work()
        finally:
            _running.pop(threading.current_thread(), None)

    thread = threading.Thread(target=run, name=name, daemon=True)
    _running[thread] = end
    try:
        thread.start()
    except BaseException:
        del _running[thread]
        raise
    return thread
