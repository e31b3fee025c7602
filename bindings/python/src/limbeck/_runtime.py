"""Finding and loading ONNX Runtime: one for the whole process."""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
from ctypes import byref
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from . import _abi, _texts
from ._abi import library
from ._errors import RuntimeNotFoundError
from ._handles import Handle, made

_PATTERNS = {"darwin": "libonnxruntime.*.dylib", "win32": "onnxruntime.dll"}


@dataclass(frozen=True)
class Runtime:
    """The ONNX Runtime in use."""

    version: str  #: "1.24.4"
    path: str  #: Its file.


_lock = threading.Lock()
_loaded: Optional[Handle] = None


def load_runtime(path: Optional[_texts.Path] = None) -> Runtime:
    """Loads ONNX Runtime, or tells which one is loaded.

    Without a path it is the library of the Python package ``onnxruntime``, if that is installed, which is not
    imported for it; nothing else is tried. A process has one ONNX Runtime: asking for another file than the one
    that is loaded raises RuntimeIncompatibleError.
    """
    with environment(path) as pointer:
        return Runtime(library.env_runtime_version(pointer).text(), library.env_runtime_path(pointer).text())


def environment(path: Optional[_texts.Path] = None) -> Handle:
    """The environment of the process, made when it is first needed."""
    global _loaded
    with _lock:
        if _loaded is not None and path is None:
            return _loaded
        options = _abi.initialised(_abi.EnvOptions)
        options.runtime_path = _texts.path(_of_package() if path is None else path)
        handle = Handle(made(library.env_new, byref(options)), library.env_free, "environment")
        if _loaded is None:
            _loaded = handle
        else:  # the same library once more
            handle.close()
        return _loaded


def _of_package() -> Path:
    """The library inside the package onnxruntime."""
    advice = "pip install 'limbeck[onnxruntime]', or give the path of a libonnxruntime: limbeck.load_runtime(path)"
    try:
        spec = importlib.util.find_spec("onnxruntime")
    except (ImportError, ValueError):
        spec = None
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise RuntimeNotFoundError(f"no ONNX Runtime: the Python package onnxruntime is not installed; {advice}")
    pattern = _PATTERNS.get(sys.platform, "libonnxruntime.so*")
    found = [file for folder in folders for file in (Path(folder) / "capi").glob(pattern)]
    if not found:
        raise RuntimeNotFoundError(
            f"no ONNX Runtime: the Python package onnxruntime in {', '.join(folders)} has no {pattern}; {advice}"
        )
    return max(found, key=lambda file: [int(part) for part in re.findall(r"\d+", file.name)])
