"""The ATECC608 driver in C and a chip in Python: signatures, policy, faults, and its counter."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import random
import subprocess

import pytest

from depin_id.enrolment import Enrolment
from depin_id.keys import P256_ORDER, DigestSigner, admit
from depin_id.network import network_did
from depin_id.possession import prove, read_proof
from tests.firmware.atecc608_chip import COUNTER_END, Chip, crc16
from tests.firmware.lines_c import FIRMWARE, STRICT, compiler

_WAKE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_SEND = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint8, ctypes.c_void_p, ctypes.c_size_t
)
_RECEIVE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_WAIT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint)
_OK, _WAKES, _BUS, _CHIP, _REFUSED = 0, -100, -101, -102, -103
_OPEN, _READABLE, _SIGNS, _AUTH, _LIMITED, _UNLOCKABLE, _UNLOCKED = range(-104, -111, -1)
_ROLLBACK, _AHEAD, _ENDED = -111, -112, -113


class _Bus(ctypes.Structure):
    _fields_ = [
        ("wake", _WAKE),
        ("send", _SEND),
        ("receive", _RECEIVE),
        ("wait_ms", _WAIT),
        ("context", ctypes.c_void_p),
    ]


class _Atecc(ctypes.Structure):
    _fields_ = [
        ("bus", ctypes.POINTER(_Bus)),
        ("slot", ctypes.c_uint8),
        ("public_key", ctypes.c_uint8 * 64),
    ]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    out = tmp_path_factory.mktemp("atecc") / "atecc608.so"
    sources = ["ports/atecc608/atecc608.c", "src/p256.c", "src/sha256.c"]
    subprocess.run(
        [
            *(compiler(), *STRICT, "-O1", "-fPIC", "-shared", "-I", str(FIRMWARE / "include")),
            *(*(str(FIRMWARE / source) for source in sources), "-o", str(out)),
        ],
        check=True,
        timeout=120,
    )
    return ctypes.CDLL(str(out))


class Driver:
    """The C driver on a simulated bus."""

    def __init__(self, library: ctypes.CDLL, chip: Chip) -> None:
        def receive(context: int, data: int, size: int) -> int:
            found = chip.receive(size)
            if found is None:
                return -1
            ctypes.memmove(data, found, size)
            return 0

        def send(context: int, word: int, data: int, size: int) -> int:
            return 0 if chip.send(word, ctypes.string_at(data, size) if size else b"") else -1

        self._bus = _Bus(
            _WAKE(lambda context: 0 if chip.wake() else -1),
            _SEND(send),
            _RECEIVE(receive),
            _WAIT(lambda context, ms: chip.wait(ms)),
            None,
        )
        self.state = _Atecc(ctypes.pointer(self._bus), chip.slot)
        self.library = library

    def __call__(self, name: str, *arguments: object) -> int:
        found: int = getattr(self.library, f"atecc608_{name}")(ctypes.byref(self.state), *arguments)
        return found

    def sign(self, digest: bytes) -> tuple[int, bytes]:
        out = ctypes.create_string_buffer(64)
        return self("sign_digest", digest, out), out.raw

    def check(self, chip: Chip, locked: int = 0, limited: int = 0) -> int:
        found: int = self.library.atecc608_check(bytes(chip.config), chip.slot, locked, limited)
        return found


@pytest.mark.parametrize("slot", [0, 9])
def test_a_key_is_made_in_the_chip_locked_and_proves_itself(
    library: ctypes.CDLL, slot: int
) -> None:
    assert crc16(b"\x04\x11") == b"\x33\x43"  # the chip's answer to a wake, as its data sheet says
    chip = Chip(slot)
    driver = Driver(library, chip)
    assert driver("probe") == _OK
    assert driver("public_key") == _REFUSED
    assert driver("make") == _OK
    first = bytes(driver.state.public_key)
    assert driver("make") == _OK and bytes(driver.state.public_key) != first
    assert driver("lock") == _OK and not chip.is_open(slot)
    assert driver("lock") == _OK
    assert driver("make") == _REFUSED
    assert driver("public_key") == _OK
    key = admit("p256", b"\x04" + bytes(driver.state.public_key))

    def sign_digest(digest: bytes) -> bytes:
        status, signature = driver.sign(digest)
        assert status == _OK and int.from_bytes(signature[32:], "big") <= P256_ORDER // 2
        return signature

    network = network_did(key)
    enrolment = Enrolment.of(key, profile="noise@1")
    for number in range(12):  # randomised, and half of them with a high s
        proof = prove(
            DigestSigner(key, sign_digest), enrolment, nonce=bytes([number]) * 16, network=network
        )
        assert read_proof(proof, network=network).enrolment == enrolment
    assert driver.sign(b"d" * 32)[1] != driver.sign(b"d" * 32)[1]
    assert chip.signed[-1] == b"d" * 32
    assert chip.stale == 0  # no key and no signature with an old seed


def test_policies_that_do_not_hold_are_refused(library: ctypes.CDLL) -> None:
    slot, key = Chip.SLOT_CONFIG, Chip.KEY_CONFIG
    for change, code in (
        ((slot, key), _OK),
        ((slot & ~0x80, key), _READABLE),
        ((slot | 0x4000, key), _READABLE),  # another key can be written from outside
        ((slot, key & ~1), _READABLE),
        ((slot, key & ~2), _READABLE),
        ((slot, key ^ 0x0C), _READABLE),  # not P-256
        ((slot & ~1, key), _SIGNS),
        ((slot, key | 0x40), _OK),  # as the trust platform's slots are: Sign asks for no nonce
        ((slot, key | 0x80), _AUTH),
        ((slot, key | 0x1000), _AUTH),
        ((slot | 0x20, key), _LIMITED),
        ((slot, key & ~0x20), _UNLOCKABLE),
        ((slot & ~0x2000, key & ~0x20), _OK),  # no other key can ever be made
    ):
        chip = Chip()
        chip.policy(*change)
        driver = Driver(library, chip)
        assert driver.check(chip) == code, change
        if code != _OK:
            assert driver("make") == code and driver("lock") == code and not chip.keys
    for offset in (86, 87):
        chip = Chip()
        chip.config[offset] = 0x55
        assert Driver(library, chip).check(chip) == _OPEN
    chip = Chip()
    driver = Driver(library, chip)
    assert driver.check(chip, locked=1) == _UNLOCKED
    assert driver.check(chip, limited=1) == _LIMITED
    chip.config[6] = 0x50
    assert driver("probe") == _CHIP


def _made(signature: bytes, digest: bytes) -> bytes:
    return signature


@pytest.mark.parametrize("seed", range(40))
def test_faults_of_the_bus_are_recovered_or_reported(library: ctypes.CDLL, seed: int) -> None:
    chip = Chip()
    driver = Driver(library, chip)
    assert driver("make") == _OK
    key = admit("p256", b"\x04" + bytes(driver.state.public_key))
    dice = random.Random(seed)
    rate = 0.02 + 0.02 * (seed % 5)
    kinds = ["deaf", "garbled", "lost"]
    chip.fault = lambda event: dice.choice(kinds) if dice.random() < rate else ""
    good = 0
    for number in range(8):
        digest = hashlib.sha256(bytes([seed, number])).digest()
        chip.slow = dice.choice([5, 115, 400])
        status, signature = driver.sign(digest)
        assert status in (_OK, _WAKES, _BUS)
        if status == _OK:
            good += 1
            signer = DigestSigner(key, functools.partial(_made, signature))
            signer.sign(bytes([seed, number]))  # and verifies
    assert good >= 2
    chip.fault = lambda event: ""
    chip.slow = 30
    assert driver.sign(b"e" * 32)[0] == _OK  # it always recovers
    chip.slow = 1299  # never ready before its watchdog
    assert driver.sign(b"f" * 32)[0] == _BUS
    chip.fault = lambda event: "deaf" if event == "wake" else ""
    assert driver.sign(b"f" * 32)[0] == _WAKES


def test_the_counter_witnesses_boots_only(library: ctypes.CDLL) -> None:
    chip = Chip()
    driver = Driver(library, chip)

    def boot(epoch: int, most: int = 16) -> int:
        return driver("witness", 1, ctypes.c_uint32(epoch), ctypes.c_uint32(most))

    assert driver("make") == _OK
    for epoch in range(1, 6):
        assert boot(epoch) == _OK
        for _ in range(5):
            assert driver.sign(b"r" * 32)[0] == _OK
    assert chip.counters == [0, 5]  # readings cost nothing of it
    # A power cut between flash and counter: the next boot makes up for it.
    assert boot(7) == _OK and chip.counters[1] == 7
    # An older copy of the flash: refused until it is above everything that was ever signed in.
    assert [boot(epoch) for epoch in (5, 6, 7, 8)] == [_ROLLBACK] * 3 + [_OK]
    assert boot(100) == _AHEAD and chip.counters[1] == 8
    assert boot(100, 1000) == _OK
    dice = random.Random(1)
    chip.fault = lambda event: dice.choice(["garbled", "lost", "deaf"]) * (dice.random() < 0.05)
    epoch, refused = 100, 0
    for _ in range(200):
        epoch += 1
        refused += boot(epoch) != _OK
        assert chip.counters[1] <= epoch  # never ahead: that would look like a rollback
    assert refused < 100
    chip.fault = lambda event: ""
    assert boot(epoch + 1, 1000) == _OK
    chip.counters[1] = COUNTER_END - 1
    assert boot(COUNTER_END) == _OK
    assert boot(COUNTER_END + 1) == _ENDED
    value = ctypes.c_uint32()
    assert driver("counter", 1, 1, ctypes.byref(value)) == _REFUSED
