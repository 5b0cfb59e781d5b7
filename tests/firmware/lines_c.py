"""``lines.c`` in this process."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paths import ROOT

FIRMWARE = ROOT / "firmware_bridge" / "firmware"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
_WRITE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t)
_HANDLE = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.c_size_t,
)


class Bytes(ctypes.Structure):
    """``depin_bytes``."""

    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class _Lines(ctypes.Structure):
    _fields_ = [
        ("buffer", ctypes.c_char_p),
        ("capacity", ctypes.c_size_t),
        ("used", ctypes.c_size_t),
        ("dropped", ctypes.c_uint32),
        ("skipping", ctypes.c_uint8),
        ("write", _WRITE),
        ("handle", _HANDLE),
        ("context", ctypes.c_void_p),
    ]


def compiler() -> str:
    """The host's C compiler, or a skip."""
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler")
    return found


def build(folder: Path) -> ctypes.CDLL:
    """Compile ``lines.c`` as a shared library."""
    out = folder / "lines.so"
    subprocess.run(
        [
            *(compiler(), *STRICT, "-O1", "-fPIC", "-shared", "-I", str(FIRMWARE / "include")),
            *(str(FIRMWARE / "src" / "lines.c"), "-o", str(out)),
        ],
        check=True,
        timeout=120,
    )
    return ctypes.CDLL(str(out))


class CLines:
    """One ``depin_lines``; what it handles and writes is kept."""

    def __init__(self, library: ctypes.CDLL, capacity: int) -> None:
        self.lines: list[tuple[str, ...]] = []
        self.written = bytearray()
        self.on_line: Callable[[], None] = lambda: None
        self._library = library
        # Exactly as large as it says, between guards that must stay as they are.
        self._memory = ctypes.create_string_buffer(b"\xa5" * 16 + bytes(capacity) + b"\xa5" * 16)
        self._capacity = capacity
        self._write, self._handle = _WRITE(self._on_write), _HANDLE(self._on_handle)
        place = ctypes.cast(ctypes.addressof(self._memory) + 16, ctypes.c_char_p)
        self._state = _Lines(place, capacity, 0, 0, 0, self._write, self._handle, None)

    def _on_write(self, context: int, text: ctypes._Pointer[ctypes.c_char], size: int) -> None:
        self.written += ctypes.string_at(text, size)

    def _on_handle(
        self,
        context: int,
        lines: int,
        verb: bytes,
        arguments: ctypes._Pointer[ctypes.c_char_p],
        count: int,
    ) -> None:
        words = [verb, *((arguments[i] or b"") for i in range(count))]
        self.lines.append(tuple(word.decode("ascii") for word in words))

    @property
    def dropped(self) -> int:
        return int(self._state.dropped)

    def feed(self, data: bytes) -> None:
        for byte in data:
            self._library.depin_lines_feed(ctypes.byref(self._state), ctypes.c_char(byte))
        raw = self._memory.raw
        assert raw[:16] == b"\xa5" * 16
        assert raw[16 + self._capacity : 32 + self._capacity] == b"\xa5" * 16

    def say(self, verb: str, *words: str) -> bytes:
        texts = (ctypes.c_char_p * (len(words) + 1))(*(word.encode() for word in words), None)
        self.written.clear()
        self._library.depin_lines_say(ctypes.byref(self._state), verb.encode(), texts)
        return bytes(self.written)

    def send(self, verb: str, words: tuple[str, ...], data: bytes) -> bytes:
        texts = (ctypes.c_char_p * (len(words) + 1))(*(word.encode() for word in words), None)
        self.written.clear()
        self._library.depin_lines_send(
            ctypes.byref(self._state), verb.encode(), texts, Bytes(data, len(data))
        )
        return bytes(self.written)
