"""Threads of this package's own."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable

#: Those that run, with what ends their work. They do not keep a program from ending, but must have ended before the
#: interpreter does: they could not return to it.
_running: dict[threading.Thread, Callable[[], None]] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)  # where there are none of them
_ending = False


@atexit.register
def _end_all() -> None:
    global _ending
    _ending = True
    while _running:
        for thread, end in list(_running.items()):
            end()
            try:
                thread.join()
            except RuntimeError:  # a thread that outlives the main one is just starting it
                time.sleep(0.001)


def start(work: Callable[[], None], end: Callable[[], None], name: str) -> threading.Thread:
    """Does `work` on a new thread. `end` makes it return soon, from another one. Raises RuntimeError if there are no
    more threads, as when the program is ending."""

    def run() -> None:
        if thread not in _running:  # Ctrl-C came while it was started
            return
        try:
            work()
        finally:
            _running.pop(thread, None)

    thread = threading.Thread(target=run, name=name, daemon=True)
    _running[thread] = end
    try:
        # Looked at only now: what ends all threads sees this one, or this sees that they are ended.
        if _ending:
            raise RuntimeError("the program is ending")
        thread.start()
    except BaseException:
        if thread.ident is None:
            _running.pop(thread, None)
        raise
    return thread
