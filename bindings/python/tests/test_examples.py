"""The programs of examples/python, on bundles whose answers are known."""

from __future__ import annotations

import subprocess
import sys
import unittest

from support import REPOSITORY, bundle, runtime

EXAMPLES = REPOSITORY / "examples/python"


class Examples(unittest.TestCase):
    def run_it(self, name: str, model: str, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(EXAMPLES / f"{name}.py"), str(bundle(model)), runtime(), *arguments]
        return subprocess.run(command, input=input, capture_output=True, text=True, encoding="utf-8", timeout=120)

    def words(self, name: str, model: str, *arguments: str, input: str = "") -> list[list[str]]:
        done = self.run_it(name, model, *arguments, input=input)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line.split() for line in done.stdout.splitlines()]

    def test_answers(self) -> None:
        lines = self.words("sentiment", "tiny", "a good film", "bad")
        self.assertEqual([lines[0][0], lines[1][0], lines[1][2]], ["positive", "negative", "3"])
        lines = self.words("entities", "entities", "🙂 Ada Lovelace wrote it, London")
        self.assertEqual([lines[0][0], *lines[0][2:]], "PER characters 2 to 14 Ada Lovelace".split())
        self.assertEqual(lines[1][2:], "characters 25 to 31 London".split())
        lines = self.words("answer", "reader", "Who wrote it?", "It: Ada Lovelace wrote it.")
        self.assertEqual((len(lines), lines[0][1:]), (3, "characters 4 to 16 Ada Lovelace".split()))
        lines = self.words("similarity", "embedder", "good", "bad", "film", "good good film")
        self.assertEqual([lines[0][1:], lines[2][1:]], [["good", "good", "film"], ["bad"]])

    def test_a_text_as_it_is_written(self) -> None:
        lines = self.words("generate", "teller", "x: bad\nx:")
        # The context of 32 tokens is full: 6 of the prompt, and the last one written is not read.
        self.assertEqual(lines[0], ["bad.ab🙂.ab🙂.ab🙂.ab🙂.a"])
        self.assertEqual(lines[1][:3] + lines[1][4:], "27 tokens, context, tokens a second".split())
        self.assertGreater(float(lines[1][3]), 0)
        lines = self.words("generate", "teller", "c")
        self.assertEqual((lines[0], lines[1][:3]), (["é"], ["3", "tokens,", "end-of-text,"]))

    def test_hot_swap(self) -> None:
        lines = self.words("hot_swap", "tiny", str(bundle("later")), input="good\nbad\n")
        self.assertEqual([line[1] for line in lines], ["1:", "2:"])
        lines = self.words("hot_swap", "tiny", str(bundle("failing")), input="good\nbad\n")
        self.assertEqual((lines[1][:3], lines[2][1]), (["not", "replaced:", "LIMBECK_SELF_TEST:"], "1:"))

    def test_errors(self) -> None:
        known = {path.stem for path in EXAMPLES.glob("*.py")}
        self.assertEqual(known, {"sentiment", "entities", "answer", "similarity", "hot_swap", "generate"})
        for name in known:
            arguments = ("x", "y") if name in ("answer", "similarity") else ("x",)
            done = self.run_it(name, "nothing", *arguments)
            self.assertEqual(done.returncode, 1)
            self.assertTrue(done.stderr.startswith("LIMBECK_NOT_FOUND: "), done.stderr)
            self.assertEqual(self.run_it(name, "tiny").returncode, 2)


if __name__ == "__main__":
    unittest.main()
