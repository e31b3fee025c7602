"""How fast a bundle runs in this process, Python included."""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, Optional

from . import __version__
from ._errors import InvalidArgumentError
from ._model import Model
from ._runtime import load_runtime

#: A text for those that bring none; a word of it is masked where a model wants that.
TEXT = "The battery lasts all day, but the screen is hard to read outside in the sun."
#: Tokens that a model which writes text writes in a call.
NEW_TOKENS = 32
SCHEMA = "limbeck-python-bench/1"


def call_of(model: Model, text: str) -> Callable[[], Any]:
    """The call that a model is measured by."""
    calls: dict[str, Callable[[], Any]] = {
        "text-classification": lambda: model.classify(text),
        "pair-classification": lambda: model.classify_pair(text, text),
        "token-classification": lambda: model.tag(text),
        "question-answering": lambda: model.answer("What lasts all day?", text),
        "sentence-embedding": lambda: model.embed(text),
        # All tokens that are asked for, however long the text and the context.
        "generation": lambda: model.generate(text, max_new_tokens=NEW_TOKENS, ignore_eos=True, context="slide"),
        "fill-mask": lambda: model.fill_mask(masked(text, model.mask_token)),
        "order": lambda: model.order(text, text),
        "replaced": lambda: model.replaced(text),
    }
    if model.task not in calls:
        raise InvalidArgumentError(f"bench knows no call for the task {model.task!r}; it knows {', '.join(calls)}")
    return calls[model.task]


def masked(text: str, token: str) -> str:
    """A text with a mask in it."""
    return text if token in text else f"{text} {token}"


def bench(
    path: str,
    *,
    runtime: Optional[str] = None,
    text: str = TEXT,
    seconds: float = 2.0,
    threads: int = 0,
    memory_budget: int = 0,
) -> dict[str, Any]:
    """Opens a bundle and calls its model for some seconds, at least ten times. Times are milliseconds."""
    started = time.perf_counter()
    runtime_in_use = load_runtime(runtime)
    loaded = time.perf_counter()
    with Model(path, threads=threads, memory_budget=memory_budget) as model:
        opened = time.perf_counter()
        call = call_of(model, text)
        call()
        first = time.perf_counter()
        for _ in range(5):
            call()
        samples: list[float] = []
        end = time.perf_counter() + seconds
        while len(samples) < 10 or time.perf_counter() < end:
            before = time.perf_counter()
            call()
            samples.append((time.perf_counter() - before) * 1e3)
        samples.sort()

        def percentile(share: float) -> float:
            return samples[min(len(samples), max(1, math.ceil(share * len(samples)))) - 1]

        with model.bundle as bundle:
            about = {"id": bundle.id, "version": bundle.version, "build": bundle.build, "bytes": bundle.size}
        return {
            "schema": SCHEMA,
            "bundle": {**about, "task": model.task},
            "text_tokens": model.count_tokens(text),
            "new_tokens": NEW_TOKENS if model.task == "generation" else None,
            "load_runtime_ms": (loaded - started) * 1e3,
            "open_ms": (opened - loaded) * 1e3,
            "first_call_ms": (first - opened) * 1e3,
            "calls": len(samples),
            "warm_up_calls": 6,
            "mean_ms": statistics.fmean(samples),
            "min_ms": samples[0],
            "p50_ms": percentile(0.5),
            "p90_ms": percentile(0.9),
            # One call in a hundred is known when there were enough of them.
            "p99_ms": percentile(0.99) if len(samples) >= 1000 else None,
            "max_ms": samples[-1],
            "threads": threads or 1,
            "limbeck": __version__,
            "onnxruntime": runtime_in_use.version,
            "python": platform.python_version(),
            "machine": platform.machine(),
        }


def table(report: dict[str, Any]) -> str:
    """A report for people."""
    bundle = report["bundle"]
    written = ""
    if report["new_tokens"] is not None:
        speed = report["new_tokens"] / report["p50_ms"] * 1e3
        written = f"\n{report['new_tokens']} tokens written in each call, {speed:.1f} tokens/s, the text read included"
    p99 = "" if report["p99_ms"] is None else f"  p99 {report['p99_ms']:.3f}"
    return "\n".join(
        (
            f"{bundle['id']} {bundle['version']}, build {bundle['build']}, {bundle['task']}, {bundle['bytes'] / 1e6:.2f} MB",
            f"limbeck {report['limbeck']}, ONNX Runtime {report['onnxruntime']}, Python {report['python']}, "
            f"{report['machine']}, {report['threads']} thread(s)",
            f"load ONNX Runtime {report['load_runtime_ms']:8.2f} ms",
            f"open              {report['open_ms']:8.2f} ms",
            f"first call        {report['first_call_ms']:8.2f} ms",
            f"{report['calls']} calls of {report['text_tokens']} tokens, ms: mean {report['mean_ms']:.3f}  "
            f"min {report['min_ms']:.3f}  p50 {report['p50_ms']:.3f}  p90 {report['p90_ms']:.3f}{p99}  "
            f"max {report['max_ms']:.3f}{written}",
        )
    )
