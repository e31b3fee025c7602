"""The calls for asyncio: many at one time, calls and tasks that are cancelled, loops that end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import gc
import inspect
import os
import sqlite3
import subprocess
import sys
import threading
import time
import unittest
from typing import Any
from unittest import mock

import limbeck
from limbeck import _abi, _threads, _workers
from limbeck.aio import AsyncModel, AsyncStream, _awaited
from support import ENDLESS, ROUND, bundle, model_of, nothing_left, package_threads, runtime, until

#: It takes minutes.
LONG: dict[str, Any] = {"texts": ["good " * 50000] * 80, "overflow": "window"}
#: Threads rest for a shorter time here, for each test waits until there are none.
SHORT_REST = mock.patch.object(_workers, "REST", 0.02)


def setUpModule() -> None:
    SHORT_REST.start()


def tearDownModule() -> None:
    SHORT_REST.stop()
    nothing_left()


def tiny() -> AsyncModel:
    return AsyncModel(model_of("bundles/tiny.limbeck"))


def writer() -> AsyncModel:
    return AsyncModel(model_of("bundles/writer.limbeck"))


class InALoop(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        # Its mode for debugging, which the tests run in, tells of steps that a busy machine makes slow.
        asyncio.get_running_loop().slow_callback_duration = 60
        self.addCleanup(lambda: self.assertEqual(package_threads(), 0))


class Calls(InALoop):
    async def test_every_call_answers_as_its_blocking_call_does(self) -> None:
        calls: tuple[tuple[str, str, tuple[Any, ...], dict[str, Any]], ...] = (
            ("tiny", "warm_up", (), {}),
            ("tiny", "self_test", (), {}),
            ("tiny", "count_tokens", ("good film",), {}),
            ("tiny", "classify", ("good",), {"top_k": 1}),
            ("tiny", "classify_batch", (["good", "bad"],), {}),
            ("pairs", "classify_pair", ("good", "bad"), {}),
            ("pairs", "classify_pairs", ([("good", "bad")],), {}),
            ("pairs", "zero_shot", ("film", ["good", "bad"]), {"multi_label": True}),
            ("pairs", "zero_shot_batch", (["film"], ["good", "bad"]), {}),
            ("pairs", "rerank", ("film", ["bad", "good"]), {}),
            ("entities", "tag", ("🙂 Ada",), {}),
            ("entities", "tag_batch", (["🙂 Ada"],), {}),
            ("reader", "answer", ("Who?", "By Ada Lovelace"), {}),
            ("reader", "answer_batch", ([("Who?", "Ada")],), {}),
            ("masks", "fill_mask", ("[MASK]",), {}),
            ("masks", "fill_mask_batch", (["[MASK]"],), {}),
            ("order", "order", ("who", "London"), {"both_orders": True}),
            ("order", "order_batch", ([("who", "London")],), {}),
            ("replaced", "replaced", ("the flim",), {}),
            ("replaced", "replaced_batch", (["the flim"],), {}),
            ("embedder", "embed", ("good",), {}),
            ("embedder", "embed_batch", (["good"],), {}),
            ("writer", "generate", ("a",), {"max_new_tokens": 6}),
            ("writer", "generate_batch", (["a", "b"],), {"max_new_tokens": 6}),
            ("writer", "choose", ("a", ["b", "c"]), {}),
            ("writer", "score", ("a", "b"), {}),
            ("writer", "perplexity", ("ab",), {}),
        )
        for name, call, arguments, options in calls:
            model = model_of(f"bundles/{name}.limbeck")
            expected = getattr(model, call)(*arguments, **options)
            found = await getattr(AsyncModel(model), call)(*arguments, **options)
            self.assertIs(type(found), type(expected))
            self.assertEqual(plain(found), plain(expected), call)
        # None is forgotten, and each has the parameters of its twin.
        known = {call for _, call, _, _ in calls} | {"stream", "close"}
        public = {name for name, _ in inspect.getmembers(limbeck.Model, inspect.isfunction) if name[0] != "_"}
        self.assertEqual(public, known)
        for name in known:
            self.assertEqual(
                list(inspect.signature(getattr(AsyncModel, name)).parameters),
                list(inspect.signature(getattr(limbeck.Model, name)).parameters),
            )
        self.assertIn("async for piece in", AsyncModel.stream.__doc__ or "")
        self.assertEqual(AsyncModel.stream.__annotations__["return"], "AsyncStream")
        self.assertEqual(inspect.signature(AsyncModel.stream).return_annotation, "AsyncStream")
        self.assertEqual(limbeck.Model.stream.__annotations__["return"], "Stream")

    async def test_opening_and_closing(self) -> None:
        async with await AsyncModel.open(bundle("tiny"), runtime=runtime(), sessions=2) as model:
            self.assertEqual((await model.classify("good")).best.label, "positive")
            self.assertEqual((model.model.memory.sessions, model.closed), (2, False))
        self.assertTrue(model.closed and model.model.closed)
        with self.assertRaisesRegex(ValueError, "the model is closed"):
            await model.classify("good")
        with self.assertRaisesRegex(ValueError, "the model is closed"):
            async with model:
                pass
        # Models of tests before this one may wait for the collector, which may come while this one opens.
        gc.collect()
        before = limbeck.open_handles()
        opening = asyncio.create_task(AsyncModel.open(bundle("tiny"), runtime=runtime()))
        await asyncio.sleep(0)
        opening.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await opening
        self.assertEqual((package_threads(), limbeck.open_handles()), (0, before))
        with self.assertRaises(FileNotFoundError):
            await AsyncModel.open("no-such.limbeck", runtime=runtime())
        with self.assertRaises(TypeError):
            await AsyncModel.open(bundle("tiny"), session=1)  # type: ignore[call-arg]

    async def test_errors_are_those_of_the_call(self) -> None:
        with self.assertRaisesRegex(limbeck.InvalidArgumentError, "top_k is 0"):
            await tiny().classify("good", top_k=0)
        with self.assertRaises(limbeck.WrongTaskError):
            await tiny().embed("good")
        with self.assertRaises(TimeoutError):
            await tiny().classify_batch(**LONG, timeout=0.02)
        with self.assertRaisesRegex(limbeck.InvalidUtf8Error, "offset 5"):
            await tiny().classify("good \ud83d")

    async def test_many_calls_at_one_time(self) -> None:
        async with await AsyncModel.open(bundle("tiny"), runtime=runtime(), sessions=3) as model:
            texts = ["good" if place % 2 == 0 else "bad film" for place in range(200)]
            found = await asyncio.gather(*(model.classify(text) for text in texts))
            for text, item in zip(texts, found):
                self.assertEqual(item.best.label, "positive" if text == "good" else "negative")
            self.assertEqual(model.model.metrics.failures, 0)

    async def test_the_loop_goes_on_during_a_call(self) -> None:
        call = asyncio.create_task(tiny().classify_batch(["good " * 20000] * 10, overflow="window"))
        ticks = 0
        while not call.done():
            await asyncio.sleep(0.001)
            ticks += 1
        self.assertEqual(len(call.result()), 10)
        self.assertGreater(ticks, 10)

    async def test_cancelling_the_task_ends_the_call(self) -> None:
        for call in (
            lambda: tiny().classify_batch(**LONG),
            lambda: writer().generate("a", **ENDLESS),
            lambda: writer().generate_batch(["a", "b"], **ENDLESS),
            lambda: writer().perplexity(ROUND * 20_000, stride=1),
        ):
            task = asyncio.create_task(call())
            await asyncio.sleep(0.1)
            started = time.monotonic()
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()  # twice is once
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertLess(time.monotonic() - started, 60)
            # It does not go on behind the task's back.
            self.assertEqual(package_threads(), 0)
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(writer().generate("a", **ENDLESS), 0.1)
        self.assertEqual((await writer().generate("a", max_new_tokens=1)).text, "b")

    async def test_a_cancelled_call_that_waits_for_a_thread_never_begins(self) -> None:
        model = AsyncModel(limbeck.Model(bundle("writer"), runtime=runtime()))
        running = [asyncio.create_task(model.generate("a", **ENDLESS)) for _ in range(32)]
        waiting = [asyncio.create_task(model.generate("a", **ENDLESS)) for _ in range(8)]
        last = asyncio.create_task(model.generate("a", max_new_tokens=1))
        await until(lambda: sum(thread.name == "limbeck call" for thread in threading.enumerate()) == 32)
        # Each has begun, and takes its turn at the only session.
        await until(lambda: model.model._handle._users == 32)
        for tasks in (waiting, running):
            for task in tasks:
                task.cancel()
            for task in tasks:
                with self.assertRaises(asyncio.CancelledError):
                    await task
        self.assertEqual((await last).text, "b")
        self.assertEqual(model.model.metrics.calls, 33)
        model.close()

    async def test_a_token_of_the_callers_still_works_and_is_left_alone(self) -> None:
        cancel = limbeck.Cancel()
        task = asyncio.create_task(writer().generate("a", cancel=cancel, **ENDLESS))
        await asyncio.sleep(0.05)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        self.assertFalse(cancel.triggered)
        both = [asyncio.create_task(writer().generate("a", cancel=cancel, **ENDLESS)) for _ in range(2)]
        await asyncio.sleep(0.05)
        cancel.trigger()
        for task in both:
            with self.assertRaises(limbeck.CancelledError):
                await task
        self.assertEqual(len(cancel._followers), 0)

    async def test_closing_while_calls_run(self) -> None:
        model, cancel = await AsyncModel.open(bundle("tiny"), runtime=runtime()), limbeck.Cancel()
        tasks = [asyncio.create_task(model.classify_batch(**LONG, cancel=cancel)) for _ in range(3)]
        await until(lambda: model.model._handle._users == 3)
        model.close()
        with self.assertRaisesRegex(ValueError, "the model is closed"):
            await model.classify("good")
        cancel.trigger()
        for task in tasks:
            with self.assertRaises(limbeck.CancelledError):
                await task

    async def test_a_thread_makes_one_call_after_another(self) -> None:
        model = tiny()
        started = mock.patch.object(_threads, "start", wraps=_threads.start)
        with mock.patch.object(_workers, "REST", 30), started as start:
            for _ in range(20):
                await model.classify("good")
                await until(lambda: model._workers._idle == 1)
            self.assertEqual(start.call_count, 1)
            await asyncio.gather(*(model.classify("good") for _ in range(3)))
            self.assertIn(start.call_count, (1, 2, 3))
        # One that rests is ended with the program, and makes no call then.
        model._workers._end()
        self.assertEqual((package_threads(), model._workers._threads), (0, 0))
        with self.assertRaisesRegex(RuntimeError, "the program is ending"):
            await model.classify("good")

    async def test_no_thread_is_to_be_had(self) -> None:
        model = tiny()
        for error in (RuntimeError("can't start new thread"), KeyboardInterrupt()):
            with mock.patch.object(threading.Thread, "start", side_effect=error):
                with self.assertRaises(type(error)):
                    await model.classify("good")
            workers = model._workers
            self.assertEqual((workers._threads, len(workers._waiting), len(_threads._running)), (0, 0, 0))
            self.assertEqual((await model.classify("good")).best.label, "positive")
            self.assertEqual(package_threads(), 0)

    async def test_the_wait_for_a_thread_counts_to_the_timeout(self) -> None:
        model, cancel = writer(), limbeck.Cancel()

        def given(_: Any, *, timeout: Any = None, cancel: Any) -> Any:
            return timeout

        call = _awaited(given)
        with mock.patch.object(_workers, "MOST", 1):
            first = asyncio.create_task(model.generate("a", cancel=cancel, **ENDLESS))
            await until(lambda: model._workers._running)
            waiting = [asyncio.create_task(call(model, timeout=timeout, cancel=None)) for timeout in (0.02, None)]
            await asyncio.sleep(0.05)
            cancel.trigger()
            with self.assertRaises(limbeck.CancelledError):
                await first
            left, none = [await task for task in waiting]
        self.assertLess(left, 0)
        self.assertIsNone(none)

    async def test_arguments_that_are_read_once_are_read_in_the_task(self) -> None:
        # Rows of SQLite may be read on the thread that asked for them alone.
        with contextlib.closing(sqlite3.connect(":memory:")) as data:
            rows = data.execute("values ('good'), ('bad film')")
            found = await tiny().classify_batch(text for (text,) in rows)
            self.assertEqual([item.best.label for item in found], ["positive", "negative"])
            rows = data.execute("values ('bad'), ('good')")
            model = AsyncModel(model_of("bundles/pairs.limbeck"))
            self.assertEqual(len((await model.zero_shot("film", labels=(text for (text,) in rows))).labels), 2)

    async def test_a_call_has_the_context_of_its_task(self) -> None:
        user = contextvars.ContextVar("user", default="nobody")
        user.set("Ada")
        self.assertEqual(await _workers.Workers().run(user.get, lambda: None), "Ada")

    async def test_a_closed_token_is_refused(self) -> None:
        cancel = limbeck.Cancel()
        cancel.close()
        with self.assertRaisesRegex(ValueError, "the cancel token is closed"):
            await writer().generate("a", cancel=cancel)
        with self.assertRaisesRegex(ValueError, "the cancel token is closed"):
            writer().model.generate("a", cancel=cancel)
        self.assertEqual(len(cancel._followers), 0)


class Streams(InALoop):
    async def test_read_to_the_end(self) -> None:
        stream = writer().stream("a", max_new_tokens=14)
        self.assertIsInstance(stream, AsyncStream)
        pieces = [piece async for piece in stream]
        expected = await writer().generate("a", max_new_tokens=14)
        self.assertEqual([piece.id for piece in pieces], list(expected.ids))
        self.assertEqual("".join(piece.text for piece in pieces), expected.text)
        self.assertEqual(stream.result, expected)
        self.assertEqual([piece async for piece in stream], [])

    async def test_leaving_the_loop_ends_the_call(self) -> None:
        model = writer()
        before = model.model.metrics.calls
        async for piece in model.stream("a", **ENDLESS):
            if piece.text == "🙂":
                break
        self.assertEqual(package_threads(), 0)
        self.assertEqual(model.model.metrics.calls, before + 1)

    async def test_closing_gives_what_was_read(self) -> None:
        async with writer().stream("a", **ENDLESS) as stream:
            with self.assertRaisesRegex(ValueError, "has not ended"):
                stream.result
            pieces = [await anext(stream) for _ in range(6)]
        found = stream.result
        self.assertEqual((found.text, found.finish), ("b🙂.", "unfinished"))
        self.assertEqual([piece.id for piece in pieces], list(found.ids))
        await stream.aclose()
        unread = writer().stream("a", **ENDLESS)
        await unread.aclose()
        self.assertEqual([piece async for piece in unread], [])

    async def test_nothing_is_written_ahead_of_the_reader(self) -> None:
        async with writer().stream("a", **ENDLESS) as stream:
            await anext(stream)
            await asyncio.sleep(0.1)
        self.assertEqual(len(stream.result.ids), 1)

    async def test_cancelling_the_task_ends_the_call(self) -> None:
        model = writer()
        for turn in range(1, 11):
            stream, read = model.stream("a", **ENDLESS), []

            async def work() -> None:
                async for piece in stream:
                    read.append(piece)

            task = asyncio.create_task(work())
            await until(lambda: len(read) >= turn)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertFalse(any(thread.name == "limbeck stream" for thread in threading.enumerate()))
            # As far as it was read, and a piece that came just then.
            found = stream.result
            self.assertEqual(found.finish, "unfinished")
            self.assertIn(len(found.ids) - len(read), (0, 1))
            self.assertTrue(found.text.startswith("".join(piece.text for piece in read)))
        self.assertEqual((await writer().generate("a", max_new_tokens=1)).text, "b")

    async def test_a_stream_that_is_cancelled_while_a_token_is_written_has_what_was_read(self) -> None:
        cancel, at_work = limbeck.Cancel(), threading.Event()

        def call(token: Any) -> limbeck.Generation:
            text = ctypes.create_string_buffer("🙂".encode())
            token(None, 7, _abi.Str(ctypes.addressof(text), 4))
            at_work.set()
            while not cancel.triggered:
                time.sleep(0.001)
            raise limbeck.CancelledError("cancelled")

        stream = AsyncStream(limbeck.Stream(call, cancel))
        self.assertEqual((await anext(stream)).id, 7)
        task = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
        await until(at_work.is_set)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        found = stream.result
        self.assertEqual((found.text, list(found.ids), found.finish), ("🙂", [7], "unfinished"))

    async def test_errors_come_where_the_text_is_read(self) -> None:
        stream = writer().stream("a" * 65)
        with self.assertRaises(limbeck.TooLongError):
            await anext(stream)
        self.assertEqual([piece async for piece in stream], [])
        with self.assertRaises(limbeck.TooLongError):
            stream.result
        with self.assertRaisesRegex(limbeck.InvalidArgumentError, "max_new_tokens is 0"):
            writer().stream("a", max_new_tokens=0)
        with self.assertRaises(TimeoutError):
            async for _ in writer().stream("a", timeout=0.1, **ENDLESS):
                pass

    async def test_many_streams_on_one_session(self) -> None:
        async def work(place: int) -> str:
            return "".join([piece.text async for piece in writer().stream(ROUND[place % 4], max_new_tokens=40)])

        texts = await asyncio.gather(*(work(place) for place in range(40)))
        for place, text in enumerate(texts):
            self.assertEqual(text, (await writer().generate(ROUND[place % 4], max_new_tokens=40)).text)
        # Several readers of one.
        stream = writer().stream("a", max_new_tokens=60)

        async def read() -> list[int]:
            return [piece.id async for piece in stream]

        parts = await asyncio.gather(*(read() for _ in range(4)))
        self.assertEqual(sorted(id for part in parts for id in part), sorted(stream.result.ids))


class Loops(unittest.TestCase):
    def test_one_model_in_several_loops(self) -> None:
        model = tiny()

        async def work() -> list[str]:
            found = await asyncio.gather(*(model.classify("good") for _ in range(50)))
            return [item.best.label for item in found]

        self.assertEqual(asyncio.run(work()), ["positive"] * 50)
        threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_a_loop_that_ends_cancels_its_calls(self) -> None:
        async def main() -> None:
            asyncio.get_running_loop().create_task(writer().generate("a", **ENDLESS))
            stream = writer().stream("a", **ENDLESS)
            asyncio.get_running_loop().create_task(anext(stream))
            await asyncio.sleep(0.05)

        asyncio.run(main())
        self.assertEqual(package_threads(), 0)

    def test_a_loop_is_closed_while_a_call_runs(self) -> None:
        loop = asyncio.new_event_loop()
        call = loop.create_task(tiny().classify_batch(["good " * 5000], overflow="window"))
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        # It ends, and tells nobody.
        self.assertEqual(package_threads(), 0)
        self.assertFalse(call.done())
        call._log_destroy_pending = False  # type: ignore[attr-defined]

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_a_fork_has_threads_of_its_own(self) -> None:
        code = (
            "import asyncio, os, limbeck\nfrom limbeck.aio import AsyncModel\n"
            f"model = AsyncModel(limbeck.Model({str(bundle('tiny'))!r}, runtime={runtime()!r}))\n"
            "asyncio.run(model.classify('good'))\n"  # whose thread rests
            "child = os.fork()\n"
            "print(asyncio.run(model.classify('good')).best.label, flush=True)\n"
            "if not child: os._exit(0)\n"
            "os.waitpid(child, 0)\n"
        )
        command = [sys.executable, "-W", "ignore", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, "positive\n" * 2), done.stderr)

    def test_a_program_ends_while_calls_run(self) -> None:
        code = (
            "import asyncio, limbeck\nfrom limbeck.aio import AsyncModel\n"
            f"model = AsyncModel(limbeck.Model({str(bundle('writer'))!r}, runtime={runtime()!r}))\n"
            "endless = dict(max_new_tokens=10**9, context='slide')\n"
            "loop = asyncio.new_event_loop()\n"
            "call = loop.create_task(model.generate('a', **endless))\n"
            "stream = model.stream('a', **endless)\n"
            "print(loop.run_until_complete(anext(stream)).text)\n"
            "loop.run_until_complete(asyncio.sleep(0.05))\n"
        )
        # A loop in a thread that outlives the main one, and goes on to call.
        daemon = (
            "import threading\nasync def calls():\n    while True:\n"
            "        await asyncio.gather(*(model.generate('a', max_new_tokens=1) for _ in range(8)), return_exceptions=True)\n"
            "        try:\n            async for _ in model.stream('a', max_new_tokens=2): pass\n"
            "        except RuntimeError: pass\n"
            "threading.Thread(target=asyncio.run, args=(calls(),), daemon=True).start()\n"
            "loop.run_until_complete(asyncio.sleep(0.05))\n"
        )
        for end, status in (("", 0), (daemon, 0), ("loop.close()", 0), ("import sys; sys.exit(3)", 3), ("raise KeyboardInterrupt", -2)):
            command = [sys.executable, "-X", "utf8", "-c", code + end]
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60)
            self.assertEqual((done.returncode, done.stdout), (status, "b\n"), done.stderr)
            self.assertNotIn("atexit", done.stderr)


def plain(result: Any) -> Any:
    """What two results have in common that were found at two times."""
    if isinstance(result, limbeck.Embeddings):
        return result.vectors.tolist()
    if isinstance(result, limbeck.Embedding):
        return result.vector.tolist()
    return result


if __name__ == "__main__":
    unittest.main()
