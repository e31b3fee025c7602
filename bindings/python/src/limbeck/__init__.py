"""limbeck runs small language models, distilled from large ones, on the device itself.

    import limbeck

    with limbeck.Model("sentiment.limbeck") as model:
        for label in model.classify("crisp screen, awful battery"):
            print(label.label, label.probability)

One file, a bundle, holds a model; ONNX Runtime does the arithmetic (:func:`load_runtime`).
"""

from ._abi import library as _library
from ._bundle import Bundle, Decrypt
from ._errors import (
    BundleError,
    CancelledError,
    CorruptError,
    DeadlineExceededError,
    Error,
    IncompatibleError,
    InferenceError,
    InternalError,
    InvalidArgumentError,
    InvalidUtf8Error,
    IoError,
    MalformedError,
    MemoryBudgetError,
    NotABundleError,
    NotFoundError,
    RollbackError,
    RuntimeIncompatibleError,
    RuntimeNotFoundError,
    SelfTestError,
    SignatureError,
    Status,
    TokenizerError,
    TooLongError,
    TruncatedError,
    WrongTaskError,
)
from ._generation import Context, Finish, Generation, Piece
from ._head import Head
from ._log import set_logger
from ._model import Memory, Metrics, Model, SelfTest
from ._options import Aggregation, Cancel, Overflow
from ._prompt import Choice, Choices, Perplexity, Prompt, PromptUsage, Score, Scoring
from ._results import (
    Answer,
    Answers,
    Classification,
    Embedding,
    Embeddings,
    Entity,
    FilledMasks,
    Guess,
    Label,
    Mask,
    Order,
    Ranked,
    Replaced,
    Replacements,
    Span,
    Tagging,
    Usage,
    ZeroShot,
    ZeroShotLabel,
)
from ._runtime import Runtime, load_runtime
from ._slot import Slot
from ._stream import Stream
from ._vectors import Neighbour, nearest, similarity


def open_handles() -> int:
    """How many handles of the library are open in the process, for objects of this package and for calls that run: to
    look for leaks."""
    return int(_library.open_handles())


__version__: str = _library.limbeck_version().decode()

__all__ = [
    "Aggregation",
    "Answer",
    "Answers",
    "Bundle",
    "BundleError",
    "Cancel",
    "CancelledError",
    "Choice",
    "Choices",
    "Classification",
    "Context",
    "CorruptError",
    "DeadlineExceededError",
    "Decrypt",
    "Embedding",
    "Embeddings",
    "Entity",
    "Error",
    "FilledMasks",
    "Finish",
    "Generation",
    "Guess",
    "Head",
    "IncompatibleError",
    "InferenceError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidUtf8Error",
    "IoError",
    "Label",
    "MalformedError",
    "Mask",
    "Memory",
    "MemoryBudgetError",
    "Metrics",
    "Model",
    "Neighbour",
    "NotABundleError",
    "NotFoundError",
    "Order",
    "Overflow",
    "Perplexity",
    "Piece",
    "Prompt",
    "PromptUsage",
    "Ranked",
    "Replaced",
    "Replacements",
    "RollbackError",
    "Runtime",
    "RuntimeIncompatibleError",
    "RuntimeNotFoundError",
    "Score",
    "Scoring",
    "SelfTest",
    "SelfTestError",
    "SignatureError",
    "Slot",
    "Span",
    "Status",
    "Stream",
    "Tagging",
    "TokenizerError",
    "TooLongError",
    "TruncatedError",
    "Usage",
    "WrongTaskError",
    "ZeroShot",
    "ZeroShotLabel",
    "load_runtime",
    "nearest",
    "open_handles",
    "set_logger",
    "similarity",
]
