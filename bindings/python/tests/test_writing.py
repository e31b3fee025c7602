"""Models that write text: what the API takes and refuses, and streams."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import time
import unittest
from array import array
from concurrent.futures import ThreadPoolExecutor

import limbeck
from support import ENDLESS, ROUND, bundle, model_of, nothing_left, package_threads, runtime

try:
    import numpy
except ImportError:
    numpy = None

tearDownModule = nothing_left


class Written(unittest.TestCase):
    def setUp(self) -> None:
        self.model = model_of("bundles/writer.limbeck")

    def test_a_text_and_its_pieces(self) -> None:
        found = self.model.generate("a", max_new_tokens=14)
        self.assertEqual(found.text, "b🙂.ab🙂.a")
        self.assertEqual(bytes(list(found.ids)), (ROUND * 3).encode()[1:15])
        self.assertEqual((found.finish, found.stop, found.prompt_tokens, str(found)), ("length", None, 1, found.text))
        pieces = list(self.model.stream("a", max_new_tokens=14))
        # A character comes with its last byte.
        self.assertEqual([piece.text for piece in pieces[:6]], ["b", "", "", "", "🙂", "."])
        self.assertEqual([piece.id for piece in pieces], list(found.ids))
        self.assertEqual("".join(piece.text for piece in pieces), found.text)
        self.assertEqual(self.model.generate_batch(["a", "b"], max_new_tokens=14)[0], found)
        self.assertEqual(self.model.generate_batch([]), [])
        stopped = self.model.generate("a", stops=[".a"], context="stop")
        self.assertEqual((stopped.text, stopped.finish, stopped.stop), ("b🙂", "stop", ".a"))
        self.assertEqual(self.model.generate("\n", max_new_tokens=9).finish, "end_of_text")

    def test_the_default_of_draws_is_none(self) -> None:
        drawn = [self.model.generate("x", max_new_tokens=30, temperature=9.0, seed=seed).text for seed in (1, 1, 2)]
        self.assertEqual(drawn[0], drawn[1])
        self.assertNotEqual(drawn[0], drawn[2])
        # The least of all shares, and not the default, which is all of them.
        narrow = self.model.generate("a", max_new_tokens=14, temperature=9.0, top_p=0.0)
        self.assertEqual(narrow.text, self.model.generate("a", max_new_tokens=14).text)
        self.assertEqual(self.model.generate("a", max_new_tokens=14, temperature=9.0, top_k=1), narrow)

    def test_results_are_values(self) -> None:
        found = self.model.generate("a", max_new_tokens=5)
        self.assertEqual(pickle.loads(pickle.dumps(found)), found)
        self.assertEqual(copy.copy(found), found)
        self.assertEqual(found.ids, array("I", list("b🙂".encode())))

    @unittest.skipIf(numpy is None, "numpy is not installed here; the suite runs once more with it")
    def test_numpy_shares_memory(self) -> None:
        found = self.model.generate("a", max_new_tokens=5)
        ids = numpy.asarray(found.ids)
        self.assertEqual((ids.dtype, ids.tolist()), (numpy.uint32, list(found.ids)))
        found.ids[0] = 7
        self.assertEqual(ids[0], 7)

    def test_what_is_no_text_is_refused_and_its_place_told(self) -> None:
        Prompt = limbeck.Prompt
        for bad in ("good \ud83d", b"good \xf0\x9f\x99", b"good \xed\xa0\x80"):
            for call, name in (
                (lambda: self.model.generate(bad), "prompt"),
                (lambda: next(self.model.stream(bad)), "prompt"),
                (lambda: self.model.generate_batch(["a", bad]), r"prompts\[1\]"),
                (lambda: self.model.generate("a", stops=["x", bad]), r"stops\[1\]"),
                (lambda: self.model.generate(Prompt(bad)), "query"),
                (lambda: next(self.model.stream(Prompt("a", instruction=bad))), "instruction"),
                (lambda: self.model.choose(Prompt("a", [("a", "b"), ("a", bad)]), ["a"]), r"examples\[1\]"),
                (lambda: self.model.choose(Prompt("a", separator=bad), ["a"]), "separator"),
                (lambda: self.model.choose("a", ["a", bad]), r"completions\[1\]"),
                (lambda: self.model.choose("a", ["a"], content_free=[bad]), r"content_free\[0\]"),
                (lambda: self.model.score("a", bad), "completion"),
                (lambda: self.model.perplexity(bad), "text"),
            ):
                with self.assertRaisesRegex(limbeck.InvalidUtf8Error, f"{name}.* offset 5"):
                    call()
        # U+FFFD stands for bytes that are none, and ids have them as they were.
        self.assertEqual(self.model.generate("a".encode(), max_new_tokens=3).text, "b\ufffd")

    def test_values_that_make_no_sense(self) -> None:
        Prompt = limbeck.Prompt
        for call, words in (
            (lambda: self.model.generate("a", max_new_tokens=0), "max_new_tokens is 0"),
            (lambda: self.model.stream("a", max_new_tokens=0), "max_new_tokens is 0"),
            (lambda: self.model.generate("a", temperature=-1), "temperature is -1"),
            (lambda: self.model.generate("a", temperature=float("nan")), "temperature is NaN"),
            (lambda: self.model.generate("a", top_p=1.5), "top_p is 1.5"),
            (lambda: self.model.generate("a", top_k=0), "top_k is 0"),
            (lambda: self.model.generate("a", seed=-1), "seed is -1"),
            (lambda: self.model.generate("a", seed=1 << 64), "seed"),
            (lambda: self.model.stream("a", repetition_penalty=0), "repetition_penalty is 0"),
            (lambda: self.model.generate("a", context="forget"), "'error', 'stop', 'slide'"),
            (lambda: self.model.generate("a", context_keep=3), 'context is not "slide"'),
            (lambda: self.model.generate("a", stops=[""]), "stop string is empty"),
            (lambda: self.model.generate("a", timeout=float("nan")), "timeout"),
            (lambda: self.model.choose("a", []), "0 completions"),
            (lambda: self.model.choose("a", ["a"], scoring="mean"), "'per_token', 'sum', 'per_byte'"),
            (lambda: self.model.choose("a", ["a"], answer_context="A: "), "answer_context is given"),
            (lambda: self.model.choose(Prompt("a", max_tokens=0), ["a"]), "max_tokens is 0"),
            (lambda: self.model.perplexity("ab", stride=0), "stride is 0"),
        ):
            with self.assertRaisesRegex(limbeck.InvalidArgumentError, words):
                call()
        for call, words in (
            (lambda: self.model.generate(None), "prompt must be str or bytes, not NoneType"),
            (lambda: self.model.generate("a", stops="."), "stops must be several texts, not one"),
            (lambda: self.model.generate("a", top_k=1.5), "float"),
            (lambda: self.model.generate("a", overflow="error"), "overflow"),
            (lambda: self.model.generate_batch("a"), "prompts must be several texts, not one"),
            (lambda: self.model.choose(Prompt("a", ["ab"]), ["a"]), r"examples\[0\] must be a pair"),
        ):
            with self.assertRaisesRegex(TypeError, words):
                call()

    def test_of_another_task(self) -> None:
        other = model_of("bundles/tiny.limbeck")
        for call in (
            lambda: other.generate("a"),
            lambda: next(other.stream("a")),
            lambda: other.generate_batch(["a"]),
            lambda: other.choose("a", ["b"]),
            lambda: other.score("a", "b"),
            lambda: other.perplexity("ab"),
            lambda: self.model.classify("a"),
        ):
            with self.assertRaises(limbeck.WrongTaskError):
                call()

    def test_prompts(self) -> None:
        model = limbeck.Model(bundle("writer"), runtime=runtime())
        prompt = limbeck.Prompt("..a", [("ab", "c"), ("bb", "d")], separator="|")
        first = model.choose(prompt, ["b", "c"])
        self.assertEqual((first.best.text, first.best.index, first.usage.prompt_tokens), ("b", 0, 11))
        self.assertEqual((first.usage.cached_tokens, first.usage.examples), (0, 2))
        # What stands before the query is not read again.
        again = model.choose(dataclasses.replace(prompt, query="x."), ["b", "a"])
        self.assertEqual((again.best.text, again.usage.cached_tokens), ("a", 8))
        self.assertEqual(model.generate(prompt, max_new_tokens=1).cached_tokens, 8)
        # Two line ends, unless there is a separator; an empty one is one.
        for separator, tokens in ((None, 13), ("", 9), (b"", 9)):
            usage = model.choose(dataclasses.replace(prompt, separator=separator), ["b"]).usage
            self.assertEqual(usage.prompt_tokens, tokens)
        score = model.score(prompt, "b")
        self.assertAlmostEqual(score.log_probability, first.best.log_probability)
        self.assertEqual((score.per_token, score.tokens, score.bytes), (score.log_probability, 1, 1))
        # A text is a prompt of a query alone.
        alone = model.choose("..a", ["b"], scoring="answer_context", answer_context="x")
        self.assertEqual(alone.usage.prompt_tokens, 3)
        self.assertEqual(model.generate(limbeck.Prompt("a"), max_new_tokens=9), model.generate("a", max_new_tokens=9))
        short = model.generate(dataclasses.replace(prompt, max_tokens=8), max_new_tokens=1)
        self.assertEqual((short.examples, short.examples_dropped, short.prompt_tokens), (1, 1, 7))
        with self.assertRaises(limbeck.TooLongError):
            model.generate(dataclasses.replace(prompt, max_tokens=8, all_examples=True), max_new_tokens=1)
        self.assertLess(model.perplexity(ROUND * 9).perplexity, model.perplexity("xyz" * 9).perplexity)
        model.close()


class Streams(unittest.TestCase):
    def setUp(self) -> None:
        self.model = model_of("bundles/writer.limbeck")
        self.addCleanup(lambda: self.assertEqual(package_threads(), 0))

    def test_leaving_the_loop_ends_the_call(self) -> None:
        before = self.model.metrics.calls
        for piece in self.model.stream("a", **ENDLESS):
            if piece.text == "🙂":
                break
        del piece
        self.assertEqual(package_threads(), 0)
        self.assertEqual(self.model.metrics.calls, before + 1)
        with self.assertRaisesRegex(RuntimeError, "mine"):
            for _ in self.model.stream("a", **ENDLESS):
                raise RuntimeError("mine")
        self.assertEqual(package_threads(), 0)

    def test_closing_gives_what_was_read(self) -> None:
        with self.model.stream("a", **ENDLESS) as stream:
            with self.assertRaisesRegex(ValueError, "has not ended"):
                stream.result
            pieces = [next(stream) for _ in range(6)]
        self.assertEqual(package_threads(), 0)
        found = stream.result
        self.assertEqual((found.text, found.finish, len(found.ids)), ("b🙂.", "unfinished", 6))
        self.assertEqual([piece.id for piece in pieces], list(found.ids))
        self.assertEqual(list(stream), [])
        stream.close()
        # No token is written that nobody asks for.
        unread = self.model.stream("a", **ENDLESS)
        unread.close()
        self.assertEqual(list(unread), [])
        with self.assertRaisesRegex(ValueError, "before anything was written"):
            unread.result

    def test_read_to_the_end(self) -> None:
        stream = self.model.stream("a", max_new_tokens=5)
        self.assertEqual("".join(piece.text for piece in stream), "b🙂")
        self.assertEqual(stream.result, self.model.generate("a", max_new_tokens=5))
        self.assertEqual(list(stream), [])

    def test_errors_come_where_the_text_is_read(self) -> None:
        stream = self.model.stream("a" * 65)
        with self.assertRaises(limbeck.TooLongError) as caught:
            next(stream)
        self.assertEqual(caught.exception.status_name, "LIMBECK_TOO_LONG")
        self.assertEqual(list(stream), [])
        with self.assertRaises(limbeck.TooLongError):
            stream.result
        cancel = limbeck.Cancel()
        read = []
        with self.assertRaises(limbeck.CancelledError):
            for piece in self.model.stream("a", cancel=cancel, **ENDLESS):
                read.append(piece.text)
                if len(read) == 7:
                    cancel.trigger()
        self.assertEqual(len(read), 7)
        with self.assertRaises(limbeck.CancelledError):
            list(self.model.stream("a", cancel=cancel))
        read.clear()
        with self.assertRaises(TimeoutError):
            for piece in self.model.stream("a", timeout=0.2, **ENDLESS):
                read.append(piece.text)
        self.assertGreater(len(read), 0)

    def test_the_call_begins_when_it_is_read(self) -> None:
        stream = self.model.stream("a", max_new_tokens=3, timeout=0.05)
        time.sleep(0.1)
        self.assertEqual(package_threads(), 0)
        self.assertEqual(len(list(stream)), 3)

    def test_closed_models(self) -> None:
        model = limbeck.Model(bundle("writer"), runtime=runtime())
        stream = model.stream("a", max_new_tokens=9)
        next(stream)
        model.close()
        # A call that runs ends first.
        self.assertEqual(len(list(stream)), 8)
        for call in (lambda: model.stream("a"), lambda: model.generate("a"), lambda: model.choose("a", ["b"])):
            with self.assertRaisesRegex(ValueError, "the model is closed"):
                call()
        # The stream has the model.
        pieces = list(limbeck.Model(bundle("writer"), runtime=runtime()).stream("a", max_new_tokens=2))
        self.assertEqual(len(pieces), 2)

    def test_one_stream_for_many_threads(self) -> None:
        stream = self.model.stream("a", max_new_tokens=60)
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(lambda _: list(stream), range(4)))
        self.assertEqual(sorted(piece.id for part in read for piece in part), sorted(stream.result.ids))
        waiting = self.model.stream("a", **ENDLESS)
        with ThreadPoolExecutor(1) as pool:
            read = pool.submit(lambda: sum(1 for _ in waiting))
            time.sleep(0.05)
            waiting.close()
            self.assertGreater(read.result(timeout=30), 0)

    def test_many_streams_on_one_session(self) -> None:
        def work(place: int) -> str:
            text = ""
            for piece in self.model.stream(ROUND[place % 4], max_new_tokens=40):
                text += piece.text
            return text

        with ThreadPoolExecutor(8) as pool:
            texts = list(pool.map(work, range(16)))
        for place, text in enumerate(texts):
            self.assertEqual(text, self.model.generate(ROUND[place % 4], max_new_tokens=40).text)
        # Two of one thread, in turns.
        both = zip(self.model.stream("a", max_new_tokens=9), self.model.stream("a", max_new_tokens=9))
        self.assertTrue(all(first == second for first, second in both))


if __name__ == "__main__":
    unittest.main()
