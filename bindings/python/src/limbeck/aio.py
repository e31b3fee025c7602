"""Models for asyncio: the calls of :class:`limbeck.Model` as coroutines.

    from limbeck.aio import AsyncModel

    async with await AsyncModel.open("sentiment.limbeck") as model:
        found = await model.classify("crisp screen, awful battery")
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from functools import partial, wraps
from time import monotonic
from typing import Any, Concatenate, Optional, ParamSpec, TypeVar

from ._generation import Generation, Piece
from ._model import Model
from ._options import Cancel
from ._stream import Stream
from ._workers import Signal, Workers

__all__ = ["AsyncModel", "AsyncStream"]

P = ParamSpec("P")
R = TypeVar("R")


def _awaited(
    blocking: Callable[Concatenate[Model, P], R],
) -> Callable[Concatenate[AsyncModel, P], Coroutine[Any, Any, R]]:
    """A method of AsyncModel that makes a call of Model, with the same parameters."""
    takes_cancel = "cancel" in inspect.signature(blocking).parameters

    @wraps(blocking)
    async def call(self: AsyncModel, /, *args: P.args, **kwargs: P.kwargs) -> R:
        make = _read(blocking, self.model, *args, **kwargs)
        if not takes_cancel:
            return await self._workers.run(make, _nothing)
        # Of its own, for that of the caller's may be shared with other calls.
        own = Cancel()
        theirs: Optional[Cancel] = kwargs.get("cancel")  # type: ignore[assignment]
        timeout: Optional[float] = kwargs.get("timeout")  # type: ignore[assignment]
        called = monotonic()

        def work() -> R:
            # The wait for a thread counts.
            left = None if timeout is None else timeout - (monotonic() - called)
            return make(cancel=own, timeout=left)

        if theirs is not None:
            theirs._lead(own)
        try:
            return await self._workers.run(work, own.trigger)
        finally:
            if theirs is not None:
                theirs._let_go(own)

    return call


def _streamed(blocking: Callable[Concatenate[Model, P], Stream]) -> Callable[Concatenate[AsyncModel, P], AsyncStream]:
    @wraps(blocking)
    def call(self: AsyncModel, /, *args: P.args, **kwargs: P.kwargs) -> AsyncStream:
        return AsyncStream(blocking(self.model, *args, **kwargs))

    call.__doc__ = (blocking.__doc__ or "").replace("for piece", "async for piece")
    call.__annotations__ = {**blocking.__annotations__, "return": "AsyncStream"}
    call.__signature__ = inspect.signature(blocking).replace(return_annotation="AsyncStream")  # type: ignore[attr-defined]
    return call


def _opening(make: Callable[P, Model]) -> Callable[P, Coroutine[Any, Any, AsyncModel]]:
    @wraps(Model.__init__, assigned=("__doc__",))
    async def open(*args: P.args, **kwargs: P.kwargs) -> AsyncModel:
        return AsyncModel(await Workers().run(_read(make, *args, **kwargs), _nothing))

    open.__signature__ = inspect.signature(Model)  # type: ignore[attr-defined]
    return open


def _read(function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Callable[..., R]:
    """A call whose arguments may be used on another thread: what can be read only once is read here."""

    def read(value: Any) -> Any:
        return list(value) if isinstance(value, Iterator) else value

    return partial(function, *map(read, args), **{name: read(value) for name, value in kwargs.items()})


def _nothing() -> None:
    """What ends a call that cannot be ended."""


class AsyncModel:
    """The calls of a model for asyncio, with the parameters and results of :class:`limbeck.Model`.

    Each is made on a thread of this package's, so that the loop goes on; `timeout` counts the wait for one too.
    Cancelling the task ends the call inside the model, mostly within 50 ms, and only then does the task go on;
    opening, warming up and the like cannot be ended, and are waited for. As many calls run at one time as the model
    has sessions, others wait their turn. May be used from many loops.
    """

    def __init__(self, model: Model) -> None:
        """Of an open model, which is closed with this."""
        #: The model itself: what it is, and its calls that block.
        self.model = model
        self._workers = Workers()

    open = staticmethod(_opening(Model))

    warm_up = _awaited(Model.warm_up)
    self_test = _awaited(Model.self_test)
    count_tokens = _awaited(Model.count_tokens)
    classify = _awaited(Model.classify)
    classify_batch = _awaited(Model.classify_batch)
    classify_pair = _awaited(Model.classify_pair)
    classify_pairs = _awaited(Model.classify_pairs)
    zero_shot = _awaited(Model.zero_shot)
    zero_shot_batch = _awaited(Model.zero_shot_batch)
    rerank = _awaited(Model.rerank)
    tag = _awaited(Model.tag)
    tag_batch = _awaited(Model.tag_batch)
    answer = _awaited(Model.answer)
    answer_batch = _awaited(Model.answer_batch)
    fill_mask = _awaited(Model.fill_mask)
    fill_mask_batch = _awaited(Model.fill_mask_batch)
    order = _awaited(Model.order)
    order_batch = _awaited(Model.order_batch)
    replaced = _awaited(Model.replaced)
    replaced_batch = _awaited(Model.replaced_batch)
    embed = _awaited(Model.embed)
    embed_batch = _awaited(Model.embed_batch)
    generate = _awaited(Model.generate)
    generate_batch = _awaited(Model.generate_batch)
    choose = _awaited(Model.choose)
    score = _awaited(Model.score)
    perplexity = _awaited(Model.perplexity)

    stream = _streamed(Model.stream)

    def close(self) -> None:
        """Closes the model. Calls that run end first; those that wait for a thread fail."""
        self.model.close()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self.model.closed

    async def __aenter__(self) -> AsyncModel:
        with self.model._handle:  # refuses a closed one
            return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<limbeck.aio.AsyncModel of {self.model!r}>"


class AsyncStream:
    """A text while it is written: an asynchronous iterator of its pieces, token by token.

        async for piece in model.stream("Once upon a time"):
            print(piece.text, end="", flush=True)

    A token is written whenever one is asked for; the loop goes on meanwhile. Leaving the ``async for`` ends the call when
    nothing refers to the stream any more: keep it in no variable, or close it by ``async with``. Cancelling the task that
    waits for a piece closes it.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Piece:
        self._stream._start()
        exchange = self._stream._exchange
        try:
            changed = Signal()
            known, piece = exchange.poll(changed.say)
            while not known:
                await changed.wait()
                changed = Signal()
                known, piece = exchange.poll(changed.say)
        except asyncio.CancelledError:
            await self.aclose()
            raise
        except BaseException:  # the task is forgotten, and waits for nothing any more
            exchange.leave()
            raise
        if piece is not None:
            return piece
        self._stream._fail()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Ends the text where it is, and waits until the call has ended. A second time does nothing."""
        exchange = self._stream._exchange
        exchange.leave()
        if self._stream._thread is None:
            return
        ended = Signal()
        while not exchange.has_ended(ended.say):
            await ended.wait_undisturbed()
            ended = Signal()

    @property
    def result(self) -> Generation:
        """See :attr:`limbeck.Stream.result`."""
        return self._stream.result

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
