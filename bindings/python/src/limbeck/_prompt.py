"""Prompts with examples, and how likely a model finds text."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Optional, Union

from . import _abi, _texts
from ._errors import InvalidArgumentError
from ._options import Cancel, EndedOptions, milliseconds, one_of
from ._results import Several, number
from ._texts import Pair, Text

#: What completions are compared by: the log probability of a token, the mean over the completion; that of the whole
#: completion; that over its bytes; how much likelier it is after the prompt than after `answer_context`.
Scoring = Literal["per_token", "sum", "per_byte", "answer_context"]

_SCORINGS = {"per_token": 0, "sum": 1, "per_byte": 2, "answer_context": 3}
_MOST = (1 << 63) - 1


@dataclass(frozen=True)
class Prompt:
    """A text to be completed: an instruction, examples, and the query, put together as they are with the separator
    between them. What stands before the query is read once, and gone on from in later calls as long as the model has
    room for it: ``dataclasses.replace(prompt, query=...)`` is the same prompt for another query.
    """

    query: Text  #: What is to be completed.
    examples: Sequence[Pair] = ()  #: Texts like the query with their completions, usually with the space before them.
    instruction: Text = ""  #: What comes first.
    separator: Optional[Text] = None  #: Stands between the parts: two line ends by default, nothing if empty.
    #: The most tokens of the prompt; examples that do not fit are left out, the last ones first, and reported. By
    #: default what the context has room for.
    max_tokens: Optional[int] = None
    all_examples: bool = False  #: An example that does not fit is TooLongError.


class PromptInput:
    """A prompt as C has it: ``c``. Keeps its texts alive."""

    def __init__(self, prompt: Union[Text, Prompt]) -> None:
        if not isinstance(prompt, Prompt):
            prompt = Prompt(prompt)
        c = self.c = _abi.initialised(_abi.Prompt)
        c.query = _texts.one(prompt.query, "prompt.query")
        c.instruction = _texts.one(prompt.instruction, "prompt.instruction")
        self._examples, c.example_count = _texts.pairs(prompt.examples, "prompt.examples")
        c.examples = ctypes.cast(self._examples, ctypes.POINTER(_abi.InPair))
        if prompt.separator is not None:
            c.separator = _texts.one(prompt.separator, "prompt.separator")
        c.max_tokens = _texts.number(prompt.max_tokens, "prompt.max_tokens", 1, _MOST)
        c.all_examples = bool(prompt.all_examples)


class ChooseOptions(EndedOptions):
    """How completions are scored, as C has it, for the time of a call."""

    def __init__(
        self,
        scoring: Scoring,
        answer_context: Optional[Text],
        content_free: Iterable[Text],
        timeout: Optional[float],
        cancel: Optional[Cancel],
    ) -> None:
        c = _abi.initialised(_abi.ChooseOptions)
        c.scoring = one_of(_SCORINGS, scoring, "scoring")
        if answer_context is not None:
            if scoring != "answer_context":
                raise InvalidArgumentError('answer_context is given and scoring is not "answer_context"')
            c.answer_context = _texts.one(answer_context, "answer_context")
        self._content_free, c.content_free_count = _texts.many(content_free, "content_free")
        c.content_free = ctypes.cast(self._content_free, ctypes.POINTER(_abi.InStr))
        c.deadline_ms = milliseconds(timeout)
        super().__init__(c, cancel)


class PerplexityOptions(EndedOptions):
    """How a text is scored, as C has it, for the time of a call."""

    def __init__(
        self, stride: Optional[int], from_start: bool, timeout: Optional[float], cancel: Optional[Cancel]
    ) -> None:
        c = _abi.initialised(_abi.PerplexityOptions)
        c.stride = _texts.number(stride, "stride", 1, _MOST)
        c.from_start = bool(from_start)
        c.deadline_ms = milliseconds(timeout)
        super().__init__(c, cancel)


# ---- results


@dataclass(frozen=True)
class PromptUsage:
    """What was read of a prompt, and how long it took."""

    prompt_tokens: int  #: Tokens of the prompt.
    cached_tokens: int  #: Of those, tokens that were read in an earlier call.
    examples: int  #: Examples that stand in the prompt.
    examples_dropped: int  #: Examples for which there was no room.
    tokenize_ms: float = field(compare=False)  #: From text to token ids.
    inference_ms: float = field(compare=False)  #: Waiting and running.
    post_ms: float = field(compare=False)  #: From the model's numbers to the answer.


@dataclass(frozen=True)
class Choice:
    """A completion with its score."""

    text: str  #: The completion.
    index: int  #: Its place among the completions given.
    score: float  #: What completions are compared by.
    probability: float  #: The softmax of the scores of all completions.
    log_probability: float  #: Natural log of its probability after the prompt.
    tokens: int  #: Its tokens.
    bytes: int  #: Its bytes, with the white space that stood at the end of the query.


@dataclass(frozen=True)
class Choices(Several):
    """The completions of a prompt, the best first."""

    choices: tuple[Choice, ...]
    usage: PromptUsage

    @property
    def best(self) -> Choice:
        return self.choices[0]

    def _items(self) -> tuple[Choice, ...]:
        return self.choices


@dataclass(frozen=True)
class Score:
    """How likely a completion is after a prompt."""

    log_probability: float  #: Natural log of its probability.
    per_token: float  #: That by its tokens.
    tokens: int  #: Its tokens.
    bytes: int  #: Its bytes, with the white space that stood at the end of the query.


@dataclass(frozen=True)
class Perplexity:
    """How likely a text is."""

    perplexity: float  #: e to the negative mean log probability of a token.
    bits_per_byte: float  #: Negative log probability in bits, by the bytes of the tokens that were scored.
    log_probability: float  #: Natural log of the probability of the tokens that were scored.
    tokens: int  #: Tokens that were scored.
    bytes: int  #: Their bytes.
    windows: int  #: Windows that the text was read in; 1 unless it is longer than the context.


def choices(fields: dict[str, Any]) -> Choices:
    """From the library's JSON."""
    found = (
        Choice(
            choice["text"],
            choice["index"],
            number(choice["score"]),
            number(choice["probability"]),
            number(choice["log_probability"]),
            choice["tokens"],
            choice["bytes"],
        )
        for choice in fields["choices"]
    )
    counts = (fields[name] for name in ("prompt_tokens", "cached_tokens", "examples", "examples_dropped"))
    times = (fields[name] for name in ("tokenize_ms", "inference_ms", "post_ms"))
    return Choices(tuple(found), PromptUsage(*counts, *times))
