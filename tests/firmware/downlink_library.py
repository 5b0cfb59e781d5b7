"""The C downlink module through ctypes: a device in memory that decides about messages."""

from __future__ import annotations

import ctypes
import fcntl
import shutil
import subprocess
import sys
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_int8,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from depin_id.errors import DepinError
from depin_id.keys import PublicKey, admit

FIRMWARE: Final = Path("firmware_bridge/firmware")
CURVES: Final = {1: "ed25519", 2: "p256"}
MALFORMED, FOREIGN, SIGNATURE, REPLAYED, NO_CARD, KEY = -10, -11, -12, -13, -14, -15
ARGUMENT, STORAGE = -1, -6
KINDS: Final = {1: "card", 2: "ack", 3: "challenge", 4: "resume"}


class Bytes(Structure):
    _fields_ = [("data", POINTER(c_uint8)), ("size", c_size_t)]

    def value(self) -> bytes:
        return ctypes.string_at(self.data, self.size) if self.size else b""


class Signer(Structure):
    _fields_ = [
        ("curve", c_int),
        ("public_key", c_char_p),
        ("sign_message", c_void_p),
        ("sign_digest", c_void_p),
        ("context", c_void_p),
        ("hash", c_void_p),
    ]


LOAD = ctypes.CFUNCTYPE(c_int, c_void_p, ctypes.c_uint, POINTER(c_uint8), c_size_t)
VERIFY = ctypes.CFUNCTYPE(
    c_int, c_void_p, c_int, POINTER(c_uint8), POINTER(Bytes), c_size_t, POINTER(c_uint8)
)
ADMIT = ctypes.CFUNCTYPE(c_int, c_void_p, c_int, POINTER(c_uint8))
TOLD = ctypes.CFUNCTYPE(None, c_void_p, POINTER(c_uint8), c_int, Bytes)
RANDOM = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(c_uint8), c_size_t)


class Storage(Structure):
    _fields_ = [("load", LOAD), ("store", LOAD), ("context", c_void_p)]


class Config(Structure):
    _fields_ = [
        ("network", c_char_p),
        ("signer", POINTER(Signer)),
        ("storage", POINTER(Storage)),
        ("clock", c_void_p),
        ("readings", c_void_p),
        ("capacity", c_size_t),
        ("secondary", c_void_p),
    ]


class Device(Structure):
    _fields_ = [
        ("config", Config),
        ("thumbprint", c_uint8 * 32),
        ("prev", c_uint8 * 16),
        ("beacon", c_uint8 * 32),
        ("ear", c_uint8 * 16),
        ("epoch", c_uint32),
        ("next", c_uint32),
        ("count", c_uint16),
        ("beacon_size", c_uint8),
        ("has_ear", c_uint8),
        ("state", c_uint8),
    ]


class CardKey(Structure):
    _fields_ = [("kid", c_uint8 * 8), ("raw", c_uint8 * 64), ("curve", c_uint8)]


class Card(Structure):
    _fields_ = [
        ("number", c_uint64),
        ("origin", c_uint8 * 16),
        ("keys", CardKey * 8),
        ("count", c_uint8),
        ("unused", c_uint8 * 15),
        ("check", c_uint8 * 16),
    ]


class Downlink(Structure):
    _fields_ = [
        ("device", POINTER(Device)),
        ("verify", c_void_p),
        ("admit", c_void_p),
        ("context", c_void_p),
        ("root_point", c_char_p),
        ("acknowledged", TOLD),
        ("acknowledged_context", c_void_p),
        ("next_ack", c_uint64),
        ("slot", c_uint8),
        ("card", Card),
    ]


class Event(Structure):
    _fields_ = [("kind", c_int), ("time_ms", c_uint64), ("nonce", c_uint8 * 16)]


class Reading(Structure):
    _fields_ = [
        ("name", c_char_p),
        ("unit", c_char_p),
        ("mantissa", c_int64),
        ("time_ms", c_int64),
        ("exponent", c_int8),
    ]


RECORD: Final = ctypes.sizeof(Card)


def _built(*goals: str) -> Path:
    """Run make under a lock: the build is shared by all processes that test it."""
    if shutil.which("make") is None or shutil.which("cc") is None:
        pytest.skip("no C compiler")
    build = FIRMWARE / "build"
    build.mkdir(exist_ok=True)
    with (build / ".lock-host").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = f"PYTHON={sys.executable}"
        command = ["make", "-s", "-C", str(FIRMWARE), python, *goals]
        subprocess.run(command, check=True, timeout=300)
    return build.resolve()


def make(how: str, target: str) -> str:
    """Path of a fuzz target, built as ``fuzz`` or ``sanitized``."""
    return str(_built(f"build/{how}/{target}") / how / target)


@cache
def library() -> ctypes.CDLL:
    """The library built for this machine."""
    return ctypes.CDLL(str(_built("shared") / "host" / "libdepin.so"))


def point_of(key: PublicKey) -> bytes:
    """x || y of a P-256 key."""
    return key._p256.public_numbers().x.to_bytes(32, "big") + (
        key._p256.public_numbers().y.to_bytes(32, "big")
    )


def raw_of(key: PublicKey) -> bytes:
    """A key as the C library has it."""
    return key.raw if key.curve == "ed25519" else point_of(key)


def _key(curve: int, data: Any) -> PublicKey:
    if curve == 1:
        return admit("ed25519", ctypes.string_at(data, 32))
    return admit("p256", b"\x04" + ctypes.string_at(data, 64))


class PowerCut(Exception):
    """The power went while something was stored."""


class CDevice:
    """One device in one network, with its storage in memory."""

    def __init__(
        self,
        network: str,
        key: PublicKey,
        *,
        root: PublicKey | None = None,
        verifier: bool = True,
        admits: bool = True,
        slots: dict[int, bytes] | None = None,
    ) -> None:
        self.lib = library()
        self.slots: dict[int, bytes] = slots if slots is not None else {}
        self.fail_load = self.fail_store = False
        self.cut_at: int | None = None
        self.told: list[tuple[bytes, bool, str]] = []
        self.event = Event()
        self._public = raw_of(key)
        self._keep = (LOAD(self._load), LOAD(self._store), VERIFY(self._verify), ADMIT(self._admit))
        signs = ctypes.cast(self._keep[3], c_void_p).value  # never called
        self._signer = Signer(1 if key.curve == "ed25519" else 2, self._public)
        if key.curve == "ed25519":
            self._signer.sign_message = signs
        else:
            self._signer.sign_digest = signs
        self._signer.hash = ctypes.cast(self.lib.depin_software_hash, c_void_p).value
        self._storage = Storage(self._keep[0], self._keep[1])
        self._readings = (Reading * 2)()
        self._config = Config(
            network.encode(),
            ctypes.pointer(self._signer),
            ctypes.pointer(self._storage),
            None,
            ctypes.cast(self._readings, c_void_p),
            2,
            None,
        )
        self.device = Device()
        assert self.lib.depin_init(byref(self.device), byref(self._config)) == 0
        self.down = Downlink()
        self.status = self.lib.depin_downlink_init(
            byref(self.down),
            byref(self.device),
            self._keep[2] if verifier else None,
            self._keep[3] if admits else None,
            None,
        )
        self._point = None if root is None or root.curve == "ed25519" else point_of(root)
        self.down.root_point = self._point
        self._told = TOLD(self._tell)
        self.down.acknowledged = self._told

    def _load(self, _: Any, slot: int, data: Any, size: int) -> int:
        if self.fail_load:
            return 1
        content = self.slots.get(slot, b"\xff" * size)[:size].ljust(size, b"\xff")
        ctypes.memmove(data, content, size)
        return 0

    def _store(self, _: Any, slot: int, data: Any, size: int) -> int:
        new = ctypes.string_at(data, size)
        if self.cut_at is not None and self.cut_at < size:
            self.slots[slot] = new[: self.cut_at].ljust(size, b"\xff")
            self.fail_load = self.fail_store = True
            return 1
        if self.cut_at is not None:
            self.cut_at -= size
        if self.fail_store:
            return 1
        self.slots[slot] = new
        return 0

    def _verify(self, _: Any, curve: int, key: Any, parts: Any, count: int, signature: Any) -> int:
        if curve == 1:
            return int(self.lib.depin_ed25519_verify(None, 1, key, parts, count, signature))
        message = b"".join(parts[index].value() for index in range(count))
        try:
            _key(curve, key).verify(message, ctypes.string_at(signature, 64))
        except DepinError:
            return 1
        return 0

    def _admit(self, _: Any, curve: int, key: Any) -> int:
        try:
            _key(curve, key)
        except DepinError:
            return 1
        return 0

    def _tell(self, _: Any, identity: Any, final: int, code: Bytes) -> None:
        self.told.append((ctypes.string_at(identity, 32), bool(final), code.value().decode()))

    def take(self, message: bytes) -> int:
        """Hand over a message from a buffer of exactly its size."""
        self.told.clear()
        buffer = (c_uint8 * max(1, len(message))).from_buffer_copy(message or b"\0")
        pieces = Bytes(ctypes.cast(buffer, POINTER(c_uint8)), len(message))
        return int(self.lib.depin_downlink_take(byref(self.down), pieces, byref(self.event)))

    def lose(self, nonce: bytes) -> None:
        """Both position records are gone, and this nonce waits for its answer."""
        self.slots.pop(0, None)
        self.slots.pop(1, None)

        def fill(_: Any, data: Any, size: int) -> int:
            ctypes.memmove(data, nonce, size)
            return 0

        out = (c_uint8 * 16)()
        status = self.lib.depin_position_resume_nonce(byref(self.device), RANDOM(fill), None, out)
        assert (status, bytes(out)) == (0, nonce)

    def state(self) -> tuple[bytes, bytes, dict[int, bytes]]:
        """Everything that a message may change."""
        return bytes(self.device), bytes(self.down), dict(self.slots)

    def restore(self, state: tuple[bytes, bytes, dict[int, bytes]]) -> None:
        """Go back to a state."""
        ctypes.memmove(byref(self.device), state[0], len(state[0]))
        ctypes.memmove(byref(self.down), state[1], len(state[1]))
        self.slots.clear()
        self.slots.update(state[2])

    @property
    def beacon(self) -> bytes:
        return bytes(self.device.beacon)[: self.device.beacon_size]
