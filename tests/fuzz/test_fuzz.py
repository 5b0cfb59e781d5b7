"""Every kept input again, and some new ones: only our own errors, in bounded time."""

from __future__ import annotations

import sys
import time

import pytest

from depin_id import cbor
from tests.fuzz.mutate import run
from tests.fuzz.settings import CORPUS, MAX_KEPT
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

SLOWEST_S = 5.0
TRIED_S = 0.15


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_and_a_little_more(name: str) -> None:
    """Seeds, kept inputs, and mutations of them that follow from a seed."""
    target = TARGETS[name]
    for data in target.corpus():
        start = time.monotonic()
        target.run(data)
        assert time.monotonic() - start < SLOWEST_S, f"slow: {data.hex()}"
    assert run(target, TRIED_S) > 0


def test_the_corpus_is_ours_and_small() -> None:
    paths = sorted(CORPUS.glob("*.hex"))
    assert {path.stem for path in paths} <= TARGETS.keys()
    for path in paths:
        lines = path.read_text().split()
        assert len(lines) == len(set(lines)) <= 200
        assert all(len(bytes.fromhex(line)) <= MAX_KEPT for line in lines)


def test_types_are_changed_within_an_input() -> None:
    """What no change of bytes finds soon: a text that became a list, inside of a signed payload."""

    def fragile(data: bytes) -> None:
        payload = cbor.decode(data)[0]
        if isinstance(payload, bytes):
            {cbor.decode(payload)[1]: "a list has no hash"}

    with pytest.raises(TypeError):
        run(Target("fragile", fragile, (cbor.encode([cbor.encode({1: "a"})]),)), 30)


def test_a_find_is_found_and_told() -> None:
    """A raw error that escapes is a find; one of ours is not."""

    def fragile(data: bytes) -> None:
        if b"\xff" in data:
            raise KeyError("escaped")

    with pytest.raises(KeyError) as found:
        run(Target("fragile", fragile, (b"abc",)), 30)
    notes = getattr(found.value, "__notes__", [])
    assert any("fragile" in note for note in notes)
    assert sys.version_info >= (3, 11)
