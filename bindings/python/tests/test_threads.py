"""Many threads, calls that are ended, handles that are closed meanwhile, memory that stays flat."""

from __future__ import annotations

import gc
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import limbeck
from support import bundle, model_of, nothing_left, resident, runtime

tearDownModule = nothing_left


class Threads(unittest.TestCase):
    def test_answers_do_not_depend_on_other_threads(self) -> None:
        with limbeck.Model(bundle("tiny"), runtime=runtime(), sessions=3) as model:
            texts = [" ".join(["good", "bad", "🙂", "film"][i % 4 :]) * (i % 7) for i in range(64)]
            alone = [model.classify(text).labels for text in texts]

            def work(turn: int) -> None:
                for i in range(len(texts)):
                    i = (i * 5 + turn) % len(texts)
                    found = model.classify(texts[i]).labels
                    self.assertEqual([label.label for label in found], [label.label for label in alone[i]])
                    for a, b in zip(found, alone[i]):
                        self.assertAlmostEqual(a.probability, b.probability, delta=1e-5)

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(work, range(8)))
            self.assertEqual(model.metrics.failures, 0)
            self.assertGreaterEqual(model.metrics.calls, 9 * len(texts))

    def test_other_threads_run_during_a_call(self) -> None:
        model = model_of("bundles/tiny.limbeck")
        texts = ["good " * 20000] * 10
        ticks = []
        thread = threading.Thread(target=lambda: model.classify_batch(texts, overflow="window"))
        thread.start()
        while thread.is_alive():
            ticks.append(time.monotonic())
            time.sleep(0.001)
        self.assertGreater(len(ticks), 10)

    def test_a_call_is_cancelled_from_another_thread(self) -> None:
        model = model_of("bundles/tiny.limbeck")
        texts = ["good " * 50000] * 20
        with limbeck.Cancel() as cancel:
            self.assertFalse(cancel.triggered)
            timer = threading.Timer(0.05, cancel.trigger)
            timer.start()
            started = time.monotonic()
            with self.assertRaises(limbeck.CancelledError):
                model.classify_batch(texts, overflow="window", cancel=cancel)
            self.assertLess(time.monotonic() - started, 60)
            timer.join()
            self.assertTrue(cancel.triggered)
        self.assertEqual(model.classify("good").best.label, "positive")

    def test_a_timeout_is_a_time_out(self) -> None:
        model = model_of("bundles/tiny.limbeck")
        for timeout in (0.02, 0, -1):
            with self.assertRaises(TimeoutError):
                model.classify_batch(["good " * 50000] * 20, overflow="window", timeout=timeout)
        for timeout in (60, 1e18, float("inf")):
            self.assertEqual(model.classify("good", timeout=timeout).best.label, "positive")

    def test_closing_waits_for_the_calls_that_run(self) -> None:
        model = limbeck.Model(bundle("tiny"), runtime=runtime())
        cancel = limbeck.Cancel()
        failures = []

        def work() -> None:
            try:
                model.classify_batch(["good " * 50000] * 20, overflow="window", cancel=cancel)
            except limbeck.CancelledError:
                return
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        model.close()
        self.assertTrue(model.closed)
        with self.assertRaisesRegex(ValueError, "the model is closed"):
            model.classify("good")
        cancel.trigger()
        cancel.close()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_a_model_is_replaced_under_load(self) -> None:
        first = limbeck.Model(bundle("tiny"), runtime=runtime(), sessions=2)
        later = model_of("bundles/later.limbeck")
        failing = model_of("bundles/failing.limbeck")
        stop = threading.Event()
        calls = []
        with limbeck.Slot(first) as slot:
            first.close()

            def work() -> int:
                count = 0
                while not stop.is_set():
                    with slot.model() as model:
                        self.assertEqual(model.classify("good").best.label, "positive")
                    count += 1
                return count

            with ThreadPoolExecutor(4) as pool:
                calls = [pool.submit(work) for _ in range(4)]
                slot.publish(later)
                for _ in range(50):
                    slot.roll_back()
                    with self.assertRaises(limbeck.SelfTestError):
                        slot.publish(failing)
                stop.set()
            self.assertGreater(sum(call.result() for call in calls), 0)
            self.assertEqual(slot.generation, 52)

    def test_memory_stays_flat(self) -> None:
        embedder = model_of("bundles/embedder.limbeck")

        def everything() -> None:
            with limbeck.Model(bundle("tiny"), runtime=runtime()) as model, limbeck.Slot(model) as slot:
                for _ in range(20):
                    model.classify_batch(["good film 🙂"] * 10)
                    slot.model().classify("bad")  # closed by nobody but the collector
                    embedder.embed_batch(["good", "bad"] * 50)
                    limbeck.Cancel()
                    try:
                        model.tag("good")
                    except limbeck.WrongTaskError:
                        pass
                    model.bundle.labels
            limbeck.Bundle(bundle("tiny"))
            limbeck.Head.fit(embedder, [("good", "a"), ("film", "a"), ("bad", "b"), ("the", "b")])

        for _ in range(5):
            everything()
        gc.collect()
        before = resident()
        for _ in range(25):
            everything()
        gc.collect()
        # A single model that is not freed would be 25 of 300 kB.
        self.assertLess(resident() - before, 4 << 20)


if __name__ == "__main__":
    unittest.main()
