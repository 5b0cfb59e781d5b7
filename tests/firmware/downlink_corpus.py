"""Cases for the fuzz targets of the C library: real messages and records, whole and damaged."""

from __future__ import annotations

import itertools
import random
import struct
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

from depin_id import cose
from tests.firmware.corpus import WALL, generate
from tests.firmware.downlink_world import World, messages, world


def case(at: World, *messages: bytes) -> bytes:
    """One case of fuzz_downlink: who it is for, and messages one after another."""
    parts = [len(message).to_bytes(2, "big") + message for message in messages]
    return at.network.encode()[:56] + at.key.thumbprint + b"".join(parts)


def downlink_cases() -> list[bytes]:
    """Each kind after the card, single bytes changed inside payloads, and messages cut off."""
    at = world("ed25519")
    kinds = messages(at, "ed25519")
    cases = [case(at, at.card_bytes, *kinds.values())]
    chance = random.Random(1)
    for message in kinds.values():
        cases.append(case(at, at.card_bytes, message))
        parsed = cose.parse_sign1(message)
        for index in range(0, len(parsed.payload), 3):
            changed = bytearray(parsed.payload)
            changed[index] = chance.randrange(256)
            again = cose.assemble(parsed.protected, bytes(changed), parsed.signature)
            cases += [case(at, at.card_bytes, again), case(at, at.card_bytes, message[:index])]
    return cases


def record_cases() -> list[bytes]:
    """Slots as a device leaves them, and damaged; with and without checksums made right."""
    at = world("ed25519")
    card = at.start[2][2]
    position = b"DPP1" + (5).to_bytes(4, "little") + bytes(56)
    waiting = b"DPW1" + bytes(4) + bytes(range(16)) + bytes(40)
    cases = []
    for first, second in ((position, position), (position, waiting), (waiting, b"\xff" * 64)):
        for forged in (b"\0", b"\1"):
            for count in (0, 2, 8, 9, 255):
                record = bytearray(card)
                record[608] = count
                cases.append(forged + first + second + bytes(record) + card + at.card_bytes)
    full = b"DPP1" + b"\xff" * 4 + bytes(56)
    return [*cases, b"\1" + full + full, b"\1" + position + full, b"\1", b""]


def core_cases() -> list[bytes]:
    """What the core is asked for in the comparison with Python, and what broke it or its driver."""
    cases = [one.to_bytes() for one in generate(300)]
    uptime = struct.calcsize("<BBBII16s")
    before = [one[:uptime] + b"\xff" * 8 + one[uptime + 8 :] for one in cases[:20]]
    # With a wall clock, which stands as far before 1970 as it can.
    wall, least = uptime + 8, struct.pack("<q", -(1 << 63))
    early = [
        one[:1] + bytes([one[1] | WALL]) + one[2:wall] + least + one[wall + 8 :]
        for one in cases[:20]
    ]
    return [*cases, *before, *early, *(one[:-1] for one in cases[:20])]


def lines_cases() -> list[bytes]:
    """A device from nothing to locked, and what is asked of it then; records as they are stored."""
    did = world("ed25519").network
    key, network = b"write key " + b"07" * 32, b"write network " + did.encode()
    asked = [b"ask info", b"ask key", b"ask network", b"prove " + b"5a" * 16]
    ways = ([b"make key", network], [key, network], [network, key], [network, b"make key", key])
    seed = bytes([7]) * 32
    records = [b"\xff" * 128]
    for flags, size in ((1, 0), (1, len(did)), (5, len(did)), (5, 255)):
        record = b"DPR1" + bytes([0, 0, 0, flags, flags, size, 0, 0]) + seed + did.encode()
        record = record.ljust(124, b"\0")
        records.append(record + zlib.crc32(record).to_bytes(4, "big"))
    cases = []
    for way in ways:
        text = b"\n".join([*asked, *way, *asked, b"lock", *asked, *way, b"lock", *asked])
        for first, second in itertools.product(records, records):
            for flags in (4, 5, 6, 12):
                cases.append(bytes([flags]) + first + second + b"\xff" * 128 + text)
    whole = b"depin ask info"
    line = whole + b" *%08x\r\n" % zlib.crc32(whole)
    return [*cases, b"\0" + b"\xff" * 384 + line + b"depin " + b"x" * 400 + b"\n" + line]


CASES = {
    "core": core_cases,
    "downlink": downlink_cases,
    "lines": lines_cases,
    "records": record_cases,
}


def framed(cases: Iterable[bytes]) -> bytes:
    """Cases as tests/replay_cases.c reads them."""
    return b"".join(len(one).to_bytes(4, "big") + one for one in cases)


def write(folder: Path, target: str, every: int = 1) -> None:
    """One file for each case, or every so many, as libFuzzer wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(CASES[target]()[::every]):
        (folder / f"{number:04}").write_bytes(one)


if __name__ == "__main__":
    for name in CASES:
        write(Path(sys.argv[1]) / name, name)
