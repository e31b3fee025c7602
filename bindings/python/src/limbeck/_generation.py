"""Texts that are written, and how."""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Optional

from . import _abi, _texts
from ._errors import InvalidArgumentError
from ._options import Cancel, EndedOptions, milliseconds, one_of, probability

#: Why a text ended: the model wrote its end of text; a stop string came; as many tokens were written as were allowed;
#: the context was full; its reader left.
Finish = Literal["end_of_text", "stop", "length", "context", "unfinished"]
#: What to do when the context is full: refuse before anything is written, stop there, or forget the oldest tokens.
Context = Literal["error", "stop", "slide"]

_CONTEXTS = {"error": 0, "stop": 1, "slide": 2}
_MOST = (1 << 63) - 1


@dataclass(frozen=True)
class Piece:
    """A token as it is written."""

    id: int
    #: What became certain with it: whole characters, and nothing that may yet be part of a stop string. May be empty.
    text: str


@dataclass(frozen=True)
class Generation:
    """A text that was written."""

    text: str  #: What follows the prompt, without end of text or stop string.
    ids: array[int]  #: Its tokens, the one that ended it among them; ``numpy.asarray(ids)`` takes them without a copy.
    finish: Finish  #: Why it ended.
    stop: Optional[str]  #: The stop string that came.
    prompt_tokens: int  #: Tokens of the prompt.
    cached_tokens: int  #: Of those, tokens that were read in an earlier call: see :class:`Prompt`.
    tokens_dropped: int  #: Tokens at the beginning that were forgotten: ``context="slide"``.
    examples: int  #: Examples that stand in the prompt.
    examples_dropped: int  #: Examples for which there was no room.
    tokenize_ms: float = field(compare=False)  #: From text to token ids.
    prefill_ms: float = field(compare=False)  #: Reading prompts, and what is read anew when the context is full.
    decode_ms: float = field(compare=False)  #: Running the model for all further tokens.
    sampling_ms: float = field(compare=False)  #: Choosing tokens, and making text of them.

    def __str__(self) -> str:
        return self.text


class GenerateOptions(EndedOptions):
    """How text is written, as C has it, for the time of a call."""

    def __init__(
        self,
        *,
        max_new_tokens: Optional[int],
        temperature: float,
        top_p: Optional[float],
        top_k: Optional[int],
        seed: int,
        repetition_penalty: Optional[float],
        ignore_eos: bool,
        stops: Iterable[_texts.Text],
        context: Context,
        context_keep: Optional[int],
        timeout: Optional[float],
        cancel: Optional[Cancel],
    ) -> None:
        c = _abi.initialised(_abi.GenerateOptions)
        c.max_new_tokens = _texts.number(max_new_tokens, "max_new_tokens", 1, _MOST)
        c.temperature = temperature
        c.top_p = probability(top_p, "top_p")
        c.top_k = _texts.number(top_k, "top_k", 1, _MOST)
        c.seed = _texts.number(seed, "seed", 0, (1 << 64) - 1)
        if repetition_penalty is not None:
            if not (math.isfinite(repetition_penalty) and repetition_penalty > 0):
                raise InvalidArgumentError(f"repetition_penalty is {repetition_penalty} and must be above 0")
            c.repetition_penalty = repetition_penalty
        c.ignore_eos = bool(ignore_eos)
        self._stops, c.stop_count = _texts.many(stops, "stops")
        c.stops = ctypes.cast(self._stops, ctypes.POINTER(_abi.InStr))
        c.context = one_of(_CONTEXTS, context, "context")
        if context_keep is not None and context != "slide":
            raise InvalidArgumentError(f'context_keep is {context_keep} and context is not "slide"')
        c.context_keep = _texts.number(context_keep, "context_keep", 1, 0xFFFFFFFF)
        c.deadline_ms = milliseconds(timeout)
        super().__init__(c, cancel)


def generation(fields: dict[str, Any]) -> Generation:
    """From the library's JSON."""
    return Generation(
        fields["text"],
        array("I", fields["ids"]),
        fields["finish"].replace("-", "_"),
        fields.get("stop"),
        fields["prompt_tokens"],
        fields["cached_tokens"],
        fields["tokens_dropped"],
        fields["examples"],
        fields["examples_dropped"],
        fields["tokenize_ms"],
        fields["prefill_ms"],
        fields["decode_ms"],
        fields["sampling_ms"],
    )


def unfinished(pieces: Iterable[Piece]) -> Generation:
    """What is known of a text whose call was cancelled, by its pieces."""
    pieces = tuple(pieces)
    text, ids = "".join(piece.text for piece in pieces), array("I", (piece.id for piece in pieces))
    return Generation(text, ids, "unfinished", None, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)
