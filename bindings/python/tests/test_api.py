"""What the Python API takes and refuses."""

from __future__ import annotations

import array
import copy
import ctypes
import inspect
import io
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import limbeck
import limbeck.aio
from limbeck import _abi
from support import BUNDLES, REPOSITORY, bundle, model_of, nothing_left, runtime

try:
    import numpy
except ImportError:
    numpy = None

tearDownModule = nothing_left


def python(code: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=120)


class Texts(unittest.TestCase):
    def setUp(self) -> None:
        self.tagger = model_of("bundles/entities.limbeck")
        self.model = model_of("bundles/tiny.limbeck")

    def test_str_and_bytes_are_the_same_text(self) -> None:
        text = "🙂 Ada e\u0301"
        found = self.tagger.tag(text)
        for other in (text.encode(), bytearray(text.encode()), memoryview(text.encode())):
            self.assertEqual(self.tagger.tag(other), found)
        (entity,) = found
        self.assertEqual((entity.start, entity.end, text[entity.start : entity.end]), (2, 5, "Ada"))
        self.assertEqual((entity.span.utf16_start, entity.span.byte_start), (3, 5))

    def test_what_is_no_text_is_refused_and_its_place_told(self) -> None:
        for text, place in (
            ("good \ud83d", 5),
            ("\udcff", 0),  # a byte kept by surrogateescape
            (os.fsdecode(b"name\xff"), 4),
            (b"good\xff", 4),
            (b"\xc0\x80", 0),
            (b"\xed\xa0\x80", 0),
        ):
            with self.assertRaisesRegex(limbeck.InvalidUtf8Error, f"text is not UTF-8: .* offset {place}"):
                self.model.classify(text)
        with self.assertRaisesRegex(limbeck.InvalidUtf8Error, r"texts\[2\]"):
            self.model.classify_batch(["good", "bad", "\udfff"])
        self.assertTrue(issubclass(limbeck.InvalidUtf8Error, ValueError))

    def test_wrong_types_are_refused_in_words(self) -> None:
        for call, words in (
            (lambda: self.model.classify(None), "text must be str or bytes, not NoneType"),
            (lambda: self.model.classify(7), "not int"),
            (lambda: self.model.classify_batch("good"), "texts must be several texts, not one"),
            (lambda: self.model.classify_batch(["good", 3]), r"texts\[1\] must be str"),
            (lambda: self.model.classify_pairs([("a",)]), r"pairs\[0\] must be a pair"),
            (lambda: self.model.classify_pairs(["ab"]), r"pairs\[0\] must be a pair"),
        ):
            with self.assertRaisesRegex(TypeError, words):
                call()

    def test_texts_from_any_iterable(self) -> None:
        found = self.model.classify_batch(text for text in ("good", "bad"))
        self.assertEqual([item.best.label for item in found], ["positive", "negative"])
        self.assertEqual(self.model.classify_batch([]), [])

    def test_large_inputs(self) -> None:
        text = "film " * 400_000
        usage = self.model.classify(text).usage
        self.assertEqual((usage.tokens_used, usage.tokens_dropped), (64, 400_000 - 62))
        found = self.model.classify_batch(["good", "bad"] * 4_000)
        self.assertEqual(len(found), 8_000)
        self.assertEqual(found[-1].best.label, "negative")


class OptionsAndErrors(unittest.TestCase):
    def setUp(self) -> None:
        self.model = model_of("bundles/tiny.limbeck")
        self.aspects = model_of("bundles/aspects.limbeck")

    def test_values_that_make_no_sense(self) -> None:
        for options, words in (
            ({"top_k": 0}, "top_k is 0"),
            ({"top_k": -1}, "top_k is -1"),
            ({"top_k": 1 << 64}, "top_k"),
            ({"overflow": "cut"}, "'truncate', 'error', 'window'"),
            ({"window_stride": 3}, "window_stride is 3"),
            ({"overflow": "window", "window_stride": 0}, "window_stride is 0"),
            ({"threshold": float("nan")}, "threshold is nan"),
            ({"threshold": 2.0}, "threshold"),
            ({"out_of_scope": -1.0}, "-1"),
            ({"timeout": float("nan")}, "timeout"),
        ):
            with self.assertRaisesRegex(limbeck.InvalidArgumentError, words):
                self.aspects.classify("good", **options)
        with self.assertRaises(TypeError):
            self.model.classify("good", top_k=1.5)
        with self.assertRaises(TypeError):
            self.model.classify("good", hypothesis="x")  # of another task
        pairs = model_of("bundles/pairs.limbeck")
        with self.assertRaisesRegex(limbeck.InvalidArgumentError, "hypothesis is empty"):
            pairs.zero_shot("good", ["bad"], hypothesis="")
        for settings, words in (
            ({"threads": -1}, "threads is -1"),
            ({"threads": 1000}, "256"),
            ({"memory_budget": 1}, ""),
        ):
            with self.assertRaisesRegex(limbeck.Error, words):
                limbeck.Model(bundle("tiny"), runtime=runtime(), **settings)

    def test_zero_is_zero_and_not_the_default(self) -> None:
        found = self.aspects.classify("bad", threshold=0.0)
        self.assertTrue(all(label.holds for label in found))
        self.assertFalse(all(label.holds for label in self.aspects.classify("bad")))

    def test_errors_are_pythons_own_as_well(self) -> None:
        with self.assertRaises(FileNotFoundError) as caught:
            limbeck.Bundle("no-such.limbeck")
        self.assertEqual(caught.exception.status, limbeck.Status.NOT_FOUND)
        self.assertEqual(caught.exception.status_name, "LIMBECK_NOT_FOUND")
        self.assertIn("no-such.limbeck", str(caught.exception))
        with self.assertRaises(OSError):
            limbeck.Bundle(tempfile.gettempdir())
        with self.assertRaises(limbeck.BundleError):
            limbeck.Bundle(__file__)
        for path in ("", "a\0b"):
            with self.assertRaises(limbeck.InvalidArgumentError):
                limbeck.Bundle(path)
        again = pickle.loads(pickle.dumps(limbeck.TooLongError("text")))
        self.assertEqual((str(again), again.status), ("text", limbeck.Status.TOO_LONG))

    def test_closed_and_copied(self) -> None:
        model = limbeck.Model(bundle("tiny"), runtime=runtime())
        with model as same:
            self.assertIs(same, model)
        model.close()
        for call in (lambda: model.classify("x"), lambda: model.bundle, lambda: model.__enter__()):
            with self.assertRaisesRegex(ValueError, "the model is closed"):
                call()
        self.assertEqual(repr(model), "<limbeck.Model, closed>")
        for copying in (copy.copy, copy.deepcopy, pickle.dumps):
            with self.assertRaisesRegex(TypeError, "Model cannot be"):
                copying(self.model)
        with self.assertRaises(TypeError):
            limbeck.Head()

    def test_a_bundle_outlives_its_model(self) -> None:
        with limbeck.Model(bundle("tiny"), runtime=runtime()) as model:
            of_model = model.bundle
        self.assertEqual((of_model.id, of_model.labels), ("tiny", ("negative", "positive")))
        with limbeck.Bundle(bundle("tiny")) as opened:
            model = limbeck.Model(opened)
        self.assertEqual(model.classify("bad").best.label, "negative")


class Sources(unittest.TestCase):
    def test_bytes_streams_and_descriptors(self) -> None:
        content = bundle("tiny").read_bytes()
        for opened in (
            limbeck.Bundle.from_bytes(content),
            limbeck.Bundle.from_bytes(memoryview(content)),
            limbeck.Bundle.from_stream(io.BytesIO(content)),
            limbeck.Bundle(os.fsencode(bundle("tiny"))),
        ):
            with opened:
                self.assertEqual(opened.build, 7)
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 64 + content + b"more")
            file.flush()
            with limbeck.Bundle.from_fd(file.fileno(), 64, len(content)) as opened:
                self.assertEqual(opened.id, "tiny")
        with self.assertRaisesRegex(limbeck.Error, "100"):
            limbeck.Bundle.from_stream(io.BytesIO(content), size_limit=100)

    def test_what_a_function_of_the_callers_raises_comes_out(self) -> None:
        class Mine(Exception):
            pass

        def fails(*_: Any) -> Any:
            raise Mine

        class Stream(io.RawIOBase):
            read = fails

        with self.assertRaises(Mine):
            limbeck.Bundle(bundle("hidden"), decrypt=fails)
        with self.assertRaises(Mine):
            limbeck.Model(bundle("hidden"), runtime=runtime(), decrypt=fails)
        with self.assertRaises(Mine):
            limbeck.Bundle.from_stream(Stream())
        class Generous(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                return b"x" * (size + 1)

        with self.assertRaisesRegex(ValueError, "gave [0-9]+ bytes"):
            limbeck.Bundle.from_stream(Generous())
        with self.assertRaisesRegex(TypeError, "binary mode"):
            limbeck.Bundle.from_stream(io.StringIO("text"))  # type: ignore[arg-type]
        with self.assertRaises(TypeError):
            limbeck.Bundle(bundle("hidden"), decrypt=lambda section, stored: None)
        with limbeck.Model(
            bundle("hidden"), runtime=runtime(), decrypt=lambda section, stored: bytes(b ^ 0x5A for b in stored)
        ) as model:
            self.assertEqual(model.classify("good").best.label, "positive")

    def test_signatures(self) -> None:
        key = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
        with limbeck.Bundle(bundle("signed")) as opened:
            self.assertEqual(opened.verify([key]), 0)
            self.assertEqual(len(opened.signers), 1)
            with self.assertRaises(limbeck.InvalidArgumentError):
                opened.verify([])
        with self.assertRaises(limbeck.SignatureError):
            limbeck.Model(bundle("tiny"), runtime=runtime(), keys=[key])


class Vectors(unittest.TestCase):
    def setUp(self) -> None:
        self.model = model_of("bundles/embedder.limbeck")

    def test_without_numpy(self) -> None:
        found = self.model.embed("good")
        self.assertEqual(found.vector.format, "f")
        self.assertEqual(len(found.vector.tolist()), self.model.embedding_size)
        batch = self.model.embed_batch(["good", "bad", "film"])
        self.assertEqual((batch.vectors.shape, len(batch), batch.size), ((3, 2), 3, 2))
        self.assertEqual(batch[0].tolist(), found.vector.tolist())
        self.assertEqual(batch[-1].tolist(), [row.tolist() for row in batch][2])
        self.assertEqual([row.tolist() for row in batch[1:]], [row.tolist() for row in batch][1:])
        with self.assertRaises(IndexError):
            batch[3]
        self.assertEqual(limbeck.nearest(found.vector, batch, 1)[0].index, 0)
        self.assertAlmostEqual(limbeck.similarity(batch[0], batch[1]), -1)
        self.assertEqual(list(self.model.embed_batch([])), [])

    def test_into_memory_of_the_callers(self) -> None:
        mine = array.array("f", [9.0] * 5)
        self.model.embed_batch(["good", "bad"], out=mine)
        self.assertEqual(mine[4], 9.0)
        self.assertAlmostEqual(mine[0], -mine[2])
        for out in (array.array("f", [0]), array.array("d", [0] * 9), b"0" * 99, memoryview(mine)[::2]):
            with self.assertRaisesRegex(limbeck.InvalidArgumentError, "out"):
                self.model.embed("good", out=out)

    def test_vectors_that_make_no_sense(self) -> None:
        for call in (
            lambda: limbeck.similarity([1], [1, 2]),
            lambda: limbeck.similarity([[1]], [[1]]),
            lambda: limbeck.nearest([1], [[1, 2]], 1),
            lambda: limbeck.nearest([1], [1, 2], 1),
            lambda: limbeck.nearest([1], [[1]], -1),
        ):
            with self.assertRaises(limbeck.InvalidArgumentError):
                call()
        with self.assertRaises(TypeError):
            limbeck.similarity("ab", "cd")

    @unittest.skipIf(numpy is None, "numpy is not installed here; the suite runs once more with it")
    def test_numpy_shares_memory(self) -> None:
        batch = self.model.embed_batch(["good", "bad", "film"])
        vectors = numpy.asarray(batch)
        self.assertEqual((vectors.shape, vectors.dtype), ((3, 2), numpy.float32))
        self.assertTrue(numpy.shares_memory(vectors, numpy.frombuffer(batch.vectors, numpy.float32)))
        self.assertEqual(numpy.asarray(self.model.embed_batch([])).shape, (0, 2))
        self.assertEqual(numpy.asarray(self.model.embed("good"), dtype=float).dtype, numpy.float64)

        table = numpy.zeros((4, 2), numpy.float32)
        self.model.embed_batch(["good", "bad", "film"], out=table[:3])
        self.assertTrue((table[:3] == vectors).all() and (table[3] == 0).all())
        for out in (table[:, :1], table.astype(float), table[::2]):
            with self.assertRaises(limbeck.InvalidArgumentError):
                self.model.embed_batch(["good", "bad", "film", "the"], out=out)

        expected = limbeck.nearest(table[0].tolist(), table[:3].tolist(), 3)
        table.flags.writeable = False
        for query, rows in (
            (table[0], table[:3]),
            (table[0].astype(float), table[:3].astype(float)),
            (batch[0], batch),
        ):
            self.assertEqual(limbeck.nearest(query, rows, 3), expected)
        # Every second row: not contiguous, so copied.
        self.assertEqual([found.index for found in limbeck.nearest(table[2], table[::2], 2)], [1, 0])


class Library(unittest.TestCase):
    def test_structs_have_the_layout_of_the_header(self) -> None:
        layout = json.loads((REPOSITORY / "capi/abi/layout.json").read_text())
        structs = [s for s in vars(_abi).values() if isinstance(s, type) and issubclass(s, ctypes.Structure)]
        names = {"InStr": "limbeck_str", "InPair": "limbeck_pair"}
        checked = 0
        for struct in structs:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", struct.__name__).lower()
            expected = layout.get(names.get(struct.__name__, f"limbeck_{name}"))
            if expected is None:
                continue
            self.assertEqual(ctypes.sizeof(struct), expected["size"], name)
            offsets = {field: getattr(struct, field).offset for field, *_ in struct._fields_}
            self.assertEqual(offsets, expected["offsets"], name)
            checked += 1
        self.assertEqual(checked, 17)

    def test_functions_are_those_of_the_header(self) -> None:
        header = (REPOSITORY / "capi/include/limbeck.h").read_text()
        header = re.sub(r"/\*.*?\*/|^#.*?$", "", header, flags=re.DOTALL | re.MULTILINE)
        declared = dict(re.findall(r"\blimbeck_(\w+)\(([^()]*)\);", header))
        for name, (_, parameters) in _abi.FUNCTIONS.items():
            words = declared[name].strip()
            self.assertEqual(len(parameters), 0 if words == "void" else words.count(",") + 1, name)
        # What Python has another way for, or none.
        other = {"abi_check", "abi_version", "error_code", "version", "version_number"}
        other |= {name for name in declared if name.endswith("_init")}
        other |= {"result_" + name for name in ("answer", "entity", "guess", "in_scope", "item_count", "no_answer")}
        other |= {"result_score", "result_vector", "result_count", "result_generation", "result_choice"}
        other |= {"result_prompt_usage"}
        other |= {"result_order", "result_replaced", "result_token", "result_token_count"}
        missing = set(declared) - set(_abi.FUNCTIONS) - other
        self.assertEqual(missing, set(), "new in limbeck.h: call them, or name them here")

    def test_a_library_of_another_abi_is_refused_by_name(self) -> None:
        package = Path(limbeck.__file__).parent
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "fake.c")
            for version, words in (
                ((1 << 16) + 3, "ABI 1.3: update the Python package"),
                (0, "ABI 0.0: update the library"),
            ):
                source.write_text(
                    f"unsigned limbeck_abi_version(void) {{ return {version}; }}\n"
                    'const char *limbeck_version(void) { return "9.8.7"; }\n'
                )
                library = Path(folder, f"fake{version}.so")
                subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
                code = f"from limbeck._abi import load; from pathlib import Path; load(Path({str(library)!r}))"
                said = python(code).stderr
                self.assertIn("needs ABI 0.1 of limbeck", said)
                self.assertIn("version 9.8.7", said)
                self.assertIn(words, said)
            source.write_text("int other;\n")
            library = Path(folder, "other.so")
            subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
            with self.assertRaisesRegex(ImportError, "is no limbeck library"):
                _abi.load(library)
            with self.assertRaisesRegex(ImportError, "cannot be loaded"):
                _abi.load(package / "nothing.so")

    def test_everything_public_has_types(self) -> None:
        checked, package = 0, Path(limbeck.__file__).parent
        for module in (limbeck, limbeck.aio):
            for name in module.__all__:
                thing = getattr(module, name)
                members = vars(thing).values() if inspect.isclass(thing) else (thing,)
                for member in members:
                    if isinstance(member, property):
                        member = member.fget
                    member = inspect.unwrap(getattr(member, "__func__", member))
                    # Not what dataclasses and enums write.
                    if not inspect.isfunction(member) or Path(member.__code__.co_filename).parent != package:
                        continue
                    parameters = [*inspect.signature(member).parameters]
                    if inspect.isclass(thing) and parameters and parameters[0] in ("self", "cls"):
                        del parameters[0]
                    self.assertEqual(set(parameters) | {"return"}, set(member.__annotations__), f"{name}.{member.__name__}")
                    checked += 1
        self.assertGreater(checked, 100)
        self.assertTrue(Path(limbeck.__file__).with_name("py.typed").is_file())

    def test_versions_agree(self) -> None:
        from importlib.metadata import version

        self.assertEqual(limbeck.__version__, version("limbeck"))
        manifest = (REPOSITORY / "Cargo.toml").read_text()
        self.assertIn(f'[workspace.package]\nversion = "{limbeck.__version__}"', manifest)

    def test_messages_go_to_a_logger(self) -> None:
        with self.assertLogs("limbeck.test", logging.DEBUG) as caught:
            limbeck.set_logger(logging.getLogger("limbeck.test"), logging.DEBUG)
            limbeck.Model(bundle("tiny"), runtime=runtime()).classify("good")
            limbeck.set_logger(None)
        self.assertGreater(len(caught.records), 0)


class RuntimeSearch(unittest.TestCase):
    OPEN = (
        f"import limbeck; print(limbeck.load_runtime().path); limbeck.Model({str(bundle('tiny'))!r}).classify('good')"
    )

    def test_the_package_onnxruntime_is_found_and_not_imported(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            capi = Path(folder, "onnxruntime/capi")
            capi.mkdir(parents=True)
            Path(folder, "onnxruntime/__init__.py").write_text("raise SystemExit('imported')\n")
            os.symlink(runtime(), capi / "libonnxruntime.so.1.24.4")
            done = python(self.OPEN, PYTHONPATH=folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(os.path.samefile(done.stdout.strip(), runtime()))

    def test_without_one_the_error_says_how_to_get_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "onnxruntime").mkdir()
            for path, words in (("", "is not installed"), (folder, "has no libonnxruntime.so")):
                said = python(self.OPEN, PYTHONPATH=path).stderr
                self.assertIn("limbeck._errors.RuntimeNotFoundError: no ONNX Runtime", said)
                self.assertIn(words, said)
                self.assertIn("pip install 'limbeck[onnxruntime]'", said)
        said = python("import limbeck; limbeck.load_runtime('/no/such/libonnxruntime.so')").stderr
        self.assertIn("RuntimeNotFoundError", said)
        self.assertIn("/no/such/libonnxruntime.so", said)

    def test_one_runtime_a_process(self) -> None:
        found = limbeck.load_runtime(runtime())
        self.assertEqual(limbeck.load_runtime(), found)
        self.assertTrue(os.path.samefile(found.path, runtime()))
        with self.assertRaisesRegex(limbeck.RuntimeIncompatibleError, "already uses"):
            limbeck.load_runtime(__file__)


class CommandLine(unittest.TestCase):
    def run_it(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "limbeck", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def test_bench(self) -> None:
        for name in ("tiny", "pairs", "entities", "reader", "embedder", "masks", "order", "replaced", "writer"):
            options = ("--seconds", "0.02", "--runtime", runtime())
            done = self.run_it("bench", str(bundle(name)), "--json", *options)
            self.assertEqual(done.returncode, 0, done.stderr)
            report = json.loads(done.stdout)
            self.assertGreaterEqual(report["calls"], 10)
            self.assertLessEqual(report["min_ms"], report["p50_ms"])
            self.assertLessEqual(report["p90_ms"], report["max_ms"])
        told = self.run_it("bench", str(bundle(name)), *options).stdout
        self.assertIn("p50", told)
        self.assertIn("32 tokens written in each call", told)

    def test_info_and_errors(self) -> None:
        self.assertIn("text-classification", self.run_it("info", str(bundle("tiny"))).stdout)
        self.assertEqual(json.loads(self.run_it("info", str(bundle("tiny")), "--json").stdout)["id"], "tiny")
        done = self.run_it("bench", str(BUNDLES / "nothing.limbeck"), "--runtime", runtime())
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith("error: LIMBECK_NOT_FOUND: "), done.stderr)
        self.assertEqual(self.run_it().returncode, 2)


if __name__ == "__main__":
    unittest.main()
