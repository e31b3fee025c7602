"""Writing text that is ended from outside, and what is left of it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import limbeck
from support import ENDLESS, ROUND, bundle, model_of, nothing_left, package_threads, resident, runtime

tearDownModule = nothing_left


class Ended(unittest.TestCase):
    def setUp(self) -> None:
        self.model = model_of("bundles/writer.limbeck")
        self.addCleanup(lambda: self.assertEqual(package_threads(), 0))

    def endless(self, **options: Any) -> tuple[Any, ...]:
        return (
            lambda: self.model.generate("a", **ENDLESS, **options),
            lambda: self.model.generate_batch(["a", "b"], **ENDLESS, **options),
            lambda: [None for _ in self.model.stream("a", **ENDLESS, **options)],
            lambda: self.model.perplexity(ROUND * 20_000, stride=1, **options),
        )

    def test_a_call_is_cancelled_from_another_thread(self) -> None:
        cancel = limbeck.Cancel()
        with ThreadPoolExecutor(4) as pool:
            # Of the main thread and of others.
            calls = [pool.submit(call) for call in self.endless(cancel=cancel)]
            timer = threading.Timer(0.1, cancel.trigger)
            timer.start()
            started = time.monotonic()
            with self.assertRaises(limbeck.CancelledError):
                self.model.generate("a", cancel=cancel, **ENDLESS)
            for call in calls:
                with self.assertRaises(limbeck.CancelledError):
                    call.result(timeout=60)
            self.assertLess(time.monotonic() - started, 20)
        timer.join()
        for call in self.endless(cancel=cancel):
            with self.assertRaises(limbeck.CancelledError):
                call()
        self.assertEqual(len(cancel._followers), 0)

    def test_a_timeout_is_a_time_out(self) -> None:
        for timeout in (0.05, 0, -1):
            for call in self.endless(timeout=timeout):
                with self.assertRaises(TimeoutError):
                    call()
        long = "good " * 200_000
        for call in (
            lambda prompt, timeout: self.model.choose(prompt, ["b"], timeout=timeout),
            lambda prompt, timeout: self.model.score(prompt, "b", timeout=timeout),
        ):
            with self.assertRaises(limbeck.DeadlineExceededError):
                call(long, -1)
            call("a", 60)

    def test_ctrl_c(self) -> None:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        for call in self.endless():
            timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
            timer.start()
            with self.assertRaises(KeyboardInterrupt):
                call()
            timer.join()
        self.assertEqual(package_threads(), 0)
        self.assertEqual(self.model.generate("a", max_new_tokens=1).text, "b")
        # A handler of the program's may end a call by its token.
        cancel = limbeck.Cancel()
        signal.signal(signal.SIGINT, lambda *_: cancel.trigger())
        timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with self.assertRaises(limbeck.CancelledError):
            self.model.generate("a", cancel=cancel, **ENDLESS)
        timer.join()

    def test_a_program_ends_with_a_stream_half_read(self) -> None:
        code = (
            f"import limbeck\nmodel = limbeck.Model({str(bundle('writer'))!r}, runtime={runtime()!r})\n"
            "stream = model.stream('a', max_new_tokens=10**9, context='slide')\n"
            "print(next(stream).text)\n"
        )
        at_exit = "import atexit; atexit.register(lambda: print(model.generate('b', max_new_tokens=6).text))"
        # A thread goes on reading when the main one is at its end.
        late = "lambda: (time.sleep(0.5), print(next(stream).id))"
        thread = f"import threading, time; threading.Thread(target={late}).start()"
        for end, status, more in (
            ("", 0, ""),
            ("import sys; sys.exit(3)", 3, ""),
            ("raise SystemError", 1, ""),
            (at_exit, 0, "🙂.a\n"),
            (thread, 0, "240\n"),
        ):
            command = [sys.executable, "-X", "utf8", "-c", code + end]
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60)
            self.assertEqual((done.returncode, done.stdout), (status, f"b\n{more}"), done.stderr)
            self.assertNotIn("Exception ignored", done.stderr)

    def test_memory_stays_flat(self) -> None:
        def everything() -> None:
            with limbeck.Model(bundle("writer"), runtime=runtime()) as model:
                for _ in range(5):
                    model.generate(limbeck.Prompt("a", [("b", "🙂")] * 3), max_new_tokens=20)
                    model.generate_batch(["a", "b"], max_new_tokens=20)
                    for _ in model.stream("a", **ENDLESS):
                        break
                    model.stream("a")  # never read
                    try:
                        list(model.stream("a" * 100))
                    except limbeck.TooLongError:
                        pass
                    model.choose("a", ["b", "🙂"], content_free=["x"])
                    model.perplexity(ROUND)

        for _ in range(5):
            everything()
        gc.collect()
        before = resident()
        for _ in range(20):
            everything()
        gc.collect()
        # A single model that is not freed would be 20 of 500 kB.
        self.assertLess(resident() - before, 4 << 20)


if __name__ == "__main__":
    unittest.main()
