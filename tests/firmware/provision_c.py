"""``provision.c`` in this process: a key in software or in a chip, and a port for a station."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from typing import Any, Final

from depin_id.device_lines import Line, LineReader, write_line
from tests.firmware.atecc608_chip import Chip
from tests.firmware.library import (
    Clock,
    Config,
    Device,
    Reading,
    Signer,
    Slot,
    Storage,
    Uptime,
    Wall,
    library,
)

ROOM: Final = 1024
_Open = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p)
_Do = c.CFUNCTYPE(c.c_int, c.c_void_p)
_Fill = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t)
_Write = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_size_t)
_Handle = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_char_p, c.c_void_p, c.c_size_t)
_Send = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_uint8, c.c_void_p, c.c_size_t)
_Wait = c.CFUNCTYPE(None, c.c_void_p, c.c_uint)


class KeyPlace(c.Structure):
    """depin_key_place"""

    _fields_ = [
        ("open", _Open),
        ("make", _Do),
        ("lock", _Do),
        ("random", _Fill),
        ("context", c.c_void_p),
    ]


class Enrolment(c.Structure):
    """depin_enrolment"""

    _fields_ = [
        ("name", c.c_char_p),
        ("profile", c.c_char_p),
        ("owner", c.c_char_p),
        ("lat", c.c_int32),
        ("lon", c.c_int32),
        ("has_place", c.c_uint8),
    ]


class Provision(c.Structure):
    """depin_provision"""

    _fields_ = [
        ("device", c.POINTER(Device)),
        ("config", Config),
        ("key", c.POINTER(KeyPlace)),
        ("enrolment", c.POINTER(Enrolment)),
        ("version", c.c_char_p),
        ("room", c.c_void_p),
        ("signer", Signer),
        ("network", c.c_char * 64),
        ("number", c.c_uint32),
        ("newest", c.c_uint8),
        ("state", c.c_uint8),
    ]


class Lines(c.Structure):
    """depin_lines"""

    _fields_ = [
        ("buffer", c.c_void_p),
        ("capacity", c.c_size_t),
        ("used", c.c_size_t),
        ("dropped", c.c_uint32),
        ("skipping", c.c_uint8),
        ("write", _Write),
        ("handle", _Handle),
        ("context", c.c_void_p),
    ]


class _Bus(c.Structure):
    _fields_ = [
        ("wake", _Do),
        ("send", _Send),
        ("receive", _Fill),
        ("wait_ms", _Wait),
        ("context", c.c_void_p),
    ]


class _Atecc(c.Structure):
    _fields_ = [("bus", c.POINTER(_Bus)), ("slot", c.c_uint8), ("public_key", c.c_uint8 * 64)]


class Provisionable:
    """A device with nothing but provisioning; also a LinePort.

    Attributes:
        slots: what storage holds. stores: slots in the order in which they were stored.
        on_store: may refuse a store, having left anything in the slot.
    """

    def __init__(self, chip: Chip | None = None) -> None:
        self.slots: dict[int, bytes] = {}
        self.stores: list[int] = []
        self.on_store: Callable[[int, bytes], bool] = lambda slot, data: True
        self.seed = bytes(range(7, 39))
        self.lib = library()
        self._out = bytearray()
        self._buffer = c.create_string_buffer(512)
        self._room = c.create_string_buffer(ROOM)
        self._readings = (Reading * 4)()
        self._storage = Storage(Slot(self._load), Slot(self._store), None)
        self._clock = Clock(Uptime(lambda _: 5000), Wall(), None)
        self.enrolment = Enrolment(b"a device", b"noise@1", b"", 0, 0, 0)
        self._software = c.create_string_buffer(64)
        self._key = self._in_software() if chip is None else self._in_chip(chip)
        self._handle = _Handle(self._on_line)
        self._write_out = _Write(lambda _, text, size: self._out.extend(c.string_at(text, size)))
        self.boot()

    def boot(self) -> int:
        """Power on: everything in memory is new."""
        self.device = Device()
        config = Config(
            *(None, None, c.pointer(self._storage), c.pointer(self._clock)),
            *(self._readings, 4),
        )
        self.provision = Provision(
            *(c.pointer(self.device), config, c.pointer(self._key), c.pointer(self.enrolment)),
            *(b"test-1", c.addressof(self._room)),
        )
        c.memset(self._buffer, 0, 512)
        place = c.addressof(self._buffer)
        self.lines = Lines(place, 512, 0, 0, 0, self._write_out, self._handle, None)
        return int(self.lib.depin_provision_begin(c.byref(self.provision)))

    def feed(self, data: bytes) -> None:
        """What comes over the line."""
        for byte in data:
            self.lib.depin_lines_feed(c.byref(self.lines), c.c_char(byte))

    def ask(self, *words: str | bytes) -> list[Line]:
        """A line in, the lines out."""
        self._out.clear()
        self.feed(write_line(str(words[0]), *words[1:]))
        return [item for item in LineReader().feed(bytes(self._out)) if isinstance(item, Line)]

    def state(self) -> str:
        """As ``is info`` says."""
        return self.ask("ask", "info")[0].arguments[2]

    @property
    def line(self) -> bytes:
        """The line's buffer, all of it."""
        return self._buffer.raw

    # --- LinePort ---

    def read(self, timeout: float) -> bytes:
        data = bytes(self._out)
        self._out.clear()
        return data

    def write(self, data: bytes) -> None:
        self.feed(data)

    def close(self) -> None:
        pass

    # --- callbacks ---

    def _on_line(self, _: object, lines: int, verb: bytes, arguments: int, count: int) -> None:
        self.lib.depin_provision_handle(
            *(c.byref(self.provision), c.c_void_p(lines), verb, c.c_void_p(arguments)),
            c.c_size_t(count),
        )

    def _load(self, _: object, slot: int, data: int, size: int) -> int:
        c.memmove(data, self.slots.get(slot, b"\xff" * size), size)
        return 0

    def _store(self, _: object, slot: int, data: int, size: int) -> int:
        written = c.string_at(data, size)
        self.stores.append(slot)
        if not self.on_store(slot, written):
            return 1
        self.slots[slot] = written
        return 0

    def _in_software(self) -> KeyPlace:
        fill = _Fill(lambda _, out, size: c.memmove(out, self.seed, size) is None)
        opens = c.cast(self.lib.depin_provision_ed25519, _Open)
        return KeyPlace(opens, _Do(), _Do(), fill, c.addressof(self._software))

    def _in_chip(self, chip: Chip) -> KeyPlace:
        def receive(_: object, data: int, size: int) -> int:
            found = chip.receive(size)
            if found is None:
                return -1
            c.memmove(data, found, size)
            return 0

        def send(_: object, word: int, data: int, size: int) -> int:
            return 0 if chip.send(word, c.string_at(data, size) if size else b"") else -1

        self._bus = _Bus(
            *(_Do(lambda _: 0 if chip.wake() else -1), _Send(send), _Fill(receive)),
            *(_Wait(lambda _, ms: chip.wait(ms)), None),
        )
        self._chip = _Atecc(c.pointer(self._bus), chip.slot)
        names: dict[str, Any] = {"open": _Open, "make": _Do, "lock": _Do}
        calls = [c.cast(getattr(self.lib, f"atecc608_{n}"), kind) for n, kind in names.items()]
        return KeyPlace(*calls, _Fill(), c.addressof(self._chip))
