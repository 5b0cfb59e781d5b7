"""An ATECC608 on a bus, as far as its driver uses it: policy, counters, checksums, watchdog."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

COUNTER_END = 2_097_151
OK, PARSE, EXECUTION, AWAKE, WATCHDOG, CRC = 0x00, 0x03, 0x0F, 0x11, 0xEE, 0xFF


def crc16(data: bytes) -> bytes:
    crc = 0
    for byte in data:
        for bit in range(8):
            differs = (crc >> 15) ^ (byte >> bit & 1)
            crc = (crc << 1 & 0xFFFF) ^ (0x8005 if differs else 0)
    return crc.to_bytes(2, "little")


class Chip:
    """``fault`` is asked at each named event and may name what goes wrong there.

    Events: ``wake``, ``send``, ``answer``. Faults: ``deaf`` (no acknowledgement), ``garbled``
    (a bit turns), ``lost`` (the command was done, its answer does not come).
    """

    SLOT_CONFIG, KEY_CONFIG = 0x2083, 0x0033

    def __init__(self, slot: int = 0) -> None:
        config = bytearray(128)
        config[0:8] = bytes.fromhex("0123a1b200006002")
        for number in range(16):
            config[20 + 2 * number : 22 + 2 * number] = bytes.fromhex("8f8f")
            config[96 + 2 * number : 98 + 2 * number] = bytes.fromhex("3c00")
        config[86] = config[87] = 0
        config[88:90] = b"\xff\xff"
        self.config, self.slot = config, slot
        self.policy(self.SLOT_CONFIG, self.KEY_CONFIG)
        self.keys: dict[int, ec.EllipticCurvePrivateKey] = {}
        self.counters = [0, 0]
        self.makes: Callable[[], ec.EllipticCurvePrivateKey]
        self.makes = functools.partial(ec.generate_private_key, ec.SECP256R1())
        self.fault: Callable[[str], str] = lambda event: ""
        self.time = self.woken = 0
        self.slow = 30
        self.awake = False
        self.digest: bytes | None = None
        self.answer: bytes | None = None
        self.ready = 0
        self.signed: list[bytes] = []
        self.seeded = False
        self.stale = 0
        """Secrets made since it slept without a new seed: a real one makes them all the same."""
        self.commands = 0

    def policy(self, slot_config: int, key_config: int) -> None:
        self.config[20 + 2 * self.slot : 22 + 2 * self.slot] = slot_config.to_bytes(2, "little")
        self.config[96 + 2 * self.slot : 98 + 2 * self.slot] = key_config.to_bytes(2, "little")

    def _sleeps(self) -> None:
        self.awake, self.digest, self.answer = False, None, None
        self.seeded = False

    def _watch(self) -> None:
        if self.awake and self.time - self.woken > 1300:
            self._sleeps()

    # --- the bus ---

    def wait(self, ms: int) -> None:
        self.time += ms

    def wake(self) -> bool:
        self._watch()
        if self.fault("wake") == "deaf":
            return False
        if not self.awake:
            self.awake, self.woken = True, self.time
            self._say(bytes([AWAKE]), 0)
        return True

    def send(self, word: int, data: bytes) -> bool:
        self._watch()
        fault = self.fault("send")
        if not self.awake or fault == "deaf":
            return False
        if word == 0x01:
            self._sleeps()
        elif word == 0x02:
            self.awake = False  # what was loaded stays
        elif word == 0x03:
            if fault == "garbled":
                data = data[:3] + bytes([data[3] ^ 1]) + data[4:]
            self._command(data)
        return True

    def receive(self, size: int) -> bytes | None:
        self._watch()
        if not self.awake or self.answer is None or self.time < self.ready:
            return None
        fault = self.fault("answer")
        if fault == "deaf":
            return None
        if fault == "lost":
            self._sleeps()
            return None
        answer, self.answer = self.answer, None
        if fault == "garbled":
            answer = answer[:2] + bytes([answer[2] ^ 0x10]) + answer[3:]
        return answer[:size].ljust(size, b"\xff")

    def _say(self, data: bytes, ms: int) -> None:
        body = bytes([len(data) + 3]) + data
        self.answer, self.ready = body + crc16(body), self.time + ms

    # --- commands ---

    def _command(self, packet: bytes) -> None:
        self.commands += 1
        if len(packet) < 7 or packet[0] != len(packet) or crc16(packet[:-2]) != packet[-2:]:
            self._say(bytes([CRC]), 1)
        elif self.time - self.woken > 1300 - self.slow:
            self._say(bytes([WATCHDOG]), 1)
        else:
            code, mode, low, high = packet[1:5]
            self._say(self._do(code, mode, low | high << 8, packet[5:-2]), self.slow)

    def _do(self, code: int, mode: int, second: int, data: bytes) -> bytes:
        if code == 0x30 and mode == 0:
            return bytes(self.config[4:8])
        if code == 0x02 and mode == 0x80 and second in (0, 8, 16, 24):
            return bytes(self.config[second * 4 : second * 4 + 32])
        if code == 0x16 and mode == 0x43 and len(data) == 32:
            self.digest = data
            return bytes([OK])
        if code == 0x1B and mode == 0 and second == 0:
            self.seeded = True
            return os.urandom(32)
        if code == 0x24 and mode in (0, 1) and second in (0, 1):
            return self._count(second, mode)
        if code == 0x40 and mode in (0, 4):
            return self._genkey(second, mode)
        if code == 0x41 and mode == 0xA0:
            return self._sign(second)
        if code == 0x17 and mode & 3 == 2 and self.keyconfig(mode >> 2) & 0x20:
            number = mode >> 2
            if not self.is_open(number):
                return bytes([EXECUTION])
            self.config[88 + number // 8] &= ~(1 << number % 8) & 0xFF
            return bytes([OK])
        return bytes([PARSE])

    def keyconfig(self, number: int) -> int:
        return int.from_bytes(self.config[96 + 2 * number : 98 + 2 * number], "little")

    def is_open(self, number: int) -> bool:
        return bool(self.config[88 + number // 8] >> number % 8 & 1)

    def _policy(self, number: int) -> int:
        return int.from_bytes(self.config[20 + 2 * number : 22 + 2 * number], "little")

    def _count(self, number: int, mode: int) -> bytes:
        if mode and self.counters[number] >= COUNTER_END:
            return bytes([EXECUTION])
        self.counters[number] += mode
        return self.counters[number].to_bytes(4, "little")

    def _genkey(self, number: int, mode: int) -> bytes:
        if number > 15 or self.keyconfig(number) & 0x1D != 0x11:
            return bytes([EXECUTION])
        if mode == 4:
            if not self._policy(number) & 0x2000 or not self.is_open(number):
                return bytes([EXECUTION])
            self.stale += not self.seeded
            self.keys[number] = self.makes()
        if number not in self.keys:
            return bytes([EXECUTION])
        public = self.keys[number].public_key().public_numbers()
        return public.x.to_bytes(32, "big") + public.y.to_bytes(32, "big")

    def _sign(self, number: int) -> bytes:
        digest, self.digest = self.digest, None
        if number not in self.keys or digest is None or not self._policy(number) & 1:
            return bytes([EXECUTION])
        self.signed.append(digest)
        self.stale += not self.seeded
        der = self.keys[number].sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        r, s = decode_dss_signature(der)
        if os.urandom(1)[0] & 1:  # as real ones: every second s is high
            s = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
