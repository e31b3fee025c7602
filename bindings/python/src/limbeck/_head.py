"""Classifiers fitted on a few examples."""

from __future__ import annotations

import math
from collections.abc import Iterable
from ctypes import byref
from typing import Optional

from . import _abi, _results, _texts
from ._abi import library
from ._errors import InvalidArgumentError, check
from ._handles import Owner, made
from ._model import Model
from ._options import Cancel, Options, Overflow


class Head(Owner):
    """A classifier fitted on examples, on top of an embedding model, to which it belongs and which it does not hold.

    Made by :meth:`fit` or :meth:`load`. May be used from many threads.
    """

    def __init__(self) -> None:
        raise TypeError("a Head is made by Head.fit or Head.load")

    @classmethod
    def _of(cls, pointer: int) -> Head:
        head = cls.__new__(cls)
        head._own(pointer, library.head_free, "head")
        return head

    @classmethod
    def fit(
        cls,
        model: Model,
        examples: Iterable[_texts.Pair],
        *,
        strength: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> Head:
        """Fits a head on examples: pairs of a text and its label.

        strength: weighs the examples against keeping the head simple; 10 by default.
        """
        if strength is not None and (strength == 0 or math.isnan(strength)):
            raise InvalidArgumentError(f"strength is {strength} and must be above 0")
        options = Options(overflow, window_stride, timeout, cancel)
        pairs = _texts.pairs(examples, "examples")
        with model._handle as pointer, options as c:
            return cls._of(made(library.head_fit, pointer, *pairs, strength or 0.0, c))

    @classmethod
    def load(cls, path: _texts.Path) -> Head:
        """Reads a head from a file."""
        return cls._of(made(library.head_load, *_texts.path(path)))

    def save(self, path: _texts.Path) -> None:
        """Writes the head to a file, whole or not at all."""
        with self._handle as pointer:
            check(library.head_save, pointer, *_texts.path(path))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order in which the examples first had them."""
        found = []
        with self._handle as pointer:
            for i in range(library.head_label_count(pointer)):
                text = _abi.Str()
                check(library.head_label, pointer, i, byref(text))
                found.append(text.text())
        return tuple(found)

    def classify(
        self,
        model: Model,
        texts: Iterable[_texts.Text],
        *,
        top_k: Optional[int] = None,
        out_of_scope: Optional[float] = None,
        overflow: Optional[Overflow] = None,
        window_stride: Optional[int] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> list[_results.Classification]:
        """Classifies texts, with the model that the head was fitted on."""
        options = Options(overflow, window_stride, timeout, cancel, top_k=top_k, out_of_scope=out_of_scope)
        c_texts = _texts.many(texts)
        with self._handle as head, model._handle as pointer, options as c:
            found = _results.taken(made(library.head_classify, head, pointer, *c_texts, c))
        return [_results.classification(fields) for fields in found]

    def __repr__(self) -> str:
        return "<limbeck.Head, closed>" if self.closed else f"<limbeck.Head {self.labels}>"
