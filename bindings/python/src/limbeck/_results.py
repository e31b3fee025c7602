"""What calls answer."""

from __future__ import annotations

import ctypes
import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, overload

from ._abi import library


@dataclass(frozen=True)
class Usage:
    """What was read of a text, and how long it took."""

    tokens_used: int  #: Tokens that the model read, special ones included; each counts once.
    tokens_dropped: int  #: Tokens of the text that it did not read.
    windows: int  #: Windows the text was read in; 1 unless it was too long.
    tokenize_ms: float = field(compare=False)  #: From text to token ids.
    inference_ms: float = field(compare=False)  #: Waiting and running; texts that ran together share them.
    post_ms: float = field(compare=False)  #: From the model's numbers to the answer.


@dataclass(frozen=True)
class Span:
    """A piece of a text, in the units of three worlds: ``text[span.start:span.end]`` in Python."""

    start: int  #: In code points, as Python counts.
    end: int
    utf16_start: int  #: In UTF-16 code units, as JavaScript and Java count.
    utf16_end: int
    byte_start: int  #: In bytes of UTF-8.
    byte_end: int


class _Placed:
    """What stands in a text: `start` and `end` count code points, as slices of a str do."""

    span: Span

    @property
    def start(self) -> int:
        return self.span.start

    @property
    def end(self) -> int:
        return self.span.end


@dataclass(frozen=True)
class Label:
    """A label with its score."""

    label: str  #: Its name.
    index: int  #: Its place in the list of the model or of the head.
    probability: float  #: 0 to 1; the logit itself if the model has none.
    logit: float  #: The model's raw score.
    holds: bool  #: Whether the label holds: the best one, or those above their threshold; none out of scope.


@dataclass(frozen=True)
class ZeroShotLabel:
    """A label of the caller's with its score."""

    label: str
    index: int  #: Its place in the call.
    probability: float


@dataclass(frozen=True)
class Entity(_Placed):
    """A piece of a text with a label."""

    label: str  #: What it is: "PER".
    text: str  #: The piece itself.
    score: float  #: Mean probability of the labels of its words.
    span: Span  #: Where it stands.


@dataclass(frozen=True)
class Answer(_Placed):
    """A piece of a text that answers a question."""

    text: str
    score: float  #: Probability of its start times that of its end, summed over places with the same words.
    span: Span


@dataclass(frozen=True)
class Guess:
    """What could stand in place of a mask."""

    text: str  #: The token as text.
    token: str  #: The token as it stands in the vocabulary: "##ing".
    id: int
    probability: float  #: Among all tokens of the vocabulary.


@dataclass(frozen=True)
class Mask(_Placed):
    """A mask of a text, with the guesses for it, the likeliest first."""

    guesses: tuple[Guess, ...]
    span: Span


@dataclass(frozen=True)
class Ranked:
    """A text that was ranked."""

    index: int  #: Its place in the call.
    score: float
    usage: Usage


class Several:
    """A result that is a sequence of its items, the best first."""

    def _items(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items())

    def __getitem__(self, at: int) -> Any:
        return self._items()[at]


@dataclass(frozen=True)
class Classification(Several):
    """The labels of a text, the best first."""

    labels: tuple[Label, ...]
    in_scope: bool  #: Whether the best label is sure enough for the text to be the model's business at all.
    usage: Usage

    @property
    def best(self) -> Label:
        return self.labels[0]

    def _items(self) -> tuple[Label, ...]:
        return self.labels


@dataclass(frozen=True)
class ZeroShot(Several):
    """The caller's labels for a text, the best first."""

    labels: tuple[ZeroShotLabel, ...]
    usage: Usage

    @property
    def best(self) -> ZeroShotLabel:
        return self.labels[0]

    def _items(self) -> tuple[ZeroShotLabel, ...]:
        return self.labels


@dataclass(frozen=True)
class Tagging(Several):
    """The entities of a text, in its order."""

    entities: tuple[Entity, ...]
    usage: Usage

    def _items(self) -> tuple[Entity, ...]:
        return self.entities


@dataclass(frozen=True)
class Answers(Several):
    """The answers to a question, the best first."""

    answers: tuple[Answer, ...]
    no_answer: float  #: The score of "the text does not say", to be compared with those of the answers.
    usage: Usage

    @property
    def best(self) -> Optional[Answer]:
        return self.answers[0] if self.answers else None

    def _items(self) -> tuple[Answer, ...]:
        return self.answers


@dataclass(frozen=True)
class FilledMasks(Several):
    """The masks of a text, in its order."""

    masks: tuple[Mask, ...]
    usage: Usage

    def _items(self) -> tuple[Mask, ...]:
        return self.masks


@dataclass(frozen=True)
class Order:
    """Which of two texts comes first."""

    probability: float  #: How likely the first text comes before the second; else it comes after it.
    logit: float  #: The natural log of its odds, before the bundle's calibration.
    usage: Usage


@dataclass(frozen=True)
class Replaced(_Placed):
    """A piece of a text, with how likely it was put there in place of another."""

    text: str  #: The piece itself.
    probability: float  #: How likely something else stood here.
    span: Span  #: Where it stands; a single token may cut through a character.


@dataclass(frozen=True)
class Replacements(Several):
    """The suspicious words of a text, in its order."""

    spans: tuple[Replaced, ...]
    tokens: tuple[Replaced, ...]  #: Every token that was read, suspicious or not.
    usage: Usage

    def _items(self) -> tuple[Replaced, ...]:
        return self.spans


@dataclass(frozen=True)
class Embedding:
    """The vector of a text: a memoryview of floats, which NumPy takes without a copy: ``numpy.asarray(embedding)``."""

    vector: memoryview
    usage: Usage

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return as_array(self.vector, dtype, copy)


@dataclass(frozen=True)
class Embeddings:
    """The vectors of texts, one a row; NumPy takes all of them without a copy: ``numpy.asarray(embeddings)``."""

    vectors: memoryview  #: Of shape (texts, floats); of length 0 for no texts.
    usages: tuple[Usage, ...]  #: One for each text.
    size: int  #: Floats of a vector.

    def __len__(self) -> int:
        return len(self.usages)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        array = as_array(self.vectors, dtype, copy)
        return array.reshape(len(self.usages), self.size)

    @overload
    def __getitem__(self, at: int) -> memoryview: ...
    @overload
    def __getitem__(self, at: slice) -> list[memoryview]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        place = operator.index(at)
        place += len(self) if place < 0 else 0
        if not 0 <= place < len(self):
            raise IndexError(f"there are {len(self)} vectors, and none at {at}")
        flat = self.vectors.cast("B").cast("f")
        return flat[place * self.size : (place + 1) * self.size]

    def __iter__(self) -> Iterator[memoryview]:
        return (self[i] for i in range(len(self)))


def as_array(view: memoryview, dtype: Any, copy: Any) -> Any:
    import numpy  # type: ignore[import-not-found,unused-ignore]

    array = numpy.frombuffer(view, dtype=numpy.float32).reshape(view.shape)
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError(f"the vectors are float32: as {dtype} they must be copied")
        return array.astype(dtype)
    return array.copy() if copy else array


# ---- from the library's JSON


def taken(result: int) -> Sequence[dict[str, Any]]:
    """What a result holds, with fields for each text. Frees it."""
    try:
        view = library.result_json(result)
        found: list[dict[str, Any]] = json.loads(ctypes.string_at(view.data, view.length))
        return found
    finally:
        library.result_free(result)


def usage(fields: dict[str, Any]) -> Usage:
    return Usage(
        fields["tokens_used"],
        fields["tokens_dropped"],
        fields["windows"],
        fields["tokenize_ms"],
        fields["inference_ms"],
        fields["post_ms"],
    )


def number(value: Optional[float]) -> float:
    # JSON has no other word for what is not a number.
    return float("nan") if value is None else value


def _span(fields: dict[str, Any]) -> Span:
    return Span(*fields["chars"], *fields["utf16"], *fields["bytes"])


def classification(fields: dict[str, Any]) -> Classification:
    labels = (
        Label(label["label"], label["index"], number(label["probability"]), number(label["logit"]), label["holds"])
        for label in fields["labels"]
    )
    return Classification(tuple(labels), fields["in_scope"], usage(fields))


def zero_shot(fields: dict[str, Any]) -> ZeroShot:
    labels = (ZeroShotLabel(label["label"], label["index"], number(label["probability"])) for label in fields["labels"])
    return ZeroShot(tuple(labels), usage(fields))


def ranked(fields: dict[str, Any]) -> Ranked:
    return Ranked(fields["index"], number(fields["score"]), usage(fields))


def tagging(fields: dict[str, Any]) -> Tagging:
    entities = (
        Entity(entity["label"], entity["text"], number(entity["score"]), _span(entity["span"]))
        for entity in fields["entities"]
    )
    return Tagging(tuple(entities), usage(fields))


def answers(fields: dict[str, Any]) -> Answers:
    found = (Answer(answer["text"], number(answer["score"]), _span(answer["span"])) for answer in fields["answers"])
    return Answers(tuple(found), number(fields["no_answer"]), usage(fields))


def filled_masks(fields: dict[str, Any]) -> FilledMasks:
    def guesses(mask: dict[str, Any]) -> tuple[Guess, ...]:
        return tuple(Guess(g["text"], g["token"], g["id"], number(g["probability"])) for g in mask["guesses"])

    masks = tuple(Mask(guesses(mask), _span(mask["span"])) for mask in fields["masks"])
    return FilledMasks(masks, usage(fields))


def order(fields: dict[str, Any]) -> Order:
    return Order(fields["probability"], fields["logit"], usage(fields))


def replacements(fields: dict[str, Any]) -> Replacements:
    def pieces(name: str) -> tuple[Replaced, ...]:
        return tuple(Replaced(p["text"], p["probability"], _span(p["span"])) for p in fields[name])

    return Replacements(pieces("spans"), pieces("tokens"), usage(fields))
