"""limbeck.h for ctypes: structs, functions, and the library itself, checked when it is loaded."""

from __future__ import annotations

import ctypes
import sys
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path

#: The ABI that this package was written for: major * 65536 + minor.
ABI_VERSION = 1
_FILE = {"darwin": "liblimbeck.dylib", "win32": "limbeck.dll"}.get(sys.platform, "liblimbeck.so")


class Str(Structure):
    """A limbeck_str that comes out: a view of bytes inside a handle."""

    _fields_ = [("data", c_void_p), ("length", c_size_t)]

    def text(self) -> str:
        return ctypes.string_at(self.data, self.length).decode("utf-8")


class InStr(Structure):
    """A limbeck_str that goes in; keeps its bytes alive."""

    _fields_ = [("data", c_char_p), ("length", c_size_t)]


class InPair(Structure):
    _fields_ = [("first", InStr), ("second", InStr)]


class EnvOptions(Structure):
    _fields_ = [("size", c_size_t), ("runtime_path", InStr), ("threads", c_uint32), ("reserved", c_uint32)]


DECRYPT = CFUNCTYPE(c_int32, c_void_p, Str, POINTER(c_uint8), c_size_t, c_void_p)
READ = CFUNCTYPE(c_int64, c_void_p, POINTER(c_uint8), c_size_t)
LOG = CFUNCTYPE(None, c_void_p, c_uint32, Str)
TOKEN = CFUNCTYPE(c_bool, c_void_p, c_uint32, Str)


class BundleOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("keys", POINTER(InStr)),
        ("key_count", c_size_t),
        ("minimum_build", c_uint64),
        ("size_limit", c_uint64),
        ("decrypt", DECRYPT),
        ("decrypt_data", c_void_p),
    ]


class ModelOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("threads", c_uint32),
        ("sessions", c_uint32),
        ("spinning", c_uint32),
        ("reserved", c_uint32),
        ("memory_budget", c_uint64),
        ("providers", POINTER(InStr)),
        ("provider_count", c_size_t),
        ("bundle", POINTER(BundleOptions)),
    ]


class SelfTest(Structure):
    _fields_ = [("size", c_size_t), ("vectors", c_size_t), ("largest_difference", c_float), ("tolerance", c_float)]


class Memory(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("budget", c_uint64),
        ("expected", c_uint64),
        ("sessions", c_size_t),
        ("batch_tokens", c_size_t),
        ("prepacked", c_uint32),
        ("reserved", c_uint32),
    ]


class Metrics(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("calls", c_uint64),
        ("failures", c_uint64),
        ("runs", c_uint64),
        ("rows", c_uint64),
        ("tokens", c_uint64),
        ("padding", c_uint64),
        ("run_micros", c_uint64),
    ]


class CallOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("overflow", c_uint32),
        ("window_stride", c_uint32),
        ("deadline_ms", c_uint64),
        ("cancel", c_void_p),
        ("top_k", c_size_t),
        ("threshold", c_float),
        ("out_of_scope", c_float),
        ("aggregation", c_uint32),
        ("multi_label", c_uint32),
        ("max_answer_tokens", c_size_t),
        ("hypothesis", InStr),
        ("rank_label", InStr),
        ("both_orders", c_uint32),
        ("reserved", c_uint32),
    ]


class Usage(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("tokens_used", c_size_t),
        ("tokens_dropped", c_size_t),
        ("windows", c_size_t),
        ("tokenize_ns", c_uint64),
        ("inference_ns", c_uint64),
        ("post_ns", c_uint64),
    ]


class GenerateOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("max_new_tokens", c_size_t),
        ("temperature", c_float),
        ("top_p", c_float),
        ("top_k", c_size_t),
        ("seed", c_uint64),
        ("repetition_penalty", c_float),
        ("ignore_eos", c_uint32),
        ("stops", POINTER(InStr)),
        ("stop_count", c_size_t),
        ("context", c_uint32),
        ("context_keep", c_uint32),
        ("deadline_ms", c_uint64),
        ("cancel", c_void_p),
    ]


class Prompt(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("instruction", InStr),
        ("examples", POINTER(InPair)),
        ("example_count", c_size_t),
        ("query", InStr),
        ("separator", InStr),
        ("max_tokens", c_size_t),
        ("all_examples", c_uint32),
        ("reserved", c_uint32),
    ]


class ChooseOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("scoring", c_uint32),
        ("reserved", c_uint32),
        ("answer_context", InStr),
        ("content_free", POINTER(InStr)),
        ("content_free_count", c_size_t),
        ("deadline_ms", c_uint64),
        ("cancel", c_void_p),
    ]


class Choice(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("text", Str),
        ("index", c_size_t),
        ("score", c_double),
        ("probability", c_double),
        ("log_probability", c_double),
        ("tokens", c_size_t),
        ("bytes", c_size_t),
    ]


class PerplexityOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("stride", c_size_t),
        ("from_start", c_uint32),
        ("reserved", c_uint32),
        ("deadline_ms", c_uint64),
        ("cancel", c_void_p),
    ]


class Perplexity(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("perplexity", c_double),
        ("bits_per_byte", c_double),
        ("log_probability", c_double),
        ("tokens", c_size_t),
        ("bytes", c_size_t),
        ("windows", c_size_t),
    ]


_OUT = POINTER(c_void_p)  # of a handle, and of an error
_FLOATS = POINTER(c_float)
_SIZE = POINTER(c_size_t)
_TEXTS = POINTER(InStr)
_PAIRS = POINTER(InPair)
_CALL = (POINTER(CallOptions), _OUT, _OUT)  # options, result, error
_PROMPT = POINTER(Prompt)
_GENERATE = POINTER(GenerateOptions)
_CHOOSE = POINTER(ChooseOptions)

#: Every function that this package calls: what it returns, and its parameters.
FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {
    "open_handles": (c_size_t, ()),
    "status_name": (c_char_p, (c_int32,)),
    "error_message": (Str, (c_void_p,)),
    "error_free": (None, (c_void_p,)),
    "set_logger": (c_int32, (c_uint32, LOG, c_void_p, _OUT)),
    "env_new": (c_int32, (POINTER(EnvOptions), _OUT, _OUT)),
    "env_runtime_version": (Str, (c_void_p,)),
    "env_runtime_path": (Str, (c_void_p,)),
    "env_free": (None, (c_void_p,)),
    "bundle_open": (c_int32, (c_char_p, c_size_t, POINTER(BundleOptions), _OUT, _OUT)),
    "bundle_open_bytes": (c_int32, (c_void_p, c_size_t, POINTER(BundleOptions), _OUT, _OUT)),
    "bundle_open_fd": (c_int32, (c_int, c_uint64, c_uint64, POINTER(BundleOptions), _OUT, _OUT)),
    "bundle_open_reader": (c_int32, (READ, c_void_p, c_uint64, POINTER(BundleOptions), _OUT, _OUT)),
    "bundle_id": (Str, (c_void_p,)),
    "bundle_version": (Str, (c_void_p,)),
    "bundle_build": (c_uint64, (c_void_p,)),
    "bundle_task": (Str, (c_void_p,)),
    "bundle_max_tokens": (c_size_t, (c_void_p,)),
    "bundle_size": (c_uint64, (c_void_p,)),
    "bundle_label_count": (c_size_t, (c_void_p,)),
    "bundle_label": (c_int32, (c_void_p, c_size_t, POINTER(Str), _OUT)),
    "bundle_manifest_json": (Str, (c_void_p,)),
    "bundle_signer_count": (c_size_t, (c_void_p,)),
    "bundle_signer": (c_int32, (c_void_p, c_size_t, POINTER(Str), _OUT)),
    "bundle_verify": (c_int32, (c_void_p, _TEXTS, c_size_t, _SIZE, _OUT)),
    "bundle_free": (None, (c_void_p,)),
    "sink_write": (c_int32, (c_void_p, c_char_p, c_size_t, _OUT)),
    "model_open": (c_int32, (c_void_p, c_char_p, c_size_t, POINTER(ModelOptions), _OUT, _OUT)),
    "model_open_bundle": (c_int32, (c_void_p, c_void_p, POINTER(ModelOptions), _OUT, _OUT)),
    "model_bundle": (c_int32, (c_void_p, _OUT, _OUT)),
    "model_warm_up": (c_int32, (c_void_p, _OUT)),
    "model_self_test": (c_int32, (c_void_p, POINTER(SelfTest), _OUT)),
    "model_count_tokens": (c_int32, (c_void_p, c_char_p, c_size_t, _SIZE, _OUT)),
    "model_embedding_size": (c_size_t, (c_void_p,)),
    "model_mask_token": (Str, (c_void_p,)),
    "model_providers_json": (Str, (c_void_p,)),
    "model_memory": (c_int32, (c_void_p, POINTER(Memory), _OUT)),
    "model_metrics": (c_int32, (c_void_p, POINTER(Metrics), _OUT)),
    "model_free": (None, (c_void_p,)),
    "cancel_new": (c_int32, (_OUT, _OUT)),
    "cancel_trigger": (None, (c_void_p,)),
    "cancel_is_triggered": (c_bool, (c_void_p,)),
    "cancel_free": (None, (c_void_p,)),
    "result_count": (c_size_t, (c_void_p,)),
    "result_usage": (c_int32, (c_void_p, c_size_t, POINTER(Usage), _OUT)),
    "result_json": (Str, (c_void_p,)),
    "result_free": (None, (c_void_p,)),
    "model_classify": (c_int32, (c_void_p, c_char_p, c_size_t, *_CALL)),
    "model_classify_batch": (c_int32, (c_void_p, _TEXTS, c_size_t, *_CALL)),
    "model_classify_pair": (c_int32, (c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, *_CALL)),
    "model_classify_pairs": (c_int32, (c_void_p, _PAIRS, c_size_t, *_CALL)),
    "model_zero_shot": (c_int32, (c_void_p, c_char_p, c_size_t, _TEXTS, c_size_t, *_CALL)),
    "model_zero_shot_batch": (c_int32, (c_void_p, _TEXTS, c_size_t, _TEXTS, c_size_t, *_CALL)),
    "model_rerank": (c_int32, (c_void_p, c_char_p, c_size_t, _TEXTS, c_size_t, *_CALL)),
    "model_tag": (c_int32, (c_void_p, c_char_p, c_size_t, *_CALL)),
    "model_tag_batch": (c_int32, (c_void_p, _TEXTS, c_size_t, *_CALL)),
    "model_answer": (c_int32, (c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, *_CALL)),
    "model_answer_batch": (c_int32, (c_void_p, _PAIRS, c_size_t, *_CALL)),
    "model_embed": (
        c_int32,
        (c_void_p, c_char_p, c_size_t, POINTER(CallOptions), _FLOATS, c_size_t, _OUT, _OUT),
    ),
    "model_embed_batch": (
        c_int32,
        (c_void_p, _TEXTS, c_size_t, POINTER(CallOptions), _FLOATS, c_size_t, _OUT, _OUT),
    ),
    "similarity": (c_int32, (_FLOATS, _FLOATS, c_size_t, _FLOATS, _OUT)),
    "nearest": (c_int32, (_FLOATS, c_size_t, _FLOATS, c_size_t, c_size_t, _SIZE, _FLOATS, _SIZE, _OUT)),
    "model_fill_mask": (c_int32, (c_void_p, c_char_p, c_size_t, *_CALL)),
    "model_fill_mask_batch": (c_int32, (c_void_p, _TEXTS, c_size_t, *_CALL)),
    "model_order": (c_int32, (c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, *_CALL)),
    "model_order_batch": (c_int32, (c_void_p, _PAIRS, c_size_t, *_CALL)),
    "model_replaced": (c_int32, (c_void_p, c_char_p, c_size_t, *_CALL)),
    "model_replaced_batch": (c_int32, (c_void_p, _TEXTS, c_size_t, *_CALL)),
    "model_generate": (c_int32, (c_void_p, c_char_p, c_size_t, _GENERATE, TOKEN, c_void_p, _OUT, _OUT)),
    "model_generate_prompt": (c_int32, (c_void_p, _PROMPT, _GENERATE, TOKEN, c_void_p, _OUT, _OUT)),
    "model_generate_batch": (c_int32, (c_void_p, _TEXTS, c_size_t, _GENERATE, _OUT, _OUT)),
    "model_choose": (c_int32, (c_void_p, _PROMPT, _TEXTS, c_size_t, _CHOOSE, _OUT, _OUT)),
    "model_score": (c_int32, (c_void_p, _PROMPT, c_char_p, c_size_t, _CHOOSE, POINTER(Choice), _OUT)),
    "model_perplexity": (
        c_int32,
        (c_void_p, c_char_p, c_size_t, POINTER(PerplexityOptions), POINTER(Perplexity), _OUT),
    ),
    "head_fit": (c_int32, (c_void_p, _PAIRS, c_size_t, c_double, *_CALL)),
    "head_load": (c_int32, (c_char_p, c_size_t, _OUT, _OUT)),
    "head_save": (c_int32, (c_void_p, c_char_p, c_size_t, _OUT)),
    "head_label_count": (c_size_t, (c_void_p,)),
    "head_label": (c_int32, (c_void_p, c_size_t, POINTER(Str), _OUT)),
    "head_classify": (c_int32, (c_void_p, c_void_p, _TEXTS, c_size_t, *_CALL)),
    "head_free": (None, (c_void_p,)),
    "slot_new": (c_int32, (c_void_p, _OUT, _OUT)),
    "slot_model": (c_int32, (c_void_p, _OUT, _OUT)),
    "slot_generation": (c_uint64, (c_void_p,)),
    "slot_publish": (c_int32, (c_void_p, c_void_p, POINTER(c_uint64), _OUT)),
    "slot_roll_back": (c_int32, (c_void_p, POINTER(c_uint64), _OUT)),
    "slot_forget_previous": (None, (c_void_p,)),
    "slot_free": (None, (c_void_p,)),
}


def abi_text(number: int) -> str:
    """An ABI version for people: "0.1"."""
    return f"{number >> 16}.{number & 0xFFFF}"


def load(path: Path) -> ctypes.CDLL:
    """Loads a library and checks that this package can use it.

    Raises ImportError, with the versions of both sides in its message.
    """
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(
            f"the library cannot be loaded: {error}; install the wheel for this platform"
        ) from error
    try:
        library.limbeck_abi_version.restype = c_uint32
        library.limbeck_abi_version.argtypes = ()
        found = library.limbeck_abi_version()
        library.limbeck_version.restype = c_char_p
        library.limbeck_version.argtypes = ()
        version = library.limbeck_version().decode()
    except AttributeError as error:
        raise ImportError(f"{path} is no limbeck library: {error}") from error
    # As limbeck_abi_check does: another major number is another ABI, a lower minor one lacks functions.
    if found >> 16 != ABI_VERSION >> 16 or found < ABI_VERSION:
        side = "the Python package" if found > ABI_VERSION else "the library"
        raise ImportError(
            f"this Python package needs ABI {abi_text(ABI_VERSION)} of limbeck, and {path} (version {version}) "
            f"has ABI {abi_text(found)}: update {side}"
        )
    for name, (result, parameters) in FUNCTIONS.items():
        function = getattr(library, f"limbeck_{name}")
        function.restype = result
        function.argtypes = parameters
        setattr(library, name, function)
    return library


#: The library of this package.
library = load(Path(__file__).with_name(_FILE))


def initialised(struct: type[Structure]) -> Structure:
    """A struct as its _init call makes it: all 0 but the size."""
    value = struct()
    value.size = ctypes.sizeof(struct)
    return value
