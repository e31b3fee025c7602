"""Bundles, opened and verified."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable
from ctypes import byref, c_size_t
from typing import Any, BinaryIO, Optional, Union

from . import _abi, _texts
from ._abi import library
from ._errors import check
from ._handles import Owner, made

#: Decrypts a section: gets its name and its stored bytes, and gives its content.
Decrypt = Callable[[str, bytes], bytes]
_U64 = (1 << 64) - 1
_CHUNK = 1 << 20


class BundleOptions:
    """What must hold for a bundle, as C has it. Not to be used after the call that it was made for."""

    def __init__(
        self,
        keys: Optional[Iterable[str]] = None,
        minimum_build: int = 0,
        size_limit: Optional[int] = None,
        decrypt: Optional[Decrypt] = None,
    ) -> None:
        self.c = _abi.initialised(_abi.BundleOptions)
        if keys is not None:
            self._keys, self.c.key_count = _texts.many(keys, "keys")
            self.c.keys = ctypes.cast(self._keys, ctypes.POINTER(_abi.InStr))
        self.c.minimum_build = _texts.number(minimum_build, "minimum_build", 0, _U64)
        self.c.size_limit = _texts.number(size_limit, "size_limit", 1, _U64)
        self._failure: Optional[BaseException] = None
        if decrypt is not None:
            self.c.decrypt = self._decrypt = _abi.DECRYPT(self._decrypting(decrypt))

    def _decrypting(self, decrypt: Decrypt) -> Callable[..., int]:
        def call(_: Any, section: Any, stored: Any, length: int, sink: Any) -> int:
            # No exception may leave it: it is kept, and raised when the call has returned.
            try:
                content = bytes(decrypt(section.text(), ctypes.string_at(stored, length)))
                return int(library.sink_write(sink, content, len(content), None))
            except BaseException as error:
                self.keep(error)
                return 1

        return call

    def keep(self, error: BaseException) -> None:
        """Keeps what a function of the caller's raised."""
        self._failure = self._failure or error

    def opened(self, function: Any, *arguments: Any) -> int:
        """Makes a call that opens something; what a function of the caller's raised comes out of it."""
        try:
            return made(function, *arguments)
        except Exception:
            if self._failure is not None:
                raise self._failure from None
            raise


class Bundle(Owner):
    """A bundle, opened and verified: every length and hash in it was checked. Needs no ONNX Runtime.

    May be used from many threads, and closed while models opened from it live on.
    """

    def __init__(
        self,
        path: _texts.Path,
        *,
        keys: Optional[Iterable[str]] = None,
        minimum_build: int = 0,
        decrypt: Optional[Decrypt] = None,
    ) -> None:
        """Opens a file, which is mapped: do not change it while the bundle or its models are open; replace it.

        keys: public keys of 64 hex digits; one of them must have signed the bundle. minimum_build: the lowest
        build number that will do. decrypt: decrypts encrypted sections.
        """
        options = BundleOptions(keys, minimum_build, None, decrypt)
        self._own_bundle(options.opened(library.bundle_open, *_texts.path(path), byref(options.c)))

    def _own_bundle(self, pointer: int) -> None:
        self._own(pointer, library.bundle_free, "bundle")

    @classmethod
    def _of(cls, pointer: int) -> Bundle:
        bundle = cls.__new__(cls)
        bundle._own_bundle(pointer)
        return bundle

    @classmethod
    def from_bytes(
        cls,
        data: Union[bytes, bytearray, memoryview],
        *,
        keys: Optional[Iterable[str]] = None,
        minimum_build: int = 0,
        decrypt: Optional[Decrypt] = None,
    ) -> Bundle:
        """Opens a bundle in memory. The bytes are copied."""
        options = BundleOptions(keys, minimum_build, None, decrypt)
        data = bytes(data)
        pointer = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)
        return cls._of(options.opened(library.bundle_open_bytes, pointer, len(data), byref(options.c)))

    @classmethod
    def from_fd(
        cls,
        descriptor: int,
        offset: int = 0,
        length: int = 0,
        *,
        keys: Optional[Iterable[str]] = None,
        minimum_build: int = 0,
        decrypt: Optional[Decrypt] = None,
    ) -> Bundle:
        """Opens a bundle that lies in an open file: `length` bytes from `offset` on, or all up to its end. Mapped
        where it can be; the descriptor stays yours. Not on Windows."""
        options = BundleOptions(keys, minimum_build, None, decrypt)
        offset = _texts.number(offset, "offset", 0, _U64)
        length = _texts.number(length, "length", 0, _U64)
        descriptor = _texts.number(descriptor, "descriptor", 0, 0x7FFFFFFF)
        return cls._of(options.opened(library.bundle_open_fd, descriptor, offset, length, byref(options.c)))

    @classmethod
    def from_stream(
        cls,
        stream: BinaryIO,
        *,
        keys: Optional[Iterable[str]] = None,
        minimum_build: int = 0,
        size_limit: Optional[int] = None,
        decrypt: Optional[Decrypt] = None,
    ) -> Bundle:
        """Reads a bundle to memory, up to the end of a binary stream. size_limit: the longest one that is read, in
        bytes; 4 GiB by default."""
        options = BundleOptions(keys, minimum_build, size_limit, decrypt)

        def read(_: Any, buffer: Any, capacity: int) -> int:
            try:
                asked = min(capacity, _CHUNK)
                data = stream.read(asked)
                # What is copied lies where the library has room for so many bytes and no more.
                if not isinstance(data, (bytes, bytearray, memoryview)):
                    raise TypeError(f"stream.read() gave {type(data).__name__}, not bytes; open it in binary mode")
                data = bytes(data)
                if len(data) > asked:
                    raise ValueError(f"stream.read({asked}) gave {len(data)} bytes")
                ctypes.memmove(buffer, data, len(data))
                return len(data)
            except BaseException as error:
                options.keep(error)
                return -1

        function = _abi.READ(read)
        return cls._of(options.opened(library.bundle_open_reader, function, None, 0, byref(options.c)))

    def _get(self, function: Any) -> Any:
        with self._handle as pointer:
            return function(pointer)

    def _text(self, function: Any) -> str:
        with self._handle as pointer:
            return str(function(pointer).text())

    def _list(self, count: Any, item: Any) -> tuple[str, ...]:
        found = []
        with self._handle as pointer:
            for i in range(count(pointer)):
                text = _abi.Str()
                check(item, pointer, i, byref(text))
                found.append(text.text())
        return tuple(found)

    @property
    def id(self) -> str:
        """Name of the model: "sentiment"."""
        return self._text(library.bundle_id)

    @property
    def version(self) -> str:
        """Version of the model, for people."""
        return self._text(library.bundle_version)

    @property
    def build(self) -> int:
        """Build number of the model, which grows with each build of one id."""
        return int(self._get(library.bundle_build))

    @property
    def task(self) -> str:
        """What the model does: "text-classification"."""
        return self._text(library.bundle_task)

    @property
    def max_tokens(self) -> int:
        """The most tokens that the model takes at one time, special tokens included."""
        return int(self._get(library.bundle_max_tokens))

    @property
    def size(self) -> int:
        """Size of the whole bundle in bytes."""
        return int(self._get(library.bundle_size))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the model knows."""
        return self._list(library.bundle_label_count, library.bundle_label)

    @property
    def signers(self) -> tuple[str, ...]:
        """Ids of the keys that the bundle says it is signed by; not checked, see :meth:`verify`."""
        return self._list(library.bundle_signer_count, library.bundle_signer)

    @property
    def manifest(self) -> dict[str, Any]:
        """All that the manifest says: architecture, languages, quality and more (docs/bundle-format.md)."""
        return dict(json.loads(self._text(library.bundle_manifest_json)))

    def verify(self, keys: Iterable[str]) -> int:
        """Checks that one of these public keys signed the bundle, and gives its place among them. Raises
        SignatureError."""
        place = c_size_t()
        with self._handle as pointer:
            check(library.bundle_verify, pointer, *_texts.many(keys, "keys"), byref(place))
        return place.value

    def __repr__(self) -> str:
        if self.closed:
            return "<limbeck.Bundle, closed>"
        return f"<limbeck.Bundle {self.id} {self.version}, build {self.build}, {self.task}>"
