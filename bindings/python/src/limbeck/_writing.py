"""What models of the task "generation" do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ctypes import byref
from typing import Any, Optional, Union

from . import _abi, _texts
from ._abi import library
from ._errors import check
from ._generation import Context, GenerateOptions, Generation, generation
from ._handles import Owner, made
from ._interrupt import interruptible
from ._options import Cancel
from ._prompt import (
    Choices,
    ChooseOptions,
    Perplexity,
    PerplexityOptions,
    Prompt,
    PromptInput,
    Score,
    Scoring,
    choices,
)
from ._results import taken
from ._stream import Stream
from ._texts import Text

#: No token function.
_NONE = _abi.TOKEN()


class Writing(Owner):
    """The part of :class:`limbeck.Model` for models that write text. Ctrl-C ends its calls."""

    def generate(
        self,
        prompt: Union[Text, Prompt],
        *,
        max_new_tokens: Optional[int] = None,
        temperature: float = 0.0,
        top_p: Optional[float] = None,
        top_k: Optional[int] = None,
        seed: int = 0,
        repetition_penalty: Optional[float] = None,
        ignore_eos: bool = False,
        stops: Iterable[Text] = (),
        context: Context = "error",
        context_keep: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> Generation:
        """Writes on from a prompt: a text, or one with instruction and examples. :meth:`stream` gives the text while it
        is written.

        max_new_tokens: the most tokens to write, 128 by default. temperature: 0 takes the likeliest token each time;
        above, tokens are drawn, from logits divided by this. top_p: draw among the fewest likeliest tokens whose
        probabilities reach this sum. top_k: draw among so many of the likeliest. seed: with the same one the same model
        writes the same text. repetition_penalty: makes tokens that stand in the context less likely, if above 1.
        ignore_eos: write on after the model's end of text. stops: strings that end the text, which ends before them.
        context: if prompt and new tokens might be more than the model's context holds, "error" is TooLongError before
        anything is written, "stop" writes until it is full, "slide" forgets the oldest tokens whenever it is;
        context_keep: how many of them stay then, half by default.
        """
        options = GenerateOptions(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            seed=seed,
            repetition_penalty=repetition_penalty,
            ignore_eos=ignore_eos,
            stops=stops,
            context=context,
            context_keep=context_keep,
            timeout=timeout,
            cancel=cancel,
        )
        write = self._write(prompt, options)
        return interruptible(lambda: write(_NONE), options.ending)

    def stream(
        self,
        prompt: Union[Text, Prompt],
        *,
        max_new_tokens: Optional[int] = None,
        temperature: float = 0.0,
        top_p: Optional[float] = None,
        top_k: Optional[int] = None,
        seed: int = 0,
        repetition_penalty: Optional[float] = None,
        ignore_eos: bool = False,
        stops: Iterable[Text] = (),
        context: Context = "error",
        context_keep: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> Stream:
        """Writes on from a prompt, and gives the text while it is written; see :meth:`generate`.

            for piece in model.stream("Once upon a time"):
                print(piece.text, end="", flush=True)

        `timeout` counts from when the first piece is asked for.
        """
        options = GenerateOptions(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            seed=seed,
            repetition_penalty=repetition_penalty,
            ignore_eos=ignore_eos,
            stops=stops,
            context=context,
            context_keep=context_keep,
            timeout=timeout,
            cancel=cancel,
        )
        return Stream(self._write(prompt, options), options.ending)

    def generate_batch(
        self,
        prompts: Iterable[Text],
        *,
        max_new_tokens: Optional[int] = None,
        temperature: float = 0.0,
        top_p: Optional[float] = None,
        top_k: Optional[int] = None,
        seed: int = 0,
        repetition_penalty: Optional[float] = None,
        ignore_eos: bool = False,
        stops: Iterable[Text] = (),
        context: Context = "error",
        context_keep: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[Generation]:
        """Writes on from texts, as many together as memory allows; see :meth:`generate`. Each text is what its prompt
        would get alone, but for rounding and its place among the draws. If one fails, the call fails."""
        texts = _texts.many(prompts, "prompts")
        options = GenerateOptions(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            seed=seed,
            repetition_penalty=repetition_penalty,
            ignore_eos=ignore_eos,
            stops=stops,
            context=context,
            context_keep=context_keep,
            timeout=timeout,
            cancel=cancel,
        )

        def work() -> list[Generation]:
            with self._handle as pointer, options as c:
                return [generation(fields) for fields in taken(made(library.model_generate_batch, pointer, *texts, c))]

        return interruptible(work, options.ending)

    def choose(
        self,
        prompt: Union[Text, Prompt],
        completions: Iterable[Text],
        *,
        scoring: Scoring = "per_token",
        answer_context: Optional[Text] = None,
        content_free: Iterable[Text] = (),
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> Choices:
        """Chooses between completions of a prompt, the best first. White space at the end of the query counts to the
        completions.

        scoring: what completions are compared by; answer_context: the text for "answer_context", as "Answer: ".
        content_free: queries without content, as "Review: N/A", to calibrate by: a completion's probability is divided
        by its mean probability there.
        """
        input = PromptInput(prompt)
        texts = _texts.many(completions, "completions")
        options = ChooseOptions(scoring, answer_context, content_free, timeout, cancel)

        def work() -> Choices:
            with self._handle as pointer, options as c:
                return choices(taken(made(library.model_choose, pointer, byref(input.c), *texts, c))[0])

        return interruptible(work, options.ending)

    def score(
        self,
        prompt: Union[Text, Prompt],
        completion: Text,
        *,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> Score:
        """Says how likely one completion is after a prompt; see :meth:`choose`."""
        input = PromptInput(prompt)
        text = _texts.one(completion, "completion")
        options = ChooseOptions("per_token", None, (), timeout, cancel)
        found = _abi.initialised(_abi.Choice)

        def work() -> Score:
            with self._handle as pointer, options as c:
                check(library.model_score, pointer, byref(input.c), *text, c, byref(found))
            return Score(found.log_probability, found.score, found.tokens, found.bytes)

        return interruptible(work, options.ending)

    def perplexity(
        self,
        text: Text,
        *,
        stride: Optional[int] = None,
        from_start: bool = False,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> Perplexity:
        """Says how likely a text is. One that is longer than the context is read in overlapping windows, each token
        scored once.

        stride: tokens before the first that is scored in each further window, half of the context by default.
        from_start: score the first token too, after the one that texts begin with.
        """
        input = _texts.one(text)
        options = PerplexityOptions(stride, from_start, timeout, cancel)
        found = _abi.initialised(_abi.Perplexity)

        def work() -> Perplexity:
            with self._handle as pointer, options as c:
                check(library.model_perplexity, pointer, *input, c, byref(found))
            return Perplexity(
                found.perplexity,
                found.bits_per_byte,
                found.log_probability,
                found.tokens,
                found.bytes,
                found.windows,
            )

        return interruptible(work, options.ending)

    def _write(self, prompt: Union[Text, Prompt], options: GenerateOptions) -> Callable[[Any], Generation]:
        """What writes on from a prompt, given a token function."""
        input = PromptInput(prompt) if isinstance(prompt, Prompt) else _texts.one(prompt, "prompt")
        with self._handle:  # refuses a closed one here, and not where a stream is read
            pass

        def write(token: Any) -> Generation:
            with self._handle as pointer, options as c:
                if isinstance(input, PromptInput):
                    result = made(library.model_generate_prompt, pointer, byref(input.c), c, token, None)
                else:
                    result = made(library.model_generate, pointer, *input, c, token, None)
            return generation(taken(result)[0])

        return write
