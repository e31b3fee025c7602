"""Why a call failed: an exception class for each status."""

from __future__ import annotations

import enum
from ctypes import byref, c_void_p
from typing import Any

from ._abi import library


class Status(enum.IntEnum):
    """The numbers of enum limbeck_status_code, by name."""

    INVALID_ARGUMENT = 1
    INVALID_UTF8 = 2
    NOT_FOUND = 3
    IO = 4
    NOT_A_BUNDLE = 5
    TRUNCATED = 6
    CORRUPT = 7
    MALFORMED = 8
    INCOMPATIBLE = 9
    WRONG_TASK = 10
    TOO_LONG = 11
    CANCELLED = 12
    DEADLINE_EXCEEDED = 13
    RUNTIME_NOT_FOUND = 14
    RUNTIME_INCOMPATIBLE = 15
    INFERENCE = 16
    TOKENIZER = 17
    MEMORY_BUDGET = 18
    SIGNATURE = 19
    SELF_TEST = 20
    NULL_POINTER = 21
    BAD_STRUCT_SIZE = 22
    ROLLBACK = 23
    INTERNAL = 99


class Error(Exception):
    """A call failed. The text says what failed and, where there is a way, how to mend it."""

    #: The status of this class; of an instance, the one that the library gave.
    status: int = Status.INTERNAL

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status

    @property
    def status_name(self) -> str:
        """The name of the status: "LIMBECK_NOT_FOUND"."""
        return str(library.status_name(self.status).decode())

    def __str__(self) -> str:
        return self.message


class InvalidArgumentError(Error, ValueError):
    """An argument or option has a value that cannot be used."""

    status = Status.INVALID_ARGUMENT


class InvalidUtf8Error(Error, ValueError):
    """A text has no UTF-8: half of a surrogate pair, or bytes that are none."""

    status = Status.INVALID_UTF8


class NotFoundError(Error, FileNotFoundError):
    """A file is not there."""

    status = Status.NOT_FOUND


class IoError(Error, OSError):
    """The operating system refused to read or write a file."""

    status = Status.IO


class BundleError(Error):
    """Something is wrong with a bundle."""


class NotABundleError(BundleError):
    """The file is no limbeck bundle."""

    status = Status.NOT_A_BUNDLE


class TruncatedError(BundleError):
    """The bundle ends before it should."""

    status = Status.TRUNCATED


class CorruptError(BundleError):
    """Bytes of the bundle do not have the hash they should."""

    status = Status.CORRUPT


class MalformedError(BundleError):
    """The bundle breaks a rule of its format."""

    status = Status.MALFORMED


class IncompatibleError(BundleError):
    """The bundle or the program needs another version."""

    status = Status.INCOMPATIBLE


class SignatureError(BundleError):
    """A signature is missing or wrong."""

    status = Status.SIGNATURE


class RollbackError(BundleError):
    """The bundle is an older build than it may be."""

    status = Status.ROLLBACK


class SelfTestError(BundleError):
    """A bundle's own test inputs did not give the outputs expected."""

    status = Status.SELF_TEST


class WrongTaskError(Error):
    """The model was made for another task."""

    status = Status.WRONG_TASK


class TooLongError(Error):
    """The text is longer than the model takes."""

    status = Status.TOO_LONG


class CancelledError(Error):
    """The call was cancelled."""

    status = Status.CANCELLED


class DeadlineExceededError(Error, TimeoutError):
    """The time given to a call passed before it was finished."""

    status = Status.DEADLINE_EXCEEDED


class RuntimeNotFoundError(Error):
    """No ONNX Runtime library was found."""

    status = Status.RUNTIME_NOT_FOUND


class RuntimeIncompatibleError(Error):
    """The ONNX Runtime library found cannot be used."""

    status = Status.RUNTIME_INCOMPATIBLE


class InferenceError(Error):
    """ONNX Runtime refused the model or failed while running it."""

    status = Status.INFERENCE


class TokenizerError(Error):
    """The bundle's tokenizer cannot be read, or failed on a text."""

    status = Status.TOKENIZER


class MemoryBudgetError(Error):
    """A memory budget cannot be kept."""

    status = Status.MEMORY_BUDGET


class InternalError(Error):
    """A bug in limbeck. Please report it."""

    status = Status.INTERNAL


def _classes(base: type[Error]) -> dict[int, type[Error]]:
    found = {int(base.status): base} if "status" in vars(base) and base is not Error else {}
    for derived in base.__subclasses__():
        found.update(_classes(derived))
    return found


_BY_STATUS = _classes(Error)
# What a binding does wrong, and not its user.
_BY_STATUS[Status.NULL_POINTER] = _BY_STATUS[Status.BAD_STRUCT_SIZE] = InternalError


def taken(status: int, error: c_void_p) -> Error:
    """The exception of a failed call. Frees the error object."""
    try:
        message = library.error_message(error).text()
    finally:
        library.error_free(error)
    # A status that a later library has and this package does not know.
    return _BY_STATUS.get(status, Error)(message, status)


def check(function: Any, *arguments: Any) -> None:
    """Makes a call whose last parameter is the place for an error.

    Raises the exception of its status if it fails.
    """
    error = c_void_p()
    status = function(*arguments, byref(error))
    if status != 0:
        raise taken(status, error)
