"""The device library as a shared object of this machine, and its structures for ctypes."""

from __future__ import annotations

import ctypes as c
import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest

from depin_id.keys import SoftwareSigner
from tests.paths import ROOT

FIRMWARE: Final = ROOT / "firmware_bridge" / "firmware"
BUILD: Final = FIRMWARE / "build"
MONOCYPHER: Final = BUILD / "monocypher"
STATUS: Final = {
    name: -number
    for number, name in enumerate(
        "OK ARGUMENT ROOM EMPTY FULL SIGN STORAGE LOST EXHAUSTED RANDOM".split()
    )
}

Sign = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p)
Digest = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p)
Slot = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_uint, c.c_void_p, c.c_size_t)
Uptime = c.CFUNCTYPE(c.c_int64, c.c_void_p)
Wall = c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(c.c_int64), c.POINTER(c.c_uint32))
Hash = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p)
Random = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t)


class Bytes(c.Structure):
    """depin_bytes"""

    _fields_ = [("data", c.c_char_p), ("size", c.c_size_t)]


class Signer(c.Structure):
    """depin_signer"""

    _fields_ = [
        ("curve", c.c_int),
        ("public_key", c.c_char_p),
        ("sign_message", Sign),
        ("sign_digest", Digest),
        ("context", c.c_void_p),
        ("hash", Hash),
    ]


class Storage(c.Structure):
    """depin_storage"""

    _fields_ = [("load", Slot), ("store", Slot), ("context", c.c_void_p)]


class Clock(c.Structure):
    """depin_clock"""

    _fields_ = [("uptime_ms", Uptime), ("wall", Wall), ("context", c.c_void_p)]


class Reading(c.Structure):
    """depin_reading"""

    _fields_ = [
        ("name", c.c_char_p),
        ("unit", c.c_char_p),
        ("mantissa", c.c_int64),
        ("time_ms", c.c_int64),
        ("exponent", c.c_int8),
    ]


class Config(c.Structure):
    """depin_config"""

    _fields_ = [
        ("network", c.c_char_p),
        ("signer", c.POINTER(Signer)),
        ("storage", c.POINTER(Storage)),
        ("clock", c.POINTER(Clock)),
        ("readings", c.POINTER(Reading)),
        ("capacity", c.c_size_t),
        ("secondary", c.c_void_p),
    ]


class Device(c.Structure):
    """depin_device"""

    _fields_ = [
        ("config", Config),
        ("thumbprint", c.c_uint8 * 32),
        ("prev", c.c_uint8 * 16),
        ("beacon", c.c_uint8 * 32),
        ("ear", c.c_uint8 * 16),
        ("epoch", c.c_uint32),
        ("next", c.c_uint32),
        ("count", c.c_uint16),
        ("beacon_size", c.c_uint8),
        ("has_ear", c.c_uint8),
        ("state", c.c_uint8),
    ]


def _sources() -> list[Path]:
    folders = ("src", "include/depin", "ports/atecc608", "tests")
    return sorted(path for name in folders for path in (FIRMWARE / name).glob("*.[ch]"))


@lru_cache(maxsize=1)
def library() -> Any:
    """The library and the replay of cases, built once for all processes that test."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    BUILD.mkdir(exist_ok=True)
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in _sources())).hexdigest()[:16]
    made = BUILD / "tests" / f"core-{mark}.so"
    with (BUILD / ".tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            made.parent.mkdir(exist_ok=True)
            _build(compiler, made)
    return _typed(c.CDLL(str(made)))


def _build(compiler: str, made: Path) -> None:
    fetch = FIRMWARE / "tools" / "fetch_monocypher.py"
    subprocess.run([sys.executable, str(fetch), str(MONOCYPHER)], check=True, timeout=300)
    core = sorted((*(FIRMWARE / "src").glob("*.c"), *(FIRMWARE / "ports/atecc608").glob("*.c")))
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fPIC", "-shared"]
    for include in ("include", "src", "tests", "build/monocypher"):
        flags.append(f"-I{FIRMWARE / include}")
    part = made.with_suffix(".part")
    files = [*map(str, core), str(FIRMWARE / "tests" / "replay.c")]
    subprocess.run([compiler, *flags, *files, "-o", str(part)], check=True, timeout=120)
    part.replace(made)


def _typed(lib: Any) -> Any:
    lib.depin_replay.restype = lib.depin_sealed_bound.restype = c.c_size_t
    lib.depin_replay.argtypes = [c.c_char_p, c.c_size_t, c.c_void_p, c.c_size_t]
    add = [c.POINTER(Device), c.c_char_p, c.c_char_p, c.c_int64, c.c_int, c.c_int64]
    lib.depin_add.argtypes = add
    return lib


def replay(case: bytes, room: int = 70_000) -> bytes:
    """The library's answer to a case of the corpus."""
    out = c.create_string_buffer(room)
    size = library().depin_replay(case, len(case), out, room)
    return out.raw[:size]


class Board:
    """A device of the library whose signer, storage and clock are Python's.

    Attributes:
        slots: what storage holds. messages: what was handed to the signer.
        cut: called before a store with its slot; may raise, and leave anything in that slot.
    """

    def __init__(self, key: SoftwareSigner, network: str, *, capacity: int = 16) -> None:
        self.key, self.network = key, network
        self.slots: dict[int, bytes] = {}
        self.messages: list[bytes] = []
        self.uptime, self.wall, self.error = 0, 0, 0
        self.broken: Callable[[str], bool] = lambda what: False
        self.on_store: Callable[[int, bytes], bool] = lambda slot, data: True
        raw = key.public_key.cose_key
        curve = key.public_key.curve
        point = raw[-32:] if curve == "ed25519" else raw[8:40] + raw[43:]
        self._keep: list[Any] = [point]
        message = Sign(self._sign) if curve == "ed25519" else Sign()
        digest = Digest() if curve == "ed25519" else Digest(self._digest)
        signer = Signer(
            1 if curve == "ed25519" else 2, point, message, digest, None, Hash(self._hash)
        )
        storage = Storage(Slot(self._load), Slot(self._store), None)
        clock = Clock(Uptime(lambda _: self.uptime), Wall(self._wall), None)
        self._readings = (Reading * capacity)()
        self.config = Config(
            network.encode(),
            *(c.pointer(signer), c.pointer(storage), c.pointer(clock)),
            *(self._readings, capacity),
            c.cast(library().depin_secondary_unit, c.c_void_p),
        )
        self.device = Device()

    def boot(self) -> int:
        """Power on: everything in memory is new."""
        self.device = Device()
        return int(library().depin_init(c.byref(self.device), c.byref(self.config)))

    def call(self, name: str, *arguments: Any) -> int:
        """A function of the library on this device."""
        return int(getattr(library(), name)(c.byref(self.device), *arguments))

    def add(self, name: bytes, unit: bytes | None, mantissa: int, exponent: int, at: int) -> int:
        """depin_check_reading and depin_add"""
        refused = self.call("depin_check_reading", name, unit)
        return refused or self.call("depin_add", name, unit, mantissa, exponent, at)

    def seal(self, room: int = 4096) -> tuple[int, bytes]:
        """depin_seal: status and envelope."""
        out, size = c.create_string_buffer(room), c.c_size_t(0)
        status = self.call("depin_seal", out, c.c_size_t(room), c.byref(size))
        return status, out.raw[: size.value] if status == 0 else b""

    def _sign(self, _: object, parts: int, count: int, out: int) -> int:
        items = (Bytes * count).from_address(parts)
        addresses = (c.c_void_p * (2 * count)).from_address(parts)
        message = b"".join(
            c.string_at(addresses[2 * i] or 0, item.size) for i, item in enumerate(items)
        )
        self.messages.append(message)
        if self.broken("sign"):
            return 1
        c.memmove(out, self.key.sign(message), 64)
        return 0

    def _hash(self, _: object, parts: int, count: int, out: int) -> int:
        library().depin_sha256(c.c_void_p(parts), c.c_size_t(count), c.c_void_p(out))
        return int(self.broken("hash"))

    def _digest(self, _: object, digest: int, out: int) -> int:
        self.messages.append(c.string_at(digest, 32))
        c.memmove(out, bytes(63) + b"\x01", 64)
        return int(self.broken("sign"))

    def _load(self, _: object, slot: int, data: int, size: int) -> int:
        c.memmove(data, self.slots.get(slot, b"\xff" * size), size)
        return int(self.broken("load"))

    def _store(self, _: object, slot: int, data: int, size: int) -> int:
        if self.broken("store"):
            return 1
        written = c.string_at(data, size)
        if self.on_store(slot, written):
            self.slots[slot] = written
            return 0
        return 1

    def _wall(self, _: object, ms: Any, error: Any) -> int:
        ms[0], error[0] = self.wall, self.error
        return int(self.wall == 0)
