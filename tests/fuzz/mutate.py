"""Mutation without coverage, for machines without atheris: what it tries follows from a seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

from tests.fuzz.settings import MAX_INPUT
from tests.fuzz.shapes import reshaped
from tests.fuzz.target import Target

_ODD = (
    *(b"\x00", b"\xff", b"\x7f", b"\x80", b"\x1b" + b"\xff" * 8, b"\x3b" + b"\xff" * 8, b"\x9f"),
    *(
        b"\xf9\x7e\x00",
        b"\xc2\x41\x01",
        b"\xc4\x82\x13\x01",
        b"1e999",
        b"-0",
        b"\n",
        b"\xed\xa0\x80",
    ),
    *(b"null", b"NaN", b"[" * 64, b"{", b'"', b"%00", b"#", b"="),
)


def mutated(data: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """One to four changes of an input."""
    found = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randint(0, len(found))
        length = draw.randint(1, 8)
        match draw.randrange(7):
            case 0 if found:
                found[at % len(found)] ^= 1 << draw.randrange(8)
            case 1 if found:
                found[at % len(found)] = draw.randrange(256)
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = draw.choice(_ODD)
            case 4:
                found[at:at] = found[at : at + length] * draw.randint(1, 20)
            case 5:
                other = draw.choice(others)
                start = draw.randint(0, len(other))
                found[at : at + length] = other[start : start + 4 * length]
            case _:
                found[at : at + length] = draw.choice(_ODD)
    return bytes(found[:MAX_INPUT])


def run(target: Target, seconds: float, seed: int = 0) -> int:
    """Try inputs for a while; gives how many. A find is raised, with its input as a note."""
    draw, corpus = Random(f"{target.name}/{seed}"), target.corpus()
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        seed_input = draw.choice(corpus)
        data = reshaped(seed_input, draw) if count % 2 else None
        if data is None:
            data = mutated(seed_input, draw, corpus)
        try:
            target.run(data)
        except BaseException as error:
            error.add_note(f"fuzz target {target.name}, input {data.hex()}")
            raise
        count += 1
    return count
