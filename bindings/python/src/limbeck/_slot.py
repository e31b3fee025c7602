"""Replacing a model while it is in use."""

from __future__ import annotations

from ctypes import byref, c_uint64

from ._abi import library
from ._errors import check
from ._handles import Owner, made
from ._model import Model


class Slot(Owner):
    """A place for a model that can be replaced under load: calls in flight end on the model they began with, later
    ones use the new one, and none fails for it. May be used from many threads, to publish too."""

    def __init__(self, model: Model) -> None:
        """Makes a slot with its first model, which also stays yours to close."""
        with model._handle as pointer:
            self._own(made(library.slot_new, pointer), library.slot_free, "slot")

    def model(self) -> Model:
        """The model in use. Ask anew for each call, or for each piece of work that must see one model throughout."""
        with self._handle as pointer:
            return Model._of(made(library.slot_model, pointer))

    @property
    def generation(self) -> int:
        """Counts up with every change of the model, from 1."""
        with self._handle as pointer:
            return int(library.slot_generation(pointer))

    def publish(self, model: Model) -> int:
        """Puts a model in use, if it does the task of the one before, is no older build of it, and passes its own
        self-test; else the model before stays and an error is raised. Gives the new generation."""
        generation = c_uint64()
        with self._handle as pointer, model._handle as candidate:
            check(library.slot_publish, pointer, candidate, byref(generation))
        return generation.value

    def roll_back(self) -> int:
        """Goes back to the model before, which stayed in memory; once more returns to the newer one. Gives the new
        generation."""
        generation = c_uint64()
        with self._handle as pointer:
            check(library.slot_roll_back, pointer, byref(generation))
        return generation.value

    def forget_previous(self) -> None:
        """Gives the memory of the model before back, once the calls that use it have ended."""
        with self._handle as pointer:
            library.slot_forget_previous(pointer)
