"""Log messages of the library and of ONNX Runtime."""

from __future__ import annotations

import atexit
import logging
import threading
from typing import Any, Optional

from . import _abi
from ._abi import library
from ._errors import check

#: Levels of limbeck.h and those of Python's module logging.
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_lock = threading.Lock()
_current: Any = None


def set_logger(logger: Optional[logging.Logger], lowest: int = logging.WARNING) -> None:
    """Gives log messages of the level `lowest` of the module logging and above, the library's and ONNX Runtime's, to
    a logger, for the whole process; None stops that. Without a logger messages go nowhere."""
    global _current
    function = _abi.LOG()
    if logger is not None:

        def tell(_: Any, level: int, message: Any) -> None:
            # No exception may leave it.
            try:
                logger.log(_LEVELS[min(level, 4)], "%s", message.text())
            except Exception:
                logging.getLogger(__name__).debug("a log message was lost", exc_info=True)

        function = _abi.LOG(tell)
    level = sum(1 for known in _LEVELS if known < lowest)
    with _lock:
        check(library.set_logger, min(level, 4), function, None)
        # The one before is not called any more.
        _current = function


# Threads of ONNX Runtime may outlive the interpreter.
atexit.register(set_logger, None)
