"""The cases of tests/conformance (see its README), through the Python API."""

from __future__ import annotations

import itertools
import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

import limbeck
from support import CONFORMANCE, model_of, nothing_left, runtime

tearDownModule = nothing_left


def text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if "utf8" in value:
        # As a str where Python has one for it, else as bytes.
        if value["utf16"] is None:
            return bytes.fromhex(value["utf8"])
        return "".join(map(chr, value["utf16"]))
    return value["repeat"] * value["times"]


def texts(values: Any) -> list[Any]:
    return [text(value) for value in values]


def pairs(values: Any) -> list[Any]:
    return [tuple(texts(value)) for value in values]


def options(case: dict[str, Any]) -> dict[str, Any]:
    given = dict(case.get("options", {}))
    if "deadline_ms" in given:
        given["timeout"] = given.pop("deadline_ms") / 1000
    if "cancelled" in given:
        cancel = given["cancel"] = limbeck.Cancel()
        if given.pop("cancelled"):
            cancel.trigger()
    for name in ("stops", "content_free"):
        if name in given:
            given[name] = texts(given[name])
    if "rank_label" in given:
        given["label"] = given.pop("rank_label")
    return given


# ---- results, in the form of limbeck_result_json


def span(found: limbeck.Span) -> dict[str, Any]:
    return {
        "bytes": [found.byte_start, found.byte_end],
        "utf16": [found.utf16_start, found.utf16_end],
        "chars": [found.start, found.end],
    }


def with_usage(fields: dict[str, Any], usage: limbeck.Usage) -> dict[str, Any]:
    assert usage.tokenize_ms >= 0 and usage.inference_ms >= 0 and usage.post_ms >= 0
    return {
        **fields,
        "tokens_used": usage.tokens_used,
        "tokens_dropped": usage.tokens_dropped,
        "windows": usage.windows,
    }


def written(result: limbeck.Generation) -> dict[str, Any]:
    times = (result.tokenize_ms, result.prefill_ms, result.decode_ms, result.sampling_ms)
    assert min(times) >= 0 and str(result) == result.text
    return {
        "text": result.text,
        "ids": list(result.ids),
        "finish": result.finish.replace("_", "-"),
        "prompt_tokens": result.prompt_tokens,
        "generated_tokens": len(result.ids),
        "tokens_dropped": result.tokens_dropped,
    }


def form(result: Any, source: Any) -> dict[str, Any]:
    """The form of one answer; `source` is the text that its pieces must be pieces of."""

    def placed(item: Any) -> dict[str, Any]:
        if isinstance(source, str):
            assert source[item.start : item.end] == getattr(item, "text", "[MASK]"), item
        return span(item.span)

    if isinstance(result, limbeck.Ranked):
        return with_usage({"index": result.index, "score": result.score}, result.usage)
    if isinstance(result, limbeck.Classification):
        assert result.best is result.labels[0] and list(result) == list(result.labels)
        return with_usage({"labels": [vars(label) for label in result], "in_scope": result.in_scope}, result.usage)
    if isinstance(result, limbeck.ZeroShot):
        return with_usage({"labels": [vars(label) for label in result]}, result.usage)
    if isinstance(result, limbeck.Tagging):
        entities = [{"label": e.label, "score": e.score, "span": placed(e), "text": e.text} for e in result]
        return with_usage({"entities": entities}, result.usage)
    if isinstance(result, limbeck.Answers):
        answers = [{"text": a.text, "span": placed(a), "score": a.score} for a in result]
        return with_usage({"answers": answers, "no_answer": result.no_answer}, result.usage)
    if isinstance(result, limbeck.FilledMasks):
        masks = [{"span": placed(m), "guesses": [vars(guess) for guess in m.guesses]} for m in result]
        return with_usage({"masks": masks}, result.usage)
    if isinstance(result, limbeck.Order):
        return with_usage({"probability": result.probability, "logit": result.logit}, result.usage)
    if isinstance(result, limbeck.Replacements):
        assert list(result) == list(result.spans)
        spans, tokens = (
            [{"probability": p.probability, "span": placed(p), "text": p.text} for p in pieces]
            for pieces in (result.spans, result.tokens)
        )
        return with_usage({"spans": spans, "tokens": tokens}, result.usage)
    assert isinstance(result, limbeck.Embedding)
    return with_usage({"vector": result.vector.tolist()}, result.usage)


def one(result: Any, source: Any = None) -> dict[str, Any]:
    return {"results": [form(result, source)]}


def all_of(results: Any, sources: Any = None) -> dict[str, Any]:
    if isinstance(results, limbeck.Embeddings):
        results = [limbeck.Embedding(vector, usage) for vector, usage in zip(results, results.usages)]
    sources = [None] * len(results) if sources is None else sources
    return {"results": [form(result, source) for result, source in zip(results, sources)]}


def failure(error: limbeck.Error) -> dict[str, Any]:
    # Its class is that of its status.
    assert type(error) is not limbeck.Error and type(error).status == error.status, repr(error)
    return {"status": error.status_name, "message": str(error)}


def open_bundle(case: dict[str, Any]) -> dict[str, Any]:
    given, path = dict(case["input"]), CONFORMANCE / case["bundle"]
    damage, key = given.pop("damage", None), given.pop("decrypt_xor", None)
    if key is not None:
        given["decrypt"] = lambda section, stored: bytes(byte ^ key for byte in stored)
    if damage is None:
        bundle = limbeck.Bundle(path, **given)
    else:
        content = bytearray(path.read_bytes())
        if "cut" in damage:
            del content[damage["cut"] :]
        if "flip" in damage:
            content[damage["flip"]] ^= 1
        if "replace" in damage:
            content = bytearray(damage["replace"].encode())
        bundle = limbeck.Bundle.from_bytes(content, **given)
    with bundle:
        names = ("id", "version", "build", "task", "max_tokens", "size", "labels", "signers")
        found = {name: getattr(bundle, name) for name in names}
        assert bundle.manifest["id"] == bundle.id
    return {"bundle": {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}}


def slot(case: dict[str, Any]) -> dict[str, Any]:
    steps = []
    with limbeck.Slot(model_of(case["bundle"])) as place:
        for step in case["input"]["steps"]:
            found = {}
            try:
                if "publish" in step:
                    place.publish(model_of(step["publish"]))
                else:
                    getattr(place, step["do"])()
            except limbeck.Error as error:
                found["error"] = failure(error)
            with place.model() as model, model.bundle as bundle:
                steps.append({**found, "generation": place.generation, "build": bundle.build})
    return {"steps": steps}


def head(case: dict[str, Any]) -> dict[str, Any]:
    given, model = case["input"], model_of(case["bundle"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.json"
        with limbeck.Head.fit(model, pairs(given["examples"]), strength=given.get("strength")) as fitted:
            fitted.save(path)
        with limbeck.Head.load(path) as loaded:
            on = model_of(given["on"]) if "on" in given else model
            found = all_of(loaded.classify(on, texts(given["texts"]), **options(case)))
            return {"labels": list(loaded.labels), **found}


def prompt(value: dict[str, Any]) -> limbeck.Prompt:
    names = ("instruction", "query", "separator")
    texts_of = {name: text(value[name]) for name in names if name in value}
    return limbeck.Prompt(**{**value, **texts_of, "examples": pairs(value.get("examples", []))})


def streamed(stream: limbeck.Stream, most: int | None) -> limbeck.Generation:
    """Reads a stream, or its first tokens."""
    ids, parts = [], []
    with stream:
        for piece in itertools.islice(stream, most):
            ids.append(piece.id)
            parts.append(piece.text)
    found = stream.result
    assert ids == list(found.ids) and "".join(parts) == found.text, (ids, parts, found)
    return found


def generate(case: dict[str, Any], model: limbeck.Model) -> dict[str, Any]:
    given, o = case["input"], options(case)
    if "prompts" in given:
        return {"results": [written(result) for result in model.generate_batch(texts(given["prompts"]), **o)]}
    source = prompt(given["from"]) if "from" in given else text(given["prompt"])
    if "stream" in given or "stop_after" in given:
        result = streamed(model.stream(source, **o), given.get("stop_after"))
    else:
        result = model.generate(source, **o)
    found = {"results": [written(result)]}
    return {**found, "usage": usage_of(result)} if "from" in given else found


def usage_of(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("prompt_tokens", "examples", "examples_dropped")}


def prompted(case: dict[str, Any], model: limbeck.Model) -> dict[str, Any]:
    """choose, score and perplexity."""
    given, o = case["input"], options(case)
    if case["call"] == "choose":
        found = model.choose(prompt(given["from"]), texts(given["completions"]), **o)
        assert found.best is found[0] and len(found) == len(found.choices)
        return {"choices": [vars(choice) for choice in found], "usage": usage_of(found.usage)}
    if case["call"] == "score":
        score = model.score(prompt(given["from"]), text(given["completion"]), **o)
        names = ("log_probability", "tokens", "bytes")
        return {"choice": {"score": score.per_token, **{name: getattr(score, name) for name in names}}}
    return {"perplexity": vars(model.perplexity(text(given["text"]), **o))}


def run(case: dict[str, Any]) -> dict[str, Any]:
    call, given = case["call"], case["input"]
    if call in ("open", "slot", "head"):
        return {"open": open_bundle, "slot": slot, "head": head}[call](case)
    if call == "similarity":
        return {"similarity": limbeck.similarity(given["first"], given["second"])}
    if call == "nearest":
        found = limbeck.nearest(given["query"], given["vectors"], given["k"])
        return {"nearest": [vars(neighbour) for neighbour in found]}
    model, o = model_of(case["bundle"]), options(case)
    if call == "count_tokens":
        return {"tokens": model.count_tokens(text(given["text"]))}
    if call == "model":
        vectors = model.self_test().vectors
        names = ("task", "embedding_size", "mask_token")
        return {**{name: getattr(model, name) for name in names}, "self_test_vectors": vectors}
    if call == "generate":
        return generate(case, model)
    if call in ("choose", "score", "perplexity"):
        return prompted(case, model)
    if call == "classify" and "pair" in given:
        return one(model.classify_pair(*texts(given["pair"]), **o))
    if call == "classify" and "pairs" in given:
        return all_of(model.classify_pairs(pairs(given["pairs"]), **o))
    if call == "order" and "pair" in given:
        return one(model.order(*texts(given["pair"]), **o))
    if call == "order":
        return all_of(model.order_batch(pairs(given["pairs"]), **o))
    if call == "rerank":
        return all_of(model.rerank(text(given["query"]), texts(given["texts"]), **o))
    if call == "answer" and "questions" in given:
        questions = pairs(given["questions"])
        return all_of(model.answer_batch(questions, **o), [source for _, source in questions])
    if call == "answer":
        source = text(given["text"])
        return one(model.answer(text(given["question"]), source, **o), source)
    more = (texts(given["labels"]),) if call == "zero_shot" else ()
    if "text" in given:
        source = text(given["text"])
        return one(getattr(model, call)(source, *more, **o), source)
    sources = texts(given["texts"])
    return all_of(getattr(model, f"{call}_batch")(sources, *more, **o), sources)


def difference(expected: Any, found: Any, tolerance: float) -> str:
    """What differs; empty if nothing does."""
    numbers = (int, float)
    if isinstance(expected, bool) or isinstance(found, bool):
        pass
    elif isinstance(expected, numbers) and isinstance(found, numbers):
        if abs(expected - found) <= tolerance:
            return ""
    elif isinstance(expected, list) and isinstance(found, str):
        missing = [part for part in expected if part not in found]
        return f": {found!r} has no {missing}" if missing else ""
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        inner = ((i, difference(a, b, tolerance)) for i, (a, b) in enumerate(zip(expected, found)))
        return next((f"[{i}]{text}" for i, text in inner if text), "")
    elif isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        inner = ((name, difference(value, found[name], tolerance)) for name, value in expected.items())
        return next((f".{name}{text}" for name, text in inner if text), "")
    return "" if expected == found else f": expected {expected!r}, found {found!r}"


class Conformance(unittest.TestCase):
    def test_cases(self) -> None:
        limbeck.load_runtime(runtime())
        count = 0
        for path in sorted(CONFORMANCE.glob("*.json")):
            if path.name == "statuses.json":
                continue
            file = json.loads(path.read_text(encoding="utf-8"))
            for case in file["cases"]:
                with self.subTest(file=path.name, case=case["name"]):
                    try:
                        found = run(case)
                    except limbeck.Error as error:
                        found = {"error": failure(error)}
                    self.assertEqual(difference(case["expect"], found, file["tolerance"]), "")
                    count += 1
        self.assertGreater(count, 350)

    def test_every_status_has_its_name(self) -> None:
        statuses = json.loads((CONFORMANCE / "statuses.json").read_text())["statuses"]
        known = {f"LIMBECK_{status.name}": int(status) for status in limbeck.Status}
        self.assertEqual({s["name"]: s["code"] for s in statuses if s["code"] != 0}, known)


if __name__ == "__main__":
    unittest.main()
