"""Models, ready to run."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable
from ctypes import byref, c_size_t
from dataclasses import dataclass
from typing import Any, Optional, Union

from . import _abi, _results, _texts, _vectors
from ._abi import library
from ._bundle import Bundle, BundleOptions, Decrypt
from ._errors import check
from ._handles import made
from ._options import Aggregation, Cancel, Options, Overflow, of_words
from ._runtime import environment
from ._texts import Pair, Text
from ._writing import Writing

_U32 = 0xFFFFFFFF
_U64 = (1 << 64) - 1


@dataclass(frozen=True)
class SelfTest:
    """What :meth:`Model.self_test` found."""

    vectors: int  #: Inputs that were run; 0 if the bundle has none.
    largest_difference: float  #: The largest difference found, as part of what was expected.
    tolerance: float  #: The most that the bundle allows.


@dataclass(frozen=True)
class Memory:
    """How much memory a model is expected to use, with the budget kept."""

    budget: int  #: The budget that was set, in bytes; 0: none.
    expected: int  #: The most private memory expected, in bytes.
    sessions: int  #: Sessions that may run at one time.
    batch_tokens: int  #: Tokens of one batch, padding included.
    prepacked: bool  #: Whether weights are rearranged for speed.


@dataclass(frozen=True)
class Metrics:
    """What a model has done since it was opened."""

    calls: int  #: Calls that reached the model.
    failures: int  #: Calls that failed while running.
    runs: int  #: Runs of the graph.
    rows: int  #: Windows that were run.
    tokens: int  #: Tokens of those windows.
    padding: int  #: Tokens of padding beside them.
    run_micros: int  #: Microseconds that runs took, waiting for a session included.


class Model(Writing):
    """A model ready to run.

    May be used from many threads: as many calls run at one time as it has sessions, others wait their turn; other
    Python threads run meanwhile.

    Texts are str, or bytes of UTF-8. Options of all calls: `overflow` says what becomes of a text of more tokens
    than the model takes ("truncate", "error", "window"; each task has its own default, and usage tells what was
    dropped), `window_stride` how many tokens two windows share; `timeout` is in seconds; `cancel` ends the call
    from another thread.
    """

    def __init__(
        self,
        source: Union[_texts.Path, Bundle],
        *,
        runtime: Optional[_texts.Path] = None,
        threads: int = 0,
        sessions: int = 0,
        spinning: bool = False,
        memory_budget: int = 0,
        providers: Optional[Iterable[str]] = None,
        keys: Optional[Iterable[str]] = None,
        minimum_build: int = 0,
        decrypt: Optional[Decrypt] = None,
    ) -> None:
        """Opens a bundle file, or makes the model of an open bundle.

        runtime: the ONNX Runtime library to load, see :func:`limbeck.load_runtime`. threads: threads that one call
        may use. sessions: calls that can run at one time, each with memory of its own. spinning: idle threads spin.
        memory_budget: the most private memory that the model may use, in bytes. providers: backends to use, the
        best first. keys, minimum_build, decrypt: see :class:`limbeck.Bundle`.
        """
        env = environment(runtime)
        bundle_options = BundleOptions(keys, minimum_build, None, decrypt)
        options = _abi.initialised(_abi.ModelOptions)
        options.threads = _texts.number(threads, "threads", 0, _U32)
        options.sessions = _texts.number(sessions, "sessions", 0, _U32)
        options.spinning = bool(spinning)
        options.memory_budget = _texts.number(memory_budget, "memory_budget", 0, _U64)
        names, options.provider_count = _texts.many(() if providers is None else providers, "providers")
        options.providers = ctypes.cast(names, ctypes.POINTER(_abi.InStr))
        options.bundle = ctypes.pointer(bundle_options.c)
        with env as env_pointer:
            if isinstance(source, Bundle):
                with source._handle as bundle:
                    pointer = bundle_options.opened(library.model_open_bundle, env_pointer, bundle, byref(options))
            else:
                pointer = bundle_options.opened(library.model_open, env_pointer, *_texts.path(source), byref(options))
        self._own_model(pointer)

    def _own_model(self, pointer: int) -> None:
        self._own(pointer, library.model_free, "model")

    @classmethod
    def _of(cls, pointer: int) -> Model:
        model = cls.__new__(cls)
        model._own_model(pointer)
        return model

    # ---- what it is

    @property
    def bundle(self) -> Bundle:
        """The bundle of the model, which may outlive it."""
        with self._handle as pointer:
            return Bundle._of(made(library.model_bundle, pointer))

    @property
    def task(self) -> str:
        """What the model does: "text-classification"."""
        with self.bundle as bundle:
            return str(bundle.task)

    @property
    def embedding_size(self) -> int:
        """How many floats an embedding has; 0 if the model makes none."""
        with self._handle as pointer:
            return int(library.model_embedding_size(pointer))

    @property
    def mask_token(self) -> str:
        """What stands in a text for a word to be guessed: "[MASK]"; empty if the model guesses none."""
        with self._handle as pointer:
            return str(library.model_mask_token(pointer).text())

    @property
    def providers(self) -> dict[str, Any]:
        """Which providers were asked for and what became of them."""
        with self._handle as pointer:
            return dict(json.loads(library.model_providers_json(pointer).text()))

    @property
    def memory(self) -> Memory:
        """How much memory the model is expected to use."""
        c = _abi.initialised(_abi.Memory)
        with self._handle as pointer:
            check(library.model_memory, pointer, byref(c))
        return Memory(c.budget, c.expected, c.sessions, c.batch_tokens, bool(c.prepacked))

    @property
    def metrics(self) -> Metrics:
        """What the model has done so far."""
        c = _abi.initialised(_abi.Metrics)
        with self._handle as pointer:
            check(library.model_metrics, pointer, byref(c))
        return Metrics(c.calls, c.failures, c.runs, c.rows, c.tokens, c.padding, c.run_micros)

    def warm_up(self) -> None:
        """Runs the model on a text of its own, so that the first real call is not slower."""
        with self._handle as pointer:
            check(library.model_warm_up, pointer)

    def self_test(self) -> SelfTest:
        """Runs the inputs that were packed with the model. Raises SelfTestError if this machine gives other
        outputs than expected."""
        c = _abi.initialised(_abi.SelfTest)
        with self._handle as pointer:
            check(library.model_self_test, pointer, byref(c))
        return SelfTest(c.vectors, c.largest_difference, c.tolerance)

    def count_tokens(self, text: Text) -> int:
        """How many tokens a text has for this model, special tokens included and uncut."""
        count = c_size_t()
        with self._handle as pointer:
            check(library.model_count_tokens, pointer, *_texts.one(text), byref(count))
        return count.value

    # ---- tasks

    def _call(self, function: Any, item: Callable[[dict[str, Any]], Any], options: Options, *input: Any) -> list[Any]:
        with self._handle as pointer, options as c:
            return [item(fields) for fields in _results.taken(made(function, pointer, *input, c))]

    def classify(
        self,
        text: Text,
        *,
        top_k: Optional[int] = None,
        threshold: Optional[float] = None,
        out_of_scope: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.Classification:
        """Classifies one text. A text that is too long is truncated by default.

        threshold: the lowest probability at which one of independent labels holds. out_of_scope: the text is out of
        scope if the best label has less. Both: as the bundle says, if None.
        """
        options = Options(
            overflow, window_stride, timeout, cancel, top_k=top_k, threshold=threshold, out_of_scope=out_of_scope
        )
        found = self._call(library.model_classify, _results.classification, options, *_texts.one(text))
        return found[0]  # type: ignore[no-any-return]

    def classify_batch(
        self,
        texts: Iterable[Text],
        *,
        top_k: Optional[int] = None,
        threshold: Optional[float] = None,
        out_of_scope: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.Classification]:
        """Classifies texts; see :meth:`classify`. If one fails, the call fails."""
        options = Options(
            overflow, window_stride, timeout, cancel, top_k=top_k, threshold=threshold, out_of_scope=out_of_scope
        )
        return self._call(library.model_classify_batch, _results.classification, options, *_texts.many(texts))

    def classify_pair(
        self,
        first: Text,
        second: Text,
        *,
        top_k: Optional[int] = None,
        threshold: Optional[float] = None,
        out_of_scope: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.Classification:
        """Classifies two texts that belong together: a model of the task "pair-classification"."""
        options = Options(
            overflow, window_stride, timeout, cancel, top_k=top_k, threshold=threshold, out_of_scope=out_of_scope
        )
        texts = (*_texts.one(first, "first"), *_texts.one(second, "second"))
        found = self._call(library.model_classify_pair, _results.classification, options, *texts)
        return found[0]  # type: ignore[no-any-return]

    def classify_pairs(
        self,
        pairs: Iterable[Pair],
        *,
        top_k: Optional[int] = None,
        threshold: Optional[float] = None,
        out_of_scope: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.Classification]:
        """Classifies pairs of texts; see :meth:`classify_pair`."""
        options = Options(
            overflow, window_stride, timeout, cancel, top_k=top_k, threshold=threshold, out_of_scope=out_of_scope
        )
        return self._call(library.model_classify_pairs, _results.classification, options, *_texts.pairs(pairs))

    def zero_shot(
        self,
        text: Text,
        labels: Iterable[Text],
        *,
        hypothesis: Optional[Text] = None,
        multi_label: bool = False,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.ZeroShot:
        """Says which of your own labels fit a text, by a model that tells what follows from a text.

        hypothesis: says that the label at ``{}`` holds; ``This example is {}.`` by default. multi_label: each label
        has a probability of its own, else exactly one holds.
        """
        options = Options(overflow, window_stride, timeout, cancel, hypothesis=hypothesis, multi_label=multi_label)
        input = (*_texts.one(text), *_texts.many(labels, "labels"))
        found = self._call(library.model_zero_shot, _results.zero_shot, options, *input)
        return found[0]  # type: ignore[no-any-return]

    def zero_shot_batch(
        self,
        texts: Iterable[Text],
        labels: Iterable[Text],
        *,
        hypothesis: Optional[Text] = None,
        multi_label: bool = False,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.ZeroShot]:
        """Says which of your own labels fit each of some texts; see :meth:`zero_shot`."""
        options = Options(overflow, window_stride, timeout, cancel, hypothesis=hypothesis, multi_label=multi_label)
        input = (*_texts.many(texts), *_texts.many(labels, "labels"))
        return self._call(library.model_zero_shot_batch, _results.zero_shot, options, *input)

    def rerank(
        self,
        query: Text,
        texts: Iterable[Text],
        *,
        top_k: Optional[int] = None,
        label: Optional[Text] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.Ranked]:
        """Orders texts by how well they fit a query, the best first. A text that is too long is read in windows by
        default, of which the best one counts.

        label: the one whose score counts; by default the only one, or the one that the bundle names for entailment.
        """
        options = Options(overflow, window_stride, timeout, cancel, top_k=top_k, rank_label=label)
        input = (*_texts.one(query, "query"), *_texts.many(texts))
        return self._call(library.model_rerank, _results.ranked, options, *input)

    def tag(
        self,
        text: Text,
        *,
        aggregation: Aggregation = "first",
        threshold: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.Tagging:
        """Finds the entities of a text, in its order. A text that is too long is read in windows by default.

        aggregation: how tokens become words. threshold: leave out entities with a lower score.
        """
        options = Options(overflow, window_stride, timeout, cancel, aggregation=aggregation, threshold=threshold)
        found = self._call(library.model_tag, _results.tagging, options, *_texts.one(text))
        return found[0]  # type: ignore[no-any-return]

    def tag_batch(
        self,
        texts: Iterable[Text],
        *,
        aggregation: Aggregation = "first",
        threshold: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.Tagging]:
        """Finds the entities of texts; see :meth:`tag`."""
        options = Options(overflow, window_stride, timeout, cancel, aggregation=aggregation, threshold=threshold)
        return self._call(library.model_tag_batch, _results.tagging, options, *_texts.many(texts))

    def answer(
        self,
        question: Text,
        text: Text,
        *,
        top_k: Optional[int] = None,
        max_answer_tokens: Optional[int] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.Answers:
        """Answers a question with pieces of a text, the best first. A text that is too long is read in windows by
        default; the question is never cut.

        top_k: how many answers, 1 by default. max_answer_tokens: the most tokens of an answer, 15 by default.
        """
        options = Options(overflow, window_stride, timeout, cancel, top_k=top_k, max_answer_tokens=max_answer_tokens)
        input = (*_texts.one(question, "question"), *_texts.one(text))
        found = self._call(library.model_answer, _results.answers, options, *input)
        return found[0]  # type: ignore[no-any-return]

    def answer_batch(
        self,
        questions: Iterable[Pair],
        *,
        top_k: Optional[int] = None,
        max_answer_tokens: Optional[int] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.Answers]:
        """Answers questions, each from a text of its own; see :meth:`answer`."""
        options = Options(overflow, window_stride, timeout, cancel, top_k=top_k, max_answer_tokens=max_answer_tokens)
        return self._call(library.model_answer_batch, _results.answers, options, *_texts.pairs(questions, "questions"))

    def fill_mask(
        self,
        text: Text,
        *,
        top_k: Optional[int] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.FilledMasks:
        """Guesses the masked words of a text, which stand in it as :attr:`mask_token`. A text that is too long is
        read in windows by default.

        top_k: how many guesses for a mask, 5 by default.
        """
        options = Options(overflow, window_stride, timeout, cancel, top_k=top_k)
        found = self._call(library.model_fill_mask, _results.filled_masks, options, *_texts.one(text))
        return found[0]  # type: ignore[no-any-return]

    def fill_mask_batch(
        self,
        texts: Iterable[Text],
        *,
        top_k: Optional[int] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.FilledMasks]:
        """Guesses the masked words of texts; see :meth:`fill_mask`."""
        options = Options(overflow, window_stride, timeout, cancel, top_k=top_k)
        return self._call(library.model_fill_mask_batch, _results.filled_masks, options, *_texts.many(texts))

    def order(
        self,
        first: Text,
        second: Text,
        *,
        both_orders: bool = False,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.Order:
        """Tells which of two texts comes first. Of a pair that is too long the longer text is truncated by default.

        both_orders: read the pair in both orders and combine them, so that the answer for a swapped pair is the
        opposite; twice the work.
        """
        options = Options(overflow, window_stride, timeout, cancel, both_orders=both_orders)
        found = self._call(
            library.model_order, _results.order, options, *_texts.one(first, "first"), *_texts.one(second, "second")
        )
        return found[0]  # type: ignore[no-any-return]

    def order_batch(
        self,
        pairs: Iterable[Pair],
        *,
        both_orders: bool = False,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.Order]:
        """Tells which comes first in each of several pairs; see :meth:`order`."""
        options = Options(overflow, window_stride, timeout, cancel, both_orders=both_orders)
        return self._call(library.model_order_batch, _results.order, options, *_texts.pairs(pairs))

    def replaced(
        self,
        text: Text,
        *,
        aggregation: Aggregation = "max",
        threshold: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.Replacements:
        """Finds typing errors and corruption: how likely each token was put there in place of another. A text that is
        too long is read in windows by default.

        aggregation: "max", a word is as suspicious as the most suspicious of its tokens; "average"; "none", runs of
        tokens in place of words. threshold: the lowest probability of a suspicious word, 0.5 by default.
        """
        aggregation = of_words(aggregation)
        options = Options(overflow, window_stride, timeout, cancel, aggregation=aggregation, threshold=threshold)
        found = self._call(library.model_replaced, _results.replacements, options, *_texts.one(text))
        return found[0]  # type: ignore[no-any-return]

    def replaced_batch(
        self,
        texts: Iterable[Text],
        *,
        aggregation: Aggregation = "max",
        threshold: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.Replacements]:
        """Looks for replaced tokens in texts; see :meth:`replaced`."""
        aggregation = of_words(aggregation)
        options = Options(overflow, window_stride, timeout, cancel, aggregation=aggregation, threshold=threshold)
        return self._call(library.model_replaced_batch, _results.replacements, options, *_texts.many(texts))

    def embed(
        self,
        text: Text,
        *,
        out: Any = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.Embedding:
        """Turns a text into a vector. A text that is too long is truncated by default.

        out: memory of yours to write the vector to, with room for :attr:`embedding_size` floats: a NumPy array of
        float32, an ``array.array("f")``, or what else has a writable buffer of them.
        """
        found = self.embed_batch(
            (text,), out=out, overflow=overflow, window_stride=window_stride, timeout=timeout, cancel=cancel
        )
        return _results.Embedding(found[0], found.usages[0])

    def embed_batch(
        self,
        texts: Iterable[Text],
        *,
        out: Any = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> _results.Embeddings:
        """Turns texts into vectors, one a row; see :meth:`embed`. `out` has room for all of them."""
        c_texts, count = _texts.many(texts)
        options = Options(overflow, window_stride, timeout, cancel)
        with self._handle as pointer, options as c:
            size = int(library.model_embedding_size(pointer))
            view, floats = _vectors.room(out, count * size)
            result = made(library.model_embed_batch, pointer, c_texts, count, c, floats, count * size)
            try:
                usages = tuple(_usage(result, i) for i in range(count))
            finally:
                library.result_free(result)
        if view.nbytes:
            view = view.cast("B").cast("f", (count, size))
        return _results.Embeddings(view, usages, size)

    def __repr__(self) -> str:
        if self.closed:
            return "<limbeck.Model, closed>"
        with self.bundle as bundle:
            return f"<limbeck.Model {bundle.id} {bundle.version}, build {bundle.build}, {bundle.task}>"


def _usage(result: int, text: int) -> _results.Usage:
    c = _abi.initialised(_abi.Usage)
    check(library.result_usage, result, text, byref(c))
    times = (c.tokenize_ns / 1e6, c.inference_ns / 1e6, c.post_ns / 1e6)
    return _results.Usage(c.tokens_used, c.tokens_dropped, c.windows, *times)
